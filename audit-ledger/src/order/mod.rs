//! Ordering: what waits to be ordered, what a candidate block is made of, and when one is valid.

mod cosign;
mod pool;
mod rules;

pub use cosign::CosignPool;
pub use pool::{Busy, Pool};
pub use rules::{BlockFault, Checked, check};

#[cfg(test)]
mod tests;
