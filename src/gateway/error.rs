//! What a gateway answers when it does not help: a problem, as RFC 9457 writes it.

use crate::{
    http::{nonces::NonceError, signature::SignatureError},
    node::GatewayError,
    problem::Problem,
};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use dmdl_audit_ledger::store::StoreError;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use std::{borrow::Cow, fmt};

/// Largest body of a problem.
const PROBLEM_BYTES_MAX: usize = 4 * 1024;
/// The media type of a problem.
const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not answered as it was asked.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    problem: Problem,
    members: Map<String, Value>,
    headers: HeaderMap,
}

impl ApiError {
    pub(crate) fn new(status: u16, code: impl Into<Cow<'static, str>>, detail: impl fmt::Display) -> Self {
        Problem::new(status, code, detail).into()
    }

    /// Adds a member to the problem.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.0.headers.insert(name, value.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        self.with_header(header::RETRY_AFTER, seconds)
    }

    /// The body, never larger than a problem may be: what was added to it goes first, the newest first.
    pub(super) fn body(&self) -> Vec<u8> {
        let Problem { status, code, detail } = &self.0.problem;
        let title = StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason());
        let mut members = self.0.members.clone();
        loop {
            let title = title.unwrap_or("Problem");
            let mut body = json!({
                "type": "about:blank", "title": title, "status": status, "detail": detail, "code": code,
            });
            if let Some(body) = body.as_object_mut() {
                body.extend(members.clone());
            }
            let body = body.to_string().into_bytes();
            if body.len() <= PROBLEM_BYTES_MAX || members.is_empty() {
                return body;
            }
            let newest = members.keys().next_back().cloned();
            newest.map(|name| members.remove(&name));
        }
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        let mut headers = HeaderMap::new();
        match problem.status {
            401 => headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Signature")),
            429 | 503 => headers.insert(header::RETRY_AFTER, HeaderValue::from(1)),
            _ => None,
        };
        Self(Box::new(Parts { problem, members: Map::new(), headers }))
    }
}

impl From<GatewayError> for ApiError {
    fn from(error: GatewayError) -> Self {
        Problem::from(error).into()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Problem::from(error).into()
    }
}

impl From<SignatureError> for ApiError {
    fn from(error: SignatureError) -> Self {
        Self::new(error.status(), error.code(), error)
    }
}

impl From<NonceError> for ApiError {
    fn from(error: NonceError) -> Self {
        Self::new(error.status(), error.code(), error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        // A status out of range would be a slip in this program; it is answered as one.
        *response.status_mut() =
            StatusCode::from_u16(self.0.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = self.0.headers;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_stays_small_whatever_is_added() {
        let error = ApiError::new(403, "denied", "x".repeat(10_000));
        let error = error.with("transaction", "t".repeat(64)).with("receipt", "r".repeat(5000));
        let body = error.body();
        assert!(body.len() <= PROBLEM_BYTES_MAX);
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "denied");
        assert_eq!(body["status"], 403);
        assert_eq!(body["title"], "Forbidden");
        assert_eq!(body["transaction"], "t".repeat(64));
        assert!(body.get("receipt").is_none());
    }

    #[test]
    fn who_is_refused_for_now_is_told_when_to_try_again() {
        let response = ApiError::new(503, "overloaded", "busy").retry_after(7).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "7");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
