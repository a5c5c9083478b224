//! Sessions: one signature for many requests on one connection.
//!
//! A session is a note on a connection and nothing that a client carries away: it ends with the connection,
//! after five minutes, and when its key is revoked. It is not for connections that several people share.

use super::{Shared, auth::Caller, error::ApiError, transport::Link};
use axum::extract::{Extension, State};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// What a proxy adds: behind one, a connection may carry requests of many people.
const PROXIED: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host"];

/// Lets further requests on this connection do without a signature.
#[utoipa::path(
    post,
    path = "/v1/session",
    tag = "operation",
    responses(
        (status = 204, description = "Requests on this connection act as the signing key for five minutes."),
        (status = 401, description = "`sig_missing` and the like: the request is not signed by an active person."),
        (status = 403, description = "`proxied`: it comes through a proxy, or from another site's page."),
    ),
)]
pub(crate) async fn start(
    State(shared): State<Arc<Shared>>,
    Extension(link): Extension<Arc<Link>>,
    headers: HeaderMap,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    if !caller.signed {
        return Err(ApiError::new(401, "sig_missing", "a session cannot prolong itself: sign the request"));
    }
    if !is_direct(&shared, &headers) {
        return Err(ApiError::new(403, "proxied", "a connection through a proxy or of another page has no session"));
    }
    link.start_session(caller.key, shared.limits.session);
    Ok(StatusCode::NO_CONTENT)
}

/// Whether a request comes from who opened the connection: not through a proxy, and not from another
/// site's page in a browser, which would share its connections.
pub(super) fn is_direct(shared: &Shared, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap_or_default());
    let own_page = text("origin").is_none_or(|origin| shared.authorities.is_own_origin(origin));
    let own_site = text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    own_page && own_site && PROXIED.iter().all(|name| !headers.contains_key(*name))
}
