//! What a seed decides: the network's manners, who crashes and when, and where people work.

use super::cluster::NODES;
use commonware_p2p::simulated::Link;
use commonware_utils::{Probability, probability};
use rand_core::Rng;
use std::{fmt, time::Duration};

/// A link without faults, for the end.
pub(crate) const HEALED: Link =
    Link { latency: Duration::from_millis(10), jitter: Duration::from_millis(2), success_rate: probability!(1.0) };

/// A node that loses everything it has not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    /// After the beginning, or after the last one came back.
    pub(crate) after: Duration,
    pub(crate) victim: usize,
    pub(crate) down_for: Duration,
}

/// The choices of one seed.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) latency: Duration,
    pub(crate) jitter: Duration,
    pub(crate) loss_percent: u64,
    pub(crate) epoch_blocks: u64,
    /// One after the other: never more than one node is down.
    pub(crate) crashes: Vec<Crash>,
    /// The node that each person turns to first.
    pub(crate) homes: [usize; 4],
    pub(crate) record_len_bytes: [usize; 2],
}

impl Plan {
    pub(crate) fn draw(rng: &mut impl Rng) -> Self {
        let mut below = |bound: u64| rng.next_u64() % bound;
        let epochs = [10, 40, 1000];
        let crashes = (0..1 + below(3))
            .map(|_| Crash {
                after: Duration::from_millis(below(5_000)),
                victim: index(below(NODES as u64)),
                down_for: Duration::from_millis(100 + below(14_000)),
            })
            .collect();
        Self {
            latency: Duration::from_millis(1 + below(60)),
            jitter: Duration::from_millis(below(20)),
            loss_percent: below(6),
            epoch_blocks: epochs[index(below(3))],
            crashes,
            homes: std::array::from_fn(|_| index(below(NODES as u64))),
            record_len_bytes: std::array::from_fn(|_| index(below(200_000))),
        }
    }

    pub(crate) fn link(&self) -> Link {
        let success_rate = Probability::new(100 - self.loss_percent, 100).unwrap();
        Link { latency: self.latency, jitter: self.jitter, success_rate }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { latency, jitter, loss_percent, epoch_blocks, crashes, .. } = self;
        write!(f, "links {latency:?}+-{jitter:?}, {loss_percent} % lost; epochs of {epoch_blocks}")?;
        crashes.iter().try_for_each(|Crash { after, victim, down_for }| {
            write!(f, "; after {after:?} node {victim} down for {down_for:?}")
        })
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}
