//! Charters: how a channel is founded, and what its people believe it by.

use super::{
    answer::{At, OnChannel, base64, blob, now},
    network::ChannelName,
    schema::Base64,
};
use crate::{
    gateway::{Shared, auth::Caller, error::ApiError, json::StrictJson},
    problem::Problem,
};
use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use dmdl_types::{charter::SignedCharter, codec, genesis::Role, limits};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/v1/charters", post(found)).route("/v1/channels/{c}/charter", get(charter))
}

/// A charter with its approvals.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CharterText {
    /// Its canonical encoding, as docs/spec/charter.md has it.
    #[schema(value_type = Base64)]
    charter: String,
}

/// Founds a channel at this node, which tells its other members. Doing it again does no harm.
#[utoipa::path(post, path = "/v1/charters", tag = "network", request_body = CharterText,
    responses(
        (status = 201, description = "The channel runs here.", body = ChannelName),
        (status = 400, description = "`noncanonical`, `bad_base64`: no charter."),
        (status = 403, description = "`role`: only admins of the network's genesis hand charters in. `not_member`: the \
            charter does not name the node."),
        (status = 409, description = "`name_taken`: the node has another channel of this name."),
        (status = 422, description = "`bad_charter`: it breaks a rule, or an organisation has not approved it. \
            `policy_engine`: the node decides with another one. `too_long`."),
        (status = 507, description = "`too_many_channels`: the node has as many as it can; `storage_full`.")))]
pub(super) async fn found(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    StrictJson(body): StrictJson<CharterText>,
) -> Result<(StatusCode, Json<ChannelName>), ApiError> {
    let people = &shared.host.genesis().people;
    if !people.iter().any(|person| person.key == caller.key && person.role == Role::Admin) {
        return Err(ApiError::new(403, "role", "only admins of the network's genesis hand charters in"));
    }
    let bytes = blob(&body.charter, limits::CHARTER_BYTES)?;
    let charter: SignedCharter =
        codec::decode(&bytes, limits::CHARTER_BYTES).map_err(|error| ApiError::new(400, "noncanonical", error))?;
    let name = charter.charter.channel.name.to_string();
    let id = shared.host.found(charter).await.map_err(Problem::from)?;
    Ok((StatusCode::CREATED, Json(ChannelName { name, id })))
}

/// The charter of a channel, for the people of it.
#[utoipa::path(get, path = "/v1/channels/{c}/charter", tag = "network",
    responses(
        (status = 200, description = "The charter.", body = CharterText),
        (status = 404, description = "`no_charter`: the network's genesis founded this channel.")))]
pub(super) async fn charter(
    OnChannel(node): OnChannel,
    _: Caller,
    State(shared): State<Arc<Shared>>,
) -> Result<At<CharterText>, ApiError> {
    let charter = shared.host.charter(node.channel().domain().channel);
    let none =
        || ApiError::new(404, "no_charter", "this channel is the one of the network's genesis, and has no charter");
    let charter = base64(&codec::encode(&*charter.ok_or_else(none)?));
    Ok(now(&node, CharterText { charter }))
}
