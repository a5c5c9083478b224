//! Bad input at the gateway's routes: what each gets, and what it must leave as it was.
//!
//! `docs/bad-input.md` has the whole catalogue, with the tests of the transport and of the command line.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "common/log.rs"]
mod log;
#[path = "common/refusals.rs"]
mod refusals;
#[path = "gateway_routes/world.rs"]
mod world;

mod bad_input {
    mod access;
    mod page;
    mod registrations;
    mod requests;
    mod table;
}
