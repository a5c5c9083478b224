//! Handing keys on: a custodian's part in a reshare, and what it gets of the parts of others.
//!
//! A part is durable before anybody hears of it, so that its dealer deals one and not two. A share of a part is kept as it
//! came, with the secret of its dealing key, and nothing is said of it: only what the ledger's choice of parts adds up to
//! is wrapped, kept beside the share of the current epoch, and acknowledged.
//!
//! # Source
//! docs/spec/custodian.md, "Handing on"

use super::{
    Arrival, Custodian,
    dealing::{AcceptError, Finding, open},
    keystore::{KeyName, KeyStore},
    parts::checked,
    rows::{Key, KeyRow, KeyState, OwnPartRow, PartShareRow, ShareRow},
    store::{Batch, Kv, Slot, StoreError},
};
use crate::{
    keys::random_secret,
    seal::{SealError, SealedShare, digest, open_dealt, seal_to_custodian},
    share::{
        CheckedDealing, Commitments, DealError, ReshareError, Share, SubDealing, Threshold, ThresholdError,
        VerifiedShare, WrappedShare, merge_commitments, merge_shares,
    },
};
use dmdl_types::{
    custody::{Dealing, DealingKey, DealtShare, ReshareTask, SealedBytes, TaskPart},
    id::{DealingId, NodeId, ShareEpoch, ShareIndex, TransactionId, UnixMillis},
    invocation::SystemItem,
};
use rand_core::CryptoRng;

/// How shares are sealed in this version.
const SHARE_SUITE: u8 = 1;

/// Why a custodian deals no part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DealPartError {
    /// It holds no share of the epoch that ends, or not the one that the ledger speaks of.
    #[error("no share of the epoch that ends is held")]
    NotHeld,
    /// The plan's numbers are no threshold.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
    /// The dealing keys are not those of the next custodians, in their order.
    #[error("the dealing keys are not one of each next custodian, in their order")]
    OtherKeys,
    /// A dealing key is weak.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The generator is visibly broken.
    #[error(transparent)]
    Deal(#[from] DealError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a next custodian has to say in a reshare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: there are too few parts, or its shares of them have not come.
    Wait,
    /// It keeps its share of what the parts add up to.
    Acknowledge(Box<SystemItem>),
}

impl<K: Kv, S: KeyStore> Custodian<K, S> {
    /// Deals this custodian's share to the next ones, with a key of each, in their order; who gave none gets no share. Asked
    /// again, it gives the same part.
    ///
    /// What survives a crash: the part with all its sealed shares ([`Custodian::part_for`]), and that the ledger has yet to
    /// hear of it.
    ///
    /// # Errors
    /// [`DealPartError`]: nothing was dealt.
    pub fn deal_part(
        &mut self,
        rng: &mut impl CryptoRng,
        task: &ReshareTask,
        keys: &[Option<DealingKey>],
    ) -> Result<SystemItem, DealPartError> {
        let key = own_part(task);
        if let Some(row) = self.store.own_part(&key)? {
            return Ok(row.item);
        }
        let fits = |(custodian, key): (&NodeId, &Option<DealingKey>)| key.is_none_or(|key| key.custodian == *custodian);
        if keys.len() != task.custodians.len() || !task.custodians.iter().zip(keys).all(fits) {
            return Err(DealPartError::OtherKeys);
        }
        let old = checked(&task.reshared()).ok_or(DealPartError::NotHeld)?;
        let share = self.held_share(&old)?.ok_or(DealPartError::NotHeld)?;
        let threshold = Threshold::new(task.threshold, u8::try_from(task.custodians.len()).unwrap_or(u8::MAX))?;
        let (commitments, shares) = SubDealing::deal(rng, &share, threshold)?;
        let part = CheckedDealing::new(commitments, task.data, task.epoch.next());
        let mut sealed = Vec::with_capacity(keys.len());
        let mut dealt = Vec::with_capacity(keys.len());
        for ((custodian, key), share) in task.custodians.iter().zip(keys).zip(&shares) {
            let Some(key) = key else {
                dealt.push(DealtShare::none_for(*custodian));
                sealed.push(SealedBytes(Vec::new()));
                continue;
            };
            let context = part.context(*custodian, share.index());
            let bytes = seal_to_custodian(rng, share, &context, &key.key)?.to_bytes();
            dealt.push(DealtShare { key: *key, digest: digest(&bytes) });
            sealed.push(bytes);
        }
        let dealing = Dealing {
            suite: SHARE_SUITE,
            epoch: task.epoch.next(),
            commitments: part.commitments().as_bytes().to_vec(),
            shares: dealt,
            min_acks: task.min_acks,
        };
        let (record, version) = (task.data.record, task.data.version);
        let row = OwnPartRow {
            item: SystemItem::Part { plan: task.transaction, record, version, dealing: Box::new(dealing) },
            sealed,
        };
        let mut batch = Batch::default();
        batch.put(&key, &row);
        batch.put_pending(&row.item);
        self.store.commit(batch)?;
        Ok(row.item)
    }

    /// The part that this custodian has dealt, whatever the ledger knows of it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn dealt_part(&self, task: &ReshareTask) -> Result<Option<SystemItem>, StoreError> {
        Ok(self.store.own_part(&own_part(task))?.map(|row| row.item))
    }

    /// Whether this custodian holds the share that it would deal.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn can_deal(&self, task: &ReshareTask) -> Result<bool, StoreError> {
        let Some(old) = checked(&task.reshared()) else { return Ok(false) };
        Ok(self.held_share(&old)?.is_some())
    }

    /// What the next custodian at an index gets of this custodian's part; none before it was dealt, or if it gets nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn part_for(&self, task: &ReshareTask, index: ShareIndex) -> Result<Option<SealedBytes>, StoreError> {
        let row = self.store.own_part(&own_part(task))?;
        let position = usize::from(index.get()).checked_sub(1);
        let sealed = row.zip(position).and_then(|(row, position)| row.sealed.get(position).cloned());
        Ok(sealed.filter(|sealed| !sealed.0.is_empty()))
    }

    /// Takes in a share of a dealer's part in the reshare that a transaction began: keeps it, or proves to the ledger that it is bad.
    ///
    /// The same share again changes nothing.
    ///
    /// What survives a crash: every share that was kept, and every complaint.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was said. Of the share [`AcceptError`]: there is nothing to say.
    pub fn accept_part(
        &mut self,
        rng: &mut impl CryptoRng,
        (plan, dealer): (TransactionId, NodeId),
        arrival: &Arrival<'_>,
    ) -> Result<Result<(), AcceptError>, StoreError> {
        let Arrival { assignment, sealed } = *arrival;
        let context = assignment.share;
        let slot = match self.check_arrival(arrival)? {
            Ok(slot) => slot,
            Err(error) => return Ok(Err(error)),
        };
        // The epoch before must not have ended: with its end, parts that led on from it are over.
        let before = slot.epoch.get().checked_sub(1).map(ShareEpoch::new);
        if before.map(|epoch| self.store.is_over(Slot { epoch, ..slot })).transpose()?.unwrap_or(true) {
            return Ok(Err(AcceptError::Over { record: slot.record }));
        }
        let key = Key::PartShare(slot, plan, context.dealing);
        if let Some(row) = self.store.part_share(&key)? {
            let opens = self.keys.get(KeyName::of_dealing_key(&row.dealing_key))?.is_some();
            return Ok(if opens { Ok(()) } else { Err(AcceptError::Lost { record: slot.record }) });
        }
        let Some(secret) = self.waiting_secret(&assignment.dealing_key)? else {
            return Ok(Err(AcceptError::UnknownKey));
        };
        let mut batch = Batch::default();
        let used = |state| KeyRow { minted: UnixMillis::default(), state };
        match open(assignment, sealed, secret) {
            Err(error) => return Ok(Err(error)),
            Ok(Finding::Complain(secret)) => {
                batch.put(&Key::Minted(assignment.dealing_key), &used(KeyState::Spent));
                batch.put_pending(&SystemItem::PartComplaint {
                    plan,
                    record: slot.record,
                    version: slot.version,
                    epoch: slot.epoch,
                    dealer,
                    sealed: sealed.clone(),
                    dealing_secret: secret.expose(|bytes| *bytes),
                });
                self.store.commit(batch)?;
                self.destroy_dealing_keys(rng, &[assignment.dealing_key])?;
            }
            Ok(_) => {
                let row = PartShareRow { plan, context, dealing_key: assignment.dealing_key, sealed: sealed.clone() };
                batch.put(&key, &row);
                batch.put(&Key::Minted(assignment.dealing_key), &used(KeyState::Opens));
                self.store.commit(batch)?;
            }
        }
        Ok(Ok(()))
    }

    /// The dealers of the parts of which this custodian should have a share, and has none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lacking(&self, task: &ReshareTask) -> Result<Vec<NodeId>, StoreError> {
        let slot = next_slot(task);
        let mut dealers = Vec::new();
        for part in task.parts.iter().filter(|part| !part.keyless.contains(&self.rule.me)) {
            let dealing = DealingId::derive(&task.data, slot.epoch, &part.commitments);
            if self.store.part_share(&Key::PartShare(slot, task.transaction, dealing))?.is_none() {
                dealers.push(part.dealer);
            }
        }
        Ok(dealers)
    }

    /// Adds up this custodian's shares of the parts that count, and says what the ledger is to be told.
    ///
    /// What survives a crash: a share that was acknowledged.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn merge(&mut self, rng: &mut impl CryptoRng, task: &ReshareTask) -> Result<Next, StoreError> {
        let Some(dealing) = task.merged else { return Ok(Next::Wait) };
        let Some(index) = task.next_index_of(self.rule.me) else { return Ok(Next::Wait) };
        let slot = next_slot(task);
        if self.store.is_over(slot)? {
            return Ok(Next::Wait);
        }
        if let Some(row) = self.store.share(slot)?
            && row.context.dealing == dealing
            && self.unwrap(&row)?.is_some()
        {
            return Ok(Next::Acknowledge(Box::new(row.acknowledgement())));
        }
        let Some(parts) = sub_dealings(task) else { return Ok(Next::Wait) };
        let mut shares = Vec::with_capacity(parts.len());
        for part in &parts {
            let Some(share) = self.share_of_part((slot, task.transaction), part)? else { return Ok(Next::Wait) };
            shares.push(share);
        }
        let Some(share) = added_up(&parts, &shares, dealing, index) else { return Ok(Next::Wait) };
        Ok(Next::Acknowledge(Box::new(self.keep_next(rng, slot, &share)?)))
    }

    /// Shows the ledger those shares of this custodian's part that others miss.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn show_missing(&mut self, task: &ReshareTask) -> Result<(), StoreError> {
        let own = task.parts.iter().find(|part| part.dealer == self.rule.me);
        let mut batch = Batch::default();
        for custodian in own.map(|part| part.missing.as_slice()).unwrap_or_default() {
            let index = task.next_index_of(*custodian);
            let sealed = index.map(|index| self.part_for(task, index)).transpose()?.flatten();
            let Some(sealed) = sealed else { continue };
            let Slot { record, version, epoch } = next_slot(task);
            let (plan, custodian) = (task.transaction, *custodian);
            batch.put_pending(&SystemItem::PartShown { plan, record, version, epoch, custodian, sealed });
        }
        self.store.commit(batch)
    }

    /// Says on the ledger that the share of a dealer's part has not come.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn miss_part(&mut self, task: &ReshareTask, dealer: NodeId) -> Result<(), StoreError> {
        let (plan, Slot { record, version, epoch }) = (task.transaction, next_slot(task));
        let mut batch = Batch::default();
        batch.put_pending(&SystemItem::PartMissing { plan, record, version, epoch, dealer });
        self.store.commit(batch)
    }

    /// Wraps the share of an epoch that has not begun. It takes the place of one that other parts added up to, which nobody
    /// will ask for.
    fn keep_next(
        &mut self,
        rng: &mut impl CryptoRng,
        slot: Slot,
        share: &VerifiedShare,
    ) -> Result<SystemItem, StoreError> {
        let context = share.context(self.rule.me);
        let secret = random_secret(rng);
        let wrapped = WrappedShare::seal(rng, share, &secret, &context);
        let wrapped = wrapped.map_err(|_| StoreError::Corrupt { what: "a share that does not fit its own context" })?;
        let row = ShareRow { context, wrapped };
        // A secret without its share is noise; a share without its secret would be lost.
        self.keys.change(rng, &[(KeyName::of_share(slot), secret)], &[])?;
        let mut batch = Batch::default();
        batch.put(&Key::Share(slot), &row);
        batch.put_pending(&row.acknowledgement());
        self.store.commit(batch)?;
        Ok(row.acknowledgement())
    }

    /// The share that is held of a dealing, verified.
    fn held_share(&self, dealing: &CheckedDealing) -> Result<Option<VerifiedShare>, StoreError> {
        let data = dealing.data();
        let row = self.store.share(Slot { record: data.record, version: data.version, epoch: dealing.epoch() })?;
        let Some(row) = row.filter(|row| row.context.dealing == dealing.id()) else { return Ok(None) };
        let share: Option<Share> = self.unwrap(&row)?;
        Ok(share.and_then(|share| dealing.verify(share).ok()))
    }

    /// This custodian's share of a part, as it came.
    fn share_of_part(
        &self,
        (slot, plan): (Slot, TransactionId),
        part: &SubDealing,
    ) -> Result<Option<VerifiedShare>, StoreError> {
        let row = self.store.part_share(&Key::PartShare(slot, plan, part.dealing().id()))?;
        let Some(row) = row else { return Ok(None) };
        let Some(secret) = self.keys.get(KeyName::of_dealing_key(&row.dealing_key))? else { return Ok(None) };
        let sealed = SealedShare::from_bytes(&row.sealed).ok();
        let share = sealed.and_then(|sealed| open_dealt(&sealed, &row.context, &secret).ok());
        Ok(share.and_then(|share| part.dealing().verify(share).ok()))
    }
}

const fn next_slot(task: &ReshareTask) -> Slot {
    Slot { record: task.data.record, version: task.data.version, epoch: task.epoch.next() }
}

const fn own_part(task: &ReshareTask) -> Key {
    Key::OwnPart(next_slot(task), task.transaction)
}

/// The parts that count.
fn sub_dealings(task: &ReshareTask) -> Option<Vec<SubDealing>> {
    let old = checked(&task.reshared())?;
    let threshold = Threshold::new(task.threshold, u8::try_from(task.custodians.len()).ok()?).ok()?;
    let check = |part: &TaskPart| {
        SubDealing::check(&old, part.from, Commitments::parse(threshold, &part.commitments).ok()?).ok()
    };
    task.chosen().map(check).collect()
}

/// The share that shares of parts add up to, if it is that of the dealing which the ledger names.
fn added_up(
    parts: &[SubDealing],
    shares: &[VerifiedShare],
    dealing: DealingId,
    index: ShareIndex,
) -> Option<VerifiedShare> {
    let add = || -> Result<_, ReshareError> { Ok((merge_commitments(parts)?, merge_shares(parts, shares)?)) };
    let (merged, share) = add().ok()?;
    let verified = merged.verify(share).ok()?;
    (merged.id() == dealing && verified.index() == index).then_some(verified)
}
