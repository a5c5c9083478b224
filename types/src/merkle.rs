//! The Merkle tree of a channel's audit log: RFC 6962 over SHA-256, append-only.
//!
//! The log has one leaf an executed transaction. [`Frontier`] grows the tree and needs no more than
//! its right edge; whole subtrees that an append completes are handed out once, so that a database
//! can keep them by [`NodeAddress`]. From these, [`ProofPlan`] makes proofs: that a leaf is in a tree
//! ([`InclusionProof`]), and that a tree only grew ([`ConsistencyProof`]).
//!
//! # Encoding
//! `leaf = SHA-256(0x00 ‖ data)`, `node = SHA-256(0x01 ‖ left[32] ‖ right[32])`, `empty = SHA-256("")`.
//! These hashes are the RFC's own and carry no label of [`crate::label`]: other people's tools check
//! them, and the first byte tells a leaf from a node.
//!
//! # Source
//! docs/spec/log.md; RFC 6962 section 2.1; RFC 9162 section 2.1

mod frontier;
mod plan;
mod proof;

#[cfg(test)]
mod tests;

pub use frontier::Frontier;
pub use plan::{NodeAddress, ProofPlan};
pub use proof::{ConsistencyProof, InclusionProof, ProofError};

use sha2::{Digest as _, Sha256};

/// A hash of the tree: of a leaf, of a node, or its root.
pub type Hash = [u8; 32];

/// The hash of the leaf with these bytes.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    let prefix: &[u8] = crate::planted!("leaf-without-its-prefix" => &[], else &[0x00]);
    Sha256::new().chain_update(prefix).chain_update(data).finalize().into()
}

/// The hash of the node with these children.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([0x01]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of the tree without leaves.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}
