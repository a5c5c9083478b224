use super::*;
use crate::store::{MemoryStore, Store as _};
use dmdl_types::{
    event::{Action, Outcome},
    id::{Height, RecordId, SubjectId, UnixMillis},
    sign::PublicKey,
};
use proptest::prelude::*;

fn event(n: u8, transaction: TransactionId, item: u32) -> Event {
    Event {
        height: Height::new(u64::from(n)),
        time: UnixMillis::new(1_800_000_000_000),
        transaction,
        item,
        action: Action::Register,
        actor: PublicKey::new([n % 3; 32]),
        org: None,
        record: n.is_multiple_of(2).then(|| RecordId::new([n % 5; 32])),
        version: None,
        // The same bytes as an actor's key.
        subject: n.is_multiple_of(3).then(|| SubjectId::new([n % 3; 32])),
        shares: None,
        purpose: None,
        policy: None,
        refers_to: None,
        outcome: Outcome::applied(),
    }
}

fn id(bytes: [u8; 9]) -> TransactionId {
    let mut id = [0; 32];
    id[..9].copy_from_slice(&bytes);
    TransactionId::new(id)
}

/// A log that these events were appended to, so many at a time.
fn log_of(events: &[Event], at_a_time: usize) -> (MemoryStore, Frontier) {
    let (store, mut frontier, mut index) = (MemoryStore::new(), Frontier::new(), Index::default());
    for events in events.chunks(at_a_time) {
        let mut block = Overlay::new(&store);
        append(&mut block, &mut frontier, &mut index, events).unwrap();
        store.commit(block.into_changes().into()).unwrap();
    }
    (store, frontier)
}

fn thirty_seven() -> Vec<Event> {
    (0..37).map(|n| event(n, id([n; 9]), 0)).collect()
}

#[test]
fn every_proof_of_every_size_follows_from_what_is_stored() {
    let events = thirty_seven();
    let (store, whole) = log_of(&events, 5);
    let hashes: Vec<_> = events.iter().map(|event| merkle::leaf_hash(&event.to_leaf())).collect();
    let root = |size: u64| {
        let mut tree = Frontier::new();
        hashes.iter().take(usize::try_from(size).unwrap()).for_each(|hash| drop(tree.append(*hash)));
        tree.root()
    };
    assert_eq!(frontier(&store, whole.size()).unwrap(), whole);
    for size in 1..=whole.size() {
        assert_eq!(frontier(&store, size).unwrap().root(), root(size));
        for (position, hash) in (0..size).zip(&hashes) {
            prove_inclusion(&store, position, size).unwrap().verify(hash, &root(size)).unwrap();
            let old = position + 1;
            prove_consistency(&store, old, size).unwrap().verify(&root(old), &root(size)).unwrap();
        }
        assert!(matches!(prove_inclusion(&store, size, size), Err(LogError::Proof(_))));
    }
}

#[test]
fn a_tree_without_one_of_its_leaves_proves_nothing_beside_it() {
    let (store, whole) = log_of(&thirty_seven(), 37);
    let mut batch = crate::store::Batch::new();
    batch.delete(Space::Events, leaf_key(17));
    store.commit(batch).unwrap();
    for position in [16, 18, 19] {
        let refused = prove_inclusion(&store, position, whole.size());
        assert!(matches!(refused, Err(LogError::Store(StoreError::Corrupt(_)))), "{position}");
    }
    assert!(prove_inclusion(&store, 20, whole.size()).is_ok());
}

#[test]
fn transactions_whose_ids_begin_alike_are_told_apart() {
    let ids = [[7; 9], [7, 7, 7, 7, 7, 7, 7, 7, 8], [7, 7, 7, 7, 7, 7, 7, 8, 8], [7, 7, 7, 7, 7, 7, 7, 7, 9]].map(id);
    let events: Vec<Event> = [(0, 0), (1, 0), (1, 1), (1, 2), (2, 0), (0, 0)]
        .into_iter()
        .zip(0..)
        .map(|((which, item), n): ((usize, u32), u8)| event(n, ids[which], item))
        .collect();
    for at_a_time in [1, 6] {
        let (store, _) = log_of(&events, at_a_time);
        let found = |id, item| find(&store, id, item).unwrap();
        assert_eq!(found(ids[0], 0), Some((5, events[5].clone())), "the newest of two");
        for item in 0..3 {
            let position = usize::try_from(item + 1).unwrap();
            assert_eq!(found(ids[1], item), Some((u64::from(item) + 1, events[position].clone())));
            assert_eq!(position_of(&store, ids[1], item), Some(u64::from(item) + 1));
        }
        assert_eq!(found(ids[1], 3), None, "the item of another transaction stands there");
        assert_eq!(found(ids[2], 0), Some((4, events[4].clone())));
        assert_eq!(found(ids[2], u32::MAX), None);
        assert_eq!(found(ids[3], 0), None, "begins like two that are there");
    }
}

fn position_of(reader: &impl Reader, id: TransactionId, item: u32) -> Option<u64> {
    position(reader, id, item).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_stored_depends_on_the_leaves_alone(
        numbers in prop::collection::vec(any::<u8>(), 1..300), at_a_time in 1usize..100,
    ) {
        let event = |(at, n): (usize, &u8)| event(*n, id([u8::try_from(at % 200).unwrap(); 9]), 0);
        let events: Vec<Event> = numbers.iter().enumerate().map(event).collect();
        let ((one, _), (other, _)) = (log_of(&events, at_a_time), log_of(&events, events.len()));
        for space in Space::ALL {
            let all = |store: &MemoryStore| store.scan(space, &[], None, usize::MAX).unwrap();
            prop_assert_eq!(all(&one), all(&other), "{:?}", space);
        }
        // Far enough for positions of two lengths.
        let mut listed = std::collections::BTreeMap::<HeadKey, Vec<u64>>::new();
        for (position, event) in (0..).zip(&events) {
            head_keys(event).for_each(|key| listed.entry(key).or_default().push(position));
        }
        for (key, expected) in &listed {
            prop_assert_eq!(&positions(&one, key, None, usize::MAX).unwrap(), expected);
            for (at, after) in expected.iter().enumerate() {
                prop_assert_eq!(positions(&one, key, Some(*after), 2).unwrap(),
                    expected.iter().skip(at + 1).take(2).copied().collect::<Vec<_>>());
            }
        }
        let leaves: Vec<Vec<u8>> = events.iter().map(Event::to_leaf).collect();
        prop_assert_eq!(super::leaves(&one, 0, usize::MAX).unwrap(), leaves.as_slice());
        let from = leaves.len() / 2;
        prop_assert_eq!(super::leaves(&one, from as u64, 7).unwrap(), leaves.iter().skip(from).take(7).cloned().collect::<Vec<_>>());
    }
}
