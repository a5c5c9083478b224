//! Blocks and their headers.
//!
//! The header alone is hashed, and it holds a digest of the body, the consensus context it was
//! proposed in, the configuration digests of its own epoch and the next, and the newest cosigned
//! checkpoint: so finality of a header covers the outcomes of the blocks before it.
//!
//! # Source
//! docs/spec/block.md

use crate::{
    checkpoint::CosignedCheckpoint,
    codec::{self, DecodeError},
    genesis::Founding,
    hash,
    id::{BlockDigest, ConfigDigest, Epoch, Height, NodeId, UnixMillis, View},
    label, limits,
    sign::Domain,
    transaction::{EndorsedTransaction, SystemTransaction},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// What a block says of itself; its digest is the block's.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Header {
    /// The network and channel.
    pub domain: Domain,
    /// Position in the chain.
    pub height: Height,
    /// The epoch it was proposed in.
    pub epoch: Epoch,
    /// The view it was proposed in.
    pub view: View,
    /// Who proposed it.
    pub primary: NodeId,
    /// The view of its parent.
    pub parent_view: View,
    /// Its parent.
    pub parent: BlockDigest,
    /// Whose votes on the parent the primary has seen, as a bitmap over the committee: its word, which counts
    /// as one voice of its organisation. Empty after the first block of an epoch's parent.
    pub parent_signers: Vec<u8>,
    /// Block time: later than the parent's.
    pub time: UnixMillis,
    /// The configuration of its epoch.
    pub config: ConfigDigest,
    /// The configuration of the next epoch.
    pub next_config: ConfigDigest,
    /// Digest of the body.
    pub body: [u8; 32],
    /// The newest checkpoint that enough committers cosigned, where it is news.
    pub checkpoint: Option<CosignedCheckpoint>,
}

impl Header {
    /// Whether the primary says that it saw the vote of the committee's member at a position.
    #[must_use]
    pub fn has_signer(&self, position: usize) -> bool {
        self.parent_signers.get(position / 8).is_some_and(|byte| byte >> (position % 8) & 1 == 1)
    }

    /// The block's digest.
    #[must_use]
    pub fn digest(&self) -> BlockDigest {
        BlockDigest::new(hash::labelled(label::BLOCK_HASH, &[&codec::encode(self)]))
    }
}

/// What a block orders.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Body {
    /// People's transactions.
    pub transactions: Vec<EndorsedTransaction>,
    /// Nodes' transactions, executed after them.
    pub system: Vec<SystemTransaction>,
}

impl Body {
    /// The digest that the header holds.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        hash::labelled(label::BODY_HASH, &[&codec::encode(self)])
    }
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Block {
    /// What it says of itself.
    pub header: Header,
    /// What it orders.
    pub body: Body,
}

/// Why bytes are not a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// Not a canonical encoding.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The header names another body.
    #[error("the body is not the one that the header names")]
    Body,
}

impl Block {
    /// The first block of a channel: height 0, no parent, nothing ordered.
    #[must_use]
    pub fn genesis(founding: &Founding) -> Self {
        let body = Body::default();
        let header = Header {
            domain: founding.domain,
            height: Height::new(0),
            epoch: Epoch::new(0),
            view: View::new(0),
            primary: NodeId::new([0; 32]),
            parent_view: View::new(0),
            parent: BlockDigest::new([0; 32]),
            parent_signers: Vec::new(),
            time: founding.time,
            config: founding.epoch_config(Epoch::new(0)).digest(),
            next_config: founding.epoch_config(Epoch::new(1)).digest(),
            body: body.digest(),
            checkpoint: None,
        };
        Self { header, body }
    }

    /// The block's digest.
    #[must_use]
    pub fn digest(&self) -> BlockDigest {
        self.header.digest()
    }

    /// Decodes a block and checks that header and body belong together.
    ///
    /// # Errors
    /// [`BlockError`] when they don't, or the bytes are no canonical block.
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let block: Self = codec::decode(bytes, limits::BLOCK_BYTES)?;
        if block.body.digest() != block.header.body {
            return Err(BlockError::Body);
        }
        Ok(block)
    }
}
