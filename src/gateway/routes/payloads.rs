//! Payloads: sealed bytes in and out, by their digest.

mod range;
mod uploads;

pub(crate) use uploads::Uploads;

use super::schema::{Hex, Octets};
use crate::{
    gateway::{
        Shared,
        admission::{Holder, Place, Places},
        auth::Caller,
        error::ApiError,
        json::StrictPath,
    },
    problem::Problem,
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse as _, Response},
    routing::get,
};
use dmdl_types::{genesis::Role, id::PayloadDigest};
use dmdl_vault::store::{GetError, PayloadStore};
use futures::stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use std::{
    ops::Range,
    sync::{Arc, LazyLock},
    time::Duration,
};
use uploads::{Part, Progress, UPLOAD_OFFSET};
use utoipa::IntoParams;

const OCTETS: &str = "application/octet-stream";

/// Bytes of a payload that are read at a time; a download holds two times as many.
const WINDOW_BYTES: u64 = 512 * 1024;
/// Downloads at a time.
const DOWNLOADS_MAX: usize = 64;
/// How long a download waits for others to end.
const PLACE_PATIENCE: Duration = Duration::from_secs(5);

/// Places for downloads, for all gateways of a process: it is the process whose memory is bounded.
static PLACES: LazyLock<Places> = LazyLock::new(|| Places::new(DOWNLOADS_MAX));

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/v1/payloads/{digest}", get(download).head(look).put(upload))
}

/// A payload's digest.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct PayloadPath {
    /// BLAKE3 of the sealed bytes.
    #[param(value_type = Hex)]
    digest: PayloadDigest,
}

/// Whether a payload is stored, or how far the caller's upload of it is.
#[utoipa::path(head, path = "/v1/payloads/{digest}", tag = "payloads", params(PayloadPath),
    responses(
        (status = 200, description = "It is stored; `Content-Length` is how many bytes it has."),
        (status = 403, description = "`role`: only owners upload."),
        (status = 404, description = "`unknown_payload`: it is not stored.",
            headers(("Upload-Offset" = u64, description = "How many bytes of the caller's upload are there.")))))]
pub(super) async fn look(
    caller: Caller,
    StrictPath(path): StrictPath<PayloadPath>,
    State(shared): State<Arc<Shared>>,
) -> Result<Response, ApiError> {
    check_owner(&shared, &caller)?;
    if let Some(len_bytes) = shared.host.first().payloads().head(path.digest).await.map_err(Problem::from)? {
        let headers = [
            (header::CONTENT_LENGTH, HeaderValue::from(len_bytes)),
            (header::CONTENT_TYPE, HeaderValue::from_static(OCTETS)),
            (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        ];
        return Ok(headers.into_response());
    }
    let offset = shared.uploads.offset((caller.key, path.digest));
    Err(ApiError::from(Problem::from(GetError::Missing { digest: path.digest }))
        .with_header(UPLOAD_OFFSET, HeaderValue::from(offset)))
}

/// Uploads a part of a payload.
///
/// Parts come in their order, each of at most 8 MiB, with `Content-Range: bytes FIRST-LAST/TOTAL`. The last
/// one is answered when the payload is stored for good. An upload that broke off goes on where `HEAD` says.
#[utoipa::path(put, path = "/v1/payloads/{digest}", tag = "payloads",
    params(
        PayloadPath,
        ("Content-Range" = String, Header, description = "Which bytes of how many the body is.",
            example = "bytes 0-1023/1024"),
    ),
    request_body(content = Octets, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "It was stored before."),
        (status = 201, description = "It is stored: this was the last part."),
        (status = 202, description = "The part is kept.",
            headers(("Upload-Offset" = u64, description = "Where the next part begins."))),
        (status = 400, description = "`bad_range`: no `Content-Range`, or not that of the body."),
        (status = 403, description = "`role`: only owners upload."),
        (status = 409, description = "`upload_offset`: another part is the next one.",
            headers(("Upload-Offset" = u64, description = "Where the next part begins."))),
        (status = 422, description = "`digest_mismatch`: the whole is not what the digest names; it is thrown away."),
        (status = 507, description = "`upload_quota`, `vault_unavailable`, `storage_full`: there is no room.")))]
pub(super) async fn upload(
    caller: Caller,
    StrictPath(path): StrictPath<PayloadPath>,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    check_owner(&shared, &caller)?;
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != OCTETS) {
        return Err(ApiError::new(415, "unsupported_media_type", format_args!("the body must be `{OCTETS}`")));
    }
    let (from, total) = range::of_part(&headers, bytes.len()).ok_or_else(|| {
        ApiError::new(400, "bad_range", "`Content-Range` must be `bytes FIRST-LAST/TOTAL`, of exactly this body")
    })?;
    match shared.host.first().payloads().head(path.digest).await.map_err(Problem::from)? {
        Some(len_bytes) if len_bytes == total => return Ok(StatusCode::OK.into_response()),
        Some(len_bytes) => {
            let detail = format_args!("the payload with this digest has {len_bytes} bytes");
            return Err(ApiError::new(422, "digest_mismatch", detail));
        }
        None => {}
    }
    let name = (caller.key, path.digest);
    // In a task of its own: it goes on when the caller hangs up, and is there when the caller comes back.
    let taking = tokio::spawn(async move {
        let part = Part { from, total, bytes };
        shared.uploads.take(name, part, shared.host.first().payloads()).await
    });
    let progress = taking.await.map_err(|error| {
        tracing::error!(%error, "an upload failed");
        ApiError::new(503, "unavailable", "the part was not taken; try again")
    })?;
    Ok(match progress? {
        Progress::Stored => StatusCode::CREATED.into_response(),
        Progress::Staged(offset) => {
            (StatusCode::ACCEPTED, [(UPLOAD_OFFSET, HeaderValue::from(offset))]).into_response()
        }
    })
}

/// All channels share one vault: an owner on any of them uploads.
fn check_owner(shared: &Shared, caller: &Caller) -> Result<(), ApiError> {
    if shared.enrolled(caller.key)?.iter().any(|row| row.person.role == Role::Owner) {
        return Ok(());
    }
    Err(ApiError::new(403, "role", "only owners upload payloads"))
}

/// The sealed bytes of a payload. They say nothing to whoever lacks the key.
#[utoipa::path(get, path = "/v1/payloads/{digest}", tag = "payloads",
    params(
        PayloadPath,
        ("Range" = Option<String>, Header, description = "One range of bytes.", example = "bytes=0-1023"),
    ),
    responses(
        (status = 200, description = "All of it.", body = Octets, content_type = "application/octet-stream"),
        (status = 206, description = "The range.", body = Octets, content_type = "application/octet-stream",
            headers(("Content-Range" = String, description = "Which bytes of how many."))),
        (status = 404, description = "`unknown_payload`: it is not stored."),
        (status = 416, description = "`range`: there are no such bytes.",
            headers(("Content-Range" = String, description = "How many bytes there are."))),
        (status = 502, description = "`blob_corrupt`: what is stored is damaged.")))]
pub(super) async fn download(
    caller: Caller,
    StrictPath(path): StrictPath<PayloadPath>,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let vault = shared.host.first().payloads();
    let missing = || ApiError::from(Problem::from(GetError::Missing { digest: path.digest }));
    let len_bytes = vault.head(path.digest).await.map_err(Problem::from)?.ok_or_else(missing)?;
    let asked = range::asked(&headers, len_bytes).map_err(|()| {
        let error = ApiError::new(416, "range", format_args!("the payload has {len_bytes} bytes"));
        match HeaderValue::from_str(&format!("bytes */{len_bytes}")) {
            Ok(all) => error.with_header(header::CONTENT_RANGE, all),
            Err(_) => error,
        }
    })?;
    let holder = Holder::of(&caller.person.person);
    let Ok(place) = tokio::time::timeout(PLACE_PATIENCE, PLACES.wait(&holder, 1)).await else {
        return Err(ApiError::new(503, "overloaded", "too many downloads at a time; try again"));
    };
    let whole = asked.is_none();
    let bytes = asked.unwrap_or(0..len_bytes);
    let sending = Sending {
        vault: vault.clone(),
        digest: path.digest,
        rest: bytes.clone(),
        hasher: whole.then(blake3::Hasher::new),
        ahead: None,
        _place: place,
    };
    // The first bytes are read before anything is answered: a small payload that is damaged is told so.
    let sending = sending.begin().await.map_err(Problem::from)?;
    let body = Body::from_stream(stream::unfold(sending, Sending::next));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(OCTETS));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if !whole && let Ok(range) = HeaderValue::from_str(&format!("bytes {}-{}/{len_bytes}", bytes.start, bytes.end - 1))
    {
        headers.insert(header::CONTENT_RANGE, range);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// A payload on its way out, read one window ahead.
///
/// The last bytes of a whole payload leave only after all of it had the digest: a damaged one breaks off.
struct Sending {
    vault: PayloadStore,
    digest: PayloadDigest,
    rest: Range<u64>,
    hasher: Option<blake3::Hasher>,
    ahead: Option<Bytes>,
    _place: Place,
}

impl Sending {
    async fn begin(mut self) -> Result<Self, GetError> {
        self.ahead = self.read().await?;
        // Of nothing at all there is no last window that would show it.
        let is_nothing = self.ahead.is_none() && self.hasher.is_some();
        if is_nothing && blake3::hash(&[]) != *self.digest.as_bytes() {
            return Err(GetError::Corrupt { digest: self.digest });
        }
        Ok(self)
    }

    async fn next(mut self) -> Option<(Result<Bytes, GetError>, Self)> {
        let ready = self.ahead.take()?;
        match self.read().await {
            Ok(ahead) => {
                self.ahead = ahead;
                Some((Ok(ready), self))
            }
            Err(error) => {
                tracing::error!(digest = %self.digest, %error, "a download broke off");
                Some((Err(error), self))
            }
        }
    }

    /// The next window; none after the last.
    async fn read(&mut self) -> Result<Option<Bytes>, GetError> {
        let Range { start, end } = self.rest;
        if start == end {
            return Ok(None);
        }
        let until = end.min(start + WINDOW_BYTES);
        let bytes = match self.vault.get_range(self.digest, start..until).await {
            // Shorter than it was a moment ago.
            Err(GetError::NoSuchRange { .. }) => return Err(GetError::Corrupt { digest: self.digest }),
            other => other?,
        };
        self.rest.start = until;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
            if until == end && hasher.finalize() != *self.digest.as_bytes() {
                return Err(GetError::Corrupt { digest: self.digest });
            }
        }
        Ok(Some(bytes))
    }
}
