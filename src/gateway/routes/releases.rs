//! Released shares, for the requester of a decryption and nobody else.

use super::{
    answer::{At, OnChannel, base64, now, read},
    custodians::check_custodian,
    schema::{Base64, Hex},
};
use crate::{
    gateway::{
        RealNode, Shared,
        auth::Caller,
        error::ApiError,
        json::{StrictPath, StrictQuery},
    },
    problem::Problem,
};
use axum::{Router, routing::get};
use dmdl_audit_ledger::world::{DecryptionRow, VersionRow};
use dmdl_types::{
    event::Action,
    id::{NodeId, TransactionId},
    sign::PublicKey,
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use utoipa::{IntoParams, ToSchema};

/// How far this node may be behind the one that the decryption was final at.
const EXECUTION_PATIENCE: Duration = Duration::from_millis(1000);

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/v1/channels/{c}/releases/{tx}", get(releases))
}

/// A decryption.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ReleasePath {
    /// The decryption, by its transaction.
    #[param(value_type = Hex)]
    tx: TransactionId,
}

/// Whom to ask.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct ReleaseQuery {
    /// The custodian to ask; all of them, if nothing is said.
    #[param(value_type = Option<Hex>)]
    custodian: Option<NodeId>,
}

/// What custodians answered.
#[derive(Serialize, ToSchema)]
pub(super) struct Releases {
    /// The shares that came.
    shares: Vec<Share>,
    /// Who gave none, and why.
    missing: Vec<Missing>,
}

/// A released share, sealed to the requester's one-time key.
#[derive(Serialize, ToSchema)]
struct Share {
    /// Whose share.
    #[schema(value_type = Hex)]
    custodian: NodeId,
    /// Its canonical encoding, as docs/spec/share.md has it.
    #[schema(value_type = Base64)]
    share: String,
}

/// Why a custodian gave no share.
#[derive(Serialize, ToSchema)]
struct Missing {
    /// Who.
    #[schema(value_type = Hex)]
    custodian: NodeId,
    /// A stable code.
    #[schema(example = "custodian_unavailable")]
    code: String,
    /// A sentence.
    detail: String,
}

/// The shares that custodians release for a final, allowed decryption: for its requester alone.
///
/// Asking again takes no second use. What a custodian refuses stands in `missing`.
#[utoipa::path(get, path = "/v1/channels/{c}/releases/{tx}", tag = "releases", params(ReleasePath, ReleaseQuery),
    responses(
        (status = 200, description = "What the custodians answered.", body = Releases),
        (status = 403, description = "`reader_mismatch`: somebody else's; `denied`; `not_final`: not executed here."),
        (status = 404, description = "`unknown_custodian`: none of this record's version.")))]
pub(super) async fn releases(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictPath(path): StrictPath<ReleasePath>,
    StrictQuery(query): StrictQuery<ReleaseQuery>,
) -> Result<At<Releases>, ApiError> {
    if let Some(custodian) = query.custodian {
        check_custodian(&node, custodian)?;
    }
    let custodians = allowed(&node, caller.key, path.tx).await?;
    let asked: Vec<NodeId> = match query.custodian {
        None => custodians,
        Some(custodian) if custodians.contains(&custodian) => vec![custodian],
        Some(_) => return Err(ApiError::new(404, "unknown_custodian", "it keeps no share of this version")),
    };
    let ask = |custodian| {
        let node = &node;
        async move { (custodian, node.release(custodian, path.tx).await) }
    };
    let mut answers: FuturesUnordered<_> = asked.into_iter().map(ask).collect();
    let mut releases = Releases { shares: Vec::new(), missing: Vec::new() };
    while let Some((custodian, answer)) = answers.next().await {
        match answer {
            Ok(share) => releases.shares.push(Share { custodian, share: base64(&share) }),
            Err(error) => {
                let Problem { code, detail, .. } = error.into();
                releases.missing.push(Missing { custodian, code: code.into_owned(), detail });
            }
        }
    }
    Ok(now(&node, releases))
}

/// The custodians of a decryption that was allowed to this key.
async fn allowed(node: &RealNode, key: PublicKey, id: TransactionId) -> Result<Vec<NodeId>, ApiError> {
    let channel = node.channel();
    let executed = node.when(EXECUTION_PATIENCE, || channel.event_of(id)).await?;
    let Some((_, event)) = executed else {
        return Err(ApiError::new(403, "not_final", "no such decryption is executed here yet"));
    };
    if event.action != Action::Decrypt || event.actor != key {
        return Err(ApiError::new(
            403,
            "reader_mismatch",
            "shares are released to the requester of a decryption alone",
        ));
    }
    let custodians = read(node, move |reading| {
        let denied = || ApiError::new(403, "denied", "the decryption was denied");
        let row: DecryptionRow = reading.row(&id)?.ok_or_else(denied)?;
        let version: Option<VersionRow> = reading.row(&(row.record, row.version))?;
        Ok(version.map(|version| version.holders.nodes()).unwrap_or_default())
    });
    Ok(custodians.await?.body)
}
