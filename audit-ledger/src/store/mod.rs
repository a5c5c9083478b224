//! The one seat for what a node remembers between blocks: an ordered key-value store.
//!
//! One store belongs to one channel of one node. Everything that a block changes goes into one
//! [`Batch`], and [`Store::commit`] makes it durable as a whole or not at all. Two stores implement
//! the seat: [`RocksStore`] on disk, and its in-memory twin [`MemoryStore`] for simulations, which
//! behaves alike down to the order of a scan. An [`Overlay`] reads a store through changes that are
//! not committed yet.
//!
//! What survives a crash: every batch whose commit returned `Ok`. What may or may not survive: the
//! one batch whose commit had not returned. What never exists: half of a batch.
//!
//! # Source
//! docs/adr/0007-rocksdb-build.md

mod error;
mod history;
mod memory;
pub(crate) mod number;
mod overlay;
mod rocks;

#[cfg(test)]
pub(crate) mod tests;

pub use error::StoreError;
pub use history::{History, HistoryView};
pub use memory::{Fault, MemoryStore};
pub use overlay::{Changes, Overlay};
pub use rocks::{Copied, CopyError, MemoryBudget, RocksKept, RocksStore};

/// Version of the layout that this build reads and writes.
pub const FORMAT_VERSION: u32 = 4;

/// Where in [`Space::Meta`] the format version stands; no other code writes this key.
pub(crate) const FORMAT_KEY: &[u8] = b"format";

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// The separate key spaces of a store; a key means something only within its space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Space {
    /// World state: what contracts read and write, and all that the state hash covers.
    State,
    /// Nodes and leaves of the audit tree.
    Log,
    /// Events and outcomes, for reading.
    Events,
    /// The authenticated map of index heads, and lists for look-ups.
    Index,
    /// Wrapped shares and release entries of a custodian.
    Custody,
    /// Heights, accumulators and versions: the store's account of itself.
    Meta,
}

impl Space {
    /// All spaces, in order.
    pub const ALL: [Self; 6] = [Self::State, Self::Log, Self::Events, Self::Index, Self::Custody, Self::Meta];

    /// The space's name on disk.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Log => "log",
            Self::Events => "events",
            Self::Index => "index",
            Self::Custody => "custody",
            Self::Meta => "meta",
        }
    }
}

/// Something that answers reads: a store, a snapshot of one, or an overlay upon one.
pub trait Reader {
    /// The value of `key`, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] when the value cannot be read back as it was written.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` entries whose key begins with `prefix` and comes after `after`, in the order
    /// of their keys as bytes.
    ///
    /// The key of the last entry is the `after` of the next page.
    ///
    /// # Errors
    /// [`StoreError`] when an entry cannot be read back as it was written.
    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError>;
}

impl<R: Reader + ?Sized> Reader for &R {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).get(space, key)
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        (**self).scan(space, prefix, after, limit)
    }
}

/// A durable store; its clones are handles to the same data.
pub trait Store: Reader + Clone + Send + Sync + 'static {
    /// A view that later commits do not change.
    type Snapshot<'a>: Reader
    where
        Self: 'a;

    /// A view that outlives this process.
    type Kept: Reader + Send + 'static;

    /// The store as it is now.
    fn snapshot(&self) -> Self::Snapshot<'_>;

    /// Applies the batch, in its order, and returns when it is durable.
    ///
    /// # Errors
    /// After any error the batch is durable or absent, nobody knows which, and this store takes no
    /// further commit until it is opened again: see [`StoreError::is_fatal`].
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;

    /// Keeps the store as it is now under a number that is not in use, and returns when that is durable.
    ///
    /// # Errors
    /// [`StoreError`]: nothing is kept, and the store itself goes on.
    fn keep(&self, number: u64) -> Result<(), StoreError>;

    /// What is kept under a number.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be opened.
    fn kept(&self, number: u64) -> Result<Option<Self::Kept>, StoreError>;

    /// Puts beside what is kept under a number what shows others that they may believe it, and returns when that is
    /// durable.
    ///
    /// # Errors
    /// [`StoreError`]: nothing is there, or what was there before, and the store itself goes on.
    fn prove(&self, number: u64, proof: &[u8]) -> Result<(), StoreError>;

    /// What was put beside what is kept under a number.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    fn proof(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// Lets go of all that is kept under other numbers than these, and of what is beside it.
    ///
    /// # Errors
    /// [`StoreError`] when some of it cannot be removed.
    fn keep_only(&self, numbers: &[u64]) -> Result<(), StoreError>;
}

/// One change: a value to put, or `None` to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    space: Space,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

/// An ordered list of changes that become durable together; of two changes of one key, the later
/// one holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch(Vec<Change>);

impl Batch {
    /// A batch without changes.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Sets the value of a key.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push(Change { space, key: key.into(), value: Some(value.into()) });
    }

    /// Removes a key, whether or not it exists.
    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.0.push(Change { space, key: key.into(), value: None });
    }

    /// Adds the changes of another batch after those of this one.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How many changes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing to change.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Refuses a store whose layout this build does not know, and marks one that is empty.
fn settle_format<S: Store>(store: &S) -> Result<(), StoreError> {
    if check_format(store)? {
        return Ok(());
    }
    for space in Space::ALL {
        if !store.scan(space, &[], None, 1)?.is_empty() {
            return Err(StoreError::Corrupt("data without a format marker".into()));
        }
    }
    let mut batch = Batch::new();
    batch.put(Space::Meta, FORMAT_KEY, FORMAT_VERSION.to_le_bytes());
    store.commit(batch)
}

/// Refuses what is marked with another layout than this build's; `false` when it is not marked.
fn check_format(reader: &impl Reader) -> Result<bool, StoreError> {
    let Some(bytes) = reader.get(Space::Meta, FORMAT_KEY)? else { return Ok(false) };
    match bytes.try_into().map(u32::from_le_bytes) {
        Ok(FORMAT_VERSION) => Ok(true),
        Ok(found) => Err(StoreError::Version { found, known: FORMAT_VERSION }),
        Err(_) => Err(StoreError::Corrupt("the format marker is not four bytes".into())),
    }
}

/// The first key after all keys that begin with `prefix`; `None` when no key is that large.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}
