use super::*;
use crate::store::{Batch, History, MemoryStore, Space, Store as _};
use dmdl_types::{
    codec,
    id::{Height, RecordId, SubjectId},
    index_proof::{HeadProofError, leaf_hash, node_hash},
    sign::PublicKey,
};
use proptest::{prelude::*, test_runner::TestCaseError};
use std::collections::BTreeMap;

/// The root and a proof as docs/spec/index.md describes them, from the whole map and bit by bit.
fn naive(heads: &[(Path, Head)], depth: usize) -> [u8; 32] {
    match heads {
        [] => [0; 32],
        [(path, head)] => leaf_hash(path, head),
        _ => {
            let (left, right): (Vec<_>, Vec<_>) = heads.iter().copied().partition(|(path, _)| !bit(path, depth));
            node_hash(&naive(&left, depth + 1), &naive(&right, depth + 1))
        }
    }
}

fn naive_proof(heads: &[(Path, Head)], path: &Path) -> HeadProof {
    let mut own = heads.to_vec();
    let mut siblings = Vec::new();
    while own.len() > 1 {
        let depth = siblings.len();
        let (near, far): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|(other, _)| bit(other, depth) == bit(path, depth));
        siblings.push(naive(&far, depth + 1));
        own = near;
    }
    let terminal = own.first().map_or(Terminal::Empty, |(path, head)| Terminal::Head { path: *path, head: *head });
    HeadProof { siblings, terminal }
}

fn key(kind: u8, n: u8) -> HeadKey {
    let bytes = [n; 32];
    match kind {
        0 => HeadKey::Record(RecordId::new(bytes)),
        1 => HeadKey::Actor(PublicKey::new(bytes)),
        _ => HeadKey::Subject(SubjectId::new(bytes)),
    }
}

fn link(key: HeadKey, leaf_index: u64) -> Link {
    Link { key, leaf_index, leaf_hash: [u8::try_from(leaf_index % 251).unwrap(); 32] }
}

fn commit(store: &MemoryStore, links: &[Link]) -> [u8; 32] {
    let mut block = Overlay::new(store);
    let linked = Index::default().append(&mut block, links).unwrap();
    assert_eq!(linked.root, super::root(&block).unwrap());
    store.commit(block.into_changes().into()).unwrap();
    linked.root
}

/// The heads after these links, computed without a tree.
fn heads_of(links: &[Link]) -> BTreeMap<HeadKey, Head> {
    let mut heads = BTreeMap::new();
    for link in links {
        let head = heads.entry(link.key).or_insert(Head::EMPTY);
        *head = head.link(link.leaf_index, &link.leaf_hash);
    }
    heads
}

fn by_path(heads: &BTreeMap<HeadKey, Head>) -> Vec<(Path, Head)> {
    heads.iter().map(|(key, head)| (key.path(), *head)).collect()
}

/// Blocks of links to few or to many keys: single heads, buckets, pages.
fn blocks() -> impl Strategy<Value = Vec<Vec<HeadKey>>> {
    let keys = (0u8..3, prop_oneof![0u8..4, any::<u8>()]).prop_map(|(kind, n)| key(kind, n));
    prop::collection::vec(prop::collection::vec(keys, 0..60), 0..8)
}

/// The same keys, numbered as leaves of one log.
fn numbered(blocks: &[Vec<HeadKey>]) -> Vec<Vec<Link>> {
    let mut next = 0;
    let mut number = |key: &HeadKey| {
        next += 1;
        link(*key, next)
    };
    blocks.iter().map(|keys| keys.iter().map(&mut number).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_tree_equals_a_naive_recomputation(blocks in blocks(), absent in (0u8..3, any::<u8>())) {
        let blocks = numbered(&blocks);
        let store = MemoryStore::new();
        let mut root = commit(&store, &[]);
        for links in &blocks {
            root = commit(&store, links);
        }
        let heads = heads_of(&blocks.concat());
        let leaves = by_path(&heads);
        prop_assert_eq!(root, naive(&leaves, 0));
        for key in heads.keys().copied().chain([key(absent.0, absent.1)]) {
            let proof = prove(&store, &key).unwrap();
            prop_assert_eq!(&proof, &naive_proof(&leaves, &key.path()));
            prop_assert_eq!(proof.verify(&root, &key), Ok(heads.get(&key).copied()));
            prop_assert_eq!(head(&store, &key).unwrap(), heads.get(&key).copied());
        }
    }

    #[test]
    fn the_root_does_not_depend_on_where_blocks_are_cut(blocks in blocks()) {
        let blocks = numbered(&blocks);
        let (one, many) = (MemoryStore::new(), MemoryStore::new());
        for links in &blocks {
            commit(&many, links);
        }
        prop_assert_eq!(commit(&one, &blocks.concat()), super::root(&many).unwrap());
    }

    #[test]
    fn an_altered_proof_shows_nothing(
        keys in prop::collection::btree_set((0u8..3, any::<u8>()), 1..80),
        asked in (0u8..3, any::<u8>()),
        pick: prop::sample::Index,
        flip in 1u8..,
    ) {
        let links: Vec<Link> = keys.iter().enumerate().map(|(i, (kind, n))| link(key(*kind, *n), i as u64)).collect();
        let store = MemoryStore::new();
        let root = commit(&store, &links);
        let asked = key(asked.0, asked.1);
        let truth = prove(&store, &asked).unwrap().verify(&root, &asked).unwrap();
        let bytes = codec::encode(&prove(&store, &asked).unwrap());
        let mut altered = bytes.clone();
        altered[pick.index(bytes.len())] ^= flip;
        if let Ok(proof) = codec::decode::<HeadProof>(&altered, HeadProof::LEN_MAX_BYTES) {
            prop_assert!(proof.verify(&root, &asked).is_err());
        }
        for other in links.iter().map(|link| link.key).filter(|other| *other != asked) {
            let claimed = prove(&store, &other).unwrap().verify(&root, &asked);
            prop_assert!(claimed.is_err() || claimed == Ok(truth), "another key's proof lied");
        }
    }
}

/// What may happen to an index between two blocks.
#[derive(Clone, Copy, Debug)]
enum Between {
    Nothing,
    /// The changes are not committed yet when the next ones come.
    Uncommitted,
    /// The node starts again.
    Restart,
    /// The changes could not be committed, and come again.
    Failure,
    /// Memory was full; pages above this depth stay.
    Forget(usize),
}

fn between() -> impl Strategy<Value = Between> {
    use Between::*;
    prop_oneof![Just(Nothing), Just(Uncommitted), Just(Restart), Just(Failure), (0usize..8).prop_map(Forget)]
}

/// Paths that share as many bits with one of a few stems as keys that anybody could choose never would, and others.
fn paths() -> impl Strategy<Value = Vec<Path>> {
    let shared = prop::sample::select(vec![0usize, 0, 3, 4, 9, 12, 63, 246, 252]);
    let near = (any::<prop::sample::Index>(), shared, any::<[u8; 32]>());
    (prop::collection::vec(any::<[u8; 32]>(), 1..4), prop::collection::vec(near, 1..300)).prop_map(|(stems, near)| {
        let path = |(stem, shared, other): (prop::sample::Index, usize, [u8; 32])| {
            let mut path = other;
            for depth in 0..shared {
                let mask = 0x80 >> (depth % 8);
                path[depth / 8] = path[depth / 8] & !mask | stem.get(&stems)[depth / 8] & mask;
            }
            path
        };
        near.into_iter().map(path).collect()
    })
}

/// Appends one leaf for each of these paths, in blocks, and returns what is stored and the heads.
fn build(paths: &[Path], blocks: &[(usize, Between)]) -> Result<(MemoryStore, BTreeMap<Path, Row>), TestCaseError> {
    let (store, mut index, mut heads) = (MemoryStore::new(), Index::default(), BTreeMap::<Path, Row>::new());
    let links: Vec<Link> = (0..).take(paths.len()).map(|at| link(key(0, 0), at)).collect();
    let mut rest: Vec<(&Path, &Link)> = paths.iter().zip(&links).collect();
    let mut uncommitted = Overlay::new(store.clone());
    for (count, between) in blocks.iter().copied().chain([(paths.len(), Between::Nothing)]) {
        let now: Vec<(&Path, &Link)> = rest.drain(..count.min(rest.len())).collect();
        let items = || now.iter().enumerate().map(|(at, (path, link))| Item { path: **path, at, link }).collect();
        if matches!(between, Between::Failure) && uncommitted.changes().is_empty() {
            index.link(&mut Overlay::new(&store), items()).unwrap();
            index = Index::default();
        }
        let mut block = Overlay::new(&uncommitted);
        let linked = index.link(&mut block, items()).unwrap();
        prop_assert_eq!(&linked.undo, &block.undo(Space::Index).unwrap());
        let changes = block.into_changes();
        uncommitted.apply(changes);
        let mut first = Vec::new();
        for (path, link) in &now {
            let row = heads.entry(**path).or_insert(Row { head: Head::EMPTY, first: link.leaf_index });
            row.head = row.head.link(link.leaf_index, &link.leaf_hash);
            first.push(row.first);
        }
        let leaves: Vec<(Path, Head)> = heads.iter().map(|(path, row)| (*path, row.head)).collect();
        prop_assert_eq!(&linked.root, &naive(&leaves, 0));
        prop_assert_eq!(linked.root, super::root(&uncommitted).unwrap());
        prop_assert_eq!(linked.first, first);
        prop_assert_eq!(index.tree.as_ref().unwrap().size(), index.size);
        if !matches!(between, Between::Uncommitted) {
            let block = std::mem::replace(&mut uncommitted, Overlay::new(store.clone()));
            store.commit(block.into_changes().into()).unwrap();
        }
        match between {
            Between::Nothing | Between::Uncommitted => {}
            Between::Restart | Between::Failure => index = Index::default(),
            Between::Forget(depth) => {
                let tree = index.tree.as_mut().unwrap();
                tree.forget_from(0, depth);
                index.size = tree.size();
            }
        }
    }
    Ok((store, heads))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn neither_blocks_nor_restarts_nor_forgetting_change_the_tree_or_what_is_stored(
        distinct in paths(),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        blocks in prop::collection::vec((1usize..150, between()), 0..8),
        absent in any::<[u8; 32]>(),
    ) {
        // Old heads between new ones.
        let mut all: Vec<Path> = distinct.clone();
        for (at, index) in again.iter().enumerate() {
            all.insert((at * 3).min(all.len()), *index.get(&distinct));
        }
        let (store, rows) = build(&all, &blocks)?;
        let (at_once, _) = build(&all, &[])?;
        let stored = |store: &MemoryStore| store.scan(Space::Index, &[], None, usize::MAX).unwrap();
        prop_assert_eq!(stored(&store), stored(&at_once));
        let leaves: Vec<(Path, Head)> = rows.iter().map(|(path, row)| (*path, row.head)).collect();
        for (path, row) in rows.iter().step_by(1 + rows.len() / 40) {
            prop_assert_eq!(prove_path(&store, path).unwrap(), naive_proof(&leaves, path));
            prop_assert_eq!(rows::head(&store, path).unwrap(), Some(*row));
        }
        let beside = leaves.iter().take(20).zip(0..).map(|((path, _), at)| {
            let mut path = *path;
            path[31 - at] ^= 1;
            path
        });
        for path in beside.chain([absent]) {
            prop_assert_eq!(prove_path(&store, &path).unwrap(), naive_proof(&leaves, &path));
        }
    }
}

#[test]
fn memory_stays_within_its_bounds() {
    let (store, mut index) = (MemoryStore::new(), Index::default());
    let mut most = 0;
    for block in 0..80u64 {
        let key = |n: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            HeadKey::Record(RecordId::new(bytes))
        };
        let links: Vec<Link> = (block * 1000..).take(1000).map(|n| link(key(n), n)).collect();
        let mut overlay = Overlay::new(&store);
        let root = index.append(&mut overlay, &links).unwrap().root;
        let changes = overlay.into_changes();
        store.commit(changes.into()).unwrap();
        assert_eq!(root, super::root(&store).unwrap());
        assert_eq!(index.tree.as_ref().unwrap().size(), index.size);
        most = most.max(index.size.len_bytes());
    }
    assert!((KEPT_LEN_BYTES_MAX / 4 * 3..=KEPT_LEN_BYTES_MAX).contains(&most), "{most}");
}

#[test]
fn a_proof_for_one_key_claims_nothing_of_another_head() {
    let store = MemoryStore::new();
    let root = commit(&store, &[link(key(0, 1), 0), link(key(0, 2), 1), link(key(0, 2), 2)]);
    let mut proof = prove(&store, &key(0, 2)).unwrap();
    let Terminal::Head { head, .. } = &mut proof.terminal else { panic!("a head exists") };
    assert_eq!(head.count, 2);
    head.count = 1;
    assert_eq!(proof.verify(&root, &key(0, 2)), Err(HeadProofError::Root));
}

#[test]
fn a_proof_is_for_one_root() {
    let store = MemoryStore::new();
    let before = commit(&store, &[link(key(0, 1), 0)]);
    let old = prove(&store, &key(0, 1)).unwrap();
    let after = commit(&store, &[link(key(0, 1), 1)]);
    assert!(old.verify(&before, &key(0, 1)).is_ok());
    assert_eq!(old.verify(&after, &key(0, 1)), Err(HeadProofError::Root));
}

#[test]
fn a_checkpoint_of_some_blocks_ago_can_still_be_proved() {
    let store = MemoryStore::new();
    let (mut history, mut index) = (History::new(), Index::default());
    let mut roots = Vec::new();
    for height in 1..=6u64 {
        let mut block = Overlay::new(&store);
        let links: Vec<Link> =
            (0..30).map(|n| link(key(0, n + u8::try_from(height).unwrap()), height * 100 + u64::from(n))).collect();
        let linked = index.append(&mut block, &links).unwrap();
        roots.push(linked.root);
        history.record(Height::new(height), linked.undo);
        store.commit(block.into_changes().into()).unwrap();
    }
    let tip = Height::new(6);
    for height in 1..=6u64 {
        let view = history.view(Height::new(height), tip, store.snapshot()).unwrap();
        let root = roots[usize::try_from(height).unwrap() - 1];
        assert_eq!(super::root(&view).unwrap(), root);
        for n in [1, 20, 36, 200] {
            let key = key(0, n);
            let expected = head(&view, &key).unwrap();
            assert_eq!(prove(&view, &key).unwrap().verify(&root, &key), Ok(expected));
        }
    }
}

fn write(store: &MemoryStore, key: &[u8], value: Option<&[u8]>) {
    let mut batch = Batch::new();
    match value {
        Some(value) => batch.put(Space::Index, key, value),
        None => batch.delete(Space::Index, key),
    }
    store.commit(batch).unwrap();
}

#[test]
fn whatever_is_damaged_is_an_error_and_goes_into_no_root() {
    let store = MemoryStore::new();
    let keys: Vec<HeadKey> = (0..100).map(|n| key(0, n)).collect();
    let links: Vec<Link> = keys.iter().zip(0..).map(|(key, n)| link(*key, n)).collect();
    commit(&store, &links);
    for (at, value) in store.scan(Space::Index, &[], None, usize::MAX).unwrap() {
        let cut = value[..value.len() - 1].to_vec();
        let mut flipped = value.clone();
        flipped[0] ^= 1;
        for damaged in [Some(cut), Some(flipped), None] {
            write(&store, &at, damaged.as_deref());
            let refused = keys.iter().any(|key| matches!(prove(&store, key), Err(StoreError::Corrupt(_))));
            let appended = Index::default().append(&mut Overlay::new(&store), &links);
            // Without its root a tree is an empty one.
            let is_gone = at.len() == 1 && damaged.is_none();
            assert_eq!((refused, appended.is_err()), (!is_gone, !is_gone), "{at:?}: {damaged:?}");
            write(&store, &at, Some(&value));
        }
    }
}

#[test]
fn the_root_of_known_heads_is_pinned() {
    let store = MemoryStore::new();
    let links: Vec<Link> = (0..40).map(|n| link(key(n % 3, n), u64::from(n))).collect();
    assert_eq!(commit(&store, &links).iter().map(|byte| format!("{byte:02x}")).collect::<String>(), PINNED);
}

/// Computed by an independent implementation of docs/spec/index.md.
const PINNED: &str = "0878316de1487502d02b3bdd573ea194cd63d49b4ab4e6003780549f7fbf68fb";
