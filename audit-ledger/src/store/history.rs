//! Reading the recent past: a store as it was a few blocks ago.
//!
//! A checkpoint gathers its cosignatures while the chain goes on, so proofs are asked for a height
//! that is no longer the tip. The store holds the tip alone; what leads back from it is kept in
//! memory, block by block, and only as far as the newest cosigned checkpoint. A node that restarts
//! begins with an empty history and can prove again from the next checkpoint on.

use super::{Changes, Entry, Reader, Space, StoreError};
use dmdl_types::id::Height;
use std::{collections::BTreeMap, ops::Bound};

/// The way back from the tip, for some of the spaces.
#[derive(Debug, Default)]
pub struct History {
    // By height h: what leads from the store after h to the store after h - 1.
    undo: BTreeMap<Height, Changes>,
}

/// A reader of the store as it was after one height.
#[derive(Debug)]
pub struct HistoryView<R> {
    back: Changes,
    tip: R,
}

impl History {
    /// A history that reaches nowhere.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers what leads back from the block at `height`: of some spaces, whole.
    pub fn record(&mut self, height: Height, undo: Changes) {
        self.undo.entry(height).or_default().append(undo);
    }

    /// Forgets what leads back to before `height`, which stays reachable itself.
    pub fn forget_before(&mut self, height: Height) {
        self.undo.retain(|block, _| *block > height);
    }

    /// `reader`, which shows the store after `tip`, as it was after `height`; `None` when the
    /// history does not reach from one to the other.
    ///
    /// Only the spaces that were recorded at each height go back; the others stay at the tip.
    #[must_use]
    pub fn view<R: Reader>(&self, height: Height, tip: Height, reader: R) -> Option<HistoryView<R>> {
        let steps = tip.get().checked_sub(height.get())?;
        let mut back = Changes::default();
        let mut reached = 0;
        // From the tip backwards: an older value of a key replaces a newer one.
        for (_, changes) in self.undo.range((Bound::Excluded(height), Bound::Included(tip))).rev() {
            for space in Space::ALL {
                for (key, value) in changes.of(space) {
                    back.set(space, key.to_vec(), value.map(<[u8]>::to_vec));
                }
            }
            reached += 1;
        }
        (reached == steps).then_some(HistoryView { back, tip: reader })
    }
}

impl<R: Reader> Reader for HistoryView<R> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.back.get_over(&self.tip, space, key)
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.back.scan_over(&self.tip, space, prefix, after, limit)
    }
}
