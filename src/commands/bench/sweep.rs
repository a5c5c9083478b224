//! A sweep: what a network can do at most, and how long it takes where it is offered a part of that.

use super::{
    driver::{Pace, Worker},
    run::{Crew, Run},
    stage::Stage,
};
use crate::exit::Failure;
use std::time::Duration;

/// What is offered, in percent of what clients in a closed loop came to.
pub(super) const PERCENT: [u32; 7] = [10, 25, 50, 70, 85, 95, 110];

/// One run in a closed loop, and one at each part of its rate.
///
/// # Errors
/// As [`Crew::run`].
pub(super) async fn sweep<W: Worker>(
    crew: &mut Crew<W>,
    stage: &mut Stage,
    lasts: Duration,
    times: usize,
    tell: &(dyn Fn(&str, Duration, u64) + Sync),
) -> Result<Vec<Run>, Failure> {
    let pace = Pace { lasts, rate: None };
    let closed = crew.run(stage, pace, times, &|at, done| tell("as many as they can", at, done)).await?;
    let most = closed.tps();
    let mut runs = vec![closed];
    for percent in PERCENT {
        let pace = Pace { lasts, rate: Some(part(most, percent)) };
        let run = crew.run(stage, pace, times, &|at, done| tell(&format!("{percent} % of that"), at, done)).await?;
        runs.push(run.at_percent(percent));
    }
    Ok(runs)
}

/// So many percent of a rate, and no less than one a second.
fn part(most: f64, percent: u32) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is far below, and none below 0"
    )]
    let rate = (most * f64::from(percent) / 100.0).round() as u32;
    rate.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_rate_is_a_whole_number_and_at_least_one() {
        assert_eq!([10, 50, 110].map(|percent| part(541.0, percent)), [54, 271, 595]);
        assert_eq!(part(3.0, 10), 1);
        assert!(PERCENT.is_sorted());
    }
}
