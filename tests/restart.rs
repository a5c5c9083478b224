//! All nodes stop and start again on their folders: nothing is forgotten.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    NODES, PATIENCE, TestNetwork, allowed, done, granted, open, plaintext, register_among_all, register_open,
    research_policy, terms,
};
use dmdl::{local::LocalError, node::StartError};
use dmdl_audit_ledger::store::Entry;
use dmdl_types::{
    access::DuoCode,
    bundle::{self, Report},
    event::Verdict,
    id::RecordId,
    invocation::Authority,
};
use std::fs;

/// The wrapped shares of these records, by custodian.
fn shares(network: &TestNetwork, records: [RecordId; 2]) -> Vec<Vec<Entry>> {
    let of = |position| records.iter().flat_map(move |record| network.shares(position, *record)).collect();
    (0..NODES).map(of).collect()
}

fn trail(network: &TestNetwork, position: usize) -> Report {
    let gateway = network.node(position).node();
    let exported = network.run(gateway.export(None, gateway.log_size(), common::PATIENCE)).unwrap();
    bundle::verify(&exported.to_bytes(), &network.nodes.genesis().founding()).unwrap()
}

#[test]
fn a_node_that_lost_its_ledger_and_not_its_votes_does_not_start() {
    let mut network = TestNetwork::start();
    let down = NODES - 1;
    network.nodes.stop(down);
    let (folder, away) = (network.folder(down).join("channels"), network.folder(down).join("away"));
    fs::rename(&folder, &away).unwrap();
    // Trying again does not help.
    for _ in 0..2 {
        let error = network.nodes.start(down).expect_err("it could vote again where it has voted before");
        assert!(matches!(error, LocalError::Start { source: StartError::Incomplete(_), .. }), "{error}");
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::rename(&away, &folder).unwrap();
    network.nodes.start(down).unwrap();
    let height = network.tip(0).height;
    network.eventually("it follows again", |network| network.tip(down).height > height);
}

#[test]
fn a_node_that_lost_its_votes_only_follows() {
    let mut network = TestNetwork::start();
    let down = NODES - 1;
    network.nodes.stop(down);
    fs::remove_dir_all(network.folder(down).join("engine")).unwrap();
    network.nodes.start(down).unwrap();
    assert!(network.node(down).node().channel().follows(), "it could vote again where it has voted before");
    let height = network.tip(0).height;
    network.eventually("it follows again", |network| network.tip(down).height > height);
}

#[test]
fn a_network_that_was_stopped_as_a_whole_goes_on_where_it_was() {
    let mut network = TestNetwork::start();
    let (open_record, reviewed, grant, opening, pending) = network.run(async {
        let owner = network.at(0, &network.owner);
        let researcher = network.at(2, &network.researcher);
        let (open_record, reviewed) = futures::join!(
            register_among_all(&network, &owner, b"kept", Some(research_policy())),
            register_among_all(&network, &owner, b"kept for review", None)
        );
        let grant = granted(&researcher, open_record.record, 3).await;
        let opening = allowed(&researcher, &open_record, Authority::Grant(grant)).await;
        let pending = researcher.request(reviewed.record, terms(DuoCode::Hmb, 1), "study").await.unwrap();
        assert_eq!(pending.event.outcome.verdict, Verdict::Pending);
        network.all_catch_up(2).await;
        (open_record, reviewed, grant, opening, pending.transaction)
    });
    let records = [open_record.record, reviewed.record];
    let shares_before = shares(&network, records);
    assert!(shares_before.iter().all(|rows| rows.len() == 2), "every custodian keeps both shares");
    let trail_before = trail(&network, 1);

    for position in 0..NODES {
        network.nodes.stop(position);
    }
    network.nodes.start_all().unwrap();

    assert_eq!(shares(&network, records), shares_before, "wrapped shares survive");
    network.run(async {
        let researcher = network.at(1, &network.researcher);
        let committee = network.at(3, &network.committee);
        let approved = done(committee.review(pending, true).await.unwrap());
        let reviewed_grant = Authority::Grant(approved.event.outcome.grant.unwrap());
        network.all_catch_up(3).await;
        assert_eq!(open(&researcher, &reviewed, reviewed_grant).await, b"kept for review");
        assert_eq!(plaintext(&researcher, &opening).await.unwrap(), b"kept", "an opening goes on after the restart");
        assert_eq!(network.uses(1, grant), 1);
        assert_eq!(open(&researcher, &open_record, Authority::Grant(grant)).await, b"kept");
        assert_eq!(network.uses(1, grant), 2);
        let owner = network.at(0, &network.owner);
        let fresh = register_open(&owner, b"after the restart").await;
        assert_eq!(open(&owner, &fresh, Authority::Owner).await, b"after the restart");
    });
    network.assert_same_ledgers();
    let trail_after = trail(&network, 1);
    assert!(trail_after.events.len() > trail_before.events.len());
    assert!(trail_after.events.starts_with(&trail_before.events), "the trail only grew");
}

#[test]
fn an_outcome_is_shown_again_after_all_nodes_restart_with_nothing_new_to_say() {
    let mut network = TestNetwork::start();
    let done = network.run(async { register_open(&network.at(0, &network.owner), b"shown again").await.done });
    (0..NODES).for_each(|position| network.nodes.stop(position));
    (0..NODES).for_each(|position| network.nodes.start(position).unwrap());
    for position in 0..NODES {
        let owner = network.at(position, &network.owner);
        let shown = network.run(owner.outcome(done.transaction, PATIENCE)).unwrap();
        assert_eq!(shown.as_ref(), Some(&done), "node {position} shows what it has executed");
    }
}
