//! Any one of four nodes may be down: the others go on, and it catches up.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    NODES, Person, TestNetwork, granted, open, register_among_all, research_policy, start::register_among_enough,
};
use dmdl::client::{Draft, RegisterError, Registered};
use dmdl_types::{
    id::NodeId,
    invocation::{Authority, Metadata},
};
use std::io::Cursor;

/// A record that must have a share at a node which is down.
async fn register_with(owner: &Person, custodians: &[NodeId]) -> Result<Registered, RegisterError> {
    let metadata = Metadata { media_type: "text/plain".to_owned(), subject: None, listed: true };
    let draft = Draft { custodians: custodians.to_vec(), ..Draft::new(metadata, None) };
    owner.register(&b"for these alone"[..], Cursor::new(Vec::new()), draft, &|_| ()).await
}

#[test]
fn a_custodian_that_is_named_must_answer() {
    let mut network = TestNetwork::start();
    network.nodes.stop(3);
    let owner = network.at(0, &network.owner);
    let node = |position| network.node_id(position);
    let refused = network.run(register_with(&owner, &[node(0), node(1), node(2), node(3)]));
    assert!(matches!(refused, Err(RegisterError::TooFewCustodians { got: ..=3, needed: 4 })), "{refused:?}");
    let others = [node(0), node(1), node(2)];
    let registered = network.run(register_among_enough(async || register_with(&owner, &others).await));
    assert_eq!((registered.custodians.len(), registered.absent.len()), (3, 0));
}

#[test]
fn whichever_node_is_down_records_are_registered_requested_and_opened() {
    let mut network = TestNetwork::start();
    let before = network.run(async {
        let owner = network.at(0, &network.owner);
        register_among_all(&network, &owner, b"registered by four", Some(research_policy())).await
    });
    for down in 0..NODES {
        network.nodes.stop(down);
        let (first, second) = ((down + 1) % NODES, (down + 2) % NODES);
        let text = format!("registered without node {down}");
        network.run(async {
            let owner = network.at(first, &network.owner);
            let researcher = network.at(second, &network.researcher);
            let grant = granted(&researcher, before.record, 1).await;
            let (opened, registered) = futures::join!(
                open(&researcher, &before, Authority::Grant(grant)),
                register_among_all(&network, &owner, text.as_bytes(), Some(research_policy()))
            );
            assert_eq!(opened, b"registered by four");
            assert_eq!(registered.absent, [network.node_id(down)]);
            assert!(registered.custodians.iter().all(|node| *node != network.node_id(down)));
            assert_eq!(open(&owner, &registered, Authority::Owner).await, text.as_bytes());
        });
        network.nodes.start(down).unwrap();
        network.wait_caught_up(down, first);
        network.assert_same_ledgers();
        // It serves again, as a gateway and from what it caught up with.
        network.run(async {
            let researcher = network.at(down, &network.researcher);
            let grant = granted(&researcher, before.record, 1).await;
            assert_eq!(open(&researcher, &before, Authority::Grant(grant)).await, b"registered by four");
        });
    }
}
