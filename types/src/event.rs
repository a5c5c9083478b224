//! Outcomes and audit events: one leaf of the audit tree for each executed transaction.
//!
//! "In a block" is not "allowed". The leaf holds the outcome, so that what checkpoints cover, and
//! what a receipt proves, is what was decided.
//!
//! # Source
//! docs/spec/event.md

use crate::{
    access::{Purpose, Reason},
    codec,
    custody::ShareSet,
    id::{GrantId, Height, OrgId, PolicyId, RecordId, RecordVersion, SubjectId, TransactionId, UnixMillis, UseNumber},
    merkle,
    sign::PublicKey,
};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::Serialize;

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It had its effect; nothing was asked to be decided.
    Applied,
    /// A request or decryption was allowed.
    Allow,
    /// A request or decryption was denied.
    Deny,
    /// A request waits for review.
    Pending,
    /// It could not be applied in the state it met, and had no effect.
    Rejected,
}

/// What became of a transaction, and why.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize)]
pub struct Outcome {
    /// What became of it.
    pub verdict: Verdict,
    /// Why; at most [`crate::limits::REASONS`].
    pub reasons: Vec<Reason>,
    /// The grant that it made or used.
    pub grant: Option<GrantId>,
    /// Which use of the grant it was.
    pub use_number: Option<UseNumber>,
}

impl Outcome {
    /// A verdict for one reason.
    #[must_use]
    pub fn of(verdict: Verdict, reason: Reason) -> Self {
        Self { verdict, reasons: vec![reason], grant: None, use_number: None }
    }

    /// Applied, with nothing to explain.
    #[must_use]
    pub const fn applied() -> Self {
        Self { verdict: Verdict::Applied, reasons: Vec::new(), grant: None, use_number: None }
    }
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A person was enrolled.
    Enrol,
    /// A person was suspended.
    Suspend,
    /// A suspension ended.
    Reinstate,
    /// A key was revoked.
    RevokeKey,
    /// `initialMedical`.
    InitialMedical,
    /// `transferMedical`.
    TransferMedical,
    /// `delete`.
    Delete,
    /// A record or version was registered.
    Register,
    /// A policy was set.
    SetPolicy,
    /// Access was requested.
    Request,
    /// A request was approved.
    Approve,
    /// A request was denied in review.
    DenyRequest,
    /// A grant was revoked.
    RevokeGrant,
    /// A decryption.
    Decrypt,
    /// One-time keys were added to a decryption.
    Rekey,
    /// A record was erased.
    Erase,
    /// A custodian acknowledged its share.
    Acknowledge,
    /// A custodian complained of its share.
    Complain,
    /// A custodian released its share.
    Release,
    /// Evidence of a fault.
    Evidence,
    /// Changes of the channel were proposed.
    Propose,
    /// A proposal was approved by an organisation.
    ApproveProposal,
    /// A proposal was taken back.
    WithdrawProposal,
    /// The custodians of a version were asked to hand its key on.
    Reshare,
    /// A custodian dealt its share to the next custodians.
    DealPart,
    /// A next custodian complained of its share of a part.
    ComplainPart,
    /// A next custodian misses its share of a part.
    MissPart,
    /// A dealer showed a share of its part that a next custodian misses.
    ShowPart,
    /// A custodian destroyed what it had of shares.
    Destroy,
    /// A requester showed what a custodian had released.
    Accuse,
}

/// One leaf of the audit tree.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize)]
pub struct Event {
    /// Height of the block.
    pub height: Height,
    /// Block time.
    pub time: UnixMillis,
    /// The transaction, or the system transaction that the item came in.
    pub transaction: TransactionId,
    /// Position of the item in a system transaction; 0 for others.
    pub item: u32,
    /// What happened.
    pub action: Action,
    /// Who acted: a person's key, or a node's.
    pub actor: PublicKey,
    /// The actor's organisation, where the actor is known.
    pub org: Option<OrgId>,
    /// The record concerned.
    pub record: Option<RecordId>,
    /// Its version.
    pub version: Option<RecordVersion>,
    /// Its pseudonymous patient.
    pub subject: Option<SubjectId>,
    /// The shares that it is about: those that a registration dealt, or that a decryption asks for.
    pub shares: Option<ShareSet>,
    /// The purpose of a request or decryption.
    pub purpose: Option<Purpose>,
    /// The policy that decided.
    pub policy: Option<PolicyId>,
    /// The request, decryption or grant's request that it refers to.
    pub refers_to: Option<TransactionId>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Event {
    /// The leaf's bytes.
    #[must_use]
    pub fn to_leaf(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The leaf's hash.
    #[must_use]
    pub fn leaf_hash(&self) -> [u8; 32] {
        merkle::leaf_hash(&self.to_leaf())
    }
}
