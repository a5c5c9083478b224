//! As many organisations as may lie collude: they neither capture the turns nor starve anybody.

use super::town::{Conduct, Town};
use crate::testing::*;
use dmdl_types::{
    checkpoint::CosignedCheckpoint, evidence::Evidence, genesis::faults, id::NodeId, invocation::SystemItem,
    transaction::EndorsedTransaction,
};
use std::collections::BTreeMap;

/// Views of one run.
const VIEWS: u64 = 1000;

/// What colluders do against the others, in a run.
#[derive(Clone, Copy, Debug)]
struct Plot {
    /// Their blocks name none but their own votes.
    hide_votes: bool,
    /// Their blocks carry as few cosignatures of others as a checkpoint needs.
    hide_cosignatures: bool,
    /// Their people flood the ledger with transactions that pass others over.
    flood: bool,
    /// They show evidence that proves nothing.
    accuse: bool,
    /// They endorse nobody else's transactions.
    refuse: bool,
    /// They behave well in odd epochs only.
    by_turns: bool,
}

impl Plot {
    fn of(seed: u64) -> Self {
        // Any few seeds in a row have a bit of everything.
        let seed = seed * 37;
        let bit = |position: u64| seed >> position & 1 == 0;
        Self {
            hide_votes: bit(0),
            hide_cosignatures: bit(1),
            flood: bit(2),
            accuse: bit(3),
            refuse: bit(4),
            by_turns: bit(5),
        }
    }
}

/// What a run came to.
#[derive(Debug, Default)]
struct Run {
    turns: BTreeMap<u8, u64>,
    /// The longest that an honest node which may propose waited for its turn, in views.
    longest_wait: u64,
}

fn run(orgs: u8, seed: u64) -> (Plot, Run) {
    let f = faults(usize::from(orgs)) as u8;
    let plot = Plot::of(seed);
    let liar = |org: u8| org <= f;
    let mut town = Town::new(orgs, seed);
    let mut run = Run::default();
    let mut waited: BTreeMap<u8, u64> = BTreeMap::new();
    for _ in 0..VIEWS {
        let resting = plot.by_turns && town.epoch() % 2 == 1;
        let honest = Conduct { late_in_100: 2, ..Conduct::WELL };
        let conduct = |org: u8| match (liar(org), resting) {
            (true, false) => Conduct { endorses: !plot.refuse, ..Conduct::WELL },
            (true, true) => Conduct::WELL,
            (false, _) => honest,
        };
        let qualified = town.qualified(town.epoch());
        let told = if plot.accuse && !resting {
            (1..=f).map(|org| (org, SystemItem::Evidence(Box::new(Evidence::Votes { proof: vec![7] })))).collect()
        } else {
            Vec::new()
        };
        let (primary, _) =
            if resting { town.live_view(&conduct, told) } else { lie(&mut town, plot, f, &conduct, told) };
        *run.turns.entry(primary).or_default() += 1;
        for org in f + 1..=orgs {
            let wait = waited.entry(org).or_default();
            *wait = if org == primary || !qualified.contains(&node_id(org)) { 0 } else { *wait + 1 };
            run.longest_wait = run.longest_wait.max(*wait);
        }
    }
    // To execute all of it once more takes as long again.
    if seed.is_multiple_of(8) {
        town.assert_alike();
    }
    (plot, run)
}

/// A view whose block is the liars' if the turn is theirs.
fn lie(
    town: &mut Town,
    plot: Plot,
    f: u8,
    conduct: &impl Fn(u8) -> Conduct,
    told: Vec<(u8, SystemItem)>,
) -> (u8, bool) {
    let flood = if plot.flood { flood(town, f) } else { Vec::new() };
    town.live_view_with(conduct, told, flood, |town, primary, block| {
        if primary > f {
            return;
        }
        if plot.hide_votes {
            let config = town.config(town.epoch());
            let own: Vec<u8> = (1..=f).collect();
            town.place(block, &config, &own);
        }
        if plot.hide_cosignatures
            && let Some(carried) = block.header.checkpoint.take()
        {
            let needed = f + 1;
            let few = (1..=needed).map(|org| cosignature(carried.checkpoint(), org)).collect();
            block.header.checkpoint = CosignedCheckpoint::new(*carried.checkpoint(), few).ok();
        }
    })
}

/// Transactions of the liars' people that as few others as possible endorse.
fn flood(town: &mut Town, f: u8) -> Vec<EndorsedTransaction> {
    let config = town.config(town.epoch());
    let victim = f + 1;
    let helper = f + 2;
    (1..=f)
        .flat_map(|author| [author; 2])
        .map(|author| town.transaction(&config, author, |_, org| org != victim && (org <= f || org == helper)))
        .collect()
}

#[test]
fn colluders_neither_capture_the_turns_nor_starve_anybody() {
    let number = |name| std::env::var(name).ok().map(|number: String| number.parse::<u64>().expect("a number"));
    let (runs, base) = (number("DMDL_COLLUDERS").unwrap_or(6), number("DMDL_COLLUDERS_BASE").unwrap_or(0));
    let (mut worst_share, mut longest) = (0, 0);
    for seed in base..base + runs {
        for orgs in [4, 7] {
            let f = faults(usize::from(orgs)) as u64;
            let (plot, run) = run(orgs, seed);
            let taken: u64 = (1..=f as u8).map(|org| run.turns.get(&org).copied().unwrap_or_default()).sum();
            // At the floor, 2f + 1 take turns, and f of them may be the liars.
            let most = VIEWS * f / (2 * f + 1) + VIEWS / 10;
            assert!(taken <= most, "{plot:?}, seed {seed}: the liars had {taken} of {VIEWS} turns");
            assert!(run.longest_wait <= 3 * u64::from(orgs), "{plot:?}, seed {seed}: {run:?}");
            for org in f as u8 + 1..=orgs {
                let turns = run.turns.get(&org).copied().unwrap_or_default();
                let fair = VIEWS / u64::from(orgs);
                assert!(turns * 2 >= fair, "{plot:?}, seed {seed}: organisation {org} had {turns} turns: {run:?}");
            }
            (worst_share, longest) = (
                worst_share.max(taken * 1000 / VIEWS * 100 / (f * 1000 / u64::from(orgs))),
                longest.max(run.longest_wait),
            );
        }
    }
    println!(
        "{runs} runs of {VIEWS} views with 4 and with 7 organisations: the liars had at most {worst_share} % of their fair share, nobody waited longer than {longest} views"
    );
}

#[test]
fn a_colluder_that_is_found_at_fault_has_fewer_turns_than_its_share() {
    let mut town = Town::new(7, 17);
    let mut turns = 0;
    for view in 0..VIEWS {
        let told = if view % 50 == 25 {
            let header = town.ledger.blocks.last().unwrap().header.clone();
            let config = town.config(town.epoch());
            let proof = equivocation(&header, 1, &config);
            vec![(3, SystemItem::Evidence(Box::new(Evidence::Votes { proof })))]
        } else {
            Vec::new()
        };
        turns += u64::from(town.live_view(&|_| Conduct::WELL, told).0 == 1);
    }
    let last: Vec<NodeId> = town.qualified(town.epoch());
    assert!(!last.contains(&node_id(1)));
    assert!(turns * 7 < VIEWS, "{turns} turns");
}
