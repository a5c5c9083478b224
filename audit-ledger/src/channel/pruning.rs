//! What a channel that lets blocks go keeps of them, and which it keeps.
//!
//! The audit trail needs no blocks. What people have signed is needed beyond it, by whoever opens a record or believes who
//! owns it, so it is kept apart. The blocks of the last epochs are kept for those who are behind, and all blocks from the
//! oldest snapshot on, since whoever joins by that one goes on from there.

use super::Channel;
use crate::{
    store::{Batch, Reader, Space, Store, StoreError},
    world::{self, PrunesBlocks},
};
use dmdl_types::{
    block::Block,
    codec,
    genesis::{EpochConfig, faults},
    id::{Epoch, Height, NodeId, TransactionId},
    invocation::{Access, Invocation},
    limits,
    transaction::Transaction,
};
use std::collections::BTreeSet;

/// Before the id of a transaction.
const PREFIX: &[u8] = b"signed/";
/// Blocks of so many epochs before this one are kept for nodes that are behind.
pub(super) const EPOCHS_KEPT: u64 = 128;

impl<E, S: Store> Channel<E, S> {
    /// Whether the channel lets old blocks go.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn prunes_blocks(&self) -> Result<bool, StoreError> {
        Ok(world::read::<PrunesBlocks>(self.store(), &())?.is_some())
    }

    /// What a person signed, if it is kept apart from the blocks.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn signed(&self, id: TransactionId) -> Result<Option<Transaction>, StoreError> {
        let Some(bytes) = self.store().get(Space::Meta, &key(id))? else { return Ok(None) };
        let damaged = |error| StoreError::Corrupt(format!("what was signed as {id}: {error}"));
        codec::decode(&bytes, limits::TRANSACTION_BYTES).map(Some).map_err(damaged)
    }

    /// Below which height this node lets blocks go, if it does.
    pub(super) fn pruned_below(&self) -> Result<Option<Height>, StoreError> {
        let length = self.founding().channel.epoch_blocks;
        let below = || below(self.shelf().oldest(), self.current_epoch(), length);
        Ok(self.prunes_blocks()?.then(below))
    }

    /// Keeps what people have signed, before the block is executed: once it is, the block may go.
    pub(super) fn keep_signed(&self, block: &Block) -> Result<(), StoreError> {
        if block.body.transactions.is_empty() || !self.prunes_blocks()? {
            return Ok(());
        }
        let batch = signed_in(block);
        if batch.is_empty() { Ok(()) } else { self.store().commit(batch) }
    }

    /// Takes notice of who votes in an epoch whose beginnings may be gone before this node gets to it.
    pub(super) fn hear_ahead(&self, voter: NodeId, epoch: Epoch) {
        let own = self.current_epoch();
        if epoch.get() <= own.get().saturating_add(EPOCHS_KEPT) {
            return;
        }
        let Ok(config) = self.config() else { return };
        if self.ahead().hear(voter, &config) {
            tracing::warn!(
                %own, others = %epoch,
                "the others are so far ahead that they may have let go of the blocks in between: unless this node \
                 catches up, stop it, remove its data folder, and start it again, so that it joins by a snapshot",
            );
        }
    }
}

/// Below which height nobody needs the blocks any more.
fn below(snapshot: Option<Height>, epoch: Epoch, epoch_blocks: u64) -> Height {
    let first = Height::new(epoch.get().saturating_sub(EPOCHS_KEPT).saturating_mul(epoch_blocks));
    snapshot.map_or(Height::new(0), |snapshot| snapshot.min(first))
}

/// What people have signed that is kept apart from the blocks, by rising key, after a key; every key comes after the
/// empty one.
pub(crate) fn signed_after(
    reader: &impl Reader,
    after: &[u8],
    limit: usize,
) -> Result<Vec<(Vec<u8>, Transaction)>, StoreError> {
    let after = (!after.is_empty()).then_some(after);
    let damaged = |error| StoreError::Corrupt(format!("what was signed: {error}"));
    let row = |(key, bytes): (Vec<u8>, Vec<u8>)| {
        Ok((key, codec::decode(&bytes, limits::TRANSACTION_BYTES).map_err(damaged)?))
    };
    reader.scan(Space::Meta, PREFIX, after, limit)?.into_iter().map(row).collect()
}

/// Keeps what somebody signed apart from the blocks.
pub(crate) fn keep_signed(batch: &mut Batch, transaction: &Transaction) {
    batch.put(Space::Meta, key(transaction.body.id()), codec::encode(transaction));
}

/// What people have signed in a block, but for decryptions: these are opened at once or never, and are most of all there
/// is.
fn signed_in(block: &Block) -> Batch {
    let mut batch = Batch::new();
    for transaction in block.body.transactions.iter().map(|endorsed| &endorsed.transaction) {
        let invocation = &transaction.body.invocation;
        if !matches!(invocation, Invocation::Access(Access::Decrypt { .. } | Access::Rekey { .. })) {
            keep_signed(&mut batch, transaction);
        }
    }
    batch
}

fn key(id: TransactionId) -> Vec<u8> {
    [PREFIX, id.as_bytes()].concat()
}

/// The orderers that were heard too far ahead; a few of them may lie.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    voters: BTreeSet<NodeId>,
    is_told: bool,
}

impl Ahead {
    /// Whether it is to be told now, which it is once.
    fn hear(&mut self, voter: NodeId, config: &EpochConfig) -> bool {
        let orderers = config.orderers();
        if self.is_told || !orderers.contains(&voter) {
            return false;
        }
        self.voters.insert(voter);
        self.is_told = self.voters.len() > faults(orderers.len());
        self.is_told
    }
}

#[cfg(test)]
mod tests;
