//! Keys that are handed on, where this node is one of the custodians before or after.
//!
//! What is to be done follows from this node's own ledger alone, again and again until the ledger has it done: deal its part,
//! fetch its shares of the parts that count, add them up, say so. So a crash, a lost message or a custodian that is away
//! costs time and nothing else. Only the custodians at the front of a line deal at once, one for each part that it takes;
//! others step in when parts fall away or do not come.

use super::{
    Node, SharedNode, lock,
    message::{Answer, Ask, Refused},
};
use commonware_runtime::Clock;
use dmdl_audit_ledger::store::Store;
use dmdl_types::{
    custody::{CustodyEvent, DealingKey, ReshareTask, SealedBytes},
    hash,
    id::{NodeId, RecordId, RecordVersion, TransactionId},
    invocation::SystemItem,
    label, limits,
};
use dmdl_vault::{
    custodian::{Arrival, DealPartError, Next, StoreError},
    keys::check_x25519,
};
use futures::{
    StreamExt as _,
    future::{join_all, pending},
    stream::FuturesUnordered,
};
use rand_core::CryptoRng;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

/// How long nothing is done about a reshare of which the ledger says nothing new.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// One custodian more may deal after each such time.
const NEXT_DEALS_AFTER: Duration = Duration::from_secs(3);
/// How long a share of a part is waited for before the ledger is told that it does not come.
const MISSED_AFTER: Duration = Duration::from_secs(5);
/// When the ledger is told again: its dealer has had the time to show it.
const MISSED_AGAIN_AFTER: Duration = Duration::from_millis(limits::PART_ANSWER_MS + 1000);
/// Reshares that are worked on at a time.
const AT_A_TIME: usize = 16;
/// Rows that are read together.
const PAGE: usize = 256;

type Slot = (RecordId, RecordVersion);

impl<E: Clock + CryptoRng, S: Store> Node<E, S> {
    /// Works on what is handed on, for as long as the node lives.
    pub(super) async fn hand_on(self: SharedNode<E, S>) {
        if let Err(error) = self.find_reshares() {
            tracing::error!(%error, "the reshares under way cannot be read");
        }
        let mut steps = FuturesUnordered::new();
        loop {
            while steps.len() < AT_A_TIME {
                let Some(slot) = lock(&self.reshares).take(self.runtime.current()) else { break };
                let node = &self;
                steps.push(async move {
                    node.step(slot).await;
                    slot
                });
            }
            let next = if steps.len() < AT_A_TIME { lock(&self.reshares).next_at() } else { None };
            let next = async {
                match next {
                    Some(at) => self.runtime.sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(slot) = steps.next(), if !steps.is_empty() => {
                    let now = self.runtime.current();
                    lock(&self.reshares).rest(slot, now, AGAIN_AFTER);
                }
                () = self.reshares_due.notified() => {}
                () = next => {}
            }
        }
    }

    /// Looks at a reshare at once.
    pub(super) fn watch_reshare(&self, record: RecordId, version: RecordVersion) {
        let now = self.runtime.current();
        lock(&self.reshares).look_at((record, version), now);
        self.reshares_due.notify_one();
    }

    /// Finds those again that were under way when the node stopped; what is kept of others is over.
    fn find_reshares(&self) -> Result<(), dmdl_audit_ledger::store::StoreError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.channel.reshares(after.as_deref(), PAGE)?;
            let begun =
                page.iter().map(|(_, (record, version, plan))| CustodyEvent::Resharing(*record, *version, *plan));
            self.observe(&begun.collect::<Vec<_>>()).map_err(|error| self.storage_failed(&error)).unwrap_or_default();
            for (_, (record, version, _)) in &page {
                self.watch_reshare(*record, *version);
            }
            match page.into_iter().last() {
                Some((cursor, _)) => after = Some(cursor),
                None => return Ok(()),
            }
        }
    }

    /// Does what is to be done about one reshare now.
    async fn step(&self, slot: Slot) {
        let me = self.id();
        let task = match self.task_of(slot) {
            Ok(Some(task)) => task,
            Ok(None) => return self.forget_reshare(slot),
            Err(error) => return tracing::error!(%error, "a reshare cannot be read"),
        };
        if self.disk.space.check().is_err() {
            return;
        }
        let now = self.runtime.current();
        let waited = lock(&self.reshares).waited(slot, task.transaction, now);
        if is_turn(&task, me, waited) {
            self.deal_part(slot, &task).await;
        }
        if task.parts.iter().any(|part| part.dealer == me && !part.missing.is_empty()) {
            let shown = lock(&self.keeper.custodian).show_missing(&task);
            shown.map_err(|error| self.storage_failed(&error)).unwrap_or_default();
            self.outbox_due.notify_one();
        }
        if task.custodians.contains(&me) && !task.acks.contains(&me) {
            self.add_up(slot, &task).await;
        }
    }

    /// A reshare that is under way and this node's business.
    fn task_of(&self, (record, version): Slot) -> Result<Option<ReshareTask>, dmdl_audit_ledger::store::StoreError> {
        let (me, task) = (self.id(), self.channel.reshare_task(record, version)?);
        Ok(task.filter(|task| task.holders.contains(&me) || task.custodians.contains(&me)))
    }

    /// Looks no more at a reshare, unless it has begun anew: looked up under the lock that a beginning one waits for.
    fn forget_reshare(&self, slot: Slot) {
        let mut watched = lock(&self.reshares);
        if matches!(self.task_of(slot), Ok(None)) {
            watched.forget(slot);
        }
    }

    /// Deals this node's share to the next custodians, once each of them has given a key, or not answered.
    async fn deal_part(&self, slot: Slot, task: &ReshareTask) {
        let failed = |error: &StoreError| drop(self.storage_failed(error));
        let (dealt, can) = {
            let custodian = lock(&self.keeper.custodian);
            (custodian.dealt_part(task), custodian.can_deal(task))
        };
        match dealt {
            Ok(None) => {}
            // Once: what the ledger has refused, it refuses again.
            Ok(Some(part)) => {
                let sends = lock(&self.reshares).sends(slot);
                return if sends {
                    self.queue(part)
                };
            }
            Err(error) => return failed(&error),
        }
        match can {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return failed(&error),
        }
        let known = lock(&self.reshares).keys(slot);
        let silent = task.custodians.iter().filter(|custodian| !known.contains_key(custodian));
        let given = join_all(silent.map(|custodian| self.key_of(*custodian))).await;
        let known = lock(&self.reshares).add_keys(slot, given.into_iter().flatten());
        let keys: Vec<Option<DealingKey>> =
            task.custodians.iter().map(|custodian| known.get(custodian).copied()).collect();
        let spare = task.custodians.len().saturating_sub(usize::from(task.min_acks));
        let silent = keys.iter().filter(|key| key.is_none()).count();
        if silent > spare {
            return tracing::warn!(record = %task.data.record, silent, "too many of the next custodians give no key");
        }
        let dealt = self.random(|rng| lock(&self.keeper.custodian).deal_part(rng, task, &keys));
        match dealt {
            Ok(_) => self.outbox_due.notify_one(),
            Err(DealPartError::Store(error)) => failed(&error),
            Err(error) => tracing::warn!(record = %task.data.record, %error, "no part was dealt"),
        }
    }

    /// A one-time key of a next custodian for this node's part; none that nobody could use.
    async fn key_of(&self, custodian: NodeId) -> Option<DealingKey> {
        let me = self.key.public();
        let keys = self.dealing_keys(custodian, me, 1).await.ok()?;
        keys.into_iter().find(|key| {
            key.custodian == custodian
                && key.verify(&self.channel.domain(), me)
                && check_x25519(&key.key).is_ok()
                && matches!(self.channel.is_dealing_key_used(custodian, key.key), Ok(false))
        })
    }

    /// Fetches what is missing, and acknowledges what the chosen parts add up to.
    async fn add_up(&self, slot: Slot, task: &ReshareTask) {
        let lacking = lock(&self.keeper.custodian).lacking(task);
        let lacking = lacking.map_err(|error| self.storage_failed(&error)).unwrap_or_default();
        let fetched = join_all(lacking.iter().map(|dealer| self.fetch(task, *dealer))).await;
        if fetched.contains(&true) {
            // One that was bad is to be complained of.
            self.outbox_due.notify_one();
        }
        let merged = self.random(|rng| lock(&self.keeper.custodian).merge(rng, task));
        match merged {
            Ok(Next::Acknowledge(item)) => return self.queue(*item),
            Ok(Next::Wait) => {}
            Err(error) => return drop(self.storage_failed(&error)),
        }
        let lost = lacking.into_iter().zip(fetched).filter(|(_, fetched)| !fetched).map(|(dealer, _)| dealer);
        let lost: Vec<NodeId> = lost.filter(|dealer| task.chosen().any(|part| part.dealer == *dealer)).collect();
        let overdue = lock(&self.reshares).overdue(slot, &lost, self.runtime.current());
        for dealer in overdue {
            let missed = lock(&self.keeper.custodian).miss_part(task, dealer);
            missed.map_err(|error| self.storage_failed(&error)).unwrap_or_default();
            self.outbox_due.notify_one();
        }
    }

    fn queue(&self, item: SystemItem) {
        lock(&self.outbox).push(item);
        self.outbox_due.notify_one();
    }

    /// Takes this node's share of a part from the ledger, or fetches it from its dealer; whether it came, good or bad.
    async fn fetch(&self, task: &ReshareTask, dealer: NodeId) -> bool {
        let (record, version) = (task.data.record, task.data.version);
        let Ok(Some((assignment, shown))) = self.channel.part_assignment(self.id(), record, version, dealer) else {
            return false;
        };
        let sealed = match shown {
            Some(sealed) => sealed,
            None => {
                let ask = Ask::PartShare(record, version, task.transaction);
                let Ok(Answer::PartShare(sealed)) = self.ask_custodian(dealer, ask).await else { return false };
                sealed
            }
        };
        let arrival = Arrival { assignment: &assignment, sealed: &sealed };
        let plan = task.transaction;
        let accepted = self.random(|rng| lock(&self.keeper.custodian).accept_part(rng, (plan, dealer), &arrival));
        match accepted {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(%record, %dealer, %error, "a share of a part was not taken");
                false
            }
            Err(error) => {
                self.storage_failed(&error);
                false
            }
        }
    }

    /// Gives a next custodian its share of this node's part.
    pub(super) fn share_of_part(
        &self,
        from: NodeId,
        (record, version): (RecordId, RecordVersion),
        plan: TransactionId,
    ) -> Result<SealedBytes, Refused> {
        let unavailable = |error: &dyn std::fmt::Display| Refused::new("unavailable", error);
        let task = self.channel.reshare_task(record, version).map_err(|error| unavailable(&error))?;
        let task = task.filter(|task| task.transaction == plan);
        let none = || Refused::new("behind", "no part of this reshare is dealt here yet; try again");
        let task = task.ok_or_else(none)?;
        let index = task.next_index_of(from).ok_or_else(none)?;
        let sealed = lock(&self.keeper.custodian).part_for(&task, index);
        sealed.map_err(|error| self.storage_failed(&error))?.ok_or_else(none)
    }
}

/// The reshares under way, and when each is looked at next.
#[derive(Debug, Default)]
pub(super) struct Watched {
    seen: BTreeMap<Slot, Seen>,
    queue: BTreeSet<(SystemTime, Slot)>,
}

/// What this node has seen of a reshare, and done about it.
#[derive(Debug, Default)]
struct Seen {
    /// When it is looked at next; none while that happens.
    due: Option<SystemTime>,
    /// It has changed while it was looked at.
    has_changed: bool,
    /// The call that began it, and when that was seen.
    plan: Option<(TransactionId, SystemTime)>,
    /// Keys of the next custodians for this node's part.
    keys: BTreeMap<NodeId, DealingKey>,
    has_sent: bool,
    /// Whose part this node lacks its share of, and when the ledger is told.
    lacks: BTreeMap<NodeId, SystemTime>,
}

impl Watched {
    fn look_at(&mut self, slot: Slot, now: SystemTime) {
        let seen = self.seen.entry(slot).or_insert_with(|| Seen { due: Some(now), ..Seen::default() });
        match seen.due.replace(now) {
            Some(due) => {
                self.queue.remove(&(due, slot));
                self.queue.insert((now, slot));
            }
            None => {
                seen.due = None;
                seen.has_changed = true;
            }
        }
    }

    /// The next one that is due.
    fn take(&mut self, now: SystemTime) -> Option<Slot> {
        let (_, slot) = self.queue.first().filter(|(due, _)| *due <= now).copied()?;
        self.queue.pop_first();
        self.seen.get_mut(&slot)?.due = None;
        Some(slot)
    }

    fn next_at(&self) -> Option<SystemTime> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// Leaves one alone for a while that was looked at.
    fn rest(&mut self, slot: Slot, now: SystemTime, pause: Duration) {
        let Some(seen) = self.seen.get_mut(&slot) else { return };
        let due = if std::mem::take(&mut seen.has_changed) { now } else { now + pause };
        seen.due = Some(due);
        self.queue.insert((due, slot));
    }

    fn forget(&mut self, slot: Slot) {
        if let Some(Seen { due: Some(due), .. }) = self.seen.remove(&slot) {
            self.queue.remove(&(due, slot));
        }
    }

    /// How long a reshare has been looked at; what was known of another one of the same version is forgotten.
    fn waited(&mut self, slot: Slot, plan: TransactionId, now: SystemTime) -> Duration {
        let Some(seen) = self.seen.get_mut(&slot) else { return Duration::ZERO };
        let since = match seen.plan.filter(|(known, _)| *known == plan) {
            Some((_, since)) => since,
            None => {
                let (due, has_changed) = (seen.due, seen.has_changed);
                *seen = Seen { due, has_changed, plan: Some((plan, now)), ..Seen::default() };
                now
            }
        };
        now.duration_since(since).unwrap_or_default()
    }

    /// Whether the own part is to be sent once more: the first time that somebody asks.
    fn sends(&mut self, slot: Slot) -> bool {
        self.seen.get_mut(&slot).is_some_and(|seen| !std::mem::replace(&mut seen.has_sent, true))
    }

    fn keys(&self, slot: Slot) -> BTreeMap<NodeId, DealingKey> {
        self.seen.get(&slot).map(|seen| seen.keys.clone()).unwrap_or_default()
    }

    /// All keys, with some more.
    fn add_keys(&mut self, slot: Slot, given: impl Iterator<Item = DealingKey>) -> BTreeMap<NodeId, DealingKey> {
        if let Some(seen) = self.seen.get_mut(&slot) {
            seen.keys.extend(given.map(|key| (key.custodian, key)));
        }
        self.keys(slot)
    }

    /// Of the dealers of lost shares, those whose shares have been waited for long enough to tell the ledger.
    fn overdue(&mut self, slot: Slot, lost: &[NodeId], now: SystemTime) -> Vec<NodeId> {
        let Some(seen) = self.seen.get_mut(&slot) else { return Vec::new() };
        seen.lacks.retain(|dealer, _| lost.contains(dealer));
        let mut overdue = Vec::new();
        for dealer in lost {
            let at = seen.lacks.entry(*dealer).or_insert(now + MISSED_AFTER);
            if *at <= now {
                *at = now + MISSED_AGAIN_AFTER;
                overdue.push(*dealer);
            }
        }
        overdue
    }
}

/// Whether a custodian is to deal its part now: as many as it takes at once, in an order that the reshare decides, one more
/// for each part that counts no more or that somebody misses a share of, and another with time.
fn is_turn(task: &ReshareTask, me: NodeId, waited: Duration) -> bool {
    if !task.holders.contains(&me) || task.dealers.contains(&me) {
        return false;
    }
    let mut line: Vec<_> = task.holders.iter().filter(|node| !task.dealers.contains(node)).copied().collect();
    line.sort_by_cached_key(|node| {
        hash::labelled(label::CUSTODIAN_TURN, &[task.transaction.as_bytes(), node.as_bytes()])
    });
    let sound = task.parts.iter().filter(|part| part.missing.is_empty()).count();
    let wanted = task.commitments.len().saturating_sub(sound);
    let overdue = if task.merged.is_some() { 0 } else { waited.as_secs() / NEXT_DEALS_AFTER.as_secs() };
    let ahead = line.iter().position(|node| *node == me).unwrap_or(line.len());
    ahead < wanted.saturating_add(usize::try_from(overdue).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmdl_types::{
        context::DataContext,
        custody::TaskPart,
        id::{ChannelId, NetworkId, ShareEpoch, ShareIndex},
    };

    fn node(byte: u8) -> NodeId {
        NodeId::new([byte; 32])
    }

    /// Seven custodians, three of whom open the version.
    fn task() -> ReshareTask {
        ReshareTask {
            transaction: TransactionId::new([9; 32]),
            data: DataContext {
                network: NetworkId::new([1; 32]),
                channel: ChannelId::new([2; 32]),
                record: RecordId::new([3; 32]),
                version: RecordVersion::new(1),
            },
            epoch: ShareEpoch::new(0),
            commitments: vec![[0; 32]; 3],
            custodians: (1..=7).map(node).collect(),
            threshold: 3,
            min_acks: 5,
            holders: (1..=7).map(node).collect(),
            dealers: Vec::new(),
            parts: Vec::new(),
            acks: Vec::new(),
            merged: None,
        }
    }

    fn turns(task: &ReshareTask, waited: Duration) -> Vec<NodeId> {
        (0..=9).map(node).filter(|node| is_turn(task, *node, waited)).collect()
    }

    #[test]
    fn as_many_custodians_deal_as_it_takes_and_more_when_parts_fall_away_or_do_not_come() {
        let mut task = task();
        let first = turns(&task, Duration::ZERO);
        assert_eq!(first.len(), 3);
        assert_eq!(turns(&task, NEXT_DEALS_AFTER).len(), 4);
        assert_eq!(turns(&task, 100 * NEXT_DEALS_AFTER).len(), 7, "at last all of them, and nobody else");
        let part = |dealer: NodeId| TaskPart {
            dealer,
            from: ShareIndex::new(1),
            commitments: Vec::new(),
            is_chosen: true,
            keyless: Vec::new(),
            missing: Vec::new(),
        };
        task.dealers = first.clone();
        task.parts = first.iter().map(|dealer| part(*dealer)).collect();
        assert_eq!(turns(&task, Duration::ZERO), []);
        task.parts[1].missing.push(node(5));
        let next = turns(&task, Duration::ZERO);
        assert!(next.len() == 1 && !first.contains(&next[0]), "another is made ready for one that somebody misses");
        task.parts.pop();
        assert_eq!(turns(&task, Duration::ZERO).len(), 2, "and another for one that fell away");
        task.parts = first.iter().map(|dealer| part(*dealer)).collect();
        task.merged = Some(dmdl_types::id::DealingId::new([1; 32]));
        assert_eq!(turns(&task, 100 * NEXT_DEALS_AFTER), [], "nobody deals what nobody needs");
    }

    #[test]
    fn what_changes_while_it_is_looked_at_is_looked_at_again_at_once_and_everything_else_after_a_while() {
        let (mut watched, slot) = (Watched::default(), (RecordId::new([3; 32]), RecordVersion::new(1)));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        watched.look_at(slot, now);
        watched.look_at(slot, now);
        assert_eq!((watched.take(now), watched.take(now)), (Some(slot), None));
        watched.look_at(slot, now);
        assert_eq!(watched.take(now), None, "it is being looked at");
        watched.rest(slot, now, AGAIN_AFTER);
        assert_eq!(watched.take(now), Some(slot));
        watched.rest(slot, now, AGAIN_AFTER);
        assert_eq!((watched.take(now), watched.next_at()), (None, Some(now + AGAIN_AFTER)));
        watched.look_at(slot, now);
        assert_eq!(watched.take(now), Some(slot));
        watched.forget(slot);
        watched.rest(slot, now, AGAIN_AFTER);
        assert_eq!(watched.next_at(), None);
    }

    #[test]
    fn a_share_that_does_not_come_is_missed_after_a_while_and_again_after_its_dealer_had_time() {
        let (mut watched, slot) = (Watched::default(), (RecordId::new([3; 32]), RecordVersion::new(1)));
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        watched.look_at(slot, start);
        let mut said = Vec::new();
        for second in 0..30 {
            let now = start + Duration::from_secs(second);
            said.extend(watched.overdue(slot, &[node(1)], now).iter().map(|_| second));
            if second == 2 {
                // It has come, and another one does not.
                watched.overdue(slot, &[], now);
            }
        }
        assert_eq!(said, [8, 19], "waited for from the third second on");
    }
}
