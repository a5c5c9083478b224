//! Requests for access, and what became of them.

use super::{
    answer::{At, Listing, OnChannel, Paging, page_error, patience, read},
    schema::{Hex, Outcome, ReceiptText, TermsShown},
    transactions::WaitQuery,
};
use crate::{
    gateway::{
        Shared,
        auth::Caller,
        error::ApiError,
        json::{StrictPath, StrictQuery},
    },
    node::{Final, GatewayError},
};
use axum::{Router, routing::get};
use dmdl_audit_ledger::{
    channel::{Reading, RequestFilter, RequestView},
    store::RocksStore,
    world::RequestState,
};
use dmdl_types::{
    event::Verdict,
    id::{GrantId, RecordId, TransactionId, UnixMillis},
    sign::PublicKey,
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use utoipa::{IntoParams, ToSchema};

/// How long cosignatures of a decision may be on their way.
const RECEIPT_PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/channels/{c}/requests", get(requests))
        .route("/v1/channels/{c}/requests/{id}", get(request))
}

/// Where a request is in its life.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Standing {
    /// Waits for review.
    Pending,
    /// Allowed, at once or in review.
    Allowed,
    /// Denied, at once or in review.
    Denied,
}

/// A request for access.
#[derive(Serialize, ToSchema)]
pub(super) struct Request {
    /// The request, by the transaction that made it.
    #[schema(value_type = Hex)]
    request: TransactionId,
    /// The record.
    #[schema(value_type = Hex)]
    record: RecordId,
    /// Who asks.
    #[schema(value_type = Hex)]
    requester: PublicKey,
    /// Where it is in its life.
    state: Standing,
    /// What for, for how long and how often.
    terms: TermsShown,
    /// What the policy ruled when it was made: `allow`, `deny`, or `pending` for a review.
    #[schema(value_type = Option<Outcome>)]
    ruled: Option<Verdict>,
    /// What it led to; null without a grant.
    grant: Option<Grant>,
    /// Proof of the decision: of one request that is asked for by its id, once it is decided.
    #[schema(value_type = Option<ReceiptText>)]
    decision: Option<String>,
}

/// A standing permission to decrypt.
#[derive(Serialize, ToSchema)]
pub(super) struct Grant {
    /// The grant.
    #[schema(value_type = Hex)]
    grant: GrantId,
    /// The last instant at which a decryption is allowed, in milliseconds since 1970.
    #[schema(value_type = u64)]
    ends: UnixMillis,
    /// How many decryptions it allows.
    uses: u32,
    /// How many there were.
    used: u32,
    /// Whether it was revoked.
    revoked: bool,
}

impl Request {
    fn of(reading: &Reading<'_, RocksStore>, view: RequestView) -> Result<Self, ApiError> {
        let ruled = reading.event_of(view.id)?.map(|(_, event)| event.outcome.verdict);
        Ok(Self {
            request: view.id,
            record: view.row.record,
            requester: view.row.requester,
            state: match view.row.state {
                RequestState::Pending => Standing::Pending,
                RequestState::Allowed => Standing::Allowed,
                RequestState::Denied => Standing::Denied,
            },
            terms: TermsShown::from(&view.row.terms),
            grant: view.grant.map(|(grant, row)| Grant {
                grant,
                ends: row.ends,
                uses: row.terms.uses,
                used: row.used,
                revoked: row.revoked,
            }),
            decision: None,
            ruled,
        })
    }
}

/// Which requests are listed.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct RequestsQuery {
    /// Those for this record.
    #[param(value_type = Option<Hex>)]
    record: Option<RecordId>,
    /// Those in this state.
    #[param(inline)]
    state: Option<Standing>,
    /// Those of this requester.
    #[param(value_type = Option<Hex>)]
    requester: Option<PublicKey>,
    /// Most items of the page; 50 if nothing is said.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Requests: the caller's own, and those that the caller decides about; officers see all.
#[utoipa::path(get, path = "/v1/channels/{c}/requests", tag = "requests", params(RequestsQuery),
    responses((status = 200, description = "The requests.", body = Listing<Request>)))]
pub(super) async fn requests(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictQuery(query): StrictQuery<RequestsQuery>,
) -> Result<At<Listing<Request>>, ApiError> {
    let paging = Paging::new(query.limit.as_deref(), query.cursor.as_deref())?;
    let state = query.state.map(|state| match state {
        Standing::Pending => RequestState::Pending,
        Standing::Allowed => RequestState::Allowed,
        Standing::Denied => RequestState::Denied,
    });
    let filter = RequestFilter { record: query.record, requester: query.requester, state };
    read(&node, move |reading| {
        let page = reading.requests(&caller.person, &filter, paging.cursor(), paging.limit).map_err(page_error)?;
        Listing::of(page, reading.tip().height, |view| Request::of(reading, view))
    })
    .await
}

/// A request's id.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct RequestPath {
    /// The request, by the transaction that made it.
    #[param(value_type = Hex)]
    pub(super) id: TransactionId,
}

/// A request. Waits for its decision if it is asked to, and answers what there is then.
#[utoipa::path(get, path = "/v1/channels/{c}/requests/{id}", tag = "requests", params(RequestPath, WaitQuery),
    responses(
        (status = 200, description = "The request.", body = Request),
        (status = 404, description = "`unknown_request`: none, or none that the caller may know of.")))]
pub(super) async fn request(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictPath(path): StrictPath<RequestPath>,
    StrictQuery(query): StrictQuery<WaitQuery>,
) -> Result<At<Request>, ApiError> {
    let person = caller.person;
    // What is not there, or not to be seen, is not waited for: both are answered at once.
    let visible = {
        let person = person.clone();
        read(&node, move |reading| Ok(reading.visible_request(&person, path.id)?.is_some()))
    };
    if visible.await?.body {
        let decided =
            || Ok::<_, ApiError>(node.channel().request(path.id)?.filter(|row| row.state != RequestState::Pending));
        node.when(patience(query.wait), decided).await?;
    }
    let found = read(&node, move |reading| {
        let unknown =
            || ApiError::new(404, "unknown_request", "there is no such request, or none that you may know of");
        let view = reading.visible_request(&person, path.id)?.ok_or_else(unknown)?;
        let decision = reading.decision(&view)?;
        Ok((Request::of(reading, view)?, decision))
    });
    let At { height, body: (mut request, decision) } = found.await?;
    if let Some((position, event)) = decision {
        let done = Final { transaction: event.transaction, position, event };
        request.decision = match node.receipt(&done, RECEIPT_PATIENCE).await {
            Ok(receipt) => Some(receipt.to_text()),
            Err(GatewayError::NotFinal(_)) => None,
            Err(error) => return Err(error.into()),
        };
    }
    Ok(At { height, body: request })
}
