//! `access`: custody, policies, requests, grants and decryptions.

mod accuse;
mod decrypt;
mod register;
mod request;

pub use register::{assignment, share_context};
pub(super) use register::{check_custodians, check_threshold};

use super::{Call, Stop, medical, reshare};
use crate::{
    store::Reader,
    world::{PersonRow, RecordRow, RecordState},
};
use dmdl_policies::ParsedPolicy;
use dmdl_types::{
    access::{PolicyDocument, ReasonCode},
    event::Outcome,
    genesis::Role,
    id::{PolicyId, RecordId},
    invocation::Access,
    planted,
};
use std::sync::Arc;

pub(super) fn invoke<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    invocation: &Access,
) -> Result<Outcome, Stop> {
    match invocation {
        Access::Register(registration) => register::register(call, author, registration),
        Access::SetPolicy { record, policy } => set_policy(call, author, record, policy),
        Access::Request { record, terms, reason: _ } => request::request(call, author, record, terms),
        Access::Approve { request } => request::review(call, author, *request, true),
        Access::Deny { request } => request::review(call, author, *request, false),
        Access::Revoke { grant } => request::revoke(call, author, *grant),
        Access::Decrypt { record, version, authority, keys } => {
            decrypt::decrypt(call, author, record, *version, authority, keys)
        }
        Access::Rekey { decryption, keys } => decrypt::rekey(call, author, *decryption, keys),
        Access::Erase { record } => medical::delete(call, author, record),
        Access::Reshare(plan) => reshare::begin(call, author, plan),
        Access::Accuse(accusation) => accuse::accuse(call, author, accusation),
    }
}

fn set_policy<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    record: &RecordId,
    policy: &PolicyDocument,
) -> Result<Outcome, Stop> {
    let mut row = medical::owned_record(call, author, record)?;
    row.policy = Some(store_policy(call, policy)?);
    call.world.put(record, &row);
    Ok(Outcome::applied())
}

/// Validates a policy and keeps it under its id.
fn store_policy<R: Reader>(call: &mut Call<'_, R>, policy: &PolicyDocument) -> Result<PolicyId, Stop> {
    call.ctx.policies.parse(policy).map_err(|_| ReasonCode::PolicyInvalid)?;
    let id = policy.id();
    call.about.policy = Some(id);
    call.world.put(&id, policy);
    Ok(id)
}

/// The policy with this id, ready to decide; none is the channel's default.
fn load_policy<R: Reader>(call: &Call<'_, R>, id: Option<PolicyId>) -> Result<Arc<ParsedPolicy>, Stop> {
    let Some(id) = id else { return Ok(Arc::new(ParsedPolicy::default_for_channel())) };
    if let Some(known) = call.ctx.policies.known(id) {
        return Ok(known);
    }
    // Only valid policies are stored. One that no longer parses decides nothing: that is a denial.
    let document: PolicyDocument = call.world.get(&id)?.ok_or(ReasonCode::PolicyError)?;
    call.ctx.policies.parse(&document).map_err(|_| ReasonCode::PolicyError.into())
}

/// A record that the author may know of: one that is listed, one of the author's organisation, or one
/// that the author was granted.
fn visible_record<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    id: &RecordId,
    granted: bool,
) -> Result<RecordRow, Stop> {
    call.about.record = Some(*id);
    let row: RecordRow = call.world.get(id)?.ok_or(ReasonCode::UnknownRecord)?;
    if !row.metadata.listed && !granted && row.org != author.person.org && row.owner != author.person.key {
        let absent = planted!("forbidden-tells-from-absent" => ReasonCode::Role, else ReasonCode::UnknownRecord);
        return Err(absent.into());
    }
    call.about.subject = row.metadata.subject;
    if row.state == RecordState::Erased {
        return Err(ReasonCode::RecordErased.into());
    }
    Ok(row)
}

/// Whether a person decides about a record: its owner, or its organisation's committee.
#[must_use]
pub fn decides(author: &PersonRow, row: &RecordRow) -> bool {
    row.owner == author.person.key || (row.org == author.person.org && author.person.role == Role::Committee)
}

/// Whether a person may read of a record without having asked for it: one that is listed, one that they
/// decide about, and every record for an officer.
///
/// Narrower than who may ask: a colleague of the owner may ask for an unlisted record that they were told
/// of, and reads of it once they have.
#[must_use]
pub fn may_read(person: &PersonRow, row: &RecordRow) -> bool {
    row.metadata.listed || person.person.role == Role::Officer || decides(person, row)
}
