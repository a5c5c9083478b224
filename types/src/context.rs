//! What keys and shares are bound to.
//!
//! Two contexts, and the difference matters. The **data context** holds only what can never change,
//! so that a policy change, a transfer or a reshare cannot lock a record. The **share context** adds
//! what a reshare does change, so that a share of another record, epoch, custodian or dealing does
//! not open.
//!
//! # Source
//! docs/spec/share.md

use crate::{
    codec, hash,
    id::{ChannelId, DealingId, NetworkId, NodeId, RecordId, RecordVersion, ShareEpoch, ShareIndex, TransactionId},
    label,
    sign::PublicKey,
};
use borsh::{BorshDeserialize, BorshSerialize};

/// What a data key and a payload are bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct DataContext {
    /// The network.
    pub network: NetworkId,
    /// The channel.
    pub channel: ChannelId,
    /// The record.
    pub record: RecordId,
    /// Which version of it.
    pub version: RecordVersion,
}

impl RecordId {
    /// The id of the record that `owner` registers with these commitments, known before sealing.
    ///
    /// # Security
    /// The owner's key is inside: a copy of someone's public bytes, registered under another key, is
    /// another record, and no share of the original opens for it.
    #[must_use]
    pub fn derive(network: NetworkId, channel: ChannelId, owner: PublicKey, commitments: &[[u8; 32]]) -> Self {
        let commitments = commitments.concat();
        Self::new(hash::labelled(
            label::RECORD_ID,
            &[network.as_bytes(), channel.as_bytes(), owner.as_bytes(), &commitments],
        ))
    }
}

impl DealingId {
    /// The id of the dealing with these commitments.
    #[must_use]
    pub fn derive(data: &DataContext, epoch: ShareEpoch, commitments: &[[u8; 32]]) -> Self {
        let commitments = commitments.concat();
        Self::new(hash::labelled(label::DEALING, &[&codec::encode(data), &epoch.get().to_le_bytes(), &commitments]))
    }
}

/// What one share is bound to, wherever it is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct ShareContext {
    /// The record version whose key is shared.
    pub data: DataContext,
    /// The generation of its shares.
    pub epoch: ShareEpoch,
    /// Who holds this share.
    pub custodian: NodeId,
    /// The share's x-coordinate.
    pub index: ShareIndex,
    /// How many shares open the record.
    pub k: u8,
    /// How many shares there are.
    pub n: u8,
    /// The dealing that the share comes from.
    pub dealing: DealingId,
}

/// What a share is bound to on its way to a requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct ReleaseContext {
    /// The share.
    pub share: ShareContext,
    /// The final, allowed decryption.
    pub transaction: TransactionId,
    /// Who asked for it.
    pub requester: PublicKey,
    /// The requester's one-time X25519 key for this custodian.
    pub opening_key: [u8; 32],
}
