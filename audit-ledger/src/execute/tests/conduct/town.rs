//! Organisations that live through epochs: one block after the other, as the engine would finalize them, with
//! what each organisation does and leaves undone.

use crate::{
    endorse,
    reputation::{schedule, tallies},
    store::{MemoryStore, Reader as _, Space},
    testing::*,
    world::{self, FaultSeen, FaultsRow, ReportsRow, Row as _, StandingRow, TurnCounters, VoiceRow},
};
use dmdl_types::{
    block::Block,
    checkpoint::{Checkpoint, CosignedCheckpoint},
    genesis::EpochConfig,
    id::{Epoch, NodeId, NoteCommitment, OrgId, View},
    invocation::{Invocation, Medical, SystemItem},
    mdca::{MdcaConfig, PerDuty},
    transaction::EndorsedTransaction,
};
use std::{collections::BTreeMap, fmt::Write as _};

/// Blocks an epoch here.
pub(super) const EPOCH_BLOCKS: u64 = 24;

/// What an organisation does of what is asked of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conduct {
    /// Proposes in its turns.
    pub(super) turns: bool,
    /// Votes in time.
    pub(super) votes: bool,
    /// Endorses when asked.
    pub(super) endorses: bool,
    /// Cosigns what it executed.
    pub(super) cosigns: bool,
    /// Of a hundred things, so many come too late.
    pub(super) late_in_100: u64,
}

impl Conduct {
    pub(super) const WELL: Self = Self { turns: true, votes: true, endorses: true, cosigns: true, late_in_100: 0 };
    pub(super) const SILENT: Self =
        Self { turns: false, votes: false, endorses: false, cosigns: false, late_in_100: 0 };
}

/// A channel and its organisations.
pub(super) struct Town {
    pub(super) ledger: Ledger,
    pub(super) orgs: u8,
    /// Whether people make transactions.
    pub(super) busy: bool,
    pub(super) dice: Dice,
    /// Views that passed since the last block, this epoch's first included.
    view: u64,
    pending: Option<Checkpoint>,
}

/// Numbers that follow from a seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    pub(super) const fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

impl Town {
    pub(super) fn new(orgs: u8, seed: u64) -> Self {
        Self::with(orgs, seed, MdcaConfig::default())
    }

    pub(super) fn with(orgs: u8, seed: u64, mdca: MdcaConfig) -> Self {
        let mut genesis = genesis_of(orgs);
        genesis.channel.epoch_blocks = EPOCH_BLOCKS;
        genesis.channel.mdca = mdca;
        Self { ledger: Ledger::of(genesis), orgs, busy: true, dice: Dice::new(seed), view: 0, pending: None }
    }

    /// The epoch of the next block.
    pub(super) fn epoch(&self) -> u64 {
        self.ledger.height().next().get() / EPOCH_BLOCKS
    }

    pub(super) fn config(&self, epoch: u64) -> EpochConfig {
        self.ledger.executor.epoch_config(Epoch::new(epoch)).unwrap().unwrap()
    }

    pub(super) fn qualified(&self, epoch: u64) -> Vec<NodeId> {
        self.config(epoch).qualified
    }

    pub(super) fn org_of(&self, node: NodeId) -> u8 {
        (1..=self.orgs).find(|org| node_id(*org) == node).unwrap()
    }

    /// Lives until the epoch of the next block has ended.
    pub(super) fn live_epoch(&mut self, conduct: impl Fn(u8) -> Conduct) {
        let epoch = self.epoch();
        while self.epoch() == epoch {
            self.live_view(&conduct, Vec::new());
        }
    }

    /// One view: a block, unless its primary does not propose. Returns whose turn it was, and whether it was taken.
    pub(super) fn live_view(&mut self, conduct: &impl Fn(u8) -> Conduct, told: Vec<(u8, SystemItem)>) -> (u8, bool) {
        self.live_view_with(conduct, told, Vec::new(), |_, _, _| {})
    }

    /// The same with more transactions, and with what a primary makes of its block.
    pub(super) fn live_view_with(
        &mut self,
        conduct: &impl Fn(u8) -> Conduct,
        told: Vec<(u8, SystemItem)>,
        more: Vec<EndorsedTransaction>,
        make: impl FnOnce(&mut Self, u8, &mut Block),
    ) -> (u8, bool) {
        let config = self.config(self.epoch());
        self.view += 1;
        let primary = config.qualified[(self.view as usize - 1) % config.qualified.len()];
        let org = self.org_of(primary);
        if !self.does(conduct(org), |c| c.turns) {
            return (org, false);
        }
        let voters: Vec<u8> = (1..=self.orgs).filter(|org| self.does(conduct(*org), |c| c.votes)).collect();
        let seen = self.quorum_of(voters);
        let mut transactions = if self.busy { self.transactions(&config, conduct) } else { Vec::new() };
        transactions.extend(more);
        let system = told.into_iter().map(|(org, item)| self.ledger.system(org, vec![item])).collect();
        let mut block = self.ledger.block(transactions, system);
        self.place(&mut block, &config, &seen);
        let cosigners: Vec<u8> = (1..=self.orgs).filter(|org| self.does(conduct(*org), |c| c.cosigns)).collect();
        block.header.checkpoint = self.pending.take().map(|checkpoint| self.cosigned(&checkpoint, &cosigners));
        make(self, org, &mut block);
        self.push(block);
        (org, true)
    }

    /// Gives a block the place of this view, and the word of its primary on who voted for its parent.
    pub(super) fn place(&mut self, block: &mut Block, config: &EpochConfig, seen: &[u8]) {
        let last = self.ledger.blocks.last().unwrap();
        let begins = last.header.epoch != block.header.epoch || last.header.height.get() == 0;
        let header = &mut block.header;
        header.view = View::new(self.view);
        header.parent_view = if begins { View::new(0) } else { last.header.view };
        header.primary = config.qualified[(self.view as usize - 1) % config.qualified.len()];
        header.parent_signers = if begins { Vec::new() } else { bitmap(config, seen) };
    }

    pub(super) fn push(&mut self, block: Block) {
        let epoch = block.header.epoch;
        let done = self.ledger.try_push(block).unwrap();
        self.pending = done.checkpoint.or(self.pending);
        if self.epoch() != epoch.get() {
            self.view = 0;
        }
    }

    /// Whether something that an organisation would do comes in time.
    pub(super) fn does(&mut self, conduct: Conduct, what: fn(&Conduct) -> bool) -> bool {
        what(&conduct) && self.dice.roll(100) >= conduct.late_in_100
    }

    /// The first votes that make a quorum, of those that are cast.
    pub(super) fn quorum_of(&mut self, mut voters: Vec<u8>) -> Vec<u8> {
        let quorum = dmdl_types::genesis::quorum(usize::from(self.orgs));
        while voters.len() > quorum {
            let late = self.dice.roll(voters.len() as u64) as usize;
            voters.remove(late);
        }
        voters
    }

    fn cosigned(&self, checkpoint: &Checkpoint, orgs: &[u8]) -> CosignedCheckpoint {
        let cosignatures = orgs.iter().map(|org| cosignature(checkpoint, *org)).collect();
        CosignedCheckpoint::new(*checkpoint, cosignatures).unwrap()
    }

    fn transactions(&mut self, config: &EpochConfig, conduct: &impl Fn(u8) -> Conduct) -> Vec<EndorsedTransaction> {
        let author = 1 + self.dice.roll(u64::from(self.orgs)) as u8;
        vec![self.transaction(config, author, |town, org| town.does(conduct(org), |c| c.endorses))]
    }

    /// A transaction of an organisation, endorsed by the first of its panel who answer.
    pub(super) fn transaction(
        &mut self,
        config: &EpochConfig,
        author: u8,
        mut answers: impl FnMut(&mut Self, u8) -> bool,
    ) -> EndorsedTransaction {
        let call = Medical::Initial { metadata: metadata(), source: NoteCommitment::new([1; 32]), storage: None };
        let body = self.ledger.body(&owner(author), Invocation::Medical(call));
        let panel = endorse::panel(config, body.id(), config.epoch);
        let needed = usize::from(config.channel.endorsements);
        let mut by = Vec::new();
        for node in panel {
            let org = self.org_of(node);
            if by.len() < needed && answers(self, org) {
                by.push(org);
            }
        }
        endorse_by(body, &owner(author), &by)
    }

    /// Another node that executes the same blocks comes to the same, and so to the same primaries.
    pub(super) fn assert_alike(&self) {
        let mut other = Ledger::founded(self.ledger.executor.founding().clone());
        for block in &self.ledger.blocks[1..] {
            other.try_push(block.clone()).unwrap();
        }
        let state = |store: &MemoryStore| crate::commitment::state::StateHash::load(store).unwrap().root();
        assert_eq!(state(&other.store), state(&self.ledger.store));
        assert_eq!(
            state(&self.ledger.store),
            crate::commitment::state::StateHash::recompute(&other.store).unwrap().root()
        );
    }

    /// How many rows reputation keeps.
    pub(super) fn rows_of_mdca(&self) -> usize {
        let tables = [
            TurnCounters::TABLE,
            VoiceRow::TABLE,
            FaultsRow::TABLE,
            FaultSeen::TABLE,
            ReportsRow::TABLE,
            StandingRow::TABLE,
        ];
        let entries = self.ledger.store.scan(Space::State, &[], None, usize::MAX).unwrap();
        entries.iter().filter(|(key, _)| tables.contains(&key[0])).count()
    }

    /// Who stands where after the last epoch that ended.
    pub(super) fn table(&self) -> String {
        let Some(ended) = self.epoch().checked_sub(1) else { return String::new() };
        let config = self.config(ended);
        let standing: BTreeMap<OrgId, PerDuty<i64>> = (1..=self.orgs)
            .map(|org| {
                let row: StandingRow = self.ledger.row(&(Epoch::new(ended), org_id(org))).unwrap_or_default();
                (org_id(org), row.standing)
            })
            .collect();
        let mut text = format!("epoch {ended}: organisation, standing in endorsing, committing, ordering, turns\n");
        let counted = tallies(&self.ledger.store, Epoch::new(ended), &config).unwrap();
        for place in schedule(&config, &standing) {
            let org = org_id(self.org_of(place.node));
            let PerDuty { endorsing, committing, ordering } = standing[&org];
            let mark = if place.qualified { "" } else { " out" };
            let _ =
                writeln!(text, "  {org} {endorsing:>8} {committing:>8} {ordering:>8} {:?}{mark}", counted[&org].turns);
        }
        text
    }

    /// The row of faults of an organisation's node in this epoch.
    pub(super) fn faults(&self, org: u8) -> FaultsRow {
        world::read(&self.ledger.store, &(Epoch::new(self.epoch()), node_id(org))).unwrap().unwrap_or_default()
    }
}

/// A bitmap over the committee that names the nodes of these organisations.
fn bitmap(config: &EpochConfig, orgs: &[u8]) -> Vec<u8> {
    let mut bits = vec![0u8; config.orderers().len().div_ceil(8)];
    for (position, node) in config.orderers().iter().enumerate() {
        if orgs.iter().any(|org| node_id(*org) == *node) {
            bits[position / 8] |= 1 << (position % 8);
        }
    }
    bits
}
