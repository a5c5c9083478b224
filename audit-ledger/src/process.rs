//! A channel's engine and connections on the runtime, network and database of a real node.
//!
//! [`mdca`](crate::mdca) is generic, so that it also runs in a simulator. Here it meets the types of a
//! real process, once: whoever builds on this crate does not compile the engine again.

mod steady;

pub use steady::Steady;

use crate::{
    channel::Channel,
    clock::WallClock,
    mdca::{
        self, Engine, EngineBlock, Network, NetworkConfig, NetworkSender as Sender, Peer, PeerError, Peers, Post,
        Seats, StartError, Timing,
    },
    store::RocksStore,
};
use commonware_runtime::Supervisor as _;
use dmdl_types::{block::Block, genesis::Genesis, sign::SigningKey};
use std::num::NonZeroU64;

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

/// What an engine talks over, before it has a channel.
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
    /// Transactions and cosignatures on their way to all.
    pub gossip: Post,
    /// Questions and answers.
    pub requests: Post,
    /// For [`start`].
    pub wires: Wires,
}

/// Listens for the other nodes and dials them; `wall` is this node's clock.
///
/// # Errors
/// [`PeerError`] names the peer that cannot be dialled.
pub fn connect(
    context: &Steady,
    wall: WallClock,
    key: &SigningKey,
    config: &NetworkConfig,
    orderers: &[Peer],
    followers: &[Peer],
) -> Result<Connections, PeerError> {
    let Network { links, gossip, requests, mut peers, task: _ } = Network::start(context, wall, key, config);
    peers.set(0, orderers, followers)?;
    Ok(Connections {
        gossip: Post::carry(context, gossip),
        requests: Post::carry(context, requests),
        wires: Wires { seats: Seats::new(context, links), peers },
    })
}

/// Starts the engine of a channel; returns once it has executed what its archive holds.
///
/// # Errors
/// [`ProcessError`].
///
/// # Panics
/// As [`Engine::start`].
pub async fn start(
    context: &Steady,
    key: &SigningKey,
    genesis: &Genesis,
    channel: Channel<Steady, RocksStore>,
    mut wires: Wires,
) -> Result<Engine, ProcessError> {
    let links = wires.seats.seat(genesis.channel_id()).await?;
    let config = mdca::Config {
        domain: genesis.domain(),
        epoch_length: NonZeroU64::new(genesis.channel.epoch_blocks).unwrap_or(NonZeroU64::MIN),
        genesis: EngineBlock::new(Block::genesis(genesis))?,
        partition_prefix: String::from("dmdl"),
        timing: Timing::default(),
        ledger: channel,
        blocker: wires.peers.blocker(),
    };
    Ok(Engine::start(context.child("engine"), key, config, links).await?)
}
