//! The program without a network: what it does alone, what it refuses, and how it ends.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod backups;
mod harness;
mod keys;
mod network;
mod networks;
mod packaging;
mod policies;
mod terminal;
