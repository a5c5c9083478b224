//! A block as the engine sees it: canonical bytes, a digest, and the few facts consensus needs.
//!
//! The digest covers the header, and the header holds the consensus context and the digest of the
//! body, which decoding checks: whoever holds an [`EngineBlock`]
//! holds bytes of which there is only one spelling under that digest.
//!
//! # Encoding
//! `len varint ‖ block`, the block in the ledger's canonical encoding.

use super::keys::{engine_digest, engine_key, ledger_digest};
use commonware_codec::{Buf, EncodeSize, Error as CodecError, RangeCfg, Read, Write};
use commonware_consensus::{
    Block as ConsensusBlock, BoundedBlock, CertifiableBlock, Heightable,
    simplex::types::Context as SimplexContext,
    types::{Epoch, Height, Round, View},
};
use commonware_cryptography::{Digestible, ed25519, sha256::Digest};
use commonware_runtime::BufMut;
use dmdl_types::{
    block::{Block, BlockError as DecodeError, Header},
    codec,
    id::BlockDigest,
    limits::BLOCK_BYTES,
};
use std::sync::Arc;

/// The longest prefix that says how many bytes a block has.
const LEN_PREFIX_MAX: usize = 10;

/// The place that consensus gives a block: epoch, view, leader and parent.
pub(super) type Context = SimplexContext<Digest, ed25519::PublicKey>;

/// Why the engine cannot carry a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The bytes are not the canonical encoding of a block.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The block is larger than any may be.
    #[error("a block of {0} bytes exceeds the limit of {BLOCK_BYTES}")]
    TooLong(usize),
    /// The header names the digest of another body.
    #[error("the body is not the one that the header names")]
    OtherBody,
    /// The primary's key is not a point of the curve.
    #[error("the primary has no valid key")]
    NoPrimary,
}

/// A well-formed block with its bytes and its digest; cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct EngineBlock {
    block: Arc<Block>,
    primary: ed25519::PublicKey,
    digest: Digest,
    bytes: Arc<[u8]>,
}

impl EngineBlock {
    /// Encodes a block and checks that the engine can carry it.
    ///
    /// # Errors
    /// [`BlockError`] when it is too large, its header belongs to another body, or its primary has
    /// no valid key.
    pub fn new(block: Block) -> Result<Self, BlockError> {
        let bytes = codec::encode(&block);
        if bytes.len() > BLOCK_BYTES {
            return Err(BlockError::TooLong(bytes.len()));
        }
        if block.body.digest() != block.header.body {
            return Err(BlockError::OtherBody);
        }
        Self::with_bytes(block, bytes.into())
    }

    /// Reads a block from its canonical bytes.
    ///
    /// # Errors
    /// [`BlockError`] for any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        Self::with_bytes(Block::decode(bytes)?, bytes.into())
    }

    fn with_bytes(block: Block, bytes: Arc<[u8]>) -> Result<Self, BlockError> {
        let primary = engine_key(&block.header.primary.key()).ok_or(BlockError::NoPrimary)?;
        let digest = engine_digest(block.digest());
        Ok(Self { block: Arc::new(block), primary, digest, bytes })
    }

    /// The block.
    #[must_use]
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// The block's header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.block.header
    }

    /// The digest of the header, which names the block.
    #[must_use]
    pub const fn block_digest(&self) -> BlockDigest {
        ledger_digest(self.digest)
    }

    /// The block's canonical bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for EngineBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EngineBlock({} at {}, {} bytes)", self.digest, self.block.header.height, self.bytes.len())
    }
}

impl Write for EngineBlock {
    fn write(&self, buf: &mut impl BufMut) {
        self.bytes.len().write(buf);
        buf.put_slice(&self.bytes);
    }
}

impl EncodeSize for EngineBlock {
    fn encode_size(&self) -> usize {
        self.bytes.len().encode_size() + self.bytes.len()
    }
}

impl Read for EngineBlock {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        let len = usize::read_cfg(buf, &RangeCfg::from(..=BLOCK_BYTES))?;
        // Nothing is allocated for bytes that have not arrived.
        if buf.remaining() < len {
            return Err(CodecError::EndOfBuffer);
        }
        let mut bytes = vec![0; len];
        buf.copy_to_slice(&mut bytes);
        Self::decode(&bytes).map_err(|e| CodecError::Wrapped("EngineBlock", e.into()))
    }
}

impl Digestible for EngineBlock {
    type Digest = Digest;

    fn digest(&self) -> Digest {
        self.digest
    }
}

impl Heightable for EngineBlock {
    fn height(&self) -> Height {
        Height::new(self.block.header.height.get())
    }
}

impl ConsensusBlock for EngineBlock {
    fn parent(&self) -> Digest {
        engine_digest(self.block.header.parent)
    }
}

impl CertifiableBlock for EngineBlock {
    type Context = Context;

    fn context(&self) -> Context {
        let header = &self.block.header;
        Context {
            round: Round::new(Epoch::new(header.epoch.get()), View::new(header.view.get())),
            leader: self.primary.clone(),
            parent: (View::new(header.parent_view.get()), self.parent()),
        }
    }
}

impl BoundedBlock for EngineBlock {
    fn max_encode_size((): &()) -> usize {
        LEN_PREFIX_MAX + BLOCK_BYTES
    }
}
