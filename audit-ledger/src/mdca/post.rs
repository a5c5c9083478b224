//! A link as two queues, so that the rest of the node needs to know nothing of the network.
//!
//! What a busy node says within a moment travels as one packet: encrypting, sending and receiving costs as much for a
//! message as for hundreds of them. Who has been silent is heard at once.
//!
//! # Encoding
//! A packet is `Vec<Vec<u8>>` in the ledger's canonical encoding: one message each, at least one and at most
//! [`MESSAGES_MAX`].

use super::wire::{WireReceiver, WireSender};
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{Receiver, Sender};
use commonware_runtime::{Clock, Spawner};
use dmdl_types::{codec, id::NodeId};
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages that may wait on their way out; beyond that, senders wait.
const QUEUE: usize = 1024;
/// Packets that may wait to be read; beyond that, the network drops.
const PACKETS: usize = 64;
/// After a packet was sent, how long messages gather for the next one.
const GATHERING: Duration = Duration::from_millis(5);
/// Bytes of messages beyond which a packet takes no further one.
const PACKET_BYTES: usize = 256 * 1024;
/// Messages of a packet. Quotas of the network count packets, so this is a part of what a peer may ask for.
const MESSAGES_MAX: usize = 1024;
/// The longest packet that is read: one message may be as long as any, and each has its length before it.
const PACKET_BYTES_MAX: usize = super::WIRE_BYTES_MAX;

/// Both directions of a link.
#[derive(Debug)]
pub struct Post {
    /// Messages to send, and to whom.
    pub outgoing: mpsc::Sender<(Vec<NodeId>, Vec<u8>)>,
    /// Messages that came together, and from whom.
    pub incoming: mpsc::Receiver<(NodeId, Vec<Vec<u8>>)>,
}

impl Post {
    /// Carries messages between a link and two queues until either end is closed.
    pub fn carry<E, S, R>(runtime: &E, (mut sender, mut receiver): (WireSender<S>, WireReceiver<R>)) -> Self
    where
        E: Spawner + Clock,
        S: Sender<PublicKey = PublicKey>,
        R: Receiver<PublicKey = PublicKey>,
    {
        let (outgoing, mut to_send) = mpsc::channel::<(Vec<NodeId>, Vec<u8>)>(QUEUE);
        let (received, incoming) = mpsc::channel(PACKETS);
        runtime.child("post_out").spawn(|clock| async move {
            while let Some(first) = to_send.recv().await {
                let mut packets = Packets::default();
                packets.add(first);
                while let Ok(next) = to_send.try_recv() {
                    packets.add(next);
                }
                for (nodes, messages) in packets.0 {
                    sender.send(&nodes, codec::encode(&messages));
                }
                clock.sleep(GATHERING).await;
            }
        });
        runtime.child("post_in").spawn(|_| async move {
            while let Some((from, packet)) = receiver.recv().await {
                let Some(messages) = opened(&packet) else {
                    tracing::debug!(%from, "a packet of messages was not taken");
                    continue;
                };
                if received.send((from, messages)).await.is_err() {
                    break;
                }
            }
        });
        Self { outgoing, incoming }
    }
}

/// The messages of a packet. How many there are is looked at before there is room made for them.
fn opened(packet: &[u8]) -> Option<Vec<Vec<u8>>> {
    let count = usize::try_from(u32::from_le_bytes(*packet.first_chunk()?)).ok()?;
    if !(1..=MESSAGES_MAX).contains(&count) {
        return None;
    }
    codec::decode(packet, PACKET_BYTES_MAX).ok()
}

/// Messages on their way out, those for the same nodes together and in their order.
#[derive(Debug, Default)]
struct Packets(Vec<(Vec<NodeId>, Vec<Vec<u8>>)>);

impl Packets {
    fn add(&mut self, (nodes, message): (Vec<NodeId>, Vec<u8>)) {
        let len = |messages: &[Vec<u8>]| messages.iter().map(Vec::len).sum::<usize>();
        // The last one for these nodes: what was full before stays so.
        let open = self.0.iter_mut().rev().find(|(to, _)| *to == nodes);
        match open {
            Some((_, messages)) if messages.len() < MESSAGES_MAX && len(messages) + message.len() <= PACKET_BYTES => {
                messages.push(message);
            }
            _ => self.0.push((nodes, vec![message])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(seed: u8) -> NodeId {
        NodeId::new([seed; 32])
    }

    #[test]
    fn messages_for_the_same_nodes_travel_together_and_in_their_order() {
        let mut packets = Packets::default();
        let (all, one) = (vec![node(1), node(2)], vec![node(1)]);
        for (to, message) in [(&all, 1), (&one, 2), (&all, 3), (&one, 4)] {
            packets.add((to.clone(), vec![message]));
        }
        assert_eq!(packets.0, [(all, vec![vec![1], vec![3]]), (one, vec![vec![2], vec![4]])]);
    }

    #[test]
    fn a_packet_has_a_message_and_no_more_of_them_than_is_read() {
        let packet = |count: usize| codec::encode(&vec![vec![7_u8]; count]);
        let read = [0, 1, MESSAGES_MAX, MESSAGES_MAX + 1, 200_000].map(|count| opened(&packet(count)).map(|m| m.len()));
        assert_eq!(read, [None, Some(1), Some(MESSAGES_MAX), None, None]);
        assert_eq!(opened(&[1, 0, 0]), None);
        let mut packets = Packets::default();
        (0..=MESSAGES_MAX).for_each(|_| packets.add((vec![node(1)], vec![7])));
        let counts: Vec<usize> = packets.0.iter().map(|(_, messages)| messages.len()).collect();
        assert_eq!(counts, [MESSAGES_MAX, 1]);
    }

    #[test]
    fn a_packet_grows_no_longer_than_its_limit_and_a_long_message_goes_alone() {
        let mut packets = Packets::default();
        for len in [PACKET_BYTES - 1, 1, 1, PACKET_BYTES + 7] {
            packets.add((vec![node(1)], vec![0; len]));
        }
        let lens: Vec<Vec<usize>> = packets.0.iter().map(|(_, m)| m.iter().map(Vec::len).collect()).collect();
        assert_eq!(lens, [vec![PACKET_BYTES - 1, 1], vec![1], vec![PACKET_BYTES + 7]]);
    }
}
