//! The node's one authenticated and encrypted network, for all of its channels.
//!
//! Nodes know each other by key and are dialled at addresses from the configuration. Every setting
//! that matters on a hospital's network is written out here: peers in private address ranges are
//! normal, several nodes may share one address behind a gateway, and a node that was restarted must
//! get its connections back within seconds.

use super::{
    engine::message_bytes_max,
    handshake::ByWallClock,
    keys::{engine_key, engine_signer},
    links::{Ends, Links},
    wire::{WireReceiver, WireSender},
};
use crate::clock::WallClock;
use commonware_cryptography::{ChaCha20Poly1305, ed25519::PublicKey};
use commonware_p2p::{
    Address, AddressableManager as _, AddressableTrackedPeers, Ingress,
    authenticated::lookup::{self, Oracle},
};
use commonware_runtime::{Clock, Handle, Metrics, Network as NetworkOf, Quota, Resolver, Spawner};
use commonware_stream::{
    cups::{self, Cups},
    sake::{self, Sake},
};
use commonware_utils::{Hostname, NZU32, NZUsize, ordered::Map};
use dmdl_types::{
    id::{NetworkId, NodeId},
    label,
    sign::SigningKey,
};
use rand_core::CryptoRng;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

/// The largest message on the links that are not the engine's.
pub const WIRE_BYTES_MAX: usize = dmdl_types::limits::BLOCK_BYTES;

/// Clocks of two nodes may differ by this much, or they cannot connect.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(10);

/// Peer lists that stay connected: the latest, which names all who are to stay. Each further one would take the memory
/// of [`NetworkConfig::members_max`] once more.
const PEER_LISTS_KEPT: NonZeroUsize = NZUsize!(1);

/// Where a node is that is not dialled. Nobody looks at it: see `bypass_ip_check`.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The links of the network, and how many messages a second each peer may send on one.
#[derive(Clone, Copy)]
enum Link {
    Votes = 0,
    Certificates = 1,
    Resolver = 2,
    Blocks = 3,
    Backfill = 4,
    Gossip = 5,
    Requests = 6,
    Hosts = 7,
}

impl Link {
    const fn per_second(self) -> NonZeroU32 {
        match self {
            Self::Votes | Self::Gossip => NZU32!(1024),
            Self::Certificates | Self::Requests => NZU32!(512),
            Self::Resolver | Self::Blocks | Self::Backfill => NZU32!(128),
            Self::Hosts => NZU32!(64),
        }
    }
}

/// A node and where it is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// What the network needs to know.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Which network: nodes of another one are not answered.
    pub network: NetworkId,
    /// Where this node listens.
    pub listen: SocketAddr,
    /// The most nodes that may be connected at the same time, this one included.
    ///
    /// Memory is taken for all of them when the network starts: each link has a place for as many messages as a peer
    /// may send in a second, on the way in and again on the way out. That is about 2 MB a node, and 1 GB for the most
    /// that a channel may have.
    pub members_max: NonZeroUsize,
    /// How long a node that broke the protocol stays disconnected, from all channels: about one
    /// epoch, so that it can come back.
    pub block_duration: Duration,
}

/// Why a peer cannot be dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The key is not a point of the curve: the node is not let in either.
    #[error("node `{0}` has no valid key")]
    Key(NodeId),
    /// The host is neither an address nor a host name: the node is let in when it dials.
    #[error("`{host}`, where node `{node}` should be, is neither an address nor a host name")]
    Host {
        /// The node.
        node: NodeId,
        /// What should be its host.
        host: String,
    },
    /// There are more nodes than may be connected: the node is not let in either.
    #[error("no more than {max} nodes can be connected here, and node `{node}` is one too many")]
    Room {
        /// The node.
        node: NodeId,
        /// How many, this one included.
        max: NonZeroUsize,
    },
}

/// What a message is sent to other nodes with.
pub type NetworkSender<E> = lookup::Sender<PublicKey, E>;
type Receiver = lookup::Receiver<PublicKey>;

/// A running network and its ends.
pub struct Network<E: Clock> {
    /// For [`Seats`](super::Seats): what the engines talk over.
    pub links: Links<NetworkSender<E>, Receiver>,
    /// For [`Seats`](super::Seats): transactions and endorsements on their way to the others.
    pub gossip: Ends<NetworkSender<E>, Receiver>,
    /// For [`Seats`](super::Seats): requests of one node to another, and their answers.
    pub requests: Ends<NetworkSender<E>, Receiver>,
    /// What is of no channel: the charters of channels that a node is to join.
    pub hosts: (WireSender<NetworkSender<E>>, WireReceiver<Receiver>),
    /// Who is connected.
    pub peers: Peers,
    /// Ends when the network does.
    pub task: Handle<()>,
}

impl<E: Clock> std::fmt::Debug for Network<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

impl<E> Network<E>
where
    E: Clock + CryptoRng + Metrics + NetworkOf + Resolver + Spawner,
{
    /// Starts listening; nobody is connected before [`Peers::set`].
    ///
    /// The runtime's clock must only go forward: all deadlines and limits are kept by it. `wall` is for handshakes.
    pub fn start(runtime: &E, wall: WallClock, key: &SigningKey, config: &NetworkConfig) -> Self {
        let namespace = [label::CONNECTION.as_bytes(), config.network.as_bytes()].concat();
        let handshake = Sake {
            signer: engine_signer(key),
            synchrony_bound: CLOCK_DIFFERENCE_MAX,
            max_handshake_age: CLOCK_DIFFERENCE_MAX,
            version: sake::Version::V1,
        };
        let handshake = Cups::<_, ChaCha20Poly1305>::new(ByWallClock { handshake, wall }, cups::Version::V1);
        let (mut network, oracle) = lookup::Network::new(
            runtime.child("network"),
            lookup::Config {
                handshake,
                namespace,
                listen: config.listen,
                allow_private_ips: true,
                allow_dns: true,
                // The key decides who a peer is. Its address as seen from here may be a gateway's.
                bypass_ip_check: true,
                max_message_size: message_bytes_max(),
                max_peers_per_set: config.members_max,
                mailbox_size: NZUsize!(1024),
                send_batch_size: NZUsize!(8),
                handshake_timeout: Duration::from_secs(5),
                dial_timeout: Duration::from_secs(10),
                peer_connection_cooldown: Duration::from_secs(1),
                max_concurrent_handshakes: NZU32!(256),
                allowed_handshake_rate_per_ip: Quota::per_second(NZU32!(64)),
                allowed_handshake_rate_per_subnet: Quota::per_second(NZU32!(256)),
                ping_frequency: Duration::from_secs(5),
                dial_frequency: Duration::from_millis(500),
                tracked_peer_sets: PEER_LISTS_KEPT,
                block_duration: config.block_duration,
            },
        );
        // All links are made before the network starts; later ones would be refused.
        let mut register = |link: Link| network.register(link as u64, Quota::per_second(link.per_second()));
        let links = Links {
            votes: register(Link::Votes),
            certificates: register(Link::Certificates),
            resolver: register(Link::Resolver),
            blocks: register(Link::Blocks),
            backfill: register(Link::Backfill),
        };
        let (gossip, requests) = (register(Link::Gossip), register(Link::Requests));
        let (sender, receiver) = register(Link::Hosts);
        let hosts = (WireSender::new(sender), WireReceiver::new(receiver));
        Self { links, gossip, requests, hosts, peers: Peers { oracle, max: config.members_max }, task: network.start() }
    }
}

/// Who may connect to this node, over all of its channels; clones share one list.
#[derive(Clone, Debug)]
pub struct Peers {
    oracle: Oracle<PublicKey>,
    max: NonZeroUsize,
}

impl Peers {
    /// Replaces the list of peers: some are dialled, others awaited, and whoever is neither is cut off.
    ///
    /// `index` grows with each list; the first nodes of a list that is too long stay. Gives back what cannot be done
    /// for one peer, which keeps none of the others from it.
    #[must_use]
    pub fn set(&mut self, index: u64, dialled: &[Peer], awaited: &[NodeId]) -> Vec<PeerError> {
        let (mut primary, mut secondary, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let dialled = dialled.iter().map(|peer| (peer.node, Some(peer)));
        for (node, peer) in dialled.chain(awaited.iter().map(|node| (*node, None))) {
            let Some(key) = engine_key(&node.key()) else {
                failed.push(PeerError::Key(node));
                continue;
            };
            // With this node.
            if primary.len() + secondary.len() + 1 >= self.max.get() {
                failed.push(PeerError::Room { node, max: self.max });
                continue;
            }
            match peer.map(address).transpose() {
                Ok(Some(address)) => primary.push((key, address)),
                Ok(None) => secondary.push((key, NOWHERE.into())),
                Err(error) => {
                    failed.push(error);
                    secondary.push((key, NOWHERE.into()));
                }
            }
        }
        let lists = AddressableTrackedPeers::new(Map::from_iter_dedup(primary), Map::from_iter_dedup(secondary));
        // The network is gone only when the node is.
        let _ = self.oracle.track(index, lists);
        failed
    }

    /// What cuts off a node that breaks the protocol: for [`Config`](super::Config).
    #[must_use]
    pub fn blocker(&self) -> Oracle<PublicKey> {
        self.oracle.clone()
    }
}

fn address(peer: &Peer) -> Result<Address, PeerError> {
    if let Ok(ip) = peer.host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, peer.port).into());
    }
    let unfit = |_| PeerError::Host { node: peer.node, host: peer.host.clone() };
    let host = Hostname::new(&peer.host).map_err(unfit)?;
    Ok(Address::Asymmetric {
        ingress: Ingress::Dns { host, port: peer.port },
        // Not looked at: see `bypass_ip_check`.
        egress: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), peer.port),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use commonware_macros::select;
    use commonware_runtime::{Runner as _, Supervisor as _, deterministic};
    use dmdl_types::secret::Secret32;
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    };

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(Secret32::new([seed; 32]))
    }

    fn peer(seed: u8, host: &str) -> Peer {
        Peer { node: NodeId::of_key(key(seed).public()), host: host.to_owned(), port: 7000 }
    }

    /// Starts a node that listens on 127.0.0.1 and knows nodes 1 and 2; its clock is so many seconds ahead.
    fn start(
        runtime: &deterministic::Context,
        seed: u8,
        network: u8,
        ahead_s: &Arc<AtomicU64>,
    ) -> Network<deterministic::Context> {
        let (right, ahead_s) = (runtime.child("clock"), Arc::clone(ahead_s));
        let wall = WallClock::new(move || right.current() + Duration::from_secs(ahead_s.load(Relaxed)));
        let at = |seed: u8| Peer { port: 7000 + u16::from(seed), ..peer(seed, "127.0.0.1") };
        let config = NetworkConfig {
            network: NetworkId::new([network; 32]),
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), at(seed).port),
            members_max: NZUsize!(4),
            block_duration: Duration::from_secs(60),
        };
        let mut node = Network::start(&runtime.child("node").with_attribute("seed", seed), wall, &key(seed), &config);
        assert_eq!(node.peers.set(0, &[at(1), at(2)], &[]), []);
        node
    }

    fn id(seed: u8) -> NodeId {
        peer(seed, "").node
    }

    /// Sends from node 1 to node 2 until something arrives, for a simulated minute at most.
    async fn deliver(
        runtime: &deterministic::Context,
        one: &mut Network<deterministic::Context>,
        two: &mut Network<deterministic::Context>,
    ) -> Option<(NodeId, Vec<u8>)> {
        for _ in 0..60 {
            one.hosts.0.send(&[id(2)], b"hello".to_vec());
            select! {
                message = two.hosts.1.recv() => return message,
                () = runtime.sleep(Duration::from_secs(1)) => {},
            }
        }
        None
    }

    fn hello() -> Option<(NodeId, Vec<u8>)> {
        Some((id(1), b"hello".to_vec()))
    }

    fn meet(other_network: u8) -> Option<(NodeId, Vec<u8>)> {
        deterministic::Runner::timed(Duration::from_secs(120)).start(|runtime| async move {
            let right = Arc::default();
            let mut one = start(&runtime, 1, 1, &right);
            let mut two = start(&runtime, 2, other_network, &right);
            deliver(&runtime, &mut one, &mut two).await
        })
    }

    #[test]
    fn nodes_of_one_network_hear_each_other() {
        assert_eq!(meet(1), hello());
    }

    #[test]
    fn a_node_of_another_network_is_not_answered() {
        assert_eq!(meet(2), None);
    }

    #[test]
    fn a_node_whose_clock_is_an_hour_ahead_is_heard_once_that_is_set_right() {
        deterministic::Runner::timed(Duration::from_secs(240)).start(|runtime| async move {
            let ahead_s = Arc::new(AtomicU64::new(3600));
            let mut one = start(&runtime, 1, 1, &ahead_s);
            let mut two = start(&runtime, 2, 1, &Arc::default());
            assert_eq!(deliver(&runtime, &mut one, &mut two).await, None);
            ahead_s.store(0, Relaxed);
            assert_eq!(deliver(&runtime, &mut one, &mut two).await, hello());
            // Who is connected stays so.
            ahead_s.store(3600, Relaxed);
            assert_eq!(deliver(&runtime, &mut one, &mut two).await, hello());
        });
    }

    #[test]
    fn a_peer_is_dialled_by_address_or_by_name() {
        let four = address(&peer(1, "10.1.2.3")).unwrap();
        assert_eq!(four, Address::Symmetric("10.1.2.3:7000".parse().unwrap()));
        assert_eq!(address(&peer(1, "::1")).unwrap(), Address::Symmetric("[::1]:7000".parse().unwrap()));
        assert!(matches!(address(&peer(1, "node1.hospital.example")), Ok(Address::Asymmetric { .. })));
        let unfit = PeerError::Host { node: id(1), host: "no host".to_owned() };
        assert_eq!(address(&peer(1, "no host")), Err(unfit));
    }

    #[test]
    fn who_cannot_be_dialled_is_let_in_and_keeps_nobody_else_out() {
        deterministic::Runner::timed(Duration::from_secs(120)).start(|runtime| async move {
            let right = Arc::default();
            let mut one = start(&runtime, 1, 1, &right);
            let mut two = start(&runtime, 2, 1, &right);
            let unfit = PeerError::Host { node: id(1), host: "no host".to_owned() };
            assert_eq!(two.peers.set(1, &[peer(3, "127.0.0.1"), peer(1, "no host")], &[]), [unfit]);
            assert_eq!(deliver(&runtime, &mut one, &mut two).await, hello());
        });
    }

    #[test]
    fn who_is_listed_no_more_is_cut_off_and_who_is_listed_again_comes_back() {
        deterministic::Runner::timed(Duration::from_secs(240)).start(|runtime| async move {
            let right = Arc::default();
            let mut one = start(&runtime, 1, 1, &right);
            let mut two = start(&runtime, 2, 1, &right);
            assert_eq!(deliver(&runtime, &mut one, &mut two).await, hello());
            assert_eq!(two.peers.set(1, &[], &[]), []);
            // What came before does not count.
            loop {
                select! {
                    _ = two.hosts.1.recv() => {},
                    () = runtime.sleep(Duration::from_secs(1)) => break,
                }
            }
            assert_eq!(deliver(&runtime, &mut one, &mut two).await, None);
            assert_eq!(two.peers.set(2, &[], &[id(1)]), []);
            assert_eq!(deliver(&runtime, &mut one, &mut two).await, hello());
        });
    }

    #[test]
    fn a_list_that_is_too_long_ends_nothing() {
        deterministic::Runner::timed(Duration::from_secs(120)).start(|runtime| async move {
            let mut one = start(&runtime, 1, 1, &Arc::default());
            let full = |node| PeerError::Room { node, max: NZUsize!(4) };
            let awaited: Vec<NodeId> = (2..=6).map(id).collect();
            assert_eq!(one.peers.set(1, &[], &awaited), [full(id(5)), full(id(6))]);
        });
    }
}
