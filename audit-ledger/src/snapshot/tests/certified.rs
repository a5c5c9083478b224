//! A snapshot that is read where it lies, without its node.

use super::{
    assert_goes_on, assert_same, begin, carry_newest, enrol, lived_in,
    source::{EPOCH_BLOCKS, Source},
};
use crate::{
    channel::keep_signed,
    snapshot::{Certified, JoinError, Joining, Progress, VerifiedSnapshot, certified::prove},
    store::{Batch, MemoryBudget, MemoryStore, Reader, RocksStore, Space, Store, StoreError, tests::Folder},
    testing::*,
};
use dmdl_types::{block::Block, snapshot::Part, transaction::Transaction};
use std::fs;

/// The certified snapshot of a store in memory.
fn certified<S: Store>(source: &Source<S>) -> Certified<S::Kept> {
    let height = source.offer().header.height.get();
    prove(&source.store, source.offer()).unwrap();
    let proof = source.store.proof(height).unwrap().expect("it is proved");
    Certified::new(source.store.kept(height).unwrap().unwrap(), &proof).unwrap()
}

/// Joins by all parts, in their order, as if another node had answered with them.
fn join<R: Reader>(certified: &Certified<R>) -> Result<VerifiedSnapshot<MemoryStore>, JoinError> {
    let mut parts = certified.parts().map(Result::unwrap);
    let Some(Part::Newest(Some(offer))) = parts.next() else { panic!("the offer comes first") };
    let mut joining = Joining::begin(&begin().founding(), *offer, MemoryStore::new())?;
    while let Some(part) = parts.next() {
        match joining.take(part)? {
            Progress::More(next) => joining = next,
            Progress::Done(snapshot) => {
                assert!(parts.next().is_none(), "nothing follows the end");
                return Ok(snapshot);
            }
        }
    }
    panic!("the parts end before the snapshot is whole")
}

/// What people have signed in the blocks of a source up to its snapshot.
fn signed(blocks: &[Block]) -> Vec<Transaction> {
    let bodies = blocks.iter().flat_map(|block| &block.body.transactions);
    bodies.map(|endorsed| endorsed.transaction.clone()).collect()
}

#[test]
fn its_parts_are_what_a_node_that_joins_is_answered() {
    let ledger = lived_in();
    let source = Source::follow(MemoryStore::new(), &ledger.blocks);
    let certified = certified(&source);
    assert_eq!(*certified.offer(), source.offer());
    let snapshot = join(&certified).unwrap();
    assert_eq!(snapshot.height(), source.offer().header.height);
    assert_goes_on(snapshot.into_store(), &ledger.blocks);
}

#[test]
fn steps_that_came_after_it_are_part_of_its_proof() {
    let mut ledger = lived_in();
    ledger.time = ledger.time.plus_ms(60 * 60 * 1000);
    while ledger.height().get() % EPOCH_BLOCKS != EPOCH_BLOCKS - 3 {
        ledger.empty();
    }
    enrol(&mut ledger);
    ledger.empty();
    carry_newest(&mut ledger);
    let source = Source::follow(MemoryStore::new(), &ledger.blocks);
    let offer = source.offer();
    assert_eq!(offer.anchor.header.epoch, offer.header.epoch.next(), "it is certified in the next epoch");
    let last = offer.anchor.header.epoch;
    let kept = source.store.kept(offer.header.height.get()).unwrap().unwrap();
    assert!(crate::steps::read(&kept, last).unwrap().is_none(), "the step there is not in what was kept");
    let store = join(&certified(&source)).unwrap().into_store();
    assert!(crate::steps::read(&store, last).unwrap().is_some());
}

#[test]
fn what_people_have_signed_comes_with_it_and_is_believed_as_far_as_the_log_has_it() {
    let ledger = lived_in();
    let height =
        usize::try_from(Source::follow(MemoryStore::new(), &ledger.blocks).offer().header.height.get()).unwrap();
    let (before, after) = (signed(&ledger.blocks[..=height]), signed(&ledger.blocks[height + 1..]));
    let store = MemoryStore::new();
    let mut batch = Batch::new();
    before.iter().for_each(|transaction| keep_signed(&mut batch, transaction));
    store.commit(batch).unwrap();
    let source = Source::follow(store, &ledger.blocks);
    let certified = certified(&source);
    let mut read: Vec<Transaction> = certified.signed().flat_map(Result::unwrap).collect();
    let snapshot = join(&certified).unwrap();
    snapshot.keep_signed(&read).unwrap();
    let id = |transaction: &Transaction| transaction.body.id();
    let mut expected = before.clone();
    expected.sort_by_key(id);
    read.sort_by_key(id);
    assert_eq!(read, expected);

    let altered = Transaction { signatures: after[0].signatures.clone(), ..before[0].clone() };
    for (what, none) in [("a later one", &after[0]), ("one that its author did not sign", &altered)] {
        let refused = snapshot.keep_signed(std::slice::from_ref(none));
        assert!(matches!(refused, Err(JoinError::NotInLog(id)) if id == none.body.id()), "{what}");
    }
    let channel = channel_over(snapshot.into_store(), begin().founding());
    assert_eq!(channel.signed(before[0].body.id()).unwrap().as_ref(), Some(&before[0]));
    assert_eq!(channel.signed(after[0].body.id()).unwrap(), None);
}

#[test]
fn it_is_read_beside_its_store_and_from_a_store_that_nobody_has_open() {
    let ledger = lived_in();
    let (folder, reference) = (Folder::new(), Source::follow(MemoryStore::new(), &ledger.blocks));
    let place = folder.path().join("ledger");
    assert!(Certified::newest(&place).unwrap().is_none());
    let open = || RocksStore::open(&place, &MemoryBudget::default()).unwrap();
    let source = Source::follow(open(), &ledger.blocks);
    assert!(Certified::newest(&place).unwrap().is_none(), "its proof is not there yet");
    prove(&source.store, source.offer()).unwrap();
    let files = || {
        let kept = place.join("kept").join(source.offer().header.height.to_string());
        let mut names: Vec<_> = fs::read_dir(kept).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    let beside = join(&Certified::newest(&place).unwrap().unwrap()).unwrap().into_store();
    assert_eq!(files(), before, "who only reads leaves nothing");
    drop(source);
    let alone = join(&Certified::newest(&place).unwrap().unwrap()).unwrap().into_store();
    let expected = join(&certified(&reference)).unwrap().into_store();
    assert_same(&beside, &expected, "beside its store");
    assert_same(&alone, &expected, "alone");
}

#[test]
fn what_is_let_go_while_it_is_read_is_read_to_its_end() {
    let ledger = lived_in();
    let folder = Folder::new();
    let source = Source::follow(RocksStore::open(folder.path(), &MemoryBudget::default()).unwrap(), &ledger.blocks);
    prove(&source.store, source.offer()).unwrap();
    let reading = Certified::newest(folder.path()).unwrap().unwrap();
    source.store.keep_only(&[]).unwrap();
    assert!(Certified::newest(folder.path()).unwrap().is_none());
    join(&reading).unwrap();
}

#[test]
fn the_newest_one_that_is_proved_is_taken_and_none_of_another_version() {
    let ledger = lived_in();
    let folder = Folder::new();
    let source = Source::follow(RocksStore::open(folder.path(), &MemoryBudget::default()).unwrap(), &ledger.blocks);
    let offer = source.offer();
    prove(&source.store, offer.clone()).unwrap();
    // One that waits for its proof, and one that a crash left half made.
    source.store.keep(999).unwrap();
    fs::create_dir(folder.path().join("kept").join("1000.tmp")).unwrap();
    assert_eq!(*Certified::newest(folder.path()).unwrap().unwrap().offer(), offer);
    assert!(source.store.proof(999).unwrap().is_none());
    source.store.prove(998, b"of nothing").unwrap();
    assert!(source.store.proof(998).unwrap().is_none());

    let mut batch = Batch::new();
    batch.put(Space::Meta, crate::store::FORMAT_KEY, 99u32.to_le_bytes());
    source.store.commit(batch).unwrap();
    source.store.keep(2000).unwrap();
    source.store.prove(2000, b"a proof of later").unwrap();
    let refused = Certified::newest(folder.path());
    assert!(matches!(refused, Err(StoreError::Version { found: 99, .. })), "{refused:?}");
}
