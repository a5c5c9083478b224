//! What tests of whole systems begin with: a network of four organisations that runs, people, and records.

#![allow(dead_code, reason = "each test program uses a part of it")]

use dmdl::{
    client::{RegisterError, Registered},
    gateway::RealNode,
    local::{Identity, LocalNetwork, Shape, os_rng},
};
use dmdl_policies::templates::Template;
use dmdl_types::{
    access::{DuoCode, Permission, PolicyDocument, Purpose, Terms},
    genesis::Role,
    id::{Height, NodeId},
};
use rand_core::Rng as _;
use std::{
    convert::Infallible,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How many organisations there are, each with one node of every role.
pub(crate) const NODES: usize = 4;
/// How long a step may take that is expected to succeed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The organisations.
pub(crate) const ORGS: [&str; NODES] = ["city-hospital", "university-clinic", "research-institute", "health-registry"];

/// How long acknowledgements may be on their way; a share that nobody has acknowledged then was missed.
const ACKNOWLEDGED_IN: Duration = Duration::from_secs(10);
/// How long to wait before another look at what is not there yet.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A new person of an organisation.
pub(crate) fn person(org: usize, name: &str, role: Role) -> Identity {
    Identity::new(ORGS[org], name, role).unwrap()
}

/// Starts a network whose nodes all make blocks; the folder holds everything that they keep.
pub(crate) fn start_network(people: &[&Identity], shape: Shape) -> (LocalNetwork, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = LocalNetwork::create(dir.path(), &ORGS, people, shape).unwrap();
    nodes.start_all().unwrap();
    nodes.wait_ready(PATIENCE).unwrap();
    (nodes, dir)
}

/// A runtime for what people do.
pub(crate) fn runtime(workers: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap()
}

/// Waits until something holds; says what when it does not.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(AGAIN_AFTER);
    }
}

/// Waits until a node has executed a height.
pub(crate) async fn reaches(node: &RealNode, height: Height, patience: Duration) {
    let there = || Ok::<_, Infallible>((node.channel().tip().height >= height).then_some(()));
    let Ok(reached) = node.when(patience, there).await;
    assert!(reached.is_some(), "a node does not come to height {height}");
}

/// Registers once more as long as too few custodians answer in time, as on a busy machine.
pub(crate) async fn register_among_enough(
    mut register: impl AsyncFnMut() -> Result<Registered, RegisterError>,
) -> Registered {
    let begun = Instant::now();
    loop {
        match register().await {
            Ok(registered) => return registered,
            Err(RegisterError::TooFewCustodians { .. }) if begun.elapsed() < PATIENCE => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Registers once more until every node that runs has a share, and every one of them has executed all of
/// their acknowledgements: a custodian that is late gets no share, and the record goes on without it.
pub(crate) async fn register_among_all(
    nodes: &LocalNetwork,
    mut register: impl AsyncFnMut() -> Result<Registered, RegisterError>,
) -> Registered {
    let begun = Instant::now();
    loop {
        let registered = register_among_enough(&mut register).await;
        if all_acknowledge(nodes, &registered).await {
            return registered;
        }
        let Registered { record, absent, .. } = registered;
        assert!(
            begun.elapsed() < PATIENCE,
            "not in time: every node that runs has a share; of `{record}`, {absent:?} gave no dealing key"
        );
    }
}

/// Whether every node that runs comes to know of the acknowledgements of all of them.
async fn all_acknowledge(nodes: &LocalNetwork, registered: &Registered) -> bool {
    let seats = nodes.seats().enumerate();
    let running: Vec<(NodeId, &RealNode)> =
        seats.filter_map(|(position, (_, id, _))| Some((id, nodes.node(position)?.node()))).collect();
    // Who gave no dealing key has nothing to acknowledge.
    if running.iter().any(|(id, _)| !registered.custodians.contains(id)) {
        return false;
    }
    let knows = |node: &RealNode| {
        let version = node.channel().version(registered.record, registered.version).unwrap();
        version.is_some_and(|version| running.iter().all(|(id, _)| version.acks.contains(id)))
    };
    let begun = Instant::now();
    while !running.iter().all(|(_, node)| knows(node)) {
        if begun.elapsed() > ACKNOWLEDGED_IN {
            return false;
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
    true
}

/// The policy that lets biomedical research in.
pub(crate) fn research_policy() -> PolicyDocument {
    Template::ResearchAuto.document(Permission { code: DuoCode::Hmb, diseases: Vec::new() })
}

/// Terms of so many uses.
pub(crate) fn terms(code: DuoCode, uses: u32) -> Terms {
    Terms {
        purpose: Purpose { code, disease: None },
        days: 30,
        uses,
        non_profit: true,
        commercial: false,
        country: None,
        project: None,
        ethics: None,
    }
}

/// Bytes that nobody could guess.
pub(crate) fn random_bytes(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    os_rng().fill_bytes(&mut bytes);
    bytes
}
