//! What a gateway's routes answer, to whom, over a real network.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "common/refusals.rs"]
mod refusals;

mod gateway_routes {
    pub(crate) mod audit;
    pub(crate) mod catalogue;
    mod freshness;
    pub(crate) mod network;
    pub(crate) mod payloads;
    pub(crate) mod proposals;
    pub(crate) mod remarks;
    pub(crate) mod story;
    pub(crate) mod transactions;
    pub(crate) mod visibility;
    pub(crate) mod world;
}
