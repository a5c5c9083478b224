//! One orderer that runs, and the simulated network of four.

use super::toy::{EPOCH_BLOCKS, Toy, ToyLedger, genesis, key};
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::ed25519::PublicKey;
use commonware_macros::select;
use commonware_p2p::{
    Sender,
    simulated::{self, Control, Link, Network, Oracle, Receiver},
};
use commonware_runtime::{Handle, Quota, Spawner as _, Supervisor as _, deterministic};
use commonware_utils::{NZU32, NZU64, NZUsize, channel::oneshot, probability};
use dmdl_audit_ledger::{
    fault::FaultSink,
    mdca::{Chain, Config, Engine, EngineBlock, Links, Seat, Seats, Silence, Timing, message_bytes_max},
};
use dmdl_types::block::Block;
use std::{sync::Arc, time::Duration};

pub(crate) const NODES: usize = 4;

/// The links of a node: what the engine talks over, then gossip and questions.
pub(crate) const VOTES: u64 = 0;
pub(crate) const CERTIFICATES: u64 = 1;
pub(crate) const BLOCKS: u64 = 3;
pub(crate) const LINKS: u64 = 7;

/// What a message takes from one node to another.
pub(crate) const LATENCY: Duration = Duration::from_millis(10);
const LINK: Link = Link { latency: LATENCY, jitter: Duration::from_millis(3), success_rate: probability!(1.0) };

pub(crate) fn peer(node: usize) -> PublicKey {
    PublicKey::decode(Copying(key(node).public().as_bytes())).unwrap()
}

pub(crate) const fn quota() -> Quota {
    Quota::per_second(NZU32!(1024))
}

/// A network on which everybody reaches everybody.
pub(crate) async fn connect(runtime: &deterministic::Context) -> Oracle<PublicKey, deterministic::Context> {
    let peers: Vec<_> = (0..NODES).map(peer).collect();
    let config = simulated::Config {
        max_size: message_bytes_max(),
        max_peers_per_set: NZUsize!(NODES),
        disconnect_on_block: true,
        tracked_peer_sets: NZUsize!(1),
    };
    let (network, oracle) = Network::new_with_peers(runtime.child("network"), config, peers.clone()).await;
    network.start();
    for from in &peers {
        for to in peers.iter().filter(|to| *to != from) {
            oracle.add_link(from.clone(), to.clone(), LINK).await.unwrap();
        }
    }
    oracle
}

/// What a node keeps.
pub(crate) struct Ground {
    /// What the names of the engine's partitions begin with.
    pub(crate) partitions: String,
    pub(crate) toy: Toy,
}

pub(crate) struct Node {
    pub(crate) chain: Chain,
    pub(crate) silence: Silence,
    stop: oneshot::Sender<()>,
    task: Handle<()>,
}

impl Node {
    /// Starts a node on whatever it left behind, with its ends of the links in their order.
    pub(crate) async fn start<S: Sender<PublicKey = PublicKey>>(
        runtime: deterministic::Context,
        position: usize,
        ground: Ground,
        links: Vec<(S, Receiver<PublicKey>)>,
        blocker: Control<PublicKey, deterministic::Context>,
    ) -> Self {
        let [votes, certificates, resolver, blocks, backfill, gossip, requests] = links.try_into().ok().unwrap();
        let links = Links { votes, certificates, resolver, blocks, backfill };
        let Ground { partitions, toy } = ground;
        let (started, chain) = oneshot::channel();
        let (stop, stopping) = oneshot::channel();
        // One task is the whole node, so that aborting it is a crash.
        let task = runtime.spawn(move |runtime| async move {
            let (domain, key) = (genesis().domain(), key(position));
            let mut seats = Seats::new(&runtime, &key, links, gossip, requests);
            let Seat { links, members, .. } = seats.seat(&runtime, domain.channel).await.unwrap();
            let config = Config {
                domain,
                epoch_length: NZU64!(EPOCH_BLOCKS),
                genesis: EngineBlock::new(Block::genesis(&genesis().founding())).unwrap(),
                partition_prefix: partitions,
                timing: Timing::default(),
                ledger: ToyLedger { toy, runtime: Arc::new(runtime.child("ledger")) },
                blocker,
                faults: FaultSink::nobody(),
            };
            let mut engine =
                Engine::start(runtime.child("engine"), &key, config, links, members, Vec::new).await.unwrap();
            let _ = started.send((engine.chain().clone(), seats.silence()));
            select! {
                halt = engine.stopped() => panic!("{halt}"),
                _ = stopping => engine.abort().await,
            }
        });
        let (chain, silence) = chain.await.unwrap();
        Self { chain, silence, stop, task }
    }

    /// Stops the engine and lets the node end by itself.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }

    /// Ends it between two of its steps.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
