//! A gateway in the hands of an attacker: it shows the certificate that clients pin, passes what it is asked
//! on to an honest gateway, keeps a copy of everything, and answers what it likes.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer, version::TLS13};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

/// What a client asked.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With the query.
    pub(crate) target: String,
    pub(crate) body: Bytes,
}

/// What it is answered.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self { status, body: body.to_string().into() }
    }
}

/// A change to something that the attacker passes on.
pub(crate) type Change<T> = Box<dyn Fn(&mut T) + Send + Sync>;

/// What the attacker makes of an honest answer; for some it need not even be asked for.
type Alter = dyn Fn(Asked, Answer) -> BoxFuture<'static, Answer> + Send + Sync;

enum Act {
    Alter(Box<Alter>),
    Swallow(Box<dyn Fn(&Asked) -> Answer + Send + Sync>),
    Height(u64),
}

/// One thing that the attacker does, wherever a request fits.
pub(crate) struct Trick {
    method: &'static str,
    part: String,
    act: Act,
}

impl Trick {
    /// Changes what is answered to requests of this method whose target contains `part`.
    pub(crate) fn alter(
        method: &'static str,
        part: impl Into<String>,
        change: impl Fn(&Asked, &mut Answer) + Send + Sync + 'static,
    ) -> Self {
        Self::later(method, part, move |asked, mut answer| {
            change(&asked, &mut answer);
            Box::pin(std::future::ready(answer))
        })
    }

    /// The same, of a JSON document.
    pub(crate) fn json(
        method: &'static str,
        part: impl Into<String>,
        change: impl Fn(&Asked, &mut Value) + Send + Sync + 'static,
    ) -> Self {
        Self::alter(method, part, move |asked, answer| {
            let mut document = serde_json::from_slice(&answer.body).expect("the honest gateway answers JSON");
            change(asked, &mut document);
            answer.body = document.to_string().into();
        })
    }

    /// Answers what takes some work of the attacker's.
    pub(crate) fn later(
        method: &'static str,
        part: impl Into<String>,
        change: impl Fn(Asked, Answer) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
    ) -> Self {
        Self { method, part: part.into(), act: Act::Alter(Box::new(change)) }
    }

    /// Answers without passing anything on.
    pub(crate) fn swallow(
        method: &'static str,
        part: impl Into<String>,
        answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self { method, part: part.into(), act: Act::Swallow(Box::new(answer)) }
    }

    /// Names another height beside an honest answer.
    pub(crate) fn height(method: &'static str, part: impl Into<String>, height: u64) -> Self {
        Self { method, part: part.into(), act: Act::Height(height) }
    }
}

#[derive(Default)]
struct State {
    tricks: Mutex<Arc<Vec<Trick>>>,
    played: AtomicUsize,
    seen: Mutex<Vec<u8>>,
}

/// The gateway.
pub(crate) struct Mitm {
    pub(crate) address: SocketAddr,
    pub(crate) certificate_sha256: [u8; 32],
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl Mitm {
    /// Starts it in front of an honest gateway that speaks plain HTTP.
    pub(crate) fn start(listener: TcpListener, honest: SocketAddr) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let certificate = certificate.der().clone();
        let certificate_sha256 = Sha256::digest(&certificate).into();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        let state = Arc::new(State::default());
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), honest, Arc::clone(&state)));
        Self { address, certificate_sha256, state, accepting }
    }

    /// Plays these tricks from now on; none is an honest gateway.
    pub(crate) fn play(&self, tricks: Vec<Trick>) {
        *self.state.tricks.lock().unwrap() = Arc::new(tricks);
        self.state.played.store(0, Ordering::SeqCst);
    }

    /// How often a trick was played since they were chosen.
    pub(crate) fn played(&self) -> usize {
        self.state.played.load(Ordering::SeqCst)
    }

    /// Everything that went through since this was asked last: both ways, as it was inside of TLS.
    pub(crate) fn seen(&self) -> Vec<u8> {
        std::mem::take(&mut self.state.seen.lock().unwrap())
    }
}

impl Drop for Mitm {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, honest: SocketAddr, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            // Who hangs up is not served.
            let Ok(stream) = tls.accept(stream).await else { return };
            let client = Client::builder(TokioExecutor::new()).build_http();
            let serve = service_fn(|request| answer(request, &client, honest, &state));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    client: &Client<HttpConnector, Full<Bytes>>,
    honest: SocketAddr,
    state: &State,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let asked = Asked { method: parts.method.to_string(), target, body: body.clone() };
    let tricks = Arc::clone(&state.tricks.lock().unwrap());
    let trick = tricks.iter().find(|trick| trick.method == asked.method && asked.target.contains(&trick.part));
    note(state, format!("{} {}\r\n{:?}\r\n", asked.method, asked.target, parts.headers).as_bytes(), &body);

    let mut headers = http::HeaderMap::new();
    let answer = match trick.map(|trick| &trick.act) {
        Some(Act::Swallow(answer)) => answer(&asked),
        act => {
            let uri = format!("http://{honest}{}", asked.target);
            // With the headers as they are, so that the client's signature holds.
            let mut passed = Request::builder().method(parts.method).uri(uri).body(Full::new(body)).unwrap();
            *passed.headers_mut() = parts.headers;
            match client.request(passed).await {
                Ok(response) => {
                    let (parts, body) = response.into_parts();
                    headers = parts.headers;
                    let body = body.collect().await?.to_bytes();
                    note(state, format!("{headers:?}\r\n").as_bytes(), &body);
                    let honest = Answer { status: parts.status.as_u16(), body };
                    match act {
                        Some(Act::Alter(change)) => change(asked.clone(), honest).await,
                        _ => honest,
                    }
                }
                Err(error) => Answer { status: 502, body: error.to_string().into() },
            }
        }
    };
    if let Some(Act::Height(height)) = trick.map(|trick| &trick.act) {
        headers.insert("dmdl-height", (*height).into());
    }
    if trick.is_some() {
        state.played.fetch_add(1, Ordering::SeqCst);
    }
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
    // The answer to a HEAD keeps the length of what it is about.
    if asked.method != "HEAD" {
        headers.remove(header::CONTENT_LENGTH);
    }
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONNECTION);
    *response.headers_mut() = headers;
    Ok(response)
}

fn note(state: &State, head: &[u8], body: &[u8]) {
    let mut seen = state.seen.lock().unwrap();
    seen.extend_from_slice(head);
    seen.extend_from_slice(body);
    seen.extend_from_slice(b"\r\n");
}
