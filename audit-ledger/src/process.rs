//! A channel's engine and connections on the runtime, network and database of a real node.
//!
//! [`mdca`](crate::mdca) is generic, so that it also runs in a simulator. Here it meets the types of a
//! real process, once: whoever builds on this crate does not compile the engine again.

mod disk;
mod marks;
mod steady;

pub use disk::Disk;
pub use steady::Steady;

use crate::{
    channel::Channel,
    clock::WallClock,
    fault::FaultSink,
    mdca::{
        self, Engine, EngineBlock, Members, Network, NetworkConfig, NetworkSender as Sender, Peers, Post, Seat,
        SeatLinks, Seats, Silence, StartError, Timing,
    },
    steps,
    store::RocksStore,
};
use commonware_runtime::Supervisor as _;
use dmdl_types::{
    block::Block,
    genesis::Founding,
    id::{ChannelId, Epoch},
    sign::SigningKey,
};
use std::num::NonZeroU64;

/// What the names of the engines' partitions begin with, before the channel's id.
const PARTITIONS: &str = "dmdl";

/// What the names of a channel's files in the engine's folder begin with: where there are none, it has never voted.
#[must_use]
pub fn partitions_of(channel: ChannelId) -> String {
    format!("{PARTITIONS}{channel}")
}

/// The id of the channel whose a partition of the engine is, as text.
#[must_use]
pub fn channel_of(partition: &str) -> Option<&str> {
    partition.strip_prefix(PARTITIONS)?.split('-').next()
}

/// The epoch whose votes are in a partition of the engine; none of one without votes.
#[must_use]
pub fn epoch_of(partition: &str) -> Option<Epoch> {
    mdca::epoch_of_votes(partition).map(|(_, epoch)| Epoch::new(epoch))
}

/// Whether a partition of the engine can be had from others again: all but votes, and what a node heard that follows.
#[must_use]
pub fn is_archive(partition: &str) -> bool {
    mdca::is_archive(partition)
}

/// Whether a partition of the engine has blocks in it that are let go in time; none of one without blocks.
#[must_use]
pub fn lets_blocks_go(partition: &str) -> Option<bool> {
    mdca::lets_blocks_go(partition)
}

/// Why a process has no running channel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The genesis block cannot be made.
    #[error("the genesis block cannot be made: {0}")]
    Genesis(#[from] mdca::BlockError),
    /// The channel has no place on the network.
    #[error(transparent)]
    Seat(#[from] mdca::SeatError),
    /// The engine did not start.
    #[error(transparent)]
    Engine(#[from] StartError),
}

/// What the channels of a node talk over.
pub struct Wires {
    seats: Seats<Sender<Steady>>,
    peers: Peers,
}

impl std::fmt::Debug for Wires {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wires")
    }
}

/// A node's connections to the others.
#[derive(Debug)]
pub struct Connections {
    /// What is of no channel.
    pub hosts: Post,
    /// Who may connect: nobody, before somebody is listed.
    pub peers: Peers,
    /// What its channels share.
    pub wires: Wires,
}

/// What one channel of a node talks over.
#[derive(Debug)]
pub struct Place {
    /// Transactions and cosignatures on their way to all members.
    pub gossip: Post,
    /// Questions and answers.
    pub requests: Post,
    /// For [`start`].
    pub wires: EngineWires,
}

/// What the engine of one channel talks over.
pub struct EngineWires {
    links: SeatLinks<Sender<Steady>>,
    members: Members,
    peers: Peers,
}

impl EngineWires {
    /// Who is sent to and listened to; nobody, before the engine starts or somebody says who.
    #[must_use]
    pub const fn members(&self) -> &Members {
        &self.members
    }
}

impl std::fmt::Debug for EngineWires {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EngineWires").field(&self.members).finish()
    }
}

/// Listens for the other nodes; `wall` is this node's clock.
#[must_use]
pub fn connect(context: &Steady, wall: WallClock, key: &SigningKey, config: &NetworkConfig) -> Connections {
    let Network { links, gossip, requests, hosts, peers, task: _ } = Network::start(context, wall, key, config);
    let seats = Seats::new(context, key, links, gossip, requests);
    Connections { hosts: Post::carry(context, hosts), peers: peers.clone(), wires: Wires { seats, peers } }
}

impl Wires {
    /// Whether the engines of all channels are silent.
    #[must_use]
    pub fn silence(&self) -> Silence {
        self.seats.silence()
    }

    /// Divides off what one channel talks over.
    ///
    /// # Errors
    /// [`ProcessError::Seat`] when that was done before.
    pub async fn seat(&mut self, context: &Steady, channel: ChannelId) -> Result<Place, ProcessError> {
        let Seat { links, members, gossip, requests } = self.seats.seat(context, channel).await?;
        Ok(Place { gossip, requests, wires: EngineWires { links, members, peers: self.peers.clone() } })
    }
}

/// Starts the engine of a channel; returns once it has executed what its archive holds. `context` is the channel's
/// own, and `faults` is told when something in the archive is damaged.
///
/// # Errors
/// [`ProcessError`].
///
/// # Panics
/// As [`Engine::start`].
pub async fn start(
    context: &Steady,
    key: &SigningKey,
    founding: &Founding,
    channel: Channel<Steady, RocksStore>,
    wires: EngineWires,
    faults: FaultSink,
) -> Result<Engine, ProcessError> {
    let EngineWires { links, members, peers } = wires;
    let ledger = channel.clone();
    let ends = move || {
        let steps = (1..=ledger.current_epoch().get()).map(|epoch| steps::read(ledger.store(), Epoch::new(epoch)));
        // What cannot be read is told where that is met.
        steps.filter_map(|step| Some(step.ok()??.announced)).collect()
    };
    let config = mdca::Config {
        domain: founding.domain,
        epoch_length: NonZeroU64::new(founding.channel.epoch_blocks).unwrap_or(NonZeroU64::MIN),
        genesis: EngineBlock::new(Block::genesis(founding))?,
        partition_prefix: String::from(PARTITIONS),
        timing: Timing::default(),
        ledger: channel,
        blocker: peers.blocker(),
        faults,
    };
    Ok(Engine::start(context.child("engine"), key, config, links, members, ends).await?)
}
