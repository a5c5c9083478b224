//! Problems: what a gateway tells people when it cannot help, and the one place where errors of a node
//! meet HTTP statuses and public words.
//!
//! # Source
//! RFC 9457; docs/api.md

use crate::node::{AskError, FoundError, GatewayError, Refused};
use dmdl_audit_ledger::{audit::ExportError, channel::SubmitError, log::LogError, store::StoreError};
use dmdl_types::{access::ReasonCode, event::Outcome, id::NodeId};
use dmdl_vault::store::{GetError, PutError};
use std::{borrow::Cow, fmt};

/// Longest text of a problem: an error must not echo what somebody sent.
const DETAIL_CHARS: usize = 600;
/// The codes of too much at a time. What is refused so was not begun: asking again does no harm.
pub const TOO_MUCH: [&str; 4] = ["overloaded", "rate_limited", "busy", "quota"];

/// A problem, as machines and people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// A stable code.
    pub code: Cow<'static, str>,
    /// A sentence without secrets.
    pub detail: String,
}

impl Problem {
    /// A problem; text that came from elsewhere is cut and cleaned.
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, detail: impl fmt::Display) -> Self {
        let text = detail.to_string();
        let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        Self { status, code: code.into(), detail: clean.take(DETAIL_CHARS).collect() }
    }

    /// The problem of a call that the ledger denied or rejected.
    #[must_use]
    pub fn of_outcome(outcome: &Outcome) -> Self {
        let detail = outcome.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        if outcome.verdict == dmdl_types::event::Verdict::Deny {
            return Self::new(403, "denied", detail);
        }
        match outcome.reasons.first() {
            Some(reason) => Self::new(status_of(reason.code), reason.code.as_str(), detail),
            None => Self::new(422, "rejected", "the ledger rejected the call"),
        }
    }

    /// The problem of what was taken back and may still be at some nodes; none if it is gone everywhere.
    ///
    /// # Errors
    /// [`Problem`] when a node missed it.
    pub fn check_complete(missed: &[NodeId]) -> Result<(), Self> {
        if missed.is_empty() {
            return Ok(());
        }
        let missed = missed.len();
        let detail = format!("{missed} nodes did not confirm it, and may still have it; do it again when they are up");
        Err(Self::new(503, "incomplete", detail))
    }

    /// What went wrong inside is logged, and told to nobody.
    fn internal(error: &dyn fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        Self::new(503, "unavailable", "the node cannot answer at the moment; try again, or another gateway")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.code)
    }
}

/// The status of a call that cannot be applied.
const fn status_of(code: ReasonCode) -> u16 {
    use ReasonCode as R;
    match code {
        R::UnknownRecord | R::UnknownRequest | R::UnknownGrant | R::UnknownDecryption | R::UnknownProposal => 404,
        R::Role | R::Suspended | R::KeyRevoked | R::UnknownAuthor | R::GrantMismatch | R::NotCustodian => 403,
        R::IdReuse | R::AlreadyDecided | R::Replayed | R::Duplicate | R::BadVersion | R::RecordErased => 409,
        R::QuotaExceeded => 429,
        _ => 422,
    }
}

impl From<GatewayError> for Problem {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Refused(refused) => refused.into(),
            GatewayError::NotEndorsed { .. } => Self::new(503, "not_endorsed", error),
            GatewayError::Submit(error) => error.into(),
            GatewayError::NotFinal(_) => Self::new(504, "not_final", error),
            GatewayError::Ask { source: AskError::Busy, .. } => Self::new(429, "busy", error),
            GatewayError::Ask { .. } => Self::new(503, "custodian_unavailable", error),
            GatewayError::NodeRefused { node, refused } => {
                let Self { status, code, detail } = refused.into();
                Self::new(status, code, format_args!("node `{node}`: {detail}"))
            }
            GatewayError::Export(ExportError::NothingFinal | ExportError::NoHistory) => {
                Self::new(503, "not_final", "no checkpoint is final here yet; try again in a moment")
            }
            GatewayError::Export(ExportError::Log(error)) => error.into(),
            GatewayError::Export(error) => Self::internal(&error),
            GatewayError::Store(error) => error.into(),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let status = match refused.code.as_str() {
            "tx_invalid"
            | "too_long"
            | "tx_expiry"
            | "blob_missing"
            | "too_many"
            | "bad_share"
            | "altered"
            | "unknown_key"
            | "unknown_person"
            | "inactive_person"
            | "remark_invalid"
            | "commitment_mismatch"
            | "bad_title"
            | "title_not_signed" => 422,
            "unknown_author" | "key_revoked" => 401,
            "denied" | "role" | "not_custodian" | "not_final" | "not_author" => 403,
            "unknown_transaction" => 404,
            "over" | "remark_exists" | "remark_withdrawn" | "title_superseded" => 409,
            "quota" => 429,
            // A node's refusal may carry the reason for which the ledger would reject the call.
            code => match serde_json::from_value::<ReasonCode>(code.into()) {
                Ok(reason) => status_of(reason),
                Err(_) => 503,
            },
        };
        Self::new(status, refused.code, refused.detail)
    }
}

impl From<FoundError> for Problem {
    fn from(error: FoundError) -> Self {
        match error {
            FoundError::Charter(_) => Self::new(422, "bad_charter", error),
            FoundError::NotMember => Self::new(403, "not_member", error),
            FoundError::NameTaken(_) => Self::new(409, "name_taken", error),
            FoundError::TooMany => Self::new(507, "too_many_channels", error),
            FoundError::PolicyEngine { .. } => Self::new(422, "policy_engine", error),
            error => Self::internal(&error),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Store(error) => error.into(),
            SubmitError::Busy(_) => Self::new(503, "overloaded", error),
            SubmitError::Executed => Self::new(409, "replayed", error),
            error => Self::new(422, "tx_invalid", error),
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Proof(_) => Self::new(404, "future_height", "the log has no such size"),
            LogError::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<GetError> for Problem {
    fn from(error: GetError) -> Self {
        match error {
            GetError::Missing { .. } => Self::new(404, "unknown_payload", "there is no such payload"),
            GetError::NoSuchRange { .. } => Self::new(416, "range", error),
            GetError::Corrupt { .. } => Self::new(502, "blob_corrupt", error),
            error => Self::internal(&error),
        }
    }
}

impl From<PutError> for Problem {
    fn from(error: PutError) -> Self {
        match error {
            PutError::DigestMismatch { .. } | PutError::LengthMismatch { .. } => {
                Self::new(422, "digest_mismatch", error)
            }
            error => {
                tracing::error!(%error, "a payload was not stored");
                Self::new(507, "vault_unavailable", "the vault cannot take the payload at the moment; try again later")
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}
