//! Execution, block by block.

mod conduct;
mod reconcile;

use super::*;
use crate::{
    store::{Fault, MemoryStore, Reader, Space},
    testing::*,
    world::TurnCounters,
};
use dmdl_policies::templates::Template;
use dmdl_types::{
    access::ReasonCode::*,
    event::Verdict,
    id::{BlockDigest, NoteCommitment, RecordId, RecordVersion, TransactionId, View},
    invocation::{Access, Authority, Invocation, Medical},
    transaction::EndorsedTransaction,
};

fn initial(ledger: &mut Ledger) -> EndorsedTransaction {
    let call = Medical::Initial { metadata: metadata(), source: NoteCommitment::new([1; 32]), storage: None };
    ledger.transaction(&owner(1), Invocation::Medical(call))
}

/// A ledger with a few blocks of everything.
fn lived_in() -> Ledger {
    let mut ledger = Ledger::new();
    let deal = Deal { policy: Some(policy(Template::ResearchAuto)), ..Deal::default() };
    let record = ledger.active_record(&owner(1), &deal);
    let grant = ledger.granted(&researcher(2), record, terms(30, 2));
    for _ in 0..3 {
        ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    }
    ledger.empty();
    let carried = ledger.execute(vec![], vec![]).checkpoint;
    assert_eq!(carried, None, "an empty block leads to no checkpoint");
    ledger.access(&owner(1), Access::Erase { record });
    ledger
}

#[test]
fn the_same_blocks_give_the_same_bytes_everywhere() {
    let first = lived_in();
    let store = MemoryStore::new();
    let mut second = Executor::open(store.clone(), genesis().founding(), MATH).unwrap();
    let mut third = Ledger::new();
    for block in &first.blocks[1..] {
        let done = second.execute(&Finalized::delivered(block.clone())).unwrap();
        // A node that starts again before every block comes to the same.
        third.reopen();
        let again = third.push(block.clone());
        assert_eq!((done.tip, done.checkpoint, done.events), (again.tip, again.checkpoint, again.events));
    }
    for space in Space::ALL {
        let all = |store: &MemoryStore| store.scan(space, &[], None, usize::MAX).unwrap();
        assert_eq!(all(&first.store), all(&store), "{space:?}");
        assert_eq!(all(&first.store), all(&third.store), "{space:?}");
    }
}

#[test]
fn a_checkpoint_says_what_was_executed() {
    let mut ledger = Ledger::new();
    let transaction = initial(&mut ledger);
    let done = ledger.execute(vec![transaction], vec![]);
    let checkpoint = done.checkpoint.unwrap();
    assert_eq!((checkpoint.network, checkpoint.channel), (ledger.domain().network, ledger.domain().channel));
    assert_eq!((checkpoint.height, checkpoint.block), (done.tip.height, ledger.blocks[1].digest()));
    assert_eq!((checkpoint.size, done.tip.size), (1, 1));
    let leaf = log::leaf(&ledger.store, 0).unwrap().unwrap();
    assert_eq!(leaf, done.events[0].to_leaf());
    let proof = log::prove_inclusion(&ledger.store, 0, 1).unwrap();
    assert_eq!(proof.verify(&done.events[0].leaf_hash(), &checkpoint.root), Ok(()));
}

#[test]
fn a_transaction_that_comes_again_has_no_second_effect_and_no_second_event() {
    let mut ledger = Ledger::new();
    let deal = Deal { policy: Some(policy(Template::ResearchAuto)), ..Deal::default() };
    let record = ledger.active_record(&owner(1), &deal);
    let grant = ledger.granted(&researcher(2), record, terms(30, 9));
    let call = ledger.decryption(record, Authority::Grant(grant));
    let decrypt = ledger.transaction(&researcher(2), Invocation::Access(call));
    let registration = ledger.registration(&owner(1), &Deal::default());
    let pending = registration.record;
    ledger.access(&owner(1), Access::Register(Box::new(registration)));
    let item = ledger.acknowledgement(pending, RecordVersion::new(1));
    let ack = ledger.system(1, vec![item]);
    // Other endorsements and signatures make no other transaction.
    let again = endorse_by(decrypt.transaction.body.clone(), &researcher(2), &[3, 4]);

    let done = ledger.execute(vec![decrypt.clone(), again.clone(), decrypt.clone()], vec![ack.clone(), ack.clone()]);
    assert_eq!(done.events.len(), 2, "{:?}", done.events);
    assert!(done.events.iter().all(|event| event.outcome.verdict != Verdict::Rejected));
    let (state, size) = (ledger.state(), ledger.executor.tip().size);
    for restart in [false, true] {
        if restart {
            ledger.reopen();
        }
        let done = ledger.execute(vec![again.clone(), decrypt.clone()], vec![ack.clone()]);
        assert!(done.events.is_empty() && done.custody.is_empty() && done.checkpoint.is_none());
        assert_eq!((ledger.state(), ledger.executor.tip().size), (state.clone(), size));
    }
}

#[test]
fn a_transaction_is_executed_up_to_its_expiry_and_not_after() {
    let mut ledger = Ledger::new();
    ledger.empty();
    let at = |ledger: &mut Ledger, expires: u64| {
        let call = Medical::Initial { metadata: metadata(), source: NoteCommitment::new([1; 32]), storage: None };
        let mut body = ledger.body(&owner(1), Invocation::Medical(call));
        body.expires = Height::new(expires);
        endorse(body, &owner(1))
    };
    let (late, just) = (at(&mut ledger, 1), at(&mut ledger, 2));
    let before = ledger.state();
    let done = ledger.execute(vec![late], vec![]);
    assert_eq!(told(&done.events[0]), (Verdict::Rejected, Some(TransactionExpired)));
    assert_eq!(ledger.state(), before);
    let mut again = Ledger::new();
    again.empty();
    assert_eq!(again.execute(vec![just], vec![]).events[0].outcome.verdict, Verdict::Applied);
}

#[test]
fn an_expired_request_is_denied_and_an_expired_batch_rejected_item_by_item() {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal::default());
    let reason = NoteCommitment::new([0; 32]);
    let mut body =
        ledger.body(&researcher(2), Invocation::Access(Access::Request { record, terms: terms(1, 1), reason }));
    body.expires = Height::new(1);
    let item = ledger.acknowledgement(record, RecordVersion::new(1));
    let mut system = ledger.system(4, vec![item.clone(), item]);
    system.body.expires = Height::new(1);
    let before = ledger.state();
    let done = ledger.execute(vec![endorse(body, &researcher(2))], vec![system]);
    let verdicts: Vec<_> = done.events.iter().map(told).collect();
    let expired = Some(TransactionExpired);
    assert_eq!(verdicts, [(Verdict::Deny, expired), (Verdict::Rejected, expired), (Verdict::Rejected, expired)]);
    assert_eq!(ledger.state(), before);
}

#[test]
fn a_transaction_that_comes_again_after_its_expiry_has_no_second_event() {
    let mut ledger = Ledger::new();
    let mut transaction = initial(&mut ledger);
    transaction.transaction.body.expires = Height::new(1);
    assert_eq!(ledger.execute(vec![transaction.clone()], vec![]).events.len(), 1);
    for _ in 0..3 {
        ledger.empty();
    }
    assert!(ledger.execute(vec![transaction.clone(), transaction], vec![]).events.is_empty());
}

#[test]
fn what_is_rejected_leaves_its_event_and_nothing_else() {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal::default());
    let (before, size) = (ledger.state(), ledger.executor.tip().size);
    let event = ledger.access(&owner(2), Access::Erase { record });
    assert_eq!(event.outcome.verdict, Verdict::Rejected);
    assert_eq!((ledger.state(), ledger.executor.tip().size), (before, size + 1));
    let id = ledger.last_transaction();
    assert_eq!(log::position(&ledger.store, id, 0).unwrap(), Some(size));
    assert_eq!(log::event(&ledger.store, size).unwrap(), Some(event));
    assert_eq!(log::position(&ledger.store, TransactionId::new([1; 32]), 0).unwrap(), None);
}

#[test]
fn only_the_next_block_is_executed() {
    let mut ledger = lived_in();
    let good = ledger.block(vec![], vec![]);
    let mut ahead = good.clone();
    ahead.header.height = good.header.height.next();
    let again = ledger.blocks.last().unwrap().clone();
    let before = ledger.store.scan(Space::Meta, &[], None, usize::MAX).unwrap();
    for (name, bad) in [("a gap", ahead), ("the tip again", again)] {
        assert!(matches!(ledger.try_push(bad), Err(ExecuteError::OutOfOrder { .. })), "{name}");
    }
    assert_eq!(ledger.store.scan(Space::Meta, &[], None, usize::MAX).unwrap(), before);
    assert!(!ledger.executor.conflict_seen(), "out of order is no contradiction");
    ledger.push(good);
}

#[test]
fn a_final_block_on_another_parent_raises_an_alarm_that_lasts() {
    let mut ledger = lived_in();
    let mut other = ledger.block(vec![], vec![]);
    other.header.parent = BlockDigest::new([1; 32]);
    let (tip, state) = (*ledger.executor.tip(), ledger.state());
    let height = other.header.height;
    assert!(matches!(ledger.try_push(other), Err(ExecuteError::Conflict(h)) if h == height));
    assert_eq!((*ledger.executor.tip(), ledger.state()), (tip, state));
    assert!(ledger.executor.conflict_seen());
    ledger.reopen();
    assert!(ledger.executor.conflict_seen());
}

#[test]
fn a_block_that_could_not_be_made_durable_has_not_happened() {
    for restarts in [true, false] {
        let mut ledger = lived_in();
        let transaction = initial(&mut ledger);
        let block = ledger.block(vec![transaction], vec![]);
        let tip = *ledger.executor.tip();
        ledger.store.inject(Fault::Sync);
        assert!(matches!(ledger.try_push(block.clone()), Err(ExecuteError::Store(_))));
        assert_eq!(*ledger.executor.tip(), tip);
        if restarts {
            ledger.reopen();
        } else {
            ledger.store.reopen().unwrap();
        }
        assert_eq!(*ledger.executor.tip(), tip);
        let done = ledger.push(block.clone());
        assert_eq!(done.events.len(), 1);
        let never_failed = lived_in().push(block);
        assert_eq!(done.checkpoint, never_failed.checkpoint, "restarts: {restarts}");
    }
}

#[test]
fn a_store_belongs_to_one_ledger() {
    let ledger = lived_in();
    let mut other = genesis();
    other.seed = [8; 32];
    assert!(matches!(Executor::open(ledger.store, other.founding(), MATH), Err(ExecuteError::OtherLedger)));
    let mut newer = genesis();
    newer.channel.policy_engine += 1;
    assert!(matches!(
        Executor::open(MemoryStore::new(), newer.founding(), MATH),
        Err(ExecuteError::PolicyEngine { .. })
    ));
    let mut bad = genesis();
    bad.version = 2;
    assert!(matches!(Executor::open(MemoryStore::new(), bad.founding(), MATH), Err(ExecuteError::Genesis(_))));
}

#[test]
fn a_cosigned_checkpoint_in_a_header_becomes_the_anchor() {
    let mut ledger = Ledger::new();
    let transactions = [initial(&mut ledger), initial(&mut ledger)];
    let [first, second] = transactions.map(|transaction| ledger.execute(vec![transaction], vec![]).checkpoint.unwrap());
    assert_eq!(ledger.executor.tip().anchor, None);
    let done = ledger.carry(second);
    assert_eq!(done.tip.anchor, Some(Anchor { height: done.tip.height, checkpoint: second }));
    let view = ledger.executor.anchored_index().unwrap();
    assert_eq!(view.get(Space::Index, b"none").unwrap(), None);
    // An older one is no news, but true.
    let later = ledger.carry(first);
    assert_eq!(later.tip.anchor, done.tip.anchor);
    ledger.reopen();
    assert_eq!(ledger.executor.tip().anchor, done.tip.anchor);
    assert!(ledger.executor.anchored_index().is_none(), "what leads back is not on disk");
}

#[test]
fn a_carried_checkpoint_that_contradicts_this_node_stops_it() {
    let mut ledger = Ledger::new();
    let transaction = initial(&mut ledger);
    let own = ledger.execute(vec![transaction], vec![]).checkpoint.unwrap();
    ledger.empty();
    let rows = [
        ("another state", Checkpoint { state: [1; 32], ..own }),
        ("another log", Checkpoint { root: [1; 32], ..own }),
        ("another index", Checkpoint { index: [1; 32], ..own }),
        ("another size", Checkpoint { size: 2, ..own }),
        ("another block", Checkpoint { block: BlockDigest::new([1; 32]), ..own }),
        ("a height without events", Checkpoint { height: Height::new(2), ..own }),
    ];
    for (name, checkpoint) in rows {
        let mut block = ledger.block(vec![], vec![]);
        block.header.checkpoint = Some(cosigned(checkpoint, &[1, 2]));
        let tip = *ledger.executor.tip();
        let height = checkpoint.height;
        assert!(matches!(ledger.try_push(block), Err(ExecuteError::Diverged(h)) if h == height), "{name}");
        assert_eq!(*ledger.executor.tip(), tip, "{name}");
        assert!(ledger.executor.conflict_seen(), "{name}");
    }
    ledger.carry(own);
    assert!(ledger.executor.conflict_seen(), "the alarm lasts");
}

fn short_epochs() -> Ledger {
    let mut genesis = genesis();
    genesis.channel.epoch_blocks = 3;
    Ledger::of(genesis)
}

#[test]
fn the_last_block_of_an_epoch_decides_the_epoch_after_the_next() {
    let mut ledger = short_epochs();
    for height in 1..=12u64 {
        let epoch = height / 3;
        ledger.empty();
        let decided = if height % 3 == 2 { epoch + 2 } else { epoch + 1 };
        for (wanted, there) in [(decided, true), (decided + 1, false)] {
            let config = ledger.executor.epoch_config(Epoch::new(wanted)).unwrap();
            assert_eq!(config.is_some(), there, "epoch {wanted} after height {height}");
        }
    }
    let config = ledger.executor.epoch_config(Epoch::new(5)).unwrap().unwrap();
    assert_eq!((config.epoch, config.members), (Epoch::new(5), genesis().members));
}

#[test]
fn a_block_of_an_undecided_epoch_is_not_executed() {
    let mut ledger = short_epochs();
    let mut block = ledger.block(vec![], vec![]);
    block.header.epoch = Epoch::new(2);
    assert!(matches!(ledger.try_push(block), Err(ExecuteError::NoConfiguration(epoch)) if epoch == Epoch::new(2)));
}

#[test]
fn turns_are_counted_as_the_views_of_blocks_tell() {
    let mut ledger = Ledger::new();
    // Views 2 to 4 went by without a block; view 5 is the first orderer's again.
    for (parent_view, view) in [(0, 1), (1, 5)] {
        let mut block = ledger.block(vec![], vec![]);
        block.header.parent_view = View::new(parent_view);
        block.header.view = View::new(view);
        ledger.push(block);
    }
    assert_eq!(turns(&ledger), [(2, 2), (1, 0), (1, 0), (1, 0)]);
}

/// Turns given and taken in epoch 0, in the order of the schedule.
fn turns(ledger: &Ledger) -> Vec<(u64, u64)> {
    let of = |node| ledger.row::<TurnCounters>(&(Epoch::new(0), node)).unwrap_or_default();
    config().qualified.into_iter().map(of).map(|turns| (turns.given, turns.taken)).collect()
}

#[test]
fn a_view_far_away_costs_bounded_work() {
    let mut ledger = Ledger::new();
    let mut block = ledger.block(vec![], vec![]);
    block.header.view = View::new(u64::MAX);
    ledger.push(block);
    assert!(turns(&ledger).iter().map(|turns| turns.0).sum::<u64>() <= 4097);
}

#[test]
fn an_index_that_no_checkpoint_settles_is_forgotten_after_a_while() {
    let mut ledger = Ledger::new();
    let transaction = initial(&mut ledger);
    let first = ledger.execute(vec![transaction], vec![]).checkpoint.unwrap();
    let reaches = |ledger: &Ledger| {
        let executor = &ledger.executor;
        executor.history.view(first.height, executor.tip.height, &executor.store).is_some()
    };
    assert!(reaches(&ledger));
    for _ in 0..HISTORY_BLOCKS_MAX {
        let block = ledger.block(vec![], vec![]);
        ledger.try_push(block).unwrap();
    }
    assert!(reaches(&ledger));
    let block = ledger.block(vec![], vec![]);
    ledger.try_push(block).unwrap();
    assert!(!reaches(&ledger));
}

#[test]
fn what_concerns_a_record_an_actor_or_a_subject_is_listed_in_order() {
    use dmdl_types::index_proof::HeadKey;
    let mut ledger = Ledger::new();
    let mut deal = Deal::default();
    let subject = dmdl_types::id::SubjectId::new([6; 32]);
    deal.metadata.subject = Some(subject);
    let record = ledger.active_record(&owner(1), &deal);
    ledger.active_record(&owner(1), &Deal::default());
    ledger.decrypt(&owner(1), record, Authority::Owner);
    let events: Vec<Event> =
        (0..ledger.executor.tip().size).map(|at| log::event(&ledger.store, at).unwrap().unwrap()).collect();
    for key in [HeadKey::Record(record), HeadKey::Subject(subject), HeadKey::Actor(owner(1).public())] {
        let concerned = |event: &Event| match key {
            HeadKey::Record(record) => event.record == Some(record),
            HeadKey::Subject(subject) => event.subject == Some(subject),
            HeadKey::Actor(actor) => event.actor == actor,
        };
        let expected: Vec<u64> = (0..).zip(&events).filter(|(_, event)| concerned(event)).map(|(at, _)| at).collect();
        assert_eq!(log::positions(&ledger.store, &key, None, 100).unwrap(), expected, "{key:?}");
        assert_eq!(log::positions(&ledger.store, &key, Some(expected[0]), 1).unwrap(), expected[1..2], "{key:?}");
    }
    let five: Vec<u64> = log::positions(&ledger.store, &HeadKey::Subject(subject), None, 100).unwrap();
    assert_eq!(five.len(), 5, "registration, three acknowledgements and a decryption");
    let nobody = HeadKey::Record(RecordId::new([1; 32]));
    assert!(log::positions(&ledger.store, &nobody, None, 100).unwrap().is_empty());
}
