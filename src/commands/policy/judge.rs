//! Deciding here as every node would decide: the words of the contract `access`, on facts that were asked for.

use super::super::{failure, record, session::Session};
use crate::{client::AskGatewayError, exit::Failure, local::wall_clock};
use dmdl_policies::{Action, Facts, ParsedPolicy, Request, decide};
use dmdl_types::{
    access::{Decision, DuoCode, Permission, PolicyDocument, Ruling},
    id::{OrgId, RecordId, UnixMillis},
    sign::PublicKey,
};
use serde_json::Value;

/// What is known of a record.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) id: RecordId,
    pub(super) owner: PublicKey,
    pub(super) org: OrgId,
    pub(super) media_type: String,
}

impl Record {
    /// What a gateway says of a record.
    pub(super) fn of(session: &Session, id: RecordId) -> Result<Self, Failure> {
        let row = record::row(session, id)?;
        let text = |name| row.get(name).and_then(Value::as_str);
        let read = || {
            let media_type = text("media_type")?.to_owned();
            Some(Self { id, owner: text("owner")?.parse().ok()?, org: text("org")?.parse().ok()?, media_type })
        };
        read().ok_or_else(|| nonsense("the record has no owner or media type"))
    }
}

/// What else a decision depends on.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) now: UnixMillis,
    pub(super) suspended: bool,
    pub(super) cohort: u32,
}

impl Known {
    /// A requester in good standing who has opened nothing yet, now.
    pub(super) fn plain() -> Self {
        Self { now: wall_clock().now(), suspended: false, cohort: 0 }
    }
}

/// A policy that is ready to decide.
pub(super) struct Judge {
    parsed: ParsedPolicy,
    permission: Permission,
}

impl Judge {
    /// A record's policy; without one it excludes nothing and leaves all to review.
    pub(super) fn of(policy: Option<&PolicyDocument>) -> Result<Self, Failure> {
        Ok(match policy {
            Some(document) => Self {
                parsed: ParsedPolicy::parse(document).map_err(super::invalid)?,
                permission: document.permission.clone(),
            },
            None => Self {
                parsed: ParsedPolicy::default_for_channel(),
                permission: Permission { code: DuoCode::Nres, diseases: Vec::new() },
            },
        })
    }

    pub(super) const fn permission(&self) -> &Permission {
        &self.permission
    }

    /// Decides about a request.
    pub(super) fn rule(&self, record: &Record, request: &Request, known: Known) -> Decision {
        let facts = Facts {
            record: record.id,
            owner: record.owner,
            owner_org: record.org.clone(),
            media_type: record.media_type.clone(),
            permission: self.permission.clone(),
            now: known.now,
            suspended: known.suspended,
            grant: None,
            cohort: known.cohort,
        };
        decide(Action::Request, request, &facts, &self.parsed)
    }
}

/// A ruling in one word.
pub(super) const fn word(ruling: Ruling) -> &'static str {
    match ruling {
        Ruling::Allow => "ALLOW",
        Ruling::Deny => "DENY",
        Ruling::Review => "REVIEW",
    }
}

pub(super) fn nonsense(what: &str) -> Failure {
    failure::gateway(&AskGatewayError::Nonsense(what.to_owned()))
}
