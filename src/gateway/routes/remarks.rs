//! Beside the ledger: remarks on requests, the titles of records, and whom a record concerns.
//!
//! A remark is sealed to its readers; this gateway keeps it and cannot read it. A title is in clear, for
//! whoever may know of its record.

use super::{
    answer::{At, Items, OnChannel, base64, blob, blocking, now, read, unknown_record},
    records::RecordPath,
    requests::RequestPath,
    schema::{Base64, Hex, PersonRole, ReceiptText},
};
use crate::{
    gateway::{
        RealNode, Shared,
        auth::Caller,
        error::ApiError,
        json::{StrictJson, StrictPath},
    },
    node::{Deed, GatewayError, Party, RemarkShown},
    problem::Problem,
};
use axum::{
    Router,
    routing::{get, put},
};
use dmdl_types::{
    codec,
    genesis::Person,
    id::{NodeId, RecordId, TransactionId},
    limits,
    title::Title,
};
use dmdl_vault::remark::{REMARK_BYTES_MAX, Remark as SealedRemark};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::runtime::Handle;
use utoipa::ToSchema;

/// Longest encoded title that is read, so that one with too long a text is told so.
const TITLE_READ_MAX: usize = 256 + limits::TITLE_BYTES;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/channels/{c}/records/{id}/parties", get(parties))
        .route("/v1/channels/{c}/records/{id}/title", put(keep_title))
        .route("/v1/channels/{c}/requests/{id}/remarks", get(remarks).put(keep_remark))
}

/// A transaction with proof of what became of it.
#[derive(Serialize, ToSchema)]
pub(super) struct DeedShown {
    /// Its canonical encoding.
    #[schema(value_type = Base64)]
    transaction: String,
    /// Proof of its outcome.
    #[schema(value_type = ReceiptText)]
    receipt: String,
}

impl From<&Deed> for DeedShown {
    fn from(deed: &Deed) -> Self {
        Self { transaction: base64(&codec::encode(&deed.transaction)), receipt: deed.receipt.to_text() }
    }
}

/// Who somebody is, as the genesis document or an enrolment says it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema")]
pub(super) struct PersonSaid {
    /// The key that the person signs with.
    #[schema(value_type = Hex)]
    key: String,
    /// The organisation.
    org: String,
    /// What the organisation calls the person.
    name: String,
    /// What the person may do.
    #[schema(value_type = PersonRole)]
    role: String,
}

/// A person whom a record concerns.
#[derive(Serialize, ToSchema)]
pub(super) struct PartyShown {
    /// Who.
    #[schema(value_type = PersonSaid)]
    person: Person,
    /// Whether they may act.
    active: bool,
    /// How they were enrolled; null for people of the genesis document.
    enrolment: Option<DeedShown>,
}

/// Whom a record concerns.
#[derive(Serialize, ToSchema)]
pub(super) struct PartiesShown {
    /// How the owner came to own it.
    acquired: DeedShown,
    /// The owner, the committee of the owner's organisation, and officers.
    people: Vec<PartyShown>,
}

/// Whom a record concerns, proved: those to whom a remark about it is sealed.
#[utoipa::path(get, path = "/v1/channels/{c}/records/{id}/parties", tag = "remarks", params(RecordPath),
    responses(
        (status = 200, description = "The people.", body = PartiesShown),
        (status = 404, description = "`unknown_record`: none, or none that the caller may know of."),
        (status = 504, description = "`not_final`: what made somebody a party is not yet cosigned.")))]
pub(super) async fn parties(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictPath(path): StrictPath<RecordPath>,
) -> Result<At<PartiesShown>, ApiError> {
    read(&node, move |reading| reading.visible_record(&caller.person, path.id)?.map(drop).ok_or_else(unknown_record))
        .await?;
    let parties = apart(&node, move |node| async move { node.parties(path.id).await }).await?;
    let parties = parties.ok_or_else(unknown_record)?;
    let shown = |Party { person, active, enrolment }: Party| PartyShown {
        person,
        active,
        enrolment: enrolment.as_ref().map(DeedShown::from),
    };
    let people = parties.people.into_iter().map(shown).collect();
    Ok(now(&node, PartiesShown { acquired: DeedShown::from(&parties.acquired), people }))
}

/// A request or its review, with the remark on it.
#[derive(Serialize, ToSchema)]
pub(super) struct Remark {
    /// The request or the review, in its canonical encoding.
    #[schema(value_type = Base64)]
    transaction: String,
    /// The sealed remark, as docs/spec/remark.md has it; null where there is none.
    #[schema(value_type = Option<Base64>)]
    remark: Option<String>,
}

impl From<RemarkShown> for Remark {
    fn from(shown: RemarkShown) -> Self {
        Self {
            transaction: base64(&codec::encode(&shown.transaction)),
            remark: shown.remark.map(|bytes| base64(&bytes)),
        }
    }
}

/// The reason of a request and the comment of its review, sealed to the parties.
#[utoipa::path(get, path = "/v1/channels/{c}/requests/{id}/remarks", tag = "remarks", params(RequestPath),
    responses(
        (status = 200, description = "The request, and its review once there is one.", body = Items<Remark>),
        (status = 404, description = "`unknown_request`: none, or none that the caller may know of.")))]
pub(super) async fn remarks(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictPath(path): StrictPath<RequestPath>,
) -> Result<At<Items<Remark>>, ApiError> {
    check_request(&node, &caller, path.id).await?;
    let shown = apart(&node, move |node| async move { node.remarks_of(path.id).await }).await?;
    Ok(now(&node, Items { items: shown.into_iter().map(Remark::from).collect() }))
}

/// A remark.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RemarkGiven {
    /// Its canonical encoding, signed by its author.
    #[schema(value_type = Base64)]
    remark: String,
}

/// Keeps a remark on a request or its review, or takes it back: both are signed by its author.
///
/// Doing it again does no harm. What was taken back does not come again.
#[utoipa::path(put, path = "/v1/channels/{c}/requests/{id}/remarks", tag = "remarks", params(RequestPath),
    request_body = RemarkGiven,
    responses(
        (status = 204, description = "It is kept; or it is taken back, everywhere."),
        (status = 400, description = "`noncanonical`, `bad_base64`: no remark."),
        (status = 403, description = "`not_author`: only who made a transaction remarks on it."),
        (status = 404, description = "`unknown_request`: none, or none that the caller may know of."),
        (status = 409, description = "`remark_exists`: another one is kept. `remark_withdrawn`: it was taken back."),
        (status = 422, description = "`remark_invalid`: not signed, not well formed, or of another transaction. \
            `commitment_mismatch`: not the one that the request commits to. `too_long`."),
        (status = 503, description = "`incomplete`: taken back here; some nodes may still have it."),
        (status = 507, description = "`storage_full`: the node's disk is full; another gateway can take it.")))]
pub(super) async fn keep_remark(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictPath(path): StrictPath<RequestPath>,
    StrictJson(given): StrictJson<RemarkGiven>,
) -> Result<StatusCode, ApiError> {
    check_request(&node, &caller, path.id).await?;
    let remark: SealedRemark = decode(&given.remark, REMARK_BYTES_MAX)?;
    let signed = remark.verify(&node.channel().domain());
    let signed = signed.map_err(|error| ApiError::new(422, "remark_invalid", error))?;
    if signed.author() != caller.key {
        return Err(ApiError::new(403, "not_author", "only who made a transaction remarks on it"));
    }
    let (of, remark) = (signed.transaction(), signed.remark().clone());
    let handed_in = apart(&node, move |node| async move {
        Ok(if node.takes_remark(path.id, of)? { Some(node.hand_in_remark(remark).await?) } else { None })
    });
    let missed = handed_in.await?;
    complete(&missed.ok_or_else(|| ApiError::new(422, "remark_invalid", "the remark is of another request"))?)
}

/// Has the node do what reads much of the ledger or writes files on a thread that is there for it.
async fn apart<T, F>(node: &RealNode, work: impl FnOnce(RealNode) -> F + Send + 'static) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, GatewayError>>,
{
    let (node, runtime) = (Arc::clone(node), Handle::current());
    Ok(blocking(move || runtime.block_on(work(node))).await??)
}

/// Finds out whether the caller may know of a request.
async fn check_request(node: &RealNode, caller: &Caller, id: TransactionId) -> Result<(), ApiError> {
    let person = caller.person.clone();
    let unknown = || ApiError::new(404, "unknown_request", "there is no such request, or none that you may know of");
    let visible = read(node, move |reading| Ok(reading.visible_request(&person, id)?.is_some())).await?.body;
    if visible { Ok(()) } else { Err(unknown()) }
}

/// A title.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TitleGiven {
    /// Its canonical encoding, signed by the record's owner.
    #[schema(value_type = Base64)]
    title: String,
}

/// Gives a record a title in the members' catalogue, or takes it back with an empty text.
#[utoipa::path(put, path = "/v1/channels/{c}/records/{id}/title", tag = "remarks", params(RecordPath),
    request_body = TitleGiven,
    responses(
        (status = 204, description = "It is kept; or it is taken back, everywhere."),
        (status = 400, description = "`noncanonical`, `bad_base64`: no title."),
        (status = 403, description = "`role`: only a record's owner gives it a title."),
        (status = 404, description = "`unknown_record`: none, or none that the caller may know of."),
        (status = 409, description = "`record_erased`. `title_superseded`: a later title is kept, and shown from now on."),
        (status = 422, description = "`title_not_signed`, `bad_title`, `too_long`: no title of this record, or one \
            of a time more than a day ahead."),
        (status = 503, description = "`incomplete`: taken back here; some nodes may still have it."),
        (status = 507, description = "`storage_full`: the node's disk is full; another gateway can take it.")))]
pub(super) async fn keep_title(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictPath(path): StrictPath<RecordPath>,
    StrictJson(given): StrictJson<TitleGiven>,
) -> Result<StatusCode, ApiError> {
    let person = caller.person.clone();
    let row = read(&node, move |reading| reading.visible_record(&person, path.id)?.ok_or_else(unknown_record));
    if row.await?.body.owner != caller.key {
        return Err(ApiError::new(403, "role", "only a record's owner gives it a title"));
    }
    let title: Title = decode(&given.title, TITLE_READ_MAX)?;
    check_named(title.record(), path.id)?;
    complete(&apart(&node, move |node| async move { node.hand_in_title(title).await }).await?)
}

fn check_named(named: RecordId, asked: RecordId) -> Result<(), ApiError> {
    if named == asked { Ok(()) } else { Err(ApiError::new(422, "title_not_signed", "the title is of another record")) }
}

fn decode<T: borsh::BorshSerialize + borsh::BorshDeserialize>(text: &str, bytes_max: usize) -> Result<T, ApiError> {
    let bytes = blob(text, bytes_max)?;
    codec::decode(&bytes, bytes_max).map_err(|error| ApiError::new(400, "noncanonical", error))
}

/// What was taken back must be gone everywhere.
fn complete(missed: &[NodeId]) -> Result<StatusCode, ApiError> {
    Problem::check_complete(missed)?;
    Ok(StatusCode::NO_CONTENT)
}
