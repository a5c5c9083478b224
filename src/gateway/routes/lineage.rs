//! How a channel's configurations follow on each other.

use super::{
    answer::{At, OnChannel, base64, now},
    schema::Base64,
};
use crate::{
    gateway::{Shared, error::ApiError, json::StrictQuery},
    problem::Problem,
};
use axum::{Router, routing::get};
use dmdl_types::{codec, id::Epoch};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/v1/channels/{c}/configurations", get(configurations))
}

/// What somebody knows already.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LineageQuery {
    /// The last epoch whose configuration is known.
    after: u64,
}

/// Steps from configuration to configuration.
#[derive(Serialize, ToSchema)]
pub(super) struct LineageShown {
    /// The canonical encoding of each step, as docs/spec/lineage.md has it, by rising epoch: at most 32, and none
    /// where there are no later epochs.
    #[schema(value_type = Vec<Base64>)]
    steps: Vec<String>,
}

/// How the configurations after an epoch follow from its own: each with the certificate of the committee before it.
#[utoipa::path(get, path = "/v1/channels/{c}/configurations", tag = "network", security(()), params(LineageQuery),
    responses((status = 200, description = "The next steps.", body = LineageShown)))]
pub(super) async fn configurations(
    OnChannel(node): OnChannel,
    StrictQuery(query): StrictQuery<LineageQuery>,
) -> Result<At<LineageShown>, ApiError> {
    let steps = node.steps_after(Epoch::new(query.after)).map_err(Problem::from)?;
    Ok(now(&node, LineageShown { steps: steps.iter().map(|step| base64(&codec::encode(step))).collect() }))
}
