//! Whether a gateway lives, and whether it is of use.

use super::{Shared, error::ApiError};
use crate::node::FULL;
use axum::extract::State;
use dmdl_types::id::Height;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A node that has executed nothing for so long is cut off, or the network stands still.
const STALE_AFTER: Duration = Duration::from_secs(30);

/// When this node last executed a block.
#[derive(Debug)]
pub(crate) struct Pulse(Mutex<Option<Instant>>);

impl Pulse {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(super) fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_alive(&self, now: Instant) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| now.saturating_duration_since(last) <= STALE_AFTER)
    }
}

/// Answers that the process runs.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operation",
    responses((status = 200, description = "`ok`", body = String, content_type = "text/plain")),
)]
pub(crate) async fn healthz() -> &'static str {
    "ok"
}

/// Answers whether blocks are being executed here.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    responses(
        (status = 200, description = "`ready`", body = String, content_type = "text/plain"),
        (status = 503, description = "`not_ready`: no block was executed here for 30 seconds, or this node has not caught up since it began anew; \
            `storage_full`: the node's disk is full, and it only reads."),
    ),
)]
pub(crate) async fn readyz(State(shared): State<Arc<Shared>>) -> Result<&'static str, ApiError> {
    if shared.host.space().is_full() {
        return Err(ApiError::new(503, "storage_full", FULL));
    }
    let channel = shared.host.first().channel();
    if !channel.is_current() {
        return Err(ApiError::new(503, "not_ready", "this node has not caught up with the others"));
    }
    if channel.tip().height > Height::new(0) && shared.pulse.is_alive(Instant::now()) {
        return Ok("ready");
    }
    Err(ApiError::new(503, "not_ready", "this node has executed no block for half a minute"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_blocks_is_not_ready() {
        let pulse = Pulse::new();
        let now = Instant::now();
        assert!(!pulse.is_alive(now));
        pulse.beat();
        assert!(pulse.is_alive(Instant::now()));
        assert!(!pulse.is_alive(Instant::now() + STALE_AFTER + Duration::from_secs(1)));
    }
}
