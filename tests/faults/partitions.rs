//! Partitions: whoever reaches too few others acknowledges nothing, a majority goes on, and all do when the links are
//! mended.

use super::{
    dice::{Dice, seed, setting},
    ground::Ground,
    log::{Act, History, Micros, Op},
    nemesis::{Fault, Kind, NODES},
    people::Habit,
};
use crate::{harness::assert_resumed, network::in_time};
use std::{
    collections::BTreeSet,
    thread::sleep,
    time::{Duration, Instant},
};

/// How often links are cut, and how long at least: a campaign has more and longer ones.
const PARTITIONS: u64 = 2;
const LASTS_MS: u64 = 3_000;
/// The longest in a campaign: what the system sends again, it sends later and later.
const LASTS_MS_MAX: u64 = 40_000;
/// So many that somebody will have tried something at a minority.
const ENOUGH: u64 = 5;
/// How long a flapping link is up or down.
const FLAP: Duration = Duration::from_millis(700);

/// One partition, while it lasted.
struct Cut {
    fault: Fault,
    from: Micros,
    to: Micros,
}

impl Cut {
    /// What was begun after it at a gateway that reaches too few others, and was over before it was mended.
    fn vain<'a>(&self, history: &'a History) -> impl Iterator<Item = &'a Op> {
        let (from, to, majority) = (self.from, self.to, self.fault.majority());
        let within = move |op: &&Op| op.invoked >= from && op.completed <= to && !majority.contains(&op.gateway);
        history.ops.iter().filter(within)
    }

    /// Fails if somebody was told there that something is final, or that something is up to date.
    fn assert_nothing_final(&self, history: &History) {
        for op in self.vain(history) {
            assert!(op.done().is_none(), "{}: a minority acknowledges: {op:?}", self.fault);
            let fresh = matches!(op.act, Act::Read { is_linear: true, seen: Some(_), .. });
            assert!(!fresh, "{}: a minority says that it is up to date: {op:?}", self.fault);
        }
    }
}

/// Cuts links, and mends them once the majority has gone on and the fault has lasted.
fn cut(ground: &Ground, fault: Fault, now: impl Fn() -> Micros, goes_on: impl Fn(Micros) -> bool) -> Cut {
    sleep(fault.after);
    let (mut links, nothing) = (fault.cuts(), BTreeSet::new());
    ground.cut_only(links.clone());
    let (from, begun) = (now(), Instant::now());
    in_time("the majority goes on", || {
        if fault.kind == Kind::Flap {
            sleep(FLAP);
            links = if links.is_empty() { fault.cuts() } else { BTreeSet::new() };
            ground.cut_only(links.clone());
        }
        (begun.elapsed() > fault.lasts && goes_on(from)).then_some(())
    });
    let to = now();
    ground.cut_only(nothing);
    Cut { fault, from, to }
}

#[test]
fn a_majority_goes_on_and_nobody_else_acknowledges_anything() {
    let asked = setting("DMDL_PARTITIONS");
    let (count, longest_ms) = asked.map_or((PARTITIONS, LASTS_MS), |count| (count, LASTS_MS_MAX));
    let seed = seed("DMDL_PARTITIONS_SEED");
    let mut dice = Dice::new(seed, 3);
    let mut ground = Ground::new();
    if !ground.has_hosts() {
        return;
    }
    let office = ground.office();
    let (mut cuts, mut resumed) = (Vec::new(), Vec::new());
    ground.at_work(&office, seed, Habit::Stays, |ground, office| {
        for kind in Kind::LINKS.iter().cycle().take(usize::try_from(count).unwrap()) {
            let lasts = Duration::from_millis(dice.between(LASTS_MS, longest_ms));
            let fault = Fault { lasts, ..Fault::draw(*kind, &mut dice) };
            eprintln!("{fault}");
            let majority = fault.majority();
            let goes_on = |since| majority.iter().all(|gateway| office.has_acknowledged(*gateway, since));
            cuts.push(cut(ground, fault, || office.now(), goes_on));
            let took = ground.resume(office, &(0..NODES).collect::<Vec<_>>());
            assert_resumed(&format!("partition {}, {fault}", cuts.len()), took);
            resumed.push(took);
        }
    });
    let (history, counts) = ground.judge(&office, seed);
    let mut vain = 0;
    for cut in cuts.iter().filter(|cut| cut.fault.kind != Kind::Flap) {
        cut.assert_nothing_final(&history);
        vain += cut.vain(&history).count();
    }
    // In two short ones, everybody at a minority may have been waiting since before.
    assert!(vain > 0 || count < ENOUGH, "somebody tried");
    eprintln!(
        "partitions: {count} partitions, 0 anomalies; {counts}; {vain} tried in vain at a minority; resumed in {:.1} s at \
         most; seed {seed}",
        resumed.iter().max().copied().unwrap_or_default().as_secs_f64()
    );
}
