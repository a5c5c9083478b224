//! Ordering: what waits to be ordered, what a candidate block is made of, and when one is valid.

mod cosign;
mod pool;
mod rules;
mod votes;

pub use cosign::{CosignPool, Cosigned};
pub use pool::{Busy, Pool};
pub(crate) use rules::may_be_at;
pub use rules::{BlockFault, Checked, check};
pub use votes::VotesSeen;

#[cfg(test)]
mod tests;
