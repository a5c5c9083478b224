//! Conduct and its consequences, epoch by epoch: who falls out of the turns, alike on every node, and comes back.

#![expect(clippy::cast_possible_truncation, reason = "tests count to small numbers")]
#![expect(clippy::print_stdout, reason = "the tables before and after are worth a look")]

mod colluders;
mod evidence;
mod town;

use crate::testing::*;
use dmdl_types::{
    id::NodeId,
    mdca::{MdcaConfig, ONE_PPM},
};
use town::{Conduct, Town};

/// Epochs that pass until what an epoch showed decides who may propose.
const LAG: u64 = 2;

/// In which epochs a node may propose, from the first to the last that is decided.
fn epochs_in(town: &Town, org: u8) -> Vec<bool> {
    let last = town.epoch() + 1;
    (0..=last).map(|epoch| town.qualified(epoch).contains(&node_id(org))).collect()
}

/// Lets organisation 1 behave as `ill` in epochs 2 to 7 and well before and after, and returns in which epochs
/// its node may propose.
fn ill_for_a_while(orgs: u8, ill: Conduct) -> Vec<bool> {
    let mut town = Town::new(orgs, 7);
    for epoch in 0..16 {
        let conduct = if (2..=7).contains(&epoch) { ill } else { Conduct::WELL };
        town.live_epoch(|org| if org == 1 { conduct } else { Conduct::WELL });
    }
    town.assert_alike();
    let epochs = epochs_in(&town, 1);
    println!(
        "{orgs} organisations, {ill:?}: {}",
        epochs.iter().map(|in_| if *in_ { 'x' } else { '.' }).collect::<String>()
    );
    println!("{}", town.table());
    for other in 2..=orgs {
        assert!(epochs_in(&town, other).iter().all(|qualified| *qualified), "organisation {other} did nothing wrong");
    }
    epochs
}

/// Out from the epoch that the specification names on, for as long as it is ill, and back for good afterwards.
fn assert_out_and_back(epochs: &[bool], back_after: usize) {
    let out: Vec<usize> = epochs.iter().enumerate().filter(|(_, in_)| !**in_).map(|(epoch, _)| epoch).collect();
    let (first, last) = (out[0], out[out.len() - 1]);
    assert_eq!(first as u64, 2 + LAG, "{epochs:?}");
    assert!(last as u64 >= 7 + LAG, "in while it was ill: {epochs:?}");
    assert_eq!(out.len(), last - first + 1, "it came back and fell out again: {epochs:?}");
    assert!(last <= 7 + LAG as usize + back_after, "back late: {epochs:?}");
}

#[test]
fn everybody_who_is_well_takes_turns() {
    let mut town = Town::new(4, 1);
    (0..6).for_each(|_| town.live_epoch(|_| Conduct::WELL));
    town.assert_alike();
    for epoch in 0..=7 {
        assert_eq!(town.qualified(epoch).len(), 4);
    }
}

#[test]
fn a_silent_node_falls_out_and_comes_back_once_well() {
    for orgs in [4, 7] {
        assert_out_and_back(&ill_for_a_while(orgs, Conduct::SILENT), 3);
    }
}

#[test]
fn a_slow_orderer_falls_out_and_comes_back_once_well() {
    for orgs in [4, 7] {
        assert_out_and_back(&ill_for_a_while(orgs, Conduct { turns: false, votes: false, ..Conduct::WELL }), 3);
    }
}

#[test]
fn an_endorser_that_does_not_answer_falls_out_and_comes_back_once_well() {
    assert_out_and_back(&ill_for_a_while(4, Conduct { endorses: false, ..Conduct::WELL }), 3);
}

#[test]
fn a_committer_that_does_not_cosign_falls_out_and_comes_back_once_well() {
    assert_out_and_back(&ill_for_a_while(4, Conduct { cosigns: false, ..Conduct::WELL }), 3);
}

#[test]
fn a_node_that_hesitates_now_and_then_loses_no_turn() {
    let mut town = Town::new(4, 9);
    for epoch in 0..10 {
        // Every other epoch a tenth of what is asked of it comes too late.
        let hesitant = Conduct { late_in_100: if epoch % 2 == 0 { 10 } else { 0 }, ..Conduct::WELL };
        town.live_epoch(|org| if org == 3 { hesitant } else { Conduct::WELL });
    }
    assert!(epochs_in(&town, 3).iter().all(|qualified| *qualified), "{:?}", epochs_in(&town, 3));
}

#[test]
fn an_idle_channel_forgets_and_keeps_nobody_out() {
    let mut town = Town::new(4, 3);
    town.busy = false;
    let blind = Conduct { endorses: false, cosigns: false, ..Conduct::WELL };
    (0..6).for_each(|_| town.live_epoch(|org| if org == 2 { blind } else { Conduct::WELL }));
    assert!(epochs_in(&town, 2).iter().all(|qualified| *qualified), "nothing was asked of it");
}

#[test]
fn the_worse_half_is_kept_where_too_few_are_well() {
    let mut town = Town::new(7, 5);
    (0..5).for_each(|_| town.live_epoch(|org| if org <= 2 { Conduct::SILENT } else { Conduct::WELL }));
    // Of the other five, two more stop endorsing: three would be left, and five must take turns.
    let lazy = Conduct { endorses: false, ..Conduct::WELL };
    (0..5).for_each(|_| {
        town.live_epoch(|org| match org {
            1 | 2 => Conduct::SILENT,
            3 | 4 => lazy,
            _ => Conduct::WELL,
        });
    });
    let qualified = town.qualified(town.epoch() + 1);
    let well: Vec<NodeId> = (5..=7).map(node_id).collect();
    assert_eq!(qualified.len(), 5);
    assert!(well.iter().all(|node| qualified[..3].contains(node)), "the well ones come first");
}

#[test]
fn the_counters_of_epochs_long_past_are_forgotten() {
    let mut town = Town::new(4, 2);
    (0..12).for_each(|_| town.live_epoch(|_| Conduct::WELL));
    let early = town.rows_of_mdca();
    (0..12).for_each(|_| town.live_epoch(|_| Conduct::WELL));
    assert_eq!(town.rows_of_mdca(), early, "rows do not add up with the chain");
}

#[test]
fn what_a_channel_asks_can_differ() {
    let strict = MdcaConfig { thresholds: MdcaConfig::default().thresholds.map(|_| ONE_PPM), ..MdcaConfig::default() };
    let mut town = Town::with(4, 4, strict);
    (0..4).for_each(|_| town.live_epoch(|org| if org == 1 { Conduct::SILENT } else { Conduct::WELL }));
    let qualified = town.qualified(town.epoch() + 1);
    assert_eq!(qualified.len(), 3, "nobody reaches it, so the best fill up");
    assert!(!qualified.contains(&node_id(1)));
}
