//! Prove it: the audit ledger of a channel.
//!
//! Endorsed transactions go in; MDCA orders them into final blocks; every committer executes the
//! same contracts on them and comes to the same outcomes, which become leaves of the audit log; what
//! the log says is cosigned, exported and verified offline.
//!
//! The engine of the consensus is named in [`mdca`] and nowhere else.

pub mod audit;
pub mod channel;
pub mod clock;
pub mod commitment;
pub mod contract;
pub mod endorse;
pub mod execute;
pub mod fault;
pub mod finalized;
pub mod log;
pub mod mdca;
pub mod order;
pub mod process;
pub mod reputation;
pub mod snapshot;
mod steps;
pub mod store;
pub mod world;

#[cfg(test)]
mod testing;
