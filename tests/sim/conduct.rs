//! What each epoch comes to: who takes turns, who votes, and who is at fault.

use dmdl_audit_ledger::{
    reputation,
    store::{MemoryStore, Reader as _, Space},
    world::{self, FaultsRow},
};
use dmdl_types::{
    block::Header,
    genesis::EpochConfig,
    id::{Epoch, NodeId, UnixMillis},
};
use std::collections::{BTreeMap, BTreeSet};

/// Where a node notes that its votes are in its folder again.
pub(crate) const REJOINED_KEY: &[u8] = b"rejoined";
/// Epochs whose counters stay readable after they ended.
const COUNTERS_KEPT: u64 = 2;

/// A node that has lost what it knows of its own votes.
#[derive(Clone, Copy, Debug)]
struct Forgot {
    node: NodeId,
    /// The last epoch in which it can have voted before.
    epoch: u64,
    at: UnixMillis,
}

/// What was seen of all epochs.
#[derive(Default)]
pub(crate) struct Conduct {
    /// The one node that may be found at fault.
    culprit: Option<NodeId>,
    configs: BTreeMap<u64, EpochConfig>,
    /// Epochs in which a fault was counted.
    proved: BTreeSet<u64>,
    /// The last epoch in which somebody took a turn, and in which a block names their vote.
    turns: BTreeMap<NodeId, u64>,
    votes: BTreeMap<NodeId, u64>,
    forgot: Option<Forgot>,
}

impl Conduct {
    pub(crate) fn new(culprit: Option<NodeId>) -> Self {
        Self { culprit, ..Self::default() }
    }

    /// Looks at what a node holds after a block of an epoch.
    pub(crate) fn look(&mut self, store: &MemoryStore, epoch: Epoch) {
        let epoch = epoch.get();
        for counted in epoch.saturating_sub(COUNTERS_KEPT)..=epoch {
            self.faults(store, Epoch::new(counted));
        }
        for known in epoch..=epoch + 2 {
            let Some(config) = world::read::<EpochConfig>(store, &Epoch::new(known)).unwrap() else { continue };
            if let Some(first) = self.configs.get(&known) {
                assert_eq!(*first, config, "two nodes know epoch {known} by two configurations");
                continue;
            }
            self.decided(store, &config);
            self.configs.insert(known, config);
        }
    }

    /// INVARIANT: nobody is found at fault but a liar.
    fn faults(&mut self, store: &MemoryStore, epoch: Epoch) {
        let Some(config) = world::read::<EpochConfig>(store, &epoch).unwrap() else { return };
        for member in &config.members {
            let row: FaultsRow = world::read(store, &(epoch, member.node)).unwrap().unwrap_or_default();
            if row != FaultsRow::default() {
                assert_eq!(Some(member.node), self.culprit, "a node that follows the rules is at fault: {row:?}");
                self.proved.insert(epoch.get());
            }
        }
    }

    /// INVARIANT: enough orderers take turns, and none of them that was at fault two epochs before, unless too few
    /// others are well.
    fn decided(&self, store: &MemoryStore, config: &EpochConfig) {
        let (epoch, orderers) = (config.epoch, config.orderers());
        let qualified: BTreeSet<&NodeId> = config.qualified.iter().collect();
        assert_eq!(qualified.len(), config.qualified.len(), "somebody has two turns in epoch {epoch}");
        assert!(config.qualified.iter().all(|node| orderers.contains(node)), "a stranger has a turn in epoch {epoch}");
        assert!(qualified.len() >= config.proposers_needed(), "too few have a turn in epoch {epoch}");
        let Some(culprit) = self.culprit else { return };
        let Some(showed) = epoch.get().checked_sub(2).filter(|showed| self.proved.contains(showed)) else { return };
        let between: EpochConfig = world::read(store, &Epoch::new(showed + 1)).unwrap().unwrap();
        let table = reputation::table(store, &between).unwrap();
        let is_well = |node: NodeId| {
            let line = table.iter().find(|line| line.place.node == node).unwrap();
            !line.place.below.into_array().contains(&true)
        };
        assert!(!is_well(culprit), "a fault of epoch {showed} does not count");
        let well = orderers.iter().filter(|node| is_well(**node)).count();
        let out = !config.qualified.contains(&culprit);
        assert!(out || well < config.proposers_needed(), "who was at fault in epoch {showed} has a turn in {epoch}");
    }

    /// Looks at a final block; `parent` is the time of the one before.
    pub(crate) fn header(&mut self, config: &EpochConfig, header: &Header, parent: Option<UnixMillis>) {
        let epoch = header.epoch.get();
        let turn = (header.view.get() - 1) % config.qualified.len() as u64;
        let primary = config.qualified[usize::try_from(turn).unwrap()];
        assert_eq!(header.primary, primary, "block {} is of somebody whose turn it was not", header.height);
        latest(&mut self.turns, primary, epoch);
        for (position, node) in config.orderers().into_iter().enumerate() {
            if header.has_signer(position) {
                latest(&mut self.votes, node, epoch);
                self.remembers(node, epoch, parent);
            }
        }
    }

    /// INVARIANT: who has forgotten its votes votes in no epoch in which it may have voted before.
    fn remembers(&self, node: NodeId, epoch: u64, time: Option<UnixMillis>) {
        let Some(forgot) = self.forgot.filter(|forgot| forgot.node == node && epoch <= forgot.epoch) else { return };
        let before = time.is_some_and(|time| time <= forgot.at);
        assert!(before, "node {node} forgot its votes in epoch {}, and votes again in {epoch}", forgot.epoch);
    }

    /// A node loses everything, in this epoch and at this time.
    pub(crate) fn forgets(&mut self, node: NodeId, epoch: Epoch, at: UnixMillis) {
        self.forgot = Some(Forgot { node, epoch: epoch.get(), at });
    }

    /// Looks whether a node that had forgotten its votes votes again: `next` is the epoch that it is in.
    pub(crate) fn rejoined(&self, store: &MemoryStore, node: NodeId, next: Epoch) {
        let Some(forgot) = self.forgot.filter(|forgot| forgot.node == node) else { return };
        let votes = store.get(Space::Meta, REJOINED_KEY).unwrap().is_some();
        assert!(!votes || next.get() > forgot.epoch, "node {node} votes again in epoch {next}");
    }

    /// The newest configuration that is decided.
    pub(crate) fn decided_last(&self) -> &EpochConfig {
        self.configs.last_key_value().unwrap().1
    }

    /// The last epoch in which a fault was counted.
    pub(crate) fn proved_last(&self) -> Option<u64> {
        self.proved.last().copied()
    }

    /// Whether a node has taken a turn in an epoch later than this one, and a vote of it was named in one.
    pub(crate) fn takes_part_after(&self, node: NodeId, epoch: u64) -> bool {
        [&self.turns, &self.votes].iter().all(|last| last.get(&node).is_some_and(|last| *last > epoch))
    }
}

fn latest(last: &mut BTreeMap<NodeId, u64>, node: NodeId, epoch: u64) {
    let last = last.entry(node).or_default();
    *last = epoch.max(*last);
}
