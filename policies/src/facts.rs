//! What a decision is made from: who asks, and what the ledger knows.

use dmdl_types::{
    access::{Permission, Terms},
    genesis::Role,
    id::{OrgId, RecordId, UnixMillis},
    sign::PublicKey,
};

/// What somebody wants to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Get a grant.
    Request,
    /// Get a grant from the owner or the committee.
    Review,
    /// Decrypt, under a grant.
    Open,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 3] = [Self::Request, Self::Review, Self::Open];

    /// The action's name in a policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Review => "review",
            Self::Open => "open",
        }
    }
}

/// Who asks, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub requester: PublicKey,
    /// The requester's organisation.
    pub requester_org: OrgId,
    /// The requester's role.
    pub requester_role: Role,
    /// What is asked for; to [`Action::Open`], what the grant was asked for with.
    pub terms: Terms,
}

/// What the ledger knows at the moment of the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The record.
    pub record: RecordId,
    /// The record's current owner.
    pub owner: PublicKey,
    /// The owner's organisation.
    pub owner_org: OrgId,
    /// The record's media type.
    pub media_type: String,
    /// The permission under which the record was registered.
    pub permission: Permission,
    /// The ledger's time.
    pub now: UnixMillis,
    /// Whether the requester is suspended.
    pub suspended: bool,
    /// The grant that [`Action::Open`] names, if it is the requester's and for this record.
    pub grant: Option<GrantFacts>,
    /// How many distinct records the requester has opened.
    pub cohort: u32,
}

/// What the ledger knows of a grant that is not revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantFacts {
    /// Whether the owner or the committee gave it, rather than the policy.
    pub approved: bool,
    /// The last instant at which it holds.
    pub ends: UnixMillis,
    /// How many decryptions it allows.
    pub uses_max: u32,
    /// How many were allowed before this one.
    pub uses_so_far: u32,
}
