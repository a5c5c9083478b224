//! From counts to standing: the paper's equations, in whole parts per million.

use super::tally::{Conduct, Count, Tally};
use dmdl_types::mdca::{MdcaConfig, ONE_PPM, PerDuty};

/// The score of one epoch in one duty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// `I(M, j)`: computing power.
    pub computing: i64,
    /// `I(N, j)`: trust.
    pub trust: i64,
    /// `R(j)`: both, by their influence.
    pub total: i64,
    /// Whether a fault was proved.
    pub faulty: bool,
}

/// Scores an epoch's conduct (rules 7 to 9).
#[must_use]
pub fn score(tally: &Tally, config: &MdcaConfig) -> PerDuty<Score> {
    let influence = config.computing.zip(config.trust);
    let parts = config.rate.zip(config.numbers);
    tally
        .conduct()
        .zip(influence.zip(parts))
        .map(|(conduct, ((computing, trust), (rate, numbers)))| of_duty(&conduct, (computing, rate), (trust, numbers)))
}

fn of_duty(conduct: &Conduct, computing: (i64, i64), trust: (i64, i64)) -> Score {
    let (m, n) = (mix(conduct.computing, computing.1), mix(conduct.trust, trust.1));
    let faulty = conduct.faults > 0;
    let n = if faulty { -ONE_PPM } else { n };
    Score { computing: m, trust: n, total: part(computing.0, m) + part(trust.0, n), faulty }
}

/// The standing after an epoch with this score (rule 10): it falls at once and rises slowly.
#[must_use]
pub fn standing(before: i64, score: &Score, decay: i64) -> i64 {
    if score.faulty {
        -ONE_PPM
    } else if score.total <= before {
        score.total
    } else {
        sum_of_parts(decay, before, ONE_PPM - decay, score.total)
    }
}

impl Count {
    /// Fits a count to (-1, 1), in parts per million (rule 7).
    #[must_use]
    pub fn fit(self) -> i64 {
        let (good, bad) = (i128::from(self.good), i128::from(self.bad));
        // INVARIANT: less than one million in amount, because the divisor is the larger.
        i64::try_from((good - bad) * i128::from(ONE_PPM) / (good + bad + 1)).unwrap_or_default()
    }
}

/// Two metrics, the first one with this weight and the second with the rest.
fn mix([first, second]: [Count; 2], weight: i64) -> i64 {
    sum_of_parts(weight, first.fit(), ONE_PPM - weight, second.fit())
}

fn sum_of_parts(a: i64, x: i64, b: i64, y: i64) -> i64 {
    let sum = i128::from(a) * i128::from(x) + i128::from(b) * i128::from(y);
    // INVARIANT: parts of one of numbers up to a million.
    i64::try_from(sum / i128::from(ONE_PPM)).unwrap_or_default()
}

fn part(weight: i64, value: i64) -> i64 {
    sum_of_parts(weight, value, 0, 0)
}
