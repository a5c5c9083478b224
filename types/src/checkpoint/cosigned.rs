//! Cosignatures of committers, and how many organisations it takes to believe a checkpoint.

use super::{Checkpoint, CheckpointTextError};
use crate::{
    id::{NodeId, OrgId},
    note::{CosignerKey, KeyId, Note, SIGNATURES_MAX, SignatureLine, TimedSignature, cosigned_message},
    secret::Secret32,
    sign::{Domain, PublicKey, Signature},
};
use borsh::{BorshDeserialize, BorshSerialize};
use ed25519_dalek::Signer as _;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, io};

/// Why cosignatures do not make up a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CosignaturesError {
    /// There is none.
    #[error("a cosigned checkpoint has at least one cosignature")]
    None,
    /// More than a note holds.
    #[error("a cosigned checkpoint has at most {SIGNATURES_MAX} cosignatures")]
    TooMany,
    /// A node has more than one, or stands after one that it precedes.
    #[error("cosignature of `{node}` is repeated or out of order")]
    OutOfOrder {
        /// The node.
        node: NodeId,
    },
}

/// Why a checkpoint is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It is of another network.
    #[error("the checkpoint is of another network")]
    OtherNetwork,
    /// It is of another channel.
    #[error("the checkpoint is of another channel")]
    OtherChannel,
    /// A cosigner is no committer of the channel.
    #[error("`{node}` is not a committer")]
    UnknownCosigner {
        /// The cosigner.
        node: NodeId,
    },
    /// A cosignature names another key than the committer's.
    #[error("the cosignature of `{node}` is by another key")]
    OtherKey {
        /// The cosigner.
        node: NodeId,
    },
    /// A cosignature does not verify.
    #[error("the cosignature of `{node}` is invalid")]
    BadSignature {
        /// The cosigner.
        node: NodeId,
    },
    /// Two committers share one key, so that one signature would count twice.
    #[error("`{node}` cosigned with the key of another committer")]
    SharedKey {
        /// The later of the two.
        node: NodeId,
    },
    /// Too few organisations cosigned.
    #[error("organisations that cosigned: {got}, needed: {needed}")]
    TooFewOrgs {
        /// How many did.
        got: usize,
        /// How many must.
        needed: usize,
    },
}

/// Who may cosign a channel's checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Committer {
    /// The node.
    pub node: NodeId,
    /// Its cosigning key, enrolled apart from the node's own.
    pub cosigning_key: PublicKey,
    /// The organisation that runs it.
    pub org: OrgId,
}

impl Committer {
    /// The committer's cosigning key under the name that its cosignatures bear.
    #[must_use]
    pub fn cosigner_key(&self) -> CosignerKey {
        CosignerKey::new(self.node.into(), self.cosigning_key)
    }
}

/// The key that a committer signs checkpoints with, and nothing else.
///
/// # Security
/// These signatures follow another format than the ledger's, so the key is never the node's own.
/// The seed is wiped on drop and never printed. A committer signs no two checkpoints that
/// contradict each other: that is its caller's duty.
pub struct CosigningKey {
    seed: Secret32,
    key: ed25519_dalek::SigningKey,
}

impl CosigningKey {
    /// The key of a 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: Secret32) -> Self {
        let key = seed.expose(ed25519_dalek::SigningKey::from_bytes);
        Self { seed, key }
    }

    /// The seed, for writing a key file.
    #[must_use]
    pub const fn seed(&self) -> &Secret32 {
        &self.seed
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::new(self.key.verifying_key().to_bytes())
    }

    /// Cosigns a checkpoint as `node`, at `time_unix_s` seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn sign(&self, checkpoint: &Checkpoint, node: NodeId, time_unix_s: u64) -> Cosignature {
        let signature = self.key.sign(&cosigned_message(&checkpoint.to_text(), time_unix_s));
        let key_id = CosignerKey::new(node.into(), self.public()).key_id();
        Cosignature { node, key_id, time_unix_s, signature: Signature::new(signature.to_bytes()) }
    }
}

impl fmt::Debug for CosigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosigningKey(of {})", self.public())
    }
}

/// A committer's word that, at this time, it held what the checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Cosignature {
    /// The committer.
    pub node: NodeId,
    /// Which of its keys signed.
    pub key_id: KeyId,
    /// When, in seconds since 1970-01-01T00:00:00Z.
    pub time_unix_s: u64,
    /// The signature over the checkpoint's text and the time.
    pub signature: Signature,
}

impl Cosignature {
    /// Verifies that `committer` made this cosignature for `checkpoint`.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is another node's, by another key, or invalid.
    pub fn verify(&self, checkpoint: &Checkpoint, committer: &Committer) -> Result<(), CheckpointError> {
        self.verify_text(&checkpoint.to_text(), committer)
    }

    fn verify_text(&self, text: &str, committer: &Committer) -> Result<(), CheckpointError> {
        let node = self.node;
        if node != committer.node {
            return Err(CheckpointError::UnknownCosigner { node });
        }
        let key = committer.cosigner_key();
        if key.key_id() != self.key_id {
            return Err(CheckpointError::OtherKey { node });
        }
        let signed = TimedSignature { time_unix_s: self.time_unix_s, signature: self.signature };
        if key.verify(text, &signed) { Ok(()) } else { Err(CheckpointError::BadSignature { node }) }
    }

    fn to_line(self) -> SignatureLine {
        let signed = TimedSignature { time_unix_s: self.time_unix_s, signature: self.signature };
        SignatureLine { name: self.node.into(), key_id: self.key_id, signature: signed.to_bytes() }
    }

    fn of_line(line: &SignatureLine) -> Option<Self> {
        let node = line.name.as_str().parse().ok()?;
        let TimedSignature { time_unix_s, signature } = TimedSignature::from_bytes(&line.signature)?;
        Some(Self { node, key_id: line.key_id, time_unix_s, signature })
    }
}

/// A checkpoint with cosignatures that nobody has verified yet, at most one a node.
///
/// # Encoding
/// `checkpoint ‖ count u32-le ‖ (node[32] ‖ key id[4] ‖ time u64-le ‖ signature[64])*`, by rising node;
/// as text the checkpoint's note, its lines by rising node.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct CosignedCheckpoint {
    checkpoint: Checkpoint,
    // INVARIANT: from 1 to `SIGNATURES_MAX`, nodes strictly rising.
    cosignatures: Vec<Cosignature>,
}

impl CosignedCheckpoint {
    /// Puts cosignatures, in any order, under a checkpoint.
    ///
    /// # Errors
    /// [`CosignaturesError`] when there is none, too many, or two of one node.
    pub fn new(checkpoint: Checkpoint, mut cosignatures: Vec<Cosignature>) -> Result<Self, CosignaturesError> {
        cosignatures.sort_by_key(|cosignature| cosignature.node);
        Self::of_sorted(checkpoint, cosignatures)
    }

    fn of_sorted(checkpoint: Checkpoint, cosignatures: Vec<Cosignature>) -> Result<Self, CosignaturesError> {
        if cosignatures.is_empty() {
            return Err(CosignaturesError::None);
        }
        if cosignatures.len() > SIGNATURES_MAX {
            return Err(CosignaturesError::TooMany);
        }
        let pairs = cosignatures.iter().zip(cosignatures.iter().skip(1));
        for (previous, next) in pairs {
            if previous.node >= next.node {
                return Err(CosignaturesError::OutOfOrder { node: next.node });
            }
        }
        Ok(Self { checkpoint, cosignatures })
    }

    /// The checkpoint, as yet unverified.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The cosignatures, by rising node.
    #[must_use]
    pub fn cosignatures(&self) -> &[Cosignature] {
        &self.cosignatures
    }

    /// The signed note: the checkpoint's text and a line for each cosignature.
    #[must_use]
    pub fn to_note(&self) -> String {
        let lines = self.cosignatures.iter().map(|cosignature| cosignature.to_line()).collect();
        Note::of_parts(self.checkpoint.to_text(), lines).to_string()
    }

    /// Parses a signed note.
    ///
    /// # Errors
    /// [`CheckpointTextError`] when the bytes are not exactly what some cosigned checkpoint prints as.
    pub fn parse(note: &[u8]) -> Result<Self, CheckpointTextError> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        let lines = note.signatures().iter().enumerate();
        let cosignatures = lines
            .map(|(i, line)| Cosignature::of_line(line).ok_or(CheckpointTextError::Cosignature { number: i + 1 }))
            .collect::<Result<_, _>>()?;
        Ok(Self::of_sorted(checkpoint, cosignatures)?)
    }

    /// Verifies that committers of at least `needed_orgs` organisations cosigned, and nobody else.
    ///
    /// Stricter than a note's reader has to be: a line by an unknown key or an invalid one is an
    /// error even when enough others are valid, so that no byte can be changed unnoticed. At least
    /// one organisation is needed, whatever `needed_orgs` says.
    ///
    /// # Errors
    /// [`CheckpointError`] says what is wrong, with the first node that is at fault.
    pub fn verify(
        &self,
        expected: &Domain,
        committers: &[Committer],
        needed_orgs: usize,
    ) -> Result<VerifiedCheckpoint, CheckpointError> {
        if self.checkpoint.network != expected.network {
            return Err(CheckpointError::OtherNetwork);
        }
        if self.checkpoint.channel != expected.channel {
            return Err(CheckpointError::OtherChannel);
        }
        let text = self.checkpoint.to_text();
        let (mut keys, mut orgs) = (BTreeSet::new(), BTreeSet::new());
        for cosignature in &self.cosignatures {
            let node = cosignature.node;
            let committer = committers
                .iter()
                .find(|committer| committer.node == node)
                .ok_or(CheckpointError::UnknownCosigner { node })?;
            cosignature.verify_text(&text, committer)?;
            // The signed bytes do not name the node: without this, one key's line could be copied.
            if !keys.insert(committer.cosigning_key) && !crate::planted!("one-signer-counts-twice") {
                return Err(CheckpointError::SharedKey { node });
            }
            orgs.insert(&committer.org);
        }
        let needed = needed_orgs.max(1);
        if orgs.len() < needed {
            return Err(CheckpointError::TooFewOrgs { got: orgs.len(), needed });
        }
        Ok(VerifiedCheckpoint { checkpoint: self.checkpoint })
    }
}

impl BorshDeserialize for CosignedCheckpoint {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let checkpoint = Checkpoint::deserialize_reader(reader)?;
        let cosignatures = Vec::deserialize_reader(reader)?;
        Self::of_sorted(checkpoint, cosignatures).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }
}

/// A checkpoint that enough organisations cosigned.
///
/// Only [`CosignedCheckpoint::verify`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
}

impl VerifiedCheckpoint {
    /// The checkpoint.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}
