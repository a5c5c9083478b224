//! Snapshots: taking them at certified heights, giving them to others, and joining a channel by one.
//!
//! A snapshot is world state and the leaves of the audit log after one block. Everything else that a ledger holds (tree,
//! lists, index) follows from the leaves, so whoever joins computes it anew, and believes none of it before state hash,
//! log root and index root are those of a checkpoint that the chain from the founding document leads to.
//!
//! # Source
//! docs/spec/snapshot.md; docs/adr/0012-snapshots.md

mod certified;
mod give;
mod join;
mod shelf;

#[cfg(test)]
mod tests;

pub use certified::{Certified, Parts, Signed, keep_proof};
pub use give::answer;
pub(crate) use join::floor;
pub use join::{JoinError, Joining, Progress, VerifiedSnapshot};
pub(crate) use shelf::Shelf;
