//! What holds for every store, and for overlays and histories upon one.

use super::Folder;
use crate::store::{
    Batch, Entry, FORMAT_KEY, FORMAT_VERSION, Fault, History, MemoryBudget, MemoryStore, Overlay, Reader, RocksStore,
    Space, Store, StoreError,
};
use dmdl_types::id::Height;
use proptest::prelude::*;

type Op = (Space, Vec<u8>, Option<Vec<u8>>);

/// Few short keys over few bytes, with 0x00 and 0xff at the edges, so that changes meet.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0u8, 1, 0x7f, 0xff]), 0..4)
}

fn space() -> impl Strategy<Value = Space> {
    prop::sample::select(vec![Space::State, Space::Events, Space::Index, Space::Custody])
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(
        (space(), key(), prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..4))),
        0..20,
    )
}

#[derive(Clone, Debug)]
struct Query {
    space: Space,
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    limit: usize,
}

fn query() -> impl Strategy<Value = Query> {
    (space(), key(), prop::option::of(key()), 0usize..8).prop_map(|(space, prefix, after, limit)| Query {
        space,
        prefix,
        after,
        limit,
    })
}

fn ask(reader: &impl Reader, query: &Query) -> (Option<Vec<u8>>, Vec<Entry>) {
    let value = reader.get(query.space, &query.prefix).unwrap();
    (value, reader.scan(query.space, &query.prefix, query.after.as_deref(), query.limit).unwrap())
}

fn batch(ops: &[Op]) -> Batch {
    let mut batch = Batch::new();
    for (space, key, value) in ops {
        match value {
            Some(value) => batch.put(*space, key.clone(), value.clone()),
            None => batch.delete(*space, key.clone()),
        }
    }
    batch
}

fn write<R: Reader>(overlay: &mut Overlay<R>, ops: &[Op]) {
    for (space, key, value) in ops {
        match value {
            Some(value) => overlay.put(*space, key.clone(), value.clone()),
            None => overlay.delete(*space, key.clone()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn disk_and_memory_answer_alike(
        rounds in prop::collection::vec((ops(), prop::collection::vec(query(), 6), any::<bool>()), 1..6),
    ) {
        let folder = Folder::new();
        let budget = MemoryBudget::default();
        let mut disk = RocksStore::open(folder.path(), &budget).unwrap();
        let memory = MemoryStore::new();
        for (ops, queries, reopen) in &rounds {
            let (disk_before, memory_before) = (disk.snapshot(), memory.snapshot());
            disk.commit(batch(ops)).unwrap();
            memory.commit(batch(ops)).unwrap();
            for query in queries {
                prop_assert_eq!(ask(&disk, query), ask(&memory, query));
                prop_assert_eq!(ask(&disk_before, query), ask(&memory_before, query));
            }
            drop(disk_before);
            if *reopen {
                drop(disk);
                disk = RocksStore::open(folder.path(), &budget).unwrap();
            }
        }
        for space in Space::ALL {
            prop_assert_eq!(disk.scan(space, &[], None, 1000).unwrap(), memory.scan(space, &[], None, 1000).unwrap());
        }
    }
}

proptest! {
    #[test]
    fn a_scan_is_the_sorted_filtered_page(ops in ops(), query in query()) {
        let store = MemoryStore::new();
        store.commit(batch(&ops)).unwrap();
        let mut expected = store.scan(query.space, &[], None, 1000).unwrap();
        prop_assert!(expected.is_sorted());
        expected.retain(|(key, _)| {
            key.starts_with(&query.prefix) && query.after.as_ref().is_none_or(|after| key > after)
        });
        expected.truncate(query.limit);
        prop_assert_eq!(ask(&store, &query).1, expected);
    }

    #[test]
    fn an_overlay_reads_like_the_store_after_its_commit(
        before in ops(), outer in ops(), inner in ops(), queries in prop::collection::vec(query(), 8),
    ) {
        let store = MemoryStore::new();
        store.commit(batch(&before)).unwrap();
        let mut block = Overlay::new(&store);
        write(&mut block, &outer);
        let mut transaction = Overlay::new(&block);
        write(&mut transaction, &inner);
        let seen: Vec<_> = queries.iter().map(|query| ask(&transaction, query)).collect();
        let changes = transaction.into_changes();
        block.apply(changes);
        let applied: Vec<_> = queries.iter().map(|query| ask(&block, query)).collect();
        prop_assert_eq!(&seen, &applied);
        let batch = block.into_changes().into();
        store.commit(batch).unwrap();
        let committed: Vec<_> = queries.iter().map(|query| ask(&store, query)).collect();
        prop_assert_eq!(&seen, &committed);
    }

    #[test]
    fn a_history_shows_each_recorded_height_as_it_was(
        blocks in prop::collection::vec(ops(), 1..6), query in query(),
    ) {
        let store = MemoryStore::new();
        let mut history = History::new();
        let mut past = vec![(Height::new(0), store.snapshot())];
        for (ops, height) in blocks.iter().zip(1..) {
            let height = Height::new(height);
            let mut block = Overlay::new(&store);
            write(&mut block, ops);
            for space in Space::ALL {
                history.record(height, block.undo(space).unwrap());
            }
            store.commit(block.into_changes().into()).unwrap();
            past.push((height, store.snapshot()));
        }
        let (tip, _) = past[past.len() - 1];
        for (height, snapshot) in &past {
            let view = history.view(*height, tip, &store).unwrap();
            prop_assert_eq!(ask(&view, &query), ask(snapshot, &query));
        }
        // A reader that is behind the newest record, as a snapshot taken just before a commit is.
        for pair in past.windows(2) {
            let view = history.view(pair[0].0, pair[1].0, &pair[1].1).unwrap();
            prop_assert_eq!(ask(&view, &query), ask(&pair[0].1, &query));
        }
    }
}

#[test]
fn a_history_that_does_not_reach_says_so() {
    let store = MemoryStore::new();
    let mut history = History::new();
    for height in [5, 6, 7] {
        history.record(Height::new(height), Overlay::new(&store).undo(Space::State).unwrap());
    }
    let tip = Height::new(7);
    assert!(history.view(Height::new(4), tip, &store).is_some());
    assert!(history.view(Height::new(3), tip, &store).is_none(), "never recorded");
    assert!(history.view(Height::new(7), Height::new(8), &store).is_none(), "not recorded yet");
    assert!(history.view(Height::new(8), tip, &store).is_none(), "in the future");
    history.forget_before(Height::new(5));
    assert!(history.view(Height::new(5), tip, &store).is_some());
    assert!(history.view(Height::new(4), tip, &store).is_none(), "forgotten");
}

#[test]
fn of_two_changes_of_a_key_the_later_one_holds() {
    let store = MemoryStore::new();
    let mut batch = Batch::new();
    batch.put(Space::State, "a", "1");
    let mut second = Batch::new();
    second.delete(Space::State, "a");
    batch.append(second);
    assert_eq!(batch.len(), 2);
    store.commit(batch).unwrap();
    assert_eq!(store.get(Space::State, b"a"), Ok(None));
}

#[test]
fn an_injected_fault_refuses_commits_until_the_store_is_opened_again() {
    for (fault, fatal) in [(Fault::Sync, true), (Fault::Full, false)] {
        let store = MemoryStore::new();
        store.commit(batch(&[(Space::State, vec![1], Some(vec![1]))])).unwrap();
        store.inject(fault);
        for _ in 0..2 {
            let error = store.commit(batch(&[(Space::State, vec![1], Some(vec![2]))])).unwrap_err();
            assert_eq!(error.is_fatal(), fatal);
        }
        assert_eq!(store.get(Space::State, &[1]), Ok(Some(vec![1])));
        let store = store.reopen().unwrap();
        store.commit(batch(&[(Space::State, vec![1], Some(vec![2]))])).unwrap();
        assert_eq!(store.get(Space::State, &[1]), Ok(Some(vec![2])));
    }
}

#[test]
fn a_memory_store_of_another_version_is_refused() {
    let store = MemoryStore::new();
    let newer = FORMAT_VERSION + 1;
    store.commit(batch(&[(Space::Meta, FORMAT_KEY.to_vec(), Some(newer.to_le_bytes().to_vec()))])).unwrap();
    assert_eq!(store.reopen().unwrap_err(), StoreError::Version { found: newer, known: FORMAT_VERSION });
}

#[test]
fn what_a_store_keeps_stays_as_it_was_until_it_is_let_go() {
    let folder = Folder::new();
    stays_as_it_was(&MemoryStore::new());
    stays_as_it_was(&RocksStore::open(folder.path(), &MemoryBudget::default()).unwrap());
}

fn stays_as_it_was(store: &impl Store) {
    let put = |value: u8| store.commit(batch(&[(Space::State, vec![1], Some(vec![value]))])).unwrap();
    let kept = |number| store.kept(number).unwrap().map(|kept| kept.get(Space::State, &[1]).unwrap());
    put(1);
    store.keep(7).unwrap();
    put(2);
    store.commit(batch(&[(Space::Events, vec![1], Some(vec![1]))])).unwrap();
    assert_eq!((kept(7), kept(8)), (Some(Some(vec![1])), None));
    assert_eq!(store.kept(7).unwrap().unwrap().scan(Space::Events, &[], None, 9).unwrap(), []);
    store.keep(9).unwrap();
    put(3);
    assert_eq!((kept(7), kept(9)), (Some(Some(vec![1])), Some(Some(vec![2]))));
    store.keep_only(&[9]).unwrap();
    assert_eq!((kept(7), kept(9)), (None, Some(Some(vec![2]))));
    assert_eq!(store.get(Space::State, &[1]), Ok(Some(vec![3])));
    store.keep_only(&[]).unwrap();
    assert_eq!(kept(9), None);
}
