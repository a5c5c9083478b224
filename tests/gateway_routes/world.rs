//! A network of four organisations, people of every role in two of them, and a gateway at its first node.

#![allow(dead_code, reason = "each test program uses a part of it")]

#[path = "../common/start.rs"]
pub(crate) mod start;

pub(crate) use start::{PATIENCE, random_bytes, research_policy};

use crate::refusals::assert_harmless;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use dmdl::{
    client::{Client, Draft, HttpGateway, Registered, Trust},
    gateway::{Config, Server},
    http::{
        signature::{Body, Nonce, sign},
        target::Target,
    },
    keyfile,
    local::{Identity, LocalClient, LocalNetwork, Shape, os_rng},
    node::Final,
};
use dmdl_audit_ledger::commitment::state::StateHash;
use dmdl_types::{
    access::{DuoCode, PolicyDocument, Terms},
    codec,
    event::Verdict,
    genesis::{Genesis, Person, Role},
    id::{Epoch, Height, NodeId, RecordId, TransactionId},
    invocation::{Access, Invocation, Metadata},
    receipt::Receipt,
    sign::SigningKey,
    transaction::{Transaction, TransactionBody},
};
use getrandom::SysRng;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use rand_core::{Rng as _, UnwrapErr};
use serde_json::{Value, json};
use start::{NODES, ORGS};
use std::{
    io::Cursor,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The roles of people.
pub(crate) const ROLES: [Role; 5] = [Role::Owner, Role::Researcher, Role::Committee, Role::Officer, Role::Admin];
/// The media type of the records that tests register.
pub(crate) const MEDIA_TYPE: &str = "application/octet-stream";

static SHARED: Mutex<Weak<World>> = Mutex::new(Weak::new());

/// A person at the gateway, across HTTP.
pub(crate) type HttpPerson = Client<HttpGateway, UnwrapErr<SysRng>>;

/// The network and its gateway.
pub(crate) struct World {
    /// People of the first two organisations, by organisation and role, in the order of [`ROLES`].
    people: Vec<Identity>,
    /// A researcher of the third organisation, who has asked for nothing.
    pub(crate) stranger: Identity,
    /// Somebody whom nobody has enrolled.
    pub(crate) nobody: Identity,
    gateway: Mutex<Option<Server>>,
    nodes: LocalNetwork,
    client: legacy::Client<HttpConnector, Full<Bytes>>,
    runtime: Runtime,
    dir: TempDir,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
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

    /// A world of its own.
    pub(crate) fn start() -> Self {
        let person = |org: usize, role: Role| {
            let name = serde_json::to_value(role).unwrap().as_str().unwrap().to_owned();
            start::person(org, &name, role)
        };
        let people: Vec<Identity> = (0..2).flat_map(|org| ROLES.map(|role| person(org, role))).collect();
        let (stranger, nobody) = (person(2, Role::Researcher), person(0, Role::Owner));
        let enrolled: Vec<&Identity> = people.iter().chain([&stranger]).collect();
        let (nodes, dir) = start::start_network(&enrolled, Shape::default());
        let runtime = start::runtime(2);
        let client = legacy::Client::builder(TokioExecutor::new()).build_http();
        let world = Self { people, stranger, nobody, gateway: Mutex::new(None), nodes, client, runtime, dir };
        world.open_gateway();
        world
    }

    /// Starts the gateway, or starts it again in its folders.
    pub(crate) fn open_gateway(&self) {
        self.close_gateway();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config { listen, uploads: self.uploads(), ..Config::default() };
        let host = self.nodes.node(0).expect("the node runs").host().clone();
        let server = self.runtime.block_on(Server::start(config, host)).unwrap();
        *self.gateway.lock().unwrap() = Some(server);
    }

    pub(crate) fn close_gateway(&self) {
        let server = self.gateway.lock().unwrap().take();
        if let Some(server) = server {
            self.runtime.block_on(server.stop());
        }
    }

    /// The folder of uploads that are not complete.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.dir.path().join("uploads")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.lock().unwrap().as_ref().expect("it runs").address()
    }

    pub(crate) fn genesis(&self) -> &Genesis {
        self.nodes.genesis()
    }

    pub(crate) fn run<T>(&self, story: impl Future<Output = T>) -> T {
        self.runtime.block_on(story)
    }

    /// Somebody of the first organisations, 0 or 1.
    pub(crate) fn person(&self, org: usize, role: Role) -> &Identity {
        let place = ROLES.iter().position(|known| *known == role).unwrap();
        &self.people[org * ROLES.len() + place]
    }

    /// Everybody who is enrolled, with a name for messages.
    pub(crate) fn everybody(&self) -> Vec<(String, &Identity)> {
        let all = self.people.iter().chain([&self.stranger]);
        all.map(|who| (format!("{:?} of {}", who.person.role, who.person.org), who)).collect()
    }

    /// The node of an organisation.
    pub(crate) fn node_id(&self, position: usize) -> NodeId {
        self.nodes.seats().nth(position).expect("there is such a position").1
    }

    /// Whoever has stolen a node's key, and calls themselves an officer.
    pub(crate) fn node_identity(&self, position: usize) -> Identity {
        let secret = keyfile::read_secret(&self.dir.path().join(ORGS[position]).join("node.key")).unwrap();
        let thief = Identity::new(ORGS[position], "thief", Role::Officer).unwrap();
        let key = SigningKey::from_seed(secret);
        Identity { person: Person { key: key.public(), ..thief.person }, key }
    }

    pub(crate) fn height(&self) -> u64 {
        self.nodes.node(0).expect("the node runs").node().channel().tip().height.get()
    }

    pub(crate) fn log_size(&self) -> u64 {
        self.nodes.node(0).expect("the node runs").node().log_size()
    }

    /// Waits until every node has executed as many blocks, and asserts that all have come to the same state.
    pub(crate) fn assert_agreement(&self) {
        self.eventually("all nodes are at one height", |world| {
            let stands: Vec<_> = (0..NODES)
                .map(|position| {
                    let node = world.nodes.node(position).expect("the node runs").node();
                    let reading = node.channel().reading().unwrap();
                    (reading.tip().height, StateHash::load(reading.rows()).unwrap().root())
                })
                .collect();
            let level = stands.iter().all(|(height, _)| *height == stands[0].0);
            assert!(!level || stands.iter().all(|stand| *stand == stands[0]), "the nodes differ: {stands:?}");
            level
        });
    }

    /// The folder that all nodes keep payloads in.
    pub(crate) fn vault(&self) -> PathBuf {
        self.dir.path().join("vault")
    }

    /// A person at the first node itself.
    pub(crate) fn at_node(&self, who: &Identity) -> LocalClient {
        self.nodes.client(0, who, PATIENCE).expect("the node runs")
    }

    /// A person at another node.
    pub(crate) fn at_other_node(&self, who: &Identity) -> LocalClient {
        self.nodes.client(2, who, PATIENCE).expect("the node runs")
    }

    /// A person at the gateway, across HTTP.
    pub(crate) fn across(&self, who: &Identity) -> HttpPerson {
        let url = format!("http://{}", self.address());
        let gateway = HttpGateway::new(&url, None, &self.genesis().founding(), &who.key).unwrap();
        Client::new(Trust::new(self.genesis().founding()), who.key(), gateway, os_rng(), PATIENCE)
    }

    /// Sends a request: signed, unless nobody in particular asks.
    pub(crate) fn send(
        &self,
        who: Option<&Identity>,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> http::Response<Incoming> {
        let address = self.address();
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("http://{address}{target}"))
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        if let Some(who) = who {
            let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
            let goal = Target::new(method, address.to_string().parse().unwrap(), path, query).unwrap();
            let mut nonce = [0; 16];
            os_rng().fill_bytes(&mut nonce);
            let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let signature = sign(&goal, Body::of(body), &who.key, self.genesis().id(), now_s, Nonce::new(nonce));
            request.headers_mut().extend(signature);
        }
        self.run(async { tokio::time::timeout(Duration::from_secs(60), self.client.request(request)).await })
            .expect("there is an answer in time")
            .expect("there is an answer")
    }

    /// Sends a request and reads all of the answer.
    pub(crate) fn ask(
        &self,
        who: Option<&Identity>,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        sent: &[u8],
    ) -> Answer {
        let (parts, body) = self.send(who, method, target, headers, sent).into_parts();
        let read = self.run(body.collect()).expect("the answer is whole").to_bytes();
        let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body: read };
        if answer.status >= 400 {
            let sent = headers.iter().map(|(_, value)| value.as_bytes()).chain([target.as_bytes(), sent]);
            let sent: Vec<&[u8]> = sent.collect();
            assert_harmless(&sent, answer.status, answer.header("content-type"), &answer.body);
        }
        answer
    }

    /// Reads a route of the channel.
    pub(crate) fn get(&self, who: Option<&Identity>, route: &str) -> Answer {
        self.ask(who, "GET", &format!("/v1/channels/main/{route}"), &[], b"")
    }

    /// Sends JSON to a route of the channel.
    pub(crate) fn send_json(&self, who: Option<&Identity>, method: &str, route: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.ask(who, method, &format!("/v1/channels/main/{route}"), &headers, body.to_string().as_bytes())
    }

    /// Waits until something holds.
    pub(crate) fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        start::eventually(what, || holds(self));
    }

    /// A transaction of somebody.
    pub(crate) fn transaction(&self, who: &Identity, invocation: Invocation) -> Transaction {
        let mut nonce = [0; 16];
        os_rng().fill_bytes(&mut nonce);
        let body = TransactionBody {
            domain: self.genesis().domain(),
            authors: vec![who.person.key],
            nonce,
            expires: Height::new(self.height() + 100),
            invocation,
        };
        body.sign(&[&who.key])
    }

    /// Registers random bytes as a record of the first organisation's owner, which every node has a share of.
    pub(crate) fn record(&self, listed: bool, policy: Option<PolicyDocument>) -> Registered {
        let owner = self.at_node(self.person(0, Role::Owner));
        let metadata = Metadata { media_type: MEDIA_TYPE.to_owned(), subject: None, listed };
        let draft = Draft::new(metadata, policy);
        let bytes = random_bytes(2000);
        let register = async || owner.register(&bytes[..], Cursor::new(Vec::new()), draft.clone(), &|_| ()).await;
        self.run(async {
            let registered = start::register_among_all(&self.nodes, register).await;
            assert!(owner.wait_active(registered.record, registered.version, PATIENCE).await.unwrap());
            registered
        })
    }

    /// Asks for a record, and gives what became of it.
    pub(crate) fn request(&self, who: &Identity, record: RecordId) -> Final {
        self.run(self.at_node(who).request(record, terms(5), "a study")).unwrap()
    }

    /// Asserts that a receipt proves that this transaction became that.
    pub(crate) fn assert_receipt(&self, text: &Value, id: TransactionId, verdict: Verdict) -> u64 {
        let receipt = Receipt::parse(text.as_str().expect("a receipt is text").as_bytes()).unwrap();
        let config = self.genesis().epoch_config(Epoch::new(0));
        let leaf = receipt.verify(&self.genesis().domain(), &config.cosigners(), config.cosigners_needed()).unwrap();
        let event: dmdl_types::event::Event = codec::decode(leaf.bytes(), 8192).unwrap();
        assert_eq!((event.transaction, event.outcome.verdict), (id, verdict));
        leaf.index()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.close_gateway();
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The answer's JSON, which must be a success.
    pub(crate) fn json(&self) -> Value {
        assert!(StatusCode::from_u16(self.status).unwrap().is_success(), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        self.value()
    }

    fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The members of a problem with this status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let told = self.told();
        assert_eq!((told.0, told.1.as_str()), (status, code), "{}", String::from_utf8_lossy(&self.body));
        self.value()
    }

    /// Status and code; a success has the code `ok`.
    pub(crate) fn told(&self) -> (u16, String) {
        if StatusCode::from_u16(self.status).unwrap().is_success() {
            return (self.status, "ok".to_owned());
        }
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert!(self.body.len() <= 4096, "a problem is small");
        let problem = self.value();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["type"], "about:blank");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        (self.status, problem["code"].as_str().unwrap().to_owned())
    }

    /// What a caller sees of it that does not change with time.
    pub(crate) fn lasting(&self) -> Self {
        let mut lasting = self.clone();
        for name in ["date", "dmdl-height"] {
            lasting.headers.remove(name);
        }
        lasting
    }
}

/// Terms of so many uses, in a country.
pub(crate) fn terms(uses: u32) -> Terms {
    Terms { country: Some(*b"DE"), ..start::terms(DuoCode::Hmb, uses) }
}

/// A call that asks for a record.
pub(crate) fn asking(record: RecordId) -> Invocation {
    let reason = dmdl_types::id::NoteCommitment::new([7; 32]);
    Invocation::Access(Access::Request { record, terms: terms(5), reason })
}

/// A transaction as a request's body.
pub(crate) fn submission(transaction: &Transaction) -> Value {
    json!({ "transaction": STANDARD.encode(codec::encode(transaction)) })
}
