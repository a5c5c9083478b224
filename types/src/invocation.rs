//! Calls to the built-in contracts.
//!
//! The order of the variants is part of the encoding: new ones go to the end.
//!
//! # Source
//! docs/spec/transaction.md

use crate::{
    access::{PolicyDocument, Terms},
    custody::{Dealing, SealedBytes},
    evidence::Evidence,
    genesis::Person,
    governance::Governance,
    id::{
        DealingId, GrantId, NodeId, NoteCommitment, PayloadDigest, RecordId, RecordVersion, ShareEpoch, SubjectId,
        TransactionId,
    },
    sign::PublicKey,
};
use borsh::{BorshDeserialize, BorshSerialize};

/// A call to a contract of the channel.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Invocation {
    /// Who belongs to the channel.
    Membership(Membership),
    /// The catalogue of medical data and its ownership.
    Medical(Medical),
    /// Custody, policies, requests and decryptions.
    Access(Access),
    /// Changes of members and rules.
    Governance(Governance),
}

/// Calls to the contract `membership`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Membership {
    /// Enrols a person of the author's organisation.
    Enrol {
        /// Who.
        person: Person,
    },
    /// Suspends a person: nothing of theirs is executed, and no share is released to them.
    Suspend {
        /// Who.
        key: PublicKey,
    },
    /// Ends a suspension.
    Reinstate {
        /// Who.
        key: PublicKey,
    },
    /// Revokes a key for ever.
    Revoke {
        /// Whose.
        key: PublicKey,
    },
}

/// Calls to the contract `medical`, by the names that the source paper gives them.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Medical {
    /// `initialMedical`: enters a medical item that has no payload in custody.
    Initial {
        /// What it is.
        metadata: Metadata,
        /// Commitment to where it comes from.
        source: NoteCommitment,
        /// The stored bytes, where there are any.
        storage: Option<PayloadDigest>,
    },
    /// `transferMedical`: gives an item to another owner.
    Transfer {
        /// The item.
        record: RecordId,
        /// The new owner.
        to: PublicKey,
    },
    /// `delete`: ends an item; one in custody is erased.
    Delete {
        /// The item.
        record: RecordId,
    },
}

/// What the catalogue says of a record: never who the patient is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Metadata {
    /// Media type, such as `application/dicom`; at most [`crate::limits::MEDIA_TYPE_BYTES`] of printable ASCII.
    pub media_type: String,
    /// The pseudonymous patient.
    pub subject: Option<SubjectId>,
    /// Whether members who may not open the record still see it in the catalogue.
    pub listed: bool,
}

/// What the ledger knows of a sealed payload.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PayloadInfo {
    /// The payload format; 1 is C2SP chunked encryption with AES-256-GCM.
    pub suite: u8,
    /// BLAKE3 of the sealed bytes: the payload's address.
    pub digest: PayloadDigest,
    /// Length of the sealed bytes: the judge of truncation.
    pub ciphertext_len_bytes: u64,
    /// The format's commitment to its key.
    pub key_commitment: [u8; 32],
    /// Scheme that pads the plaintext's length; 0 is none.
    pub padding: u8,
}

/// Registers a version of a record.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Registration {
    /// The record: for version 1 derived from the author and the commitments.
    pub record: RecordId,
    /// 1, or the one after the record's last.
    pub version: RecordVersion,
    /// What the record is.
    pub metadata: Metadata,
    /// The sealed payload.
    pub payload: PayloadInfo,
    /// How its key is shared.
    pub dealing: Dealing,
    /// Who may open it; without one, only whom the owner or the committee approves.
    pub policy: Option<PolicyDocument>,
}

/// By what right somebody decrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub enum Authority {
    /// The author owns the record.
    Owner,
    /// The author holds this grant.
    Grant(GrantId),
}

/// A requester's one-time X25519 key for one custodian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct OpeningKey {
    /// Who seals its share to it.
    pub custodian: NodeId,
    /// The public key.
    pub key: [u8; 32],
}

/// Calls to the contract `access`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Access {
    /// Registers a record or a version of one.
    Register(Box<Registration>),
    /// Sets a record's policy.
    SetPolicy {
        /// The record.
        record: RecordId,
        /// Its policy from now on.
        policy: PolicyDocument,
    },
    /// Asks for a grant.
    Request {
        /// The record.
        record: RecordId,
        /// What for, for how long and how often.
        terms: Terms,
        /// Commitment to the reason given.
        reason: NoteCommitment,
    },
    /// Approves a request that a policy left to review.
    Approve {
        /// The request.
        request: TransactionId,
    },
    /// Denies a request that a policy left to review.
    Deny {
        /// The request.
        request: TransactionId,
    },
    /// Revokes a grant.
    Revoke {
        /// The grant.
        grant: GrantId,
    },
    /// Decrypts: one use, and the condition of every release.
    Decrypt {
        /// The record.
        record: RecordId,
        /// Which version.
        version: RecordVersion,
        /// By what right.
        authority: Authority,
        /// One-time keys, custodian by custodian, sorted by custodian.
        keys: Vec<OpeningKey>,
    },
    /// Adds one-time keys for new custodians to the same use.
    Rekey {
        /// The decryption.
        decryption: TransactionId,
        /// The added keys, sorted by custodian.
        keys: Vec<OpeningKey>,
    },
    /// Erases a record: its grants die with this transaction.
    Erase {
        /// The record.
        record: RecordId,
    },
    /// Has the custodians of a version hand its key on, without anybody rebuilding it.
    Reshare(Box<Reshare>),
    /// Shows that a custodian released something else than its share.
    Accuse(Box<Accusation>),
}

/// Whose the key of a version is to be kept by from the next share epoch on.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Reshare {
    /// The record.
    pub record: RecordId,
    /// Its version.
    pub version: RecordVersion,
    /// The custodians, in the order of their indices.
    pub custodians: Vec<NodeId>,
    /// How many shares open the version.
    pub threshold: u8,
    /// How many acknowledgements begin the epoch.
    pub min_acks: u8,
}

/// What a custodian released for a decryption, and the one-time secret that opens it: of that one seal, and of no other.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Accusation {
    /// The decryption.
    pub decryption: TransactionId,
    /// The custodian.
    pub custodian: NodeId,
    /// The share epoch that it released in.
    pub epoch: ShareEpoch,
    /// The released share as it came, in the format of the share spec.
    pub released: SealedBytes,
    /// The secret of the one-time key that the decryption lists for the custodian.
    pub opening_secret: [u8; 32],
}

/// What a node tells the ledger by itself.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum SystemItem {
    /// A custodian's word that its share verifies and is kept.
    Acknowledge {
        /// The record.
        record: RecordId,
        /// Its version.
        version: RecordVersion,
        /// The share epoch.
        epoch: ShareEpoch,
        /// The dealing.
        dealing: DealingId,
    },
    /// A custodian's proof that its share does not verify.
    Complaint {
        /// The record.
        record: RecordId,
        /// Its version.
        version: RecordVersion,
        /// The share epoch.
        epoch: ShareEpoch,
        /// The share as it came.
        sealed: SealedBytes,
        /// The secret of the one-time dealing key that it was sealed to, so that all can judge.
        dealing_secret: [u8; 32],
    },
    /// The mark of a release.
    Release {
        /// The decryption.
        decryption: TransactionId,
        /// The record.
        record: RecordId,
        /// Its version.
        version: RecordVersion,
        /// The share epoch.
        epoch: ShareEpoch,
        /// Digest of the sealed share that was handed over.
        share: [u8; 32],
    },
    /// A provable fault of another node.
    Evidence(Box<Evidence>),
    /// A custodian's part in a reshare: its share, dealt to the next custodians.
    Part {
        /// The call that began the reshare.
        plan: TransactionId,
        /// The record.
        record: RecordId,
        /// Its version.
        version: RecordVersion,
        /// The dealing of the custodian's share, for the epoch that begins.
        dealing: Box<Dealing>,
    },
    /// A next custodian's proof that what it got of a part does not verify.
    PartComplaint {
        /// The call that began the reshare.
        plan: TransactionId,
        /// The record.
        record: RecordId,
        /// Its version.
        version: RecordVersion,
        /// The epoch that the part leads to.
        epoch: ShareEpoch,
        /// Whose part.
        dealer: NodeId,
        /// The share as it came.
        sealed: SealedBytes,
        /// The secret of the one-time dealing key that it was sealed to, so that all can judge.
        dealing_secret: [u8; 32],
    },
    /// A next custodian's word that its share of a part does not come.
    PartMissing {
        /// The call that began the reshare.
        plan: TransactionId,
        /// The record.
        record: RecordId,
        /// Its version.
        version: RecordVersion,
        /// The epoch that the part leads to.
        epoch: ShareEpoch,
        /// Whose part.
        dealer: NodeId,
    },
    /// A dealer's answer to that: the share as it was sealed, for its custodian to take from the ledger.
    PartShown {
        /// The call that began the reshare.
        plan: TransactionId,
        /// The record.
        record: RecordId,
        /// Its version.
        version: RecordVersion,
        /// The epoch that the part leads to.
        epoch: ShareEpoch,
        /// Whose share it is.
        custodian: NodeId,
        /// The share, sealed to its one-time dealing key.
        sealed: SealedBytes,
    },
    /// A custodian's word that nothing is left with it that opens a share.
    Destroyed {
        /// The record.
        record: RecordId,
        /// Of which version, up to which share epoch, when that has ended; of all of it, when the record is erased.
        of: Option<(RecordVersion, ShareEpoch)>,
        /// The generation of its key store since which that is so: copies of earlier ones may still open something.
        generation: u64,
    },
}
