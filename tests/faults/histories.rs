//! Histories: people work on the same things at all gateways while a nemesis strikes, and what they were told must be as if
//! each of their transactions had happened at one instant (docs/assurance.md).

use super::{
    checker::Counts,
    dice::{seed, setting},
    ground::{CLIENTS, Ground},
    nemesis::{Fault, Kind, plan},
    people::Habit,
};
use std::time::Duration;

/// How long a campaign's runs last, if nobody says otherwise.
const SECONDS: u64 = 60;

/// Some faults for those who only want to see whether all is well: each kind of thing once.
fn mild(ground: &Ground) -> Vec<Fault> {
    let last = if ground.has_hosts() { Kind::Apart } else { Kind::Restart };
    let after = Duration::from_secs(1);
    let kinds = [(Kind::Kill, 1_000), (Kind::Pause, 2_500), (last, 2_500)];
    let fault = |(node, (kind, lasts_ms))| Fault {
        kind,
        node,
        other: (node + 1) % 4,
        lasts: Duration::from_millis(lasts_ms),
        after,
    };
    (1..).zip(kinds).map(fault).collect()
}

/// One run: what it has shown, how many faults there were, and how long the network took to be well again.
fn run(seed: u64, lasts: Option<Duration>) -> (Counts, usize, Duration) {
    let mut ground = Ground::new();
    let faults = lasts.map_or_else(|| mild(&ground), |lasts| plan(seed, lasts, &Kind::on(&ground)));
    let told = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    eprintln!("history with seed {seed}: {told}");
    let office = ground.office();
    let resumed = ground.at_work(&office, seed, Habit::Roams, |ground, _| {
        faults.iter().for_each(|fault| ground.strike(fault));
    });
    let counts = ground.judge(&office, seed).1;
    eprintln!("history with seed {seed}: {counts}; resumed in {:.1} s", resumed.as_secs_f64());
    (counts, faults.len(), resumed)
}

#[test]
fn what_people_are_told_while_a_nemesis_strikes_is_strictly_serialisable() {
    let runs = setting("DMDL_HISTORIES");
    let lasts = runs.map(|_| Duration::from_secs(setting("DMDL_HISTORY_SECONDS").unwrap_or(SECONDS)));
    let first = seed("DMDL_HISTORY_SEED");
    let seeds = first..first + runs.unwrap_or(1);
    let (mut all, mut faults, mut slowest) = (Counts::default(), 0, Duration::ZERO);
    for seed in seeds.clone() {
        let (counts, struck, resumed) = run(seed, lasts);
        all = all + counts;
        (faults, slowest) = (faults + struck, slowest.max(resumed));
        assert!(counts.acknowledged > CLIENTS && counts.reads > counts.unanswered, "people could work: {counts:?}");
    }
    eprintln!(
        "histories: {} runs, 0 anomalies; {all}; {faults} faults, resumed in {:.1} s at most; seeds {first} to {}",
        seeds.clone().count(),
        slowest.as_secs_f64(),
        seeds.end - 1
    );
}
