//! The gateway: a node's HTTP interface, for people's programs.
//!
//! A request goes straight down: [`transport`] takes a connection in and lets plain, bounded requests
//! through; [`door`] finds the route; [`auth`] says who asks, and reads the body; [`admission`] lets in as many
//! as can be worked at without delay; the [`routes`] answer. A gateway is trusted with nothing, so all of this protects its
//! availability and what it may show, and no decision of the network.
//!
//! # Source
//! docs/api.md; docs/spec/http-signature.md

mod admission;
mod auth;
mod authority;
mod consistency;
mod door;
mod error;
mod health;
mod json;
mod limits;
mod metrics;
mod routes;
mod session;
mod table;
mod tls;
mod transport;

pub use limits::{Limits, raise_open_files};
pub use tls::{TlsError, TlsIdentity};

use crate::{
    http::nonces::Nonces,
    node::{Host, HostedNode},
};
use admission::Admission;
use auth::Room;
use authority::Authorities;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    routing::{get, post},
};
use dmdl_audit_ledger::{
    store::StoreError,
    world::{PersonRow, PersonStatus},
};
use dmdl_types::{id::NetworkId, sign::PublicKey};
use health::Pulse;
use metrics::Metrics;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use table::Routes;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use transport::Connections;
use utoipa::openapi::OpenApi;

/// A node behind a gateway: that of one channel.
pub type RealNode = HostedNode;

/// What the threads of a runtime are to be called that serves gateways and nothing else: what these cost is told by it.
pub const THREADS: &str = "dmdl-gateway";

/// How often what is left of broken uploads is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// What a gateway is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 is any free one.
    pub listen: SocketAddr,
    /// The folder of its TLS identity, made if it is not there. Without one it speaks plain HTTP, which is
    /// for loopback addresses only.
    pub tls: Option<PathBuf>,
    /// Further hosts under which people reach it, with a port where it is another one.
    pub names: Vec<String>,
    /// The folder of uploads that are not complete yet.
    pub uploads: PathBuf,
    /// What it is bounded by.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7400)),
            tls: None,
            names: Vec::new(),
            uploads: PathBuf::from("uploads"),
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// The SHA-256 of the certificate that the gateway shows, which is made if there is none yet; none without TLS.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn certificate_sha256(&self) -> Result<Option<[u8; 32]>, TlsError> {
        let identity = self.tls.as_ref().map(|folder| TlsIdentity::open(folder, &hosts(&self.names))).transpose()?;
        Ok(identity.as_ref().map(TlsIdentity::certificate_sha256))
    }
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Plain HTTP would show everything to whoever is on the way.
    #[error("`{0}` can be reached from elsewhere: without TLS a gateway listens on a loopback address only")]
    PlainNotLoopback(SocketAddr),
    /// The address cannot be listened at.
    #[error("cannot listen at `{address}`: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The folder of uploads cannot be used.
    #[error("`{path}` cannot keep uploads: {source}")]
    Uploads {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) host: Arc<Host>,
    pub(crate) uploads: routes::payloads::Uploads,
    network: NetworkId,
    limits: Limits,
    authorities: Authorities,
    description: OpenApi,
    routes: Routes,
    connections: Arc<Connections>,
    metrics: Metrics,
    pulse: Pulse,
    admission: Arc<Admission>,
    room: Room,
    nonces: Mutex<Nonces>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({:?})", self.host)
    }
}

/// What a connection is served with.
struct App {
    shared: Arc<Shared>,
    router: Router,
}

/// A gateway that has its address and all that it needs, but no node: who connects waits.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    identity: Option<TlsIdentity>,
    authorities: Authorities,
    uploads: routes::payloads::Uploads,
    limits: Limits,
}

/// A gateway that runs; dropped, it stops at once.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    certificate_sha256: Option<[u8; 32]>,
    admission: Arc<Admission>,
    stop: watch::Sender<()>,
    accepting: JoinHandle<()>,
    tending: JoinHandle<()>,
}

impl Bound {
    /// Takes the address that a gateway is to listen at.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn new(config: Config) -> Result<Self, ServeError> {
        let Config { listen, tls, names, uploads, limits } = config;
        if tls.is_none() && !listen.ip().is_loopback() {
            return Err(ServeError::PlainNotLoopback(listen));
        }
        let unheard = |source| ServeError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(unheard)?;
        let address = listener.local_addr().map_err(unheard)?;
        let identity = tls.map(|folder| TlsIdentity::open(&folder, &hosts(&names))).transpose()?;
        let failed = |source| ServeError::Uploads { path: uploads.clone(), source };
        let uploads = routes::payloads::Uploads::open(&uploads).map_err(failed)?;
        let authorities = Authorities::new(address, identity.is_some(), &names);
        Ok(Self { listener, address, identity, authorities, uploads, limits: limits.within_files(raise_open_files()) })
    }

    /// Serves the channels of a node.
    ///
    /// # Errors
    /// [`ServeError::Tls`].
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn serve(self, host: Arc<Host>) -> Result<Server, ServeError> {
        let Self { listener, address, identity, authorities, uploads, limits } = self;
        let shared = Arc::new(Shared::new(host, uploads, limits, authorities));
        let router = routes::router().merge(own_routes()).layer(DefaultBodyLimit::disable());
        let app = Arc::new(App { router: router.with_state(Arc::clone(&shared)), shared: Arc::clone(&shared) });
        let acceptor = identity.as_ref().map(TlsIdentity::acceptor).transpose()?;
        let (stop, stopped) = watch::channel(());
        Ok(Server {
            address,
            certificate_sha256: identity.as_ref().map(TlsIdentity::certificate_sha256),
            admission: Arc::clone(&shared.admission),
            stop,
            accepting: tokio::spawn(transport::accept(listener, app, acceptor, stopped)),
            tending: tokio::spawn(tend(shared)),
        })
    }
}

impl Server {
    /// Starts a gateway of a node.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn start(config: Config, host: Arc<Host>) -> Result<Self, ServeError> {
        Bound::new(config).await?.serve(host)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The SHA-256 of its certificate, for clients to pin; none without TLS.
    #[must_use]
    pub const fn certificate_sha256(&self) -> Option<[u8; 32]> {
        self.certificate_sha256
    }

    /// Lets nobody in any more, and ends when the requests in work have ended or have had their time.
    pub async fn stop(mut self) {
        // Nobody listens any more if the task has ended already.
        let _ = self.stop.send(());
        let _ = (&mut self.accepting).await;
        self.admission.stop().await;
        self.tending.abort();
        // Awaited, so that nothing here holds the node any more.
        let _ = (&mut self.tending).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        self.tending.abort();
    }
}

impl Shared {
    fn new(host: Arc<Host>, uploads: routes::payloads::Uploads, limits: Limits, authorities: Authorities) -> Self {
        let description = routes::openapi();
        let routes = Routes::of(&description);
        Self {
            network: host.genesis().id(),
            host,
            uploads,
            limits,
            authorities,
            metrics: Metrics::new(&routes),
            description,
            routes,
            connections: Arc::new(Connections::new(limits.connections)),
            pulse: Pulse::new(),
            admission: Arc::new(Admission::new(&limits)),
            room: Room::new(limits.body_bytes),
            nonces: Mutex::default(),
        }
    }
}

impl Shared {
    /// Whether somebody may know that a channel is here: everybody knows of the first, and of another one those who
    /// are or were enrolled in it.
    fn may_know_of(&self, node: &RealNode, key: Option<PublicKey>) -> Result<bool, StoreError> {
        if Arc::ptr_eq(node, self.host.first()) {
            return Ok(true);
        }
        Ok(key.map_or(Ok(None), |key| node.channel().person(key))?.is_some())
    }

    /// What a key is on each of the channels where it may act, the first channel first.
    fn enrolled(&self, key: PublicKey) -> Result<Vec<PersonRow>, StoreError> {
        let rows: Vec<Option<PersonRow>> =
            self.host.nodes().iter().map(|node| node.channel().person(key)).collect::<Result<_, _>>()?;
        Ok(rows.into_iter().flatten().filter(|row| row.status == PersonStatus::Active).collect())
    }
}

/// What a gateway has besides the network's routes.
fn own_routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/v1/openapi.json", get(description))
        .route("/v1/session", post(session::start))
}

/// This description.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    tag = "operation",
    responses((status = 200, description = "This document", body = Object)),
)]
async fn description(State(shared): State<Arc<Shared>>) -> Json<OpenApi> {
    Json(shared.description.clone())
}

/// Follows the node's blocks, and clears away what broken uploads left.
async fn tend(shared: Arc<Shared>) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            biased;
            () = shared.host.first().channel().executed_next() => shared.pulse.beat(),
            _ = sweep.tick() => {
                let swept = Arc::clone(&shared);
                // It waits for the disk. What fails here is tried again.
                let _ = tokio::task::spawn_blocking(move || swept.uploads.sweep()).await;
            }
        }
    }
}

/// The hosts of these names, without ports.
fn hosts(names: &[String]) -> Vec<String> {
    let host = |name: &String| match name.rsplit_once(':') {
        Some((host, _)) if !name.ends_with(']') => host.trim_matches(['[', ']']).to_owned(),
        _ => name.trim_matches(['[', ']']).to_owned(),
    };
    names.iter().map(host).collect()
}
