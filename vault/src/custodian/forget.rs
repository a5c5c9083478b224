//! Forgetting: what a revocation, an erasure, a reshare and time take away.
//!
//! # Source
//! docs/spec/custodian.md, "Forgetting"

use super::{
    Custodian,
    keystore::{KeyName, KeyStore},
    rows::{Key, ShareRow},
    store::{Batch, Kv, Slot, StoreError},
};
use dmdl_types::{
    custody::CustodyEvent,
    id::{GrantId, RecordId, RecordVersion, ShareEpoch, TransactionId, UnixMillis},
    invocation::SystemItem,
};
use rand_core::CryptoRng;

/// A record of which nothing is left, or a version of it and the last share epoch of which nothing is left.
pub type Gone = (RecordId, Option<(RecordVersion, ShareEpoch)>);

impl<K: Kv, S: KeyStore> Custodian<K, S> {
    /// Takes note of what a final block means: whatever must go is gone when this returns.
    ///
    /// The same events again change nothing. The node observes the events of a block before it
    /// answers an ask at that block's height. Those that a crash swallowed it finds again by asking its
    /// ledger about what is kept: [`Custodian::held`], [`Custodian::grant_served`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn observe(&mut self, rng: &mut impl CryptoRng, events: &[CustodyEvent]) -> Result<(), StoreError> {
        let mut doomed = Doomed::default();
        for event in events {
            match event {
                // The share may arrive now: with it, the node gives the task to `accept`.
                CustodyEvent::Assigned(_) => {}
                CustodyEvent::Resharing(record, version, plan) => {
                    self.doom_parts(&mut doomed, *record, Some(*version), |of, _| of != *plan)?;
                }
                CustodyEvent::GrantRevoked(grant) => {
                    for row in self.store.releases_under(*grant)? {
                        doomed.rows.delete_release(&row);
                    }
                }
                CustodyEvent::RecordErased(record) => {
                    doomed.rows.put(&Key::Erased(*record), &());
                    self.doom(&mut doomed, *record, None, ShareEpoch::new(u32::MAX))?;
                }
                CustodyEvent::EpochBegan(record, version, epoch, dealing) => {
                    self.doom_parts(&mut doomed, *record, Some(*version), |_, to| to <= *epoch)?;
                    let slot = Slot { record: *record, version: *version, epoch: *epoch };
                    if let Some(row) = self.store.share(slot)?.filter(|row| row.context.dealing != *dealing) {
                        doomed.share(&row);
                    }
                }
                CustodyEvent::EpochEnded(record, version, epoch) => {
                    let ended = self.store.ended(*record, *version)?.map_or(*epoch, |before| before.max(*epoch));
                    doomed.rows.put(&Key::Ended(*record, *version), &ended);
                    self.doom(&mut doomed, *record, Some(*version), *epoch)?;
                }
            }
        }
        // Secrets first: a row that is left names what is still to be destroyed, a secret names nothing.
        self.keys.change(rng, &[], &doomed.secrets)?;
        self.store.commit(doomed.rows)
    }

    /// Says on the ledger that nothing is left with this custodian of a record, or of a version's shares up to an epoch; says
    /// nothing of what has not gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn attest(&mut self, record: RecordId, of: Option<(RecordVersion, ShareEpoch)>) -> Result<(), StoreError> {
        let gone = match of {
            None => self.store.is_erased(record)?,
            Some((version, epoch)) => self.store.is_over(Slot { record, version, epoch })?,
        };
        let mut batch = Batch::default();
        if gone {
            batch.put_pending(&SystemItem::Destroyed { record, of, generation: self.keys.generation() });
        }
        self.store.commit(batch)
    }

    /// What has gone for good: erased records, and versions with the last of their share epochs that ended.
    ///
    /// After a start, the node asks its ledger whether it waits for a word about each: a crash may have come in between.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn gone(&self) -> Result<Vec<Gone>, StoreError> {
        self.store.gone()
    }

    /// Deletes release entries whose window or grant ended before the tip's time; returns how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn expire(&mut self, tip_time: UnixMillis) -> Result<usize, StoreError> {
        let mut batch = Batch::default();
        let past = self.store.releases_past(tip_time)?;
        for row in &past {
            batch.delete_release(row);
        }
        self.store.commit(batch)?;
        Ok(past.len())
    }

    /// The grant after `after`, in a fixed order, under which a release entry is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn grant_served(&self, after: Option<GrantId>) -> Result<Option<GrantId>, StoreError> {
        self.store.grant_after(after)
    }

    /// Adds the shares up to an epoch, their complaints and their releases. Marks of releases stay
    /// pending: that they happened remains true.
    fn doom(
        &self,
        doomed: &mut Doomed,
        record: RecordId,
        version: Option<RecordVersion>,
        last: ShareEpoch,
    ) -> Result<(), StoreError> {
        for row in self.store.shares_of(record, version)?.iter().filter(|row| row.context.epoch <= last) {
            doomed.share(row);
        }
        self.doom_parts(doomed, record, version, |_, to| to <= last)?;
        for row in self.store.complaints_of(record, version)?.iter().filter(|row| row.context.epoch <= last) {
            doomed.rows.delete(&Key::Complaint(Slot::of(&row.context)));
            doomed.rows.delete_pending(&row.item);
        }
        for row in self.store.releases_of(record, version)?.iter().filter(|row| row.context.share.epoch <= last) {
            doomed.rows.delete_release(row);
        }
        Ok(())
    }

    /// Adds what there is of those reshares, by the call that began each and the epoch that it leads to, which are over: the own
    /// parts, and shares of the parts of others with what opens them.
    fn doom_parts(
        &self,
        doomed: &mut Doomed,
        record: RecordId,
        version: Option<RecordVersion>,
        is_over: impl Fn(TransactionId, ShareEpoch) -> bool,
    ) -> Result<(), StoreError> {
        for row in self.store.part_shares_of(record, version)? {
            if !is_over(row.plan, row.context.epoch) {
                continue;
            }
            doomed.secrets.push(KeyName::of_dealing_key(&row.dealing_key));
            doomed.rows.delete(&Key::Minted(row.dealing_key));
            doomed.rows.delete(&Key::PartShare(Slot::of(&row.context), row.plan, row.context.dealing));
        }
        for (key, row) in self.store.own_parts_of(record, version)? {
            if row.leads_to().is_some_and(|(plan, epoch)| is_over(plan, epoch)) {
                doomed.rows.delete_bytes(key);
                doomed.rows.delete_pending(&row.item);
            }
        }
        Ok(())
    }
}

/// What must go.
#[derive(Default)]
struct Doomed {
    secrets: Vec<KeyName>,
    rows: Batch,
}

impl Doomed {
    fn share(&mut self, row: &ShareRow) {
        let slot = Slot::of(&row.context);
        self.secrets.push(KeyName::of_share(slot));
        self.rows.delete(&Key::Share(slot));
        self.rows.delete_pending(&row.acknowledgement());
    }
}
