//! Requests of one person, on connections that are kept: signed one by one or by session, and made again while the gateway has
//! too much to do.
//!
//! # Source
//! docs/spec/http-signature.md

use super::{
    HttpGateway, SLACK,
    answer::{Answer, number},
    busy,
    connections::{Broken, Connection, Sent},
};
use crate::{
    client::AskGatewayError,
    http::{
        HEIGHT,
        signature::{self, Body, Nonce},
        target::Target,
    },
    local::os_rng,
};
use bytes::Bytes;
use dmdl_types::id::Height;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{Either, Full};
use rand_core::Rng as _;
use std::{
    error::Error,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

/// Where a session of a connection is opened.
const SESSION: &str = "/v1/session";
/// How long a session is used: a minute less than a gateway lets it last.
const SESSION_KEPT: Duration = Duration::from_secs(4 * 60);

/// What is asked of a gateway.
struct Ask<'a> {
    method: Method,
    path_and_query: &'a str,
    headers: HeaderMap,
    body: Bytes,
}

impl HttpGateway {
    /// Sends a request as this person, again if need be; `patience` is what the gateway was asked to wait.
    pub(super) async fn send(
        &self,
        method: Method,
        path_and_query: &str,
        headers: HeaderMap,
        body: Option<Bytes>,
        patience: Duration,
    ) -> Result<Answer, AskGatewayError> {
        let ask = Ask { method, path_and_query, headers, body: body.unwrap_or_default() };
        let answer = self.patiently(&ask, patience).await?;
        if let Some(height) = number(answer.headers(), HEIGHT.as_str()) {
            *self.height.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), Height::new(height)));
        }
        Ok(answer)
    }

    /// The answer, and while the gateway has too much to do, that of a later time.
    async fn patiently(&self, ask: &Ask<'_>, patience: Duration) -> Result<Answer, AskGatewayError> {
        let begun = Instant::now();
        loop {
            let answer = tokio::time::timeout(patience + SLACK, self.answer(ask)).await;
            let (answer, busy) = busy::looked_at(answer.map_err(|_| in_time(&self.base))??).await;
            let Some(after) = busy else { return Ok(answer) };
            let pause = busy::pause(after, os_rng().next_u32());
            if begun.elapsed() + pause > self.persistence {
                return Ok(answer);
            }
            tracing::debug!(?pause, "the gateway has too much to do; it is asked again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn answer(&self, ask: &Ask<'_>) -> Result<Answer, AskGatewayError> {
        let broken = |error: Broken| unreachable(&self.base, &*error);
        loop {
            let connection = self.connections.take().await.map_err(broken)?;
            let Some(connection) = self.with_session(connection).await? else { continue };
            let in_session = connection.session().is_some();
            let request = self.request(ask, self.signs && !in_session)?;
            match connection.send(request).await.map_err(broken)? {
                Sent::NotSent => {}
                // The session has ended before its time, or nothing is to be had without a signature of its own.
                Sent::Answered(answer, _) if in_session && answer.status() == StatusCode::UNAUTHORIZED => {
                    self.sessions.store(false, Ordering::Relaxed);
                }
                Sent::Answered(response, connection) => {
                    let response = response.map(Either::Left);
                    return Ok(Answer { response, on: Some((Arc::clone(&self.connections), connection)) });
                }
            }
        }
    }

    /// Opens a session on a connection that has none, where they are used; none when another connection is needed.
    async fn with_session(&self, connection: Connection) -> Result<Option<Connection>, AskGatewayError> {
        if !self.in_session() {
            return Ok(Some(connection.in_session(None)));
        }
        if connection.session().is_some_and(|until| Instant::now() < until) {
            return Ok(Some(connection));
        }
        let ask = Ask { method: Method::POST, path_and_query: SESSION, headers: HeaderMap::new(), body: Bytes::new() };
        let until = Instant::now() + SESSION_KEPT;
        match connection.send(self.request(&ask, true)?).await.map_err(|error| unreachable(&self.base, &*error))? {
            Sent::Answered(answer, connection) if answer.status() == StatusCode::NO_CONTENT => {
                Ok(Some(connection.in_session(Some(until))))
            }
            Sent::Answered(..) => {
                self.sessions.store(false, Ordering::Relaxed);
                Ok(None)
            }
            Sent::NotSent => Ok(None),
        }
    }

    pub(super) fn in_session(&self) -> bool {
        self.signs && self.sessions.load(Ordering::Relaxed)
    }

    fn request(&self, ask: &Ask<'_>, signed: bool) -> Result<Request<Full<Bytes>>, AskGatewayError> {
        let nonsense = |what: &dyn std::fmt::Display| AskGatewayError::Nonsense(what.to_string());
        let Ask { method, path_and_query, headers, body } = ask;
        let request = Request::builder().method(method).uri(*path_and_query).body(Full::new(body.clone()));
        let mut request = request.map_err(|error| nonsense(&error))?;
        *request.headers_mut() = headers.clone();
        request.headers_mut().insert(header::HOST, self.host.clone());
        if signed {
            let (path, query) = path_and_query.split_once('?').map_or((*path_and_query, None), |(p, q)| (p, Some(q)));
            let target = Target::new(method.as_str(), self.authority.clone(), path, query);
            let target = target.map_err(|error| nonsense(&error))?;
            let (mut nonce, covered) = ([0; 16], Body::of(body));
            os_rng().fill_bytes(&mut nonce);
            let signature = signature::sign(&target, covered, &self.key, self.network, now_s(), Nonce::new(nonce));
            request.headers_mut().extend(signature);
        }
        Ok(request)
    }
}

pub(super) fn in_time(base: &Uri) -> AskGatewayError {
    AskGatewayError::Unreachable(format!("{base}: no answer in time"))
}

pub(super) fn unreachable(base: &Uri, error: &(dyn Error + 'static)) -> AskGatewayError {
    let mut cause = error;
    loop {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return AskGatewayError::Certificate(tls.to_string());
        }
        // An I/O error that wraps another one does not name it as its source.
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| cause.source()) {
            Some(inner) => cause = inner,
            None => return AskGatewayError::Unreachable(format!("{base}: {cause}")),
        }
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
