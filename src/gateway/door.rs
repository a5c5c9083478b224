//! The door: every request comes in here, and every answer goes out here, counted and written down.

use super::{
    App, RealNode, Shared,
    auth::{self, Admitted, OF_CHANNEL},
    authority::plain_path,
    error::ApiError,
    metrics::InFlight,
    table::wrong_method,
    transport::Link,
};
use crate::http::HEIGHT;
use axum::{
    body::{Body, HttpBody},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use dmdl_types::sign::PublicKey;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    service::Service as _,
};
use hyper_util::service::TowerToHyperService;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};
use tokio::time::timeout;

/// The methods of which a gateway knows any use.
const METHODS: [Method; 4] = [Method::GET, Method::HEAD, Method::POST, Method::PUT];
/// Headers by which a request would be another one than it says.
const OVERRIDES: [&str; 3] = ["x-http-method-override", "x-method-override", "x-http-method"];

/// Answers one request. What the gate refused is answered with its problem.
pub(super) async fn answer(
    app: &App,
    link: Arc<Link>,
    refused: Option<(u16, &'static str, &'static str)>,
    request: Request<Incoming>,
) -> Response {
    let shared = &app.shared;
    let gauge = InFlight::new(shared);
    let known = |method: &Method| METHODS.iter().find(|known| *known == method).map_or("-", Method::as_str);
    let mut entry = Entry::new(shared, if refused.is_some() { "-" } else { known(request.method()) });
    let mut response = match refused {
        Some((status, code, detail)) => ApiError::new(status, code, detail)
            .with_header(header::CONNECTION, HeaderValue::from_static("close"))
            .into_response(),
        None => work(app, &link, request, &mut entry).await.unwrap_or_else(|error| error.into_response()),
    };
    finish(shared, &mut response, &entry);
    entry.write(response.status().as_u16());
    response.map(|body| Body::new(Guarded { body, _guard: Guard { link, _gauge: gauge } }))
}

async fn work<'a>(
    app: &'a App,
    link: &Arc<Link>,
    request: Request<Incoming>,
    entry: &mut Entry<'a>,
) -> Result<Response, ApiError> {
    let shared = &app.shared;
    let (method, headers) = (request.method(), request.headers());
    let known = METHODS.contains(method) && !OVERRIDES.iter().any(|name| headers.contains_key(*name));
    let path = plain_path(method, request.uri());
    let found = path.as_ref().ok().and_then(|path| shared.routes.find(path));
    if let Some((number, route)) = found {
        (entry.number, entry.template) = (Some(number), &route.template);
    }
    if !known {
        return Err(found.map_or_else(|| wrong_method(""), |(_, route)| route.wrong_method()));
    }
    path?;
    let (_, route) = found.ok_or_else(|| ApiError::new(404, "unknown_route", "there is nothing here"))?;
    route.call(method)?.check(headers, request.uri().query())?;
    let Admitted { request, key, named, _room } = auth::admit(shared, link, &route.template, request).await?;
    (entry.key, entry.named) = (key, named);
    // Taken when the body is there, so that who is slow to send it takes no place from others. Who asks
    // whether the gateway lives is told even when there is none.
    let place = shared.work.try_acquire();
    if place.is_err() && route.template != "/healthz" {
        return Err(ApiError::new(503, "overloaded", "this gateway has all the work that it can; try again"));
    }
    let answered = timeout(shared.limits.answer, TowerToHyperService::new(app.router.clone()).call(request)).await;
    match answered {
        Ok(Ok(response)) => Ok(response),
        Err(_) => Err(ApiError::new(503, "unavailable", "the answer took too long; try again, or another gateway")),
    }
}

/// Adds what every answer has.
fn finish(shared: &Shared, response: &mut Response, entry: &Entry<'_>) {
    let headers: &mut HeaderMap = response.headers_mut();
    if entry.template.starts_with(OF_CHANNEL) {
        // An answer that is of no channel that its caller may know of is the same for all of these.
        let node = entry.named.as_ref().unwrap_or_else(|| shared.host.first());
        let height = node.channel().tip().height;
        headers.entry(HEIGHT).or_insert_with(|| HeaderValue::from(height.get()));
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// The line that is written of a request, whether it was answered or the caller went away before.
struct Entry<'a> {
    shared: &'a Shared,
    method: &'static str,
    number: Option<usize>,
    template: &'a str,
    key: Option<PublicKey>,
    named: Option<RealNode>,
    begun: Instant,
    status: Option<u16>,
}

impl<'a> Entry<'a> {
    fn new(shared: &'a Shared, method: &'static str) -> Self {
        Self {
            shared,
            method,
            number: None,
            template: "-",
            key: None,
            named: None,
            begun: Instant::now(),
            status: None,
        }
    }

    fn write(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        // The status that many servers write down for a caller that went away.
        let status = self.status.unwrap_or(499);
        self.shared.metrics.answered(self.number, status);
        let key =
            self.key.map_or_else(|| "-".to_owned(), |key| hex::encode(key.as_bytes().get(..4).unwrap_or_default()));
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(target: "dmdl::gateway", method = self.method, route = self.template, status, ms, key, "request");
    }
}

/// An answer's body; when it is gone, its connection has only to send what it has of it.
struct Guarded {
    body: Body,
    _guard: Guard,
}

struct Guard {
    link: Arc<Link>,
    _gauge: InFlight,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.link.answered();
    }
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
