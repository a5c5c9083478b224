//! The program as people use it: separate commands from separate processes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod bench;
mod decisions;
mod demo;
mod harness;
mod killed;
mod kinds;
