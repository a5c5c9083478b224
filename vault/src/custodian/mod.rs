//! Keeps one custodian's shares, and hands one out only on an outcome that its own node has executed.
//!
//! A custodian is a machine without sockets, clock or randomness of its own. What enters is what its own
//! node's executor says ([`Assignment`](dmdl_types::custody::Assignment),
//! [`ReleaseView`], [`CustodyEvent`]), sealed shares that are compared with digests on the ledger, ids of
//! transactions, and the node's clock and generator as arguments. What leaves is a sealed share that is
//! on disk first ([`Durable`]), and items for the ledger.
//!
//! What survives a crash: every release that was answered, every acknowledgement and complaint, and
//! what the ledger has yet to hear of ([`Custodian::pending`]). What may be asked again: everything; the
//! second answer equals the first. After a [`StoreError`] nothing may be asked: the node stops.
//!
//! # Source
//! docs/spec/custodian.md

mod dealing;
mod entry;
mod forget;
mod judge;
mod keystore;
mod parts;
mod release;
mod reshare;
mod rows;
mod store;

pub use dealing::{AcceptError, Arrival, DEALING_KEYS_MAX, MintError};
pub use entry::{Durable, ReleaseEntry};
pub use forget::Gone;
pub use judge::{is_sealed, judge, lied};
#[cfg(unix)]
pub use keystore::FileKeys;
pub use keystore::{KeyName, KeyStore, MemoryKeys};
pub use parts::{is_part, merge};
pub use release::{
    CLOCK_BOUND_MS, RELEASE_WINDOW_MS, ReleaseError, ReleaseLimits, ReleasePermit, ReleaseRule, STALENESS_MIN_MS,
};
pub use reshare::{DealPartError, Next};
pub use store::{Change, Entry, Kv, MemoryKv, StoreError};

use crate::share::Share;
use dmdl_types::{
    context::ShareContext,
    custody::ReleaseView,
    id::{NodeId, RecordId, TransactionId, UnixMillis},
    invocation::SystemItem,
    sign::{Domain, SigningKey},
};
use keystore::Owner;
use rand_core::CryptoRng;
use rows::{Key, KeyState, ShareRow};
use std::{fmt, sync::Arc};
use store::{Batch, ReleaseKey, ShareStore, Slot};

/// Longest sealed share that is looked at.
pub const SEALED_BYTES_MAX: usize = 1024;

/// Why an ask gets no share.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The release rule does not hold.
    #[error(transparent)]
    Refused(#[from] ReleaseError),
    /// The share cannot be read any more: the other custodians must repair it.
    #[error("the share of record `{record}` is lost")]
    Lost {
        /// The record.
        record: RecordId,
    },
    /// An alarm: the ledger now says something else of a decryption that was answered.
    #[error("decryption `{asked}` was answered with another requester or one-time key")]
    AnsweredOtherwise {
        /// The decryption.
        asked: TransactionId,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One custodian on one channel.
///
/// # Security
/// Holds no share and no secret but the node's signing key: both stay in the stores until they are
/// used, and are wiped after.
pub struct Custodian<K, S> {
    rule: ReleaseRule,
    signer: Arc<SigningKey>,
    store: ShareStore<K>,
    keys: S,
}

impl<K, S> fmt::Debug for Custodian<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custodian").field("rule", &self.rule).finish_non_exhaustive()
    }
}

impl<K: Kv, S: KeyStore> Custodian<K, S> {
    /// Opens the custodian that signs with this key, on the network and channel that its operator
    /// pinned, and finishes what a crash interrupted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(
        rng: &mut impl CryptoRng,
        pinned: Domain,
        signer: Arc<SigningKey>,
        limits: ReleaseLimits,
        kv: K,
        keys: S,
    ) -> Result<Self, StoreError> {
        let rule = ReleaseRule { pinned, me: NodeId::of_key(signer.public()), limits };
        let mut custodian = Self { rule, signer, store: ShareStore::new(kv), keys };
        let rows = custodian.store.dealing_keys()?.into_iter().filter(|(_, row)| row.state == KeyState::Spent);
        let spent: Vec<_> = rows.map(|(key, _)| key).collect();
        custodian.destroy_dealing_keys(rng, &spent)?;
        custodian.destroy_what_has_no_row(rng)?;
        custodian.take_back_empty_words()?;
        Ok(custodian)
    }

    /// The rule that releases follow.
    #[must_use]
    pub const fn rule(&self) -> &ReleaseRule {
        &self.rule
    }

    /// Goes by other numbers from now on: they follow from the configuration of the epoch.
    pub const fn set_limits(&mut self, limits: ReleaseLimits) {
        self.rule.limits = limits;
    }

    /// Releases this custodian's share for a decryption, if the release rule holds now.
    ///
    /// Asked again, it checks the rule again and answers with the same bytes.
    ///
    /// What survives a crash: the release entry of everything that this returned, and that the ledger
    /// has yet to hear of it.
    ///
    /// # Errors
    /// [`AskError`]: nothing leaves.
    pub fn release(
        &mut self,
        rng: &mut impl CryptoRng,
        asked: TransactionId,
        view: &ReleaseView,
        own_clock: UnixMillis,
    ) -> Result<Durable<ReleaseEntry>, AskError> {
        let held = view.share.as_ref().map(|share| self.held_for(&share.share)).transpose()?.flatten();
        let permit = self.rule.check(asked, view, held.as_ref().map(|row| &row.context), own_clock)?;
        let slot = Slot::of(&permit.context().share);
        if let Some(answered) = self.store.release(&ReleaseKey { slot, transaction: asked })? {
            let same = answered.context() == permit.context();
            return if same { Ok(answered) } else { Err(AskError::AnsweredOtherwise { asked }) };
        }
        let share = held.map(|row| self.unwrap(&row)).transpose()?.flatten();
        let share = share.ok_or(AskError::Lost { record: slot.record })?;
        let entry = permit.seal(rng, share, &self.signer)?;
        // 19. The release entry is durable before the share leaves.
        Ok(self.store.put_release(entry)?)
    }

    /// The held share of the epoch that a context speaks of; without one, that of the newest epoch.
    ///
    /// Besides the share of the current epoch, one may wait for the next epoch to begin.
    fn held_for(&self, context: &ShareContext) -> Result<Option<ShareRow>, StoreError> {
        match self.store.share(Slot::of(context))? {
            Some(row) => Ok(Some(row)),
            None => self.store.newest_share(context.data.record, context.data.version),
        }
    }

    /// What the ledger has yet to be told: acknowledgements, complaints and release marks, at most
    /// `limit` of them.
    ///
    /// The node sends them again until it has executed them; a second one changes nothing there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn pending(&self, limit: usize) -> Result<Vec<SystemItem>, StoreError> {
        self.store.pending(limit)
    }

    /// Notes that this node's own executor has seen these items of its own, whatever became of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn settle(&mut self, items: &[SystemItem]) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for item in items {
            batch.delete_pending(item);
        }
        self.store.commit(batch)
    }

    /// The contexts of held shares in a fixed order, at most `limit` after `after`.
    ///
    /// After a start, the node asks its ledger about each, and observes what it missed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn held(&self, after: Option<&ShareContext>, limit: usize) -> Result<Vec<ShareContext>, StoreError> {
        let rows = self.store.shares_after(after.map(Slot::of), limit)?;
        Ok(rows.into_iter().map(|row| row.context).collect())
    }

    /// The contexts of shares of parts that are kept, in a fixed order, at most `limit` after `after`: as for
    /// [`Custodian::held`], the node asks its ledger about each after a start.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn parts_held(
        &self,
        after: Option<&(ShareContext, TransactionId)>,
        limit: usize,
    ) -> Result<Vec<(ShareContext, TransactionId)>, StoreError> {
        let after = after.map(|(context, plan)| Key::PartShare(Slot::of(context), *plan, context.dealing));
        Ok(self.store.part_shares_after(after, limit)?.into_iter().map(|row| (row.context, row.plan)).collect())
    }

    /// Destroys secrets that no row names: those of a share that a crash kept from being accepted, and those of rows that a
    /// damaged database has lost. What they open may lie about in copies, and no erasure would find them any more.
    fn destroy_what_has_no_row(&mut self, rng: &mut impl CryptoRng) -> Result<(), StoreError> {
        let mut unnamed = Vec::new();
        for name in self.keys.names()? {
            let has_row = match name.owner() {
                Some(Owner::DealingKey(public)) => self.store.dealing_key(&public)?.is_some(),
                Some(Owner::Share(slot)) => self.store.share(slot)?.is_some(),
                None => true,
            };
            if !has_row {
                unnamed.push(name);
            }
        }
        if unnamed.is_empty() { Ok(()) } else { self.keys.change(rng, &[], &unnamed) }
    }

    /// Withdraws acknowledgements that the ledger has not heard yet of shares that cannot be read: the
    /// database is a restored one, and the secrets are not in backups.
    fn take_back_empty_words(&mut self) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for item in self.store.pending(usize::MAX)? {
            let SystemItem::Acknowledge { record, version, epoch, .. } = item else { continue };
            let row = self.store.share(Slot { record, version, epoch })?;
            let share = row.map(|row| self.unwrap(&row)).transpose()?.flatten();
            if share.is_none() {
                batch.delete_pending(&item);
            }
        }
        self.store.commit(batch)
    }

    /// The share of a row; none if it cannot be read any more.
    fn unwrap(&self, row: &ShareRow) -> Result<Option<Share>, StoreError> {
        let secret = self.keys.get(KeyName::of_share(Slot::of(&row.context)))?;
        Ok(secret.and_then(|secret| row.wrapped.open(&secret, &row.context).ok()))
    }
}

#[cfg(test)]
mod tests;
