//! The live trail, as server-sent events.
//!
//! What a reader does not take waits in the ledger and not in memory: the next events are read when the
//! last ones are on their way.

use super::{
    answer::{OnChannel, read},
    schema::Placed,
};
use crate::gateway::{
    RealNode, Shared,
    admission::{Holder, Place, Places},
    auth::Caller,
    error::ApiError,
};
use axum::{
    Router,
    response::{
        IntoResponse as _, Response,
        sse::{Event as Sent, KeepAlive, Sse},
    },
    routing::get,
};
use dmdl_audit_ledger::world::{PersonRow, PersonStatus};
use dmdl_types::{event::Event, genesis::Role, sign::PublicKey};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName};
use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, LazyLock},
    time::Duration,
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Events that are read at a time for one reader.
const PAGE: usize = 32;
/// Readers at a time.
const READERS_MAX: usize = 64;
/// How often a reader hears that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Places for readers, for all gateways of a process.
static READERS: LazyLock<Places> = LazyLock::new(|| Places::new(READERS_MAX));

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/v1/channels/{c}/events", get(follow))
}

/// Follows the audit trail, for officers.
///
/// Each event has the name `audit`, its position as id, and `{position, event}` as data. Begins after
/// `Last-Event-ID`, or with what is executed next. A comment comes every 15 seconds when nothing else does.
#[utoipa::path(get, path = "/v1/channels/{c}/events", tag = "audit",
    params(("Last-Event-ID" = Option<u64>, Header, description = "The position of the last event that was heard.")),
    responses(
        (status = 200, description = "Server-sent events.", body = String, content_type = "text/event-stream"),
        (status = 400, description = "`bad_cursor`: the id is no position."),
        (status = 403, description = "`role`: only officers follow.")))]
pub(super) async fn follow(
    OnChannel(node): OnChannel,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if caller.person.person.role != Role::Officer {
        return Err(ApiError::new(403, "role", "only officers follow the whole trail"));
    }
    let last = headers.get(LAST_EVENT_ID).map(|id| id.to_str().ok().and_then(position).ok_or_else(no_position));
    let next = match last.transpose()? {
        Some(last) => last.saturating_add(1),
        None => node.log_size(),
    };
    let place = READERS.take(&Holder::of(&caller.person.person), 1)?;
    let following = Following { node, officer: caller.key, next, read: VecDeque::new(), _place: place };
    let events = stream::unfold(following, Following::next).map(Ok::<_, Infallible>);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn position(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn no_position() -> ApiError {
    ApiError::new(400, "bad_cursor", "`Last-Event-ID` is the position of an event")
}

/// A reader on the way along the trail.
struct Following {
    node: RealNode,
    officer: PublicKey,
    next: u64,
    read: VecDeque<(u64, Event)>,
    _place: Place,
}

impl Following {
    /// The next event, once there is one; none when the reader may not go on.
    async fn next(mut self) -> Option<(Sent, Self)> {
        loop {
            if let Some((position, event)) = self.read.pop_front() {
                let data = Placed::from((position, event));
                // What is shown of an event has no map with odd keys: it can always be written.
                let sent = Sent::default().event("audit").id(position.to_string()).json_data(data).ok()?;
                return Some((sent, self));
            }
            // Begun before the look: a block that is executed meanwhile is not slept over.
            let node = Arc::clone(&self.node);
            let executed = node.channel().executed_next();
            match self.read().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    tracing::warn!(?error, "following the trail broke off");
                    return None;
                }
            }
            if self.read.is_empty() {
                executed.await;
            }
        }
    }

    /// Reads the next events; `false` when the reader may not act any more.
    async fn read(&mut self) -> Result<bool, ApiError> {
        let (officer, next) = (self.officer, self.next);
        let found = read(&self.node, move |reading| {
            let person: Option<PersonRow> = reading.row(&officer)?;
            let may = person.is_some_and(|row| row.status == PersonStatus::Active && row.person.role == Role::Officer);
            let events = if may { reading.events_from(next, PAGE)? } else { Vec::new() };
            Ok((may, events))
        });
        let (may, events) = found.await?.body;
        if let Some((position, _)) = events.last() {
            self.next = position.saturating_add(1);
        }
        self.read = events.into();
        Ok(may)
    }
}
