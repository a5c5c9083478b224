//! The parameters of MDCA, by which a channel weighs what its ledger has seen of each organisation.
//!
//! All numbers are parts per million: execution knows no fractions.
//!
//! # Source
//! docs/spec/mdca.md

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// One, in parts per million.
pub const ONE_PPM: i64 = 1_000_000;

/// A value for each of the duties that the model knows: Ψ = {EN, CN, ON}.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerDuty<T> {
    /// Of endorsing (EN).
    pub endorsing: T,
    /// Of committing (CN).
    pub committing: T,
    /// Of ordering (ON).
    pub ordering: T,
}

impl<T> PerDuty<T> {
    /// The three values, in the order of the model.
    pub fn into_array(self) -> [T; 3] {
        [self.endorsing, self.committing, self.ordering]
    }

    /// Applies a function to each value.
    pub fn map<U>(self, mut each: impl FnMut(T) -> U) -> PerDuty<U> {
        PerDuty { endorsing: each(self.endorsing), committing: each(self.committing), ordering: each(self.ordering) }
    }

    /// Pairs the values with those of another.
    pub fn zip<U>(self, other: PerDuty<U>) -> PerDuty<(T, U)> {
        PerDuty {
            endorsing: (self.endorsing, other.endorsing),
            committing: (self.committing, other.committing),
            ordering: (self.ordering, other.ordering),
        }
    }
}

/// How a channel weighs duties, forgets and lets propose, in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MdcaConfig {
    /// `e(M, j)`: how much computing power counts.
    pub computing: PerDuty<i64>,
    /// `e(N, j)`: how much trust counts.
    pub trust: PerDuty<i64>,
    /// Within computing power, the part of the first metric: endorsement rate, committing rate, turns.
    pub rate: PerDuty<i64>,
    /// Within trust, the part of the first metric: numbers before volume; of ordering, validity alone.
    pub numbers: PerDuty<i64>,
    /// Least standing with which an organisation's orderer may propose, for each duty that it has.
    pub thresholds: PerDuty<i64>,
    /// How much of an earlier epoch's standing is kept while it rises.
    pub decay: i64,
}

impl MdcaConfig {
    /// Whether every number is within its limits.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let part = |ppm: i64| (0..=ONE_PPM).contains(&ppm);
        let parts = [self.computing, self.trust, self.rate, self.numbers];
        // What rises for ever keeps nobody out, and what never rises forgives nobody.
        parts.into_iter().flat_map(PerDuty::into_array).all(part)
            && self.computing.zip(self.trust).into_array().into_iter().all(|(m, n)| m + n <= ONE_PPM)
            && self.thresholds.into_array().into_iter().all(|ppm| (-ONE_PPM + 1..=ONE_PPM).contains(&ppm))
            && (0..ONE_PPM).contains(&self.decay)
    }
}

impl Default for MdcaConfig {
    fn default() -> Self {
        Scenario::default().config()
    }
}

/// The scenarios of the source paper, each with parameters that suit it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Many kinds of data of many hospitals: computing power and trust count alike.
    #[default]
    HeterogeneousData,
    /// Authorship: trust counts most, and a fault takes longest to live down.
    CopyrightProtection,
    /// Decryptions: trust counts more than speed, for endorsing and ordering above all.
    SecureUtilisation,
}

impl Scenario {
    /// The parameters.
    #[must_use]
    pub const fn config(self) -> MdcaConfig {
        let (trust, decay) = match self {
            Self::HeterogeneousData => (alike(500_000), 750_000),
            Self::CopyrightProtection => (alike(700_000), 850_000),
            Self::SecureUtilisation => {
                (PerDuty { endorsing: 650_000, committing: 550_000, ordering: 650_000 }, 800_000)
            }
        };
        MdcaConfig {
            computing: PerDuty {
                endorsing: ONE_PPM - trust.endorsing,
                committing: ONE_PPM - trust.committing,
                ordering: ONE_PPM - trust.ordering,
            },
            trust,
            rate: alike(750_000),
            numbers: PerDuty { endorsing: 750_000, committing: 750_000, ordering: ONE_PPM },
            // Below nothing: whoever was idle for long, or has nearly lived a fault down, takes part again.
            thresholds: alike(-50_000),
            decay,
        }
    }
}

const fn alike(ppm: i64) -> PerDuty<i64> {
    PerDuty { endorsing: ppm, committing: ppm, ordering: ppm }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_valid_parameters() {
        for scenario in [Scenario::HeterogeneousData, Scenario::CopyrightProtection, Scenario::SecureUtilisation] {
            assert!(scenario.config().is_valid(), "{scenario:?}");
        }
    }

    #[test]
    fn parameters_outside_their_limits_are_refused() {
        let good = MdcaConfig::default();
        let bad: [fn(&mut MdcaConfig); 7] = [
            |c| c.computing.ordering = -1,
            |c| c.trust.endorsing = ONE_PPM + 1,
            |c| c.computing.committing += 1,
            |c| c.rate.endorsing = ONE_PPM + 1,
            |c| c.thresholds.ordering = -ONE_PPM,
            |c| c.decay = ONE_PPM,
            |c| c.decay = -1,
        ];
        for (i, change) in bad.iter().enumerate() {
            let mut config = good;
            change(&mut config);
            assert!(!config.is_valid(), "change {i}");
        }
    }
}
