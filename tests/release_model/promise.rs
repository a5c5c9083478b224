//! What must always hold, and what must be possible, or else the model says nothing.
//!
//! Judged from the blocks that a custodian has executed, without the custodian's rule.

use super::{
    custodian::{EPOCHS, Plant, piece, slot},
    ledger::{Call, Decryption, THRESHOLD, set},
    model::{Plan, State, everybody},
};
use stateright::Property;

/// A share that leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) by: u8,
    pub(crate) decryption: u8,
    pub(crate) epoch: u8,
    /// The custodian for which the key is listed that it was sealed to.
    pub(crate) key: u8,
    pub(crate) skew: i8,
}

/// Broken promises, one bit each.
pub(crate) type Faults = u16;
pub(crate) const NOT_ALLOWED: Faults = 1;
pub(crate) const REVOKED: Faults = 1 << 1;
pub(crate) const ERASED: Faults = 1 << 2;
pub(crate) const EPOCH_ENDED: Faults = 1 << 3;
pub(crate) const OTHER_KEY: Faults = 1 << 4;
pub(crate) const NO_ENTRY: Faults = 1 << 5;
pub(crate) const SEALED_TWICE: Faults = 1 << 6;
pub(crate) const LATE: Faults = 1 << 7;
pub(crate) const BARRED: Faults = 1 << 8;
pub(crate) const STALE: Faults = 1 << 9;
pub(crate) const CONFLICT: Faults = 1 << 10;

/// Which promises a share breaks by leaving now.
pub(crate) fn judge(plan: &Plan, state: &State, ask: &Ask) -> Faults {
    let Ask { by, decryption, epoch, key, skew } = *ask;
    let custodian = state.custodian(by);
    let Decryption { reader, record, grant } = plan.terms.decryptions[usize::from(decryption)];
    let executed = state.ledger.until(custodian.executed);
    let world = plan.world(state, by);
    let ordered = executed.iter().position(|call| *call == Call::Decrypt(decryption)).map_or(0, |block| block + 1);
    let ends = grant.map_or(u8::MAX, |grant| plan.terms.grants[usize::from(grant)].ends);
    let limits = plan.terms.limits;
    let late = executed.len() > ordered + usize::from(limits.window) || custodian.executed > ends;
    let reshares = executed.iter().filter(|call| **call == Call::Reshare(record)).count();
    let suspended = executed.iter().rfind(|call| [Call::Suspend(reader), Call::Reinstate(reader)].contains(call));
    let barred = suspended == Some(&Call::Suspend(reader)) || executed.contains(&Call::RevokeKey(reader));
    let behind = i8::try_from(state.ledger.height() - custodian.executed).unwrap();
    // A right clock notices a stale tip; what a wrong one lets through is what a cut-off node with a
    // wrong clock lets through.
    let stale = skew.abs() <= limits.clock_bound && behind > limits.staleness + limits.clock_bound;
    let broken = [
        (NOT_ALLOWED, ordered == 0 || !world.allows(decryption)),
        (REVOKED, grant.is_some_and(|grant| executed.contains(&Call::Revoke(grant)))),
        (ERASED, executed.contains(&Call::Erase(record))),
        (EPOCH_ENDED, reshares != usize::from(epoch) || set(record, epoch) & (1 << by) == 0),
        (OTHER_KEY, key != by || !world.lists(decryption, by)),
        (NO_ENTRY, custodian.entries & piece(decryption, epoch) == 0),
        (LATE, late),
        (BARRED, barred),
        (STALE, stale),
        (CONFLICT, custodian.conflict),
    ];
    broken.iter().filter(|(_, broken)| *broken).map(|(fault, _)| fault).sum()
}

/// Whether the reader of a decryption gets a key out of the shares that left for it.
pub(crate) fn opens(plan: &Plan, state: &State, decryption: u8) -> bool {
    let out = EPOCHS.map(|epoch| state.shares_out(decryption, epoch));
    if plan.plant == Plant::MixesEpochs {
        return out.iter().sum::<u32>() >= THRESHOLD;
    }
    out.iter().any(|out| *out >= THRESHOLD)
}

/// No key is opened but by enough custodians of one epoch's set, each with its share of that epoch.
fn no_key_from_mixed_epochs(plan: &Plan, state: &State) -> bool {
    plan.decryptions().filter(|decryption| opens(plan, state, *decryption)).all(|decryption| {
        let record = plan.terms.decryptions[usize::from(decryption)].record;
        EPOCHS.into_iter().any(|epoch| {
            let members = everybody().filter(|by| set(record, epoch) & (1 << by) != 0);
            let out = members.filter(|by| state.custodian(*by).left & piece(decryption, epoch) != 0);
            out.count() >= usize::try_from(THRESHOLD).unwrap()
        })
    })
}

/// No grant serves more decryptions than it has uses.
fn uses_stay_within_the_grant(plan: &Plan, state: &State) -> bool {
    (0u8..).zip(plan.terms.grants).all(|(grant, terms)| {
        let under =
            plan.decryptions().filter(|number| plan.terms.decryptions[usize::from(*number)].grant == Some(grant));
        let served = under.filter(|number| EPOCHS.iter().any(|epoch| state.shares_out(*number, *epoch) > 0));
        served.count() <= usize::from(terms.uses)
    })
}

/// Of every share that left, the ledger has heard or will hear.
fn the_ledger_will_hear(_: &Plan, state: &State) -> bool {
    state.custodians.iter().all(|custodian| custodian.left & !(custodian.marks | custodian.settled) == 0)
}

/// What the blocks ended that a custodian has observed, it does not keep.
fn what_ended_is_gone(plan: &Plan, state: &State) -> bool {
    everybody().filter(|by| !state.custodian(*by).unobserved).all(|by| {
        let custodian = state.custodian(by);
        let executed = state.ledger.until(custodian.executed);
        let over = |record: u8, epoch: u8| {
            let reshares = executed.iter().filter(|call| **call == Call::Reshare(record)).count();
            executed.contains(&Call::Erase(record)) || usize::from(epoch) < reshares
        };
        let no_share = [0, 1].into_iter().all(|record| {
            EPOCHS.into_iter().all(|epoch| !over(record, epoch) || custodian.held & slot(record, epoch) == 0)
        });
        let no_answer = plan.decryptions().all(|number| {
            let Decryption { record, grant, .. } = plan.terms.decryptions[usize::from(number)];
            let revoked = grant.is_some_and(|grant| executed.contains(&Call::Revoke(grant)));
            let kept = |epoch: &u8| custodian.entries & piece(number, *epoch) != 0;
            EPOCHS.into_iter().filter(kept).all(|epoch| !revoked && !over(record, epoch))
        });
        no_share && no_answer
    })
}

/// Whether some custodian and some decryption are so.
fn some(plan: &Plan, mut is_so: impl FnMut(u8, u8) -> bool) -> bool {
    everybody().any(|by| plan.decryptions().any(|decryption| is_so(by, decryption)))
}

fn left(state: &State, by: u8, decryption: u8) -> bool {
    state.custodian(by).left & (piece(decryption, 0) | piece(decryption, 1)) != 0
}

fn is_revoked_at(plan: &Plan, state: &State, by: u8, decryption: u8) -> bool {
    let grant = plan.terms.decryptions[usize::from(decryption)].grant;
    let executed = state.ledger.until(state.custodian(by).executed);
    grant.is_some_and(|grant| executed.contains(&Call::Revoke(grant)))
}

/// A custodian let its share go before its node executed the revocation; another one had executed it
/// before it was asked, and let nothing go.
fn a_revocation_overtakes_one_of_two(plan: &Plan, state: &State) -> bool {
    some(plan, |late, decryption| {
        !left(state, late, decryption)
            && is_revoked_at(plan, state, late, decryption)
            && everybody().any(|early| left(state, early, decryption))
            && plan.world(state, late).allows(decryption)
    })
}

/// A custodian may still release what others already know to be revoked.
fn a_lagging_custodian_still_releases(plan: &Plan, state: &State) -> bool {
    some(plan, |by, decryption| {
        let grant = plan.terms.decryptions[usize::from(decryption)].grant;
        grant.is_some_and(|grant| state.ledger.has(Call::Revoke(grant)))
            && !is_revoked_at(plan, state, by, decryption)
            && plan.answer(state, by, decryption, 0).is_ok()
    })
}

/// A decryption is in a block and was denied, with the grant revoked or not.
fn is_denied(plan: &Plan, state: &State, after_revocation: bool) -> bool {
    let foremost = everybody().find(|by| state.custodian(*by).executed == state.ledger.height()).unwrap();
    let world = plan.world(state, foremost);
    plan.decryptions().any(|decryption| {
        let denied = world.is_ordered(decryption) && !world.allows(decryption);
        denied && is_revoked_at(plan, state, foremost, decryption) == after_revocation
    })
}

fn always(name: &'static str, condition: fn(&Plan, &State) -> bool) -> Property<Plan> {
    Property::always(name, condition)
}

fn sometimes(name: &'static str, condition: fn(&Plan, &State) -> bool) -> Property<Plan> {
    Property::sometimes(name, condition)
}

/// All properties. The names are what a failure prints.
pub(crate) fn properties() -> Vec<Property<Plan>> {
    let mut all = promises();
    all.extend(stories());
    all
}

fn promises() -> Vec<Property<Plan>> {
    vec![
        always("no share leaves without a final ALLOW that its custodian has executed", |_, state| {
            state.faults & NOT_ALLOWED == 0
        }),
        always("nothing leaves under a grant after its executed revocation", |_, state| state.faults & REVOKED == 0),
        always("nothing of a record leaves after its executed erasure", |_, state| state.faults & ERASED == 0),
        always("no share of another epoch than the executed one leaves", |_, state| state.faults & EPOCH_ENDED == 0),
        always("a share is sealed to the key that its decryption lists for its custodian", |_, state| {
            state.faults & OTHER_KEY == 0
        }),
        always("a share leaves when its entry is on disk, and not before", |_, state| state.faults & NO_ENTRY == 0),
        always("what has left is never sealed again", |_, state| state.faults & SEALED_TWICE == 0),
        always("nothing leaves past the window or the end of the grant", |_, state| state.faults & LATE == 0),
        always("nothing leaves for a suspended reader or a revoked key", |_, state| state.faults & BARRED == 0),
        always("a custodian whose clock is right does not release from a stale tip", |_, state| {
            state.faults & STALE == 0
        }),
        always("nothing leaves after conflicting certificates", |_, state| state.faults & CONFLICT == 0),
        always("no grant serves more decryptions than it has uses", uses_stay_within_the_grant),
        always("the ledger has heard or will hear of every share that left", the_ledger_will_hear),
        always("what ended and was observed is deleted", what_ended_is_gone),
        always("no key is opened with shares of two epochs", no_key_from_mixed_epochs),
    ]
}

fn stories() -> Vec<Property<Plan>> {
    vec![
        sometimes("a reader opens a record", |plan, state| {
            plan.decryptions().any(|decryption| opens(plan, state, decryption))
        }),
        sometimes("a reader opens a record with shares of the new epoch", |_, state| {
            state.shares_out(0, 1) >= THRESHOLD
        }),
        sometimes("one share of each epoch left, and nothing is opened", |plan, state| {
            state.shares_out(0, 0) == 1 && state.shares_out(0, 1) == 1 && !opens(plan, state, 0)
        }),
        sometimes("a new custodian releases after a rekey", |_, state| state.custodian(3).left & piece(0, 1) != 0),
        sometimes("a revocation overtakes one of two custodians", a_revocation_overtakes_one_of_two),
        sometimes("a lagging custodian still releases", a_lagging_custodian_still_releases),
        sometimes("a second use is ordered and denied", |plan, state| is_denied(plan, state, false)),
        sometimes("a decryption is ordered after the revocation and denied", |plan, state| {
            is_denied(plan, state, true)
        }),
        sometimes("an entry was written, and its share has not left", |plan, state| {
            some(plan, |by, decryption| {
                let custodian = state.custodian(by);
                EPOCHS.iter().any(|epoch| custodian.entries & !custodian.left & piece(decryption, *epoch) != 0)
            })
        }),
        sometimes("a record was opened, and then erased everywhere", |plan, state| {
            let erased =
                everybody().all(|by| state.ledger.until(state.custodian(by).executed).contains(&Call::Erase(1)));
            erased
                && plan
                    .decryptions()
                    .any(|number| plan.terms.decryptions[usize::from(number)].record == 1 && opens(plan, state, number))
        }),
    ]
}
