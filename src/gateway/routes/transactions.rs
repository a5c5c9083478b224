//! Transactions: taken in, waited for, and shown with their receipts.

use super::{
    answer::{At, OnChannel, base64, blob, now, patience, read},
    schema::{Base64, Hex, Outcome, ReceiptText, reasons},
};
use crate::{
    gateway::{
        RealNode, Shared,
        admission::Holder,
        auth::Caller,
        error::ApiError,
        json::{StrictJson, StrictPath, StrictQuery},
    },
    http::HEIGHT,
    node::{Final, GatewayError},
    problem::Problem,
};
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use commonware_runtime::Clock as _;
use dmdl_audit_ledger::{
    endorse,
    world::{ProposalRow, RecordRow},
};
use dmdl_types::{
    codec::{self, DecodeError},
    event::Verdict,
    genesis::Role,
    id::TransactionId,
    transaction::{Transaction, TransactionError},
};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use utoipa::{IntoParams, ToSchema};

/// How long a transaction is waited for, unless the client says so.
const FINAL_PATIENCE_MS: u64 = 15_000;
/// How long cosignatures of an executed transaction may be on their way.
const RECEIPT_PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/channels/{c}/transactions", post(submit))
        .route("/v1/channels/{c}/transactions/{id}", get(transaction))
}

/// What to wait for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Until {
    /// Until it is final.
    #[default]
    Final,
    /// Until it is taken in.
    None,
}

/// How a transaction is waited for.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct SubmitQuery {
    /// What to wait for; until it is final, if nothing is said.
    #[param(inline)]
    wait: Option<Until>,
    /// How long to wait, in milliseconds, at most 30000; 15000 if nothing is said.
    timeout: Option<u64>,
}

/// A transaction.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Submission {
    /// Its canonical encoding, as docs/spec/transaction.md has it, with the signatures of its authors.
    #[schema(value_type = Base64)]
    transaction: String,
}

/// A transaction that is on its way.
#[derive(Serialize, ToSchema)]
pub(super) struct Taken {
    /// Its id.
    #[schema(value_type = Hex)]
    transaction: TransactionId,
}

/// A transaction that was executed, with its outcome.
#[derive(Serialize, ToSchema)]
pub(super) struct Done {
    /// Its id.
    #[schema(value_type = Hex)]
    transaction: TransactionId,
    /// Height of its block.
    height: u64,
    /// Where its leaf stands in the audit log.
    position: u64,
    /// What became of it.
    #[schema(value_type = Outcome)]
    verdict: Verdict,
    /// Proof of that.
    #[schema(value_type = ReceiptText)]
    receipt: String,
}

/// Has a transaction endorsed, ordered and executed.
///
/// The signatures of its authors are inside: the request itself needs none. What the ledger denies or
/// rejects is answered as a problem that has the members `transaction`, `height`, `position`, `receipt` and
/// `reasons` too. After 504 the transaction may still become final; sending it again does no harm.
#[utoipa::path(post, path = "/v1/channels/{c}/transactions", tag = "transactions", security(()),
    params(SubmitQuery), request_body = Submission,
    responses(
        (status = 200, description = "It was executed.", body = Done),
        (status = 202, description = "It was taken in (`wait=none`).", body = Taken),
        (status = 400, description = "`noncanonical`, `wrong_context`, `bad_base64`: no transaction of this channel."),
        (status = 401, description = "`unknown_author`, `key_revoked`: an author may not act."),
        (status = 403, description = "`denied`, or the code of what the author may not do."),
        (status = 404, description = "`unknown_record` and the like: what it names is not there."),
        (status = 409, description = "`id_reuse`, `already_decided` and the like: it comes too late."),
        (status = 422, description = "The code of what is wrong with the call."),
        (status = 504, description = "`not_final`: it is not final yet; the member `transaction` has its id."),
        (status = 507, description = "`storage_full`: the node's disk is full; another gateway can take it.")))]
pub(super) async fn submit(
    OnChannel(node): OnChannel,
    State(shared): State<Arc<Shared>>,
    StrictQuery(query): StrictQuery<SubmitQuery>,
    StrictJson(body): StrictJson<Submission>,
) -> Result<Response, ApiError> {
    let transaction = decode(&blob(&body.transaction, endorse::TRANSACTION_BYTES_MAX)?)?;
    let channel = node.channel();
    // Who is not known here yet shares with all others who are not: another node may know them already.
    let author = transaction.body.authors.first();
    let person = author.map(|author| channel.person(*author)).transpose()?.flatten();
    let holder = person.map(|row| Holder::of(&row.person)).unwrap_or_default();
    let admission = &shared.admission;
    if let Some(author) = author {
        admission.check(&node, &holder, *author)?;
    }
    // Looked at here, so that nobody has other nodes work for a signature that anyone can see is none.
    let id = transaction.body.id();
    if transaction.body.domain != channel.domain() {
        return Err(ApiError::new(400, "wrong_context", TransactionError::WrongContext));
    }
    let transaction = node.authored(transaction).await?;
    let waits = query.wait.unwrap_or_default() == Until::Final;
    let patience = if waits { patience(Some(query.timeout.unwrap_or(FINAL_PATIENCE_MS))) } else { Duration::ZERO };
    let ticket = admission.transaction(&holder, &transaction)?;
    let done = match admission.order(Arc::clone(&node), transaction, patience, ticket).await {
        Ok(done) if waits => done,
        Err(GatewayError::NotFinal(_)) if waits => return Err(not_final(id)),
        Ok(_) | Err(GatewayError::NotFinal(_)) => {
            return Ok((StatusCode::ACCEPTED, now(&node, Taken { transaction: id })).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    let receipt = receipt(&node, &done).await?;
    let outcome = &done.event.outcome;
    if !matches!(outcome.verdict, Verdict::Deny | Verdict::Rejected) {
        let done = Done {
            transaction: id,
            height: done.event.height.get(),
            position: done.position,
            verdict: outcome.verdict,
            receipt,
        };
        return Ok(now(&node, done).into_response());
    }
    let reasons = serde_json::to_value(reasons(&outcome.reasons)).unwrap_or_default();
    let problem = ApiError::from(Problem::of_outcome(outcome))
        .with("transaction", id.to_string())
        .with("height", done.event.height.get())
        .with("position", done.position)
        .with("receipt", receipt)
        .with("reasons", reasons);
    Err(problem.with_header(HEIGHT, HeaderValue::from(node.channel().tip().height.get())))
}

fn decode(bytes: &[u8]) -> Result<Transaction, ApiError> {
    codec::decode(bytes, endorse::TRANSACTION_BYTES_MAX).map_err(|error| match error {
        DecodeError::TooLong { .. } => ApiError::new(422, "too_long", error),
        error => ApiError::new(400, "noncanonical", error),
    })
}

fn not_final(id: TransactionId) -> ApiError {
    ApiError::from(GatewayError::NotFinal(id)).with("transaction", id.to_string())
}

/// The receipt of an executed transaction, as text.
async fn receipt(node: &RealNode, done: &Final) -> Result<String, ApiError> {
    match node.receipt(done, RECEIPT_PATIENCE).await {
        Ok(receipt) => Ok(receipt.to_text()),
        Err(GatewayError::NotFinal(id)) => Err(not_final(id)),
        Err(error) => Err(error.into()),
    }
}

/// A transaction's id.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct TransactionPath {
    /// The transaction.
    #[param(value_type = Hex)]
    id: TransactionId,
}

/// How long to wait.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// How long to wait for it, in milliseconds; more than 30000 counts as 30000.
    pub(super) wait: Option<u64>,
}

/// A transaction that was executed.
#[derive(Serialize, ToSchema)]
pub(super) struct TransactionShown {
    /// Its id.
    #[schema(value_type = Hex)]
    transaction: TransactionId,
    /// Height of its block.
    height: u64,
    /// Where its leaf stands in the audit log: of several, the first.
    position: u64,
    /// Proof of what became of it.
    #[schema(value_type = ReceiptText)]
    receipt: String,
    /// Its canonical encoding; null for a node's own, and for one that nobody who was asked has any more: a decryption
    /// whose block the channel's nodes have let go.
    #[schema(value_type = Option<Base64>)]
    body: Option<String>,
}

/// A transaction with its receipt: for its authors, the owner of its record, and officers; a proposal for everybody
/// enrolled, who must see what is to be approved.
#[utoipa::path(get, path = "/v1/channels/{c}/transactions/{id}", tag = "transactions",
    params(TransactionPath, WaitQuery),
    responses(
        (status = 200, description = "The transaction.", body = TransactionShown),
        (status = 404, description = "`unknown_transaction`: none, or none that the caller may see."),
        (status = 504, description = "`not_final`: executed, and not yet cosigned.")))]
pub(super) async fn transaction(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictPath(path): StrictPath<TransactionPath>,
    StrictQuery(query): StrictQuery<WaitQuery>,
) -> Result<At<TransactionShown>, ApiError> {
    let unknown =
        || ApiError::new(404, "unknown_transaction", "there is no such transaction, or none that you may see");
    let over = node.runtime().sleep(patience(query.wait));
    let done = match node.wait_final(path.id, patience(query.wait)).await {
        Ok(done) => done,
        Err(GatewayError::NotFinal(_)) => return Err(unknown()),
        Err(error) => return Err(error.into()),
    };
    let body = node.transaction(path.id).await?;
    let is_author = done.event.actor == caller.key
        || body.as_ref().is_some_and(|transaction| transaction.body.authors.contains(&caller.key));
    let (key, record) = (caller.key, done.event.record);
    let concerned = read(&node, move |reading| {
        let Some(record) = record else { return Ok(reading.row::<ProposalRow>(&path.id)?.is_some()) };
        Ok(reading.row::<RecordRow>(&record)?.is_some_and(|row| row.owner == key))
    });
    if !is_author && caller.person.person.role != Role::Officer && !concerned.await?.body {
        // Answered when one that does not exist would be.
        over.await;
        return Err(unknown());
    }
    let receipt = receipt(&node, &done).await?;
    Ok(now(
        &node,
        TransactionShown {
            transaction: done.transaction,
            height: done.event.height.get(),
            position: done.position,
            receipt,
            body: body.map(|transaction| base64(&codec::encode(&transaction))),
        },
    ))
}
