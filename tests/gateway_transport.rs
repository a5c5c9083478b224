//! What a gateway does with bytes that are no good request: refuses them by name, and goes on.
//!
//! A real gateway at a node of a real network; the clients are sockets that say whatever a test wants.

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

mod gateway_transport {
    mod bodies;
    mod callers;
    mod framing;
    mod limits;
    mod targets;
    mod tls;
    mod told;
    mod wire;
    mod world;
}
