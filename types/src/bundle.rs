//! Bundles: audit events that anyone can verify offline from the pinned genesis.
//!
//! A bundle holds events and everything that leads from the genesis document to them: the
//! configurations of the epochs, each certified by the committee before; a final header that carries
//! a cosigned checkpoint; and the events themselves, complete for what the bundle says it covers.
//! [`verify`] believes nothing that the bundle says of itself.
//!
//! # Source
//! docs/spec/bundle.md

mod verify;

#[cfg(test)]
mod tests;

pub(crate) use verify::verify_anchor;
pub use verify::{BundleError, Report, verify};

use crate::{
    codec::{self, DecodeError},
    index_proof::{HeadKey, HeadProof},
    limits,
    lineage::{EpochStep, FinalHeader},
    sign::Domain,
};
use borsh::{BorshDeserialize, BorshSerialize};

/// The first bytes of every bundle file.
pub const MAGIC: &[u8; 16] = b"dmdl/bundle/v1\n\0";

/// What a bundle covers, with the events.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Content {
    /// Every event of the channel, from the first on.
    All {
        /// The leaves, in order.
        leaves: Vec<Vec<u8>>,
    },
    /// Every event that concerns one record, actor or subject.
    Head {
        /// Which.
        key: HeadKey,
        /// The proof of how many there are, and of the hash that rolls over them.
        proof: HeadProof,
        /// The leaves with their positions in the log, in order.
        leaves: Vec<(u64, Vec<u8>)>,
    },
}

/// Audit events with their proof, not yet verified.
///
/// # Encoding
/// A file is [`MAGIC`] followed by the canonical encoding.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Bundle {
    /// The network and channel.
    pub domain: Domain,
    /// The configurations from epoch 2 up to that of `anchor`.
    pub epochs: Vec<EpochStep>,
    /// The final header that carries the checkpoint.
    pub anchor: FinalHeader,
    /// The events.
    pub content: Content,
}

impl Bundle {
    /// The bundle as a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(codec::encode(self));
        bytes
    }

    /// Reads a bundle file; nothing in it is believed yet.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly what some bundle encodes to.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(DecodeError::Malformed { kind: "Bundle" })?;
        codec::decode(body, limits::BUNDLE_BYTES)
    }
}
