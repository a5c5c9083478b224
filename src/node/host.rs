//! A process of a node: the one network, and a [`Node`](super::Node) for each channel that it is a member of.
//!
//! The first channel is the genesis document's, and every node of the network is on it. A further one is founded by a
//! [charter](dmdl_types::charter), which a host is handed by its own people or by another member, keeps, and acts on
//! at once. Nobody but the members is told of it: those whom it names, and those whom the channel has let in since.
//!
//! What survives a crash: every channel whose [`Host::found`] returned `Ok`. What a caller may repeat: every call.
//!
//! # Source
//! docs/spec/charter.md

mod aside;
mod backup;
mod charters;
mod ground;
mod handle;
mod invitations;
mod neighbours;
mod repair;
mod running;
mod voted;

pub use backup::{BackUpError, Contained, Extent, RestoreError, Restored, back_up, check_backup, restore, trail};
pub use handle::Handle;

use super::{SharedNode, Space, StartError, lock};
use dmdl_audit_ledger::{process::Steady, store::RocksStore};
use dmdl_types::{
    charter::{CharterError, SignedCharter},
    genesis::Genesis,
    id::{ChannelId, ChannelName},
    lineage::LineageError,
};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};
use tokio::sync::{mpsc, oneshot};

/// Channels of one process, the first one included: each takes memory and threads' time of all.
const CHANNELS_MAX: usize = 32;

/// One channel of a host.
pub type HostedNode = SharedNode<Steady, RocksStore>;

/// Why a channel was not founded here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoundError {
    /// The charter founds nothing.
    #[error(transparent)]
    Charter(#[from] CharterError),
    /// The charter is of others.
    #[error(
        "the charter does not name this node: hand it to a node that it names, which tells those whom the channel lets in \
         later"
    )]
    NotMember,
    /// Whoever hands the charter on is not named by it.
    #[error("the charter came from somebody whom it does not name")]
    Stranger,
    /// The channel has not let this node in: what should show it does not.
    #[error(transparent)]
    Lineage(#[from] LineageError),
    /// Names are how people tell channels apart.
    #[error("another channel of this node is called `{0}`: choose another name")]
    NameTaken(ChannelName),
    /// The process has no room for another one.
    #[error("this node has {} channels already, as many as it can", CHANNELS_MAX)]
    TooMany,
    /// The channel wants a policy engine that this program does not have.
    #[error("the channel decides with policy engine {wanted}; this program has {has}")]
    PolicyEngine {
        /// The channel's.
        wanted: u16,
        /// This program's.
        has: u16,
    },
    /// The charter cannot be kept.
    #[error("the charter cannot be kept: {0}")]
    Keep(#[from] io::Error),
    /// The channel did not start; the charter is kept, and the next start of the node tries again.
    #[error("the channel did not start: {0}")]
    Start(#[from] StartError),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closed,
}

/// The channels of one process.
pub struct Host {
    genesis: Genesis,
    first: HostedNode,
    chartered: Mutex<BTreeMap<ChannelName, Chartered>>,
    orders: mpsc::Sender<Order>,
    space: Space,
}

/// A channel that a charter founded.
struct Chartered {
    charter: Arc<SignedCharter>,
    node: HostedNode,
}

impl Chartered {
    fn id(&self) -> ChannelId {
        self.node.channel().domain().channel
    }
}

/// Whoever handed a charter in.
type Asker = oneshot::Sender<Result<ChannelId, FoundError>>;

/// A charter that somebody at this node hands in.
struct Order {
    charter: SignedCharter,
    answer: Asker,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Host({:?})", self.first)
    }
}

impl Host {
    /// The network's genesis.
    #[must_use]
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The node on the network's first channel.
    #[must_use]
    pub const fn first(&self) -> &HostedNode {
        &self.first
    }

    /// The room on the disk that all channels share.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }

    /// The node on the channel with this name or id, if this process is on it.
    #[must_use]
    pub fn node(&self, channel: &str) -> Option<HostedNode> {
        self.nodes().into_iter().find(|node| {
            let founding = node.channel().founding();
            founding.channel.name.as_str() == channel || founding.domain.channel.to_string() == channel
        })
    }

    /// The nodes on all channels, the first one first.
    #[must_use]
    pub fn nodes(&self) -> Vec<HostedNode> {
        let chartered = lock(&self.chartered);
        let others = chartered.values().map(|chartered| &chartered.node);
        std::iter::once(&self.first).chain(others).map(Arc::clone).collect()
    }

    /// The charter of a channel, if one founded it.
    #[must_use]
    pub fn charter(&self, channel: ChannelId) -> Option<Arc<SignedCharter>> {
        self.chartered(channel).map(|(charter, _)| charter)
    }

    /// Founds a channel here, and tells its other members of it.
    ///
    /// # Errors
    /// [`FoundError`].
    pub async fn found(&self, charter: SignedCharter) -> Result<ChannelId, FoundError> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order { charter, answer }).await.map_err(|_| FoundError::Closed)?;
        answered.await.map_err(|_| FoundError::Closed)?
    }

    /// The channels that charters founded.
    fn charters(&self) -> Vec<(ChannelId, Arc<SignedCharter>)> {
        lock(&self.chartered).values().map(|chartered| (chartered.id(), Arc::clone(&chartered.charter))).collect()
    }

    /// Looks whether a store has failed at what it does by itself.
    fn look_for_faults(&self) {
        self.nodes().iter().for_each(|node| node.channel().store().look_for_faults());
    }

    fn chartered(&self, channel: ChannelId) -> Option<(Arc<SignedCharter>, HostedNode)> {
        let chartered = lock(&self.chartered);
        let one = chartered.values().find(|chartered| chartered.id() == channel)?;
        Some((Arc::clone(&one.charter), Arc::clone(&one.node)))
    }

    fn add(&self, charter: SignedCharter, node: HostedNode) {
        let name = charter.charter.channel.name.clone();
        lock(&self.chartered).insert(name, Chartered { charter: Arc::new(charter), node });
    }

    /// Checks what is not the charter's own: whether this process can take the channel. `Ok(false)` says that it is
    /// on it already.
    fn has_room_for(&self, charter: &SignedCharter) -> Result<bool, FoundError> {
        let channel = &charter.charter.channel;
        let chartered = lock(&self.chartered);
        match chartered.get(&channel.name) {
            Some(known) if known.charter.charter == charter.charter => return Ok(false),
            Some(_) => return Err(FoundError::NameTaken(channel.name.clone())),
            None => {}
        }
        if chartered.len() + 1 >= CHANNELS_MAX {
            return Err(FoundError::TooMany);
        }
        let (wanted, has) = (channel.policy_engine, dmdl_policies::POLICY_ENGINE);
        if wanted == has { Ok(true) } else { Err(FoundError::PolicyEngine { wanted, has }) }
    }
}
