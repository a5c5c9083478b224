//! What a checkpoint says of a node's data, in 32 bytes each: the hash of all state, and the root
//! over all index heads. Both are kept up to date block by block, at a cost that grows with the
//! block and not with the ledger.
//!
//! # Source
//! docs/adr/0005-state-hash-and-index-root.md

pub mod index;
pub mod state;
