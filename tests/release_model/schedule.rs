//! Schedules out of the model: random walks, and paths that cover what the model can do.

use super::{
    custodian::{Answer, Clauses, EPOCHS},
    ledger::Call,
    model::{Action, End, Plan, SKEWS, State, everybody},
    real::{Replay, Tally},
    scene::Scene,
};
use commonware_utils::TestRng;
use rand_core::Rng as _;
use stateright::Model as _;
use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    mem::{Discriminant, discriminant},
};

/// What a path can show: a step in a situation, or a refusal in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Feature {
    /// This custodian, which has executed these calls in whatever order, decides so.
    Decision {
        by: u8,
        decryption: u8,
        decision: Result<(u8, bool), Clauses>,
        executed: u32,
        unobserved: bool,
        held: u8,
    },
    /// So many custodians let their shares of each epoch go for this decryption.
    Out { decryption: u8, shares: [u32; 2] },
    /// A step that is no ask.
    Step { kind: Discriminant<Action>, by: u8, unobserved: bool, held: u8, entries: u16 },
    /// A process that is killed amid an ask.
    Killed { by: u8, decryption: u8, end: End, unobserved: bool },
}

/// What a state shows: what every ask would be told now, and what is out.
fn features(plan: &Plan, state: &State) -> Vec<Feature> {
    let out = |decryption| EPOCHS.map(|epoch| state.shares_out(decryption, epoch));
    let out = plan.decryptions().map(|decryption| Feature::Out { decryption, shares: out(decryption) });
    let mut features: Vec<_> = out.collect();
    for by in everybody() {
        let custodian = state.custodian(by);
        let (unobserved, held) = (custodian.unobserved, custodian.held);
        let calls = state.ledger.until(custodian.executed);
        let executed = (0..).zip(plan.menu).filter(|(_, call)| calls.contains(call)).map(|(bit, _)| 1 << bit).sum();
        for decryption in plan.decryptions() {
            for skew in SKEWS {
                let decision = plan.answer(state, by, decryption, skew);
                let decision = decision.map(|Answer { epoch, stored, .. }| (epoch, stored));
                features.push(Feature::Decision { by, decryption, decision, executed, unobserved, held });
            }
        }
    }
    features
}

fn feature(state: &State, action: Action) -> Feature {
    let by = action.by();
    let custodian = state.custodian(by);
    let (unobserved, held, entries) = (custodian.unobserved, custodian.held, custodian.entries);
    match action {
        Action::Ask { decryption, end, .. } => Feature::Killed { by, decryption, end, unobserved },
        action => Feature::Step { kind: discriminant(&action), by, unobserved, held, entries },
    }
}

/// Paths through the first `states_max` states that show every feature that these states have.
pub(crate) struct Cover {
    pub(crate) paths: Vec<Vec<Action>>,
    pub(crate) states: usize,
    pub(crate) features: usize,
}

/// Explores the model breadth first, and keeps paths until every feature seen is on one of them.
pub(crate) fn cover(plan: &Plan, states_max: usize) -> Cover {
    let init = plan.init_states()[0];
    // Each state with the step that first led to it.
    let mut found: HashMap<State, Option<(State, Action)>> = HashMap::from([(init, None)]);
    let mut queue = std::collections::VecDeque::from([init]);
    let mut seen: HashSet<Feature> = HashSet::new();
    // Where a path must end to show something new, with what it shows.
    let mut ends: Vec<(State, Option<Action>, Vec<Feature>)> = Vec::new();
    let mut states = 0;
    while let Some(state) = queue.pop_front().filter(|_| states < states_max) {
        states += 1;
        let new: Vec<_> = features(plan, &state).into_iter().filter(|feature| seen.insert(*feature)).collect();
        if !new.is_empty() {
            ends.push((state, None, new));
        }
        let mut actions = Vec::new();
        plan.actions(&state, &mut actions);
        for action in actions {
            let feature = feature(&state, action);
            if seen.insert(feature) {
                ends.push((state, Some(action), vec![feature]));
            }
            if let Some(next) = plan.next_state(&state, action)
                && let Entry::Vacant(place) = found.entry(next)
            {
                place.insert(Some((state, action)));
                queue.push_back(next);
            }
        }
    }
    let shown_in_all = seen.len();
    let mut paths = Vec::new();
    // The longest first: they show most of the others' features on their way.
    for (state, last, shown) in ends.into_iter().rev() {
        if !shown.iter().any(|feature| seen.contains(feature)) {
            continue;
        }
        let mut path: Vec<_> = last.into_iter().collect();
        let mut at = state;
        while let Some((before, action)) = found[&at] {
            path.insert(0, action);
            at = before;
        }
        for action in &path {
            for feature in features(plan, &at).into_iter().chain([feature(&at, *action)]) {
                seen.remove(&feature);
            }
            at = plan.next_state(&at, *action).unwrap_or(at);
        }
        for feature in features(plan, &at) {
            seen.remove(&feature);
        }
        paths.push(path);
    }
    Cover { paths, states, features: shown_in_all }
}

/// A kind of step, and how often it is taken against the others that are possible.
const fn lots(action: &Action) -> (u8, usize) {
    match action {
        Action::Ask { end: End::Answered, .. } => (0, 24),
        Action::Ask { .. } => (1, 4),
        Action::Execute { .. } => (2, 16),
        Action::Deliver { .. } => (3, 16),
        Action::Observe { .. } => (4, 12),
        Action::Order { call: Call::Decrypt(_), .. } => (5, 6),
        Action::Order { .. } => (6, 3),
        Action::Kill { .. } => (7, 2),
        Action::Settle { .. } => (8, 2),
        Action::Tidy { .. } => (9, 2),
        // A custodian that has seen a conflict does nothing more.
        Action::Conflict { .. } => (10, 1),
    }
}

/// A walk of the model that a seed decides: first a kind of step, then one of that kind. What has left
/// is not asked for again: a replay does so after every step.
pub(crate) fn walk(plan: &Plan, seed: u64, steps: usize) -> Vec<Action> {
    let mut rng = TestRng::new(seed);
    let mut pick = |len: usize| usize::try_from(rng.next_u64() % u64::try_from(len).unwrap()).unwrap();
    let mut state = plan.init_states()[0];
    let mut path = Vec::new();
    while path.len() < steps {
        let mut actions = Vec::new();
        plan.actions(&state, &mut actions);
        actions.retain(|action| match action {
            Action::Ask { .. } => plan.next_state(&state, *action).is_some(),
            _ => true,
        });
        let mut kinds: Vec<_> = actions.iter().map(lots).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let all: Vec<_> = kinds.into_iter().flat_map(|(kind, lots)| vec![kind; lots]).collect();
        let kind = all[pick(all.len())];
        actions.retain(|action| lots(action).0 == kind);
        let action = actions[pick(actions.len())];
        path.push(action);
        state = plan.next_state(&state, action).unwrap_or(state);
    }
    path
}

/// Replays a path on real custodians, with all refusals on the way.
///
/// # Errors
/// Where they disagree with the model, and the schedule that led there.
pub(crate) fn replay(plan: &Plan, scene: &Scene, seed: u64, path: &[Action]) -> Result<Tally, String> {
    let mut replay = Replay::new(plan, scene, seed);
    let mut run = || -> Result<(), (usize, String)> {
        replay.probe(everybody()).map_err(|error| (0, error))?;
        for (taken, action) in (1..).zip(path) {
            replay.step(*action).map_err(|error| (taken, error))?;
        }
        replay.read().map_err(|error| (path.len(), error))
    };
    run().map(|()| std::mem::take(&mut replay.tally)).map_err(|(taken, error)| {
        let schedule: String = path[..taken].iter().map(|action| format!("    {action:?}\n")).collect();
        format!("{error}\nafter {taken} steps:\n{schedule}the model is at {:#?}", replay.state)
    })
}
