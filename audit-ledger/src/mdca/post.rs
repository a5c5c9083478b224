//! A link as two queues, so that the rest of the node needs to know nothing of the network.

use super::wire::{WireReceiver, WireSender};
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{Receiver, Sender};
use commonware_runtime::Spawner;
use dmdl_types::id::NodeId;
use tokio::sync::mpsc;

/// Messages that may wait in either direction; beyond that, senders wait and the network drops.
const QUEUE: usize = 1024;

/// Both directions of a link.
#[derive(Debug)]
pub struct Post {
    /// Messages to send, and to whom.
    pub outgoing: mpsc::Sender<(Vec<NodeId>, Vec<u8>)>,
    /// Messages that came, and from whom.
    pub incoming: mpsc::Receiver<(NodeId, Vec<u8>)>,
}

impl Post {
    /// Carries messages between a link and two queues until either end is closed.
    pub fn carry<E, S, R>(runtime: &E, (mut sender, mut receiver): (WireSender<S>, WireReceiver<R>)) -> Self
    where
        E: Spawner,
        S: Sender<PublicKey = PublicKey>,
        R: Receiver<PublicKey = PublicKey>,
    {
        let (outgoing, mut to_send) = mpsc::channel::<(Vec<NodeId>, Vec<u8>)>(QUEUE);
        let (received, incoming) = mpsc::channel(QUEUE);
        runtime.child("post_out").spawn(|_| async move {
            while let Some((nodes, message)) = to_send.recv().await {
                sender.send(&nodes, message);
            }
        });
        runtime.child("post_in").spawn(|_| async move {
            while let Some(letter) = receiver.recv().await {
                if received.send(letter).await.is_err() {
                    break;
                }
            }
        });
        Self { outgoing, incoming }
    }
}
