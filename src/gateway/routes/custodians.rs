//! What a dealer asks custodians for: dealing keys, and to keep a share.

use super::{
    answer::{At, OnChannel, base64, blob, now, unknown_record},
    schema::{Base64, Hex},
};
use crate::gateway::{
    RealNode, Shared,
    auth::Caller,
    error::ApiError,
    json::{StrictJson, StrictPath},
};
use axum::{
    Router,
    routing::{post, put},
};
use dmdl_types::{
    codec::{self, DecodeError},
    custody::SealedBytes,
    genesis::Role,
    id::{NodeId, RecordId, RecordVersion},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use utoipa::{IntoParams, ToSchema};

/// Longest sealed share, with its length.
const SEALED_BYTES: usize = 1024 + 4;
/// How far this node may be behind the one that has executed a registration.
const REGISTRATION_PATIENCE: Duration = Duration::from_millis(2500);

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/channels/{c}/custodians/{node}/dealing-keys", post(dealing_keys))
        .route("/v1/channels/{c}/records/{id}/versions/{v}/shares/{node}", put(keep_share))
}

/// A custodian.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct CustodianPath {
    /// The custodian.
    #[param(value_type = Hex)]
    node: NodeId,
}

/// How many dealing keys.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DealingKeysAsked {
    /// How many, at most 16.
    #[schema(minimum = 1, maximum = 16, example = 1)]
    count: u16,
}

/// One-time dealing keys.
#[derive(Serialize, ToSchema)]
pub(super) struct DealingKeys {
    /// Each in its canonical encoding, signed by the custodian for the caller.
    #[schema(value_type = Vec<Base64>)]
    keys: Vec<String>,
}

/// One-time dealing keys of a custodian, for the caller to deal under.
///
/// The caller verifies their signatures: a gateway's own key would receive the share.
#[utoipa::path(post, path = "/v1/channels/{c}/custodians/{node}/dealing-keys", tag = "custodians",
    params(CustodianPath), request_body = DealingKeysAsked,
    responses(
        (status = 200, description = "The keys.", body = DealingKeys),
        (status = 403, description = "`role`: only owners deal."),
        (status = 404, description = "`unknown_custodian`: the channel has no such custodian."),
        (status = 422, description = "`too_many`: more than may be asked for."),
        (status = 429, description = "`quota`: the caller holds as many unused keys as one may."),
        (status = 503, description = "`custodian_unavailable`: it does not answer.")))]
pub(super) async fn dealing_keys(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictPath(path): StrictPath<CustodianPath>,
    StrictJson(body): StrictJson<DealingKeysAsked>,
) -> Result<At<DealingKeys>, ApiError> {
    check_dealer(&caller)?;
    check_custodian(&node, path.node)?;
    let keys = node.dealing_keys(path.node, caller.key, body.count).await?;
    Ok(now(&node, DealingKeys { keys: keys.iter().map(|key| base64(&codec::encode(key))).collect() }))
}

fn check_dealer(caller: &Caller) -> Result<(), ApiError> {
    if caller.person.person.role == Role::Owner {
        return Ok(());
    }
    Err(ApiError::new(403, "role", "only owners register records"))
}

/// Refuses to ask a node that is no custodian: nobody would answer.
pub(super) fn check_custodian(node: &RealNode, custodian: NodeId) -> Result<(), ApiError> {
    let config = node.channel().config()?;
    if config.member(custodian).is_some_and(|member| member.roles.custodian) {
        return Ok(());
    }
    Err(ApiError::new(404, "unknown_custodian", "the channel has no such custodian"))
}

/// A share of a version, and its custodian.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct SharePath {
    /// The record.
    #[param(value_type = Hex)]
    id: RecordId,
    /// Its version.
    #[param(value_type = u32, minimum = 1)]
    v: RecordVersion,
    /// The custodian.
    #[param(value_type = Hex)]
    node: NodeId,
}

/// A sealed share.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SealedShare {
    /// Its canonical encoding, as docs/spec/share.md has it.
    #[schema(value_type = Base64)]
    sealed: String,
}

/// Hands a sealed share to its custodian, and answers once the custodian keeps it.
#[utoipa::path(put, path = "/v1/channels/{c}/records/{id}/versions/{v}/shares/{node}", tag = "custodians",
    params(SharePath), request_body = SealedShare,
    responses(
        (status = 204, description = "It verifies and is kept."),
        (status = 400, description = "`noncanonical`, `bad_base64`: no sealed share."),
        (status = 403, description = "`role`: only the record's owner deals; `not_custodian`: the dealing does not name it."),
        (status = 404, description = "`unknown_record`, `unknown_custodian`."),
        (status = 409, description = "`over`: the record or its share epoch has ended."),
        (status = 422, description = "`bad_share`, `altered`, `unknown_key`, `too_long`: not the share that was dealt."),
        (status = 503, description = "`custodian_unavailable`, `behind`: try again.")))]
pub(super) async fn keep_share(
    OnChannel(node): OnChannel,
    caller: Caller,
    StrictPath(path): StrictPath<SharePath>,
    StrictJson(body): StrictJson<SealedShare>,
) -> Result<StatusCode, ApiError> {
    check_dealer(&caller)?;
    check_custodian(&node, path.node)?;
    let sealed: SealedBytes =
        codec::decode(&blob(&body.sealed, SEALED_BYTES)?, SEALED_BYTES).map_err(|error| match error {
            DecodeError::TooLong { .. } => ApiError::new(422, "too_long", error),
            error => ApiError::new(400, "noncanonical", error),
        })?;
    let channel = node.channel();
    // The dealer may have seen the registration final elsewhere a moment ago.
    let visible = || Ok::<_, ApiError>(channel.reading()?.visible_record(&caller.person, path.id)?);
    let record = node.when(REGISTRATION_PATIENCE, visible).await?.ok_or_else(unknown_record)?;
    if record.owner != caller.key {
        return Err(ApiError::new(403, "role", "only the owner of a record deals its shares"));
    }
    node.deliver(path.node, path.id, path.v, sealed).await?;
    Ok(StatusCode::NO_CONTENT)
}
