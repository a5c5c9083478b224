//! Four nodes on a simulated network, each of which can crash and come back.

use super::{
    node::{Ground, LINKS, NODES, Node, connect, peer, quota},
    toy::{Toy, genesis, key},
};
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::simulated::Oracle;
use commonware_runtime::{Clock as _, Storage as _, Supervisor as _, deterministic};
use dmdl_audit_ledger::mdca::Chain;
use dmdl_types::id::NodeId;
use std::time::Duration;

pub(crate) struct Cluster {
    runtime: deterministic::Context,
    oracle: Oracle<PublicKey, deterministic::Context>,
    toys: Vec<Toy>,
    nodes: Vec<Option<Node>>,
}

pub(crate) struct Running<'a>(&'a Chain);

impl Running<'_> {
    pub(crate) fn chain(&self) -> &Chain {
        self.0
    }
}

impl Cluster {
    /// A network without nodes.
    pub(crate) async fn prepare(runtime: &deterministic::Context) -> Self {
        let oracle = connect(runtime).await;
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
        let mut links = Vec::new();
        for link in 0..LINKS {
            links.push(control.register(link, quota()).await.unwrap());
        }
        let runtime = self.runtime.child("node").with_attribute("index", node);
        let ground = Ground { partitions: format!("node-{node}-"), toy: self.toys[node].clone() };
        self.nodes[node] = Some(Node::start(runtime, node, ground, links, control).await);
    }

    /// Has a node neither say nor hear anything, or do so again.
    pub(crate) fn silence(&self, node: usize, silent: bool) {
        self.nodes[node].as_ref().unwrap().silence.set(silent);
    }

    /// Removes all that a node that is down has of blocks and certificates, but for its votes.
    pub(crate) async fn lose_archive(&self, node: usize) {
        let prefix = format!("node-{node}-{}", genesis().domain().channel);
        let mut names = vec!["marshal-application-metadata".to_owned(), "marshal-cache-metadata".to_owned()];
        for part in ["metadata", "table", "keys", "values", "ordinal"] {
            names.extend(["blocks", "certificates"].map(|what| format!("{what}-{part}")));
        }
        for epoch in 0..20 {
            for what in ["certified", "finalizations", "notarizations", "notarized", "verified"] {
                let cache = |part| format!("marshal-cache-cache-{epoch}-{what}-{part}");
                names.extend(["metadata", "key", "value"].map(cache));
            }
        }
        let mut removed = 0;
        for name in names {
            removed += usize::from(self.runtime.remove(&format!("{prefix}-{name}"), None).await.is_ok());
        }
        assert!(removed > 10, "the archive is where it is looked for: {removed}");
    }

    /// Stops a node's engine and lets the node end by itself.
    pub(crate) async fn stop(&mut self, node: usize) {
        self.nodes[node].take().unwrap().stop().await;
    }

    /// Ends a node between two of its steps.
    pub(crate) async fn crash(&mut self, node: usize) {
        self.nodes[node].take().unwrap().crash().await;
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
