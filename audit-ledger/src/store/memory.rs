//! The in-memory twin of the store on disk, for simulations and for tests.

use super::{Batch, Change, Entry, FORMAT_KEY, FORMAT_VERSION, Reader, Space, Store, StoreError, prefix_end};
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

type Tree = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store in memory.
///
/// Its clones share the data, so a simulation keeps one handle while the node that uses another
/// crashes and starts again. A commit is durable when it returns; there is nothing else to lose.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Debug)]
struct Inner {
    data: MemorySnapshot,
    kept: BTreeMap<u64, MemorySnapshot>,
    proofs: BTreeMap<u64, Vec<u8>>,
    fault: Option<Fault>,
}

/// A disk fault for a simulation to inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Syncs fail.
    Sync,
    /// No space is left.
    Full,
}

/// The data of a [`MemoryStore`] at one moment.
#[derive(Clone, Debug, Default)]
pub struct MemorySnapshot {
    // Trees are shared with snapshots and copied when written while one is alive.
    spaces: BTreeMap<Space, Arc<Tree>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let mut data = MemorySnapshot::default();
        data.apply(Change {
            space: Space::Meta,
            key: FORMAT_KEY.to_vec(),
            value: Some(FORMAT_VERSION.to_le_bytes().to_vec()),
        });
        Self {
            inner: Arc::new(RwLock::new(Inner { data, kept: BTreeMap::new(), proofs: BTreeMap::new(), fault: None })),
        }
    }

    /// Opens the store again, as a node does that restarts: an injected fault is gone, what was
    /// committed is there.
    ///
    /// # Errors
    /// [`StoreError::Version`] as on disk.
    pub fn reopen(&self) -> Result<Self, StoreError> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner).fault = None;
        super::settle_format(self)?;
        Ok(self.clone())
    }

    /// Lets every commit fail from now until [`MemoryStore::reopen`].
    pub fn inject(&self, fault: Fault) {
        self.inner.write().unwrap_or_else(PoisonError::into_inner).fault = Some(fault);
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader for MemoryStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).data.get(space, key)
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).data.scan(space, prefix, after, limit)
    }
}

impl Store for MemoryStore {
    type Snapshot<'a> = MemorySnapshot;
    type Kept = MemorySnapshot;

    fn snapshot(&self) -> MemorySnapshot {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).data.clone()
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        match inner.fault {
            Some(Fault::Sync) => return Err(StoreError::Sync("injected".into())),
            Some(Fault::Full) => return Err(StoreError::Full("injected".into())),
            None => {}
        }
        for change in batch.0 {
            inner.data.apply(change);
        }
        Ok(())
    }

    fn keep(&self, number: u64) -> Result<(), StoreError> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let now = inner.data.clone();
        inner.kept.insert(number, now);
        Ok(())
    }

    fn kept(&self, number: u64) -> Result<Option<MemorySnapshot>, StoreError> {
        Ok(self.inner.read().unwrap_or_else(PoisonError::into_inner).kept.get(&number).cloned())
    }

    fn prove(&self, number: u64, proof: &[u8]) -> Result<(), StoreError> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if inner.kept.contains_key(&number) {
            inner.proofs.insert(number, proof.to_vec());
        }
        Ok(())
    }

    fn proof(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.inner.read().unwrap_or_else(PoisonError::into_inner).proofs.get(&number).cloned())
    }

    fn keep_only(&self, numbers: &[u64]) -> Result<(), StoreError> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.kept.retain(|number, _| numbers.contains(number));
        inner.proofs.retain(|number, _| numbers.contains(number));
        Ok(())
    }
}

impl MemorySnapshot {
    fn apply(&mut self, change: Change) {
        let tree = Arc::make_mut(self.spaces.entry(change.space).or_default());
        match change.value {
            Some(value) => tree.insert(change.key, value),
            None => tree.remove(&change.key),
        };
    }
}

impl Reader for MemorySnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.spaces.get(&space).and_then(|tree| tree.get(key)).cloned())
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let Some(tree) = self.spaces.get(&space) else { return Ok(Vec::new()) };
        Ok(range(tree, prefix, after).take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

/// The entries of a map under `prefix` and after `after`.
pub(super) fn range<'a, V>(
    tree: &'a BTreeMap<Vec<u8>, V>,
    prefix: &'a [u8],
    after: Option<&'a [u8]>,
) -> impl Iterator<Item = (&'a Vec<u8>, &'a V)> {
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    let end = prefix_end(prefix);
    tree.range::<[u8], _>((start, Bound::Unbounded))
        .take_while(move |(key, _)| end.as_ref().is_none_or(|end| *key < end))
}
