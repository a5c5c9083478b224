//! Custody, as data: dealings, and what a custodian's own ledger tells it.
//!
//! These nouns are the only bridge between the ledger and the custodian: the executor of a node
//! fills them from its own state, and the custodian of the same node reads them. Nobody else's
//! word enters.
//!
//! # Source
//! docs/spec/share.md; docs/spec/custodian.md

use crate::{
    context::{DataContext, ShareContext},
    hash,
    id::{
        ChannelId, DealingId, GrantId, Height, NetworkId, NodeId, RecordId, RecordVersion, ShareEpoch, ShareIndex,
        ShareSetId, TransactionId, UnixMillis, UseNumber,
    },
    label,
    sign::{Domain, Meaning, PublicKey, Signature, SigningKey},
};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::Serialize;

/// A sealed share as bytes, at most 1 KiB: `suite u8 ‖ enc[32] ‖ ciphertext`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SealedBytes(pub Vec<u8>);

/// A one-time key that a custodian signed, for one share of one dealer to travel under.
///
/// # Security
/// The dealer is under the signature: nobody else can register the key first, and so make the
/// custodian reveal its secret in a complaint while an honest share is on its way under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DealingKey {
    /// Whose key.
    pub custodian: NodeId,
    /// X25519 public key.
    pub key: [u8; 32],
    /// The custodian's signature on it.
    pub signature: Signature,
}

impl DealingKey {
    const MEANING: Meaning = Meaning::v1(label::DEALING_KEY);

    /// Signs a one-time key for a dealer as this custodian.
    #[must_use]
    pub fn sign(signer: &SigningKey, domain: &Domain, dealer: PublicKey, key: [u8; 32]) -> Self {
        let signature = signer.sign(domain, Self::MEANING, &Self::body(dealer, &key));
        Self { custodian: NodeId::of_key(signer.public()), key, signature }
    }

    /// Whether the custodian signed the key for this dealer on this channel.
    #[must_use]
    pub fn verify(&self, domain: &Domain, dealer: PublicKey) -> bool {
        self.custodian.key().verify(domain, Self::MEANING, &Self::body(dealer, &self.key), &self.signature)
    }

    fn body(dealer: PublicKey, key: &[u8; 32]) -> Vec<u8> {
        [*key, *dealer.as_bytes()].concat()
    }
}

/// What a dealer says of one custodian's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DealtShare {
    /// The custodian and the key that its share travels under.
    pub key: DealingKey,
    /// Digest of the sealed share.
    pub digest: [u8; 32],
}

/// The public part of a dealing: share `i` belongs to the custodian at position `i - 1`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Dealing {
    /// How the shares are sealed; 1 is DHKEM(X25519) with ChaCha20-Poly1305.
    pub suite: u8,
    /// The generation of shares: 0 at registration.
    pub epoch: ShareEpoch,
    /// Pedersen commitments to the coefficients; their number is the threshold k.
    pub commitments: Vec<[u8; 32]>,
    /// One entry a custodian, in the order of their indices; their number is n.
    pub shares: Vec<DealtShare>,
    /// How many acknowledgements make the record active.
    pub min_acks: u8,
}

/// Names the shares of one epoch of a record version: which dealing they come from, and who keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize)]
pub struct ShareSet {
    /// The generation of shares.
    pub epoch: ShareEpoch,
    /// Digest of all that others have to know of them.
    pub id: ShareSetId,
}

impl ShareSet {
    /// The shares of a dealing, kept by these custodians in the order of their indices.
    #[must_use]
    pub fn of(dealing: DealingId, epoch: ShareEpoch, min_acks: u8, custodians: impl Iterator<Item = NodeId>) -> Self {
        let custodians: Vec<u8> = custodians.flat_map(|custodian| *custodian.as_bytes()).collect();
        let id = ShareSetId::new(hash::labelled(label::SHARE_SET, &[dealing.as_bytes(), &[min_acks], &custodians]));
        Self { epoch, id }
    }
}

/// The dealing whose key custodians hand on.
#[derive(Clone, Copy, Debug)]
pub struct Reshared<'a> {
    /// The record version.
    pub data: DataContext,
    /// Its current share epoch.
    pub epoch: ShareEpoch,
    /// The commitments of that epoch.
    pub commitments: &'a [[u8; 32]],
    /// How many shares there are.
    pub shares: u8,
}

/// A custodian's task after a registration was executed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Assignment {
    /// What the share is bound to.
    pub share: ShareContext,
    /// The commitments that it must match.
    pub commitments: Vec<[u8; 32]>,
    /// The one-time dealing key that it travels under.
    pub dealing_key: [u8; 32],
    /// The digest of its sealed form.
    pub sealed_digest: [u8; 32],
    /// Where it was ordered.
    pub height: Height,
}

/// A reshare that is under way, as this node's own ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReshareTask {
    /// The call that began it.
    pub transaction: TransactionId,
    /// The record version.
    pub data: DataContext,
    /// The share epoch that ends with it.
    pub epoch: ShareEpoch,
    /// The commitments of that epoch.
    pub commitments: Vec<[u8; 32]>,
    /// The next custodians, in the order of their indices.
    pub custodians: Vec<NodeId>,
    /// How many of their shares open the version.
    pub threshold: u8,
    /// How many of their acknowledgements begin the next epoch.
    pub min_acks: u8,
    /// The custodians of the epoch that ends, in the order of their indices.
    pub holders: Vec<NodeId>,
    /// Who has dealt a part, whatever became of it.
    pub dealers: Vec<NodeId>,
    /// The parts against which nothing is known, in the ledger's order.
    pub parts: Vec<TaskPart>,
    /// Who has acknowledged what the chosen parts add up to.
    pub acks: Vec<NodeId>,
    /// The dealing that they add up to; none while there are too few parts.
    pub merged: Option<DealingId>,
}

/// The index of the share of one of the custodians, who stand in the order of their indices.
#[must_use]
pub fn index_of(custodians: &[NodeId], custodian: NodeId) -> Option<ShareIndex> {
    let position = custodians.iter().position(|known| *known == custodian)?;
    Some(ShareIndex::new(u8::try_from(position + 1).ok()?))
}

/// A part against which nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPart {
    /// Whose it is.
    pub dealer: NodeId,
    /// The index of the share that it deals.
    pub from: ShareIndex,
    /// Its commitments.
    pub commitments: Vec<[u8; 32]>,
    /// Whether it is one of those that are added up.
    pub is_chosen: bool,
    /// Which of the next custodians get nothing of it, for want of a key.
    pub keyless: Vec<NodeId>,
    /// Who has said that its share does not come, and has had no answer.
    pub missing: Vec<NodeId>,
}

impl ReshareTask {
    /// The dealing whose key is handed on.
    #[must_use]
    pub fn reshared(&self) -> Reshared<'_> {
        let shares = u8::try_from(self.holders.len()).unwrap_or(u8::MAX);
        Reshared { data: self.data, epoch: self.epoch, commitments: &self.commitments, shares }
    }

    /// Those parts that are added up.
    pub fn chosen(&self) -> impl Iterator<Item = &TaskPart> {
        self.parts.iter().filter(|part| part.is_chosen)
    }

    /// The index that one of the next custodians will have.
    #[must_use]
    pub fn next_index_of(&self, custodian: NodeId) -> Option<ShareIndex> {
        index_of(&self.custodians, custodian)
    }
}

impl DealtShare {
    /// What stands in a part for a next custodian that gave no key: it gets no share of that part.
    #[must_use]
    pub const fn none_for(custodian: NodeId) -> Self {
        Self { key: DealingKey { custodian, key: [0; 32], signature: Signature::new([0; 64]) }, digest: [0; 32] }
    }

    /// Whether its custodian gets no share.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::none_for(self.key.custodian)
    }
}

/// What a final block means for the custodian of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustodyEvent {
    /// A dealing names this node.
    Assigned(Box<Assignment>),
    /// A grant ended: stored releases under it must go.
    GrantRevoked(GrantId),
    /// A record was erased: its shares and releases must go.
    RecordErased(RecordId),
    /// A share epoch ended: its shares and releases must go.
    EpochEnded(RecordId, RecordVersion, ShareEpoch),
    /// A share epoch began with the shares of this dealing: of that epoch, all others must go.
    EpochBegan(RecordId, RecordVersion, ShareEpoch, DealingId),
    /// Something changed in the reshare of a version that a transaction began: any other one is over.
    Resharing(RecordId, RecordVersion, TransactionId),
}

/// A grant as the release rule sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantView {
    /// The grant.
    pub grant: GrantId,
    /// How many uses it has.
    pub uses_max: u32,
    /// Until when it lasts.
    pub ends: UnixMillis,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// A decryption that this node executed with outcome ALLOW.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedDecryption {
    /// The transaction.
    pub transaction: TransactionId,
    /// The block time it was executed at.
    pub time: UnixMillis,
    /// Who asked.
    pub requester: PublicKey,
    /// The grant; none for an owner opening their own record.
    pub grant: Option<GrantView>,
    /// Which use of the grant.
    pub use_number: UseNumber,
    /// The one-time key that it lists for this custodian.
    pub opening_key: Option<[u8; 32]>,
}

/// What the ledger says of one record version's shares now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareView {
    /// The context recomputed from the ledger for this custodian.
    pub share: ShareContext,
    /// The commitments of the current epoch.
    pub commitments: Vec<[u8; 32]>,
    /// Whether the record was erased.
    pub erased: bool,
}

/// Everything that the release rule reads, at the tip of this node's own executed chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseView {
    /// The network.
    pub network: NetworkId,
    /// The channel.
    pub channel: ChannelId,
    /// Height of the tip.
    pub tip: Height,
    /// Block time of the tip.
    pub tip_time: UnixMillis,
    /// Whether two conflicting certificates were ever seen.
    pub conflict_seen: bool,
    /// The decryption, if this node executed it and allowed it.
    pub decryption: Option<AllowedDecryption>,
    /// The record version's shares, if this node is one of its custodians.
    pub share: Option<ShareView>,
    /// Whether the requester's key is active.
    pub key_active: bool,
    /// Whether the requester is suspended.
    pub suspended: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_named_by_their_dealing_by_who_keeps_them_and_by_how_many_must_say_so() {
        let nodes = |bytes: &[u8]| bytes.iter().map(|byte| NodeId::new([*byte; 32])).collect::<Vec<_>>();
        let name = |dealing: u8, min_acks, custodians: Vec<NodeId>| {
            ShareSet::of(DealingId::new([dealing; 32]), ShareEpoch::new(1), min_acks, custodians.into_iter())
        };
        let set = name(1, 3, nodes(&[1, 2, 3]));
        assert_eq!(set, name(1, 3, nodes(&[1, 2, 3])));
        assert_eq!(set.epoch, ShareEpoch::new(1));
        let others = [
            name(2, 3, nodes(&[1, 2, 3])),
            name(1, 2, nodes(&[1, 2, 3])),
            name(1, 3, nodes(&[1, 3, 2])),
            name(1, 3, nodes(&[1, 2])),
        ];
        assert!(others.iter().all(|other| other.id != set.id));
    }
}
