//! The state hash: one hash over the set of all entries of world state, whatever their history.
//!
//! It is homomorphic: an entry is added and removed without reading any other. Two nodes whose
//! state hashes agree hold the same entries, and a snapshot is verified by hashing its entries in
//! any order. It proves nothing of a single entry; heads and receipts do that.
//!
//! # Encoding
//! `leaf = labelled("state-leaf", key, value)`;
//! `root = labelled("state-root", accumulator[2048])`.
//!
//! # Source
//! docs/spec/state.md; docs/adr/0005-state-hash-and-index-root.md; IACR ePrint 2019/227 (LtHash)

use crate::store::{Overlay, Reader, Space, StoreError};
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_cryptography::lthash::LtHash;
use dmdl_types::{hash, label, planted};

/// Where in [`Space::Meta`] the accumulator stands.
const ACCUMULATOR_KEY: &[u8] = b"state-accumulator";

/// The accumulator over a set of state entries.
#[derive(Clone, Debug, Default)]
pub struct StateHash(LtHash);

impl StateHash {
    /// The hash of a state without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The hash of these entries, in any order.
    pub fn of<'a>(entries: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut hash = Self::new();
        for (key, value) in entries {
            hash.replace(key, None, Some(value));
        }
        hash
    }

    /// The hash that the store keeps of its state.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the stored accumulator is none.
    pub fn load(reader: &impl Reader) -> Result<Self, StoreError> {
        match reader.get(Space::Meta, ACCUMULATOR_KEY)? {
            None => Ok(Self::new()),
            Some(bytes) => {
                let damaged = |_| StoreError::Corrupt("the state accumulator does not decode".into());
                LtHash::decode(Copying(&bytes)).map(Self).map_err(damaged)
            }
        }
    }

    /// Takes over every change that `block` makes to world state, stores the accumulator among the
    /// block's changes and returns the new hash.
    ///
    /// Doing it again changes nothing: it begins from what the block's base keeps.
    ///
    /// # Errors
    /// [`StoreError`] when the base cannot be read.
    pub fn update<R: Reader>(block: &mut Overlay<R>) -> Result<Self, StoreError> {
        let mut hash = Self::load(block.base())?;
        for (key, new) in block.changes().of(Space::State) {
            let old = block.base().get(Space::State, key)?;
            hash.replace(key, old.as_deref(), new);
        }
        hash.store(block);
        Ok(hash)
    }

    /// Stores the accumulator as that of the state that `block` leads to.
    pub(crate) fn store<R: Reader>(&self, block: &mut Overlay<R>) {
        block.put(Space::Meta, ACCUMULATOR_KEY, self.0.encode().to_vec());
    }

    /// Computes the hash again from every entry of the store's state, some at a time.
    ///
    /// # Errors
    /// [`StoreError`] when an entry cannot be read.
    pub fn recompute(reader: &impl Reader) -> Result<Self, StoreError> {
        const PAGE: usize = 1024;
        let mut hash = Self::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = reader.scan(Space::State, &[], after.as_deref(), PAGE)?;
            for (key, value) in &page {
                hash.replace(key, None, Some(value));
            }
            match page.into_iter().last() {
                Some((key, _)) => after = Some(key),
                None => return Ok(hash),
            }
        }
    }

    /// Replaces the value of a key; `None` stands for no entry.
    ///
    /// The old value must be the one that was added: the accumulator cannot tell.
    pub fn replace(&mut self, key: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) {
        if old == new {
            return;
        }
        if let Some(old) = old.filter(|_| !planted!("state-hash-has-a-history")) {
            self.0.subtract(&leaf(key, old));
        }
        if let Some(new) = new {
            self.0.add(&leaf(key, new));
        }
    }

    /// The 32 bytes that a checkpoint signs.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        hash::labelled(label::STATE_ROOT, &[&self.0.encode()])
    }
}

fn leaf(key: &[u8], value: &[u8]) -> [u8; 32] {
    hash::labelled(label::STATE_LEAF, &[key, value])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, MemoryStore, Store as _};
    use commonware_cryptography::blake3::CoreBlake3;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Map = BTreeMap<Vec<u8>, Vec<u8>>;

    /// The root as docs/spec/state.md describes it, from the whole map.
    fn by_the_page(map: &Map) -> [u8; 32] {
        let mut sums = [0u16; 1024];
        for (key, value) in map {
            let mut wide = [0; 2048];
            CoreBlake3::new().update(&leaf(key, value)).finalize_xof().fill(&mut wide);
            for (sum, pair) in sums.iter_mut().zip(wide.chunks(2)) {
                *sum = sum.wrapping_add(u16::from_le_bytes([pair[0], pair[1]]));
            }
        }
        let bytes: Vec<u8> = sums.iter().flat_map(|sum| sum.to_be_bytes()).collect();
        hash::labelled(label::STATE_ROOT, &[&bytes])
    }

    fn of(map: &Map) -> [u8; 32] {
        StateHash::of(map.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))).root()
    }

    /// Blocks of writes to few keys, so that they overwrite and delete each other's.
    fn blocks() -> impl Strategy<Value = Vec<Vec<(u8, Option<u8>)>>> {
        let write = (0u8..12, prop::option::weighted(0.7, 0u8..4));
        prop::collection::vec(prop::collection::vec(write, 0..10), 0..8)
    }

    proptest! {
        #[test]
        fn the_hash_depends_on_the_final_entries_alone(blocks in blocks()) {
            let store = MemoryStore::new();
            let mut map = Map::new();
            let mut root = StateHash::new().root();
            for writes in &blocks {
                let mut block = Overlay::new(&store);
                for (key, value) in writes {
                    match value {
                        Some(value) => {
                            block.put(Space::State, [*key], [*value]);
                            map.insert(vec![*key], vec![*value]);
                        }
                        None => {
                            block.delete(Space::State, [*key]);
                            map.remove(&vec![*key]);
                        }
                    }
                }
                root = StateHash::update(&mut block).unwrap().root();
                prop_assert_eq!(StateHash::update(&mut block).unwrap().root(), root);
                store.commit(block.into_changes().into()).unwrap();
            }
            prop_assert_eq!(root, by_the_page(&map));
            prop_assert_eq!(root, of(&map));
            prop_assert_eq!(root, StateHash::load(&store).unwrap().root());
            prop_assert_eq!(root, StateHash::recompute(&store).unwrap().root());
        }

        #[test]
        fn any_change_of_an_entry_changes_the_hash(
            map in prop::collection::btree_map(prop::collection::vec(any::<u8>(), 0..5), prop::collection::vec(any::<u8>(), 0..5), 1..10),
            pick: prop::sample::Index,
            byte: u8,
        ) {
            let root = of(&map);
            let (key, value) = map.iter().nth(pick.index(map.len())).map(|(k, v)| (k.clone(), v.clone())).unwrap();
            let mut longer = map.clone();
            longer.insert(key.clone(), [value.clone(), vec![byte]].concat());
            prop_assert_ne!(root, of(&longer));
            let mut without = map.clone();
            without.remove(&key);
            prop_assert_ne!(root, of(&without));
            let mut renamed = without;
            renamed.insert([key, vec![byte, 0, 0, 0, 0]].concat(), value);
            prop_assert_ne!(root, of(&renamed));
        }
    }

    #[test]
    fn a_byte_moved_from_value_to_key_changes_the_hash() {
        let one = Map::from([(b"a".to_vec(), b"bc".to_vec())]);
        let other = Map::from([(b"ab".to_vec(), b"c".to_vec())]);
        assert_ne!(of(&one), of(&other));
    }

    #[test]
    fn the_hash_of_known_entries_is_pinned() {
        assert_eq!(hex(&StateHash::new().root()), EMPTY_ROOT);
        let map = Map::from([(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), vec![])]);
        assert_eq!(hex(&of(&map)), TWO_ENTRIES_ROOT);
    }

    #[test]
    fn a_damaged_accumulator_is_refused() {
        let store = MemoryStore::new();
        let mut batch = Batch::new();
        batch.put(Space::Meta, ACCUMULATOR_KEY, vec![0; 2047]);
        store.commit(batch).unwrap();
        assert!(matches!(StateHash::load(&store), Err(StoreError::Corrupt(_))));
    }

    // Both computed by an independent implementation of docs/spec/state.md.
    const EMPTY_ROOT: &str = "53b4d28aef50e1dc9df548d8451f8ffffba8167c7cd0c9f82310378fc827620c";
    const TWO_ENTRIES_ROOT: &str = "4dbf014670436fcbbec0183269b1822ebfe4eadc7d15d723d9491f352037bb0e";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
