//! Which snapshots a node keeps: one becomes worth keeping when a final header carries the checkpoint of its height, and
//! that is known only a few blocks later.

use crate::{
    execute::{Executed, Tip},
    store::{Batch, Reader, Space, Store, StoreError},
};
use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{
    codec,
    id::{Height, UnixMillis},
    snapshot::FIRST_EPOCH,
};

const KEY: &[u8] = b"snapshots";
const BYTES_MAX: usize = 1024;
/// Block time from one snapshot to the next; as long as two are kept, whoever loads one has as long.
const EVERY_MS: u64 = 30 * 60 * 1000;
/// How many are offered: the newest, and the one before it, which somebody may be loading.
const OFFERED_MAX: usize = 2;

/// A snapshot that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Kept {
    height: Height,
    time: UnixMillis,
    /// The header that carries its checkpoint, once one does.
    anchor: Option<Height>,
}

/// The snapshots of a channel on this node, by rising height; only the last one may wait for its anchor.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Shelf(Vec<Kept>);

impl Shelf {
    /// What the store keeps; what a crash left half made is removed.
    pub(crate) fn open<S: Store>(store: &S) -> Result<Self, StoreError> {
        let shelf = Self::load(store)?;
        store.keep_only(&shelf.numbers())?;
        Ok(shelf)
    }

    fn load(reader: &impl Reader) -> Result<Self, StoreError> {
        let damaged = |error| StoreError::Corrupt(format!("the list of snapshots: {error}"));
        let bytes = reader.get(Space::Meta, KEY)?;
        let shelf = bytes.map(|bytes| codec::decode(&bytes, BYTES_MAX)).transpose().map_err(damaged)?;
        Ok(shelf.unwrap_or_default())
    }

    /// The newest snapshot that can be shown to be certified, with the height of the header that certifies it.
    pub(crate) fn newest(&self) -> Option<(Height, Height)> {
        self.0.iter().rev().find_map(|kept| Some((kept.height, kept.anchor?)))
    }

    /// The oldest snapshot that somebody may be joining by: from its block on, others need what follows.
    pub(crate) fn oldest(&self) -> Option<Height> {
        self.0.iter().find(|kept| kept.anchor.is_some()).map(|kept| kept.height)
    }

    /// Takes notice of an executed block, before the next one is; `is_inner` says that the block has a certificate of
    /// its own and is not the last of its epoch.
    pub(crate) fn executed<S: Store>(
        &mut self,
        store: &S,
        executed: &Executed,
        is_inner: bool,
    ) -> Result<(), StoreError> {
        let tip = &executed.tip;
        let mut shelf = self.clone();
        shelf.judge(tip);
        if is_inner && executed.checkpoint.is_some() && shelf.wants(tip) {
            store.keep(tip.height.get())?;
            shelf.0.push(Kept { height: tip.height, time: tip.time, anchor: None });
        }
        if shelf == *self {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.put(Space::Meta, KEY, codec::encode(&shelf));
        store.commit(batch)?;
        *self = shelf;
        store.keep_only(&self.numbers())
    }

    /// Settles what waited: its checkpoint is anchored, or will never be.
    fn judge(&mut self, tip: &Tip) {
        let Some(anchor) = tip.anchor else { return };
        if let Some(last) = self.0.last_mut().filter(|last| last.anchor.is_none()) {
            if last.height == anchor.checkpoint.height {
                last.anchor = Some(anchor.height);
            } else if last.height < anchor.checkpoint.height {
                self.0.pop();
            }
        }
        let offered = self.0.iter().filter(|kept| kept.anchor.is_some()).count();
        self.0.drain(..offered.saturating_sub(OFFERED_MAX));
    }

    fn wants(&self, tip: &Tip) -> bool {
        let due = |last: &Kept| last.anchor.is_some() && tip.time.since_ms(last.time) >= EVERY_MS;
        tip.epoch >= FIRST_EPOCH && self.0.last().is_none_or(due)
    }

    fn numbers(&self) -> Vec<u64> {
        self.0.iter().map(|kept| kept.height.get()).collect()
    }
}
