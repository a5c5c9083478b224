//! World state: typed rows over the store's space of the same name.
//!
//! Every row has a table and a key; its bytes on disk are canonical, and the state hash covers them
//! all. Contracts see a [`World`] over the changes of their own transaction, so what a transaction
//! that fails has written is dropped with it.
//!
//! # Source
//! docs/spec/state.md

mod conduct;
mod reshare;
mod rows;

pub use conduct::*;
pub use reshare::*;
pub use rows::*;

use crate::store::{Changes, Overlay, Reader, Space, StoreError};
use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::codec;

/// Largest encoded row.
const ROW_BYTES: usize = 256 * 1024;

/// A row of world state: what is kept under one key of one table.
pub trait Row: BorshSerialize + BorshDeserialize {
    /// The table's number: the first byte of the key on disk.
    const TABLE: u8;
    /// What names a row. Its encoding must have a fixed length, or be the last part of the key.
    type Key: BorshSerialize;
}

/// The key on disk of a row.
pub(crate) fn row_key<R: Row>(key: &R::Key) -> Vec<u8> {
    let mut bytes = vec![R::TABLE];
    bytes.extend(codec::encode(key));
    bytes
}

/// Reads one row.
///
/// # Errors
/// [`StoreError`] when it cannot be read, or is not a row of its table.
pub fn read<R: Row>(reader: &impl Reader, key: &R::Key) -> Result<Option<R>, StoreError> {
    reader.get(Space::State, &row_key::<R>(key))?.map(|bytes| parse(&bytes)).transpose()
}

/// Reads the rows whose key begins with `prefix`, in key order after the cursor.
///
/// Returns each row with its key on disk, which is the next cursor.
///
/// # Errors
/// [`StoreError`] when one cannot be read, or is not a row of its table.
pub fn scan<R: Row>(
    reader: &impl Reader,
    prefix: &impl BorshSerialize,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, R)>, StoreError> {
    let mut start = vec![R::TABLE];
    start.extend(codec::encode(prefix));
    let entries = reader.scan(Space::State, &start, after, limit)?;
    entries.into_iter().map(|(key, bytes)| Ok((key, parse(&bytes)?))).collect()
}

fn parse<R: Row>(bytes: &[u8]) -> Result<R, StoreError> {
    codec::decode(bytes, ROW_BYTES).map_err(|e| StoreError::Corrupt(format!("table {}: {e}", R::TABLE)))
}

/// World state with the changes of a block or a transaction upon it.
#[derive(Debug)]
pub struct World<R> {
    overlay: Overlay<R>,
}

impl<R: Reader> World<R> {
    /// World state as `base` holds it.
    #[must_use]
    pub fn new(base: R) -> Self {
        Self { overlay: Overlay::new(base) }
    }

    /// The row under `key`.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn get<T: Row>(&self, key: &T::Key) -> Result<Option<T>, StoreError> {
        read(&self.overlay, key)
    }

    /// Whether there is a row under `key`.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn has<T: Row>(&self, key: &T::Key) -> Result<bool, StoreError> {
        Ok(self.overlay.get(Space::State, &row_key::<T>(key))?.is_some())
    }

    /// Puts a row.
    pub fn put<T: Row>(&mut self, key: &T::Key, row: &T) {
        self.overlay.put(Space::State, row_key::<T>(key), codec::encode(row));
    }

    /// Removes a row.
    pub fn remove<T: Row>(&mut self, key: &T::Key) {
        self.overlay.delete(Space::State, row_key::<T>(key));
    }

    /// Removes everything whose key on disk begins with `prefix`.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub(crate) fn remove_all(&mut self, space: Space, prefix: &[u8]) -> Result<(), StoreError> {
        const PAGE: usize = 256;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.overlay.scan(space, prefix, after.as_deref(), PAGE)?;
            let last = page.len() < PAGE;
            for (key, _) in page {
                self.overlay.delete(space, key.clone());
                after = Some(key);
            }
            if last {
                return Ok(());
            }
        }
    }

    /// What lies below, with the changes: for reading rows in bulk, and for other spaces.
    #[must_use]
    pub const fn overlay(&self) -> &Overlay<R> {
        &self.overlay
    }

    /// The same, for writing to other spaces.
    pub const fn overlay_mut(&mut self) -> &mut Overlay<R> {
        &mut self.overlay
    }

    /// A world over this one, for one transaction.
    #[must_use]
    pub fn transaction(&self) -> World<&Overlay<R>> {
        World::new(&self.overlay)
    }

    /// Keeps what a transaction has changed.
    pub fn keep(&mut self, changes: Changes) {
        self.overlay.apply(changes);
    }

    /// Lets go of the base and keeps the changes.
    #[must_use]
    pub fn into_changes(self) -> Changes {
        self.overlay.into_changes()
    }
}
