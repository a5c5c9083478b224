//! A ledger that is joined by a snapshot, by honest members and by others.

mod certified;
mod source;
mod tampered;

use super::{JoinError, Joining, Progress, VerifiedSnapshot, give};
use crate::{
    audit,
    execute::Executor,
    finalized::Finalized,
    store::{Entry, MemoryBudget, MemoryStore, Reader, RocksStore, Space, Store, tests::Folder},
    testing::*,
};
use dmdl_types::{
    block::Block,
    id::Epoch,
    snapshot::{Offer, Part, Question},
};
use source::{EPOCH_BLOCKS, Source, begin, carry_newest, enrol, lived_in};

/// Joins by what a source offers, through somebody who may change what it says.
fn join<S: Store, T: Store>(
    source: &Source<S>,
    offer: Offer,
    store: T,
    mut meddle: impl FnMut(Part) -> Part,
) -> Result<VerifiedSnapshot<T>, JoinError> {
    let mut joining = Joining::begin(source.executor.founding(), offer, store)?;
    loop {
        let answer = give::part(&source.store, &joining.question()).unwrap();
        match joining.take(meddle(answer))? {
            Progress::More(next) => joining = next,
            Progress::Done(snapshot) => return Ok(snapshot),
        }
    }
}

fn rows(reader: &impl Reader, space: Space) -> Vec<Entry> {
    reader.scan(space, &[], None, usize::MAX).unwrap()
}

/// What the ledgers of two nodes must have in common.
fn assert_same(left: &impl Reader, right: &impl Reader, at: impl std::fmt::Display) {
    for space in [Space::State, Space::Log, Space::Events, Space::Index] {
        let (left, right) = (rows(left, space), rows(right, space));
        assert!(!left.is_empty(), "{space:?} holds something");
        assert!(left == right, "{space:?} differs at {at}");
    }
}

/// Opens a joined ledger and lets it execute what comes after, beside one that executed everything.
fn assert_goes_on<S: Store>(store: S, blocks: &[Block]) {
    let founding = begin().founding();
    let mut joined = Executor::open(store.clone(), founding.clone(), MATH).unwrap();
    let reference = MemoryStore::new();
    let mut whole = Executor::open(reference.clone(), founding, MATH).unwrap();
    let mut went_on = 0;
    for block in &blocks[1..] {
        let done = whole.execute(&Finalized::delivered(block.clone())).unwrap();
        if done.tip.height <= joined.tip().height {
            continue;
        }
        let again = joined.execute(&Finalized::delivered(block.clone())).unwrap();
        assert_eq!((again.tip, again.checkpoint, again.events), (done.tip, done.checkpoint, done.events));
        assert_same(&store, &reference, done.tip.height);
        went_on += 1;
    }
    assert!(went_on > 2 * EPOCH_BLOCKS, "it goes on for some epochs");
}

#[test]
fn a_joined_ledger_goes_on_as_one_that_executed_every_block() {
    let ledger = lived_in();
    let source = Source::follow(MemoryStore::new(), &ledger.blocks);
    let snapshot = join(&source, source.offer(), MemoryStore::new(), |part| part).unwrap();
    assert_eq!(snapshot.height(), source.offer().header.height);
    assert_goes_on(snapshot.into_store(), &ledger.blocks);
}

#[test]
fn a_joined_ledger_is_equal_before_it_executes_anything() {
    let ledger = lived_in();
    let source = Source::follow(MemoryStore::new(), &ledger.blocks);
    let offer = source.offer();
    let height = offer.header.height;
    let whole = Source::follow(MemoryStore::new(), &ledger.blocks[..=usize::try_from(height.get()).unwrap()]);
    let store = join(&source, offer, MemoryStore::new(), |part| part).unwrap().into_store();
    assert_same(&store, &whole.store, height);
    let joined = Executor::open(store, begin().founding(), MATH).unwrap();
    assert_eq!(joined.tip(), whole.executor.tip());
    assert_eq!(joined.newest_checkpoint().unwrap(), whole.executor.newest_checkpoint().unwrap());
}

#[test]
fn a_joined_ledger_says_where_it_begins_and_has_the_steps_that_lead_there() {
    let ledger = lived_in();
    let source = Source::follow(MemoryStore::new(), &ledger.blocks);
    let offer = source.offer();
    let height = offer.header.height;
    let store = join(&source, offer.clone(), MemoryStore::new(), |part| part).unwrap().into_store();
    let floor = super::floor(&store).unwrap().unwrap();
    let before = ledger.blocks[usize::try_from(offer.header.epoch.get() * EPOCH_BLOCKS - 1).unwrap()].digest();
    assert_eq!((floor.height, floor.epoch_parent), (height, before));
    assert_eq!(floor.certificate, offer.certificate);
    for epoch in 2..=offer.anchor.header.epoch.get() {
        let epoch = Epoch::new(epoch);
        let step = crate::steps::read(&store, epoch).unwrap();
        assert!(step.is_some(), "the step to epoch {epoch}");
        assert_eq!(step, crate::steps::read(&source.store, epoch).unwrap());
    }
    let channel = channel_over(store, begin().founding());
    let after = |epoch| audit::steps_after(&channel, Epoch::new(epoch)).unwrap();
    let shown: Vec<Epoch> = after(1).iter().map(|step| step.config.epoch).collect();
    let last = offer.anchor.header.epoch;
    assert_eq!(shown, (2..=last.get()).map(Epoch::new).collect::<Vec<_>>());
    assert_eq!((after(0), after(last.get()), after(u64::MAX)), (after(1), vec![], vec![]));
    assert_eq!((channel.joined_at(), channel.tip().height), (Some(height), height));
    assert_eq!(channel_over(source.store, begin().founding()).joined_at(), None);
}

#[test]
fn ledgers_on_disk_join_each_other_and_move_to_their_place() {
    let ledger = lived_in();
    let (theirs, ours) = (Folder::new(), Folder::new());
    let open = |folder: &std::path::Path| RocksStore::open(folder, &MemoryBudget::default()).unwrap();
    let source = Source::follow(open(theirs.path()), &ledger.blocks);
    let (part, place) = (ours.path().join("ledger.part"), ours.path().join("ledger"));
    let snapshot = join(&source, source.offer(), open(&part), |part| part).unwrap();
    assert!(!place.exists(), "nothing is in its place before all is verified");
    snapshot.move_to(&place).unwrap();
    assert!(!part.exists());
    assert_goes_on(open(&place), &ledger.blocks);
}

#[test]
fn a_snapshot_is_offered_once_a_header_carries_its_checkpoint() {
    let mut ledger = lived_in();
    let mut source = Source::follow(MemoryStore::new(), &ledger.blocks);
    let first = source.shelf.newest().unwrap();
    ledger.time = ledger.time.plus_ms(60 * 60 * 1000);
    enrol(&mut ledger);
    let due = ledger.height();
    assert_ne!(due.next().get() % EPOCH_BLOCKS, 0, "not the end of an epoch");
    source.catch_up(&ledger.blocks);
    assert!(source.store.kept(due.get()).unwrap().is_some(), "it is taken in time");
    assert_eq!(source.shelf.newest(), Some(first), "and not offered");
    carry_newest(&mut ledger);
    source.catch_up(&ledger.blocks);
    assert_eq!(source.shelf.newest(), Some((due, ledger.height())));
    assert!(source.store.kept(first.0.get()).unwrap().is_some(), "somebody may be loading the one before");
    assert_goes_on_from_newest(&source, &mut ledger);
}

fn assert_goes_on_from_newest(source: &Source<MemoryStore>, ledger: &mut Ledger) {
    for _ in 0..3 * EPOCH_BLOCKS {
        enrol(ledger);
    }
    let store = join(source, source.offer(), MemoryStore::new(), |part| part).unwrap().into_store();
    assert_goes_on(store, &ledger.blocks);
}

#[test]
fn a_snapshot_whose_checkpoint_is_passed_over_is_let_go() {
    let mut ledger = lived_in();
    ledger.time = ledger.time.plus_ms(60 * 60 * 1000);
    enrol(&mut ledger);
    let passed_over = ledger.height();
    enrol(&mut ledger);
    let mut source = Source::follow(MemoryStore::new(), &ledger.blocks);
    let offered = source.shelf.newest();
    assert!(source.store.kept(passed_over.get()).unwrap().is_some());
    carry_newest(&mut ledger);
    source.catch_up(&ledger.blocks);
    assert!(source.store.kept(passed_over.get()).unwrap().is_none());
    assert_eq!(source.shelf.newest(), offered);
    enrol(&mut ledger);
    let next = ledger.height();
    source.catch_up(&ledger.blocks);
    assert!(source.store.kept(next.get()).unwrap().is_some(), "the next one is tried");
}

#[test]
fn two_snapshots_are_kept_and_taken_half_an_hour_apart() {
    let mut ledger = lived_in();
    let mut source = Source::follow(MemoryStore::new(), &ledger.blocks);
    let mut newest = vec![source.shelf.newest().unwrap().0];
    for minutes in [10, 25, 31, 31] {
        ledger.time = ledger.time.plus_ms(minutes * 60 * 1000);
        enrol(&mut ledger);
        carry_newest(&mut ledger);
        source.catch_up(&ledger.blocks);
        newest.push(source.shelf.newest().unwrap().0);
    }
    newest.dedup();
    assert_eq!(newest.len(), 4, "one was too early");
    let kept = newest.iter().map(|height| source.store.kept(height.get()).unwrap().is_some());
    assert_eq!(kept.collect::<Vec<_>>(), [false, false, true, true]);
}

#[test]
fn what_a_crash_left_half_made_is_removed_at_the_next_start() {
    let ledger = lived_in();
    let source = Source::follow(MemoryStore::new(), &ledger.blocks);
    let height = source.offer().header.height;
    source.store.keep(999).unwrap();
    let shelf = super::Shelf::open(&source.store).unwrap();
    assert_eq!(shelf, source.shelf);
    assert!(source.store.kept(999).unwrap().is_none());
    assert!(source.store.kept(height.get()).unwrap().is_some());
}

#[test]
fn a_height_that_is_not_kept_is_gone_and_says_so() {
    let ledger = lived_in();
    let source = Source::follow(MemoryStore::new(), &ledger.blocks);
    let other = source.offer().header.height.next();
    for question in [Question::Leaves(other, 0), Question::State(other, Vec::new())] {
        assert_eq!(give::part(&source.store, &question).unwrap(), Part::Gone);
    }
    source.store.keep_only(&[]).unwrap();
    let refused = join(&source, source.offer(), MemoryStore::new(), |part| part);
    assert!(matches!(refused, Err(JoinError::Gone)), "{refused:?}");
}
