//! Reshares that are under way, as this node's custodian sees them.

use super::Channel;
use crate::{
    contract::part_context,
    store::{Store, StoreError},
    world::{self, DealingKeyUsed, ErasureRow, PartRow, PartState, RecordRow, ReshareRow, Sharing, VersionRow},
};
use dmdl_types::{
    custody::{Assignment, ReshareTask, SealedBytes, TaskPart},
    id::{NodeId, RecordId, RecordVersion, ShareEpoch, TransactionId},
};

/// A reshare that is under way: of what, and which call began it.
pub type UnderWay = (RecordId, RecordVersion, TransactionId);

impl<E, S: Store> Channel<E, S> {
    /// A reshare of a record's version: what of it this node's ledger has, at one height.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn reshare_task(&self, record: RecordId, version: RecordVersion) -> Result<Option<ReshareTask>, StoreError> {
        // The executor writes under the same lock, so all rows belong to one height.
        let executor = self.executor();
        let store = executor.store();
        let slot = (record, version);
        let erased = world::read::<RecordRow>(store, &record)?.is_none_or(|row| row.is_erased());
        let rows = (world::read::<ReshareRow>(store, &slot)?, world::read::<VersionRow>(store, &slot)?);
        let (Some(reshare), Some(version_row)) = rows else { return Ok(None) };
        if erased {
            return Ok(None);
        }
        let chosen = reshare.chosen(version_row.commitments.len()).unwrap_or_default();
        let chosen: Vec<NodeId> = chosen.iter().map(|entry| entry.dealer).collect();
        let mut parts = Vec::new();
        for entry in reshare.parts.iter().filter(|part| part.state == PartState::Good) {
            let row: Option<PartRow> = world::read(store, &(record, version, entry.dealer))?;
            let Some(row) = row else { return Ok(None) };
            let missing = entry.missing.iter().filter(|missing| !missing.is_shown);
            parts.push(TaskPart {
                dealer: entry.dealer,
                from: entry.from,
                commitments: row.dealing.commitments,
                is_chosen: chosen.contains(&entry.dealer),
                keyless: entry.keyless.clone(),
                missing: missing.map(|missing| missing.custodian).collect(),
            });
        }
        Ok(Some(ReshareTask {
            transaction: reshare.transaction,
            data: self.data_context(record, version),
            epoch: version_row.epoch,
            commitments: version_row.commitments,
            custodians: reshare.custodians,
            threshold: reshare.threshold,
            min_acks: reshare.min_acks,
            holders: version_row.holders.nodes(),
            dealers: reshare.parts.iter().map(|part| part.dealer).collect(),
            parts,
            acks: reshare.acks,
            merged: reshare.merged.map(|merged| merged.dealing),
        }))
    }

    /// What a next custodian is to get of a dealer's part, if it gets something; with the share itself where the dealer has
    /// shown it.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn part_assignment(
        &self,
        custodian: NodeId,
        record: RecordId,
        version: RecordVersion,
        dealer: NodeId,
    ) -> Result<Option<(Assignment, Option<SealedBytes>)>, StoreError> {
        let row: Option<PartRow> = world::read(self.store(), &(record, version, dealer))?;
        let Some(PartRow { dealing, shown, .. }) = row else { return Ok(None) };
        let share = part_context(&self.data_context(record, version), &dealing, custodian);
        let dealt = dealing.shares.iter().find(|share| share.key.custodian == custodian && !share.is_none());
        let shown = shown.into_iter().find(|(whose, _)| *whose == custodian).map(|(_, sealed)| sealed);
        Ok(share.zip(dealt).map(|(share, dealt)| {
            let assignment = Assignment {
                share,
                commitments: dealing.commitments.clone(),
                dealing_key: dealt.key.key,
                sealed_digest: dealt.digest,
                height: self.tip().height,
            };
            (assignment, shown)
        }))
    }

    /// Whether the ledger waits for a custodian's word that nothing is left with it of a record, or of a version's shares up to
    /// an epoch.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn waits_for_word(
        &self,
        custodian: NodeId,
        record: RecordId,
        of: Option<(RecordVersion, ShareEpoch)>,
    ) -> Result<bool, StoreError> {
        let (keepers, destroyed) = match of {
            None => match self.erasure(record)? {
                Some(row) => (row.keepers, row.destroyed),
                None => return Ok(false),
            },
            Some((version, epoch)) => match world::read::<Sharing>(self.store(), &(record, version, epoch))? {
                Some(row) => (row.custodians, row.destroyed),
                None => return Ok(false),
            },
        };
        Ok(keepers.contains(&custodian) && destroyed.iter().all(|word| word.custodian != custodian))
    }

    /// Who says of an erased record that nothing is left; none for one that is not erased, or never was in custody.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn erasure(&self, record: RecordId) -> Result<Option<ErasureRow>, StoreError> {
        world::read(self.store(), &record)
    }

    /// Whether a dealing has used a custodian's one-time key.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn is_dealing_key_used(&self, custodian: NodeId, key: [u8; 32]) -> Result<bool, StoreError> {
        Ok(world::read::<DealingKeyUsed>(self.store(), &(custodian, key))?.is_some())
    }

    /// The reshares that are under way, at most `limit` after a cursor: the next cursor of each, of what it is, and which call
    /// began it.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub fn reshares(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, UnderWay)>, StoreError> {
        let rows = world::scan::<ReshareRow>(self.store(), &(), after, limit)?;
        Ok(rows.into_iter().map(|(cursor, row)| (cursor, (row.record, row.version, row.transaction))).collect())
    }
}
