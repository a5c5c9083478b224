//! Kills: nodes are killed at any moment while people enter things, one at a time or all at once. Each comes back by itself,
//! and nothing that was acknowledged is lost.

use super::{
    dice::{Dice, seed, setting},
    ground::{Ground, RESUMES_WITHIN, percentile},
    log::{History, Micros, Op},
    nemesis::NODES,
    people::Habit,
};
use crate::{harness::assert_resumed, network::in_time};
use std::{thread::sleep, time::Duration};

/// How often one node is killed, and how often all are; a campaign sets more.
const OF_ONE: u64 = 4;
const OF_ALL: u64 = 1;
/// The longest after something was acknowledged.
const MOMENT_MS: u64 = 500;

/// One kill.
struct Kill {
    nodes: Vec<usize>,
    at: Micros,
    /// When the killed nodes' gateways had acknowledged something again.
    back: Micros,
}

impl Kill {
    /// How long nobody was told that anything is final which was begun after it.
    fn silence(&self, history: &History) -> Micros {
        let goes_on = |op: &&Op| op.invoked >= self.at && op.done().is_some();
        let first = history.ops.iter().filter(goes_on).map(|op| op.completed).min();
        first.expect("the network went on") - self.at
    }
}

/// How long something took, of all the times.
fn took(mut times: Vec<Micros>) -> String {
    times.sort_unstable();
    let of = |hundredth| percentile(&times, hundredth);
    format!("p50 {:.1} s, p99 {:.1} s, max {:.1} s", of(50), of(99), of(100))
}

#[test]
fn nothing_acknowledged_is_lost_when_a_node_is_killed_or_all_are() {
    let of_one = setting("DMDL_NODE_KILLS").unwrap_or(OF_ONE);
    let of_all = setting("DMDL_NETWORK_KILLS").unwrap_or(OF_ALL);
    let seed = seed("DMDL_KILLS_SEED");
    let mut dice = Dice::new(seed, 2);
    let mut ground = Ground::new();
    let office = ground.office();
    let mut kills: Vec<Kill> = Vec::new();
    ground.at_work(&office, seed, Habit::Enters, |ground, office| {
        for number in 0..of_one + of_all {
            let begun = office.now();
            in_time("something is acknowledged", || {
                (0..NODES).any(|gateway| office.has_acknowledged(gateway, begun)).then_some(())
            });
            sleep(Duration::from_millis(dice.between(0, MOMENT_MS)));
            // Spread among the others.
            let is_of_all = (number + 1) * of_all / (of_one + of_all) > number * of_all / (of_one + of_all);
            let nodes = if is_of_all { (0..NODES).collect() } else { vec![dice.below(NODES)] };
            let at = office.now();
            ground.network.kill_at_once(&nodes);
            nodes.iter().for_each(|node| drop(ground.network.start(*node)));
            ground.resume(office, &nodes);
            let back = office.now();
            assert_resumed(&format!("kill {} of nodes {nodes:?}", number + 1), Duration::from_micros(back - at));
            kills.push(Kill { nodes, at, back });
        }
    });
    let (history, counts) = ground.judge(&office, seed);
    let (one, all): (Vec<&Kill>, Vec<&Kill>) = kills.iter().partition(|kill| kill.nodes.len() == 1);
    assert_eq!((one.len() as u64, all.len() as u64), (of_one, of_all));
    assert!(kills.iter().all(|kill| u128::from(kill.back - kill.at) < RESUMES_WITHIN.as_micros()));
    let back = |kills: &[&Kill]| took(kills.iter().map(|kill| kill.back - kill.at).collect());
    let silent = took(one.iter().map(|kill| kill.silence(&history)).collect());
    eprintln!(
        "kills: {of_one} of one node, {of_all} of all, 0 lost of {} acknowledged; after one: others silent for {silent}, \
         back in {}; after all: back in {}; seed {seed}",
        counts.acknowledged,
        back(&one),
        back(&all)
    );
}
