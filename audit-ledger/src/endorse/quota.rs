//! Quotas by author: how often somebody may ask an endorser for its signature.

use dmdl_types::sign::PublicKey;
use std::{collections::BTreeMap, time::Duration};

/// Authors that are remembered; beyond them the one that was idle longest is forgotten.
const AUTHORS_MAX: usize = 10_000;

/// An author has asked for too much in too short a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many transactions by this author; try again in {retry_after_ms} ms")]
pub struct QuotaExceeded {
    /// When the next one would be accepted.
    pub retry_after_ms: u64,
}

/// A token bucket for each author: bursts are fine, floods are not.
///
/// Times are how long ago its clock began, which must be one that nobody sets: a clock that was set back would keep an
/// author out until it is where it was.
#[derive(Debug)]
pub struct Quota {
    burst: u64,
    per_second: u64,
    buckets: BTreeMap<PublicKey, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    // Thousandths of a token, so that no fraction is lost between two calls.
    millitokens: u64,
    seen_ms: u64,
}

impl Quota {
    /// A quota of `per_second` transactions an author, with bursts of `burst`; both at least 1.
    #[must_use]
    pub fn new(burst: u64, per_second: u64) -> Self {
        Self { burst: burst.max(1), per_second: per_second.max(1), buckets: BTreeMap::new() }
    }

    /// Whether one could be taken from the author's allowance now.
    ///
    /// # Errors
    /// [`QuotaExceeded`] when there is none left.
    pub fn check(&self, author: PublicKey, now: Duration) -> Result<(), QuotaExceeded> {
        self.bucket(author, millis(now)).spend(self.per_second).map(drop)
    }

    /// Takes one from the author's allowance.
    ///
    /// # Errors
    /// [`QuotaExceeded`] when there is none left.
    pub fn take(&mut self, author: PublicKey, now: Duration) -> Result<(), QuotaExceeded> {
        let bucket = self.bucket(author, millis(now));
        if self.buckets.len() >= AUTHORS_MAX && !self.buckets.contains_key(&author) {
            let idle = self.buckets.iter().min_by_key(|(_, bucket)| bucket.seen_ms).map(|(key, _)| *key);
            idle.map(|key| self.buckets.remove(&key));
        }
        let spent = bucket.spend(self.per_second);
        self.buckets.insert(author, *spent.as_ref().unwrap_or(&bucket));
        spent.map(drop)
    }

    /// What an author has now.
    fn bucket(&self, author: PublicKey, now_ms: u64) -> Bucket {
        let full = self.burst.saturating_mul(1000);
        let Some(bucket) = self.buckets.get(&author) else { return Bucket { millitokens: full, seen_ms: now_ms } };
        // One token a second is one thousandth of a token a millisecond.
        let earned = now_ms.saturating_sub(bucket.seen_ms).saturating_mul(self.per_second);
        let millitokens = bucket.millitokens.saturating_add(earned).min(full);
        Bucket { millitokens, seen_ms: bucket.seen_ms.max(now_ms) }
    }
}

impl Bucket {
    fn spend(self, per_second: u64) -> Result<Self, QuotaExceeded> {
        match self.millitokens.checked_sub(1000) {
            Some(millitokens) => Ok(Self { millitokens, ..self }),
            None => Err(QuotaExceeded { retry_after_ms: (1000 - self.millitokens).div_ceil(per_second) }),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> PublicKey {
        PublicKey::new([n; 32])
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate_holds() {
        let mut quota = Quota::new(3, 2);
        let at = Duration::from_millis;
        for _ in 0..3 {
            assert_eq!(quota.take(key(1), at(1000)), Ok(()));
        }
        assert_eq!(quota.take(key(1), at(1000)), Err(QuotaExceeded { retry_after_ms: 500 }));
        assert_eq!(quota.take(key(1), at(1499)), Err(QuotaExceeded { retry_after_ms: 1 }));
        assert_eq!(quota.take(key(1), at(1500)), Ok(()));
    }

    #[test]
    fn who_only_looks_takes_nothing() {
        let mut quota = Quota::new(1, 1);
        let at = Duration::from_millis;
        for _ in 0..3 {
            assert_eq!(quota.check(key(1), at(1000)), Ok(()));
        }
        assert_eq!(quota.take(key(1), at(1000)), Ok(()));
        assert_eq!(quota.check(key(1), at(1000)), quota.take(key(1), at(1000)));
        assert_eq!(quota.check(key(1), at(1999)), Err(QuotaExceeded { retry_after_ms: 1 }));
        assert_eq!(quota.check(key(1), at(2000)), Ok(()));
    }

    #[test]
    fn one_author_does_not_use_up_another_ones_quota() {
        let mut quota = Quota::new(1, 1);
        assert_eq!(quota.take(key(1), Duration::from_millis(0)), Ok(()));
        assert!(quota.take(key(1), Duration::from_millis(0)).is_err());
        assert_eq!(quota.take(key(2), Duration::from_millis(0)), Ok(()));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let mut quota = Quota::new(1, 1);
        assert_eq!(quota.take(key(1), Duration::from_millis(5000)), Ok(()));
        assert!(quota.take(key(1), Duration::from_millis(0)).is_err());
        assert!(quota.take(key(1), Duration::from_millis(5500)).is_err());
    }
}
