//! Reading the channel: records, decryptions, and what a custodian needs to know.

use super::Channel;
use crate::{
    contract::{assignment, share_context},
    log,
    store::{Store, StoreError},
    world::{
        self, AddressRow, BigEndian, DecryptionRow, GrantRow, HistoryRow, Owned, PersonRow, PersonStatus, RecordRow,
        RecordState, RequestRow, VersionRow,
    },
};
use dmdl_types::{
    context::DataContext,
    custody::{AllowedDecryption, Assignment, GrantView, ReleaseView, ShareView},
    event::Event,
    id::{GrantId, NodeId, RecordId, RecordVersion, TransactionId},
    invocation::Authority,
    sign::PublicKey,
};

/// Most items of one page.
pub(super) const PAGE_MAX: usize = 500;

/// Why a view cannot be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The cursor is not one of this list.
    #[error("the cursor is not of this list")]
    Cursor,
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A record with its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordView {
    /// The record.
    pub id: RecordId,
    /// What the ledger says of it.
    pub row: RecordRow,
}

impl<E, S: Store> Channel<E, S> {
    /// A record (`readMedical`).
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn record(&self, id: RecordId) -> Result<Option<RecordRow>, StoreError> {
        world::read(self.store(), &id)
    }

    /// A version of a record.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn version(&self, id: RecordId, version: RecordVersion) -> Result<Option<VersionRow>, StoreError> {
        world::read(self.store(), &(id, version))
    }

    /// A person.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn person(&self, key: PublicKey) -> Result<Option<PersonRow>, StoreError> {
        world::read(self.store(), &key)
    }

    /// Where the others dial a node that came after the channel was founded, as the proposal says that added it; none
    /// for the first nodes.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn address(&self, node: NodeId) -> Result<Option<String>, StoreError> {
        Ok(world::read::<AddressRow>(self.store(), &node)?.map(|AddressRow(address)| address))
    }

    /// A request.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn request(&self, id: TransactionId) -> Result<Option<RequestRow>, StoreError> {
        world::read(self.store(), &id)
    }

    /// A grant.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn grant(&self, id: GrantId) -> Result<Option<GrantRow>, StoreError> {
        world::read(self.store(), &id)
    }

    /// An allowed decryption.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn decryption(&self, id: TransactionId) -> Result<Option<DecryptionRow>, StoreError> {
        world::read(self.store(), &id)
    }

    /// The history of a medical item (`getHistory`), oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn history(&self, id: RecordId, from: u64, limit: usize) -> Result<Vec<HistoryRow>, StoreError> {
        let after = from.checked_sub(1).map(|last| world::row_key::<HistoryRow>(&(id, BigEndian::new(last))));
        let rows = world::scan::<HistoryRow>(self.store(), &id, after.as_deref(), limit.min(PAGE_MAX))?;
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// What somebody owns (`queryByOwner`), in the order of ids, after a record.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn owned_by(
        &self,
        owner: PublicKey,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<RecordView>, StoreError> {
        let after = after.map(|id| world::row_key::<Owned>(&(owner, id)));
        let rows = world::scan::<Owned>(self.store(), &owner, after.as_deref(), limit.min(PAGE_MAX))?;
        let mut views = Vec::with_capacity(rows.len());
        for (key, Owned) in rows {
            let id = key.last_chunk::<32>().map(|bytes| RecordId::new(*bytes));
            let id = id.ok_or_else(|| StoreError::Corrupt("a key of the owners' list is too short".into()))?;
            let row = self.record(id)?.ok_or_else(|| StoreError::Corrupt("an owned record is missing".into()))?;
            views.push(RecordView { id, row });
        }
        Ok(views)
    }

    /// The event of a transaction, once it is executed.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn event_of(&self, id: TransactionId) -> Result<Option<(u64, Event)>, StoreError> {
        log::find(self.store(), id, 0)
    }

    /// A custodian's task for a record version, if it has one.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn assignment(
        &self,
        custodian: NodeId,
        record: RecordId,
        version: RecordVersion,
    ) -> Result<Option<Assignment>, StoreError> {
        // Nobody is asked to keep a share of what is erased.
        if self.record(record)?.is_none_or(|row| row.is_erased()) {
            return Ok(None);
        }
        let row = self.version(record, version)?;
        Ok(row.and_then(|row| assignment(&self.data_context(record, version), &row, custodian)))
    }

    /// Everything that the release rule reads, at this node's tip: one height for all of it.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn release_view(&self, custodian: NodeId, id: TransactionId) -> Result<ReleaseView, StoreError> {
        // The executor writes under the same lock, so tip and rows belong to one height.
        let executor = self.executor();
        let (store, tip) = (executor.store(), executor.tip());
        let mut view = ReleaseView {
            network: self.domain().network,
            channel: self.domain().channel,
            tip: tip.height,
            tip_time: tip.time,
            conflict_seen: executor.conflict_seen(),
            decryption: None,
            share: None,
            key_active: false,
            suspended: false,
        };
        let Some(row) = world::read::<DecryptionRow>(store, &id)? else { return Ok(view) };
        if let Some(person) = world::read::<PersonRow>(store, &row.requester)? {
            view.key_active = person.status != PersonStatus::Revoked;
            view.suspended = person.status == PersonStatus::Suspended;
        }
        let record = world::read::<RecordRow>(store, &row.record)?;
        let version = world::read::<VersionRow>(store, &(row.record, row.version))?;
        if let (Some(record), Some(version)) = (&record, version) {
            let context = share_context(&self.data_context(row.record, row.version), &version, custodian);
            view.share = context.map(|share| ShareView {
                share,
                commitments: version.commitments,
                erased: record.state == RecordState::Erased,
            });
        }
        // An owner's right to open ends with the ownership.
        let owns = record.as_ref().is_some_and(|record| record.owner == row.requester);
        if row.authority == Authority::Owner && !owns {
            return Ok(view);
        }
        let grant = match row.authority {
            Authority::Owner => None,
            Authority::Grant(grant) => Some(grant_view(grant, world::read(store, &grant)?)),
        };
        view.decryption = Some(AllowedDecryption {
            transaction: id,
            time: row.time,
            requester: row.requester,
            grant,
            use_number: row.use_number,
            opening_key: row.keys.iter().find(|key| key.custodian == custodian).map(|key| key.key),
        });
        Ok(view)
    }

    pub(super) fn data_context(&self, record: RecordId, version: RecordVersion) -> DataContext {
        let domain = self.domain();
        DataContext { network: domain.network, channel: domain.channel, record, version }
    }
}

/// A grant that is missing counts as revoked: what cannot be read allows nothing.
fn grant_view(grant: GrantId, row: Option<GrantRow>) -> GrantView {
    match row {
        Some(row) => GrantView { grant, uses_max: row.terms.uses, ends: row.ends, revoked: row.revoked },
        None => GrantView { grant, uses_max: 0, ends: dmdl_types::id::UnixMillis::new(0), revoked: true },
    }
}

#[cfg(test)]
mod tests;
