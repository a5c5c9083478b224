//! This node as a custodian: the machine of the vault on this node's own ledger and disk.
//!
//! The only input to a release is [`Channel::release_view`](dmdl_audit_ledger::channel::Channel::release_view):
//! what this node's own executor has written. A request names a transaction id and nothing else.

use super::{Node, StartError, lock, message::Refused};
use commonware_runtime::Clock;
use dmdl_audit_ledger::{
    contract::{CustodyMath, Judgement},
    fault::{FaultKind, StorageFault},
    mdca::Timing,
    store::{Batch, Space, Store},
};
use dmdl_types::{
    context::ShareContext,
    custody::{CustodyEvent, Dealing, DealingKey, SealedBytes},
    genesis::{EpochConfig, faults},
    id::{NodeId, RecordId, RecordVersion, ShareEpoch, TransactionId, UnixMillis},
    invocation::SystemItem,
    secret::Secret32,
    sign::{Domain, PublicKey, SigningKey},
};
use dmdl_vault::custodian::{
    self, AcceptError, Arrival, AskError, Change, Custodian, FileKeys, KeyName, KeyStore, Kv, MemoryKeys, MintError,
    ReleaseError, ReleaseLimits, StoreError,
};
use rand_core::CryptoRng;
use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Dealing keys that one ask may take.
const KEYS_MAX: u16 = 16;
/// Dealing keys that were not used after this long are destroyed, and make room for others.
const KEYS_KEPT_MS: u64 = 60 * 60 * 1000;
/// How long a share may wait for its registration to be executed here.
const REGISTRATION_PATIENCE: Duration = Duration::from_millis(2500);
/// How long an ask for a release may be ahead of this node's own execution.
const EXECUTION_PATIENCE: Duration = Duration::from_millis(1000);
/// Items of the custodian that go to the ledger at a time.
const PENDING_MAX: usize = 256;
/// Rows that are looked at together after a start.
const PAGE: usize = 256;

/// The arithmetic of shares, as the ledger's contracts ask for it.
pub(super) const MATH: CustodyMath = CustodyMath {
    judge,
    is_sealed: custodian::is_sealed,
    is_part: custodian::is_part,
    lied: custodian::lied,
    merge: custodian::merge,
};

fn judge(context: &ShareContext, dealing: &Dealing, sealed: &SealedBytes, secret: &[u8; 32]) -> Judgement {
    if custodian::judge(context, dealing, sealed, secret) { Judgement::DealerFault } else { Judgement::Refuted }
}

/// The secrets that a custodian keeps apart: on disk, or in a simulator's memory.
#[derive(Debug)]
pub enum Secrets {
    /// Files that only this user may read.
    Files(FileKeys),
    /// Memory that outlives the node, as a disk would.
    Memory(Arc<Mutex<MemoryKeys>>),
}

impl KeyStore for Secrets {
    fn get(&self, name: KeyName) -> Result<Option<Secret32>, StoreError> {
        match self {
            Self::Files(keys) => keys.get(name),
            Self::Memory(keys) => lock(keys).get(name),
        }
    }

    fn names(&self) -> Result<Vec<KeyName>, StoreError> {
        match self {
            Self::Files(keys) => keys.names(),
            Self::Memory(keys) => lock(keys).names(),
        }
    }

    fn generation(&self) -> u64 {
        match self {
            Self::Files(keys) => keys.generation(),
            Self::Memory(keys) => lock(keys).generation(),
        }
    }

    fn change(
        &mut self,
        rng: &mut impl CryptoRng,
        put: &[(KeyName, Secret32)],
        destroy: &[KeyName],
    ) -> Result<(), StoreError> {
        match self {
            Self::Files(keys) => keys.change(rng, put, destroy),
            Self::Memory(keys) => lock(keys).change(rng, put, destroy),
        }
    }
}

/// Opens the custodian's secrets in a folder.
pub(super) fn open_secrets(folder: &Path) -> Result<Secrets, StartError> {
    let failed = |error: StoreError| StartError::Custodian(describe(&error));
    let above = folder.parent().unwrap_or(folder);
    std::fs::create_dir_all(folder)
        // Before there is a secret in it: a power cut must not take the folder.
        .and_then(|()| std::fs::File::open(above)?.sync_all())
        .map_err(|source| StartError::Folder { path: folder.display().to_string(), source })?;
    let keys = FileKeys::open(&folder.join("keys"), &folder.join("root.key")).map_err(failed)?;
    for path in keys.lost() {
        tracing::error!(path = %path.display(), "a file of the custodian is missing: some shares of this node are lost");
    }
    Ok(Secrets::Files(keys))
}

/// The custodian's rows, in the node's store.
#[derive(Debug)]
pub(super) struct Rows<S>(S);

impl<S: Store> Kv for Rows<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(Space::Custody, key).map_err(failed)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        self.0.scan(Space::Custody, prefix, after, limit).map_err(failed)
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(Space::Custody, key, value),
                None => batch.delete(Space::Custody, key),
            }
        }
        self.0.commit(batch).map_err(failed)
    }
}

fn failed(error: dmdl_audit_ledger::store::StoreError) -> StoreError {
    StoreError::Failed(Box::new(error))
}

/// The numbers of the release rule in an epoch: how old a tip may be depends on how many orderers may fail.
pub(super) fn limits(config: &EpochConfig) -> ReleaseLimits {
    let timing = Timing::default();
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let faults = faults(config.orderers().len()) as u64;
    ReleaseLimits::of_channel(ms(timing.heartbeat), ms(timing.certification), faults)
}

/// Whether a node is a member for this epoch and the whole of the next.
///
/// A release is marked on the ledger, which takes the word of members alone: so a node releases as long as its mark
/// has an epoch to be ordered in.
fn stays(node: NodeId, config: &EpochConfig, next: Option<&EpochConfig>) -> bool {
    [Some(config), next].iter().all(|config| config.is_some_and(|config| config.member(node).is_some()))
}

/// The custodian of this node, behind a lock.
pub(super) struct Keeper<S: Store> {
    pub(super) custodian: Mutex<Custodian<Rows<S>, Secrets>>,
    /// How far the round over all held shares is, in which the ledger is asked what has become of them.
    looked_at: Mutex<Option<ShareContext>>,
}

impl<S: Store> Keeper<S> {
    pub(super) fn open(
        key: &SigningKey,
        pinned: Domain,
        store: S,
        secrets: Secrets,
        limits: ReleaseLimits,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, StartError> {
        let signer = key.seed().expose(|seed| SigningKey::from_seed(Secret32::new(*seed)));
        let custodian = Custodian::open(rng, pinned, Arc::new(signer), limits, Rows(store), secrets);
        custodian
            .map(|custodian| Self { custodian: Mutex::new(custodian), looked_at: Mutex::default() })
            .map_err(|e| StartError::Custodian(describe(&e)))
    }
}

impl<E: Clock + CryptoRng, S: Store> Node<E, S> {
    /// Finds again what a crash swallowed: what the ledger has ended while the custodian was away.
    pub(super) fn recover(&self) -> Result<(), StartError> {
        let broken = |error: &dyn std::fmt::Display| StartError::Custodian(error.to_string());
        while self.look_on().map_err(|e| broken(&describe(&e)))? {}
        let mut after = None;
        loop {
            let parts = lock(&self.keeper.custodian).parts_held(after.as_ref(), PAGE);
            let parts = parts.map_err(|e| broken(&describe(&e)))?;
            let shares: Vec<_> = parts.iter().map(|(share, _)| *share).collect();
            self.let_go(&shares).map_err(|e| broken(&describe(&e)))?;
            let Some(last) = parts.last().copied() else { break };
            after = Some(last);
        }
        let gone = lock(&self.keeper.custodian).gone().map_err(|e| broken(&describe(&e)))?;
        for (record, of) in gone {
            self.attest(record, of).map_err(|e| broken(&describe(&e)))?;
        }
        let mut grant = None;
        loop {
            // Not in the head of the loop: the lock would be held until its body ends.
            let served = lock(&self.keeper.custodian).grant_served(grant).map_err(|e| broken(&describe(&e)))?;
            let Some(next) = served else { break };
            // A ledger that was replaced may be older than a grant: what becomes of that is observed as it is executed.
            if self.channel.grant(next)?.is_some_and(|row| row.revoked) {
                self.observe(&[CustodyEvent::GrantRevoked(next)]).map_err(|e| broken(&describe(&e)))?;
            }
            grant = Some(next);
        }
        Ok(())
    }

    /// Asks the ledger about the next page of held shares, and lets go of those whose life has ended; whether there are more.
    fn look_on(&self) -> Result<bool, StoreError> {
        let after = *lock(&self.keeper.looked_at);
        let held = lock(&self.keeper.custodian).held(after.as_ref(), PAGE)?;
        self.let_go(&held)?;
        *lock(&self.keeper.looked_at) = held.last().copied();
        Ok(!held.is_empty())
    }

    /// Lets go of those shares whose life has ended.
    fn let_go(&self, shares: &[ShareContext]) -> Result<(), StoreError> {
        let mut events = Vec::new();
        for share in shares {
            events.extend(self.ended(share).map_err(failed)?);
        }
        self.observe(&events)
    }

    /// What ended the life of a held share, by this node's own ledger.
    fn ended(&self, share: &ShareContext) -> Result<Vec<CustodyEvent>, dmdl_audit_ledger::store::StoreError> {
        let data = &share.data;
        if self.channel.record(data.record)?.is_some_and(|record| record.is_erased()) {
            return Ok(vec![CustodyEvent::RecordErased(data.record)]);
        }
        let Some(version) = self.channel.version(data.record, data.version)? else { return Ok(Vec::new()) };
        let mut events = Vec::new();
        if version.epoch > ShareEpoch::new(0) && version.epoch >= share.epoch {
            events.push(CustodyEvent::EpochBegan(data.record, data.version, version.epoch, version.dealing));
        }
        if version.epoch > share.epoch || version.is_expired(self.channel.tip().time) {
            events.push(CustodyEvent::EpochEnded(data.record, data.version, share.epoch));
        }
        Ok(events)
    }

    /// Hands out one-time dealing keys.
    pub(super) fn mint_dealing_keys(&self, dealer: PublicKey, count: u16) -> Result<Vec<DealingKey>, Refused> {
        if !(1..=KEYS_MAX).contains(&count) {
            return Err(Refused::new("too_many", format!("ask for 1 to {KEYS_MAX} dealing keys")));
        }
        self.check_custodian()?;
        self.disk.space.check()?;
        let now = self.channel.wall_time();
        let minted = self.random(|rng| lock(&self.keeper.custodian).mint(rng, dealer, usize::from(count), now));
        minted.map_err(|error| match error {
            MintError::Store(error) => self.storage_failed(&error),
            error => Refused::new("quota", error),
        })
    }

    /// Takes a share in, once the registration that names it is executed here, and says so on the
    /// ledger.
    pub(super) async fn keep(
        &self,
        record: RecordId,
        version: RecordVersion,
        sealed: SealedBytes,
    ) -> Result<(), Refused> {
        self.check_custodian()?;
        self.disk.space.check()?;
        let assignment = self.assignment(record, version).await?;
        let arrival = [Arrival { assignment: &assignment, sealed: &sealed }];
        let answers = self.random(|rng| lock(&self.keeper.custodian).accept(rng, &arrival));
        let answer = answers.map_err(|error| self.storage_failed(&error))?.into_iter().next();
        self.outbox_due.notify_one();
        match answer {
            Some(Ok(SystemItem::Acknowledge { .. })) => Ok(()),
            Some(Ok(_)) => Err(Refused::new("bad_share", "the share does not match its commitments")),
            Some(Err(error)) => Err(Refused::new(accept_code(&error), error)),
            None => Err(Refused::new("internal", "the custodian gave no answer")),
        }
    }

    /// Refuses to take anything in as a node that is no custodian now. What a custodian has taken in before, it
    /// goes on to release while it is a member: that right is the ledger's alone.
    fn check_custodian(&self) -> Result<(), Refused> {
        let roles = self.roles().map_err(|error| Refused::new("unavailable", error))?;
        if roles.custodian { Ok(()) } else { Err(Refused::new("not_custodian", "this node keeps no shares")) }
    }

    /// Waits for this node's own ledger to say what share is whose.
    async fn assignment(
        &self,
        record: RecordId,
        version: RecordVersion,
    ) -> Result<dmdl_types::custody::Assignment, Refused> {
        let found = self.when(REGISTRATION_PATIENCE, || self.channel.assignment(self.id(), record, version)).await;
        let found = found.map_err(|error| Refused::new("unavailable", error))?;
        found.ok_or_else(|| Refused::new("behind", "the registration is not executed here yet; try again"))
    }

    /// Releases this node's share for a decryption, if the release rule holds.
    ///
    /// A requester may ask a moment before this node has executed what another one has already.
    pub(super) async fn release_share(&self, decryption: TransactionId) -> Result<Vec<u8>, Refused> {
        // A release is noted before it leaves.
        self.disk.space.check()?;
        self.wait_executed(decryption).await?;
        let released = self.random(|rng| {
            // The view is read under the custodian's lock: what this node has executed before, it has
            // either observed already or will find in the view.
            let mut keeper = lock(&self.keeper.custodian);
            loop {
                let view = self.channel.release_view(self.id(), decryption);
                let view = view.map_err(|error| Refused::new("unavailable", error))?;
                // Looked at after the view: both are of one height if the tip is still the view's below.
                keeper.set_limits(limits(&*self.config_to_release_in()?));
                let released = keeper.release(rng, decryption, &view, self.channel.wall_time());
                // A block that was executed meanwhile may have ended the right: then it is asked again, and
                // while the right lasts the answer is the same.
                if self.channel.tip().height == view.tip {
                    break Ok(released);
                }
            }
        });
        let entry = released?.map_err(|error| match error {
            AskError::Refused(error) => Refused::new(release_code(&error), error),
            AskError::Store(error) => self.storage_failed(&error),
            error => Refused::new("unavailable", error),
        })?;
        self.outbox_due.notify_one();
        Ok(entry.answer())
    }

    /// The epoch's configuration, if this node may release in it.
    fn config_to_release_in(&self) -> Result<Arc<EpochConfig>, Refused> {
        let unavailable = |error| Refused::new("unavailable", error);
        let config = self.channel.config().map_err(unavailable)?;
        let next = self.channel.epoch_config(config.epoch.next()).map_err(unavailable)?;
        if stays(self.id(), &config, next.as_deref()) {
            Ok(config)
        } else {
            Err(Refused::new("not_custodian", "this node leaves the channel, and could not mark its release there"))
        }
    }

    /// Waits for this node's own execution of a transaction, whatever its outcome.
    async fn wait_executed(&self, id: TransactionId) -> Result<(), Refused> {
        let found = self.when(EXECUTION_PATIENCE, || self.channel.event_of(id)).await;
        let found = found.map_err(|error| Refused::new("unavailable", error))?;
        found.map(drop).ok_or_else(|| Refused::new("not_final", format!("transaction `{id}` is not executed here")))
    }

    /// Lets the custodian forget what a final block has ended.
    pub(super) fn custody_events(&self, events: &[CustodyEvent]) {
        if let Err(error) = self.observe(events) {
            self.storage_failed(&error);
        }
        for event in events {
            if let CustodyEvent::Resharing(record, version, _) = event {
                self.watch_reshare(*record, *version);
            }
        }
    }

    /// Destroys what nobody may ask for any more: releases past their time, dealing keys never used, shares of versions that
    /// never became active.
    pub(super) fn tidy_custody(&self) {
        if self.disk.space.is_full() {
            return;
        }
        let (tip_time, before) = (self.channel.tip().time, self.channel.wall_time().get().saturating_sub(KEYS_KEPT_MS));
        let tidied = self.random(|rng| {
            let mut keeper = lock(&self.keeper.custodian);
            keeper.expire(tip_time)?;
            keeper.retire(rng, UnixMillis::new(before))
        });
        let tidied = tidied.and_then(|_| self.look_on());
        if let Err(error) = tidied {
            self.storage_failed(&error);
        }
    }

    /// What the custodian has to tell the ledger.
    pub(super) fn custodian_items(&self) -> Vec<SystemItem> {
        let pending = lock(&self.keeper.custodian).pending(PENDING_MAX);
        pending.map_err(|error| self.storage_failed(&error)).unwrap_or_default()
    }

    /// Notes that the ledger has heard of these items.
    pub(super) fn settle_items(&self, items: &[SystemItem]) {
        let settled = lock(&self.keeper.custodian).settle(items);
        settled.map_err(|error| self.storage_failed(&error)).unwrap_or_default();
    }

    /// Lets the custodian forget what has ended, and say so where the ledger waits for its word.
    pub(super) fn observe(&self, events: &[CustodyEvent]) -> Result<(), StoreError> {
        self.random(|rng| lock(&self.keeper.custodian).observe(rng, events))?;
        for event in events {
            match event {
                CustodyEvent::RecordErased(record) => self.attest(*record, None)?,
                CustodyEvent::EpochEnded(record, version, epoch) => self.attest(*record, Some((*version, *epoch)))?,
                _ => {}
            }
        }
        Ok(())
    }

    fn attest(&self, record: RecordId, of: Option<(RecordVersion, ShareEpoch)>) -> Result<(), StoreError> {
        if self.channel.waits_for_word(self.id(), record, of).map_err(failed)? {
            lock(&self.keeper.custodian).attest(record, of)?;
            self.outbox_due.notify_one();
        }
        Ok(())
    }

    /// A custodian whose store failed closes itself, and the node stops: it shares a disk with the votes.
    pub(super) fn storage_failed(&self, error: &StoreError) -> Refused {
        tracing::error!(error = describe(error), "the custodian's store failed; it answers nothing more");
        if let Some(kind) = kind_of(error) {
            self.disk.faults.tell(&StorageFault::of(kind, "the custodian's store", describe(error)));
        }
        Refused::new("storage", "the custodian's store failed")
    }
}

/// What kind of fault an error is; none of what follows an error that was told already.
fn kind_of(error: &StoreError) -> Option<FaultKind> {
    match error {
        StoreError::Failed(source) => {
            let ledger = source.downcast_ref::<dmdl_audit_ledger::store::StoreError>().map(FaultKind::from);
            let is_full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
            let full = source.downcast_ref::<io::Error>().is_some_and(is_full);
            Some(ledger.unwrap_or(if full { FaultKind::Full } else { FaultKind::Failed }))
        }
        StoreError::Corrupt { .. } | StoreError::Damaged { .. } => Some(FaultKind::Damaged),
        _ => None,
    }
}

fn describe(error: &StoreError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

const fn accept_code(error: &AcceptError) -> &'static str {
    match error {
        AcceptError::NotMine => "not_custodian",
        AcceptError::OtherBytes => "altered",
        AcceptError::TooLong { .. } => "too_long",
        AcceptError::Over { .. } => "over",
        AcceptError::UnknownKey => "unknown_key",
        _ => "bad_share",
    }
}

/// One code for whatever says that the decryption gives no right now; others tell what to do.
const fn release_code(error: &ReleaseError) -> &'static str {
    match error {
        ReleaseError::TipStale { .. } | ReleaseError::ClockBehind { .. } => "stale_view",
        _ => "denied",
    }
}

#[cfg(test)]
mod tests;
