//! What nodes say to each other beside consensus.
//!
//! Everything here comes from an authenticated member, and is still checked like a stranger's:
//! canonical, bounded, and verified by whoever acts on it.

use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{
    checkpoint::{Checkpoint, Cosignature},
    codec::{self, DecodeError},
    custody::{DealingKey, SealedBytes},
    id::{Height, NodeId, RecordId, RecordVersion, TransactionId},
    sign::PublicKey,
    snapshot::{Part, Question},
    title::Title,
    transaction::{EndorsedTransaction, Endorsement, SystemTransaction, Transaction},
};
use dmdl_vault::remark::Remark;

/// Largest message.
pub(crate) const MESSAGE_BYTES: usize = 256 * 1024;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) enum Message {
    /// An endorsed transaction on its way to the orderers.
    Transaction(Box<EndorsedTransaction>),
    /// What a node tells the ledger.
    System(Box<SystemTransaction>),
    /// A checkpoint with its committer's cosignature.
    Cosignature(Box<Checkpoint>, Cosignature),
    /// A question, with a number that its answer repeats.
    Ask(u64, Box<Ask>),
    /// The answer to a question.
    Answer(u64, Box<Answer>),
}

/// A question to another node.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) enum Ask {
    /// Endorse a transaction, knowing who was asked before and did not answer, and what height the asking
    /// node has executed: the author may rely on what happened there.
    Endorse(Box<Transaction>, Vec<NodeId>, Height),
    /// One-time dealing keys of a custodian, for this dealer to use.
    DealingKeys(PublicKey, u16),
    /// Keep this share of a registered version.
    Keep(RecordId, RecordVersion, SealedBytes),
    /// Release your share for this final decryption.
    Release(TransactionId),
    /// Keep this remark beside the ledger.
    KeepRemark(Box<Remark>),
    /// The remark on this transaction.
    Remark(TransactionId),
    /// Keep this title beside the ledger.
    KeepTitle(Box<Title>),
    /// Something of a snapshot of the channel.
    Snapshot(Question),
    /// This transaction, as it was ordered: the asking node has no blocks of that time.
    Transaction(TransactionId),
    /// Titles that are kept, of records after this one: the asking node has lost its own.
    Titles(Option<RecordId>),
    /// The asking node's share of the part that was dealt in the reshare which this transaction began.
    PartShare(RecordId, RecordVersion, TransactionId),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) enum Answer {
    /// The endorsement.
    Endorsed(Box<Endorsement>),
    /// One-time dealing keys.
    DealingKeys(Vec<DealingKey>),
    /// It verified and is kept.
    Kept,
    /// The released share, in the format of the share spec.
    Released(Vec<u8>),
    /// No, and why: a stable code and a sentence without secrets.
    Refused(Refused),
    /// The remark, where there is one.
    Remark(Option<Box<Remark>>),
    /// The title that is kept, since it counts more than the one that was told.
    Title(Box<Title>),
    /// A piece of a snapshot.
    Snapshot(Box<Part>),
    /// The transaction, if its block is here.
    Transaction(Option<Box<Transaction>>),
    /// Titles by rising record, as many as fit; none after the last.
    Titles(Vec<Title>),
    /// The sealed share of a part.
    PartShare(SealedBytes),
}

impl Answer {
    /// Whether it is as good when it is made again: it need not be remembered for a question that is repeated.
    pub(crate) const fn is_as_good_again(&self) -> bool {
        matches!(self, Self::Snapshot(_) | Self::Endorsed(_) | Self::Transaction(_))
    }
}

/// Why a node refuses.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Refused {
    /// A stable code for machines.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

impl Refused {
    /// A refusal.
    pub fn new(code: &str, detail: impl ToString) -> Self {
        Self { code: code.to_owned(), detail: detail.to_string() }
    }
}

impl Message {
    /// The message's bytes.
    #[must_use]
    pub(crate) fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are none.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes, MESSAGE_BYTES)
    }
}
