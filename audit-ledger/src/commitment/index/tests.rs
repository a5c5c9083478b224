use super::*;
use crate::store::{Batch, History, MemoryStore, Store as _};
use dmdl_types::{
    id::{Height, RecordId, SubjectId},
    index_proof::HeadProofError,
    sign::PublicKey,
};
use proptest::prelude::*;

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
    let root = append(&mut block, links).unwrap();
    assert_eq!(root, super::root(&block).unwrap());
    store.commit(block.into_changes().into()).unwrap();
    root
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

    /// Keys cannot be chosen so that their paths share this much; the code must not care.
    #[test]
    fn paths_that_part_late_are_proved_too(
        stems in prop::collection::vec(any::<[u8; 32]>(), 1..3),
        twins in prop::collection::vec((any::<prop::sample::Index>(), 0usize..256), 20..60),
    ) {
        let mut heads: BTreeMap<Path, Head> = BTreeMap::new();
        for (stem, at) in &twins {
            let mut path = stems[stem.index(stems.len())];
            path[at / 8] ^= 0x80 >> (at % 8);
            heads.insert(path, Head { count: *at as u64 + 1, rolling: [1; 32] });
        }
        let store = MemoryStore::new();
        let mut block = Overlay::new(&store);
        build(&mut block, 0, heads.clone()).unwrap();
        let leaves: Vec<(Path, Head)> = heads.into_iter().collect();
        prop_assert_eq!(super::root(&block).unwrap(), naive(&leaves, 0));
        for path in leaves.iter().map(|(path, _)| path).chain(&stems) {
            prop_assert_eq!(prove_path(&block, path).unwrap(), naive_proof(&leaves, path));
        }
    }
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
    let mut history = History::new();
    let mut roots = Vec::new();
    for height in 1..=6u64 {
        let mut block = Overlay::new(&store);
        let links: Vec<Link> =
            (0..30).map(|n| link(key(0, n + u8::try_from(height).unwrap()), height * 100 + u64::from(n))).collect();
        roots.push(append(&mut block, &links).unwrap());
        history.record(Height::new(height), Space::Index, &block).unwrap();
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

#[test]
fn a_damaged_node_is_an_error() {
    let store = MemoryStore::new();
    commit(&store, &[link(key(0, 1), 0)]);
    let mut batch = Batch::new();
    batch.put(Space::Index, node_key(0, &[0; 32]), [9]);
    store.commit(batch).unwrap();
    assert!(matches!(prove(&store, &key(0, 1)), Err(StoreError::Corrupt(_))));
    assert!(matches!(head(&store, &key(0, 1)), Err(StoreError::Corrupt(_))));
}

#[test]
fn the_root_of_known_heads_is_pinned() {
    let store = MemoryStore::new();
    let links: Vec<Link> = (0..40).map(|n| link(key(n % 3, n), u64::from(n))).collect();
    assert_eq!(commit(&store, &links).iter().map(|byte| format!("{byte:02x}")).collect::<String>(), PINNED);
}

/// Computed by an independent implementation of docs/spec/index.md.
const PINNED: &str = "0878316de1487502d02b3bdd573ea194cd63d49b4ab4e6003780549f7fbf68fb";
