//! Reputation: what an epoch's blocks say of each organisation, weighed into who may propose.
//!
//! Everything here is arithmetic on rows that execution has written; nobody's clock, connections or
//! opinion enter. What nodes merely *say* of each other, they say in final blocks, and it counts as
//! one voice of their organisation: against somebody only when more organisations say so than may
//! lie.
//!
//! # Source
//! docs/spec/mdca.md

mod schedule;
mod score;
mod table;
mod tally;

pub use schedule::{Place, schedule};
pub use score::{Score, score, standing};
pub use table::{Line, table};
pub use tally::{Conduct, Count, Tally, tallies};

#[cfg(test)]
mod tests;
