//! What is damaged and others have: a node has it again from them, whatever it has done before.

use super::{
    hospital::{self, BAD, GOOD, recover},
    people::{Told, while_people_work},
};
use crate::{harness::eventually, network::Network};
use std::fs;

const CONTENT: &str = "as it was before";

/// Has a node that has released shares replace its ledger, where nobody has a snapshot: it begins with the first block, and
/// knows none of the grants that it has released under.
pub(crate) fn begin_a_ledger_anew() {
    let mut network = hospital::generate_with_epochs_of(1000);
    network.start_all();
    let record = network.register(GOOD, CONTENT);
    assert_eq!(network.open(BAD, &record), CONTENT.as_bytes());
    network.wait_caught_up(BAD, GOOD);
    replace(&mut network, "ledger", "the custodian's rows were taken over");
    hospital::assert_whole(&network, &Told::default(), &record, CONTENT.as_bytes());
}

/// Has a node that has joined by a snapshot fetch its blocks anew, when the epoch of the snapshot is long over.
pub(crate) fn begin_an_archive_anew() {
    let mut network = hospital::generate();
    network.start_all();
    let record = network.register(GOOD, CONTENT);
    let mut told = work_for(&mut network, 2);
    replace(&mut network, "ledger", "the custodian's rows were taken over");
    told.extend(work_for(&mut network, 3));
    network.wait_caught_up(BAD, GOOD);
    replace(&mut network, "archive", "all of them are fetched again");
    // Its blocks are all there only when new ones are executed.
    told.extend(work_for(&mut network, 1));
    network.wait_caught_up(BAD, GOOD);
    hospital::assert_whole(&network, &told, &record, CONTENT.as_bytes());
    // Blocks that were had again come without certificates, and a ledger that is had again needs some of them.
    replace(&mut network, "archive", "all of them are fetched again");
    replace(&mut network, "ledger", "the custodian's rows were taken over");
    hospital::assert_whole(&network, &told, &record, CONTENT.as_bytes());
}

/// Has a node find something of its channel damaged, as it notes itself when it reads what was not written, and start.
fn replace(network: &mut Network, what: &str, says: &str) {
    network.stop(BAD);
    let channels = network.node(BAD).join("data").join("channels");
    let channel = fs::read_dir(channels).unwrap().next().expect("one channel").unwrap();
    fs::write(channel.path().join(format!("{what}.damaged")), "").unwrap();
    let said = recover(network, BAD).join("\n");
    assert!(said.contains(says), "{said}");
}

/// Has people work until so many epochs have ended.
fn work_for(network: &mut Network, epochs: u64) -> Told {
    let goal = network.epoch(GOOD) + epochs;
    while_people_work(network, &[GOOD], |network| {
        eventually("the epochs end", || (network.epoch(GOOD) >= goal).then_some(()));
    })
}
