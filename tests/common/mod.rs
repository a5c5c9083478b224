//! A network of four organisations with its people, for whole-system tests: real nodes, RocksDB,
//! TCP on loopback.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod samples;
pub(crate) mod start;

#[allow(unused_imports, reason = "each test program uses a part of it")]
pub(crate) use start::{NODES, PATIENCE, random_bytes, research_policy, terms};

use dmdl::{
    client::{CallError, Draft, OpenError, Opening, RegisterError, Registered},
    local::{Identity, LocalClient, LocalNetwork, Shape},
    node::{Final, Handle},
};
use dmdl_audit_ledger::{
    execute::Tip,
    store::{Entry, Reader as _, Space},
};
use dmdl_types::{
    access::{DuoCode, PolicyDocument, ReasonCode},
    event::{Action, Event, Outcome, Verdict},
    genesis::Role,
    id::{GrantId, NodeId, RecordId, TransactionId},
    invocation::{Authority, Metadata},
};
use start::{ORGS, person, reaches};
use std::{
    future::Future,
    io::Cursor,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How many shares open a record.
pub(crate) const THRESHOLD: usize = 2;

/// A person at a gateway.
pub(crate) type Person = LocalClient;

/// A running network. What holds a node's store must go before the node can start again: clients too.
pub(crate) struct TestNetwork {
    pub(crate) nodes: LocalNetwork,
    /// An owner of the first organisation.
    pub(crate) owner: Identity,
    /// The committee of the first organisation.
    pub(crate) committee: Identity,
    /// An owner of the second organisation.
    pub(crate) neighbour: Identity,
    /// A researcher of the third organisation.
    pub(crate) researcher: Identity,
    /// Another researcher of the third organisation.
    pub(crate) colleague: Identity,
    runtime: Runtime,
    dir: TempDir,
}

static SHARED: Mutex<Weak<TestNetwork>> = Mutex::new(Weak::new());

impl TestNetwork {
    /// Starts a network of its own.
    pub(crate) fn start() -> Self {
        let owner = person(0, "owner", Role::Owner);
        let committee = person(0, "committee", Role::Committee);
        let neighbour = person(1, "neighbour", Role::Owner);
        let researcher = person(2, "researcher", Role::Researcher);
        let colleague = person(2, "colleague", Role::Researcher);
        let people = [&owner, &committee, &neighbour, &researcher, &colleague];
        let (nodes, dir) = start::start_network(&people, Shape::default());
        let runtime = start::runtime(1);
        Self { nodes, owner, committee, neighbour, researcher, colleague, runtime, dir }
    }

    /// The network that the tests of a program share; it stops with the last of them.
    pub(crate) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let network = Arc::new(Self::start());
            *shared = Arc::downgrade(&network);
            network
        })
    }

    /// A person at the gateway of an organisation.
    pub(crate) fn at(&self, position: usize, identity: &Identity) -> Person {
        self.patient(position, identity, PATIENCE)
    }

    /// A person who waits no longer than this.
    pub(crate) fn patient(&self, position: usize, identity: &Identity, patience: Duration) -> Person {
        self.nodes.client(position, identity, patience).expect("the node runs")
    }

    pub(crate) fn node(&self, position: usize) -> &Handle {
        self.nodes.node(position).expect("the node runs")
    }

    /// The folder of everything that a node keeps.
    pub(crate) fn folder(&self, position: usize) -> PathBuf {
        self.dir.path().join(ORGS[position])
    }

    pub(crate) fn node_id(&self, position: usize) -> NodeId {
        self.nodes.seats().nth(position).expect("there is such a position").1
    }

    pub(crate) fn tip(&self, position: usize) -> Tip {
        self.node(position).node().channel().tip()
    }

    /// The positions of the nodes that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = usize> {
        (0..NODES).filter(move |position| self.nodes.node(*position).is_some())
    }

    /// Every entry of one space of a node's store.
    pub(crate) fn rows(&self, position: usize, space: Space, prefix: &[u8]) -> Vec<Entry> {
        self.node(position).node().channel().store().scan(space, prefix, None, usize::MAX).unwrap()
    }

    /// The wrapped shares of a record that a custodian keeps.
    pub(crate) fn shares(&self, position: usize, record: RecordId) -> Vec<Entry> {
        let rows = self.rows(position, Space::Custody, b"s").into_iter();
        rows.filter(|(key, _)| key.windows(32).any(|part| part == record.as_bytes())).collect()
    }

    pub(crate) fn run<T>(&self, story: impl Future<Output = T>) -> T {
        self.runtime.block_on(story)
    }

    /// Waits until something holds; says what when it does not.
    pub(crate) fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        start::eventually(what, || holds(self));
    }

    /// Waits until a node stands where another one stands.
    pub(crate) fn wait_caught_up(&self, position: usize, with: usize) {
        let goal = self.tip(with).height;
        self.eventually("a node catches up", |network| network.tip(position).height >= goal);
    }

    /// Waits until every running node has executed what one of them has by now.
    pub(crate) async fn all_catch_up(&self, with: usize) {
        let goal = self.tip(with).height;
        for position in self.running() {
            reaches(self.node(position).node(), goal, PATIENCE).await;
        }
    }

    /// Asserts that running nodes hold the same chain, state, log, events and index: all that their
    /// checkpoints cover, byte for byte.
    pub(crate) fn assert_same_ledgers(&self) {
        const COMPARED: [Space; 4] = [Space::State, Space::Log, Space::Events, Space::Index];
        let running: Vec<usize> = self.running().collect();
        let tips = || running.iter().map(|position| self.tip(*position)).collect::<Vec<_>>();
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "the nodes do not come to one height");
            let before = tips();
            let same_height = before.windows(2).all(|pair| pair[0].height == pair[1].height);
            if same_height {
                let all =
                    COMPARED.map(|space| running.iter().map(|node| self.rows(*node, space, b"")).collect::<Vec<_>>());
                // Read between two blocks, or not at all.
                if tips() == before {
                    assert!(before.windows(2).all(|pair| pair[0] == pair[1]), "the tips differ: {before:?}");
                    for (space, rows) in COMPARED.iter().zip(all) {
                        assert!(!rows[0].is_empty(), "`{}` holds something", space.name());
                        assert!(rows.windows(2).all(|pair| pair[0] == pair[1]), "`{}` differs", space.name());
                    }
                    return;
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The decisions about a record that a node's ledger has, in order.
    pub(crate) fn events(&self, position: usize, record: RecordId, action: Action) -> Vec<Event> {
        let events = self.node(position).node().events(0, usize::MAX).unwrap();
        let wanted = |event: &Event| event.record == Some(record) && event.action == action;
        events.into_iter().map(|(_, event)| event).filter(wanted).collect()
    }

    /// How many uses of a grant a node's ledger has counted.
    pub(crate) fn uses(&self, position: usize, grant: GrantId) -> u32 {
        self.node(position).node().channel().grant(grant).unwrap().expect("there is such a grant").used
    }
}

/// Registers bytes as a record, and waits until it is active.
pub(crate) async fn register(owner: &Person, bytes: &[u8], policy: Option<PolicyDocument>) -> Registered {
    let registered = start::register_among_enough(async || try_register(owner, bytes, policy.clone()).await).await;
    assert_active(owner, &registered).await;
    registered
}

/// Registers bytes as a record that every running node has a share of, and waits until all know of that.
pub(crate) async fn register_among_all(
    network: &TestNetwork,
    owner: &Person,
    bytes: &[u8],
    policy: Option<PolicyDocument>,
) -> Registered {
    let register = async || try_register(owner, bytes, policy.clone()).await;
    let registered = start::register_among_all(&network.nodes, register).await;
    assert_active(owner, &registered).await;
    registered
}

async fn try_register(
    owner: &Person,
    bytes: &[u8],
    policy: Option<PolicyDocument>,
) -> Result<Registered, RegisterError> {
    let metadata = Metadata { media_type: "application/octet-stream".to_owned(), subject: None, listed: true };
    owner.register(bytes, Cursor::new(Vec::new()), Draft::new(metadata, policy), &|_| ()).await
}

async fn assert_active(owner: &Person, registered: &Registered) {
    let active = owner.wait_active(registered.record, registered.version, PATIENCE).await.unwrap();
    assert!(active, "enough custodians acknowledge");
}

/// Registers a short record that biomedical research may open.
pub(crate) async fn register_open(owner: &Person, bytes: &[u8]) -> Registered {
    register(owner, bytes, Some(research_policy())).await
}

/// Asks for a grant that the policy gives at once.
pub(crate) async fn granted(researcher: &Person, record: RecordId, uses: u32) -> GrantId {
    let begun = Instant::now();
    let asked = loop {
        match researcher.request(record, terms(DuoCode::Hmb, uses), "hypertension study").await {
            Ok(asked) => break asked,
            // Its gateway may be a few blocks behind the owner's.
            Err(error) if code(&error) == "unknown_record" && begun.elapsed() < PATIENCE => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let outcome = asked.event.outcome;
    assert_eq!(outcome.verdict, Verdict::Allow, "{:?}", outcome.reasons);
    outcome.grant.expect("an allowed request has a grant")
}

/// What a gateway, or who endorses there, refuses a call for; nothing when it is no refusal.
pub(crate) fn code(error: &CallError) -> &str {
    error.problem().map_or("", |problem| &problem.code)
}

/// Orders a decryption that is allowed.
pub(crate) async fn allowed(person: &Person, registered: &Registered, authority: Authority) -> Opening {
    person.decrypt(registered.record, registered.version, authority).await.unwrap()
}

/// Gathers the shares of an opening, and its plaintext.
pub(crate) async fn plaintext(person: &Person, opening: &Opening) -> Result<Vec<u8>, OpenError> {
    let mut plaintext = Vec::new();
    let opened = person.open(opening, &mut plaintext).await?;
    assert_eq!(opened.plaintext_len_bytes, plaintext.len() as u64);
    assert_eq!(opened.custodians.len(), THRESHOLD);
    assert!(opened.culprits.is_empty());
    Ok(plaintext)
}

/// Orders a decryption and opens it.
pub(crate) async fn open(person: &Person, registered: &Registered, authority: Authority) -> Vec<u8> {
    let opening = allowed(person, registered, authority).await;
    plaintext(person, &opening).await.unwrap()
}

/// Orders a decryption that the ledger denies, and gives the one code of its reason.
pub(crate) async fn denied(
    network: &TestNetwork,
    person: &Person,
    registered: &Registered,
    authority: Authority,
) -> ReasonCode {
    let prepared = person.prepare(registered.record, registered.version, authority).await.unwrap();
    let id = prepared.id();
    let error = person.order(&prepared).await.expect_err("the ledger denies it");
    assert!(matches!(&error, OpenError::Denied(_)), "{error}");
    let (_, event) = person.gateway().channel().event_of(id).unwrap().expect("a denial is on the ledger");
    assert_eq!(event.actor, person.id());
    assert_eq!(event.record, Some(registered.record));
    let code = denial(&event.outcome);
    assert!(error.to_string().contains(&code.as_str()), "`{error}` names its reason");
    assert_no_release(network, id).await;
    code
}

/// The one code of a denial.
pub(crate) fn denial(outcome: &Outcome) -> ReasonCode {
    assert_eq!(outcome.verdict, Verdict::Deny);
    assert!(outcome.use_number.is_none(), "a denial takes no use");
    let [reason] = &outcome.reasons[..] else { panic!("one reason: {:?}", outcome.reasons) };
    reason.code
}

/// Asserts that every running custodian, asked at its own node, refuses to release for a transaction.
pub(crate) async fn assert_no_release(network: &TestNetwork, transaction: TransactionId) {
    for position in network.running() {
        let node = network.node(position).node();
        let error = node.release(node.id(), transaction).await.expect_err("no share leaves");
        let told = error.to_string();
        let refused = ["was not executed here with outcome ALLOW", "is not executed here"];
        assert!(refused.iter().any(|why| told.contains(why)), "{told}");
    }
}

/// The transaction of something that was allowed or applied.
pub(crate) fn done(result: Final) -> Final {
    assert!(matches!(result.event.outcome.verdict, Verdict::Applied | Verdict::Allow), "{result:?}");
    result
}
