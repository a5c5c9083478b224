//! Backups: what a node keeps of its channels and may never be taken back, in a file that its node has signed.
//!
//! A backup is a row of [`Piece`]s. Of each channel it has what another node would be answered that joins by a snapshot,
//! so that the ledger in it is believed by its hashes and certificates, as any other. The signature at the end says
//! that all of it is there, and whose it is.
//!
//! # Encoding
//! `MAGIC[16] ‖ (len u32-le ‖ piece)*`
//!
//! # Source
//! docs/spec/backup.md; docs/adr/0016-backups.md

#[cfg(test)]
mod tests;

use crate::{
    charter::SignedCharter,
    codec::{self, DecodeError},
    id::{NetworkId, NodeId, UnixMillis},
    label, limits,
    sign::{Domain, Meaning, Signature, SigningKey},
    snapshot::Part,
    transaction::Transaction,
};
use borsh::{BorshDeserialize, BorshSerialize};
use sha2::{Digest as _, Sha256};

/// The first bytes of every backup.
pub const MAGIC: &[u8; 16] = b"dmdl/backup/v1\n\0";
/// What they are without the version.
const MAGIC_OF_ALL: &[u8] = b"dmdl/backup/v";

/// Whose backup it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Begin {
    /// The network.
    pub network: NetworkId,
    /// The node.
    pub node: NodeId,
    /// When it was made, by the clock of whoever made it.
    pub time: UnixMillis,
}

/// A piece of a backup.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Piece {
    /// The first one.
    Begin(Begin),
    /// What follows is of this channel; the first one is the network's own, and has no charter.
    Channel(Option<Box<SignedCharter>>),
    /// A part of the channel's snapshot.
    Ledger(Box<Part>),
    /// What people have signed, and the channel's blocks no longer keep.
    Signed(Vec<Transaction>),
    /// The last one: the node's signature over all that is before it.
    End(Signature),
}

/// Why bytes are no backup of a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It begins with other bytes.
    #[error("this is no backup")]
    NotABackup,
    /// It is of another version of the format.
    #[error("the backup has another format than this program knows: restore it with the version that made it")]
    Version,
    /// It is of another network.
    #[error("the backup is of network `{0}`, not of the pinned one")]
    OtherNetwork(NetworkId),
    /// It is of another node.
    #[error("the backup is of node `{0}`, not of this one")]
    OtherNode(NodeId),
    /// It ends too early.
    #[error("the backup is cut off")]
    Cut,
    /// A piece is longer than any.
    #[error("the backup is damaged: a piece is too long")]
    TooLong,
    /// A piece is none.
    #[error("the backup is damaged: {0}")]
    Decode(#[from] DecodeError),
    /// A piece is not where it belongs.
    #[error("the backup is damaged: a piece is out of place")]
    OutOfPlace,
    /// Something comes after the last piece.
    #[error("the backup is damaged: something follows its end")]
    Trailing,
    /// The signature is not the node's, or over other bytes.
    #[error("the backup is damaged: its node did not sign it")]
    Signature,
}

/// Makes the pieces of a backup, in their order.
#[derive(Debug)]
pub struct Packing {
    domain: Domain,
    hash: Sha256,
}

impl Packing {
    /// Begins a backup of a node of the network whose first channel this is; gives its first bytes, too.
    #[must_use]
    pub fn begin(domain: Domain, node: NodeId, time: UnixMillis) -> (Self, Vec<u8>) {
        let mut packing = Self { domain, hash: Sha256::new_with_prefix(MAGIC) };
        let begin = Begin { network: domain.network, node, time };
        let frame = packing.absorb(&codec::encode(&Piece::Begin(begin)));
        (packing, [MAGIC.as_slice(), &frame].concat())
    }

    /// The bytes of the next piece.
    ///
    /// # Errors
    /// [`BackupError::TooLong`].
    pub fn piece(&mut self, piece: &Piece) -> Result<Vec<u8>, BackupError> {
        let bytes = codec::encode(piece);
        if bytes.len() > limits::BACKUP_PIECE_BYTES { Err(BackupError::TooLong) } else { Ok(self.absorb(&bytes)) }
    }

    /// The last bytes.
    #[must_use]
    pub fn end(mut self, node: &SigningKey) -> Vec<u8> {
        let signature = node.sign(&self.domain, MEANING, &digest(&self.hash));
        self.absorb(&codec::encode(&Piece::End(signature)))
    }

    fn absorb(&mut self, piece: &[u8]) -> Vec<u8> {
        let frame = frame(piece);
        self.hash.update(&frame);
        frame
    }
}

/// Reads a backup, piece by piece; that it is whole and its node's is known at its end.
#[derive(Debug)]
pub struct Unpacking {
    domain: Domain,
    /// The one that is wanted, if one is, until it is known whose it is.
    node: Option<NodeId>,
    hash: Sha256,
    stage: Stage,
}

/// What came last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Magic,
    Begin,
    Channel,
    Ledger,
    Signed,
    End,
}

impl Unpacking {
    /// Begins to read a backup of this node, or of any, of the network whose first channel this is.
    ///
    /// # Errors
    /// [`BackupError::NotABackup`] or [`BackupError::Version`] when these are not its first bytes.
    pub fn begin(domain: Domain, node: Option<NodeId>, magic: &[u8; 16]) -> Result<Self, BackupError> {
        if magic == MAGIC {
            return Ok(Self { domain, node, hash: Sha256::new_with_prefix(MAGIC), stage: Stage::Magic });
        }
        Err(if magic.starts_with(MAGIC_OF_ALL) { BackupError::Version } else { BackupError::NotABackup })
    }

    /// How many bytes the next piece has, by the four that come before it.
    ///
    /// # Errors
    /// [`BackupError::TooLong`].
    pub fn len_of(prefix: [u8; 4]) -> Result<usize, BackupError> {
        let len = usize::try_from(u32::from_le_bytes(prefix)).map_err(|_| BackupError::TooLong)?;
        if len > limits::BACKUP_PIECE_BYTES { Err(BackupError::TooLong) } else { Ok(len) }
    }

    /// Takes the next piece, which is not believed yet.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn take(&mut self, bytes: &[u8]) -> Result<Piece, BackupError> {
        let piece = codec::decode(bytes, limits::BACKUP_PIECE_BYTES)?;
        self.stage = match (self.stage, &piece) {
            (Stage::Magic, Piece::Begin(begin)) => {
                self.check(begin)?;
                Stage::Begin
            }
            (Stage::Begin, Piece::Channel(None)) => Stage::Channel,
            (Stage::Channel | Stage::Ledger | Stage::Signed, Piece::Channel(Some(_))) => Stage::Channel,
            (Stage::Channel | Stage::Ledger, Piece::Ledger(_)) => Stage::Ledger,
            (Stage::Ledger | Stage::Signed, Piece::Signed(_)) => Stage::Signed,
            (Stage::Channel | Stage::Ledger | Stage::Signed, Piece::End(signature)) => {
                self.check_signature(signature)?;
                Stage::End
            }
            _ => return Err(BackupError::OutOfPlace),
        };
        self.hash.update(frame(bytes));
        Ok(piece)
    }

    /// Whether the last piece was the end: all of it is there, and its node has signed it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::End
    }

    fn check(&mut self, begin: &Begin) -> Result<(), BackupError> {
        if begin.network != self.domain.network {
            return Err(BackupError::OtherNetwork(begin.network));
        }
        let node = *self.node.get_or_insert(begin.node);
        if begin.node == node { Ok(()) } else { Err(BackupError::OtherNode(begin.node)) }
    }

    fn check_signature(&self, signature: &Signature) -> Result<(), BackupError> {
        let node = self.node.ok_or(BackupError::OutOfPlace)?;
        let signed = node.key().verify(&self.domain, MEANING, &digest(&self.hash), signature);
        if signed { Ok(()) } else { Err(BackupError::Signature) }
    }
}

const MEANING: Meaning = Meaning::v1(label::BACKUP_SIGNATURE);

fn digest(hash: &Sha256) -> [u8; 32] {
    hash.clone().finalize().into()
}

fn frame(piece: &[u8]) -> Vec<u8> {
    // INVARIANT: no piece is longer than a limit that fits.
    let len = u32::try_from(piece.len()).unwrap_or(u32::MAX);
    [&len.to_le_bytes(), piece].concat()
}
