//! Plain messages between nodes, for what is not consensus: transactions, endorsements, requests.
//!
//! A message may be lost, and is never delivered to or from anyone but the node it names.

use super::keys::{engine_key, ledger_key};
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{Receiver, Recipients, Sender};
use dmdl_types::id::NodeId;

/// Sends to nodes; clones share one link.
#[derive(Clone, Debug)]
pub struct WireSender<S> {
    inner: S,
}

impl<S: Sender<PublicKey = PublicKey>> WireSender<S> {
    /// Sends over one end of a link.
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }

    /// Sends a message to those of `nodes` that are connected, and returns who will be sent it.
    ///
    /// # Panics
    /// When the message is larger than the network carries.
    pub fn send(&mut self, nodes: &[NodeId], message: Vec<u8>) -> Vec<NodeId> {
        let keys = nodes.iter().filter_map(|node| engine_key(&node.key())).collect();
        let sent = self.inner.send(Recipients::Some(keys), message, false);
        sent.iter().map(|key| NodeId::of_key(ledger_key(key))).collect()
    }
}

/// Receives from nodes.
#[derive(Debug)]
pub struct WireReceiver<R> {
    inner: R,
}

impl<R: Receiver<PublicKey = PublicKey>> WireReceiver<R> {
    /// Receives from one end of a link.
    pub const fn new(inner: R) -> Self {
        Self { inner }
    }

    /// The next message and its authenticated sender; none once the network is closed.
    pub async fn recv(&mut self) -> Option<(NodeId, Vec<u8>)> {
        let (from, message) = self.inner.recv().await.ok()?;
        Some((NodeId::of_key(ledger_key(&from)), message.as_ref().to_vec()))
    }
}
