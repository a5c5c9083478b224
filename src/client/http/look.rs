//! A look at a gateway by somebody who has no pin: what it calls its network, which proves nothing.

use super::{
    answer::{Answer, expect, parsed},
    ask::{in_time, unreachable},
    connections::{Broken, Connections, Sent, Way},
    pinned,
};
use crate::client::AskGatewayError;
use dmdl_types::id::NetworkId;
use http::{Request, header};
use http_body_util::{Either, Full};
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
    let connections = Connections::new(Arc::new(Way::new(&base, tls).map_err(failed)?));
    let host = base.authority().map(ToString::to_string).unwrap_or_default();
    let request = Request::get("/v1/channels").header(header::HOST, host).body(Full::default());
    let request = request.map_err(|error| AskGatewayError::Nonsense(error.to_string()))?;
    let asked = async { connections.take().await?.send(request).await };
    let answer: Result<Sent, Broken> = tokio::time::timeout(patience, asked).await.map_err(|_| in_time(&base))?;
    let Sent::Answered(response, connection) = answer.map_err(|error| unreachable(&base, &*error))? else {
        return Err(AskGatewayError::Unreachable(format!("{base}: it closed the connection")));
    };
    let answer = Answer { response: response.map(Either::Left), on: None };
    let answered = parsed(expect(answer).await?).await;
    drop(connection);
    let Channels { network } = answered?;
    Ok(Shown { network, certificate_sha256: seen.get().copied() })
}
