//! What the engine asks of the channel.

use super::{Channel, Notice, OF_NOW_MS, caught_up, rejoin};
use crate::{
    execute::Executed,
    finalized::Finalized,
    mdca::{EngineBlock, Floor, Halt, Ledger, Turn, Vote},
    order, steps,
    store::{Batch, Store, StoreError},
};
use commonware_runtime::Clock;
use dmdl_types::{
    block::{Block, Header},
    certificate::Fault,
    evidence::Evidence,
    genesis::EpochConfig,
    id::{BlockDigest, Epoch, Height, NodeId, UnixMillis, View},
    lineage::FinalHeader,
};
use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
};

impl<E: Clock, S: Store> Ledger for Channel<E, S> {
    fn now(&self) -> UnixMillis {
        self.wall_time()
    }

    async fn propose(&mut self, turn: Turn, parent: EngineBlock) -> Option<EngineBlock> {
        let (config, next) = self.configurations(turn.epoch)?;
        self.wait_for_work(&parent, &config).await;
        let begun = self.turns().begin();
        let executed = self.tip().height;
        // Only news is worth its bytes; whether it is news, the chain that this block extends knows.
        let anchored = self.tip().anchor.map(|anchor| anchor.checkpoint.size);
        let carried = parent.header().checkpoint.as_ref().map(|c| c.checkpoint().size);
        let (body, checkpoint, parent_signers) = {
            let waiting = self.waiting();
            let body = waiting.pool.body(turn.parent, turn.height, executed, &config);
            let checkpoint = waiting.cosignatures.to_carry(anchored.max(carried), &config);
            let voted = (turn.epoch, turn.parent_view);
            let signers = match turn.parent_view {
                view if view == View::new(0) => Vec::new(),
                _ => waiting.votes.bitmap(&config.orderers(), voted, turn.parent),
            };
            (body, checkpoint, signers)
        };
        let header = Header {
            domain: self.domain(),
            height: turn.height,
            epoch: turn.epoch,
            view: turn.view,
            primary: turn.primary,
            parent_view: turn.parent_view,
            parent: turn.parent,
            parent_signers,
            time: turn.time.max(self.wall_time()),
            config: config.digest(),
            next_config: next.digest(),
            body: body.digest(),
            checkpoint,
        };
        let block = EngineBlock::new(Block { header, body }).ok()?;
        self.waiting().pool.observe(block.block_digest(), block.block());
        self.turns().made(begun, block.block_digest(), turn.height);
        Some(block)
    }

    async fn verify(&mut self, block: EngineBlock, _parent: EngineBlock) -> bool {
        let header = block.header();
        let Some((config, next)) = self.configurations(header.epoch) else { return false };
        let verdict = order::check(block.block(), &self.domain(), &config, next.digest(), &self.shared.checked);
        if let Err(fault) = &verdict {
            tracing::warn!(height = header.height.get(), %fault, "a candidate block is not valid");
            self.accuse_primary(&block);
            return false;
        }
        self.waiting().pool.observe(block.block_digest(), block.block());
        true
    }

    async fn finalized(&mut self, block: EngineBlock, certificate: Option<Vec<u8>>) -> Result<(), Halt> {
        let epoch = block.header().epoch;
        let is_inner = certificate.is_some() && !self.ends_epoch(block.header().height);
        // Before the epoch is over: a step that a crash took would be missing for good.
        self.keep_step(block.header(), certificate).map_err(Halt::new)?;
        self.keep_signed(block.block()).map_err(Halt::new)?;
        let executed = {
            let mut executor = self.executor();
            let done = executor.execute(&Finalized::delivered(block.block().clone()));
            done.map_err(Halt::new)?
        };
        self.keep_snapshot(&executed, is_inner);
        let config = self.config_after(executed.tip.height).map_err(Halt::new)?;
        {
            let mut waiting = self.waiting();
            waiting.pool.settle(block.block());
            if let (Some(checkpoint), Some(config)) = (executed.checkpoint, &config) {
                for (checkpoint, cosignature) in waiting.cosignatures.open(checkpoint, config) {
                    self.accuse(Evidence::Cosignature { checkpoint, cosignature });
                }
            }
            if let Some(anchor) = executed.tip.anchor {
                waiting.cosignatures.settle(anchor.checkpoint.height);
            }
        }
        {
            // Under one lock: whoever finds the block executed finds its tip, and whoever is woken by the tip its block.
            let mut turns = self.turns();
            turns.executed(executed.tip.block, executed.tip.height);
            turns.count_lost(block.header().parent_view, block.header().view);
            self.shared.tip.set(executed.tip);
        }
        if !self.is_current() && self.wall_time().since_ms(executed.tip.time) <= OF_NOW_MS {
            caught_up::note(self.store()).map_err(Halt::new)?;
            self.shared.current.store(true, Ordering::Relaxed);
        }
        if let Some(begins) = config.filter(|config| config.epoch != epoch) {
            self.waiting().pool.begin(&begins);
        }
        // A node that has stopped listening is shutting down; the block is durable all the same.
        let _ = self.shared.notices.send(Notice::Executed(Arc::new(executed))).await;
        Ok(())
    }

    async fn executed(&self) -> Height {
        self.tip().height
    }

    async fn floor(&self) -> Option<Floor> {
        self.shared.floor.clone()
    }

    async fn prunable_below(&self) -> Result<Option<Height>, Halt> {
        self.pruned_below().map_err(Halt::new)
    }

    async fn epoch(&self, epoch: Epoch) -> Option<EpochConfig> {
        self.epoch_config(epoch).ok().flatten().map(Arc::unwrap_or_clone)
    }

    async fn last_of(&self, epoch: Epoch) -> Option<BlockDigest> {
        let step = steps::read(self.store(), epoch.next()).ok()??;
        Some(step.announced.header.digest())
    }

    async fn may_vote(&self, epoch: Epoch) -> bool {
        let mut rejoin = self.rejoin();
        let place = match rejoin.as_ref() {
            None => return true,
            Some(rejoin) if !rejoin.may_vote(epoch) => return false,
            Some(rejoin) => rejoin.place,
        };
        // Before the first vote: what follows is in this folder.
        match rejoin::note_rejoined(self.store(), place, self.tip().time) {
            Ok(()) => *rejoin = None,
            Err(error) => tracing::error!(%error, "it cannot be noted that this node votes again, so it does not"),
        }
        rejoin.is_none()
    }

    fn heard(&mut self, voter: NodeId, epoch: Epoch) {
        self.hear_ahead(voter, epoch);
        let mut rejoin = self.rejoin();
        if let Some(rejoin) = rejoin.as_mut()
            && let Ok(config) = self.config()
        {
            rejoin.hear(self.shared.me, voter, epoch, &config, self.is_of_now());
        }
    }

    fn vote(&mut self, vote: Vote) {
        self.heard(vote.voter, vote.epoch);
        self.waiting().votes.add(vote);
    }

    fn fault(&mut self, _fault: Fault, encoded: Vec<u8>) {
        self.accuse(Evidence::Votes { proof: encoded });
    }
}

impl<E: Clock, S: Store> Channel<E, S> {
    /// Waits until there is a transaction to order and others had time to join it, or for a heartbeat.
    async fn wait_for_work(&self, parent: &EngineBlock, config: &EpochConfig) {
        let clock = &self.shared.runtime;
        let mut heartbeat = pin!(clock.sleep(self.shared.pace.heartbeat));
        loop {
            let arrived = self.shared.arrived.notified();
            if self.waiting().pool.is_ready(parent.block_digest(), self.tip().height, config) {
                clock.sleep(self.shared.pace.batching(parent.block().body.transactions.len())).await;
                return;
            }
            tokio::select! {
                biased;
                () = arrived => {}
                () = &mut heartbeat => return,
            }
        }
    }

    fn ends_epoch(&self, height: Height) -> bool {
        height.next().get().is_multiple_of(self.shared.founding.channel.epoch_blocks)
    }

    /// Keeps the last header of an epoch, by which others come to believe the next one's configuration.
    fn keep_step(&self, header: &Header, certificate: Option<Vec<u8>>) -> Result<(), StoreError> {
        // No later block can make it final: the next epoch has another committee.
        let Some(certificate) = certificate.filter(|_| self.ends_epoch(header.height)) else { return Ok(()) };
        let mut batch = Batch::new();
        let announced = FinalHeader { header: header.clone(), links: Vec::new(), certificate };
        steps::keep(&mut batch, header.epoch.next(), &announced);
        self.store().commit(batch)
    }

    /// Keeps a snapshot when one is due. The node does without if that fails: others have theirs.
    fn keep_snapshot(&self, executed: &Executed, is_inner: bool) {
        if let Err(error) = self.shelf().executed(self.store(), executed, is_inner) {
            tracing::warn!(%error, height = executed.tip.height.get(), "no snapshot was kept");
        }
    }

    /// Shows that a primary voted for a block of its own that breaks a rule.
    fn accuse_primary(&self, block: &EngineBlock) {
        let header = block.header();
        let vote = {
            let waiting = self.waiting();
            let at = (header.epoch, header.view);
            waiting.votes.proposal(at, block.block_digest(), header.primary).map(<[u8]>::to_vec)
        };
        if let Some(vote) = vote {
            self.accuse(Evidence::Proposal { vote, block: block.bytes().to_vec() });
        }
    }

    /// This node's clock, for proposing and for refusing; never for deciding.
    #[must_use]
    pub fn wall_time(&self) -> UnixMillis {
        self.shared.wall.now()
    }

    /// Whether the last executed block is of this moment, as far as this node's clock can tell.
    fn is_of_now(&self) -> bool {
        let (tip, now) = (self.tip().time, self.wall_time());
        now.since_ms(tip).max(tip.since_ms(now)) <= OF_NOW_MS
    }

    fn configurations(&self, epoch: Epoch) -> Option<(Arc<EpochConfig>, Arc<EpochConfig>)> {
        let config = self.epoch_config(epoch).ok()??;
        let next = self.epoch_config(epoch.next()).ok()??;
        Some((config, next))
    }
}
