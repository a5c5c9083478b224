//! What a gateway answers, read within bounds.
//!
//! # Source
//! docs/api.md

use super::{
    SLACK,
    connections::{Connection, Connections},
};
use crate::{
    client::{AskGatewayError, gateway::Ciphertext},
    http::HEIGHT,
    problem::Problem,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use dmdl_types::{id::Height, receipt::Receipt};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// Longest JSON answer that is read.
const ANSWER_BYTES: usize = 8 << 20;

/// The head of an answer, and what the rest of it comes on.
pub(super) struct Answer {
    /// Of one that told that the gateway is busy, the body has been read.
    pub(super) response: Response<Either<Incoming, Full<Bytes>>>,
    pub(super) on: Option<(Arc<Connections>, Connection)>,
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The body and, for its end, what it comes on.
    pub(super) fn into_parts(self) -> (Either<Incoming, Full<Bytes>>, impl FnOnce()) {
        let on = self.on;
        (self.response.into_body(), move || {
            if let Some((connections, connection)) = on {
                connections.keep(connection);
            }
        })
    }
}

/// What there is, or that there is nothing, with the height that this is true at.
pub(super) async fn at_height(response: Answer) -> Result<(Height, Option<Value>), AskGatewayError> {
    let is_there = response.status() != StatusCode::NOT_FOUND;
    let response = if is_there { expect(response).await? } else { response };
    let height = number(response.headers(), HEIGHT.as_str());
    let height = height.ok_or_else(|| AskGatewayError::Nonsense("the answer names no height".to_owned()))?;
    let there = if is_there { Some(parsed(response).await?) } else { None };
    Ok((Height::new(height), there))
}

pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

pub(super) fn blob(text: &str) -> Result<Vec<u8>, AskGatewayError> {
    BASE64.decode(text).map_err(|error| AskGatewayError::Nonsense(error.to_string()))
}

pub(super) fn receipt(text: &str) -> Result<Receipt, AskGatewayError> {
    Receipt::parse(text.as_bytes()).map_err(|error| AskGatewayError::Nonsense(error.to_string()))
}

/// The answer, if it says that things went well.
pub(super) async fn expect(answer: Answer) -> Result<Answer, AskGatewayError> {
    if answer.status().is_success() { Ok(answer) } else { Err(problem(answer).await?.0.into()) }
}

/// Nothing, if the answer says that things went well.
pub(super) async fn done(answer: Answer) -> Result<(), AskGatewayError> {
    whole(expect(answer).await?, ANSWER_BYTES).await.map(drop)
}

/// The problem that an answer tells of, with its other members.
pub(super) async fn problem(answer: Answer) -> Result<(Problem, Value), AskGatewayError> {
    let status = answer.status().as_u16();
    let members: Value = parsed(answer).await.unwrap_or_default();
    let text = |name| members.get(name).and_then(Value::as_str).map(str::to_owned);
    let code = text("code").unwrap_or_else(|| "http".to_owned());
    let detail = text("detail").unwrap_or_else(|| format!("the gateway answers with status {status}"));
    Ok((Problem::new(status, code, detail), members))
}

pub(super) async fn parsed<T: DeserializeOwned>(answer: Answer) -> Result<T, AskGatewayError> {
    let bytes = whole(answer, ANSWER_BYTES).await?;
    serde_json::from_slice(&bytes).map_err(|error| AskGatewayError::Nonsense(error.to_string()))
}

pub(super) async fn whole(answer: Answer, bytes_max: usize) -> Result<Bytes, AskGatewayError> {
    let (body, ended) = answer.into_parts();
    match tokio::time::timeout(SLACK.saturating_mul(6), Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => {
            ended();
            Ok(body.to_bytes())
        }
        Ok(Err(error)) => Err(AskGatewayError::Unreachable(error.to_string())),
        Err(_) => Err(AskGatewayError::Unreachable("the answer did not end in time".to_owned())),
    }
}

pub(super) fn streamed(answer: Answer) -> Ciphertext {
    let (body, ended) = answer.into_parts();
    stream::unfold((body, Some(ended)), |(mut body, mut ended)| async {
        loop {
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Some((Ok(data), (body, ended)));
                    }
                }
                Some(Err(error)) => {
                    return Some((Err(AskGatewayError::Unreachable(error.to_string())), (body, None)));
                }
                None => {
                    if let Some(ended) = ended.take() {
                        ended();
                    }
                    return None;
                }
            }
        }
    })
    .boxed()
}
