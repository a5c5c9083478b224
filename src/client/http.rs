//! A gateway across the network: HTTP over TLS, to the certificate that the network file pins.
//!
//! # Source
//! docs/api.md; docs/spec/http-signature.md

mod answer;
mod as_gateway;
mod ask;
mod busy;
mod connections;
mod look;
mod pinned;
mod shown;

pub use look::{Shown, look};
pub use pinned::PinError;

use super::{
    AskGatewayError,
    gateway::{Ciphertext, decode},
};
use crate::{http::target::Authority, node::Deed};
use answer::{at_height, blob, done, expect, parsed, receipt, streamed, whole};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use connections::{Connections, Way};
use dmdl_types::{
    charter::SignedCharter,
    codec,
    genesis::Founding,
    id::{ChannelName, Height, NetworkId, TransactionId},
    limits,
    secret::Secret32,
    sign::SigningKey,
};
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::{Duration, Instant},
};
use tokio::sync::OnceCell;

/// What an answer may take beyond what was asked for.
const SLACK: Duration = Duration::from_secs(10);
/// How long a gateway may be asked to wait with its answer; longer waits are asked for again.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// How long a gateway that is busy is asked again, unless it is said how long.
const PERSISTENCE: Duration = Duration::from_secs(30);

/// A gateway of a pinned network, asked as one person.
pub struct HttpGateway {
    connections: Arc<Connections>,
    base: Uri,
    host: HeaderValue,
    authority: Authority,
    network: NetworkId,
    channel: String,
    key: SigningKey,
    signs: bool,
    /// Whether one signature serves for a connection.
    sessions: AtomicBool,
    /// How long it is asked again while it is busy.
    persistence: Duration,
    height: Mutex<Option<(Instant, Height)>>,
    /// The highest final block when it was asked for first: a gateway that catches up answers from a lower one.
    first_height: OnceCell<Height>,
}

impl std::fmt::Debug for HttpGateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpGateway({})", self.base)
    }
}

impl HttpGateway {
    /// A gateway of a channel at `url`, whose certificate has this SHA-256; nothing is sent yet.
    ///
    /// # Errors
    /// [`PinError`] when the address is none, or is plain HTTP to another machine.
    pub fn new(
        url: &str,
        certificate_sha256: Option<[u8; 32]>,
        founding: &Founding,
        key: &SigningKey,
    ) -> Result<Self, PinError> {
        let base = pinned::address(url, certificate_sha256.is_some())?;
        let bad = || PinError::Address(url.to_owned());
        let authority: Authority = base.authority().and_then(|text| text.as_str().parse().ok()).ok_or_else(bad)?;
        let host = HeaderValue::try_from(authority.to_string()).map_err(|_| bad())?;
        let way = Way::new(&base, pinned::tls(certificate_sha256.unwrap_or_default())?)?;
        Ok(Self {
            connections: Arc::new(Connections::new(Arc::new(way))),
            base,
            host,
            authority,
            network: founding.domain.network,
            channel: founding.channel.name.to_string(),
            key: copy(key),
            signs: true,
            sessions: AtomicBool::new(false),
            persistence: PERSISTENCE,
            height: Mutex::new(None),
            first_height: OnceCell::new(),
        })
    }

    /// The same gateway, asked as another person.
    #[must_use]
    pub fn of(&self, key: &SigningKey) -> Self {
        Self {
            connections: Arc::new(Connections::new(self.connections.way())),
            base: self.base.clone(),
            host: self.host.clone(),
            authority: self.authority.clone(),
            network: self.network,
            channel: self.channel.clone(),
            key: copy(key),
            signs: self.signs,
            sessions: AtomicBool::new(self.in_session()),
            persistence: self.persistence,
            height: Mutex::new(None),
            first_height: OnceCell::new(),
        }
    }

    /// The same gateway, which is shown one signature for each connection instead of one for each request: right for
    /// whoever asks it again and again. Where a gateway opens no session, requests are signed as before.
    #[must_use]
    pub fn in_sessions(mut self) -> Self {
        self.sessions = AtomicBool::new(true);
        self
    }

    /// The same gateway, asked about another channel.
    #[must_use]
    pub fn on(mut self, channel: &ChannelName) -> Self {
        self.channel = channel.to_string();
        self
    }

    /// The same gateway, asked again for so long when it refuses something because there is too much to do: when it says so,
    /// and not before.
    #[must_use]
    pub fn persistently(mut self, persistence: Duration) -> Self {
        self.persistence = persistence;
        self
    }

    /// The channels that this person may know of.
    ///
    /// # Errors
    /// [`AskGatewayError`].
    pub async fn channels(&self) -> Result<Value, AskGatewayError> {
        let response = self.send(Method::GET, "/v1/channels", HeaderMap::new(), None, Duration::ZERO).await?;
        parsed(expect(response).await?).await
    }

    /// The channel's charter as the gateway shows it, not verified.
    ///
    /// # Errors
    /// [`AskGatewayError`].
    pub async fn charter(&self) -> Result<SignedCharter, AskGatewayError> {
        #[derive(Deserialize)]
        struct Shown {
            charter: String,
        }
        let shown: Shown = self.get_as("charter", Duration::ZERO).await?;
        decode(&blob(&shown.charter)?, limits::CHARTER_BYTES)
    }

    /// Hands in a charter that every organisation in it has approved.
    ///
    /// # Errors
    /// [`AskGatewayError`].
    pub async fn found(&self, charter: &SignedCharter) -> Result<(), AskGatewayError> {
        let body = encoded(&json!({ "charter": BASE64.encode(codec::encode(charter)) }));
        done(self.send(Method::POST, "/v1/charters", json_headers(), Some(body), WAIT_MAX).await?).await
    }

    /// Shows a person's transaction with its receipt, not verified; none that is executed here and may be seen.
    ///
    /// # Errors
    /// [`AskGatewayError`].
    pub async fn transaction(&self, id: TransactionId) -> Result<Option<Deed>, AskGatewayError> {
        #[derive(Deserialize)]
        struct Shown {
            receipt: String,
            body: Option<String>,
        }
        let Shown { receipt: proof, body } = match self.get_as(&format!("transactions/{id}"), Duration::ZERO).await {
            Ok(shown) => shown,
            Err(AskGatewayError::Problem(problem)) if problem.code == "unknown_transaction" => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(body) = body else { return Ok(None) };
        let transaction = decode(&blob(&body)?, limits::TRANSACTION_BYTES)?;
        Ok(Some(Deed { transaction, receipt: receipt(&proof)? }))
    }

    /// The same gateway, asked as nobody: requests are not signed.
    #[must_use]
    pub fn unsigned(mut self) -> Self {
        self.signs = false;
        self
    }

    /// Reads what a route of the channel answers, as JSON.
    ///
    /// # Errors
    /// [`AskGatewayError`].
    pub async fn get(&self, route: &str) -> Result<Value, AskGatewayError> {
        self.get_as(route, Duration::ZERO).await
    }

    /// The same, with the height that it is true at; none where there is no such thing, or none that this person may
    /// know of.
    ///
    /// # Errors
    /// [`AskGatewayError`].
    pub async fn get_at(&self, route: &str) -> Result<(Height, Option<Value>), AskGatewayError> {
        at_height(self.send(Method::GET, &self.route(route), HeaderMap::new(), None, SLACK).await?).await
    }

    /// Reads what a route of the channel answers, as bytes.
    ///
    /// # Errors
    /// [`AskGatewayError`].
    pub async fn get_bytes(&self, route: &str, bytes_max: usize) -> Result<Vec<u8>, AskGatewayError> {
        let response = self.send(Method::GET, &self.route(route), HeaderMap::new(), None, Duration::ZERO).await?;
        Ok(whole(expect(response).await?, bytes_max).await?.into())
    }

    /// Asks a read-only question of a contract.
    ///
    /// # Errors
    /// [`AskGatewayError`].
    pub async fn query<T: DeserializeOwned>(&self, question: &Value) -> Result<T, AskGatewayError> {
        self.post("query", question).await
    }

    /// The same at a route that may say more, such as `query?consistency=linear`; the answer is told as by
    /// [`HttpGateway::get_at`].
    ///
    /// # Errors
    /// [`AskGatewayError`].
    pub async fn query_at(&self, route: &str, question: &Value) -> Result<(Height, Option<Value>), AskGatewayError> {
        let path = self.route(route);
        at_height(self.send(Method::POST, &path, json_headers(), Some(encoded(question)), SLACK).await?).await
    }

    /// The answer to a route as it streams, for following.
    ///
    /// # Errors
    /// [`AskGatewayError`].
    pub async fn follow(&self, route: &str) -> Result<Ciphertext, AskGatewayError> {
        let response = self.send(Method::GET, &self.route(route), HeaderMap::new(), None, Duration::ZERO).await?;
        Ok(streamed(expect(response).await?))
    }

    fn route(&self, route: &str) -> String {
        format!("/v1/channels/{}/{route}", self.channel)
    }

    async fn final_height(&self) -> Result<Height, AskGatewayError> {
        #[derive(Deserialize)]
        struct Status {
            final_height: u64,
        }
        let Status { final_height } = self.get_as("status", Duration::ZERO).await?;
        Ok(Height::new(final_height))
    }

    async fn get_as<T: DeserializeOwned>(&self, route: &str, patience: Duration) -> Result<T, AskGatewayError> {
        let response = self.send(Method::GET, &self.route(route), HeaderMap::new(), None, patience).await?;
        parsed(expect(response).await?).await
    }

    async fn post<T: DeserializeOwned>(&self, route: &str, body: &Value) -> Result<T, AskGatewayError> {
        let response =
            self.send(Method::POST, &self.route(route), json_headers(), Some(encoded(body)), Duration::ZERO).await?;
        parsed(expect(response).await?).await
    }

    async fn put(&self, route: &str, body: &Value) -> Result<(), AskGatewayError> {
        let path = self.route(route);
        done(self.send(Method::PUT, &path, json_headers(), Some(encoded(body)), Duration::ZERO).await?).await
    }
}

fn json_headers() -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))])
}

fn encoded(body: &Value) -> Bytes {
    body.to_string().into()
}

fn copy(key: &SigningKey) -> SigningKey {
    key.seed().expose(|seed| SigningKey::from_seed(Secret32::new(*seed)))
}
