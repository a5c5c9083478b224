//! Forgetting: what a revocation, an erasure, a reshare and time take away.
//!
//! # Source
//! docs/spec/custodian.md, "Forgetting"

use super::{
    Custodian,
    keystore::{KeyName, KeyStore},
    rows::Key,
    store::{Batch, Kv, Slot, StoreError},
};
use dmdl_types::{
    custody::CustodyEvent,
    id::{GrantId, RecordId, RecordVersion, ShareEpoch, UnixMillis},
};
use rand_core::CryptoRng;

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
                CustodyEvent::GrantRevoked(grant) => {
                    for row in self.store.releases_under(*grant)? {
                        doomed.rows.delete_release(&row);
                    }
                }
                CustodyEvent::RecordErased(record) => {
                    doomed.rows.put(&Key::Erased(*record), &());
                    self.doom(&mut doomed, *record, None, ShareEpoch::new(u32::MAX))?;
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
            let slot = Slot::of(&row.context);
            doomed.secrets.push(KeyName::of_share(slot));
            doomed.rows.delete(&Key::Share(slot));
            doomed.rows.delete_pending(&row.acknowledgement());
        }
        for row in self.store.complaints_of(record, version)?.iter().filter(|row| row.context.epoch <= last) {
            doomed.rows.delete(&Key::Complaint(Slot::of(&row.context)));
            doomed.rows.delete_pending(&row.item);
        }
        for row in self.store.releases_of(record, version)?.iter().filter(|row| row.context.share.epoch <= last) {
            doomed.rows.delete_release(row);
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
