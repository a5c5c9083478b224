//! Custodians that are cut off from the network, or that somebody feeds an older chain.

use crate::common::{
    NODES, PATIENCE, TestNetwork, allowed, granted, plaintext, random_bytes, register_among_all, register_open,
    research_policy,
};
use dmdl::{
    gateway::RealNode,
    local::LocalNetwork,
    node::{GatewayError, Refused},
};
use dmdl_types::{
    custody::SealedBytes,
    id::{NodeId, RecordId, RecordVersion, TransactionId},
    invocation::Authority,
};
use dmdl_vault::custodian::STALENESS_MIN_MS;
use std::{
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Whose custodian is attacked.
const VICTIM: usize = 3;

/// What a custodian says when it is asked at its own node.
async fn asked(node: &RealNode, decryption: TransactionId) -> Result<Vec<u8>, Refused> {
    refused(node.id(), node.release(node.id(), decryption).await)
}

fn refused<T>(custodian: NodeId, answer: Result<T, GatewayError>) -> Result<T, Refused> {
    answer.map_err(|error| match error {
        GatewayError::NodeRefused { node, refused } if node == custodian => refused,
        error => panic!("the custodian answers: {error}"),
    })
}

/// Waits until a node's last block is older than what a custodian still acts on.
fn wait_stale(node: &RealNode) {
    let begun = Instant::now();
    let age_ms = || node.channel().wall_time().since_ms(node.channel().tip().time);
    while age_ms() <= STALENESS_MIN_MS {
        assert!(begun.elapsed() < PATIENCE, "the node goes on making blocks");
        thread::sleep(Duration::from_millis(100));
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    // A key store that others may look into is not opened.
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// A network of which one node runs: on a copy of its folder, with its keys, and with nobody around it.
fn twin(network: &TestNetwork, dir: &Path) -> (LocalNetwork, usize) {
    for position in 0..NODES {
        let (from, to) = (network.folder(position), dir.join(network.folder(position).file_name().unwrap()));
        fs::create_dir_all(&to).unwrap();
        for secret in ["node.key", "cosigning.key"] {
            fs::copy(from.join(secret), to.join(secret)).unwrap();
        }
    }
    let folder = network.folder(VICTIM);
    copy_folder(&folder, &dir.join(folder.file_name().unwrap())).unwrap();
    let mut twin = LocalNetwork::open(dir, network.nodes.genesis().clone()).unwrap();
    let victim = network.node_id(VICTIM);
    let position = twin.seats().position(|(_, node, _)| node == victim).expect("it is one of them");
    twin.start(position).unwrap();
    (twin, position)
}

#[test]
fn a_custodian_that_is_fed_a_chain_from_before_a_revocation_releases_nothing() {
    let mut network = TestNetwork::start();
    let secret = random_bytes(100);
    let (registered, grant, before) = network.run(async {
        let owner = network.at(0, &network.owner);
        let registered = register_among_all(&network, &owner, &secret, Some(research_policy())).await;
        let researcher = network.at(2, &network.researcher);
        let grant = granted(&researcher, registered.record, 5).await;
        let before = allowed(&researcher, &registered, Authority::Grant(grant)).await;
        (registered, grant, before)
    });
    network.run(network.all_catch_up(2));
    network.nodes.stop(VICTIM);
    let dir = tempfile::tempdir().unwrap();
    let (mut twin, position) = twin(&network, dir.path());
    let node = twin.node(position).expect("it runs").node().clone();

    // The others go on: the grant is revoked, and somebody else is allowed to open the record.
    let (after, fresh) = network.run(async {
        let owner = network.at(0, &network.owner);
        owner.revoke(grant).await.unwrap();
        let colleague = network.at(2, &network.colleague);
        let grant = granted(&colleague, registered.record, 1).await;
        let after = allowed(&colleague, &registered, Authority::Grant(grant)).await;
        (after, register_open(&owner, b"registered since").await)
    });
    wait_stale(&node);
    let since = network.node(0).node().channel().event_of(after.done.transaction).unwrap().expect("it is executed");
    assert!(node.channel().tip().height < since.1.height, "it hears of nothing");
    network.run(async {
        let stale = asked(&node, before.done.transaction).await.expect_err("it may have been revoked since");
        assert_eq!(stale.code, "stale_view", "{stale:?}");
        assert!(stale.detail.contains("this node's last block is `"), "{stale:?}");
        let unknown = asked(&node, after.done.transaction).await.expect_err("it has not executed that");
        let detail = format!("transaction `{}` is not executed here", after.done.transaction);
        assert_eq!(unknown, Refused::new("not_final", detail));
        let share = SealedBytes(vec![1; 100]);
        let kept = node.deliver(node.id(), fresh.record, fresh.version, share).await;
        let behind = refused(node.id(), kept).expect_err("it does not know that record");
        assert_eq!(behind, Refused::new("behind", "the registration is not executed here yet; try again"));
    });
    drop(node);
    twin.stop(position);

    // The custodian itself comes back, hears of the revocation, and goes by it.
    network.nodes.start(VICTIM).unwrap();
    network.wait_caught_up(VICTIM, 0);
    let node = network.node(VICTIM).node().clone();
    network.run(async {
        let revoked = asked(&node, before.done.transaction).await.expect_err("it was revoked");
        assert_eq!(revoked, Refused::new("denied", format!("grant `{grant}` is revoked")));
        assert!(!asked(&node, after.done.transaction).await.unwrap().is_empty(), "others may open it");
        let colleague = network.at(2, &network.colleague);
        assert_eq!(plaintext(&colleague, &after).await.unwrap(), secret);
    });
}

#[test]
fn a_custodian_that_is_cut_off_repeats_no_release_once_its_view_is_stale() {
    let mut network = TestNetwork::start();
    let opening = network.run(async {
        let owner = network.at(0, &network.owner);
        let registered = register_among_all(&network, &owner, b"cut off", Some(research_policy())).await;
        let researcher = network.at(VICTIM, &network.researcher);
        let grant = granted(&researcher, registered.record, 5).await;
        allowed(&researcher, &registered, Authority::Grant(grant)).await
    });
    let node = network.node(VICTIM).node().clone();
    let decryption = opening.done.transaction;
    let share = network.run(asked(&node, decryption)).unwrap();
    assert_eq!(network.run(asked(&node, decryption)).unwrap(), share, "asked again, it answers the same");
    for other in (0..NODES).filter(|other| *other != VICTIM) {
        network.nodes.stop(other);
    }
    wait_stale(&node);
    let stale = network.run(asked(&node, decryption)).expect_err("what it released before it does not repeat");
    assert_eq!(stale.code, "stale_view", "{stale:?}");
    let nothing = node.deliver(node.id(), RecordId::new([3; 32]), RecordVersion::new(1), SealedBytes(vec![1]));
    let behind = refused(node.id(), network.run(nothing)).expect_err("it knows of no such record");
    assert_eq!(behind.code, "behind");

    for other in (0..NODES).filter(|other| *other != VICTIM) {
        network.nodes.start(other).unwrap();
    }
    let height = network.tip(VICTIM).height;
    network.eventually("blocks are made again", |network| network.tip(VICTIM).height > height);
    assert_eq!(network.run(asked(&node, decryption)).unwrap(), share, "and then it answers the same");
    assert_eq!(network.uses(VICTIM, opening.done.event.outcome.grant.unwrap()), 1);
}
