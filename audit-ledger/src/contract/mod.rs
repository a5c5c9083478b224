//! The contracts that every committer runs: `membership`, `medical`, `access` and `governance`.
//!
//! A contract reads world state, decides, and writes; it reads no clock, no network and no random
//! source, so every committer comes to the same state and the same outcome. A call that cannot be
//! applied is refused with a reason and leaves no trace but its audit event. A request or decryption
//! that a policy denies is no error: the denial is its result.
//!
//! # Source
//! docs/spec/transaction.md; docs/spec/event.md

mod access;
mod custody;
mod erasure;
mod evidence;
mod governance;
mod medical;
mod membership;
mod policies;
mod reshare;

pub use access::{assignment, decides, may_read, share_context};
pub use evidence::admit as admit_evidence;
pub use policies::Policies;
pub use reshare::part_context;

use crate::{
    store::{Reader, StoreError},
    world::{PersonRow, PersonStatus, World},
};
use dmdl_types::{
    access::{Purpose, Reason, ReasonCode},
    context::{ReleaseContext, ShareContext},
    custody::{CustodyEvent, Dealing, Reshared, SealedBytes, ShareSet},
    event::{Action, Outcome, Verdict},
    genesis::{EpochConfig, Role},
    governance::Governance,
    id::{Height, NodeId, PolicyId, RecordId, RecordVersion, ShareIndex, SubjectId, TransactionId, UnixMillis},
    invocation::{Access, Invocation, Medical, Membership, SystemItem},
    sign::{Domain, PublicKey},
};

/// What [`CustodyMath::lied`] is: of a release's context, the dealing's commitments, the release and the revealed secret.
pub type Lied = fn(&ReleaseContext, &[[u8; 32]], &SealedBytes, &[u8; 32]) -> bool;
/// What [`CustodyMath::merge`] is: of the dealing that is handed on, and the parts.
pub type Merge = fn(&Reshared<'_>, &[(ShareIndex, &Dealing)]) -> Option<Vec<[u8; 32]>>;

/// The arithmetic of shares: the vault knows it, the ledger only asks. All of these are pure functions.
#[derive(Clone, Copy, Debug)]
pub struct CustodyMath {
    /// Judges a complaint: whether the share that came, opened with the revealed secret, matches the commitments.
    pub judge: fn(&ShareContext, &Dealing, &SealedBytes, &[u8; 32]) -> Judgement,
    /// Whether these are the bytes that were registered as a sealed share.
    pub is_sealed: fn(&SealedBytes, &[u8; 32]) -> bool,
    /// Whether a part deals exactly the share at an index of the dealing that it takes on.
    pub is_part: fn(&Reshared<'_>, ShareIndex, &Dealing) -> bool,
    /// Whether a release, opened with the revealed secret of its one-time key, is signed by its custodian and not the share
    /// that these commitments commit to.
    pub lied: Lied,
    /// The commitments that parts add up to, each with the index of the share that it deals; none if they do not belong
    /// together.
    pub merge: Merge,
}

/// What a judge finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The share does not match: the dealer dealt it badly.
    DealerFault,
    /// The share matches, or the evidence is not what was dealt: the complaint is void.
    Refuted,
}

/// What a contract may look at besides world state.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The network and channel.
    pub domain: Domain,
    /// Whether one organisation may hold what the placement rule forbids.
    pub single_org_demo: bool,
    /// The configuration of the block's epoch.
    pub config: &'a EpochConfig,
    /// The block's height.
    pub height: Height,
    /// The block's time.
    pub time: UnixMillis,
    /// The transaction.
    pub transaction: TransactionId,
    /// The arithmetic of shares.
    pub math: CustodyMath,
    /// Policies that were parsed before.
    pub policies: &'a Policies,
}

/// What a call concerned: the part of its audit event that the contract knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The record.
    pub record: Option<RecordId>,
    /// Its version.
    pub version: Option<RecordVersion>,
    /// Its pseudonymous patient.
    pub subject: Option<SubjectId>,
    /// The shares of that version.
    pub shares: Option<ShareSet>,
    /// The purpose.
    pub purpose: Option<Purpose>,
    /// The policy that decided.
    pub policy: Option<PolicyId>,
    /// The transaction that it refers to.
    pub refers_to: Option<TransactionId>,
}

/// What a call leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What became of it.
    pub outcome: Outcome,
    /// What it concerned.
    pub about: About,
    /// What it means for custodians.
    pub custody: Vec<CustodyEvent>,
    /// Whether what it wrote holds; what a refused call wrote is dropped.
    pub holds: bool,
}

/// Why a contract stops.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The call cannot be applied in this state.
    Refused(Reason),
    /// The state cannot be read: the node must stop.
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ReasonCode> for Stop {
    fn from(code: ReasonCode) -> Self {
        Self::Refused(Reason::code(code))
    }
}

/// A call in progress: the state it changes and what it has found so far.
pub(crate) struct Call<'a, R> {
    pub(crate) world: &'a mut World<R>,
    pub(crate) ctx: &'a Context<'a>,
    pub(crate) about: About,
    pub(crate) custody: Vec<CustodyEvent>,
}

/// What kind of action a call is.
#[must_use]
pub const fn action_of(invocation: &Invocation) -> Action {
    match invocation {
        Invocation::Membership(call) => match call {
            Membership::Enrol { .. } => Action::Enrol,
            Membership::Suspend { .. } => Action::Suspend,
            Membership::Reinstate { .. } => Action::Reinstate,
            Membership::Revoke { .. } => Action::RevokeKey,
        },
        Invocation::Medical(call) => match call {
            Medical::Initial { .. } => Action::InitialMedical,
            Medical::Transfer { .. } => Action::TransferMedical,
            Medical::Delete { .. } => Action::Delete,
        },
        Invocation::Access(call) => match call {
            Access::Register(_) => Action::Register,
            Access::SetPolicy { .. } => Action::SetPolicy,
            Access::Request { .. } => Action::Request,
            Access::Approve { .. } => Action::Approve,
            Access::Deny { .. } => Action::DenyRequest,
            Access::Revoke { .. } => Action::RevokeGrant,
            Access::Decrypt { .. } => Action::Decrypt,
            Access::Rekey { .. } => Action::Rekey,
            Access::Erase { .. } => Action::Erase,
            Access::Reshare(_) => Action::Reshare,
            Access::Accuse(_) => Action::Accuse,
        },
        Invocation::Governance(call) => match call {
            Governance::Propose { .. } => Action::Propose,
            Governance::Approve { .. } => Action::ApproveProposal,
            Governance::Withdraw { .. } => Action::WithdrawProposal,
        },
    }
}

/// What kind of action an item of a node is.
#[must_use]
pub const fn system_action_of(item: &SystemItem) -> Action {
    match item {
        SystemItem::Acknowledge { .. } => Action::Acknowledge,
        SystemItem::Complaint { .. } => Action::Complain,
        SystemItem::Release { .. } => Action::Release,
        SystemItem::Evidence(_) => Action::Evidence,
        SystemItem::Part { .. } => Action::DealPart,
        SystemItem::PartComplaint { .. } => Action::ComplainPart,
        SystemItem::PartMissing { .. } => Action::MissPart,
        SystemItem::PartShown { .. } => Action::ShowPart,
        SystemItem::Destroyed { .. } => Action::Destroy,
    }
}

/// Applies a person's call.
///
/// # Errors
/// [`StoreError`] when world state cannot be read; whatever the call itself runs into is its outcome.
pub fn invoke<R: Reader>(
    world: &mut World<R>,
    ctx: &Context<'_>,
    authors: &[PublicKey],
    invocation: &Invocation,
) -> Result<Effect, StoreError> {
    let mut call = Call { world, ctx, about: subject_of(invocation), custody: Vec::new() };
    let result = call.authors(authors).and_then(|author| match invocation {
        Invocation::Membership(m) => membership::invoke(&mut call, &author, m),
        Invocation::Medical(m) => medical::invoke(&mut call, &author, m),
        Invocation::Access(a) => access::invoke(&mut call, &author, a),
        Invocation::Governance(g) => governance::invoke(&mut call, &author, g),
    });
    call.finish(result, denies(invocation))
}

/// What a call names by itself: its event is under that record even when the author may not act.
fn subject_of(invocation: &Invocation) -> About {
    let (record, version) = match invocation {
        Invocation::Medical(Medical::Transfer { record, .. } | Medical::Delete { record })
        | Invocation::Access(
            Access::SetPolicy { record, .. } | Access::Request { record, .. } | Access::Erase { record },
        ) => (Some(*record), None),
        Invocation::Access(Access::Register(registration)) => (Some(registration.record), Some(registration.version)),
        Invocation::Access(Access::Decrypt { record, version, .. }) => (Some(*record), Some(*version)),
        Invocation::Access(Access::Reshare(plan)) => (Some(plan.record), Some(plan.version)),
        _ => (None, None),
    };
    About { record, version, ..About::default() }
}

/// Applies what a node told the ledger.
///
/// # Errors
/// [`StoreError`] when world state cannot be read.
pub fn apply_system<R: Reader>(
    world: &mut World<R>,
    ctx: &Context<'_>,
    node: NodeId,
    item: &SystemItem,
) -> Result<Effect, StoreError> {
    let mut call = Call { world, ctx, about: About::default(), custody: Vec::new() };
    let result = custody::apply(&mut call, node, item);
    call.finish(result, Verdict::Rejected)
}

/// A request or decryption that cannot be applied is a denial; any other call is rejected.
const fn denies(invocation: &Invocation) -> Verdict {
    match invocation {
        Invocation::Access(Access::Request { .. } | Access::Decrypt { .. }) => Verdict::Deny,
        _ => Verdict::Rejected,
    }
}

impl<R: Reader> Call<'_, R> {
    /// All authors must be active; the first one acts.
    fn authors(&self, keys: &[PublicKey]) -> Result<PersonRow, Stop> {
        let mut first = None;
        for key in keys {
            let row = self.person(key)?;
            first.get_or_insert(row);
        }
        first.ok_or_else(|| ReasonCode::UnknownAuthor.into())
    }

    /// The active person with this key.
    pub(crate) fn person(&self, key: &PublicKey) -> Result<PersonRow, Stop> {
        let row: PersonRow = self.world.get(key)?.ok_or(ReasonCode::UnknownAuthor)?;
        match row.status {
            PersonStatus::Active => Ok(row),
            PersonStatus::Suspended => Err(ReasonCode::Suspended.into()),
            PersonStatus::Revoked => Err(ReasonCode::KeyRevoked.into()),
        }
    }

    /// Refuses anyone whose role is not one of these.
    pub(crate) fn require(&self, author: &PersonRow, roles: &[Role]) -> Result<(), Stop> {
        if roles.contains(&author.person.role) { Ok(()) } else { Err(ReasonCode::Role.into()) }
    }

    fn finish(self, result: Result<Outcome, Stop>, refused: Verdict) -> Result<Effect, StoreError> {
        let Self { about, custody, .. } = self;
        match result {
            Ok(outcome) => Ok(Effect { outcome, about, custody, holds: true }),
            Err(Stop::Refused(reason)) => {
                Ok(Effect { outcome: Outcome::of(refused, reason), about, custody: Vec::new(), holds: false })
            }
            Err(Stop::Store(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
