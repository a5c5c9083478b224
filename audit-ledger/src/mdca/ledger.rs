//! The seam between the engine and the ledger: what the node driver gives the engine.
//!
//! The engine decides *which* block comes next; everything about what a block means is behind
//! [`Ledger`]. Randomness and waiting come from the engine's runtime and the time of day from the ledger, so
//! that the simulator replays a run from its seed.

use super::{
    block::{Context, EngineBlock},
    keys::ledger_key,
};
use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{
    certificate::Fault,
    genesis::EpochConfig,
    id::{BlockDigest, Epoch, Height, NodeId, UnixMillis, View},
};
use std::future::Future;

/// A turn to propose: everything a header says that its proposer does not choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The height of the block to build.
    pub height: Height,
    /// The epoch.
    pub epoch: Epoch,
    /// The view.
    pub view: View,
    /// The view of the parent; views between the two are missed turns, and a parent in view 0 is the
    /// last block of the epoch before.
    pub parent_view: View,
    /// The proposer: this node.
    pub primary: NodeId,
    /// The parent's digest.
    pub parent: BlockDigest,
    /// The block's time, unless the proposer waits for transactions: the later of its clock and one
    /// millisecond after the parent.
    pub time: UnixMillis,
}

impl Turn {
    pub(super) fn new(context: &Context, parent: &EngineBlock, now: UnixMillis) -> Self {
        Self {
            height: parent.header().height.next(),
            epoch: Epoch::new(context.round.epoch().get()),
            view: View::new(context.round.view().get()),
            parent_view: View::new(context.parent.0.get()),
            primary: NodeId::of_key(ledger_key(&context.leader)),
            parent: parent.block_digest(),
            time: now.max(parent.header().time.plus_ms(1)),
        }
    }
}

/// A committee member's vote for a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Who voted.
    pub voter: NodeId,
    /// The epoch.
    pub epoch: Epoch,
    /// The view.
    pub view: View,
    /// The block.
    pub block: BlockDigest,
    /// What `NotarizeVote::decode` reads, if the vote is to notarize: its primary's is a proposal.
    pub notarize: Option<Vec<u8>>,
}

/// Where a chain begins on a node that joined it behind its beginning: the blocks below are not there.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Floor {
    /// The last height that the node did not execute; not the last of its epoch.
    pub height: Height,
    /// The verified finality certificate of that height, in the engine's encoding.
    pub certificate: Vec<u8>,
    /// The last block of the epoch before.
    pub epoch_parent: BlockDigest,
}

/// The ledger cannot go on: its state could not be made durable, or contradicts the chain.
///
/// The engine stops without acknowledging, and so stops voting; the process should end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger stopped: {reason}")]
pub struct Halt {
    /// What happened, without any content.
    pub reason: String,
}

impl Halt {
    /// The ledger stopped for a reason.
    pub fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string() }
    }
}

/// What the engine asks of the ledger above it.
///
/// Clones share one ledger. `propose` and `verify` may run at the same time, for different blocks,
/// and may be dropped at any await: they must not leave anything half done.
pub trait Ledger: Clone + Send + Sync + 'static {
    /// The time of day by this node's clock, which may be wrong.
    fn now(&self) -> UnixMillis;

    /// Builds a block on `parent`, or gives up the turn.
    ///
    /// May wait for a transaction, but no longer than [`Timing::heartbeat`](super::Timing), or the
    /// others skip this node. The header must repeat the turn; its time may be later.
    fn propose(&mut self, turn: Turn, parent: EngineBlock) -> impl Future<Output = Option<EngineBlock>> + Send;

    /// Whether a block is valid on `parent`: the same answer on every honest node, for ever.
    ///
    /// A pure function of the two blocks, their ancestry and the epoch's configuration: no clock.
    /// Already checked here: height, parent, embedded context, and that time goes forward. When the
    /// answer is not known yet, the future stays pending.
    fn verify(&mut self, block: EngineBlock, parent: EngineBlock) -> impl Future<Output = bool> + Send;

    /// Executes a final block, and returns once that is durable.
    ///
    /// Called in height order without gaps from the height after [`Self::executed`], one at a time.
    /// `certificate` is the encoded finality certificate of this height, if this node saw one: most
    /// heights have one, the others are final by a descendant's.
    ///
    /// # Errors
    /// [`Halt`] stops the engine before the block is acknowledged; it is handed over again at the
    /// next start.
    fn finalized(
        &mut self,
        block: EngineBlock,
        certificate: Option<Vec<u8>>,
    ) -> impl Future<Output = Result<(), Halt>> + Send;

    /// The last height whose execution is durable; 0 when there is only genesis.
    fn executed(&self) -> impl Future<Output = Height> + Send;

    /// Where the chain begins on this node; none at genesis.
    ///
    /// The same at every start.
    fn floor(&self) -> impl Future<Output = Option<Floor>> + Send {
        async { None }
    }

    /// Below which height nobody needs this node's blocks and certificates, on a channel that lets them go, where it
    /// may be 0; none where all are kept. The engine may keep more.
    ///
    /// Does not go down, and stays known once it is.
    ///
    /// # Errors
    /// [`Halt`] when the ledger cannot be read.
    fn prunable_below(&self) -> impl Future<Output = Result<Option<Height>, Halt>> + Send {
        async { Ok(None) }
    }

    /// The configuration of an epoch.
    ///
    /// Must be known for the epoch of the next height to execute and, once the last block of that
    /// epoch is executed, for the one after; the one before is asked for after a start.
    fn epoch(&self, epoch: Epoch) -> impl Future<Output = Option<EpochConfig>> + Send;

    /// The last block of an epoch that is over, where the archive may have lost it.
    fn last_of(&self, _epoch: Epoch) -> impl Future<Output = Option<BlockDigest>> + Send {
        async { None }
    }

    /// Whether this node may vote in an epoch that begins now, or that it rejoins after a start.
    ///
    /// A node whose folder is empty, restored or rolled back answers no, until the first epoch that
    /// begins after it has caught up: it cannot know what it has voted for.
    fn may_vote(&self, epoch: Epoch) -> impl Future<Output = bool> + Send;

    /// Takes notice that a member votes in an epoch: it has come at least to the one before.
    ///
    /// Must not block.
    fn heard(&mut self, voter: NodeId, epoch: Epoch);

    /// Takes notice of a vote of this epoch that came from its voter; its signature is not checked.
    ///
    /// Must not block.
    fn vote(&mut self, vote: Vote);

    /// Takes a proof, already verified, that a committee member broke the voting rules.
    ///
    /// Must not block. `encoded` is what `FaultProof::decode` reads: the evidence for everyone else.
    fn fault(&mut self, fault: Fault, encoded: Vec<u8>);
}
