//! The door: every request comes in here, and every answer goes out here, counted and written down.

use super::{
    App, RealNode, Shared,
    admission::{Holder, Place},
    auth::{self, Admitted, OF_CHANNEL, PAYLOAD},
    authority::plain_path,
    error::ApiError,
    metrics::InFlight,
    table::wrong_method,
    transport::Link,
};
use crate::{http::HEIGHT, node::FULL};
use axum::{
    body::{Body, HttpBody},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use dmdl_types::{planted, sign::PublicKey};
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
/// The route by which transactions come.
const TRANSACTIONS: &str = "/v1/channels/{c}/transactions";
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
    let mut entry = Entry::new(shared);
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
    entry.number = found.map(|(number, _)| number);
    entry.line = Line::of(&request, found.map(|(_, route)| &*route.template));
    if !known {
        return Err(found.map_or_else(|| wrong_method(""), |(_, route)| route.wrong_method()));
    }
    path?;
    let (_, route) = found.ok_or_else(|| ApiError::new(404, "unknown_route", "there is nothing here"))?;
    let call = route.call(method)?;
    let asked = call.freshness(request.uri().query())?;
    call.check(headers, asked.rest(request.uri().query()))?;
    let keeps = call.keeps();
    let Admitted { mut request, key, holder, named, _room } =
        auth::admit(shared, link, &route.template, request).await?;
    // Signed was all of the query.
    *request.uri_mut() = asked.uri(request.uri());
    (entry.line.key, entry.named) = (key, named);
    if keeps && shared.host.space().is_full() {
        return Err(ApiError::new(507, "storage_full", FULL));
    }
    // Taken when the body is there, so that who is slow to send it takes no place from others.
    let _place = place(shared, request.method(), &route.template, &holder)?;
    // Whoever may not ask is not kept waiting.
    if let (Some(_), Some(node)) = (&entry.line.key, &entry.named)
        && asked.wait(node).await?
    {
        auth::admit_again(shared, &route.template, &mut request)?;
    }
    let answered = timeout(shared.limits.answer, TowerToHyperService::new(app.router.clone()).call(request)).await;
    match answered {
        Ok(Ok(response)) => Ok(response),
        Err(_) => Err(ApiError::new(503, "unavailable", "the answer took too long; try again, or another gateway")),
    }
}

/// The place that a request takes; none for what is answered whatever else is to be done, and for transactions, which take
/// theirs when it is known whose they are, but are not even read while there is none.
fn place(shared: &Shared, method: &Method, template: &str, holder: &Holder) -> Result<Option<Place>, ApiError> {
    let places = match (method, template) {
        (_, "/healthz" | "/readyz" | "/metrics") => return Ok(None),
        (&Method::POST, TRANSACTIONS) => return shared.admission.check_any().map(|()| None),
        (&Method::PUT, PAYLOAD) => &shared.admission.uploads,
        _ => &shared.admission.work,
    };
    Ok(Some(places.take(holder, 1)?))
}

/// Adds what every answer has.
fn finish(shared: &Shared, response: &mut Response, entry: &Entry<'_>) {
    let headers: &mut HeaderMap = response.headers_mut();
    if entry.line.route.starts_with(OF_CHANNEL) {
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

/// What is written down of a request: what it was for, and nothing that was said in it. Its path names a record.
#[derive(Debug)]
struct Line {
    method: &'static str,
    route: String,
    key: Option<PublicKey>,
}

impl Line {
    /// Of a request that nobody has looked at.
    fn unknown() -> Self {
        Self { method: "-", route: "-".to_owned(), key: None }
    }

    /// Of a request that is for a route, or for none.
    fn of<B>(request: &Request<B>, route: Option<&str>) -> Self {
        let known = METHODS.iter().find(|known| *known == request.method());
        Self {
            method: known.map_or("-", Method::as_str),
            route: planted!("log-prints-the-request" => request.uri().to_string(), else route.unwrap_or("-").to_owned()),
            key: None,
        }
    }

    fn write(&self, status: u16, ms: u64) {
        let Self { method, route, key } = self;
        let key = key.map_or_else(|| "-".to_owned(), |key| hex::encode(key.as_bytes().get(..4).unwrap_or_default()));
        tracing::info!(target: "dmdl::gateway", method, route, status, ms, key, "request");
    }
}

/// A request that is counted and written down, whether it was answered or the caller went away before.
struct Entry<'a> {
    shared: &'a Shared,
    number: Option<usize>,
    line: Line,
    named: Option<RealNode>,
    begun: Instant,
    status: Option<u16>,
}

impl<'a> Entry<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self { shared, number: None, line: Line::unknown(), named: None, begun: Instant::now(), status: None }
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
        self.line.write(status, u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_names_the_route_and_nothing_that_was_said() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let asked = Request::get("/v1/channels/main/records/m4rker?m4rker=1").header("user-agent", "m4rker");
        let line = Line::of(&asked.body("m4rker").unwrap(), Some("/v1/channels/{c}/records/{id}"));
        tracing::subscriber::with_default(subscriber, || line.write(200, 7));
        let line = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(!line.contains("m4rker"), "what was said is in `{line}`");
        assert!(line.contains("method=\"GET\" route=\"/v1/channels/{c}/records/{id}\" status=200"), "{line}");
    }
}
