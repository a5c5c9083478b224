//! The program as people use it: separate commands from separate processes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod bad_files;
mod bad_input;
mod bench;
mod channels;
mod clerks;
mod crypt4gh;
mod custodians;
mod decisions;
mod demo;
mod expiry;
mod governance;
mod harness;
mod killed;
mod kinds;
mod policies;
mod remarks;
mod sizes;
mod worker;
