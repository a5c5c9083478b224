//! The invariants, checked whenever a node moves.

use super::{
    clock::millis,
    cluster::{Cluster, SimNode},
    conduct::{Conduct, REJOINED_KEY},
    log::Log,
    people::{is_allowed, is_revoked},
    seat::Seat,
};
use commonware_cryptography::{Hasher as _, Sha256};
use dmdl_audit_ledger::{
    log,
    mdca::Timing,
    store::{MemoryStore, Reader, Space, Store as _},
    world::{self, GrantRow},
};
use dmdl_types::{
    genesis::faults,
    id::{BlockDigest, Epoch, Height, NodeId, TransactionId, UnixMillis},
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
/// Who is so many blocks behind is catching up, and cannot know of most transactions what became of them.
const BEHIND: u64 = 20;

/// What was seen of all nodes, over their crashes.
pub(crate) struct Checker {
    seen: RefCell<Seen>,
}

#[derive(Default)]
struct Seen {
    blocks: BTreeMap<u64, (BlockDigest, UnixMillis)>,
    states: BTreeMap<u64, ([u8; 32], BTreeSet<usize>)>,
    /// Height and size of the log of each seat.
    heights: BTreeMap<usize, u64>,
    sizes: BTreeMap<usize, u64>,
    log: Log,
    conduct: Conduct,
}

impl Checker {
    /// For a run in which faults of no node can be proved but of this one.
    pub(crate) fn new(culprit: Option<NodeId>) -> Self {
        let log = Log::new(culprit.is_some());
        let seen = Seen { log, conduct: Conduct::new(culprit), ..Seen::default() };
        Self { seen: RefCell::new(seen) }
    }

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
        let seat = &cluster.seats[position];
        let store = &seat.store();
        let mut linked = None;
        loop {
            let executed = node.channel().executed_next();
            let now = node.channel().tip();
            self.tip(store, position, now.height, now.size);
            self.conduct(|conduct| {
                conduct.look(store, now.epoch);
                conduct.rejoined(store, seat.id(), node.channel().config().unwrap().epoch);
            });
            self.released(store, position);
            let config = node.channel().epoch_config(now.epoch).unwrap().unwrap();
            assert!(now.time <= cluster.latest_block_time(&config), "no quorum's clocks can have come to {}", now.time);
            let waiting = node.channel().waiting_transactions();
            let is_behind = now.height.get() + BEHIND < self.highest();
            assert!(waiting <= WAITING_MAX || is_behind, "{waiting} transactions wait at node {position}");
            linked = Some(self.chain(node, linked, now.height).await);
            executed.await;
        }
    }

    /// No fork, and time goes forward: `linked` is the last block that was looked at.
    async fn chain(&self, node: &SimNode, linked: Option<Height>, tip: Height) -> Height {
        // Who joined by a snapshot has no blocks of before.
        let first = node.channel().joined_at().map_or(1, Height::get);
        let from = linked.map_or(first, |height| height.get() + 1);
        for height in from..=tip.get() {
            let Some(block) = node.chain().unwrap().block(Height::new(height)).await else {
                return Height::new(height - 1);
            };
            let (header, digest) = (block.header(), block.block_digest());
            let config = node.channel().epoch_config(header.epoch).unwrap().unwrap();
            let Seen { blocks, conduct, .. } = &mut *self.seen.borrow_mut();
            if let Some((before, time)) = height.checked_sub(1).and_then(|before| blocks.get(&before)) {
                assert_eq!(header.parent, *before, "block {height} does not extend the one before");
                assert!(header.time > *time, "time does not go forward at block {height}");
            }
            let parent = height.checked_sub(1).and_then(|before| blocks.get(&before)).map(|(_, time)| *time);
            conduct.header(&config, header, parent);
            let first = blocks.entry(height).or_insert((digest, header.time));
            assert_eq!(first.0, digest, "a fork at height {height}");
        }
        tip
    }

    /// Equal state at equal heights, nothing executed is lost, and every rule holds on every log.
    fn tip(&self, store: &MemoryStore, position: usize, height: Height, size: u64) {
        let Seen { states, heights, sizes, log, .. } = &mut *self.seen.borrow_mut();
        let before = heights.insert(position, height.get()).unwrap_or_default();
        assert!(before <= height.get(), "node {position} lost executed blocks");
        let state = digest(store);
        let (first, who) = states.entry(height.get()).or_insert((state, BTreeSet::new()));
        assert_eq!(*first, state, "node {position} differs at height {height} from {who:?}");
        who.insert(position);
        for at in sizes.insert(position, size).unwrap_or_default()..size {
            let event = log::event(store, at).unwrap().expect("a log has no gaps");
            log.take(at, event, store);
        }
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

    /// A node loses everything, and begins anew: in this epoch, and at this time.
    pub(crate) fn forgets(&self, position: usize, node: NodeId, epoch: Epoch, at: UnixMillis) {
        let Seen { heights, sizes, conduct, .. } = &mut *self.seen.borrow_mut();
        heights.remove(&position);
        sizes.remove(&position);
        conduct.forgets(node, epoch, at);
    }

    /// Whether this is the final block of its height, as far as anybody has seen.
    pub(crate) fn knows(&self, height: u64, block: BlockDigest) -> bool {
        self.seen.borrow().blocks.get(&height).is_none_or(|(known, _)| *known == block)
    }

    /// The highest block that anybody has executed.
    pub(crate) fn highest(&self) -> u64 {
        self.seen.borrow().heights.values().max().copied().unwrap_or_default()
    }

    /// The lowest height from `height` on at which all of these nodes were found to be equal.
    pub(crate) fn all_equal_from(&self, height: u64, nodes: &BTreeSet<usize>) -> Option<(u64, [u8; 32])> {
        let seen = self.seen.borrow();
        let mut states = seen.states.range(height..);
        states.find(|(_, (_, who))| who.is_superset(nodes)).map(|(at, (state, _))| (*at, *state))
    }

    pub(crate) fn conduct<T>(&self, look: impl FnOnce(&mut Conduct) -> T) -> T {
        look(&mut self.seen.borrow_mut().conduct)
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
    /// moment between two glances it looked. Where more orderers may be faulty, a well network takes longer for a block.
    pub(crate) fn assert_may_release(&self, after: &Self, custodian: NodeId, orderers: usize) {
        if self.changes == after.changes {
            let Timing { heartbeat, certification, .. } = Timing::default();
            let waits = u32::try_from(faults(orderers)).unwrap() + 1;
            let most = u64::try_from((heartbeat + certification * waits).as_millis()).unwrap().max(STALENESS_MIN_MS);
            let (stale, behind) = (self.clock.since_ms(after.tip), self.tip.since_ms(after.clock));
            assert!(stale <= most, "custodian {custodian} released although its tip was {stale} ms old");
            assert!(behind <= CLOCK_BOUND_MS, "custodian {custodian} released although its clock was {behind} ms late");
        }
    }
}

/// What a custodian still has to tell the ledger.
pub(crate) fn untold(store: &MemoryStore) -> usize {
    store.scan(Space::Custody, b"p", None, usize::MAX).unwrap().len()
}

/// Whether a node's account of itself says here what others need not know: whether it lost its votes, where it joined and
/// that it has caught up since, its snapshots and its certificates.
fn is_own_note(key: &[u8]) -> bool {
    [REJOINED_KEY, b"floor", b"caught-up", b"snapshots"].contains(&key) || key.starts_with(b"step/")
}

fn digest(store: &MemoryStore) -> [u8; 32] {
    let snapshot = store.snapshot();
    let mut hasher = Sha256::default();
    for space in AGREED {
        let rows = snapshot.scan(space, &[], None, usize::MAX).unwrap();
        for (key, value) in rows.into_iter().filter(|(key, _)| space != Space::Meta || !is_own_note(key)) {
            for bytes in [key, value] {
                hasher.update(&(bytes.len() as u64).to_be_bytes());
                hasher.update(&bytes);
            }
        }
    }
    hasher.finalize().1.0
}
