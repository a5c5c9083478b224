//! Taking shares in: one-time dealing keys, acknowledgements, complaints.
//!
//! # Source
//! docs/spec/custodian.md, "Taking a share in"

use super::{
    Custodian, SEALED_BYTES_MAX,
    keystore::{KeyName, KeyStore},
    rows::{ComplaintRow, Key, KeyRow, KeyState, ShareRow},
    store::{Batch, Kv, Slot, StoreError},
};
use crate::{
    keys::{random_secret, x25519_public},
    seal::{SealedShare, digest, open_dealt},
    share::{CheckedDealing, DealingError, VerifiedShare, WrapError, WrappedShare},
};
use dmdl_types::{
    context::ShareContext,
    custody::{Assignment, DealingKey, SealedBytes},
    id::{RecordId, UnixMillis},
    invocation::SystemItem,
    secret::Secret32,
    sign::PublicKey,
};
use rand_core::CryptoRng;
use std::collections::{BTreeMap, BTreeSet};

/// Most dealing keys that may wait for their shares.
pub const DEALING_KEYS_MAX: usize = 4096;

/// Why no dealing keys are minted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// Too many wait for their shares: old ones must be retired first.
    #[error("`{waiting}` dealing keys wait for their shares; `{wanted}` more exceed `{DEALING_KEYS_MAX}`")]
    TooMany {
        /// How many wait.
        waiting: usize,
        /// How many were asked for.
        wanted: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an arrived share is neither acknowledged nor complained of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The task is another custodian's, or of another network or channel.
    #[error("the share is not for this custodian")]
    NotMine,
    /// The bytes are not those that the dealer registered: altered on the way, which blames nobody.
    #[error("the sealed share is not the registered one")]
    OtherBytes,
    /// Too long for a complaint to carry.
    #[error("the sealed share has `{len}` bytes; `{SEALED_BYTES_MAX}` are allowed")]
    TooLong {
        /// How many bytes came.
        len: usize,
    },
    /// The record is erased, or the share epoch ended.
    #[error("shares of this epoch of record `{record}` are over")]
    Over {
        /// The record.
        record: RecordId,
    },
    /// Never minted here, retired, or spent on another share.
    #[error("the dealing key is not one that waits for a share")]
    UnknownKey,
    /// The task contradicts itself, or a share of the same epoch that was kept.
    #[error("the task is of another dealing than it says, or than the share that is held")]
    OtherDealing,
    /// The share was acknowledged, and cannot be read any more: the other custodians must repair it.
    #[error("the share of record `{record}` is lost")]
    Lost {
        /// The record.
        record: RecordId,
    },
    /// The share was not wrapped.
    #[error(transparent)]
    NotWrapped(#[from] WrapError),
}

/// A sealed share as it arrived, with the task that this node's own ledger gives for it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The task.
    pub assignment: &'a Assignment,
    /// The bytes.
    pub sealed: &'a SealedBytes,
}

/// What is to be done about an arrival.
pub(super) enum Finding {
    /// It matches its commitments.
    Keep(VerifiedShare),
    /// It does not, and the secret proves it.
    Complain(Secret32),
    /// It was answered before.
    Answered(SystemItem),
}

impl<K: Kv, S: KeyStore> Custodian<K, S> {
    /// Makes one-time dealing keys, signed for one dealer to use.
    ///
    /// What survives a crash: the secret of every key that was returned.
    ///
    /// # Errors
    /// [`MintError::TooMany`] when more than [`DEALING_KEYS_MAX`] would wait for their shares.
    pub fn mint(
        &mut self,
        rng: &mut impl CryptoRng,
        dealer: PublicKey,
        count: usize,
        own_clock: UnixMillis,
    ) -> Result<Vec<DealingKey>, MintError> {
        let waiting = self.store.dealing_keys()?.iter().filter(|(_, row)| row.state == KeyState::Waits).count();
        if waiting.saturating_add(count) > DEALING_KEYS_MAX {
            return Err(MintError::TooMany { waiting, wanted: count });
        }
        let secrets: Vec<_> = (0..count).map(|_| random_secret(rng)).collect();
        let publics: Vec<_> = secrets.iter().map(x25519_public).collect();
        let mut batch = Batch::default();
        for public in &publics {
            batch.put(&Key::Minted(*public), &KeyRow { minted: own_clock, state: KeyState::Waits });
        }
        // Rows first: a row without a secret is retired in time, a secret without a row never.
        self.store.commit(batch)?;
        let named: Vec<_> = publics.iter().map(KeyName::of_dealing_key).zip(secrets).collect();
        self.keys.change(rng, &named, &[])?;
        Ok(publics
            .into_iter()
            .map(|public| DealingKey::sign(&self.signer, &self.rule.pinned, dealer, public))
            .collect())
    }

    /// Destroys the dealing keys that were minted before an instant and never used; returns how many.
    ///
    /// A share that travels under one of them cannot be opened any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn retire(&mut self, rng: &mut impl CryptoRng, before: UnixMillis) -> Result<usize, StoreError> {
        let old = self.store.dealing_keys()?.into_iter();
        let old = old.filter(|(_, row)| row.minted < before && row.state != KeyState::Opens);
        let old: Vec<_> = old.map(|(key, _)| key).collect();
        self.destroy_dealing_keys(rng, &old)?;
        Ok(old.len())
    }

    /// Takes shares in and says of each, in the same order, what the ledger is to be told: an
    /// acknowledgement of a good one, a complaint that proves a bad one.
    ///
    /// The same share again gets the same item. Many at once cost little more than one.
    ///
    /// What survives a crash: every share that was acknowledged, every complaint, and that the ledger
    /// has yet to hear of it ([`Custodian::pending`]). An answered share's dealing secret is gone.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was said. Of a single share [`AcceptError`]: there is nothing to say.
    pub fn accept(
        &mut self,
        rng: &mut impl CryptoRng,
        arrivals: &[Arrival<'_>],
    ) -> Result<Vec<Result<SystemItem, AcceptError>>, StoreError> {
        let mut staged = Staged::default();
        let mut answers = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            answers.push(match self.examine(arrival, &staged)? {
                Ok(Finding::Answered(item)) => Ok(item),
                Ok(Finding::Keep(share)) => staged.keep(rng, &share, arrival.assignment),
                Ok(Finding::Complain(secret)) => Ok(staged.complain(&secret, arrival)),
                Err(error) => Err(error),
            });
        }
        // A secret without its share is noise; a share without its secret would be lost.
        self.keys.change(rng, &staged.secrets, &[])?;
        self.store.commit(staged.batch)?;
        let spent: Vec<_> = staged.spent.into_iter().collect();
        self.destroy_dealing_keys(rng, &spent)?;
        Ok(answers)
    }

    fn examine(&self, arrival: &Arrival<'_>, staged: &Staged) -> Result<Result<Finding, AcceptError>, StoreError> {
        let Arrival { assignment, sealed } = *arrival;
        let context = &assignment.share;
        let slot = match self.check_arrival(arrival)? {
            Ok(slot) => slot,
            Err(error) => return Ok(Err(error)),
        };
        if let Some((kept, item)) = staged.answers.get(&slot) {
            return Ok(same(kept, context, item.clone()));
        }
        if let Some(row) = self.store.complaint(slot)? {
            return Ok(same(&row.context, context, row.item));
        }
        if let Some(row) = self.store.share(slot)? {
            if self.unwrap(&row)?.is_none() {
                return Ok(Err(AcceptError::Lost { record: slot.record }));
            }
            let item = row.acknowledgement();
            return Ok(same(&row.context, context, item));
        }
        let secret = match staged.spent.contains(&assignment.dealing_key) {
            false => self.waiting_secret(&assignment.dealing_key)?,
            true => None,
        };
        let Some(secret) = secret else { return Ok(Err(AcceptError::UnknownKey)) };
        Ok(open(assignment, sealed, secret))
    }

    /// Whether these are the registered bytes of a share for this custodian, whose epoch is not over; says where it belongs.
    pub(super) fn check_arrival(&self, arrival: &Arrival<'_>) -> Result<Result<Slot, AcceptError>, StoreError> {
        let Arrival { assignment, sealed } = *arrival;
        let (context, pinned) = (&assignment.share, self.rule.pinned);
        if context.custodian != self.rule.me
            || (context.data.network, context.data.channel) != (pinned.network, pinned.channel)
        {
            return Ok(Err(AcceptError::NotMine));
        }
        if sealed.0.len() > SEALED_BYTES_MAX {
            return Ok(Err(AcceptError::TooLong { len: sealed.0.len() }));
        }
        if digest(sealed) != assignment.sealed_digest {
            return Ok(Err(AcceptError::OtherBytes));
        }
        let slot = Slot::of(context);
        Ok(if self.store.is_over(slot)? { Err(AcceptError::Over { record: slot.record }) } else { Ok(slot) })
    }

    /// The secret of a dealing key that waits for its share.
    pub(super) fn waiting_secret(&self, key: &[u8; 32]) -> Result<Option<Secret32>, StoreError> {
        let waits = self.store.dealing_key(key)?.is_some_and(|row| row.state == KeyState::Waits);
        if waits { self.keys.get(KeyName::of_dealing_key(key)) } else { Ok(None) }
    }

    /// Destroys the secrets of dealing keys, then forgets the keys.
    pub(super) fn destroy_dealing_keys(
        &mut self,
        rng: &mut impl CryptoRng,
        keys: &[[u8; 32]],
    ) -> Result<(), StoreError> {
        let names: Vec<_> = keys.iter().map(KeyName::of_dealing_key).collect();
        self.keys.change(rng, &[], &names)?;
        let mut batch = Batch::default();
        for key in keys {
            batch.delete(&Key::Minted(*key));
        }
        self.store.commit(batch)
    }
}

/// Opens a share and compares it with its commitments.
pub(super) fn open(assignment: &Assignment, sealed: &SealedBytes, secret: Secret32) -> Result<Finding, AcceptError> {
    let dealing = match CheckedDealing::of_context(&assignment.share, &assignment.commitments) {
        Ok(dealing) => dealing,
        Err(DealingError::OtherDealing) => return Err(AcceptError::OtherDealing),
        // Commitments that are none: no share matches them, and the dealer registered them.
        Err(_) => return Ok(Finding::Complain(secret)),
    };
    let opened = SealedShare::from_bytes(sealed).ok();
    let opened = opened.and_then(|sealed| open_dealt(&sealed, &assignment.share, &secret).ok());
    Ok(match opened.and_then(|share| dealing.verify(share).ok()) {
        Some(share) => Finding::Keep(share),
        None => Finding::Complain(secret),
    })
}

fn same(kept: &ShareContext, asked: &ShareContext, item: SystemItem) -> Result<Finding, AcceptError> {
    if kept == asked { Ok(Finding::Answered(item)) } else { Err(AcceptError::OtherDealing) }
}

/// What a batch of arrivals changes.
#[derive(Default)]
struct Staged {
    batch: Batch,
    secrets: Vec<(KeyName, Secret32)>,
    spent: BTreeSet<[u8; 32]>,
    answers: BTreeMap<Slot, (ShareContext, SystemItem)>,
}

impl Staged {
    fn keep(
        &mut self,
        rng: &mut impl CryptoRng,
        share: &VerifiedShare,
        assignment: &Assignment,
    ) -> Result<SystemItem, AcceptError> {
        let (context, slot) = (assignment.share, Slot::of(&assignment.share));
        let secret = random_secret(rng);
        let row = ShareRow { context, wrapped: WrappedShare::seal(rng, share, &secret, &context)? };
        self.secrets.push((KeyName::of_share(slot), secret));
        self.batch.put(&Key::Share(slot), &row);
        Ok(self.answer(assignment, row.acknowledgement()))
    }

    fn complain(&mut self, secret: &Secret32, arrival: &Arrival<'_>) -> SystemItem {
        let Arrival { assignment, sealed } = *arrival;
        let (context, slot) = (assignment.share, Slot::of(&assignment.share));
        let item = SystemItem::Complaint {
            record: slot.record,
            version: slot.version,
            epoch: slot.epoch,
            sealed: sealed.clone(),
            dealing_secret: secret.expose(|bytes| *bytes),
        };
        self.batch.put(&Key::Complaint(slot), &ComplaintRow { context, item: item.clone() });
        self.answer(assignment, item)
    }

    /// The item becomes durable together with the word that its dealing key is spent.
    fn answer(&mut self, assignment: &Assignment, item: SystemItem) -> SystemItem {
        let spent = KeyRow { minted: UnixMillis::default(), state: KeyState::Spent };
        self.batch.put(&Key::Minted(assignment.dealing_key), &spent);
        self.batch.put_pending(&item);
        self.spent.insert(assignment.dealing_key);
        self.answers.insert(Slot::of(&assignment.share), (assignment.share, item.clone()));
        item
    }
}
