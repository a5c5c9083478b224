//! The release rule, explored: no schedule of a small world makes a custodian break its promises, and
//! real custodians decide as the model does.
//!
//! `cargo test --test release_model -- --ignored --nocapture` explores the full configuration.
//!
//! # Source
//! docs/release-model.md; docs/spec/custodian.md, "The release rule"

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod release_model {
    pub(crate) mod custodian;
    pub(crate) mod disk;
    pub(crate) mod ledger;
    pub(crate) mod model;
    pub(crate) mod promise;
    pub(crate) mod real;
    pub(crate) mod scene;
    pub(crate) mod schedule;
}

use release_model::{
    custodian::Plant,
    ledger::{Call, Decryption, Grant, Limits, Terms},
    model::{Plan, representative},
    real::Tally,
    scene::Scene,
    schedule::{Cover, cover, replay, walk},
};
use stateright::{Checker as _, Expectation, HasDiscoveries, Model as _};
use std::{collections::BTreeSet, time::Instant};

/// Two records, two readers. The first reader has one use of record 0, which ends at tick 3; the second
/// one use of record 1.
const TERMS: Terms = Terms {
    grants: &[Grant { reader: 0, record: 0, uses: 1, ends: 3 }, Grant { reader: 1, record: 1, uses: 1, ends: 9 }],
    decryptions: &[
        Decryption { reader: 0, record: 0, grant: Some(0) },
        Decryption { reader: 0, record: 0, grant: Some(0) },
        Decryption { reader: 1, record: 1, grant: Some(1) },
    ],
    limits: Limits { clock_bound: 1, staleness: 1, window: 2 },
    counts_uses: true,
};

/// What is explored at each change.
const SMALL: Plan = Plan {
    terms: TERMS,
    menu: &[
        Call::Decrypt(0),
        Call::Decrypt(1),
        Call::Decrypt(2),
        Call::Revoke(0),
        Call::Erase(1),
        Call::Reshare(0),
        Call::Rekey(0),
    ],
    blocks_max: 3,
    releases_max: 3,
    late: 0,
    conflicts: false,
    chores: false,
    plant: Plant::Nothing,
};

/// What is explored where there is time.
const FULL: Plan = Plan { blocks_max: 4, releases_max: 2, ..SMALL };

/// What bars a reader or a custodian as a whole.
const BARRED: Plan = Plan {
    menu: &[Call::Decrypt(0), Call::Suspend(0), Call::Reinstate(0), Call::RevokeKey(0)],
    releases_max: 2,
    conflicts: true,
    ..SMALL
};

/// What random walks go through: two uses, an owner, a grant in foreign hands, late shares, more time.
const WIDE: Plan = Plan {
    terms: Terms {
        grants: &[Grant { reader: 0, record: 0, uses: 2, ends: 7 }, Grant { reader: 1, record: 1, uses: 1, ends: 12 }],
        decryptions: &[
            Decryption { reader: 0, record: 0, grant: Some(0) },
            Decryption { reader: 0, record: 0, grant: Some(0) },
            Decryption { reader: 0, record: 0, grant: Some(0) },
            Decryption { reader: 1, record: 1, grant: Some(1) },
            Decryption { reader: 0, record: 1, grant: None },
            Decryption { reader: 1, record: 0, grant: Some(0) },
        ],
        limits: Limits { clock_bound: 1, staleness: 2, window: 5 },
        counts_uses: true,
    },
    menu: &[
        Call::Beat,
        Call::Decrypt(0),
        Call::Decrypt(1),
        Call::Decrypt(2),
        Call::Decrypt(3),
        Call::Decrypt(4),
        Call::Decrypt(5),
        Call::Revoke(0),
        Call::Revoke(1),
        Call::Erase(0),
        Call::Erase(1),
        Call::Reshare(0),
        Call::Rekey(0),
        Call::Rekey(1),
        Call::Suspend(0),
        Call::Reinstate(0),
        Call::RevokeKey(1),
    ],
    blocks_max: 12,
    releases_max: u32::MAX,
    late: 0b1010,
    conflicts: true,
    chores: true,
    plant: Plant::Nothing,
};

fn explore(name: &str, plan: Plan) {
    let begun = Instant::now();
    let checker = plan.checker().symmetry_fn(representative).spawn_dfs().join();
    let (unique, all, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    let seconds = begun.elapsed().as_secs_f32();
    eprintln!("{name}: {unique} states ({all} with repeats), at most {depth} steps deep, in {seconds:.1} s");
    assert!(checker.is_done(), "states are left unexplored");
    checker.assert_properties();
}

#[test]
fn no_schedule_breaks_a_promise() {
    explore("small", SMALL);
}

#[test]
#[ignore = "takes a minute: `make model` runs it"]
fn no_longer_schedule_breaks_a_promise() {
    explore("full", FULL);
}

#[test]
fn no_schedule_of_the_barred_breaks_a_promise() {
    let checker = BARRED.checker().symmetry_fn(representative).spawn_dfs().join();
    eprintln!("barred: {} states ({} with repeats)", checker.unique_state_count(), checker.state_count());
    for promise in BARRED.properties().iter().filter(|property| property.expectation == Expectation::Always) {
        checker.assert_no_discovery(promise.name);
    }
}

/// Mistakes of a custodian or a reader, with the promise that each breaks.
const PLANTED: [(Plan, Plant, &str); 20] = [
    (BARRED, Plant::Without(2), "nothing leaves after conflicting certificates"),
    (SMALL, Plant::TrustsInclusion, "no share leaves without a final ALLOW that its custodian has executed"),
    (SMALL, Plant::Without(5), "nothing leaves under a grant after its executed revocation"),
    (BARRED, Plant::Without(6), "nothing leaves for a suspended reader or a revoked key"),
    (BARRED, Plant::Without(7), "nothing leaves for a suspended reader or a revoked key"),
    (SMALL, Plant::Without(8), "no share of another epoch than the executed one leaves"),
    (SMALL, Plant::Without(9), "nothing of a record leaves after its executed erasure"),
    (SMALL, Plant::Without(10), "no share of another epoch than the executed one leaves"),
    (FULL, Plant::Without(12), "nothing leaves past the window or the end of the grant"),
    (FULL, Plant::Without(13), "nothing leaves past the window or the end of the grant"),
    (FULL, Plant::Without(15), "a custodian whose clock is right does not release from a stale tip"),
    (SMALL, Plant::Without(16), "a share is sealed to the key that its decryption lists for its custodian"),
    (SMALL, Plant::ReleasesFirst, "a share leaves when its entry is on disk, and not before"),
    (SMALL, Plant::ForgetsMark, "the ledger has heard or will hear of every share that left"),
    (SMALL, Plant::TrustsStoredAnswer, "nothing leaves under a grant after its executed revocation"),
    (SMALL, Plant::SealsAnew, "what has left is never sealed again"),
    (SMALL, Plant::TakesFirstKey, "a share is sealed to the key that its decryption lists for its custodian"),
    (SMALL, Plant::KeepsWhatEnded, "what ended and was observed is deleted"),
    (SMALL, Plant::SkipsRecovery, "what ended and was observed is deleted"),
    (SMALL, Plant::MixesEpochs, "no key is opened with shares of two epochs"),
];

/// Whether the model, explored breadth first, comes to break this promise.
fn breaks(plan: Plan, promise: &'static str) -> bool {
    let until = HasDiscoveries::AllOf([promise].into());
    plan.checker().finish_when(until).spawn_bfs().join().discovery(promise).is_some()
}

#[test]
fn every_planted_mistake_breaks_its_promise() {
    for (plan, plant, promise) in PLANTED {
        assert!(breaks(Plan { plant, ..plan }, promise), "{plant:?} goes unnoticed");
    }
    let uncounted = Plan { terms: Terms { counts_uses: false, ..TERMS }, ..SMALL };
    assert!(breaks(uncounted, "no grant serves more decryptions than it has uses"));
}

/// Replays the paths that cover a plan; the error of the first that real custodians disagree with.
fn replay_cover(plan: &Plan, states_max: usize) -> Result<(Cover, Tally), String> {
    let scene = Scene::new(plan);
    let cover = cover(plan, states_max);
    let mut total = Tally::default();
    for (seed, path) in (0..).zip(&cover.paths) {
        total.add(&replay(plan, &scene, seed, path).map_err(|error| format!("path {seed}: {error}"))?);
    }
    Ok((cover, total))
}

#[test]
fn real_custodians_decide_as_the_model_on_paths_that_cover_it() {
    let mut alone = BTreeSet::new();
    for (name, plan, states_max) in [("small", SMALL, 100_000), ("full", FULL, 100_000), ("barred", BARRED, 20_000)] {
        let (cover, total) = replay_cover(&plan, states_max).unwrap_or_else(|error| panic!("{name}, {error}"));
        let Cover { paths, states, features } = cover;
        eprintln!("{name}: {} paths show {features} features of {states} states: {total:?}", paths.len());
        alone.extend(total.alone);
    }
    // Of these clauses each was once the only one that did not hold. A ledger that counts leaves no
    // decryption beyond its grant's uses, so 4 is never broken.
    assert_eq!(alone, [2, 3, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16].into());
}

#[test]
fn real_custodians_tell_the_stories_of_the_model() {
    let stories = SMALL.properties().into_iter().filter(|property| property.expectation == Expectation::Sometimes);
    let stories: BTreeSet<_> = stories.map(|property| property.name).collect();
    let checker = SMALL.checker().finish_when(HasDiscoveries::AllOf(stories.clone())).spawn_bfs().join();
    let scene = Scene::new(&SMALL);
    for story in stories {
        let path = checker.discovery(story).expect(story).into_actions();
        let told = replay(&SMALL, &scene, 0, &path);
        told.unwrap_or_else(|error| panic!("{story}: {error}"));
    }
}

#[test]
fn real_custodians_decide_as_the_model_on_random_walks() {
    let first: u64 = std::env::var("DMDL_MODEL_SEED").map_or(0, |seed| seed.parse().unwrap());
    let count: u64 = std::env::var("DMDL_MODEL_WALKS").map_or(300, |count| count.parse().unwrap());
    let scene = Scene::new(&WIDE);
    let mut total = Tally::default();
    for seed in first..first + count {
        let path = walk(&WIDE, seed, 80);
        let tally = replay(&WIDE, &scene, seed, &path);
        total.add(&tally.unwrap_or_else(|error| panic!("DMDL_MODEL_SEED={seed} DMDL_MODEL_WALKS=1: {error}")));
    }
    eprintln!("{count} walks from seed {first}: {total:?}");
    assert!(total.released > 0 && total.repeated > 0 && total.opened > 0, "the walks lead nowhere");
}

#[test]
fn real_custodians_disagree_with_every_planted_mistake() {
    // A clock that is behind is no promise of its own: a slow clock hides that a tip is stale.
    let behind = (SMALL, Plant::Without(14));
    for (plan, plant) in PLANTED.into_iter().map(|(plan, plant, _)| (plan, plant)).chain([behind]) {
        let disagreement = replay_cover(&Plan { plant, ..plan }, 20_000).err();
        assert!(disagreement.is_some(), "{plant:?} goes unnoticed");
    }
}
