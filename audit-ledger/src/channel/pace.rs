//! How long a proposer lets transactions gather.

use std::time::Duration;

/// How a node proposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// An idle proposer makes an empty block after this long.
    pub heartbeat: Duration,
    /// After the first transaction, how long others may join it, on a channel that is at rest.
    pub batching: Duration,
    /// How much longer, for each transaction of the block before: a block costs every node the same few milliseconds
    /// whatever is in it, so a busy channel makes fewer and longer ones.
    pub batching_each: Duration,
    /// The longest that others may join.
    pub batching_max: Duration,
}

impl Pace {
    /// How long others may join the first transaction, after a block of so many.
    pub(super) fn batching(&self, before: usize) -> Duration {
        let each = self.batching_each.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX));
        self.batching.saturating_add(each).min(self.batching_max)
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(2),
            batching: Duration::from_millis(4),
            batching_each: Duration::from_micros(300),
            batching_max: Duration::from_millis(120),
        }
    }
}
