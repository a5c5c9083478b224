//! Ordering: what waits to be ordered, what a candidate block is made of, and when one is valid.

mod checked;
mod cosign;
mod digests;
mod pool;
mod rules;
mod votes;

pub use checked::Checked;
pub use cosign::{CosignPool, Cosigned};
pub use pool::{Busy, Pool};
pub(crate) use rules::may_be_at;
pub use rules::{BlockFault, check};
pub use votes::VotesSeen;

#[cfg(test)]
mod tests;
