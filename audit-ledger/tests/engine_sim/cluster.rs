//! Four nodes on a simulated network, each of which can crash and come back.

use super::toy::{EPOCH_BLOCKS, Toy, ToyLedger, genesis, key};
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::ed25519::PublicKey;
use commonware_macros::select;
use commonware_p2p::simulated::{self, Link, Network, Oracle};
use commonware_runtime::{Clock as _, Handle, Quota, Spawner as _, Supervisor as _, deterministic};
use commonware_utils::{NZU32, NZU64, NZUsize, channel::oneshot, probability};
use dmdl_audit_ledger::mdca::{Chain, Config, Engine, EngineBlock, Links, Seat, Seats, Timing, message_bytes_max};
use dmdl_types::{block::Block, id::NodeId};
use std::{sync::Arc, time::Duration};

pub(crate) const NODES: usize = 4;

const LINK: Link =
    Link { latency: Duration::from_millis(10), jitter: Duration::from_millis(3), success_rate: probability!(1.0) };

pub(crate) struct Cluster {
    runtime: deterministic::Context,
    oracle: Oracle<PublicKey, deterministic::Context>,
    toys: Vec<Toy>,
    nodes: Vec<Option<Node>>,
}

struct Node {
    chain: Chain,
    stop: oneshot::Sender<()>,
    task: Handle<()>,
}

pub(crate) struct Running<'a>(&'a Chain);

impl Running<'_> {
    pub(crate) fn chain(&self) -> &Chain {
        self.0
    }
}

fn peer(node: usize) -> PublicKey {
    PublicKey::decode(Copying(key(node).public().as_bytes())).unwrap()
}

impl Cluster {
    /// A network without nodes.
    pub(crate) async fn prepare(runtime: &deterministic::Context) -> Self {
        let peers: Vec<_> = (0..NODES).map(peer).collect();
        let (network, oracle) = Network::new_with_peers(
            runtime.child("network"),
            simulated::Config {
                max_size: message_bytes_max(),
                max_peers_per_set: NZUsize!(NODES),
                disconnect_on_block: true,
                tracked_peer_sets: NZUsize!(1),
            },
            peers.clone(),
        )
        .await;
        network.start();
        for from in &peers {
            for to in peers.iter().filter(|to| *to != from) {
                oracle.add_link(from.clone(), to.clone(), LINK).await.unwrap();
            }
        }
        let toys = (0..NODES).map(|_| Toy::default()).collect();
        Self { runtime: runtime.child("cluster"), oracle, toys, nodes: (0..NODES).map(|_| None).collect() }
    }

    /// All nodes, running.
    pub(crate) async fn start(runtime: &deterministic::Context) -> Self {
        let mut cluster = Self::prepare(runtime).await;
        for node in 0..NODES {
            cluster.restart(node).await;
        }
        cluster
    }

    /// Starts a node on whatever it left behind.
    pub(crate) async fn restart(&mut self, node: usize) {
        let control = self.oracle.control(peer(node));
        let quota = Quota::per_second(NZU32!(1024));
        let mut links = Vec::new();
        for channel in 0..7 {
            links.push(control.register(channel, quota).await.unwrap());
        }
        let [votes, certificates, resolver, blocks, backfill, gossip, requests] = links.try_into().ok().unwrap();
        let links = Links { votes, certificates, resolver, blocks, backfill };
        let toy = self.toys[node].clone();
        let (started, chain) = oneshot::channel();
        let (stop, stopping) = oneshot::channel();
        // One task is the whole node, so that aborting it is a crash.
        let task = self.runtime.child("node").with_attribute("index", node).spawn(move |runtime| async move {
            let domain = genesis().domain();
            let mut seats = Seats::new(&runtime, &key(node), links, gossip, requests);
            let Seat { links, members, .. } = seats.seat(&runtime, domain.channel).await.unwrap();
            let config = Config {
                domain,
                epoch_length: NZU64!(EPOCH_BLOCKS),
                genesis: EngineBlock::new(Block::genesis(&genesis().founding())).unwrap(),
                partition_prefix: format!("node-{node}-"),
                timing: Timing::default(),
                ledger: ToyLedger { toy, runtime: Arc::new(runtime.child("ledger")) },
                blocker: control,
            };
            let mut engine = Engine::start(runtime.child("engine"), &key(node), config, links, members).await.unwrap();
            let _ = started.send(engine.chain().clone());
            select! {
                halt = engine.stopped() => panic!("{halt}"),
                _ = stopping => engine.abort().await,
            }
        });
        self.nodes[node] = Some(Node { chain: chain.await.unwrap(), stop, task });
    }

    /// Stops a node's engine and lets the node end by itself.
    pub(crate) async fn stop(&mut self, node: usize) {
        let Node { stop, task, .. } = self.nodes[node].take().unwrap();
        stop.send(()).unwrap();
        task.await.unwrap();
    }

    /// Ends a node between two of its steps.
    pub(crate) async fn crash(&mut self, node: usize) {
        let Node { task, .. } = self.nodes[node].take().unwrap();
        task.abort();
        let _ = task.await;
        // The aborted tasks let go of their files when they are next polled.
        self.runtime.sleep(Duration::from_millis(10)).await;
    }

    pub(crate) fn toy(&self, node: usize) -> &Toy {
        &self.toys[node]
    }

    pub(crate) fn node(&self, node: usize) -> NodeId {
        NodeId::of_key(key(node).public())
    }

    pub(crate) fn engine(&self, node: usize) -> Running<'_> {
        Running(&self.nodes[node].as_ref().unwrap().chain)
    }

    pub(crate) async fn all_reach(&mut self, height: u64) {
        self.reach(&[0, 1, 2, 3], height).await;
    }

    /// Waits until these nodes have executed `height`.
    pub(crate) async fn reach(&mut self, nodes: &[usize], height: u64) {
        while nodes.iter().any(|node| self.toys[*node].height() < height) {
            self.runtime.sleep(Duration::from_millis(100)).await;
        }
    }
}
