//! Reading a store through changes that are not committed yet.

use super::{Batch, Change, Entry, Reader, Space, StoreError, memory::range};
use std::collections::BTreeMap;

type Pending = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The last change of each key, apart from what they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(BTreeMap<Space, Pending>);

/// A reader with changes upon it: what the store will be once they are committed.
///
/// A block executes on an overlay of the store, and each transaction on an overlay of the block's:
/// what fails is dropped, what succeeds is applied one level down.
#[derive(Clone, Debug)]
pub struct Overlay<R> {
    base: R,
    changes: Changes,
}

impl Changes {
    /// The changed keys of a space in order, each with its new value, or `None` if it is deleted.
    pub fn of(&self, space: Space) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.0.get(&space).into_iter().flatten().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(BTreeMap::is_empty)
    }

    pub(super) fn pending(&self, space: Space, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.0.get(&space)?.get(key)
    }

    /// Puts more changes on top of these.
    pub(super) fn append(&mut self, changes: Self) {
        for (space, pending) in changes.0 {
            // Few onto many: `append` would build the whole map anew, each time.
            self.0.entry(space).or_default().extend(pending);
        }
    }

    pub(crate) fn set(&mut self, space: Space, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.0.entry(space).or_default().insert(key, value);
    }

    /// What `base` says with these changes upon it.
    pub(super) fn get_over(&self, base: &impl Reader, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.pending(space, key) {
            Some(value) => Ok(value.clone()),
            None => base.get(space, key),
        }
    }

    /// The page of entries that `base` has with these changes upon it.
    pub(super) fn scan_over(
        &self,
        base: &impl Reader,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let changed = |pending: &&Pending| range(pending, prefix, after).next().is_some();
        let Some(pending) = self.0.get(&space).filter(changed) else {
            return base.scan(space, prefix, after, limit);
        };
        let mut found = Vec::new();
        let mut cursor = after.map(<[u8]>::to_vec);
        // Deletions may hide a whole page of the base, so pages are read until enough is left.
        while found.len() < limit {
            let page = base.scan(space, prefix, cursor.as_deref(), limit)?;
            let more = page.len() == limit;
            let last = page.last().map(|(key, _)| key.clone());
            let mut merged: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
                page.into_iter().map(|(key, value)| (key, Some(value))).collect();
            for (key, value) in range(pending, prefix, cursor.as_deref()) {
                // Beyond a full page, entries of the base may come first.
                if more && last.as_ref().is_some_and(|last| key > last) {
                    break;
                }
                merged.insert(key.clone(), value.clone());
            }
            found.extend(merged.into_iter().filter_map(|(key, value)| value.map(|value| (key, value))));
            if !more {
                break;
            }
            cursor = last;
        }
        found.truncate(limit);
        Ok(found)
    }
}

impl From<Changes> for Batch {
    fn from(changes: Changes) -> Self {
        let each = |(space, pending): (Space, Pending)| {
            pending.into_iter().map(move |(key, value)| Change { space, key, value })
        };
        Self(changes.0.into_iter().flat_map(each).collect())
    }
}

impl<R: Reader> Overlay<R> {
    /// `base` without changes.
    #[must_use]
    pub fn new(base: R) -> Self {
        Self { base, changes: Changes::default() }
    }

    /// What lies under the changes.
    #[must_use]
    pub const fn base(&self) -> &R {
        &self.base
    }

    /// The changes.
    #[must_use]
    pub const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Sets the value of a key.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.set(space, key.into(), Some(value.into()));
    }

    /// Removes a key, whether or not it exists.
    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.changes.set(space, key.into(), None);
    }

    /// Puts the changes of an overlay of this overlay on top of these.
    pub fn apply(&mut self, changes: Changes) {
        self.changes.append(changes);
    }

    /// Lets go of the base and keeps the changes.
    #[must_use]
    pub fn into_changes(self) -> Changes {
        self.changes
    }

    /// The changes that lead back: what the base says of each changed key of `space`.
    ///
    /// # Errors
    /// [`StoreError`] when the base cannot be read.
    #[cfg(test)]
    pub(crate) fn undo(&self, space: Space) -> Result<Changes, StoreError> {
        let mut undo = Changes::default();
        for (key, _) in self.changes.of(space) {
            undo.set(space, key.to_vec(), self.base.get(space, key)?);
        }
        Ok(undo)
    }
}

impl<R: Reader> Reader for Overlay<R> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.changes.get_over(&self.base, space, key)
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.changes.scan_over(&self.base, space, prefix, after, limit)
    }
}
