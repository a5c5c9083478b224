//! Two of four nodes down: nothing is ordered, no share leaves, and nothing is lost.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    NODES, PATIENCE, TestNetwork, allowed, assert_no_release, granted, plaintext, register_among_all, register_open,
    research_policy,
};
use dmdl::client::OpenError;
use dmdl_audit_ledger::store::Space;
use dmdl_types::{
    event::Action,
    id::{TransactionId, UseNumber},
    invocation::Authority,
};
use std::time::{Duration, Instant};

/// The gateway of the researcher, which stays up.
const GATEWAY: usize = 2;
/// The deadline of who asks while nothing can be ordered.
const DEADLINE: Duration = Duration::from_secs(5);
/// What a deadline may be missed by: one round of asking endorsers, on a busy machine.
const SLACK: Duration = Duration::from_secs(6);

#[test]
fn a_decryption_fails_closed_in_time_and_succeeds_once_when_the_nodes_are_back() {
    let mut network = TestNetwork::start();
    let (registered, grant) = network.run(async {
        let registered = register_open(&network.at(0, &network.owner), b"fails closed").await;
        let grant = granted(&network.at(GATEWAY, &network.researcher), registered.record, 3).await;
        (registered, grant)
    });
    network.nodes.stop(0);
    network.nodes.stop(1);
    let running = [2, 3];
    let custody = |network: &TestNetwork| running.map(|node| network.rows(node, Space::Custody, b""));
    let before = custody(&network);

    let researcher = network.patient(GATEWAY, &network.researcher, DEADLINE);
    let prepared =
        network.run(researcher.prepare(registered.record, registered.version, Authority::Grant(grant))).unwrap();
    network.run(async {
        let begun = Instant::now();
        let error = researcher.order(&prepared).await.expect_err("two of four order nothing");
        assert!(begun.elapsed() < DEADLINE + SLACK, "it took {:?}", begun.elapsed());
        let OpenError::Call(call) = &error else { panic!("{error:?}") };
        let code = call.problem().map(|problem| problem.code.as_ref());
        assert!(matches!(code, Some("not_final" | "not_endorsed")), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("not final in time") || text.contains("endorsed in time"), "`{text}` says what is wrong");
        assert_no_release(&network, prepared.id()).await;
        assert_no_release(&network, TransactionId::new([7; 32])).await;
    });
    // It stands where it stood, and cannot know whether others do.
    assert!(!network.run(network.node(GATEWAY).node().catch_up(DEADLINE)).unwrap());
    assert!(network.events(GATEWAY, registered.record, Action::Decrypt).is_empty());
    assert_eq!(custody(&network), before, "no custodian wrote anything");
    assert_eq!(network.uses(GATEWAY, grant), 0);

    network.nodes.start(0).unwrap();
    network.nodes.start(1).unwrap();
    assert!(network.run(network.node(GATEWAY).node().catch_up(PATIENCE)).unwrap());
    network.run(async {
        let researcher = network.at(GATEWAY, &network.researcher);
        let opening = researcher.order(&prepared).await.unwrap();
        assert_eq!(opening.done.event.outcome.use_number, Some(UseNumber::new(1)));
        assert_eq!(plaintext(&researcher, &opening).await.unwrap(), b"fails closed");
        assert_eq!(researcher.order(&prepared).await.unwrap().done, opening.done, "ordering again changes nothing");
    });
    assert_eq!(network.events(GATEWAY, registered.record, Action::Decrypt).len(), 1);
    network.assert_same_ledgers();
    assert!((0..NODES).all(|node| network.uses(node, grant) == 1));
}

#[test]
fn an_opening_whose_custodians_are_gone_names_them_and_succeeds_later_as_the_same_use() {
    let mut network = TestNetwork::start();
    let (registered, grant, opening) = network.run(async {
        let owner = network.at(0, &network.owner);
        let registered = register_among_all(&network, &owner, b"later", Some(research_policy())).await;
        let researcher = network.at(GATEWAY, &network.researcher);
        let grant = granted(&researcher, registered.record, 3).await;
        let opening = allowed(&researcher, &registered, Authority::Grant(grant)).await;
        (registered, grant, opening)
    });
    let gone = [0, 1, 3];
    for position in gone {
        network.nodes.stop(position);
    }
    network.run(async {
        let researcher = network.patient(GATEWAY, &network.researcher, DEADLINE);
        let error = plaintext(&researcher, &opening).await.expect_err("one share opens nothing");
        let text = error.to_string();
        let OpenError::TooFewShares { transaction, got, needed, mut missing, bad } = error else { panic!("{error:?}") };
        assert_eq!((transaction, got, needed), (opening.done.transaction, 1, common::THRESHOLD));
        assert_eq!(bad, []);
        let mut expected = gone.map(|position| network.node_id(position)).to_vec();
        expected.sort();
        missing.sort();
        assert_eq!(missing, expected);
        assert!(expected.iter().all(|node| text.contains(&node.to_string())), "`{text}` names who is missing");
        assert!(text.contains(&transaction.to_string()), "`{text}` names what stays usable");
    });
    for position in gone {
        network.nodes.start(position).unwrap();
    }
    let height = network.tip(GATEWAY).height;
    network.eventually("blocks are made again", |network| network.tip(GATEWAY).height > height);
    network.run(async {
        let researcher = network.at(GATEWAY, &network.researcher);
        let begun = Instant::now();
        let opened = loop {
            match plaintext(&researcher, &opening).await {
                Ok(opened) => break opened,
                Err(OpenError::TooFewShares { .. }) if begun.elapsed() < PATIENCE => {}
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(opened, b"later");
    });
    assert_eq!(network.uses(GATEWAY, grant), 1);
    assert_eq!(network.events(GATEWAY, registered.record, Action::Decrypt).len(), 1);
}
