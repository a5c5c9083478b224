//! The invariants, checked whenever a node moves.

use super::{
    clock::millis,
    cluster::{Cluster, NODES, Seat, SimNode},
    people::{is_allowed, is_revoked},
};
use commonware_cryptography::{Hasher as _, Sha256};
use dmdl_audit_ledger::{
    log,
    store::{MemoryStore, Reader, Space, Store as _},
    world::{self, GrantRow, RecordRow},
};
use dmdl_types::{
    event::{Action, Event, Verdict},
    id::{BlockDigest, GrantId, Height, NodeId, TransactionId, UnixMillis},
};
use dmdl_vault::custodian::{CLOCK_BOUND_MS, STALENESS_MIN_MS};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

/// Everything that all nodes must agree on at a height: state, log, events, index, and the tip with
/// its roots.
const AGREED: [Space; 5] = [Space::State, Space::Log, Space::Events, Space::Index, Space::Meta];

/// More transactions of people than are ever on their way here.
const WAITING_MAX: usize = 64;

/// What was seen of all nodes, over their crashes.
#[derive(Default)]
pub(crate) struct Checker {
    seen: RefCell<Seen>,
}

#[derive(Default)]
struct Seen {
    blocks: BTreeMap<u64, (BlockDigest, UnixMillis)>,
    states: BTreeMap<u64, ([u8; 32], BTreeSet<usize>)>,
    heights: [u64; NODES],
    sizes: [u64; NODES],
    log: Log,
}

impl Checker {
    /// Follows one node through its lives; never returns.
    pub(crate) async fn watch(&self, cluster: &Cluster, position: usize) {
        let seat = &cluster.seats[position];
        loop {
            let changed = seat.up.changed();
            let Some(node) = seat.up.get() else {
                changed.await;
                continue;
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = self.follow(cluster, &node, position) => {}
            }
        }
    }

    async fn follow(&self, cluster: &Cluster, node: &SimNode, position: usize) {
        let store = &cluster.seats[position].store;
        let mut linked = None;
        loop {
            let executed = node.channel().executed_next();
            let now = node.channel().tip();
            self.tip(store, position, now.height, now.size);
            self.released(store, position);
            assert!(now.time <= cluster.latest_block_time(), "no quorum's clocks can have come to {}", now.time);
            let waiting = node.channel().waiting_transactions();
            assert!(waiting <= WAITING_MAX, "{waiting} transactions wait at node {position}");
            linked = Some(self.chain(node, linked, now.height).await);
            executed.await;
        }
    }

    /// No fork, and time goes forward: `linked` is the last block that was looked at.
    async fn chain(&self, node: &SimNode, linked: Option<Height>, tip: Height) -> Height {
        let from = linked.map_or(1, |height| height.get() + 1);
        for height in from..=tip.get() {
            let Some(block) = node.chain().unwrap().block(Height::new(height)).await else {
                return Height::new(height - 1);
            };
            let (header, digest) = (block.header(), block.block_digest());
            let blocks = &mut self.seen.borrow_mut().blocks;
            if let Some((before, time)) = height.checked_sub(1).and_then(|before| blocks.get(&before)) {
                assert_eq!(header.parent, *before, "block {height} does not extend the one before");
                assert!(header.time > *time, "time does not go forward at block {height}");
            }
            let first = blocks.entry(height).or_insert((digest, header.time));
            assert_eq!(first.0, digest, "a fork at height {height}");
        }
        tip
    }

    /// Equal state at equal heights, nothing executed is lost, and every rule holds on every log.
    fn tip(&self, store: &MemoryStore, position: usize, height: Height, size: u64) {
        let Seen { states, heights, sizes, log, .. } = &mut *self.seen.borrow_mut();
        assert!(heights[position] <= height.get(), "node {position} lost executed blocks");
        heights[position] = height.get();
        let state = digest(store);
        let (first, who) = states.entry(height.get()).or_insert((state, BTreeSet::new()));
        assert_eq!(*first, state, "node {position} differs at height {height} from {who:?}");
        who.insert(position);
        for at in sizes[position]..size {
            let event = log::event(store, at).unwrap().expect("a log has no gaps");
            log.take(at, event, store);
        }
        sizes[position] = size;
    }

    /// Every release entry of a custodian has its ALLOW in the log of its own node.
    pub(crate) fn released(&self, store: &MemoryStore, position: usize) {
        for (key, _) in store.scan(Space::Custody, b"r", None, usize::MAX).unwrap() {
            let decryption = TransactionId::new(*key.last_chunk().unwrap());
            assert!(is_allowed(store, decryption), "node {position} noted a release of {decryption} without ALLOW");
        }
    }

    /// At rest: every use that a ledger counts was made once, and what a revocation ended is gone.
    pub(crate) fn at_rest(&self, store: &MemoryStore, position: usize) {
        for (grant, uses) in &self.seen.borrow().log.uses {
            let row: GrantRow = world::read(store, grant).unwrap().unwrap();
            assert_eq!(row.used as usize, uses.len(), "node {position} counts other uses of grant {grant}");
        }
        for (key, _) in store.scan(Space::Custody, b"r", None, usize::MAX).unwrap() {
            let decryption = TransactionId::new(*key.last_chunk().unwrap());
            assert!(!is_revoked(store, decryption), "node {position} keeps the release of {decryption}");
        }
    }

    /// The highest block that anybody has executed.
    pub(crate) fn highest(&self) -> u64 {
        self.seen.borrow().heights.into_iter().max().unwrap()
    }

    /// The lowest height from `height` on at which all nodes were found to be equal.
    pub(crate) fn all_equal_from(&self, height: u64) -> Option<(u64, [u8; 32])> {
        let seen = self.seen.borrow();
        seen.states.range(height..).find(|(_, (_, who))| who.len() == NODES).map(|(at, (state, _))| (*at, *state))
    }

    pub(crate) fn with_log<T>(&self, read: impl FnOnce(&Log) -> T) -> T {
        read(&self.seen.borrow().log)
    }
}

/// A custodian's clock and tip at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glance {
    tip: UnixMillis,
    clock: UnixMillis,
    changes: u64,
}

impl Glance {
    /// None while the custodian is down.
    pub(crate) fn at(seat: &Seat) -> Option<Self> {
        let tip = seat.up.get()?.channel().tip().time;
        Some(Self { tip, clock: millis(seat.clock.now()), changes: seat.clock.changes() })
    }

    /// INVARIANT: a custodian whose clock and tip are too far apart releases nothing; here, at whatever
    /// moment between two glances it looked.
    pub(crate) fn assert_may_release(&self, after: &Self, custodian: NodeId) {
        if self.changes == after.changes {
            let (stale, behind) = (self.clock.since_ms(after.tip), self.tip.since_ms(after.clock));
            assert!(stale <= STALENESS_MIN_MS, "custodian {custodian} released although its tip was {stale} ms old");
            assert!(behind <= CLOCK_BOUND_MS, "custodian {custodian} released although its clock was {behind} ms late");
        }
    }
}

/// What a custodian still has to tell the ledger.
pub(crate) fn untold(store: &MemoryStore) -> usize {
    store.scan(Space::Custody, b"p", None, usize::MAX).unwrap().len()
}

fn digest(store: &MemoryStore) -> [u8; 32] {
    let snapshot = store.snapshot();
    let mut hasher = Sha256::default();
    for space in AGREED {
        for (key, value) in snapshot.scan(space, &[], None, usize::MAX).unwrap() {
            for bytes in [key, value] {
                hasher.update(&(bytes.len() as u64).to_be_bytes());
                hasher.update(&bytes);
            }
        }
    }
    hasher.finalize().1.0
}

/// The audit log that all nodes share, and what it says so far.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) events: Vec<Event>,
    pub(crate) released: BTreeSet<(dmdl_types::sign::PublicKey, TransactionId)>,
    once: BTreeSet<(TransactionId, u32)>,
    allowed: BTreeSet<TransactionId>,
    uses: BTreeMap<GrantId, BTreeSet<u32>>,
    revoked: BTreeSet<GrantId>,
}

impl Log {
    /// Takes an event that a node has: one that another node had before, or the next one.
    fn take(&mut self, at: u64, event: Event, store: &MemoryStore) {
        let at = usize::try_from(at).unwrap();
        if let Some(known) = self.events.get(at) {
            assert_eq!(*known, event, "two logs differ at {at}");
            return;
        }
        assert_eq!(self.events.len(), at);
        if let Some(before) = self.events.last() {
            let later = (event.height, event.time) > (before.height, before.time);
            let together = (event.height, event.time) == (before.height, before.time);
            assert!(together || (later && event.time > before.time), "event {at} is out of time");
        }
        assert!(self.once.insert((event.transaction, event.item)), "transaction {} has two events", event.transaction);
        self.rules(&event, store);
        self.events.push(event);
    }

    fn rules(&mut self, event: &Event, store: &MemoryStore) {
        let outcome = &event.outcome;
        match (event.action, outcome.verdict) {
            (Action::Decrypt, Verdict::Allow) => {
                self.allowed.insert(event.transaction);
                self.decryption(event, store);
            }
            (Action::RevokeGrant, Verdict::Applied) => {
                self.revoked.extend(outcome.grant);
            }
            (Action::Evidence, _) => panic!("a node that follows the rules is accused: {event:?}"),
            (Action::Complain, _) => panic!("a dealer that follows the rules is accused: {event:?}"),
            (Action::Release, verdict) => {
                let decryption = event.refers_to.expect("a release is of a decryption");
                assert!(self.allowed.contains(&decryption), "a release of {decryption} is marked without ALLOW");
                if verdict == Verdict::Applied {
                    self.released.insert((event.actor, decryption));
                }
            }
            _ => {}
        }
    }

    fn decryption(&mut self, event: &Event, store: &MemoryStore) {
        let Some(grant) = event.outcome.grant else {
            let record: RecordRow = world::read(store, &event.record.unwrap()).unwrap().unwrap();
            assert_eq!(record.owner, event.actor, "without a grant, only an owner opens");
            return;
        };
        assert!(!self.revoked.contains(&grant), "revoked grant {grant} allowed {}", event.transaction);
        let row: GrantRow = world::read(store, &grant).unwrap().unwrap();
        assert_eq!((Some(row.record), row.requester), (event.record, event.actor), "a grant is for one and for one");
        let uses = self.uses.entry(grant).or_default();
        let number = event.outcome.use_number.unwrap().get();
        assert!(uses.insert(number), "use {number} of grant {grant} was made twice");
        assert!(uses.len() <= usize::try_from(row.terms.uses).unwrap(), "grant {grant} was used too often");
        assert!((1..=row.terms.uses).contains(&number), "grant {grant} has no use {number}");
    }
}
