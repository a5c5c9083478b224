//! Checkpoints: what a committer holds of a channel, as a note that other people's tools read.
//!
//! A [`Checkpoint`] names the audit log's size and root, the block it was taken after, and the
//! digests of world state and index there. Committers cosign its text with keys that serve nothing
//! else ([`CosigningKey`]); a [`CosignedCheckpoint`] collects their lines, and only
//! [`CosignedCheckpoint::verify`] makes a [`VerifiedCheckpoint`] of it.
//!
//! # Source
//! docs/spec/checkpoint.md; C2SP tlog-checkpoint, tlog-cosignature

mod cosigned;

#[cfg(test)]
pub(crate) mod tests;

pub use cosigned::{
    CheckpointError, Committer, Cosignature, CosignaturesError, CosignedCheckpoint, CosigningKey, VerifiedCheckpoint,
};

use crate::{
    id::{BlockDigest, ChannelId, Height, NetworkId},
    merkle::Hash,
    note::{
        NoteError,
        lines::{Lines, base64_hash, decimal},
    },
    sign::Domain,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use borsh::{BorshDeserialize, BorshSerialize};

/// The first part of every origin line.
const ORIGIN: &str = "dmdl.network";

/// Why text is not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointTextError {
    /// The bytes are not a signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A line is missing, out of place, or not of its only spelling.
    #[error("the checkpoint's `{line}` line is missing or malformed")]
    Line {
        /// The line that was expected.
        line: &'static str,
    },
    /// Text follows the last line.
    #[error("the checkpoint has lines after its last")]
    TrailingLines,
    /// A signature line is not the cosignature of a node.
    #[error("signature line {number} is not a cosignature of a node")]
    Cosignature {
        /// Which line, from 1.
        number: usize,
    },
    /// The cosignatures do not make up a set.
    #[error(transparent)]
    Cosignatures(#[from] CosignaturesError),
}

/// The state of one channel after one block.
///
/// # Encoding
/// As text, each line ending in a newline, in this order: `dmdl.network/<network>/<channel>`, size,
/// root in base64, `height <n>`, `block <hex>`, `state <hex>`, `index <hex>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Checkpoint {
    /// The network.
    pub network: NetworkId,
    /// The channel.
    pub channel: ChannelId,
    /// How many leaves the audit log has.
    pub size: u64,
    /// The audit log's root.
    pub root: Hash,
    /// The block that was executed last.
    pub height: Height,
    /// That block's digest.
    pub block: BlockDigest,
    /// The state hash.
    pub state: Hash,
    /// The root of the authenticated index of heads.
    pub index: Hash,
}

impl Checkpoint {
    /// Where the checkpoint's signatures are valid.
    #[must_use]
    pub const fn domain(&self) -> Domain {
        Domain { network: self.network, channel: self.channel }
    }

    /// The checkpoint's text, as it is signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Self { network, channel, size, root, height, block, state, index } = self;
        format!(
            "{ORIGIN}/{network}/{channel}\n{size}\n{root}\nheight {height}\nblock {block}\nstate {state}\nindex {index}\n",
            root = BASE64.encode(root),
            state = hex::encode(state),
            index = hex::encode(index),
        )
    }

    /// Parses a checkpoint's text.
    ///
    /// # Errors
    /// [`CheckpointTextError`] when the text is not exactly what some checkpoint prints as.
    pub fn parse(text: &str) -> Result<Self, CheckpointTextError> {
        let missing = |line| CheckpointTextError::Line { line };
        let mut lines = Lines::new(text);
        let (network, channel) = lines.next().and_then(parse_origin).ok_or(missing("origin"))?;
        let size = lines.next().and_then(decimal).ok_or(missing("size"))?;
        let root = lines.next().and_then(base64_hash).ok_or(missing("root"))?;
        let height = lines.value_of("height").and_then(decimal).map(Height::new).ok_or(missing("height"))?;
        let mut hash = |line| {
            let id = lines.value_of(line).and_then(|value| value.parse::<BlockDigest>().ok());
            id.ok_or(missing(line))
        };
        let (block, state, index) = (hash("block")?, *hash("state")?.as_bytes(), *hash("index")?.as_bytes());
        if !lines.rest().is_empty() {
            return Err(CheckpointTextError::TrailingLines);
        }
        Ok(Self { network, channel, size, root, height, block, state, index })
    }
}

fn parse_origin(line: &str) -> Option<(NetworkId, ChannelId)> {
    let ids = line.strip_prefix(ORIGIN)?.strip_prefix('/')?;
    let (network, channel) = ids.split_once('/')?;
    Some((network.parse().ok()?, channel.parse().ok()?))
}
