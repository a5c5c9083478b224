//! How many shares there are, and how many open a record.

/// Why two numbers are no threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ThresholdError {
    /// One share alone would open the record.
    #[error("`{k}` of `{n}`: at least 2 shares must be needed")]
    OneOpens {
        /// The shares that would open the record.
        k: u8,
        /// All shares.
        n: u8,
    },
    /// Too few custodians for a record to become active and stay openable.
    #[error("`{k}` of `{n}`: at least `{needed}` custodians are needed")]
    TooFewCustodians {
        /// The shares that open the record.
        k: u8,
        /// All shares.
        n: u8,
        /// The fewest custodians that this `k` allows: `2k - 1`.
        needed: u16,
    },
}

/// `k` of `n`: any `k` shares open a record, and `k - 1` say nothing about it.
///
/// Only numbers that fit together make one: `2 <= k` and `2k - 1 <= n <= 255`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Threshold {
    k: u8,
    n: u8,
}

impl Threshold {
    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// [`ThresholdError`] when `k` is below 2 or `n` below `2k - 1`.
    pub fn new(k: u8, n: u8) -> Result<Self, ThresholdError> {
        let needed = (2 * u16::from(k)).saturating_sub(1);
        if k < 2 {
            Err(ThresholdError::OneOpens { k, n })
        } else if u16::from(n) < needed {
            Err(ThresholdError::TooFewCustodians { k, n, needed })
        } else {
            Ok(Self { k, n })
        }
    }

    /// How many shares open a record.
    #[must_use]
    pub const fn k(self) -> u8 {
        self.k
    }

    /// How many shares there are.
    #[must_use]
    pub const fn n(self) -> u8 {
        self.n
    }

    /// How many acknowledgements make a record active: `2k - 1`.
    ///
    /// If at most `k - 1` custodians lie, then `k` of those who acknowledged are honest.
    #[must_use]
    pub const fn min_acks(self) -> u8 {
        // At most n, because `new` demands n >= 2k - 1.
        self.k + (self.k - 1)
    }

    /// Whether `k - 1` silent custodians can keep a record from ever becoming active: `n < 3k - 2`.
    ///
    /// Allowed, but an operator is warned of it.
    #[must_use]
    pub const fn can_be_stalled(self) -> bool {
        (self.n as u16) + 2 < 3 * (self.k as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_numbers_is_judged_by_the_two_rules() {
        for k in 0..=u8::MAX {
            for n in 0..=u8::MAX {
                let allowed = k >= 2 && u32::from(n) >= 2 * u32::from(k) - 1;
                match Threshold::new(k, n) {
                    Ok(threshold) => {
                        assert!(allowed, "{k} of {n}");
                        assert_eq!(u32::from(threshold.min_acks()), 2 * u32::from(k) - 1);
                        assert_eq!(threshold.can_be_stalled(), u32::from(n) < 3 * u32::from(k) - 2);
                    }
                    Err(_) => assert!(!allowed, "{k} of {n}"),
                }
            }
        }
    }

    #[test]
    fn a_refusal_says_which_rule_is_broken() {
        assert_eq!(Threshold::new(1, 3), Err(ThresholdError::OneOpens { k: 1, n: 3 }));
        assert_eq!(Threshold::new(3, 4), Err(ThresholdError::TooFewCustodians { k: 3, n: 4, needed: 5 }));
        assert_eq!(Threshold::new(200, 255), Err(ThresholdError::TooFewCustodians { k: 200, n: 255, needed: 399 }));
    }

    #[test]
    fn the_default_of_four_organisations_is_not_stalled_by_one() {
        assert!(Threshold::new(2, 4).is_ok_and(|t| !t.can_be_stalled() && t.min_acks() == 3));
        assert!(Threshold::new(2, 3).is_ok_and(Threshold::can_be_stalled));
    }
}
