//! Read-only questions to contracts, under the names that the source paper gives them.

use super::{
    answer::{At, Listing, OnChannel, Paging, read, unknown_record},
    records::{HistoryEntry, Record, catalogue, shown, story},
    schema::Hex,
};
use crate::gateway::{Shared, auth::Caller, error::ApiError, json::StrictJson};
use axum::{Router, routing::post};
use dmdl_audit_ledger::channel::RecordFilter;
use dmdl_types::{id::RecordId, sign::PublicKey};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/v1/channels/{c}/query", post(query))
}

/// A question to a contract.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// The contract.
    #[schema(pattern = "^medical$", example = "medical")]
    contract: String,
    /// The function: `readMedical`, `getHistory` or `queryByOwner`.
    #[schema(pattern = "^(readMedical|getHistory|queryByOwner)$", example = "queryByOwner")]
    function: String,
    /// What it takes.
    args: Arguments,
}

/// What a function takes: `readMedical` a `record`; `getHistory` a `record`, `queryByOwner` an `owner`, and
/// both a page.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct Arguments {
    /// The record.
    #[schema(value_type = Option<Hex>)]
    record: Option<RecordId>,
    /// The owner.
    #[schema(value_type = Option<Hex>)]
    owner: Option<PublicKey>,
    /// Most items of a page; 50 if nothing is said.
    #[schema(minimum = 1, maximum = 500)]
    limit: Option<u64>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What a function answers.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Answered {
    /// Of `readMedical`.
    Record(Box<Record>),
    /// Of `getHistory`.
    History(Listing<HistoryEntry>),
    /// Of `queryByOwner`.
    Records(Listing<Record>),
}

/// Asks a contract what it knows, without a transaction.
#[utoipa::path(post, path = "/v1/channels/{c}/query", tag = "query", request_body = Question,
    responses(
        (status = 200, description = "The answer: what the routes of records answer too.", body = Answered),
        (status = 400, description = "`bad_args`: the function takes other arguments."),
        (status = 404, description = "`unknown_function`, `unknown_record`.")))]
pub(super) async fn query(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictJson(question): StrictJson<Question>,
) -> Result<At<Answered>, ApiError> {
    let Question { contract, function, args } = question;
    let limit = args.limit.map(|limit| limit.to_string());
    let paging = Paging::new(limit.as_deref(), args.cursor.as_deref())?;
    let paged = limit.is_some() || args.cursor.is_some();
    let gateway = Arc::clone(&node);
    let bad = |takes| ApiError::new(400, "bad_args", format_args!("the function takes {takes}"));
    match (contract.as_str(), function.as_str()) {
        ("medical", "readMedical") => {
            let (Some(id), None, false) = (args.record, args.owner, paged) else { return Err(bad("a `record`")) };
            read(&node, move |reading| {
                let row = reading.visible_record(&caller.person, id)?.ok_or_else(unknown_record)?;
                Ok(Answered::Record(Box::new(shown(&gateway, reading, id, row)?)))
            })
            .await
        }
        ("medical", "getHistory") => {
            let (Some(id), None) = (args.record, args.owner) else { return Err(bad("a `record`, and a page")) };
            read(&node, move |reading| Ok(Answered::History(story(reading, &caller, id, &paging)?))).await
        }
        ("medical", "queryByOwner") => {
            let (None, Some(owner)) = (args.record, args.owner) else { return Err(bad("an `owner`, and a page")) };
            let filter = RecordFilter { owner: Some(owner), ..RecordFilter::default() };
            read(&node, move |reading| Ok(Answered::Records(catalogue(&gateway, reading, &caller, &filter, &paging)?)))
                .await
        }
        _ => Err(ApiError::new(404, "unknown_function", "the channel has no such contract, or it no such question")),
    }
}
