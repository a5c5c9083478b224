//! The catalogue: records, their history, their custody and their policies.

use super::{
    answer::{At, Listing, OnChannel, Paging, base64, page_error, patience, read, unknown_record},
    schema::{Base64, Duo, Hex, PermissionShown, ReceiptText},
};
use crate::gateway::{
    RealNode, Shared,
    auth::Caller,
    error::ApiError,
    json::{StrictPath, StrictQuery},
};
use axum::{Router, routing::get};
use dmdl_audit_ledger::{
    channel::{Reading, RecordFilter},
    store::RocksStore,
    world::{ErasureRow, HistoryKind, HistoryRow, RecordRow, RecordState, VersionRow, VersionState},
};
use dmdl_types::{
    access::{DuoCode, PolicyDocument},
    codec,
    id::{NodeId, OrgId, PayloadDigest, PolicyId, RecordId, RecordVersion, SubjectId, TransactionId, UnixMillis},
    limits,
    sign::{PublicKey, Signature},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Longest text that records are searched for.
const TEXT_CHARS: usize = 128;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/channels/{c}/records", get(records))
        .route("/v1/channels/{c}/records/{id}", get(record))
        .route("/v1/channels/{c}/records/{id}/history", get(history))
        .route("/v1/channels/{c}/records/{id}/custody", get(custody))
        .route("/v1/channels/{c}/records/{id}/policy", get(policy))
}

/// Where a record is in its life.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum LifeState {
    /// In the catalogue, with nothing in custody.
    Catalogued,
    /// Registered, and not enough acknowledgements yet.
    Pending,
    /// At least one version can be opened.
    Active,
    /// Nothing of it will ever be released again.
    Erased,
}

/// A record, as the catalogue has it.
#[derive(Serialize, ToSchema)]
pub(super) struct Record {
    /// The record.
    #[schema(value_type = Hex)]
    record: RecordId,
    /// Who owns it now.
    #[schema(value_type = Hex)]
    owner: PublicKey,
    /// The owner's organisation.
    #[schema(value_type = String)]
    org: OrgId,
    /// Where it is in its life.
    state: LifeState,
    /// Its media type.
    #[schema(example = "application/dicom")]
    media_type: String,
    /// What its owner calls it, beside the ledger; null if there never was a title.
    title: Option<TitleShown>,
    /// Whether only some people may know of it.
    unlisted: bool,
    /// The pseudonymous patient.
    #[schema(value_type = Option<Hex>)]
    subject: Option<SubjectId>,
    /// What it may be used for; null without a policy.
    permission: Option<PermissionShown>,
    /// Its policy; null for the channel's default.
    #[schema(value_type = Option<Hex>)]
    policy: Option<PolicyId>,
    /// The last version that was registered; 0 for none.
    last_version: u32,
    /// The last version that became active; 0 for none.
    active_version: u32,
    /// When it was registered, in milliseconds since 1970.
    #[schema(value_type = u64)]
    registered: UnixMillis,
    /// The sealed payload of the active version, or else of the last; null without one.
    payload: Option<PayloadShown>,
    /// How many shares open that version; null without one.
    threshold: Option<usize>,
    /// Who keeps its shares.
    #[schema(value_type = Vec<Hex>)]
    custodians: Vec<NodeId>,
    /// Who has said that nothing of them is left, once it is erased; null before, and for one that never was in custody.
    erasure: Option<Erasure>,
}

/// What custodians say of an erased record.
#[derive(Serialize, ToSchema)]
pub(super) struct Erasure {
    /// The call that erased it.
    #[schema(value_type = Hex)]
    transaction: TransactionId,
    /// Who says that nothing is left that opens it.
    destroyed: Vec<DestroyedShown>,
    /// Who may have had something, and has not said so yet.
    #[schema(value_type = Vec<Hex>)]
    waiting: Vec<NodeId>,
}

/// A custodian's word that it has nothing left.
#[derive(Serialize, ToSchema)]
pub(super) struct DestroyedShown {
    /// The custodian.
    #[schema(value_type = Hex)]
    node: NodeId,
    /// The generation of its key store since which that is so: copies of earlier ones may still open something.
    generation: u64,
}

impl Erasure {
    fn of(row: ErasureRow) -> Self {
        let has_said = |node: &NodeId| row.destroyed.iter().any(|word| word.custodian == *node);
        Self {
            transaction: row.transaction,
            waiting: row.keepers.iter().copied().filter(|node| !has_said(node)).collect(),
            destroyed: row
                .destroyed
                .iter()
                .map(|word| DestroyedShown { node: word.custodian, generation: word.generation })
                .collect(),
        }
    }
}

/// A title, signed by the record's owner.
#[derive(Serialize, ToSchema)]
pub(super) struct TitleShown {
    /// The text; empty when the title was taken back.
    text: String,
    /// When it was given, by the owner's clock, in milliseconds since 1970.
    #[schema(value_type = u64)]
    time: UnixMillis,
    /// The owner's signature, as docs/spec/remark.md has it.
    #[schema(value_type = String)]
    signature: Signature,
}

/// A sealed payload.
#[derive(Serialize, ToSchema)]
pub(super) struct PayloadShown {
    /// BLAKE3 of the sealed bytes: its address.
    #[schema(value_type = Hex)]
    digest: PayloadDigest,
    /// How many sealed bytes there are.
    ciphertext_len_bytes: u64,
}

/// A record as it is shown.
pub(super) fn shown(
    node: &RealNode,
    reading: &Reading<'_, RocksStore>,
    id: RecordId,
    row: RecordRow,
) -> Result<Record, ApiError> {
    let title = node.title(id, row.owner).filter(|_| !row.is_erased());
    let current = if row.active_version > RecordVersion::new(0) { row.active_version } else { row.last_version };
    let version: Option<VersionRow> = reading.row(&(id, current))?;
    let permission = reading.permission(&row)?.map(Into::into);
    let custodians = version.as_ref().map(|version| version.holders.nodes()).unwrap_or_default();
    Ok(Record {
        record: id,
        owner: row.owner,
        org: row.org,
        state: match row.state {
            RecordState::Catalogued => LifeState::Catalogued,
            RecordState::Pending => LifeState::Pending,
            RecordState::Active => LifeState::Active,
            RecordState::Erased => LifeState::Erased,
        },
        media_type: row.metadata.media_type,
        title: title.map(|title| TitleShown {
            text: title.text().to_owned(),
            time: title.time(),
            signature: title.signature(),
        }),
        unlisted: !row.metadata.listed,
        subject: row.metadata.subject,
        permission,
        policy: row.policy,
        last_version: row.last_version.get(),
        active_version: row.active_version.get(),
        registered: row.registered,
        threshold: version.as_ref().map(|version| version.commitments.len()),
        payload: version.map(|version| PayloadShown {
            digest: version.payload.digest,
            ciphertext_len_bytes: version.payload.ciphertext_len_bytes,
        }),
        custodians,
        erasure: reading.row::<ErasureRow>(&id)?.map(Erasure::of),
    })
}

/// Which records are listed.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordsQuery {
    /// Those of this owner.
    #[param(value_type = Option<Hex>)]
    owner: Option<PublicKey>,
    /// Those of this media type.
    #[serde(rename = "type")]
    #[param(max_length = 127, example = "application/dicom")]
    media_type: Option<String>,
    /// Those with this permission.
    #[param(value_type = Option<Duo>)]
    duo: Option<DuoCode>,
    /// Those whose id, media type, organisation or title contains this text.
    #[param(max_length = 128)]
    query: Option<String>,
    /// Those registered at this time or later, in milliseconds since 1970.
    since: Option<u64>,
    /// Most items of the page; 50 if nothing is said.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
}

impl RecordsQuery {
    fn filter(self) -> Result<RecordFilter, ApiError> {
        let too_long =
            |name, most| ApiError::new(422, "too_long", format_args!("`{name}` has at most {most} characters"));
        if self.media_type.as_ref().is_some_and(|text| text.len() > limits::MEDIA_TYPE_BYTES) {
            return Err(too_long("type", limits::MEDIA_TYPE_BYTES));
        }
        if self.query.as_ref().is_some_and(|text| text.chars().count() > TEXT_CHARS) {
            return Err(too_long("query", TEXT_CHARS));
        }
        Ok(RecordFilter {
            owner: self.owner,
            media_type: self.media_type,
            permission: self.duo,
            text: self.query.map(|text| text.to_lowercase()),
            since: self.since.map(UnixMillis::new),
        })
    }
}

/// The catalogue, in the order of ids, as far as the caller may know of it.
#[utoipa::path(get, path = "/v1/channels/{c}/records", tag = "records", params(RecordsQuery),
    responses(
        (status = 200, description = "The records.", body = Listing<Record>),
        (status = 422, description = "`too_long`: a parameter is longer than it may be.")))]
pub(super) async fn records(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictQuery(query): StrictQuery<RecordsQuery>,
) -> Result<At<Listing<Record>>, ApiError> {
    let paging = Paging::new(query.limit.as_deref(), query.cursor.as_deref())?;
    let filter = query.filter()?;
    let gateway = Arc::clone(&node);
    read(&node, move |reading| catalogue(&gateway, reading, &caller, &filter, &paging)).await
}

/// One page of the catalogue.
pub(super) fn catalogue(
    node: &RealNode,
    reading: &Reading<'_, RocksStore>,
    caller: &Caller,
    filter: &RecordFilter,
    paging: &Paging,
) -> Result<Listing<Record>, ApiError> {
    let page = reading.records(&caller.person, filter, paging.cursor(), paging.limit).map_err(page_error)?;
    Listing::of(page, reading.tip().height, |view| shown(node, reading, view.id, view.row))
}

/// A record's id.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct RecordPath {
    /// The record.
    #[param(value_type = Hex)]
    pub(super) id: RecordId,
}

/// A record. One that the caller may not know of is answered like one that does not exist.
#[utoipa::path(get, path = "/v1/channels/{c}/records/{id}", tag = "records", params(RecordPath),
    responses(
        (status = 200, description = "The record.", body = Record),
        (status = 404, description = "`unknown_record`: none, or none that the caller may know of.")))]
pub(super) async fn record(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictPath(path): StrictPath<RecordPath>,
) -> Result<At<Record>, ApiError> {
    let gateway = Arc::clone(&node);
    read(&node, move |reading| {
        let row = reading.visible_record(&caller.person, path.id)?.ok_or_else(unknown_record)?;
        shown(&gateway, reading, path.id, row)
    })
    .await
}

/// What happened to a record.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Happened {
    /// Where it comes from was committed to.
    Source,
    /// It was registered, or a version of it.
    Registration,
    /// Its bytes are stored, and custodians keep its key.
    Storage,
    /// It changed its owner.
    Transfer,
    /// It ended.
    Deletion,
}

/// One entry of a record's history.
#[derive(Serialize, ToSchema)]
pub(super) struct HistoryEntry {
    /// What happened.
    kind: Happened,
    /// By which transaction.
    #[schema(value_type = Hex)]
    transaction: TransactionId,
    /// When, in milliseconds since 1970.
    #[schema(value_type = u64)]
    time: UnixMillis,
    /// Who owns the record since.
    #[schema(value_type = Hex)]
    owner: PublicKey,
}

impl From<HistoryRow> for HistoryEntry {
    fn from(row: HistoryRow) -> Self {
        let kind = match row.kind {
            HistoryKind::Source => Happened::Source,
            HistoryKind::Registration => Happened::Registration,
            HistoryKind::Storage => Happened::Storage,
            HistoryKind::Transfer => Happened::Transfer,
            HistoryKind::Deletion => Happened::Deletion,
        };
        Self { kind, transaction: row.transaction, time: row.time, owner: row.owner }
    }
}

/// Where a page begins, and how long it is.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Most items of the page; 50 if nothing is said.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What happened to a record, oldest first.
#[utoipa::path(get, path = "/v1/channels/{c}/records/{id}/history", tag = "records", params(RecordPath, PageQuery),
    responses(
        (status = 200, description = "Its history.", body = Listing<HistoryEntry>),
        (status = 404, description = "`unknown_record`: none, or none that the caller may know of.")))]
pub(super) async fn history(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictPath(path): StrictPath<RecordPath>,
    StrictQuery(query): StrictQuery<PageQuery>,
) -> Result<At<Listing<HistoryEntry>>, ApiError> {
    let paging = Paging::new(query.limit.as_deref(), query.cursor.as_deref())?;
    read(&node, move |reading| story(reading, &caller, path.id, &paging)).await
}

/// One page of a record's history.
pub(super) fn story(
    reading: &Reading<'_, RocksStore>,
    caller: &Caller,
    id: RecordId,
    paging: &Paging,
) -> Result<Listing<HistoryEntry>, ApiError> {
    reading.visible_record(&caller.person, id)?.ok_or_else(unknown_record)?;
    let page = reading.history(id, paging.cursor(), paging.limit).map_err(page_error)?;
    Listing::of(page, reading.tip().height, |row| Ok(row.into()))
}

/// Which version, and how long to wait for it.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct CustodyQuery {
    /// Which version; the last one that was registered, if nothing is said.
    #[param(value_type = Option<u32>, minimum = 1)]
    version: Option<RecordVersion>,
    /// How long to wait for it to become active, in milliseconds; more than 30000 counts as 30000.
    wait: Option<u64>,
}

/// Where a version is in its life.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum CustodyState {
    /// Waits for acknowledgements.
    Pending,
    /// Enough custodians keep its shares.
    Active,
    /// Its dealer was proved at fault.
    Failed,
    /// Too few custodians acknowledged in time: the owner registers another version.
    Expired,
}

impl CustodyState {
    /// By a block's time: that a version has expired is nothing that anybody writes down.
    fn of(row: &VersionRow, now: UnixMillis) -> Self {
        match row.state {
            VersionState::Active => Self::Active,
            VersionState::Failed => Self::Failed,
            VersionState::Pending if row.is_expired(now) => Self::Expired,
            VersionState::Pending => Self::Pending,
        }
    }
}

/// Proof that a version is registered, and of who keeps its shares.
#[derive(Serialize, ToSchema)]
pub(super) struct Custody {
    /// The version.
    version: u32,
    /// Where it is in its life.
    state: CustodyState,
    /// The registering transaction, in its canonical encoding.
    #[schema(value_type = Base64)]
    registration: String,
    /// Proof of its outcome.
    #[schema(value_type = ReceiptText)]
    receipt: String,
    /// Who keeps its key now, in its canonical encoding; null while its first custodians do.
    #[schema(value_type = Option<Base64>)]
    reshared: Option<String>,
    /// Proof of its present custodians' acknowledgements.
    #[schema(value_type = Vec<ReceiptText>)]
    acknowledgements: Vec<String>,
}

/// Who keeps the key of a record's version, proved.
///
/// Waits for the version to become active if it is asked to, and answers what there is then.
#[utoipa::path(get, path = "/v1/channels/{c}/records/{id}/custody", tag = "records", params(RecordPath, CustodyQuery),
    responses(
        (status = 200, description = "Its custody.", body = Custody),
        (status = 404, description = "`unknown_record`: none, none that the caller may know of, or no such version."),
        (status = 504, description = "`not_final`: registered, and not yet cosigned.")))]
pub(super) async fn custody(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictPath(path): StrictPath<RecordPath>,
    StrictQuery(query): StrictQuery<CustodyQuery>,
) -> Result<At<Custody>, ApiError> {
    let version = read(&node, move |reading| {
        let row = reading.visible_record(&caller.person, path.id)?.ok_or_else(unknown_record)?;
        let version = query.version.unwrap_or(row.last_version);
        // What is not there is not waited for.
        reading.row::<VersionRow>(&(path.id, version))?.map(|_| version).ok_or_else(unknown_record)
    });
    let version = version.await?.body;
    let proof = node.custody(path.id, version, patience(query.wait)).await?.ok_or_else(unknown_record)?;
    let state = read(&node, move |reading| {
        let row: Option<VersionRow> = reading.row(&(path.id, version))?;
        Ok(row.map(|row| CustodyState::of(&row, reading.tip().time)))
    });
    let At { height, body: state } = state.await?;
    let body = Custody {
        version: version.get(),
        state: state.unwrap_or(CustodyState::Pending),
        registration: base64(&codec::encode(&proof.registration)),
        receipt: proof.receipt.to_text(),
        reshared: proof.reshared.map(|kept| base64(&codec::encode(&kept))),
        acknowledgements: proof.acknowledgements.iter().map(|receipt| receipt.to_text()).collect(),
    };
    Ok(At { height, body })
}

/// What decides about requests for a record.
#[derive(Serialize, ToSchema)]
pub(super) struct Policy {
    /// The policy, by the hash of its document; null for the channel's default.
    #[schema(value_type = Option<Hex>)]
    policy: Option<PolicyId>,
    /// What the record may be used for.
    permission: Option<PermissionShown>,
    /// The owner's rules, in Cedar.
    rules: Option<String>,
}

/// The policy of a record; without one, its owner or their committee decides.
#[utoipa::path(get, path = "/v1/channels/{c}/records/{id}/policy", tag = "records", params(RecordPath),
    responses(
        (status = 200, description = "Its policy.", body = Policy),
        (status = 404, description = "`unknown_record`: none, or none that the caller may know of.")))]
pub(super) async fn policy(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictPath(path): StrictPath<RecordPath>,
) -> Result<At<Policy>, ApiError> {
    read(&node, move |reading| {
        let row = reading.visible_record(&caller.person, path.id)?.ok_or_else(unknown_record)?;
        let document = row.policy.map_or(Ok(None), |policy| reading.row::<PolicyDocument>(&policy))?;
        let (permission, rules) = document.map(|document| (document.permission.into(), document.rules)).unzip();
        Ok(Policy { policy: row.policy, permission, rules })
    })
    .await
}
