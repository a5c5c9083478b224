//! What a run has seen: every latency, and every error by its code.
//!
//! Latencies are kept one by one and sorted at the end, so a percentile is one of them and no estimate. At
//! 4 bytes each, the longest run at ten thousand a second takes a few dozen megabytes.

use std::{collections::BTreeMap, time::Duration};

/// What one worker has seen so far.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    latencies_us: Vec<u32>,
    errors: BTreeMap<String, u64>,
}

impl Recorder {
    /// Counts a piece of work that was done.
    pub(super) fn done(&mut self, latency: Duration) {
        self.latencies_us.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    /// Counts pieces of work that came to nothing, and why.
    pub(super) fn failed(&mut self, code: &str, count: u64) {
        if count > 0 {
            *self.errors.entry(code.to_owned()).or_default() += count;
        }
    }

    /// Adds what another worker has seen.
    pub(super) fn add(&mut self, other: Self) {
        self.latencies_us.extend(other.latencies_us);
        for (code, count) in other.errors {
            self.failed(&code, count);
        }
    }

    /// Sums it up.
    pub(super) fn sum(self) -> Summary {
        let Self { mut latencies_us, errors } = self;
        latencies_us.sort_unstable();
        Summary { latencies_us, errors }
    }
}

/// What a run has seen, in order.
#[derive(Debug, Default)]
pub(super) struct Summary {
    latencies_us: Vec<u32>,
    /// How often each error came.
    pub(super) errors: BTreeMap<String, u64>,
}

impl Summary {
    /// How many pieces of work were done.
    pub(super) const fn done(&self) -> usize {
        self.latencies_us.len()
    }

    /// The smallest latency that so many of a thousand do not exceed, in milliseconds; none of none.
    pub(super) fn percentile_ms(&self, per_mille: usize) -> Option<f64> {
        let rank = (self.latencies_us.len() * per_mille).div_ceil(1000).max(1);
        self.latencies_us.get(rank - 1).map(|us| f64::from(*us) / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(latencies_ms: impl IntoIterator<Item = u64>) -> Summary {
        let mut recorder = Recorder::default();
        latencies_ms.into_iter().for_each(|ms| recorder.done(Duration::from_millis(ms)));
        recorder.sum()
    }

    #[test]
    fn a_percentile_is_the_latency_of_the_nearest_rank() {
        let summary = of((1..=200).rev());
        let at = |per_mille| summary.percentile_ms(per_mille);
        assert_eq!((at(500), at(950), at(990)), (Some(100.0), Some(190.0), Some(198.0)));
        assert_eq!((at(1), at(1000)), (Some(1.0), Some(200.0)));
        assert_eq!(of([7]).percentile_ms(500), Some(7.0));
        assert_eq!(of([1, 9]).percentile_ms(990), Some(9.0));
    }

    #[test]
    fn of_nothing_there_is_no_percentile() {
        assert_eq!(of([]).percentile_ms(500), None);
    }

    #[test]
    fn what_several_workers_saw_adds_up() {
        let (mut one, mut other) = (Recorder::default(), Recorder::default());
        one.done(Duration::from_millis(3));
        one.failed("quota", 1);
        one.failed("quota", 0);
        other.done(Duration::from_millis(1));
        other.failed("quota", 2);
        other.failed("not_final", 1);
        one.add(other);
        let summary = one.sum();
        assert_eq!((summary.done(), summary.percentile_ms(500)), (2, Some(1.0)));
        assert_eq!(summary.errors, BTreeMap::from([("not_final".to_owned(), 1), ("quota".to_owned(), 3)]));
    }

    #[test]
    fn an_endless_wait_does_not_wrap_around() {
        assert_eq!(of([u64::MAX / 1000]).percentile_ms(500), Some(f64::from(u32::MAX) / 1000.0));
    }
}
