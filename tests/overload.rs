//! Ten times as much as a network can do: it refuses what is too much at once, does what it takes in, loses nothing of
//! it, keeps its memory, and is its old self when it is over.
//!
//! `make overload` runs it for a minute; the suite for some seconds, on a machine that may have other work.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "cli/harness.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod harness;

#[path = "processes/network.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod network;

#[path = "common/proc.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod proc;

#[path = "overload/load.rs"]
mod load;
#[path = "overload/mint.rs"]
mod mint;
#[path = "overload/town.rs"]
mod town;
#[path = "overload/wire.rs"]
mod wire;

use load::{Load, Tally};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use town::{NODES, Town};

/// How long too much is asked for, when nobody asks for more.
const SLICE_SECONDS: u64 = 6;
/// How many times as much as the network does.
const TIMES: u64 = 10;
/// As many as can be refused or on their way at the same moment, at four gateways.
const CONNECTIONS: usize = 1200;
/// No process may have more.
const RESIDENT_MOST: u64 = 2 << 30;
/// How long it may take until a normal load takes its normal time again; the machine may be slow, and the promise is less.
const RECOVERY_MOST: u64 = 30;

/// Held by the test that has the machine for itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ms(duration: Duration) -> u128 {
    duration.as_millis()
}

/// What is done at a rate that the network has no trouble with, for so long.
fn normally(town: &Town, rate: u64, lasts: Duration) -> Tally {
    let mint = town.mint(0..town::AUTHORS);
    town.run(Load { mint, gateways: town.gateways.clone(), connections: 128, rate: Some(rate), lasts })
}

#[test]
fn ten_times_what_a_network_can_do_is_shed_at_once_and_what_it_takes_in_is_done() {
    let asked = std::env::var("DMDL_OVERLOAD_SECONDS").ok().map(|seconds| seconds.parse().expect("a number"));
    let (is_whole, _alone) = (asked.is_some(), alone());
    let lasts = Duration::from_secs(asked.unwrap_or(SLICE_SECONDS));
    let town = Town::start();
    let everybody = || town.mint(0..town::AUTHORS);
    let gateways = || town.gateways.clone();

    let idle = town.run(Load {
        mint: everybody(),
        gateways: gateways(),
        connections: 1,
        rate: None,
        lasts: Duration::from_secs(2),
    });
    let busy = town.run(Load {
        mint: everybody(),
        gateways: gateways(),
        connections: 128,
        rate: None,
        lasts: Duration::from_secs(4),
    });
    let capacity = (busy.of(200) / 4).max(1);
    let normal = normally(&town, (capacity / 3).max(1), Duration::from_secs(4));
    eprintln!("one at a time       p50 {} ms, p99 {} ms", ms(idle.took(50)), ms(idle.took(99)));
    eprintln!("128 at a time       {capacity}/s, p50 {} ms, p99 {} ms", ms(busy.took(50)), ms(busy.took(99)));
    eprintln!("a third of that     p50 {} ms, p99 {} ms", ms(normal.took(50)), ms(normal.took(99)));

    let rate = capacity * TIMES;
    let over =
        town.run(Load { mint: everybody(), gateways: gateways(), connections: CONNECTIONS, rate: Some(rate), lasts });
    let answered: u64 = over.statuses.values().sum();
    eprintln!(
        "{TIMES} times as much   {rate}/s for {} s: {} done, {} refused 429, {} refused 503, {} not sent, {} others",
        lasts.as_secs(),
        over.of(200),
        over.of(429),
        over.of(503),
        over.not_sent,
        answered - over.of(200) - over.of(429) - over.of(503)
    );
    eprintln!(
        "                    done p50 {} ms, p99 {} ms; refused p50 {} ms, p99 {} ms",
        ms(over.took(50)),
        ms(over.took(99)),
        ms(over.refused(50)),
        ms(over.refused(99))
    );

    // Second by second, until what is asked for normally takes its normal time.
    let mut after = Vec::new();
    let usual = normal.took(99).max(Duration::from_millis(200)) * 2;
    let recovered = (1..=RECOVERY_MOST).find(|_| {
        let second = normally(&town, (capacity / 3).max(1), Duration::from_secs(1));
        let is_usual = second.took(99) <= usual && second.of(200) > 0;
        after.push(second);
        is_usual
    });
    let resident: Vec<u64> = (0..NODES).map(|node| proc::resident_most(town.network.pid(node)).unwrap()).collect();
    let most = resident.iter().copied().max().unwrap();
    eprintln!("recovered in        {recovered:?} s (p99 at most {} ms)", ms(usual));
    eprintln!("memory at most      {} MiB in a process", proc::mib(most));

    let mut done: BTreeMap<_, u64> = BTreeMap::new();
    for tally in [&idle, &busy, &normal, &over].into_iter().chain(&after) {
        tally.done.iter().for_each(|id| *done.entry(*id).or_default() += 1);
        assert!(tally.odd.is_empty(), "{:?}", tally.odd);
        assert_eq!((tally.unmannerly, tally.broken), (0, 0), "{:?}", tally.statuses);
    }
    assert!(done.values().all(|count| *count == 1), "a transaction is handed in once");
    let found = town.occurrences(done.keys().copied());
    eprintln!("in the trail        {} acknowledged, each there once", found.len());
    assert!(found.values().all(|count| *count == 1), "what was acknowledged is in the trail, once");

    assert!(over.of(429) + over.of(503) > over.of(200), "this was no overload: {:?}", over.statuses);
    assert!(over.of(200) > 0, "nothing was done");
    assert!(most < RESIDENT_MOST, "{resident:?}");
    assert!(recovered.is_some(), "a normal load takes its normal time again");
    if is_whole {
        assert!(recovered.is_some_and(|seconds| seconds <= 10), "within ten seconds");
    }
}

#[test]
fn a_greedy_organisation_does_not_keep_a_modest_person_out() {
    let _alone = alone();
    let town = Town::start();
    let lasts = Duration::from_secs(4);
    let at = vec![town.gateways[0]];
    // All of one organisation's people, each within their quota, and one person of another.
    let (greedy, modest) = (town.mint(town::of_org(2)), town.mint(town::one_of_org(1)));
    let (greedy, modest) = town.run_both(
        Load { mint: greedy, gateways: at.clone(), connections: 400, rate: Some(3000), lasts },
        Load { mint: modest, gateways: at, connections: 1, rate: Some(10), lasts },
    );
    eprintln!(
        "greedy {:?}, p50 {} ms; modest {:?}, p50 {} ms",
        greedy.statuses,
        ms(greedy.took(50)),
        modest.statuses,
        ms(modest.took(50))
    );
    // How much it gets depends on the machine; that it is refused does not.
    assert!(greedy.of(429) * 10 > greedy.of(200), "{:?}", greedy.statuses);
    assert!(modest.of(200) > 0 && modest.of(200) >= 9 * (modest.of(429) + modest.of(503)), "{:?}", modest.statuses);
}
