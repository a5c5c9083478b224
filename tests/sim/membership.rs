//! A change of members: organisations decide it, a node comes, and perhaps one goes.

use super::{
    cluster::{Cluster, ORGS},
    people::{PATIENCE, Person, SimClient},
    twist::Move,
};
use commonware_runtime::{Clock as _, Supervisor as _};
use dmdl::node::Final;
use dmdl_types::{
    event::Verdict,
    genesis::{self, NodeRoles, Role, quorum},
    governance::{Change, Governance},
    id::{DisplayName, Height, OrgId},
    invocation::Invocation,
    transaction::{Transaction, TransactionBody},
};
use rand_core::Rng as _;
use std::time::Duration;

/// The organisation that comes.
const FIFTH_ORG: &str = "fifth-hospital";
/// What the node that comes does: clients follow the members, and believe what it cosigns. It keeps no shares, which
/// those who go would have to leave to it.
const ROLES: NodeRoles = NodeRoles { endorser: true, orderer: true, committer: true, custodian: false };
/// Blocks within which a call of an organisation is ordered, or void.
const EXPIRES_AFTER: u64 = 5_000;

/// Brings the change about, once all owners have a record; the admins are one of each organisation at first.
///
/// Returns the first epoch of the new configuration.
pub(crate) async fn change(
    cluster: &Cluster,
    admins: &[Person<'_>],
    newcomer: &Person<'_>,
    after: Duration,
    what: Move,
) -> u64 {
    let runtime = cluster.runtime();
    let owners = 2;
    while admins[0].told.active.borrow().len() < owners {
        runtime.sleep(Duration::from_millis(100)).await;
    }
    runtime.sleep(after).await;
    let changes = changes(cluster, newcomer, what);
    let first = usize::try_from(runtime.child("governance").next_u64() % cluster.nodes() as u64).unwrap();
    let proposed = decide(&admins[first], Governance::Propose { changes }).await;
    let mut accepted = proposed.clone();
    // With the proposer they are a quorum.
    for admin in first + 1..first + quorum(cluster.nodes()) {
        let approve = Governance::Approve { proposal: proposed.transaction };
        accepted = decide(&admins[admin % cluster.nodes()], approve).await;
    }
    let from = accepted.event.height.get() / cluster.genesis.channel.epoch_blocks + 2;
    while cluster.epoch() < from {
        runtime.sleep(Duration::from_millis(100)).await;
    }
    what.leaves().into_iter().for_each(|leaves| cluster.seats[leaves].member.set(false));
    cluster.seats[cluster.newcomer()].member.set(true);
    cluster.boot(cluster.newcomer()).await;
    if !matches!(what, Move::Replaces(_)) {
        // The admin that came with the proposal has a say from now on.
        let changes = vec![Change::SetRoles { node: cluster.seats[cluster.newcomer()].id(), roles: ROLES }];
        decide(newcomer, Governance::Propose { changes }).await;
    }
    from
}

fn changes(cluster: &Cluster, newcomer: &Person<'_>, what: Move) -> Vec<Change> {
    let org = match what {
        Move::Replaces(node) => ORGS[node],
        Move::Joins | Move::Swaps(_) => FIFTH_ORG,
    };
    let leaves = what.leaves().map(|node| Change::RemoveNode { node: cluster.seats[node].id() });
    let member = cluster.seats[cluster.newcomer()].as_member(org, ROLES);
    let mut changes: Vec<Change> = leaves.into_iter().collect();
    changes.push(Change::AddNode { member, address: String::from("node-5.example:7400") });
    if org == FIFTH_ORG {
        let person = genesis::Person {
            key: newcomer.key().public(),
            org: OrgId::new(org).unwrap(),
            name: DisplayName::new("somebody").unwrap(),
            role: Role::Admin,
        };
        changes.push(Change::AddPerson { person });
    }
    changes
}

/// What an admin has signed, to be handed to any node.
pub(crate) async fn signed(admin: &Person<'_>, call: Governance) -> Transaction {
    let height = async |client: &SimClient| Ok::<_, String>(client.gateway().channel().tip().height);
    let height = admin.insist("look", height).await;
    let mut nonce = [0; 16];
    admin.cluster.runtime().child("governance").fill_bytes(&mut nonce);
    let body = TransactionBody {
        domain: admin.cluster.genesis.domain(),
        authors: vec![admin.key().public()],
        nonce,
        expires: Height::new(height.get() + EXPIRES_AFTER),
        invocation: Invocation::Governance(call),
    };
    body.sign(&[&admin.key()])
}

/// Has a call of an organisation ordered: the same one again, until somebody says what became of it.
pub(crate) async fn decide(admin: &Person<'_>, call: Governance) -> Final {
    let transaction = signed(admin, call).await;
    let order = async |client: &SimClient| client.gateway().submit(transaction.clone(), PATIENCE).await;
    let done = admin.insist("decide", order).await;
    let outcome = &done.event.outcome;
    assert_eq!(outcome.verdict, Verdict::Applied, "{:?}", outcome.reasons);
    admin.told.is_final(&done);
    done
}
