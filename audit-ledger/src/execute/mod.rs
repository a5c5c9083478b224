//! Execution: the only writer of world state.
//!
//! A final block goes in; its outcomes, its leaves in the audit log, the new state and the new tip
//! become durable in one batch, or not at all. The same blocks give the same bytes on every
//! committer: nothing here reads a clock, a random source or the network.
//!
//! # Source
//! docs/spec/event.md; docs/spec/state.md

mod conduct;
mod epochs;
mod tip;
mod transactions;

pub(crate) use conduct::primary;
pub(crate) use tip::begin_at;
pub use tip::{Anchor, Tip};

use crate::{
    commitment::{index::Index, state::StateHash},
    contract::{CustodyMath, Policies},
    finalized::Finalized,
    log,
    store::{History, HistoryView, Reader, Store, StoreError},
    world::{self, PersonRow, PersonStatus, World},
};
use dmdl_types::{
    block::Block,
    checkpoint::{Checkpoint, CosignedCheckpoint},
    custody::CustodyEvent,
    event::Event,
    genesis::{EpochConfig, Founding, GenesisError},
    id::{Epoch, Height},
    merkle::Frontier,
    sign::Domain,
};
use std::sync::Arc;

/// How far back the index can be read. Checkpoints are final within a few blocks; where cosignatures
/// fail to come, memory must not grow with the chain.
const HISTORY_BLOCKS_MAX: u64 = 4096;

/// Why execution stops. None of these is the fault of a transaction: the node must stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The document that founds the channel breaks a rule.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The store belongs to another network or channel.
    #[error("the store belongs to another network or channel")]
    OtherLedger,
    /// The block does not follow the tip.
    #[error("block {got} does not follow the executed tip {tip}")]
    OutOfOrder {
        /// The block's height.
        got: Height,
        /// The tip's.
        tip: Height,
    },
    /// The block is final on another parent than the block that is executed here: two certificates
    /// contradict each other.
    #[error("the final block {0} does not extend the final block before it")]
    Conflict(Height),
    /// Enough committers cosigned a checkpoint that this node's own execution contradicts: either
    /// this node's state is damaged, or more committers lie than the model allows.
    #[error("the checkpoint at height {0} contradicts this node's own execution")]
    Diverged(Height),
    /// The configuration of an epoch is missing.
    #[error("the configuration of epoch {0} is missing")]
    NoConfiguration(Epoch),
    /// The channel wants a policy engine that this program does not have.
    #[error("the channel decides with policy engine {wanted}; this program has {has}")]
    PolicyEngine {
        /// The channel's.
        wanted: u16,
        /// This program's.
        has: u16,
    },
}

/// What a block led to.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The tip after it.
    pub tip: Tip,
    /// Its audit events, in the order of their leaves.
    pub events: Vec<Event>,
    /// What it means for custodians.
    pub custody: Vec<CustodyEvent>,
    /// What this node can now cosign, if the log grew.
    pub checkpoint: Option<Checkpoint>,
}

/// The executor of one channel on one node.
#[derive(Debug)]
pub struct Executor<S: Store> {
    store: S,
    founding: Founding,
    domain: Domain,
    math: CustodyMath,
    tip: Tip,
    frontier: Frontier,
    index: Index,
    history: History,
    alarm: bool,
    policies: Arc<Policies>,
}

impl<S: Store> Executor<S> {
    /// Opens the ledger in `store`, or begins it as `founding` says.
    ///
    /// # Errors
    /// [`ExecuteError`] when the store holds another ledger or cannot be read.
    pub fn open(store: S, founding: Founding, math: CustodyMath) -> Result<Self, ExecuteError> {
        founding.check()?;
        let wanted = founding.channel.policy_engine;
        if wanted != dmdl_policies::POLICY_ENGINE {
            return Err(ExecuteError::PolicyEngine { wanted, has: dmdl_policies::POLICY_ENGINE });
        }
        let domain = founding.domain;
        let tip = match Tip::load(&store)? {
            Some(tip) if tip.domain == domain => tip,
            Some(_) => return Err(ExecuteError::OtherLedger),
            None => begin(&store, &founding)?,
        };
        let frontier = log::frontier(&store, tip.size)?;
        let alarm = tip::alarm_raised(&store)?;
        Ok(Self {
            store,
            founding,
            domain,
            math,
            tip,
            frontier,
            index: Index::default(),
            history: History::new(),
            alarm,
            policies: Arc::default(),
        })
    }

    /// The last executed block.
    #[must_use]
    pub const fn tip(&self) -> &Tip {
        &self.tip
    }

    /// The store, for reading.
    #[must_use]
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// What the channel began with.
    #[must_use]
    pub const fn founding(&self) -> &Founding {
        &self.founding
    }

    /// The policies that were parsed so far, to share with whoever looks at calls before they are ordered.
    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.policies)
    }

    /// What this node came to after the last block that had events.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn newest_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        tip::newest_checkpoint(&self.store)
    }

    /// The configuration of an epoch, once it is decided.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn epoch_config(&self, epoch: Epoch) -> Result<Option<EpochConfig>, StoreError> {
        world::read(&self.store, &epoch)
    }

    /// The index as it was at the newest checkpoint that a final header carries.
    #[must_use]
    pub fn anchored_index(&self) -> Option<HistoryView<&S>> {
        self.history.view(self.tip.anchor?.checkpoint.height, self.tip.height, &self.store)
    }

    /// Executes the next final block.
    ///
    /// What survives a crash: all of it, once this returns; nothing of it before.
    ///
    /// # Errors
    /// [`ExecuteError`]: nothing was changed, and the node must stop.
    pub fn execute(&mut self, block: &Finalized<Block>) -> Result<Executed, ExecuteError> {
        let result = self.apply(block.get());
        if let Err(ExecuteError::Conflict(_) | ExecuteError::Diverged(_)) = &result {
            // A state that the argument for safety says cannot happen: from now on, across restarts,
            // this node's custodian releases nothing.
            tip::raise_alarm(&self.store)?;
            self.alarm = true;
        }
        result
    }

    /// Whether this node has ever seen two final blocks that contradict each other, or a cosigned
    /// checkpoint that contradicts its own execution.
    #[must_use]
    pub const fn conflict_seen(&self) -> bool {
        self.alarm
    }

    fn apply(&mut self, block: &Block) -> Result<Executed, ExecuteError> {
        let header = &block.header;
        if header.height != self.tip.height.next() {
            return Err(ExecuteError::OutOfOrder { got: header.height, tip: self.tip.height });
        }
        if header.parent != self.tip.block {
            return Err(ExecuteError::Conflict(header.height));
        }
        let config = self.config_of(header.epoch)?;
        let mut world = World::new(self.store.clone());
        self.take_over_checkpoint(&mut world)?;
        let done = transactions::run(&mut world, self, &config, block)?;
        let anchored = self.tip.anchor.map_or(0, |anchor| anchor.checkpoint.size);
        conduct::count(&mut world, &config, block, &done.events, anchored)?;
        epochs::close(&mut world, &config, header)?;
        let anchor = match &header.checkpoint {
            Some(carried) => self.anchor(&mut world, header.height, carried)?,
            None => self.tip.anchor,
        };

        let mut frontier = self.frontier.clone();
        // Given back with the rest: until then the next block would begin with what the store has.
        let mut index = std::mem::take(&mut self.index);
        let overlay = world.overlay_mut();
        let appended = log::append(overlay, &mut frontier, &mut index, &done.events)?;
        let state = StateHash::update(overlay)?.root();
        let tip = Tip {
            domain: self.domain,
            height: header.height,
            block: block.digest(),
            time: header.time,
            epoch: header.epoch,
            size: frontier.size(),
            anchor,
        };
        let checkpoint = Checkpoint {
            network: self.domain.network,
            channel: self.domain.channel,
            size: tip.size,
            root: appended.root,
            height: tip.height,
            block: tip.block,
            state,
            index: appended.index,
        };
        let checkpoint = (!done.events.is_empty()).then_some(checkpoint);
        if let Some(checkpoint) = &checkpoint {
            tip::remember_checkpoint(overlay, checkpoint);
        }
        tip.store(overlay);
        self.store.commit(world.into_changes().into())?;
        // From here on the block is durable; memory follows the disk, never the other way round.
        self.frontier = frontier;
        self.index = index;
        self.tip = tip;
        self.history.record(tip.height, appended.undo);
        let anchored = tip.anchor.map_or(0, |anchor| anchor.checkpoint.height.get());
        let oldest = anchored.max(tip.height.get().saturating_sub(HISTORY_BLOCKS_MAX));
        self.history.forget_before(Height::new(oldest));
        Ok(Executed { tip, events: done.events, custody: done.custody, checkpoint })
    }

    fn config_of(&self, epoch: Epoch) -> Result<EpochConfig, ExecuteError> {
        self.epoch_config(epoch)?.ok_or(ExecuteError::NoConfiguration(epoch))
    }

    /// Makes the tip's checkpoint a part of state. It says what the state hashes to, so it can be no part of the
    /// state that it says it of; but evidence and headers are judged by it, and what execution reads must be what a
    /// snapshot holds.
    fn take_over_checkpoint<R: Reader>(&self, world: &mut World<R>) -> Result<(), StoreError> {
        let newest = self.newest_checkpoint()?;
        if let Some(checkpoint) = newest.filter(|checkpoint| checkpoint.height == self.tip.height) {
            world.put(&checkpoint.height, &checkpoint);
        }
        Ok(())
    }

    /// The newest anchor, after a header carried this checkpoint.
    fn anchor<R: Reader>(
        &self,
        world: &mut World<R>,
        height: Height,
        carried: &CosignedCheckpoint,
    ) -> Result<Option<Anchor>, ExecuteError> {
        let checkpoint = *carried.checkpoint();
        if world.get::<Checkpoint>(&checkpoint.height)? != Some(checkpoint) {
            return Err(ExecuteError::Diverged(checkpoint.height));
        }
        if self.tip.anchor.is_some_and(|known| known.checkpoint.size >= checkpoint.size) {
            return Ok(self.tip.anchor);
        }
        let anchor = Anchor { height, checkpoint };
        // The next block's conduct is counted from here on.
        world.put(&(), &anchor);
        Ok(Some(anchor))
    }
}

/// Writes what the founding document decides.
fn begin<S: Store>(store: &S, founding: &Founding) -> Result<Tip, ExecuteError> {
    let mut world = World::new(store.clone());
    for person in &founding.people {
        let row = PersonRow { person: person.clone(), status: PersonStatus::Active, enrolled_by: None };
        world.put(&person.key, &row);
    }
    for epoch in [Epoch::new(0), Epoch::new(1)] {
        world.put(&epoch, &founding.epoch_config(epoch));
    }
    let block = Block::genesis(founding);
    let tip = Tip {
        domain: founding.domain,
        height: block.header.height,
        block: block.digest(),
        time: block.header.time,
        epoch: block.header.epoch,
        size: 0,
        anchor: None,
    };
    let overlay = world.overlay_mut();
    StateHash::update(overlay)?;
    tip.store(overlay);
    store.commit(world.into_changes().into())?;
    Ok(tip)
}

#[cfg(test)]
mod tests;
