//! The channels that one ledger channel's engine talks over, and how ledger channels share a network.

use super::{
    keys::engine_signer,
    members::{Members, Silence},
    post::Post,
    wire::{WireReceiver, WireSender},
};
use commonware_cryptography::{Signer as _, ed25519::PublicKey};
use commonware_p2p::{
    Receiver, Sender,
    utils::mux::{self, MuxHandle, Muxer, SubReceiver, SubSender},
};
use commonware_runtime::{Clock, Spawner};
use dmdl_types::{id::ChannelId, sign::SigningKey};

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

/// Both ends of a link of the network.
pub type Ends<S, R> = (S, R);

/// The links of one ledger channel's engine.
pub type SeatLinks<S> = Links<SubSender<S>, SubReceiver<PublicKey>>;

/// What one ledger channel talks over: on none of it is anybody but a member heard or addressed. Who the members are
/// says the channel's engine, which takes them with the links; before it starts, there are none.
pub struct Seat<S: Sender> {
    /// For the engine.
    pub links: SeatLinks<S>,
    /// For the engine.
    pub members: Members,
    /// Transactions and cosignatures on their way to the others.
    pub gossip: Post,
    /// Questions and answers.
    pub requests: Post,
}

impl<S: Sender> std::fmt::Debug for Seat<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Seat").field(&self.members).finish()
    }
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

/// Lets any number of ledger channels share one set of network channels.
pub struct Seats<S: Sender> {
    me: PublicKey,
    silence: Silence,
    votes: MuxHandle<S>,
    certificates: MuxHandle<S>,
    resolver: MuxHandle<S>,
    blocks: MuxHandle<S>,
    backfill: MuxHandle<S>,
    gossip: MuxHandle<S>,
    requests: MuxHandle<S>,
}

impl<S: Sender> std::fmt::Debug for Seats<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seats")
    }
}

impl<S: Sender<PublicKey = PublicKey>> Seats<S> {
    /// Divides the channels of the network of the node with this key; runs until `runtime` stops.
    pub fn new<E: Spawner, R: Receiver<PublicKey = PublicKey>>(
        runtime: &E,
        key: &SigningKey,
        links: Links<S, R>,
        gossip: Ends<S, R>,
        requests: Ends<S, R>,
    ) -> Self {
        let divide = |label, (sender, receiver)| {
            let (muxer, handle) = Muxer::new(runtime.child(label), sender, receiver);
            muxer.start();
            handle
        };
        Self {
            me: engine_signer(key).public_key(),
            silence: Silence::default(),
            votes: divide("votes_seats", links.votes),
            certificates: divide("certificates_seats", links.certificates),
            resolver: divide("resolver_seats", links.resolver),
            blocks: divide("blocks_seats", links.blocks),
            backfill: divide("backfill_seats", links.backfill),
            gossip: divide("gossip_seats", gossip),
            requests: divide("requests_seats", requests),
        }
    }

    /// Whether the engines of all of these channels are silent.
    #[must_use]
    pub fn silence(&self) -> Silence {
        self.silence.clone()
    }

    /// The seat of one ledger channel; its messages are carried by tasks of `runtime`.
    ///
    /// # Errors
    /// [`SeatError`] when it was handed out before, or the network is down.
    pub async fn seat<E: Spawner + Clock>(&mut self, runtime: &E, channel: ChannelId) -> Result<Seat<S>, SeatError> {
        let number = number_of(channel);
        let refused = |error| match error {
            mux::Error::AlreadyRegistered(_) => SeatError::Taken(channel),
            _ => SeatError::Closed,
        };
        let links = Links {
            votes: self.votes.register(number).await.map_err(refused)?,
            certificates: self.certificates.register(number).await.map_err(refused)?,
            resolver: self.resolver.register(number).await.map_err(refused)?,
            blocks: self.blocks.register(number).await.map_err(refused)?,
            backfill: self.backfill.register(number).await.map_err(refused)?,
        };
        let members = Members::new(self.me.clone(), self.silence.clone());
        let carry = |label, ends| {
            let (sender, receiver) = members.fence(ends);
            Post::carry(&runtime.child(label), (WireSender::new(sender), WireReceiver::new(receiver)))
        };
        let gossip = carry("gossip", self.gossip.register(number).await.map_err(refused)?);
        let requests = carry("requests", self.requests.register(number).await.map_err(refused)?);
        Ok(Seat { links, members, gossip, requests })
    }
}

/// A channel id is a hash, so eight bytes of it tell the channels of one network apart; a collision
/// would refuse the second channel its seat, and mixes nothing up: votes are bound to the whole id.
const fn number_of(channel: ChannelId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *channel.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
