//! A ledger that remembers the blocks it was given, and a genesis of four orderers.

use commonware_runtime::{Clock as _, deterministic};
use dmdl_audit_ledger::mdca::{EngineBlock, Floor, Halt, Ledger, Turn, Vote};
use dmdl_types::{
    block::{Block, Body},
    certificate::Fault,
    genesis::{ChannelConfig, EpochConfig, Genesis, Member, NodeRoles},
    id::{BlockDigest, Epoch, Height, NodeId, OrgId, UnixMillis},
    mdca::MdcaConfig,
    secret::Secret32,
    sign::SigningKey,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

pub(crate) const EPOCH_BLOCKS: u64 = 12;

/// The signing key of an orderer, by its position in the committee.
pub(crate) fn key(node: usize) -> SigningKey {
    let mut seeds: Vec<u8> = (1..=4).collect();
    seeds.sort_by_key(|seed| SigningKey::from_seed(Secret32::new([*seed; 32])).public());
    SigningKey::from_seed(Secret32::new([seeds[node]; 32]))
}

pub(crate) fn genesis() -> Genesis {
    let members = (0..4).map(|node| Member {
        node: NodeId::of_key(key(node).public()),
        cosigning_key: SigningKey::from_seed(Secret32::new([100 + u8::try_from(node).unwrap(); 32])).public(),
        org: OrgId::new(format!("org-{node}")).unwrap(),
        roles: NodeRoles::ALL,
    });
    Genesis {
        version: 1,
        seed: [7; 32],
        time: UnixMillis::new(0),
        single_org_demo: false,
        members: members.collect(),
        people: Vec::new(),
        channel: ChannelConfig {
            name: "toy".parse().unwrap(),
            epoch_blocks: EPOCH_BLOCKS,
            endorsements: 1,
            custody_threshold: 2,
            policy_engine: 1,
            mdca: MdcaConfig::default(),
        },
    }
}

/// In every second epoch, one orderer votes but does not propose.
pub(crate) fn epoch_config(epoch: Epoch) -> EpochConfig {
    let mut config = EpochConfig { epoch, ..genesis().epoch_config(Epoch::new(0)) };
    if epoch.get() % 2 == 1 {
        config.qualified.remove(0);
        config.qualified.reverse();
    }
    config
}

#[derive(Default)]
struct Memory {
    blocks: BTreeMap<u64, (EngineBlock, Option<Vec<u8>>)>,
    faults: Vec<Fault>,
    floor: Option<Floor>,
    kept: Option<u64>,
    mute: bool,
    ahead_ms: u64,
    turns: Vec<NodeId>,
}

/// What survives a crash of the node; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Toy(Arc<Mutex<Memory>>);

impl Toy {
    pub(crate) fn height(&self) -> u64 {
        self.0.lock().unwrap().blocks.keys().last().copied().unwrap_or(0)
    }

    pub(crate) fn blocks(&self, upto: u64) -> Vec<EngineBlock> {
        self.0.lock().unwrap().blocks.range(..=upto).map(|(_, (block, _))| block.clone()).collect()
    }

    pub(crate) fn digests(&self, upto: u64) -> Vec<BlockDigest> {
        self.blocks(upto).iter().map(EngineBlock::block_digest).collect()
    }

    pub(crate) fn certificate(&self, height: u64) -> Option<Vec<u8>> {
        self.0.lock().unwrap().blocks.get(&height).and_then(|(_, certificate)| certificate.clone())
    }

    /// Begins behind a block that others have, as by a snapshot.
    pub(crate) fn join_after(&self, floor: Floor, block: EngineBlock) {
        let mut memory = self.0.lock().unwrap();
        memory.blocks.insert(floor.height.get(), (block, Some(floor.certificate.clone())));
        memory.floor = Some(floor);
    }

    pub(crate) fn forget_above(&self, height: u64) {
        self.0.lock().unwrap().blocks.retain(|h, _| *h <= height);
    }

    /// Needs no blocks but the last so many.
    pub(crate) fn keep_last(&self, blocks: u64) {
        self.0.lock().unwrap().kept = Some(blocks);
    }

    pub(crate) fn forbid_votes(&self) {
        self.0.lock().unwrap().mute = true;
    }

    pub(crate) fn run_ahead_ms(&self, ms: u64) {
        self.0.lock().unwrap().ahead_ms = ms;
    }

    /// Lets these take turns, view after view from the first block on; after them everybody does.
    pub(crate) fn take_turns(&self, turns: Vec<NodeId>) {
        self.0.lock().unwrap().turns = turns;
    }

    fn config(&self, epoch: Epoch) -> EpochConfig {
        let begins = usize::try_from(epoch.get() * EPOCH_BLOCKS).unwrap();
        match self.0.lock().unwrap().turns.get(begins..) {
            Some(turns) if !turns.is_empty() => {
                let mut config = EpochConfig { epoch, ..genesis().epoch_config(Epoch::new(0)) };
                config.qualified.splice(0..0, turns.iter().copied());
                config
            }
            _ => epoch_config(epoch),
        }
    }

    /// What the node saw others do against the rules.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        self.0.lock().unwrap().faults.clone()
    }
}

/// The time of day, which not every node's clock shows.
pub(crate) fn right_time(runtime: &deterministic::Context) -> UnixMillis {
    let since = runtime.current().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap())
}

/// The ledger of a running node.
#[derive(Clone)]
pub(crate) struct ToyLedger {
    pub(crate) toy: Toy,
    pub(crate) runtime: Arc<deterministic::Context>,
}

impl Ledger for ToyLedger {
    fn now(&self) -> UnixMillis {
        let ahead_ms = self.toy.0.lock().unwrap().ahead_ms;
        right_time(&self.runtime).plus_ms(ahead_ms)
    }

    async fn propose(&mut self, turn: Turn, parent: EngineBlock) -> Option<EngineBlock> {
        self.runtime.sleep(Duration::from_millis(50)).await;
        let body = Body::default();
        let header = dmdl_types::block::Header {
            height: turn.height,
            epoch: turn.epoch,
            view: turn.view,
            primary: turn.primary,
            parent_view: turn.parent_view,
            parent: turn.parent,
            time: turn.time,
            body: body.digest(),
            config: self.toy.config(turn.epoch).digest(),
            next_config: self.toy.config(turn.epoch.next()).digest(),
            ..parent.header().clone()
        };
        EngineBlock::new(Block { header, body }).ok()
    }

    async fn verify(&mut self, block: EngineBlock, parent: EngineBlock) -> bool {
        let header = block.header();
        header.config == self.toy.config(header.epoch).digest()
            && header.next_config == self.toy.config(header.epoch.next()).digest()
            && header.height == parent.header().height.next()
    }

    async fn finalized(&mut self, block: EngineBlock, certificate: Option<Vec<u8>>) -> Result<(), Halt> {
        let height = block.header().height.get();
        assert_eq!(height, self.toy.height() + 1, "blocks come in order, without gaps");
        self.toy.0.lock().unwrap().blocks.insert(height, (block, certificate));
        Ok(())
    }

    async fn executed(&self) -> Height {
        Height::new(self.toy.height())
    }

    async fn floor(&self) -> Option<Floor> {
        self.toy.0.lock().unwrap().floor.clone()
    }

    async fn prunable_below(&self) -> Result<Option<Height>, Halt> {
        let kept = self.toy.0.lock().unwrap().kept;
        Ok(kept.map(|kept| Height::new(self.toy.height().saturating_sub(kept))))
    }

    async fn epoch(&self, epoch: Epoch) -> Option<EpochConfig> {
        // Known as late as a real ledger may know it.
        (epoch.get() <= (self.toy.height() + 1) / EPOCH_BLOCKS).then(|| self.toy.config(epoch))
    }

    async fn last_of(&self, epoch: Epoch) -> Option<BlockDigest> {
        let last = (epoch.get() + 1) * EPOCH_BLOCKS - 1;
        self.toy.digests(last).last().copied()
    }

    async fn may_vote(&self, _: Epoch) -> bool {
        !self.toy.0.lock().unwrap().mute
    }

    fn heard(&mut self, _: NodeId, _: Epoch) {}

    fn vote(&mut self, _: Vote) {}

    fn fault(&mut self, fault: Fault, _: Vec<u8>) {
        self.toy.0.lock().unwrap().faults.push(fault);
    }
}
