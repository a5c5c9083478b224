//! What all routes answer with: JSON that is true at a height, and lists page by page.

use crate::{
    gateway::{RealNode, auth::Named, error::ApiError},
    http::HEIGHT,
};
use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dmdl_audit_ledger::{
    channel::{Page, Reading, ViewError},
    store::RocksStore,
    world::RecordRow,
};
use dmdl_types::id::{Height, RecordId};
use http::{HeaderValue, request::Parts};
use serde::Serialize;
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

/// Items of a page, unless another number is asked for.
pub(super) const LIMIT: usize = 50;
/// Most items of a page.
pub(super) const LIMIT_MAX: usize = 500;
/// Longest cursor, as text.
const CURSOR_CHARS: usize = 128;
/// Reads at a time for each core; the others wait for their turn, without a thread and its memory each. Consensus has to do
/// with the same cores.
const READS_PER_CORE: usize = 4;
/// The longest that an answer is waited for.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(30);

/// Turns to read, for all gateways of a process. Who may wait for one is bounded by the requests in work.
static TURNS: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    Semaphore::new(cores.saturating_mul(READS_PER_CORE))
});

/// The node on the channel that a path names; without one that the caller may know of, the request is refused.
pub(super) struct OnChannel(pub(super) RealNode);

impl<S: Sync> FromRequestParts<S> for OnChannel {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let named = parts.extensions.get::<Named>();
        let unknown = || ApiError::new(404, "unknown_channel", "there is no such channel here");
        named.map(|named| Self(Arc::clone(&named.0))).ok_or_else(unknown)
    }
}

/// An answer in JSON that is true at a height.
pub(super) struct At<T> {
    pub(super) height: Height,
    pub(super) body: T,
}

impl<T: Serialize> IntoResponse for At<T> {
    fn into_response(self) -> Response {
        let mut response = axum::Json(self.body).into_response();
        response.headers_mut().insert(HEIGHT, HeaderValue::from(self.height.get()));
        response
    }
}

/// Reads the ledger at one height, where it does not hold up other requests.
pub(super) async fn read<T: Send + 'static>(
    node: &RealNode,
    look: impl FnOnce(&Reading<'_, RocksStore>) -> Result<T, ApiError> + Send + 'static,
) -> Result<At<T>, ApiError> {
    let (node, titled) = (Arc::clone(node), Arc::clone(node));
    let reading = move || {
        let titles = move |id: RecordId, row: &RecordRow, text: &str| {
            !row.is_erased()
                && titled.title(id, row.owner).is_some_and(|title| title.text().to_lowercase().contains(text))
        };
        let reading = node.channel().reading()?.titled(&titles);
        let height = reading.tip().height;
        // That something is not there is true at this height, too, and maybe not at the next one.
        let body = look(&reading).map_err(|error| error.with_header(HEIGHT, height.get()))?;
        Ok(At { height, body })
    };
    // Never closed.
    let _turn = TURNS.acquire().await.ok();
    blocking(reading).await?
}

/// Runs what blocks its thread on a thread that is there for it.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a request failed");
        ApiError::new(503, "unavailable", "the node cannot answer at the moment; try again, or another gateway")
    })
}

/// The height that this node has executed now.
pub(super) fn now<T>(node: &RealNode, body: T) -> At<T> {
    At { height: node.channel().tip().height, body }
}

/// Part of a list.
#[derive(Serialize, ToSchema)]
pub(super) struct Listing<T: ToSchema> {
    /// The items. A page may hold few, or none, and still have a successor.
    items: Vec<T>,
    /// What to ask the next page with; null after the last.
    next_cursor: Option<String>,
    /// The height that the page is true at.
    height: u64,
}

impl<T: ToSchema> Listing<T> {
    /// A page as it is answered.
    pub(super) fn of<R>(
        page: Page<R>,
        height: Height,
        show: impl FnMut(R) -> Result<T, ApiError>,
    ) -> Result<Self, ApiError> {
        let next_cursor = page.next.map(|cursor| URL_SAFE_NO_PAD.encode(cursor));
        let items = page.items.into_iter().map(show).collect::<Result<_, _>>()?;
        Ok(Self { items, next_cursor, height: height.get() })
    }
}

/// All of a list that is short.
#[derive(Serialize, ToSchema)]
pub(super) struct Items<T: ToSchema> {
    /// The items.
    pub(super) items: Vec<T>,
}

/// Where a page begins, and how long it is.
pub(super) struct Paging {
    pub(super) cursor: Option<Vec<u8>>,
    pub(super) limit: usize,
}

impl Paging {
    pub(super) fn new(limit: Option<&str>, cursor: Option<&str>) -> Result<Self, ApiError> {
        let plain = |text: &str| !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        let bad = || ApiError::new(400, "bad_limit", format_args!("`limit` is a number from 1 to {LIMIT_MAX}"));
        let limit = match limit {
            None => LIMIT,
            Some(text) => {
                let number = text.parse().ok().filter(|number| plain(text) && (1..=LIMIT_MAX).contains(number));
                number.ok_or_else(bad)?
            }
        };
        let decode = |text: &str| {
            let bytes = (text.len() <= CURSOR_CHARS).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten();
            bytes.ok_or_else(bad_cursor)
        };
        Ok(Self { cursor: cursor.map(decode).transpose()?, limit })
    }

    pub(super) fn cursor(&self) -> Option<&[u8]> {
        self.cursor.as_deref()
    }
}

fn bad_cursor() -> ApiError {
    ApiError::new(400, "bad_cursor", "the cursor is not of this list and these filters")
}

/// Why a page cannot be given.
pub(super) fn page_error(error: ViewError) -> ApiError {
    match error {
        ViewError::Store(error) => error.into(),
        _ => bad_cursor(),
    }
}

/// How long an answer is waited for; longer waits than the longest count as that.
pub(super) fn patience(wait_ms: Option<u64>) -> Duration {
    Duration::from_millis(wait_ms.unwrap_or(0)).min(WAIT_MAX)
}

/// What is answered for a record that is not there, and for one that is not to be seen.
pub(super) fn unknown_record() -> ApiError {
    ApiError::new(404, "unknown_record", "there is no such record, or none that you may know of")
}

/// Bytes from the one base64 text that they have, of so many at most.
pub(super) fn blob(text: &str, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
    use base64::engine::general_purpose::STANDARD;
    if text.len() > bytes_max.div_ceil(3) * 4 {
        return Err(ApiError::new(422, "too_long", format_args!("at most {bytes_max} bytes are allowed")));
    }
    STANDARD.decode(text).map_err(|_| ApiError::new(400, "bad_base64", "a value is not base64 with padding"))
}

/// Bytes as base64 text.
pub(super) fn base64(bytes: &[u8]) -> String {
    use base64::engine::general_purpose::STANDARD;
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn code(error: ApiError) -> String {
        let body: Value = serde_json::from_slice(&error.body()).unwrap();
        body["code"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_page_has_one_to_five_hundred_items() {
        assert_eq!(Paging::new(None, None).ok().map(|paging| paging.limit), Some(50));
        assert_eq!(Paging::new(Some("500"), None).ok().map(|paging| paging.limit), Some(500));
        for bad in ["0", "-1", "501", "1000000000", "01", "+1", "1.0", "", "x", "99999999999999999999999"] {
            assert_eq!(Paging::new(Some(bad), None).map_err(code).err().as_deref(), Some("bad_limit"), "{bad}");
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        assert_eq!(Paging::new(None, Some("AAE")).ok().unwrap().cursor(), Some(&[0, 1][..]));
        for bad in ["AAE=", "A", "AA!", "//", "AAF", &"A".repeat(200)] {
            assert_eq!(Paging::new(None, Some(bad)).map_err(code).err().as_deref(), Some("bad_cursor"), "{bad}");
        }
    }

    #[test]
    fn no_wait_is_longer_than_the_longest() {
        assert_eq!(patience(None), Duration::ZERO);
        assert_eq!(patience(Some(250)), Duration::from_millis(250));
        assert_eq!(patience(Some(u64::MAX)), WAIT_MAX);
    }

    #[test]
    fn a_blob_has_one_text_and_a_limit() {
        assert_eq!(blob("AAE=", 2).ok(), Some(vec![0, 1]));
        for bad in ["AAE", "AAF=", "AA E", "_w=="] {
            assert_eq!(blob(bad, 8).map_err(code).err().as_deref(), Some("bad_base64"), "{bad}");
        }
        assert_eq!(blob("AAAAAAAA", 3).map_err(code).err().as_deref(), Some("too_long"));
    }
}
