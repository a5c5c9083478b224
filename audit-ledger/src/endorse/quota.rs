//! Quotas by author: how often somebody may ask an endorser for its signature.

use dmdl_types::{id::UnixMillis, sign::PublicKey};
use std::collections::BTreeMap;

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
    seen: UnixMillis,
}

impl Quota {
    /// A quota of `per_second` transactions an author, with bursts of `burst`; both at least 1.
    #[must_use]
    pub fn new(burst: u64, per_second: u64) -> Self {
        Self { burst: burst.max(1), per_second: per_second.max(1), buckets: BTreeMap::new() }
    }

    /// Takes one from the author's allowance.
    ///
    /// # Errors
    /// [`QuotaExceeded`] when there is none left.
    pub fn take(&mut self, author: PublicKey, now: UnixMillis) -> Result<(), QuotaExceeded> {
        let full = self.burst.saturating_mul(1000);
        let rate = self.per_second;
        if self.buckets.len() >= AUTHORS_MAX && !self.buckets.contains_key(&author) {
            let idle = self.buckets.iter().min_by_key(|(_, bucket)| bucket.seen).map(|(key, _)| *key);
            idle.map(|key| self.buckets.remove(&key));
        }
        let bucket = self.buckets.entry(author).or_insert(Bucket { millitokens: full, seen: now });
        // One token a second is one thousandth of a token a millisecond.
        let earned = now.since_ms(bucket.seen).saturating_mul(rate);
        bucket.millitokens = bucket.millitokens.saturating_add(earned).min(full);
        bucket.seen = bucket.seen.max(now);
        match bucket.millitokens.checked_sub(1000) {
            Some(rest) => {
                bucket.millitokens = rest;
                Ok(())
            }
            None => Err(QuotaExceeded { retry_after_ms: (1000 - bucket.millitokens).div_ceil(rate) }),
        }
    }
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
        let at = UnixMillis::new;
        for _ in 0..3 {
            assert_eq!(quota.take(key(1), at(1000)), Ok(()));
        }
        assert_eq!(quota.take(key(1), at(1000)), Err(QuotaExceeded { retry_after_ms: 500 }));
        assert_eq!(quota.take(key(1), at(1499)), Err(QuotaExceeded { retry_after_ms: 1 }));
        assert_eq!(quota.take(key(1), at(1500)), Ok(()));
    }

    #[test]
    fn one_author_does_not_use_up_another_ones_quota() {
        let mut quota = Quota::new(1, 1);
        assert_eq!(quota.take(key(1), UnixMillis::new(0)), Ok(()));
        assert!(quota.take(key(1), UnixMillis::new(0)).is_err());
        assert_eq!(quota.take(key(2), UnixMillis::new(0)), Ok(()));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let mut quota = Quota::new(1, 1);
        assert_eq!(quota.take(key(1), UnixMillis::new(5000)), Ok(()));
        assert!(quota.take(key(1), UnixMillis::new(0)).is_err());
        assert!(quota.take(key(1), UnixMillis::new(5500)).is_err());
    }
}
