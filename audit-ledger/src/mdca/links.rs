//! The channels that one ledger channel's engine talks over, and how ledger channels share a network.

use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{
    Receiver, Sender,
    utils::mux::{self, MuxHandle, Muxer, SubReceiver, SubSender},
};
use commonware_runtime::Spawner;
use dmdl_types::id::ChannelId;

/// One end of each channel that the engine needs.
#[derive(Debug)]
pub struct Links<S, R> {
    /// Single votes.
    pub votes: (S, R),
    /// Certificates, as soon as someone has one.
    pub certificates: (S, R),
    /// Requests for the certificates of views that a node missed.
    pub resolver: (S, R),
    /// New blocks, from their proposer.
    pub blocks: (S, R),
    /// Requests for final blocks that a node missed.
    pub backfill: (S, R),
}

/// Why a ledger channel got no seat.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeatError {
    /// It has one already.
    #[error("channel `{0}` has its seat already")]
    Taken(ChannelId),
    /// The network was shut down.
    #[error("the network is closed")]
    Closed,
}

/// Lets any number of ledger channels share one set of network channels; clones share the same.
pub struct Seats<S: Sender> {
    votes: MuxHandle<S>,
    certificates: MuxHandle<S>,
    resolver: MuxHandle<S>,
    blocks: MuxHandle<S>,
    backfill: MuxHandle<S>,
}

impl<S: Sender> std::fmt::Debug for Seats<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seats")
    }
}

impl<S: Sender<PublicKey = PublicKey>> Seats<S> {
    /// Divides a network's channels; runs until `runtime` stops.
    pub fn new<E: Spawner, R: Receiver<PublicKey = PublicKey>>(runtime: &E, links: Links<S, R>) -> Self {
        let divide = |label, (sender, receiver)| {
            let (muxer, handle) = Muxer::new(runtime.child(label), sender, receiver);
            muxer.start();
            handle
        };
        Self {
            votes: divide("votes_seats", links.votes),
            certificates: divide("certificates_seats", links.certificates),
            resolver: divide("resolver_seats", links.resolver),
            blocks: divide("blocks_seats", links.blocks),
            backfill: divide("backfill_seats", links.backfill),
        }
    }

    /// The links of one ledger channel.
    ///
    /// # Errors
    /// [`SeatError`] when they were handed out before, or the network is down.
    pub async fn seat(&mut self, channel: ChannelId) -> Result<Links<SubSender<S>, SubReceiver<PublicKey>>, SeatError> {
        let number = number_of(channel);
        let refused = |error| match error {
            mux::Error::AlreadyRegistered(_) => SeatError::Taken(channel),
            _ => SeatError::Closed,
        };
        Ok(Links {
            votes: self.votes.register(number).await.map_err(refused)?,
            certificates: self.certificates.register(number).await.map_err(refused)?,
            resolver: self.resolver.register(number).await.map_err(refused)?,
            blocks: self.blocks.register(number).await.map_err(refused)?,
            backfill: self.backfill.register(number).await.map_err(refused)?,
        })
    }
}

/// A channel id is a hash, so eight bytes of it tell the channels of one network apart; a collision
/// would refuse the second channel its seat, and mixes nothing up: votes are bound to the whole id.
const fn number_of(channel: ChannelId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *channel.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
