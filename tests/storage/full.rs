//! Disks without room.

use super::{
    hospital::{self, BAD, GOOD, log_of, read, recover, start},
    people::{self, Told, while_people_work},
    tools::{Dice, Mounted, asked, can_mount, fill, get},
};
use crate::{
    harness::{code, dmdl, eventually, json},
    network::Network,
};
use std::{fs, thread, time::Duration};

/// The size of the disk, and how much of it the node keeps free.
const DISK_MIB: usize = 128;
const KEPT_FREE_MIB: u64 = 24;

/// A network whose bad disk is a small one.
fn on_a_small_disk() -> (Network, Mounted) {
    let network = hospital::generate();
    let disk = Mounted::small(&network.node(BAD).join("data"), DISK_MIB);
    let file = network.config(BAD);
    let text = fs::read_to_string(&file).unwrap();
    let small = text.replace("keep_free_mib = 128", &format!("keep_free_mib = {KEPT_FREE_MIB}"));
    assert_ne!(text, small);
    fs::write(file, small).unwrap();
    (network, disk)
}

/// Fills the disk below what is kept free, looks what the node still does, and makes room again.
pub(crate) fn fill_and_free() {
    if !can_mount() {
        return;
    }
    let (mut network, _disk) = on_a_small_disk();
    network.start_all();
    network.stop(BAD);
    let log = log_of(&network);
    start(&mut network, BAD, dmdl(), &log);
    let record = network.register(GOOD, "before it was full");
    network.wait_caught_up(BAD, GOOD);
    let gateway = network.gateway(BAD).to_owned();
    eventually("it is ready", || (get(&gateway, "/readyz").0 == 200).then_some(()));

    let filler = fill(&network.node(BAD).join("data"), (KEPT_FREE_MIB << 20) / 2);
    eventually("the disk is full", || (get(&gateway, "/readyz").0 == 503).then_some(()));
    let (_, problem) = get(&gateway, "/readyz");
    assert!(problem.contains("\"storage_full\""), "{problem}");
    let metrics = get(&gateway, "/metrics").1;
    assert!(metrics.contains("\ndmdl_storage_full 1\n"), "{metrics}");
    assert!(read(&log).contains("the disk is full: this node only reads"), "{}", read(&log));

    // It answers what it has, takes nothing in, and says so.
    let stands = network.height(BAD);
    assert_eq!(network.ok(BAD, "owner", &["record", "show", &record])["record"], record.as_str());
    network.assert_trail_verifies(BAD);
    let refused = people::command(&network, BAD).output().unwrap();
    assert_eq!((code(&refused), &json(&refused)["error"]["code"]), (6, &"storage_full".into()));
    let sealed = network.folder().join("content");
    fs::write(&sealed, "too late").unwrap();
    let upload = ["record", "register", sealed.to_str().unwrap(), "--policy", "research-auto"];
    let refused = network.run(BAD, "owner", &upload);
    assert_eq!((code(&refused), &json(&refused)["error"]["code"]), (6, &"storage_full".into()));

    // The others go on without it, and it takes no part: no block is final without a third of them.
    let other = network.register(GOOD, "while it was full");
    assert_eq!(network.open(1, &other), b"while it was full");
    network.kill(2);
    let goal = network.height(GOOD);
    thread::sleep(Duration::from_secs(5));
    assert!(network.height(GOOD) <= goal + 1, "two of four make no block");
    assert!(network.height(BAD) <= stands + 1, "it executes nothing that it has no room for");

    // With room it votes again, by itself: now three do.
    fs::remove_file(filler).unwrap();
    let goal = network.height(GOOD) + 3;
    eventually("the network goes on with it", || (network.height(GOOD) >= goal).then_some(()));
    assert!(get(&gateway, "/metrics").1.contains("\ndmdl_storage_full 0\n"));
    network.start(2);
    network.wait_caught_up(BAD, GOOD);
    assert_eq!(network.open(BAD, &other), b"while it was full");
    network.assert_trail_verifies(BAD);
}

/// Fills the disk at once, at moments that nobody chose, and down to nothing as often as not.
pub(crate) fn fill_at_any_moment() {
    if !can_mount() {
        return;
    }
    let positions = asked("DMDL_FULL_DISKS", 2);
    let mut dice = Dice::new(2);
    let (mut network, _disk) = on_a_small_disk();
    network.start_all();
    let record = network.register(GOOD, "before it was full");
    let (mut told, mut ended) = (Told::default(), 0);
    for position in 0..positions {
        let left = if position % 2 == 0 { 0 } else { dice.roll(4 << 20) as u64 };
        told.extend(while_people_work(&mut network, &[GOOD, BAD], |network| {
            thread::sleep(Duration::from_millis(500 + dice.roll(1500) as u64));
            let filler = fill(&network.node(BAD).join("data"), left);
            thread::sleep(Duration::from_secs(2));
            fs::remove_file(filler).unwrap();
            // It may have met the end of the room at any moment before this.
            if let Some(code) = hospital::catch_up(network, BAD) {
                assert_eq!(code, 74, "a full disk ends a node, if at all, in an orderly way");
                ended += 1;
                recover(network, BAD);
            }
        }));
        network.wait_caught_up(BAD, GOOD);
    }
    hospital::assert_whole(&network, &told, &record, b"before it was full");
    eprintln!(
        "{positions} full disks: {ended} ended the node, which came back with room, and it lived through the others; {} \
         transactions acknowledged, none lost",
        told.len()
    );
}
