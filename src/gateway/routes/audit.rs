//! The audit trail: its head, proofs, events and bundles.

use super::{
    answer::{At, Listing, OnChannel, Paging, blocking, now, page_error, read},
    schema::{Duo, Hex, Outcome, Placed},
};
use crate::{
    gateway::{
        RealNode, Shared,
        admission::{Holder, Places},
        auth::Caller,
        error::ApiError,
        json::StrictQuery,
    },
    http::HEIGHT,
    node::{FULL, GatewayError},
    problem::Problem,
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse as _, Response},
    routing::get,
};
use dmdl_audit_ledger::{audit::ExportError, channel::EventFilter};
use dmdl_types::{
    access::DuoCode,
    checkpoint::CosignedCheckpoint,
    id::{RecordId, SubjectId, UnixMillis},
    index_proof::HeadKey,
    sign::PublicKey,
};
use futures::stream;
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use std::{
    convert::Infallible,
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::runtime::Handle;
use utoipa::{IntoParams, ToSchema};

const NOTE: &str = "text/plain; charset=utf-8";
/// Bundles that are made or sent at a time: each is in memory whole.
const EXPORTS_MAX: usize = 4;
/// Bytes of a bundle that are sent at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// How long a bundle waits for its place, and for a final checkpoint that covers it.
const EXPORT_PATIENCE: Duration = Duration::from_secs(10);

/// Places for bundles, for all gateways of a process: it is the process whose memory is bounded.
static EXPORTS: LazyLock<Places> = LazyLock::new(|| Places::new(EXPORTS_MAX));

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/channels/{c}/audit/checkpoint", get(checkpoint))
        .route("/v1/channels/{c}/audit/proof", get(proof))
        .route("/v1/channels/{c}/audit/events", get(audit_events))
        .route("/v1/channels/{c}/audit/export", get(export))
}

/// The newest checkpoint that enough organisations have cosigned: a signed note.
#[utoipa::path(get, path = "/v1/channels/{c}/audit/checkpoint", tag = "audit", security(()),
    responses(
        (status = 200, description = "The checkpoint, as docs/spec/checkpoint.md has it.", body = String, content_type = "text/plain"),
        (status = 503, description = "`not_final`: there is none yet.")))]
pub(super) async fn checkpoint(OnChannel(node): OnChannel) -> Result<Response, ApiError> {
    let newest = newest(&node).await?;
    let none = || ApiError::new(503, "not_final", "no checkpoint is cosigned yet; try again in a moment");
    Ok(([(header::CONTENT_TYPE, NOTE)], newest.ok_or_else(none)?.to_note()).into_response())
}

/// The newest cosigned checkpoint: of the cosignatures that this node has gathered, or of those that a
/// final header carries, when it has started since.
async fn newest(node: &RealNode) -> Result<Option<CosignedCheckpoint>, ApiError> {
    let channel = node.channel();
    if let Some(cosigned) = channel.cosigned(0)? {
        return Ok(Some(cosigned));
    }
    let (Some(anchor), Some(chain)) = (channel.tip().anchor, node.chain()) else { return Ok(None) };
    Ok(chain.block(anchor.height).await.and_then(|block| block.header().checkpoint.clone()))
}

/// Two sizes of the log.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ProofQuery {
    /// The smaller size.
    old: u64,
    /// The larger size.
    new: u64,
}

/// Proof that one log is the beginning of another.
#[derive(Serialize, ToSchema)]
pub(super) struct Consistency {
    /// The smaller size.
    old: u64,
    /// The larger size.
    new: u64,
    /// The hashes of the proof, as RFC 9162 section 2.1.4 has them; none for a log of size 0, which every
    /// log begins with.
    #[schema(value_type = Vec<Hex>)]
    hashes: Vec<String>,
}

/// Proof that the log of `new` events begins with that of `old`.
#[utoipa::path(get, path = "/v1/channels/{c}/audit/proof", tag = "audit", security(()), params(ProofQuery),
    responses(
        (status = 200, description = "The proof.", body = Consistency),
        (status = 400, description = "`range`: `old` is more than `new`."),
        (status = 404, description = "`future_height`: the log is not that long.")))]
pub(super) async fn proof(
    OnChannel(node): OnChannel,
    StrictQuery(query): StrictQuery<ProofQuery>,
) -> Result<At<Consistency>, ApiError> {
    let ProofQuery { old, new } = query;
    if old > new {
        return Err(ApiError::new(400, "range", "`old` is more than `new`"));
    }
    check_size(&node, new)?;
    let hashes = match old {
        0 => Vec::new(),
        _ => node.consistency(old, new).map_err(Problem::from)?.hashes,
    };
    Ok(now(&node, Consistency { old, new, hashes: hashes.iter().map(hex::encode).collect() }))
}

fn check_size(node: &RealNode, size: u64) -> Result<(), ApiError> {
    if size <= node.log_size() {
        return Ok(());
    }
    Err(ApiError::new(404, "future_height", "the log is not that long here"))
}

/// Which events are listed.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Those that concern this record.
    #[param(value_type = Option<Hex>)]
    record: Option<RecordId>,
    /// Those of this actor.
    #[param(value_type = Option<Hex>)]
    actor: Option<PublicKey>,
    /// Those that concern this subject.
    #[param(value_type = Option<Hex>)]
    subject: Option<SubjectId>,
    /// Those with this purpose.
    #[param(value_type = Option<Duo>)]
    purpose: Option<DuoCode>,
    /// Those with this verdict.
    #[param(inline)]
    outcome: Option<Outcome>,
    /// Those at this time or later, in milliseconds since 1970.
    from: Option<u64>,
    /// Those at this time or earlier, in milliseconds since 1970.
    to: Option<u64>,
    /// Most items of the page; 50 if nothing is said.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The audit trail, in its order: all of it for officers; for others what they did themselves, and what
/// became of records that they own.
#[utoipa::path(get, path = "/v1/channels/{c}/audit/events", tag = "audit", params(EventsQuery),
    responses(
        (status = 200, description = "The events.", body = Listing<Placed>),
        (status = 400, description = "`range`: `from` is more than `to`."),
        (status = 403, description = "`role`: these are not all for the caller.")))]
pub(super) async fn audit_events(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictQuery(query): StrictQuery<EventsQuery>,
) -> Result<At<Listing<Placed>>, ApiError> {
    let paging = Paging::new(query.limit.as_deref(), query.cursor.as_deref())?;
    if query.from.zip(query.to).is_some_and(|(from, to)| from > to) {
        return Err(ApiError::new(400, "range", "`from` is more than `to`"));
    }
    let filter = EventFilter {
        record: query.record,
        actor: query.actor,
        subject: query.subject,
        purpose: query.purpose,
        verdict: query.outcome.map(Into::into),
        from: query.from.map(UnixMillis::new),
        to: query.to.map(UnixMillis::new),
    };
    read(&node, move |reading| {
        if !reading.may_audit(&caller.person, &filter)? {
            return Err(not_all_yours());
        }
        let page = reading.events(&filter, paging.cursor(), paging.limit).map_err(page_error)?;
        Listing::of(page, reading.tip().height, |event| Ok(event.into()))
    })
    .await
}

fn not_all_yours() -> ApiError {
    let detail = "only officers read all events; ask with `actor` for your own, or with a `record` that you own";
    ApiError::new(403, "role", detail)
}

/// What a bundle covers.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportQuery {
    /// What concerns this record.
    #[param(value_type = Option<Hex>)]
    record: Option<RecordId>,
    /// What this actor did.
    #[param(value_type = Option<Hex>)]
    actor: Option<PublicKey>,
    /// What concerns this subject.
    #[param(value_type = Option<Hex>)]
    subject: Option<SubjectId>,
    /// At least the first events, so many; waits until a final checkpoint covers them.
    size: Option<u64>,
}

/// A bundle: events with the proof that they are all there are, to be verified offline from the genesis.
///
/// For officers; for others what they did themselves, and what became of records that they own. At most one
/// of `record`, `actor` and `subject` is given; without one it is the whole trail.
#[utoipa::path(get, path = "/v1/channels/{c}/audit/export", tag = "audit", params(ExportQuery),
    responses(
        (status = 200, description = "The bundle, as docs/spec/bundle.md has it.",
            body = super::schema::Octets, content_type = "application/octet-stream"),
        (status = 403, description = "`role`: this is not all for the caller."),
        (status = 404, description = "`future_height`: the log is not that long."),
        (status = 503, description = "`not_final`: no final checkpoint covers it yet; `storage_full`: none will here, \
            before there is room on this node's disk; `overloaded`.")))]
pub(super) async fn export(
    OnChannel(node): OnChannel,
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    StrictQuery(query): StrictQuery<ExportQuery>,
) -> Result<Response, ApiError> {
    let heads =
        [query.record.map(HeadKey::Record), query.actor.map(HeadKey::Actor), query.subject.map(HeadKey::Subject)];
    let mut heads = heads.into_iter().flatten();
    let (head, more) = (heads.next(), heads.next());
    if more.is_some() {
        return Err(ApiError::new(400, "bad_query", "a bundle covers one record, actor or subject, or everything"));
    }
    let (filter, holder) = (EventFilter::of(head), Holder::of(&caller.person.person));
    if !read(&node, move |reading| Ok(reading.may_audit(&caller.person, &filter)?)).await?.body {
        return Err(not_all_yours());
    }
    let size = query.size.unwrap_or(0);
    check_size(&node, size)?;
    let only_reads = shared.host.space().is_full();
    // Whoever exports wants everything up to now, not only what is proved by chance already. But nothing more is ever
    // proved to a node that hears nobody.
    let (size, patience) =
        if only_reads { (size, Duration::ZERO) } else { (size.max(node.log_size()), EXPORT_PATIENCE) };
    let Ok(place) = tokio::time::timeout(EXPORT_PATIENCE, EXPORTS.wait(&holder, 1)).await else {
        return Err(ApiError::new(503, "overloaded", "other bundles are being made; try again"));
    };
    let making = move || Handle::current().block_on(node.export(head, size, patience));
    let bundle = match blocking(making).await? {
        Err(GatewayError::Export(ExportError::NothingFinal)) if only_reads => {
            return Err(ApiError::new(503, "storage_full", FULL));
        }
        made => made?,
    };
    let (height, bytes) = (bundle.anchor.header.height, Bytes::from(bundle.to_bytes()));
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    headers.insert(HEIGHT, HeaderValue::from(height.get()));
    *response.body_mut() = Body::from_stream(stream::unfold((bytes, place), |(mut bytes, place)| async {
        // The place is given back when the last piece is on its way.
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some((Ok::<_, Infallible>(piece), (bytes, place)))
    }));
    Ok(response)
}
