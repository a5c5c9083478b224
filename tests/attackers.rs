//! Attackers, each with all that it can have, against a real network, its real gateway and the real program.
//!
//! What each of them may do, and which of these tests shows what stops it, is in docs/threat-model.md.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "each table leaves a line")]

mod common;

mod attackers {
    mod copyist;
    mod eclipse;
    mod gateway;
    mod mitm;
    mod reader;
    mod receipts;
    mod secrets;
    mod shares;
    mod table;
    mod trail;
    mod world;
}
