//! A network whose nodes are separate processes, as `dmdl network generate` and `dmdl node` make it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "cli/harness.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod harness;

#[allow(dead_code, reason = "each test program uses a part of it")]
mod processes {
    pub(crate) mod network;
}

use harness::{code, dmdl, eventually, json, str};
use processes::network::{ALL, Network, has_voted, in_time};
use serde_json::Value;
use std::{fs, process::Stdio};

#[test]
fn four_processes_are_a_network_that_lives_without_any_one_of_them() {
    let mut network =
        Network::generate(&[("a", "org-1", ALL), ("b", "org-2", ALL), ("c", "org-3", ALL), ("d", "org-4", ALL)]);
    network.start_all();
    let record = network.register(0, "a letter to four");
    assert_eq!(network.open(1, &record), b"a letter to four");
    network.assert_trail_verifies(3);

    // Nobody runs a node twice.
    let again = dmdl().args(["node", "--json", "--config", str(&network.config(2))]).output().unwrap();
    assert_eq!((code(&again), &json(&again)["error"]["code"]), (7, &Value::from("locked")));

    network.kill(3);
    let other = network.register(0, "a letter to three");
    assert_eq!(network.open(1, &other), b"a letter to three");
    let said = network.start(3);
    assert_eq!(said["votes"], true, "it has kept its votes");
    network.wait_caught_up(3, 0);
    assert_eq!(network.open(3, &record), b"a letter to four");

    // One that lost everything but its keys does not know what it has voted for.
    network.stop(2);
    fs::remove_dir_all(network.node(2).join("data")).unwrap();
    let said = network.start(2);
    assert_eq!(said["votes"], false, "its token is used up");
    network.wait_caught_up(2, 0);
    assert_eq!(network.open(2, &other), b"a letter to three");

    for position in 0..network.ids.len() {
        network.stop(position);
    }
}

#[test]
fn a_node_that_lost_everything_joins_a_chain_of_many_epochs_by_a_snapshot() {
    let seats = [("a", "org-1", ALL), ("b", "org-2", ALL), ("c", "org-3", ALL), ("d", "org-4", ALL)];
    let mut network = Network::generate_with("[channel]\nepoch_blocks = 4\n", &seats);
    network.start_all();
    let record = network.register(0, "a letter from long ago");
    eventually("the third epoch begins", || (network.height(0) >= 8).then_some(()));
    for _ in 0..3 {
        assert_eq!(network.open(1, &record), b"a letter from long ago");
    }

    network.stop(2);
    fs::remove_dir_all(network.node(2).join("data")).unwrap();
    let log = network.folder().join("log");
    let said = network.start_logging(2, &log);
    assert_eq!(said["votes"], false, "it does not know what it has voted for");
    let told = fs::read_to_string(&log).unwrap();
    assert!(told.contains("joined by a snapshot"), "{told}");
    network.wait_caught_up(2, 0);
    // What is older than the snapshot is shown too: the registration is in a block that this node has never had.
    assert_eq!(network.open(2, &record), b"a letter from long ago");
    network.assert_trail_verifies(2);

    network.stop(2);
    network.start(2);
    network.wait_caught_up(2, 0);
    let other = network.register(2, "a letter of today");
    assert_eq!(network.open(3, &other), b"a letter of today");
    network.assert_trail_verifies(2);
}

#[test]
fn roles_may_be_processes_of_their_own() {
    const ORDERS: &[&str] = &["orderer"];
    const KEEPS: &[&str] = &["endorser", "committer", "custodian"];
    const SHOWS: &[&str] = &["gateway"];
    let mut network = Network::generate(&[
        ("order-1", "org-1", ORDERS),
        ("order-2", "org-2", ORDERS),
        ("order-3", "org-3", ORDERS),
        ("order-4", "org-4", ORDERS),
        ("keep-1", "org-1", KEEPS),
        ("keep-2", "org-2", KEEPS),
        ("keep-3", "org-3", KEEPS),
        ("keep-4", "org-4", KEEPS),
        ("door", "org-1", SHOWS),
    ]);
    network.start_all();
    let record = network.register(8, "passed from hand to hand");
    assert_eq!(network.open(8, &record), b"passed from hand to hand");
    network.assert_trail_verifies(8);
}

#[test]
fn a_node_that_starts_when_it_is_let_in_joins_by_a_snapshot_and_votes() {
    let seats = [("a", "org-1", ALL), ("b", "org-2", ALL), ("c", "org-3", ALL), ("d", "org-4", ALL)];
    let mut network = Network::generate_with("[channel]\nepoch_blocks = 4\n", &seats);
    network.start_all();
    let record = network.register(0, "a letter from long ago");
    eventually("the third epoch begins", || (network.height(0) >= 8).then_some(()));
    for _ in 0..3 {
        assert_eq!(network.open(1, &record), b"a letter from long ago");
    }

    let (joins, change) = network.make_node("e", "org-5");
    let from = network.change(0, &change, &["admin-1", "admin-2", "admin-3"]);
    in_time("the others let it in", || (network.epoch(0) + 1 >= from).then_some(()));
    let log = network.folder().join("log");
    let said = network.start_logging(joins, &log);
    assert_eq!(said["votes"], true, "its keys have never voted anywhere");
    let told = fs::read_to_string(&log).unwrap();
    assert!(told.contains("joined by a snapshot"), "{told}");
    in_time("the node that joined votes", || has_voted(&network.status(0), "org-5").then_some(()));
    network.wait_caught_up(joins, 0);
    assert_eq!(network.open(joins, &record), b"a letter from long ago");
    network.assert_trail_verifies(joins);
}

#[test]
fn a_network_that_lets_blocks_go_is_started_again_and_joined_like_any_other() {
    let seats = [("a", "org-1", ALL), ("b", "org-2", ALL), ("c", "org-3", ALL), ("d", "org-4", ALL)];
    let mut network = Network::generate_with("[channel]\nepoch_blocks = 4\n", &seats);
    network.start_all();
    let before = network.register(0, "from before");
    network.change(0, "[[change]]\nprune-blocks = {}\n", &["admin-1", "admin-2", "admin-3"]);
    let has_recent = |network: &Network| {
        let mut files = fs::read_dir(network.node(0).join("data").join("engine")).unwrap();
        files.any(|file| file.unwrap().file_name().to_string_lossy().contains("-blocks-recent-"))
    };
    assert!(!has_recent(&network), "it begins with the next start");
    for restarted in 0..2 {
        for node in 0..seats.len() {
            network.stop(node);
            network.start(node);
            network.wait_caught_up(node, (node + 1) % seats.len());
        }
        assert!(has_recent(&network));
        let record = network.register(1, "from after");
        assert_eq!(network.open(restarted, &record), b"from after");
        assert_eq!(network.open(restarted, &before), b"from before");
    }

    let lost = 3;
    network.stop(lost);
    fs::remove_dir_all(network.node(lost).join("data")).unwrap();
    network.start(lost);
    network.wait_caught_up(lost, 0);
    assert_eq!(network.open(lost, &before), b"from before");
    network.assert_trail_verifies(lost);
    network.stop(lost);
    network.start(lost);
    network.wait_caught_up(lost, 0);
    network.assert_trail_verifies(0);

    // Its ledger is damaged, too, and whoever could give it another one comes late: there is no first block to begin with.
    network.kill_all();
    let mut channels = fs::read_dir(network.node(lost).join("data").join("channels")).unwrap();
    fs::write(channels.next().unwrap().unwrap().path().join("ledger.damaged"), "").unwrap();
    let said = network.start_under(lost, dmdl(), Stdio::inherit(), &[]);
    assert!(said["error"]["detail"].as_str().unwrap().contains("start the node again once others run"), "{said}");
    assert_eq!(in_time("it ends", || network.ended(lost)), 74);
    (0..lost).for_each(|node| drop(network.start(node)));
    network.start(lost);
    network.wait_caught_up(lost, 0);
    assert_eq!(network.open(lost, &before), b"from before");
    network.assert_trail_verifies(lost);
}

#[test]
fn a_node_joins_and_another_one_leaves_while_the_network_goes_on() {
    let seats = [("a", "org-1", ALL), ("b", "org-2", ALL), ("c", "org-3", ALL), ("d", "org-4", ALL)];
    let mut network = Network::generate_with("[channel]\nepoch_blocks = 2\n", &seats);
    network.start_all();
    let record = network.register(0, "a letter to four");

    // It may be started before anybody has heard of it: it waits.
    let (joins, change) = network.make_node("e", "org-5");
    let said = network.start(joins);
    assert_eq!(
        (&said["member"], &said["org"], &said["votes"]),
        (&Value::from(false), &Value::Null, &Value::from(true))
    );
    assert_eq!(network.height(joins), 0);

    network.change(0, &change, &["admin-1", "admin-2", "admin-3"]);
    in_time("the node that joined votes", || has_voted(&network.status(0), "org-5").then_some(()));
    let goal = network.height(0);
    in_time("the node that joined executes what the others do", || (network.height(joins) >= goal).then_some(()));

    let leaves = 3;
    let change = format!("[[change]]\nremove-node = \"{}\"\n", network.ids[leaves]);
    let from = network.change(0, &change, &["admin-1", "admin-2", "admin-3", "admin-4"]);
    in_time("the node that leaves is out", || (network.epoch(0) >= from).then_some(()));
    network.stop(leaves);
    assert_eq!(network.open(1, &record), b"a letter to four");

    // Three of four are a quorum: without the one that joined, no block would be final any more.
    network.kill(2);
    let goal = network.height(0) + 6;
    in_time("the network goes on", || (network.height(0) >= goal).then_some(()));
    network.start(2);

    // Its token was for its first folder alone.
    network.stop(joins);
    fs::remove_dir_all(network.node(joins).join("data")).unwrap();
    let said = network.start(joins);
    assert_eq!(said["votes"], false);
    let goal = network.height(0);
    in_time("the node that lost its folder catches up", || (network.height(joins) >= goal).then_some(()));
}
