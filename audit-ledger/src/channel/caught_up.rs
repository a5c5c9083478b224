//! Whether a ledger that began with a snapshot has come to its own time: before that, what it executes is of some time or
//! other.

use crate::store::{Batch, Reader, Space, Store, StoreError};

/// There once such a ledger has executed a block of now.
const KEY: &[u8] = b"caught-up";

pub(super) fn is_noted(reader: &impl Reader) -> Result<bool, StoreError> {
    Ok(reader.get(Space::Meta, KEY)?.is_some())
}

/// Notes it, durably.
pub(super) fn note(store: &impl Store) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.put(Space::Meta, KEY, []);
    store.commit(batch)
}
