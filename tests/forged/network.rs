//! A real network of short epochs, with the keys of its nodes for whoever forges with them.

use crate::common::{
    PATIENCE, Person,
    start::{self, ORGS, person},
};
use dmdl::{
    keyfile,
    local::{Identity, LocalNetwork, Shape},
    node::SharedNode,
};
use dmdl_audit_ledger::{mdca::Chain, process::Steady, store::RocksStore};
use dmdl_types::{genesis::Role, id::NodeId, secret::Secret32, sign::SigningKey};
use std::future::Future;
use tempfile::TempDir;

/// Blocks an epoch: few, so that a short story leads through several.
pub(crate) const EPOCH_BLOCKS: u64 = 6;

/// The secrets of a node.
pub(crate) struct NodeKeys {
    pub(crate) id: NodeId,
    /// Of its votes, endorsements and batches.
    pub(crate) seed: [u8; 32],
    /// Of its cosignatures.
    pub(crate) cosigning: [u8; 32],
}

impl NodeKeys {
    pub(crate) fn signing_key(&self) -> SigningKey {
        SigningKey::from_seed(Secret32::new(self.seed))
    }
}

/// A running network.
pub(crate) struct Network {
    pub(crate) nodes: LocalNetwork,
    pub(crate) owner: Identity,
    pub(crate) neighbour: Identity,
    pub(crate) researcher: Identity,
    /// The nodes' secrets, in the order of the committee.
    pub(crate) keys: Vec<NodeKeys>,
    runtime: tokio::runtime::Runtime,
    _dir: TempDir,
}

impl Network {
    pub(crate) fn start() -> Self {
        let owner = person(0, "owner", Role::Owner);
        let neighbour = person(1, "neighbour", Role::Owner);
        let researcher = person(2, "researcher", Role::Researcher);
        let shape = Shape { epoch_blocks: EPOCH_BLOCKS, ..Shape::default() };
        let (nodes, dir) = start::start_network(&[&owner, &neighbour, &researcher], shape);
        let secret = |org: &str, name: &str| {
            keyfile::read_secret(&dir.path().join(org).join(name)).unwrap().expose(|bytes| *bytes)
        };
        let of = |org: &str| {
            let seed = secret(org, "node.key");
            let id = NodeId::of_key(SigningKey::from_seed(Secret32::new(seed)).public());
            NodeKeys { id, seed, cosigning: secret(org, "cosigning.key") }
        };
        let mut keys: Vec<NodeKeys> = ORGS.into_iter().map(of).collect();
        keys.sort_by_key(|node| node.id);
        Self { nodes, owner, neighbour, researcher, keys, runtime: start::runtime(1), _dir: dir }
    }

    /// Somebody at the gateway of an organisation.
    pub(crate) fn at(&self, position: usize, identity: &Identity) -> Person {
        self.nodes.client(position, identity, PATIENCE).expect("the node runs")
    }

    pub(crate) fn node(&self, position: usize) -> &SharedNode<Steady, RocksStore> {
        self.nodes.node(position).expect("the node runs").node()
    }

    /// The final chain, as one node has it.
    pub(crate) fn chain(&self) -> &Chain {
        self.node(0).chain().expect("the engine is up")
    }

    pub(crate) fn run<T>(&self, story: impl Future<Output = T>) -> T {
        self.runtime.block_on(story)
    }
}
