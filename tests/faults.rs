//! Real processes while everything goes wrong: they are killed, paused and cut off from each other, their clocks and disks
//! are off, and people work at their gateways all the time. What people were told is then held against the ledger that
//! a node exports.
//!
//! Each test is a slice of a campaign, which the environment makes longer; docs/assurance.md says how. Partitions take
//! network namespaces, which only root can make.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "cli/harness.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod harness;

#[path = "processes/network.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod network;

#[path = "namespaces/lan.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod lan;

#[path = "processes/hosts.rs"]
mod hosts;

mod faults {
    mod checker;
    mod clocks;
    mod dice;
    mod ground;
    mod histories;
    mod kills;
    mod log;
    mod model;
    mod nemesis;
    mod office;
    mod partitions;
    mod people;
    mod planted;
}
