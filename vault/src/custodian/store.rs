//! What a custodian keeps, over a plain ordered store of keys and values.
//!
//! All of it may be copied and backed up: shares are wrapped, and the secrets that unwrap them are in
//! the [`KeyStore`](super::KeyStore) alone. Every write is one batch, durable before it returns, and
//! the first error closes the store: after a failed sync nobody knows what is on disk.
//!
//! # Source
//! docs/spec/custodian.md, "Rows"

use super::{
    entry::{Durable, ReleaseEntry, ReleaseRow},
    forget::Gone,
    rows::{ComplaintRow, Key, KeyRow, OwnPartRow, PartShareRow, ShareRow, pending_key},
};
use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{
    codec,
    context::ShareContext,
    id::{GrantId, RecordId, RecordVersion, ShareEpoch, TransactionId, UnixMillis},
    invocation::SystemItem,
    limits, planted,
};
use std::{collections::BTreeMap, error::Error, io, path::PathBuf};

/// Why what a custodian keeps cannot be read or written. Always fatal: the node stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk, or what lies above it, failed.
    #[error("the custodian's store failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// What is stored cannot be what was written.
    #[error("the custodian's store is corrupt: {what}")]
    Corrupt {
        /// What is wrong.
        what: &'static str,
    },
    /// A file of the key store is not as it was written. Nobody else has what is in it.
    #[error("`{path}` is damaged, and {loses} with it: to go on without, move it away")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is lost.
        loses: &'static str,
    },
    /// An earlier error closed it.
    #[error("the custodian's store is closed after an earlier failure")]
    Closed,
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A change of one key: its new value, or none to delete it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// An ordered, durable store of keys and values, as the node has one.
pub trait Kv {
    /// The value of `key`.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read back as it was written.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` entries whose key begins with `prefix` and comes after `after`, in order.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read back as they were written.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Applies all changes or none, and returns when they are on disk.
    ///
    /// # Errors
    /// [`StoreError`]: they are on disk or not, nobody knows which.
    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError>;
}

/// A store in memory, for the simulator and for tests. A clone is the disk at that moment.
#[derive(Clone, Debug, Default)]
pub struct MemoryKv(BTreeMap<Vec<u8>, Vec<u8>>);

impl Kv for MemoryKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let entries = self.0.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        let entries = entries.filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after));
        Ok(entries.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        for (key, value) in changes {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
        Ok(())
    }
}

/// Longest encoded row: a complaint or a pending one, with its sealed bytes.
const ROW_BYTES_MAX: usize = limits::SYSTEM_TRANSACTION_BYTES;
/// How many entries are read at a time.
const PAGE: usize = 256;

/// A custodian's rows.
#[derive(Debug)]
pub(super) struct ShareStore<K> {
    kv: K,
    closed: bool,
}

impl<K: Kv> ShareStore<K> {
    pub(super) const fn new(kv: K) -> Self {
        Self { kv, closed: false }
    }

    #[cfg(test)]
    pub(super) const fn kv(&self) -> &K {
        &self.kv
    }

    #[cfg(test)]
    pub(super) const fn kv_mut(&mut self) -> &mut K {
        &mut self.kv
    }

    pub(super) fn dealing_key(&self, key: &[u8; 32]) -> Result<Option<KeyRow>, StoreError> {
        self.read(&Key::Minted(*key))
    }

    pub(super) fn dealing_keys(&self) -> Result<Vec<([u8; 32], KeyRow)>, StoreError> {
        let rows = self.rows(&Key::dealing_keys())?;
        rows.into_iter()
            .map(|(key, row)| {
                let key = key.last_chunk::<32>().ok_or(StoreError::Corrupt { what: "a key of a dealing key" })?;
                Ok((*key, row))
            })
            .collect()
    }

    pub(super) fn share(&self, slot: Slot) -> Result<Option<ShareRow>, StoreError> {
        self.read(&Key::Share(slot))
    }

    /// The share of the newest epoch that is held of a record version.
    pub(super) fn newest_share(
        &self,
        record: RecordId,
        version: RecordVersion,
    ) -> Result<Option<ShareRow>, StoreError> {
        let mut rows: Vec<(_, ShareRow)> = self.rows(&Key::shares_of(record, Some(version)))?;
        Ok(rows.pop().map(|(_, row)| row))
    }

    pub(super) fn shares_of(
        &self,
        record: RecordId,
        version: Option<RecordVersion>,
    ) -> Result<Vec<ShareRow>, StoreError> {
        Ok(self.rows(&Key::shares_of(record, version))?.into_iter().map(|(_, row)| row).collect())
    }

    pub(super) fn shares_after(&self, after: Option<Slot>, limit: usize) -> Result<Vec<ShareRow>, StoreError> {
        let after = after.map(|slot| Key::Share(slot).bytes());
        let page = self.kv.scan(&Key::all_shares(), after.as_deref(), limit)?;
        page.iter().map(|(_, value)| decode(value)).collect()
    }

    pub(super) fn own_part(&self, key: &Key) -> Result<Option<OwnPartRow>, StoreError> {
        self.read(key)
    }

    /// The keys of this custodian's own parts of a record.
    pub(super) fn own_parts_of(
        &self,
        record: RecordId,
        version: Option<RecordVersion>,
    ) -> Result<Vec<(Vec<u8>, OwnPartRow)>, StoreError> {
        self.rows(&Key::own_parts_of(record, version))
    }

    pub(super) fn part_share(&self, key: &Key) -> Result<Option<PartShareRow>, StoreError> {
        self.read(key)
    }

    pub(super) fn part_shares_of(
        &self,
        record: RecordId,
        version: Option<RecordVersion>,
    ) -> Result<Vec<PartShareRow>, StoreError> {
        Ok(self.rows(&Key::part_shares_of(record, version))?.into_iter().map(|(_, row)| row).collect())
    }

    pub(super) fn part_shares_after(&self, after: Option<Key>, limit: usize) -> Result<Vec<PartShareRow>, StoreError> {
        let page = self.kv.scan(&Key::all_part_shares(), after.map(|key| key.bytes()).as_deref(), limit)?;
        page.iter().map(|(_, value)| decode(value)).collect()
    }

    pub(super) fn complaints_of(
        &self,
        record: RecordId,
        version: Option<RecordVersion>,
    ) -> Result<Vec<ComplaintRow>, StoreError> {
        Ok(self.rows(&Key::complaints_of(record, version))?.into_iter().map(|(_, row)| row).collect())
    }

    pub(super) fn complaint(&self, slot: Slot) -> Result<Option<ComplaintRow>, StoreError> {
        self.read(&Key::Complaint(slot))
    }

    pub(super) fn is_erased(&self, record: RecordId) -> Result<bool, StoreError> {
        Ok(self.read::<()>(&Key::Erased(record))?.is_some())
    }

    /// What has gone for good.
    pub(super) fn gone(&self) -> Result<Vec<Gone>, StoreError> {
        let corrupt = || StoreError::Corrupt { what: "a key of what has gone" };
        let mut gone = Vec::new();
        for (key, ()) in self.rows(&Key::all_erased())? {
            let record = key.get(1..).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).ok_or_else(corrupt)?;
            gone.push((RecordId::new(record), None));
        }
        for (key, epoch) in self.rows::<ShareEpoch>(&Key::all_ended())? {
            let fields = key.get(1..).and_then(|bytes| bytes.split_first_chunk::<32>());
            let fields = fields.and_then(|(record, rest)| Some((*record, <[u8; 4]>::try_from(rest).ok()?)));
            let (record, version) = fields.ok_or_else(corrupt)?;
            gone.push((RecordId::new(record), Some((RecordVersion::new(u32::from_be_bytes(version)), epoch))));
        }
        Ok(gone)
    }

    /// Whether the record is erased, or this epoch of its shares ended.
    pub(super) fn is_over(&self, slot: Slot) -> Result<bool, StoreError> {
        if self.is_erased(slot.record)? {
            return Ok(true);
        }
        let ended: Option<ShareEpoch> = self.read(&Key::Ended(slot.record, slot.version))?;
        Ok(ended.is_some_and(|ended| slot.epoch <= ended))
    }

    pub(super) fn ended(&self, record: RecordId, version: RecordVersion) -> Result<Option<ShareEpoch>, StoreError> {
        self.read(&Key::Ended(record, version))
    }

    pub(super) fn release(&self, key: &ReleaseKey) -> Result<Option<Durable<ReleaseEntry>>, StoreError> {
        let row: Option<ReleaseRow> = self.read(&Key::Release(*key))?;
        Ok(row.map(|row| Durable::written(ReleaseEntry(row))))
    }

    /// Writes a release entry with its pending mark; what it returns is the only thing that answers.
    pub(super) fn put_release(&mut self, entry: ReleaseEntry) -> Result<Durable<ReleaseEntry>, StoreError> {
        let row = &entry.0;
        let key = ReleaseKey::of(row);
        let mut batch = Batch::default();
        batch.put(&Key::Release(key), row);
        if let Some(grant) = row.grant {
            batch.put(&Key::ReleaseOfGrant(grant, key), &());
        }
        batch.put_pending(&row.mark());
        self.commit(batch)?;
        Ok(Durable::written(entry))
    }

    pub(super) fn releases_of(
        &self,
        record: RecordId,
        version: Option<RecordVersion>,
    ) -> Result<Vec<ReleaseRow>, StoreError> {
        Ok(self.rows(&Key::releases_of(record, version))?.into_iter().map(|(_, row)| row).collect())
    }

    pub(super) fn releases_under(&self, grant: GrantId) -> Result<Vec<ReleaseRow>, StoreError> {
        let mut found = Vec::new();
        for (key, ()) in self.rows(&Key::releases_under(grant))? {
            found.extend(self.read::<ReleaseRow>(&Key::release_of_index(&key)?)?);
        }
        Ok(found)
    }

    /// The releases that nobody may ask for any more.
    pub(super) fn releases_past(&self, tip_time: UnixMillis) -> Result<Vec<ReleaseRow>, StoreError> {
        let mut rows: Vec<ReleaseRow> = self.rows(&Key::all_releases())?.into_iter().map(|(_, row)| row).collect();
        rows.retain(|row| row.until < tip_time);
        Ok(rows)
    }

    /// A grant after `after` under which a release is kept.
    pub(super) fn grant_after(&self, after: Option<GrantId>) -> Result<Option<GrantId>, StoreError> {
        // Past every release of that grant: no key of an index row is as long as this one.
        let after = after.map(|grant| [Key::releases_under(grant), vec![u8::MAX; ReleaseKey::LEN + 1]].concat());
        let page = self.kv.scan(&Key::all_grants(), after.as_deref(), 1)?;
        page.first().map(|(key, _)| Key::grant_of_index(key)).transpose()
    }

    pub(super) fn pending(&self, limit: usize) -> Result<Vec<SystemItem>, StoreError> {
        let page = self.kv.scan(&Key::all_pending(), None, limit)?;
        page.iter().map(|(_, value)| decode(value)).collect()
    }

    /// Applies a batch, durable when this returns.
    pub(super) fn commit(&mut self, batch: Batch) -> Result<(), StoreError> {
        if self.closed {
            return Err(StoreError::Closed);
        }
        if batch.0.is_empty() {
            return Ok(());
        }
        self.closed = true;
        let written = self.kv.commit(batch.0);
        if !planted!("failed-sync-ignored") {
            written?;
        }
        self.closed = false;
        Ok(())
    }

    fn read<T: BorshSerialize + BorshDeserialize>(&self, key: &Key) -> Result<Option<T>, StoreError> {
        if self.closed {
            return Err(StoreError::Closed);
        }
        self.kv.get(&key.bytes())?.map(|bytes| decode(&bytes)).transpose()
    }

    /// All rows under a prefix; only where few are expected, or all are wanted.
    fn rows<T: BorshSerialize + BorshDeserialize>(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, T)>, StoreError> {
        if self.closed {
            return Err(StoreError::Closed);
        }
        let mut found: Vec<(Vec<u8>, T)> = Vec::new();
        loop {
            let page = self.kv.scan(prefix, found.last().map(|(key, _)| key.as_slice()), PAGE)?;
            let last = page.len() < PAGE;
            for (key, value) in page {
                let row = decode(&value)?;
                found.push((key, row));
            }
            if last {
                return Ok(found);
            }
        }
    }
}

fn decode<T: BorshSerialize + BorshDeserialize>(bytes: &[u8]) -> Result<T, StoreError> {
    codec::decode(bytes, ROW_BYTES_MAX).map_err(|_| StoreError::Corrupt { what: "a row does not decode" })
}

/// Names one custodian's share of a record: there is at most one an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) record: RecordId,
    pub(super) version: RecordVersion,
    pub(super) epoch: ShareEpoch,
}

/// Names one release: there is at most one a decryption and share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReleaseKey {
    pub(super) slot: Slot,
    pub(super) transaction: TransactionId,
}

impl ReleaseKey {
    pub(super) const LEN: usize = 40 + 32;

    pub(super) const fn of(row: &ReleaseRow) -> Self {
        Self { slot: Slot::of(&row.context.share), transaction: row.context.transaction }
    }
}

impl Slot {
    pub(super) const fn of(context: &ShareContext) -> Self {
        Self { record: context.data.record, version: context.data.version, epoch: context.epoch }
    }
}

/// Changes that become durable together.
#[derive(Debug, Default)]
pub(super) struct Batch(Vec<Change>);

impl Batch {
    pub(super) fn put<T: BorshSerialize>(&mut self, key: &Key, row: &T) {
        self.0.push((key.bytes(), Some(codec::encode(row))));
    }

    pub(super) fn delete_bytes(&mut self, key: Vec<u8>) {
        self.0.push((key, None));
    }

    pub(super) fn delete(&mut self, key: &Key) {
        self.0.push((key.bytes(), None));
    }

    /// An item that the ledger must be told, until it has been.
    pub(super) fn put_pending(&mut self, item: &SystemItem) {
        self.0.extend(pending_key(item).map(|key| (key, Some(codec::encode(item)))));
    }

    pub(super) fn delete_pending(&mut self, item: &SystemItem) {
        self.0.extend(pending_key(item).map(|key| (key, None)));
    }

    pub(super) fn delete_release(&mut self, row: &ReleaseRow) {
        let key = ReleaseKey::of(row);
        self.delete(&Key::Release(key));
        if let Some(grant) = row.grant {
            self.delete(&Key::ReleaseOfGrant(grant, key));
        }
    }
}
