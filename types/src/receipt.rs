//! Receipts: proof that a transaction and its outcome stand in a channel's audit log.
//!
//! A receipt is a text file that needs nothing beside it but the channel's committers. It carries
//! the leaf itself, the leaf's place, the hashes up to the root, and a cosigned checkpoint of that
//! root. [`Receipt::verify`] makes a [`VerifiedLeaf`] of it; the bytes mean nothing before.
//!
//! # Source
//! docs/spec/receipt.md; C2SP tlog-proof

#[cfg(test)]
mod tests;

use crate::{
    checkpoint::{CheckpointError, CheckpointTextError, Committer, CosignedCheckpoint, VerifiedCheckpoint},
    merkle::{Hash, InclusionProof, ProofError, leaf_hash},
    note::lines::{Lines, base64_hash, decimal},
    sign::Domain,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

/// The longest receipt that is read, in bytes.
pub const RECEIPT_LEN_BYTES_MAX: usize = 4_000_000;

/// The first line of every receipt.
pub const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Why bytes are not a receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptTextError {
    /// The receipt exceeds [`RECEIPT_LEN_BYTES_MAX`].
    #[error("a receipt has at most {RECEIPT_LEN_BYTES_MAX} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("a receipt is UTF-8 text")]
    NotText,
    /// A line is missing, out of place, or not of its only spelling.
    #[error("the receipt's `{line}` line is missing or malformed")]
    Line {
        /// The line that was expected.
        line: &'static str,
    },
    /// What follows the empty line is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointTextError),
}

/// Why a receipt proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// Its checkpoint is not to be believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The leaf is not under the checkpoint.
    #[error(transparent)]
    Inclusion(#[from] ProofError),
}

/// A leaf of the audit log with its proof, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The leaf's canonical bytes.
    pub leaf: Vec<u8>,
    /// The leaf's position in the log, from 0.
    pub index: u64,
    /// The siblings on the way to the root, the leaf's own first.
    pub hashes: Vec<Hash>,
    /// The root and who vouches for it.
    pub checkpoint: CosignedCheckpoint,
}

impl Receipt {
    /// The receipt's text: a `.tlog-proof` file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\nextra {}\nindex {}\n", BASE64.encode(&self.leaf), self.index);
        for hash in &self.hashes {
            BASE64.encode_string(hash, &mut text);
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint.to_note());
        text
    }

    /// Parses a receipt's text.
    ///
    /// # Errors
    /// [`ReceiptTextError`] when the bytes are not exactly what some receipt prints as.
    pub fn parse(text: &[u8]) -> Result<Self, ReceiptTextError> {
        if text.len() > RECEIPT_LEN_BYTES_MAX {
            return Err(ReceiptTextError::TooLong);
        }
        let text = std::str::from_utf8(text).map_err(|_| ReceiptTextError::NotText)?;
        let missing = |line| ReceiptTextError::Line { line };
        let mut lines = Lines::new(text);
        lines.next().filter(|line| *line == HEADER).ok_or(missing("header"))?;
        let leaf = lines.value_of("extra").and_then(|value| BASE64.decode(value).ok()).ok_or(missing("extra"))?;
        let index = lines.value_of("index").and_then(decimal).ok_or(missing("index"))?;
        let mut hashes = Vec::new();
        loop {
            match lines.next().ok_or(missing("hash"))? {
                "" => break,
                line => hashes.push(base64_hash(line).ok_or(missing("hash"))?),
            }
        }
        let checkpoint = CosignedCheckpoint::parse(lines.rest().as_bytes())?;
        Ok(Self { leaf, index, hashes, checkpoint })
    }

    /// Verifies that the leaf is in the log of the expected channel, as committers of at least
    /// `needed_orgs` organisations cosigned it.
    ///
    /// # Errors
    /// [`ReceiptError`] says what is wrong.
    ///
    /// # Security
    /// `committers` come from a pinned genesis and the verified configurations after it, never from
    /// whoever handed the receipt over.
    pub fn verify(
        &self,
        expected: &Domain,
        committers: &[Committer],
        needed_orgs: usize,
    ) -> Result<VerifiedLeaf, ReceiptError> {
        self.verify_under(self.checkpoint.verify(expected, committers, needed_orgs)?)
    }

    /// Verifies that the leaf is in the log of a checkpoint that is believed already: whoever has many receipts under
    /// one checkpoint need not verify that again for each of them.
    ///
    /// # Errors
    /// [`ReceiptError::Inclusion`], also when the receipt is of another checkpoint.
    pub fn verify_under(&self, checkpoint: VerifiedCheckpoint) -> Result<VerifiedLeaf, ReceiptError> {
        let log = checkpoint.checkpoint();
        let proof = InclusionProof { index: self.index, size: log.size, hashes: self.hashes.clone() };
        proof.verify(&leaf_hash(&self.leaf), &log.root)?;
        Ok(VerifiedLeaf { bytes: self.leaf.clone(), index: self.index, checkpoint })
    }
}

/// A leaf that is in the log of its channel.
///
/// Only [`Receipt::verify`] and [`Receipt::verify_under`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedLeaf {
    bytes: Vec<u8>,
    index: u64,
    checkpoint: VerifiedCheckpoint,
}

impl VerifiedLeaf {
    /// The leaf's canonical bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The leaf's position in the log, from 0.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The checkpoint that covers the leaf.
    #[must_use]
    pub const fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }
}
