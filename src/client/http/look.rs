//! A look at a gateway by somebody who has no pin: what it calls its network, which proves nothing.

use super::{expect, in_time, parsed, pinned, unreachable};
use crate::client::AskGatewayError;
use bytes::Bytes;
use dmdl_types::id::NetworkId;
use http::Uri;
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::Deserialize;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// What a gateway shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What it says its network is.
    pub network: NetworkId,
    /// SHA-256 of the certificate that it has; none without TLS.
    pub certificate_sha256: Option<[u8; 32]>,
}

/// Asks a gateway which network it is of, signs nothing, and takes whatever certificate it has.
///
/// # Errors
/// [`AskGatewayError`] when the address is none, or what answers there is no gateway.
pub async fn look(url: &str, patience: Duration) -> Result<Shown, AskGatewayError> {
    #[derive(Deserialize)]
    struct Channels {
        network: NetworkId,
    }
    let failed = |error: pinned::PinError| AskGatewayError::Unreachable(error.to_string());
    let base = pinned::address(url, true).map_err(failed)?;
    let seen = Arc::new(OnceLock::new());
    let tls = pinned::tls_to_anybody(Arc::clone(&seen)).map_err(|error| failed(error.into()))?;
    let connector =
        hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/v1/channels"));
    let uri = Uri::from_parts(parts).map_err(|error| AskGatewayError::Nonsense(error.to_string()))?;
    let answer = tokio::time::timeout(patience, client.get(uri)).await;
    let answer = answer.map_err(|_| in_time(&base))?;
    let answer = answer.map_err(|error| unreachable(&base, &error))?;
    let Channels { network } = parsed(expect(answer).await?).await?;
    Ok(Shown { network, certificate_sha256: seen.get().copied() })
}
