//! A network of four organisations with its people, and gateways at its first node.

#[path = "../common/start.rs"]
mod start;

pub(crate) use start::eventually;

use super::wire::{Answer, Wire, text};
use crate::log;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dmdl::{
    gateway::{Config, Limits, Server},
    http::{
        signature::{Body, Nonce, sign},
        target::Target,
    },
    local::{Identity, LocalNetwork, Shape, os_rng},
};
use dmdl_types::{
    codec,
    genesis::{Founding, Role},
    id::{Height, NetworkId, NoteCommitment},
    invocation::{Invocation, Medical, Membership, Metadata},
    transaction::TransactionBody,
};
use rand_core::Rng as _;
use start::{PATIENCE, person};
use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak},
    time::{Duration, Instant, SystemTime},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How long that may take which waits for nothing, on a machine that has other work.
pub(crate) const PROMPT: Duration = Duration::from_secs(5);

static SHARED: Mutex<Weak<World>> = Mutex::new(Weak::new());

/// The network, with a plain gateway of the usual limits.
pub(crate) struct World {
    pub(crate) owner: Identity,
    pub(crate) researcher: Identity,
    pub(crate) admin: Identity,
    /// People who are there to be revoked.
    leavers: Mutex<Vec<Identity>>,
    /// Held while the ledger must stay as it is.
    ledger: RwLock<()>,
    gateway: Option<Server>,
    nodes: LocalNetwork,
    runtime: Runtime,
    dir: TempDir,
}

/// A gateway that a test has for itself.
pub(crate) struct Own<'a> {
    world: &'a World,
    server: Option<Server>,
}

impl World {
    /// The world that all tests share.
    pub(crate) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let world = Arc::new(Self::start());
            *shared = Arc::downgrade(&world);
            world
        })
    }

    fn start() -> Self {
        log::keep();
        let (owner, admin) = (person(0, "owner", Role::Owner), person(0, "admin", Role::Admin));
        let researcher = person(2, "researcher", Role::Researcher);
        let leavers = [person(0, "first-leaver", Role::Owner), person(0, "second-leaver", Role::Owner)];
        let people: Vec<&Identity> = [&owner, &admin, &researcher].into_iter().chain(&leavers).collect();
        let (nodes, dir) = start::start_network(&people, Shape::default());
        let runtime = start::runtime(2);
        let leavers = Mutex::new(leavers.into());
        let ledger = RwLock::default();
        let mut world = Self { owner, researcher, admin, leavers, ledger, gateway: None, nodes, runtime, dir };
        world.gateway = Some(world.serve(Config { uploads: world.folder("uploads"), ..Config::default() }));
        world
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn serve(&self, config: Config) -> Server {
        let config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..config };
        let host = self.nodes.node(0).expect("the node runs").host().clone();
        self.runtime.block_on(Server::start(config, host)).unwrap()
    }

    /// Starts a gateway and says why it cannot.
    pub(crate) fn try_serve(&self, config: Config) -> Result<Server, dmdl::gateway::ServeError> {
        let host = self.nodes.node(0).expect("the node runs").host().clone();
        self.runtime.block_on(Server::start(config, host))
    }

    /// A plain gateway with other limits.
    pub(crate) fn gateway_with(&self, name: &str, limits: Limits) -> Own<'_> {
        let config = Config { uploads: self.folder(name), limits, ..Config::default() };
        Own { world: self, server: Some(self.serve(config)) }
    }

    /// A gateway with TLS.
    pub(crate) fn tls_gateway(&self, name: &str, limits: Limits) -> Own<'_> {
        let tls = Some(self.folder("tls"));
        let config = Config { uploads: self.folder(name), tls, limits, ..Config::default() };
        Own { world: self, server: Some(self.serve(config)) }
    }

    /// Where the shared gateway listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.as_ref().expect("it runs").address()
    }

    pub(crate) fn network(&self) -> NetworkId {
        self.nodes.genesis().id()
    }

    /// Keeps other tests from writing to the ledger.
    pub(crate) fn undisturbed(&self) -> RwLockReadGuard<'_, ()> {
        self.ledger.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held while something is written to the ledger.
    pub(crate) fn writing(&self) -> RwLockWriteGuard<'_, ()> {
        self.ledger.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn founding(&self) -> Founding {
        self.nodes.genesis().founding()
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// A transaction that is applied, as it is handed in: an owner's entry in the catalogue.
    pub(crate) fn transaction(&self, author: &Identity) -> String {
        let mut nonce = [0; 16];
        os_rng().fill_bytes(&mut nonce);
        let height = self.nodes.node(0).expect("the node runs").node().channel().tip().height;
        let body = TransactionBody {
            domain: self.founding().domain,
            authors: vec![author.person.key],
            nonce,
            expires: Height::new(height.get() + 200),
            invocation: Invocation::Medical(Medical::Initial {
                metadata: Metadata { media_type: "application/dicom".to_owned(), subject: None, listed: true },
                source: NoteCommitment::new([7; 32]),
                storage: None,
            }),
        };
        let transaction = STANDARD.encode(codec::encode(&body.sign(&[&author.key])));
        format!("{{\"transaction\":\"{transaction}\"}}")
    }

    pub(crate) fn log_size(&self) -> u64 {
        self.nodes.node(0).expect("the node runs").node().log_size()
    }

    /// Somebody enrolled whom nobody else uses.
    pub(crate) fn leaver(&self) -> Identity {
        self.leavers.lock().unwrap().pop().expect("there are enough people to revoke")
    }

    /// Revokes a key, and waits until the gateway's node has executed that.
    pub(crate) fn revoke(&self, identity: &Identity) {
        let _writing = self.writing();
        let admin = self.nodes.client(0, &self.admin, PATIENCE).expect("the node runs");
        let key = identity.person.key;
        let done = self.runtime.block_on(admin.call(Invocation::Membership(Membership::Revoke { key }))).unwrap();
        assert_eq!(done.event.outcome.reasons, []);
        let node = self.nodes.node(0).expect("the node runs").node();
        eventually("the revocation is executed", || node.channel().event_of(done.transaction).unwrap().is_some());
    }

    /// Asserts that the shared gateway still answers, strangers and known people, without delay.
    pub(crate) fn assert_still_serves(&self) {
        self.assert_serves(self.address());
    }

    /// The same of another gateway.
    pub(crate) fn assert_serves(&self, address: SocketAddr) {
        let begun = Instant::now();
        let mut wire = Wire::plain(address);
        wire.send(&request("GET", "/healthz", address, &[], b""));
        assert_eq!(wire.answer().expect("the gateway lives").body, b"ok");
        let answer = self.read_as(&self.owner, address, &mut wire);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(begun.elapsed() < PROMPT, "it took {:?}", begun.elapsed());
    }

    /// Reads the catalogue as somebody.
    pub(crate) fn read_as(&self, who: &Identity, address: SocketAddr, wire: &mut Wire) -> Answer {
        wire.send(&self.signed(who, "GET", "/v1/channels/main/records", address, &[], b""));
        wire.answer().expect("a signed request is answered")
    }

    /// A signed request.
    pub(crate) fn signed(
        &self,
        who: &Identity,
        method: &str,
        target: &str,
        address: SocketAddr,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Vec<u8> {
        let host = address.to_string();
        let own = self.signature(who, method, target, &host, body, now_s());
        let own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        request(method, target, address, &[headers, &own].concat(), body)
    }

    /// The headers that sign a request for a host, at a time.
    pub(crate) fn signature(
        &self,
        who: &Identity,
        method: &str,
        target: &str,
        host: &str,
        body: &[u8],
        created_s: u64,
    ) -> Vec<(String, String)> {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let target = Target::new(method, host.parse().unwrap(), path, query).unwrap();
        let mut nonce = [0; 16];
        os_rng().fill_bytes(&mut nonce);
        let headers = sign(&target, Body::of(body), &who.key(), self.network(), created_s, Nonce::new(nonce));
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            self.runtime.block_on(gateway.stop());
        }
    }
}

impl Own<'_> {
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.as_ref().expect("it runs").address()
    }

    pub(crate) fn pin(&self) -> [u8; 32] {
        self.server.as_ref().and_then(Server::certificate_sha256).expect("it has a certificate")
    }

    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(server) = self.server.take() {
            self.world.runtime.block_on(server.stop());
        }
    }
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// A request with its host and its length.
pub(crate) fn request(method: &str, target: &str, host: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT") {
        write!(head, "content-length: {}\r\n", body.len()).unwrap();
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// A figure that a gateway tells of itself, asked for on a connection that counts too.
pub(crate) fn gauge(wire: &mut Wire, address: SocketAddr, name: &str) -> usize {
    wire.send(&request("GET", "/metrics", address, &[], b""));
    let told = text(&wire.answer().expect("the gateway lives"));
    let figure = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    figure.unwrap_or_else(|| panic!("no {name} in {told}")).parse().unwrap()
}

pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}
