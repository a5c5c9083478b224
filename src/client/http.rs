//! A gateway across the network: HTTP over TLS, to the certificate that the network file pins.
//!
//! # Source
//! docs/api.md; docs/spec/http-signature.md

mod busy;
mod connections;
mod look;
mod pinned;
mod shown;

pub use look::{Shown, look};
pub use pinned::PinError;

use super::{
    AskGatewayError, Gateway,
    gateway::{Ciphertext, decode},
};
use crate::{
    http::{
        HEIGHT,
        signature::{self, Body, Nonce},
        target::{Authority, Target},
    },
    local::os_rng,
    node::{Deed, Parties, RemarkShown},
    problem::Problem,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use connections::{Broken, Connection, Connections, Sent, Way};
use dmdl_types::{
    charter::SignedCharter,
    codec,
    custody::{DealingKey, SealedBytes},
    custody_proof::CustodyProof,
    genesis::Founding,
    id::{ChannelName, Epoch, Height, NetworkId, NodeId, PayloadDigest, RecordId, RecordVersion, TransactionId},
    invocation::PayloadInfo,
    limits,
    lineage::EpochStep,
    merkle::ConsistencyProof,
    receipt::Receipt,
    secret::Secret32,
    sign::{PublicKey, SigningKey},
    title::Title,
    transaction::Transaction,
};
use dmdl_vault::remark::Remark;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use rand_core::Rng as _;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use shown::{ShownParties, ShownRemarks};
use std::{
    error::Error,
    io::{Read, Seek, SeekFrom},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::OnceCell;

/// Longest JSON answer that is read.
const ANSWER_BYTES: usize = 8 << 20;
/// Bytes that are uploaded at a time.
const PART_BYTES: usize = 4 << 20;
/// What an answer may take beyond what was asked for.
const SLACK: Duration = Duration::from_secs(10);
/// How long a gateway may be asked to wait with its answer; longer waits are asked for again.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// How long a gateway that is busy is asked again, unless it is said how long.
const PERSISTENCE: Duration = Duration::from_secs(30);
/// How long a height that an answer named is as good as a new one: expiries are many blocks away.
const HEIGHT_KEPT: Duration = Duration::from_secs(1);
/// Longest released share, in the format of the share spec.
const RELEASED_BYTES: usize = 4096;
/// Where a session of a connection is opened.
const SESSION: &str = "/v1/session";
/// How long a session is used: a minute less than a gateway lets it last.
const SESSION_KEPT: Duration = Duration::from_secs(4 * 60);

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

    /// Sends a request as this person, again if need be; `patience` is what the gateway was asked to wait.
    async fn send(
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

    fn in_session(&self) -> bool {
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

/// What is asked of a gateway.
struct Ask<'a> {
    method: Method,
    path_and_query: &'a str,
    headers: HeaderMap,
    body: Bytes,
}

/// The head of an answer, and what the rest of it comes on.
struct Answer {
    /// Of one that told that the gateway is busy, the body has been read.
    response: Response<Either<Incoming, Full<Bytes>>>,
    on: Option<(Arc<Connections>, Connection)>,
}

impl Answer {
    fn status(&self) -> StatusCode {
        self.response.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The body and, for its end, what it comes on.
    fn into_parts(self) -> (Either<Incoming, Full<Bytes>>, impl FnOnce()) {
        let on = self.on;
        (self.response.into_body(), move || {
            if let Some((connections, connection)) = on {
                connections.keep(connection);
            }
        })
    }
}

impl Gateway for HttpGateway {
    async fn height(&self) -> Result<Height, AskGatewayError> {
        let first = *self.first_height.get_or_try_init(|| self.final_height()).await?;
        let known = *self.height.lock().unwrap_or_else(PoisonError::into_inner);
        match known.filter(|(at, _)| at.elapsed() < HEIGHT_KEPT) {
            Some((_, height)) => Ok(height.max(first)),
            None => self.final_height().await,
        }
    }

    async fn submit(&self, transaction: Transaction, patience: Duration) -> Result<Receipt, AskGatewayError> {
        #[derive(Deserialize)]
        struct Done {
            receipt: String,
        }
        let id = transaction.body.id();
        let body = encoded(&json!({ "transaction": BASE64.encode(codec::encode(&transaction)) }));
        let path = self.route(&format!("transactions?wait=final&timeout={}", patience.min(WAIT_MAX).as_millis()));
        let response = self.send(Method::POST, &path, json_headers(), Some(body), patience.min(WAIT_MAX)).await?;
        if response.status() == StatusCode::OK {
            let done: Done = parsed(response).await?;
            return receipt(&done.receipt);
        }
        let (problem, members) = problem(response).await?;
        // What the ledger denied or rejected comes with its receipt: the problem is only how it is told.
        match members.get("receipt").and_then(Value::as_str) {
            Some(text) => receipt(text),
            None if problem.code == "not_final" && patience > WAIT_MAX => {
                let rest = patience.saturating_sub(WAIT_MAX);
                Gateway::receipt(self, id, rest).await?.ok_or(AskGatewayError::Problem(problem))
            }
            // Only the ledger denies, and what it did can be shown.
            None if problem.code == "denied" => Err(AskGatewayError::Nonsense(
                "it says that the ledger denied the call, and shows no receipt".to_owned(),
            )),
            None => Err(problem.into()),
        }
    }

    async fn receipt(&self, id: TransactionId, patience: Duration) -> Result<Option<Receipt>, AskGatewayError> {
        #[derive(Deserialize)]
        struct Shown {
            receipt: String,
        }
        let mut left = patience;
        loop {
            let wait = left.min(WAIT_MAX);
            left = left.saturating_sub(WAIT_MAX);
            let route = format!("transactions/{id}?wait={}", wait.as_millis());
            match self.get_as::<Shown>(&route, wait).await {
                Ok(shown) => return receipt(&shown.receipt).map(Some),
                Err(AskGatewayError::Problem(problem)) if problem.status == 404 && left.is_zero() => return Ok(None),
                Err(AskGatewayError::Problem(problem)) if problem.status == 404 => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn decision(&self, request: TransactionId, patience: Duration) -> Result<Option<Receipt>, AskGatewayError> {
        #[derive(Deserialize)]
        struct Shown {
            decision: Option<String>,
        }
        let mut left = patience;
        loop {
            let wait = left.min(WAIT_MAX);
            left = left.saturating_sub(WAIT_MAX);
            let shown: Shown = self.get_as(&format!("requests/{request}?wait={}", wait.as_millis()), wait).await?;
            match shown.decision {
                Some(text) => return receipt(&text).map(Some),
                None if left.is_zero() => return Ok(None),
                None => {}
            }
        }
    }

    async fn consistency(&self, old: u64, new: u64) -> Result<ConsistencyProof, AskGatewayError> {
        #[derive(Deserialize)]
        struct Proof {
            old: u64,
            new: u64,
            hashes: Vec<String>,
        }
        let proof: Proof = self.get_as(&format!("audit/proof?old={old}&new={new}"), Duration::ZERO).await?;
        let hash = |text: &String| {
            let mut hash = [0; 32];
            hex::decode_to_slice(text, &mut hash).map(|()| hash)
        };
        let hashes = proof.hashes.iter().map(hash).collect::<Result<_, _>>();
        let hashes = hashes.map_err(|error| AskGatewayError::Nonsense(error.to_string()))?;
        Ok(ConsistencyProof { old_size: proof.old, new_size: proof.new, hashes })
    }

    async fn steps_after(&self, epoch: Epoch) -> Result<Vec<EpochStep>, AskGatewayError> {
        #[derive(Deserialize)]
        struct Shown {
            steps: Vec<String>,
        }
        let shown: Shown = self.get_as(&format!("configurations?after={epoch}"), Duration::ZERO).await?;
        shown.steps.iter().map(|step| decode(&blob(step)?, limits::EPOCH_STEP_BYTES)).collect()
    }

    async fn custody(
        &self,
        record: RecordId,
        version: RecordVersion,
        patience: Duration,
    ) -> Result<Option<CustodyProof>, AskGatewayError> {
        #[derive(Deserialize)]
        struct Shown {
            state: String,
            registration: String,
            receipt: String,
            acknowledgements: Vec<String>,
        }
        let mut left = patience;
        let shown: Shown = loop {
            let wait = left.min(WAIT_MAX);
            left = left.saturating_sub(WAIT_MAX);
            let route = format!("records/{record}/custody?version={version}&wait={}", wait.as_millis());
            match self.get_as::<Shown>(&route, wait).await {
                Ok(shown) if shown.state == "PENDING" && !left.is_zero() => {}
                Ok(shown) => break shown,
                Err(AskGatewayError::Problem(problem)) if problem.status == 404 => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        let registration = decode(&blob(&shown.registration)?, limits::TRANSACTION_BYTES)?;
        let acknowledgements = shown.acknowledgements.iter().map(|text| receipt(text)).collect::<Result<_, _>>()?;
        Ok(Some(CustodyProof { registration, receipt: receipt(&shown.receipt)?, acknowledgements }))
    }

    async fn dealing_keys(
        &self,
        custodian: NodeId,
        _dealer: PublicKey,
        count: u16,
    ) -> Result<Vec<DealingKey>, AskGatewayError> {
        #[derive(Deserialize)]
        struct Keys {
            keys: Vec<String>,
        }
        let route = format!("custodians/{custodian}/dealing-keys");
        let keys: Keys = self.post(&route, &json!({ "count": count })).await?;
        keys.keys.iter().map(|key| decode(&blob(key)?, 1024)).collect()
    }

    async fn deliver(
        &self,
        custodian: NodeId,
        record: RecordId,
        version: RecordVersion,
        sealed: SealedBytes,
    ) -> Result<(), AskGatewayError> {
        let body = json!({ "sealed": BASE64.encode(codec::encode(&sealed)) });
        self.put(&format!("records/{record}/versions/{version}/shares/{custodian}"), &body).await
    }

    async fn release(&self, custodian: NodeId, decryption: TransactionId) -> Result<Vec<u8>, AskGatewayError> {
        #[derive(Deserialize)]
        struct Shares {
            shares: Vec<Share>,
            missing: Vec<Missing>,
        }
        #[derive(Deserialize)]
        struct Share {
            custodian: NodeId,
            share: String,
        }
        #[derive(Deserialize)]
        struct Missing {
            code: String,
            detail: String,
        }
        let answer: Shares =
            self.get_as(&format!("releases/{decryption}?custodian={custodian}"), Duration::ZERO).await?;
        if let Some(share) = answer.shares.iter().find(|share| share.custodian == custodian) {
            let bytes = blob(&share.share)?;
            return if bytes.len() <= RELEASED_BYTES {
                Ok(bytes)
            } else {
                Err(AskGatewayError::Nonsense("a share is too long".to_owned()))
            };
        }
        let missing = answer.missing.into_iter().next();
        let missing = missing.ok_or_else(|| AskGatewayError::Nonsense("neither a share nor a reason".to_owned()))?;
        Err(Problem::new(503, missing.code, missing.detail).into())
    }

    async fn upload(
        &self,
        payload: &PayloadInfo,
        mut ciphertext: impl Read + Seek + Send,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), AskGatewayError> {
        let path = format!("/v1/payloads/{}", payload.digest);
        let total = payload.ciphertext_len_bytes;
        let response = self.send(Method::HEAD, &path, HeaderMap::new(), None, Duration::ZERO).await?;
        if response.status() == StatusCode::OK {
            progress(total);
            return Ok(());
        }
        // What an upload that broke off has left there need not be sent again.
        let mut offset = number(response.headers(), "upload-offset").filter(|offset| *offset < total).unwrap_or(0);
        ciphertext.seek(SeekFrom::Start(offset))?;
        while offset < total {
            let len = PART_BYTES.min(usize::try_from(total - offset).unwrap_or(PART_BYTES));
            let mut part = vec![0; len];
            ciphertext.read_exact(&mut part)?;
            let mut headers = HeaderMap::new();
            let range = format!("bytes {offset}-{}/{total}", offset + len as u64 - 1);
            let range = HeaderValue::from_str(&range).map_err(|e| AskGatewayError::Nonsense(e.to_string()))?;
            headers.insert(header::CONTENT_RANGE, range);
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            let response = self.send(Method::PUT, &path, headers, Some(part.into()), WAIT_MAX).await?;
            done(response).await?;
            offset += len as u64;
            progress(offset);
        }
        Ok(())
    }

    async fn download(&self, digest: PayloadDigest) -> Result<Ciphertext, AskGatewayError> {
        let path = format!("/v1/payloads/{digest}");
        let response = self.send(Method::GET, &path, HeaderMap::new(), None, Duration::ZERO).await?;
        Ok(streamed(expect(response).await?))
    }

    async fn parties(&self, record: RecordId) -> Result<Parties, AskGatewayError> {
        let route = format!("records/{record}/parties");
        self.get_as::<ShownParties>(&route, Duration::ZERO).await?.read()
    }

    async fn remarks(&self, request: TransactionId) -> Result<Vec<RemarkShown>, AskGatewayError> {
        let route = format!("requests/{request}/remarks");
        self.get_as::<ShownRemarks>(&route, Duration::ZERO).await?.read()
    }

    async fn keep_remark(&self, request: TransactionId, remark: &Remark) -> Result<(), AskGatewayError> {
        let body = json!({ "remark": BASE64.encode(codec::encode(remark)) });
        self.put(&format!("requests/{request}/remarks"), &body).await
    }

    async fn keep_title(&self, title: &Title) -> Result<(), AskGatewayError> {
        let body = json!({ "title": BASE64.encode(codec::encode(title)) });
        self.put(&format!("records/{}/title", title.record()), &body).await
    }
}

/// What there is, or that there is nothing, with the height that this is true at.
async fn at_height(response: Answer) -> Result<(Height, Option<Value>), AskGatewayError> {
    let is_there = response.status() != StatusCode::NOT_FOUND;
    let response = if is_there { expect(response).await? } else { response };
    let height = number(response.headers(), HEIGHT.as_str());
    let height = height.ok_or_else(|| AskGatewayError::Nonsense("the answer names no height".to_owned()))?;
    let there = if is_there { Some(parsed(response).await?) } else { None };
    Ok((Height::new(height), there))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn json_headers() -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))])
}

fn encoded(body: &Value) -> Bytes {
    body.to_string().into()
}

fn blob(text: &str) -> Result<Vec<u8>, AskGatewayError> {
    BASE64.decode(text).map_err(|error| AskGatewayError::Nonsense(error.to_string()))
}

fn receipt(text: &str) -> Result<Receipt, AskGatewayError> {
    Receipt::parse(text.as_bytes()).map_err(|error| AskGatewayError::Nonsense(error.to_string()))
}

/// The answer, if it says that things went well.
async fn expect(answer: Answer) -> Result<Answer, AskGatewayError> {
    if answer.status().is_success() { Ok(answer) } else { Err(problem(answer).await?.0.into()) }
}

/// Nothing, if the answer says that things went well.
async fn done(answer: Answer) -> Result<(), AskGatewayError> {
    whole(expect(answer).await?, ANSWER_BYTES).await.map(drop)
}

/// The problem that an answer tells of, with its other members.
async fn problem(answer: Answer) -> Result<(Problem, Value), AskGatewayError> {
    let status = answer.status().as_u16();
    let members: Value = parsed(answer).await.unwrap_or_default();
    let text = |name| members.get(name).and_then(Value::as_str).map(str::to_owned);
    let code = text("code").unwrap_or_else(|| "http".to_owned());
    let detail = text("detail").unwrap_or_else(|| format!("the gateway answers with status {status}"));
    Ok((Problem::new(status, code, detail), members))
}

async fn parsed<T: DeserializeOwned>(answer: Answer) -> Result<T, AskGatewayError> {
    let bytes = whole(answer, ANSWER_BYTES).await?;
    serde_json::from_slice(&bytes).map_err(|error| AskGatewayError::Nonsense(error.to_string()))
}

async fn whole(answer: Answer, bytes_max: usize) -> Result<Bytes, AskGatewayError> {
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

fn streamed(answer: Answer) -> Ciphertext {
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

fn in_time(base: &Uri) -> AskGatewayError {
    AskGatewayError::Unreachable(format!("{base}: no answer in time"))
}

fn copy(key: &SigningKey) -> SigningKey {
    key.seed().expose(|seed| SigningKey::from_seed(Secret32::new(*seed)))
}

fn unreachable(base: &Uri, error: &(dyn Error + 'static)) -> AskGatewayError {
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
