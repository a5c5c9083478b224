//! Power cuts: what is left of a disk is what was synced, and some of what was not.

use super::{
    hospital::{self, GOOD},
    people::{self, Told},
    tools::{Dice, Mounted, asked, can_mount},
};
use crate::{
    harness::{UNAVAILABLE, code, eventually, json, text},
    network::Network,
};
use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

const DISK_MIB: u64 = 512;

/// Cuts the power of all nodes at once, again and again, while people work.
pub(crate) fn cut_again_and_again() {
    if !can_mount() {
        return;
    }
    let cuts = asked("DMDL_POWER_CUTS", 1);
    let mut dice = Dice::new(3);
    let mut network = hospital::generate();
    let image = network.folder().join("disk.image");
    Mounted::make_image(&image, DISK_MIB);
    let at = network.folder().join("disk");
    let mut disk = Mounted::image(&image, &at);
    move_onto(&network, &at);
    network.start_all();
    let record = network.register(GOOD, "before the cut");
    let mut told = Told::default();
    for cut in 0..cuts {
        let acknowledged = Mutex::new(Told::default());
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            for position in [GOOD, 1] {
                let command = people::command(&network, position);
                let (acknowledged, enough) = (&acknowledged, &enough);
                scope.spawn(move || work(command, acknowledged, enough));
            }
            thread::sleep(Duration::from_millis(1500 + dice.roll(2500) as u64));
            for position in 0..network.ids.len() {
                signal(network.pid(position), "STOP");
            }
            // What people know by now is promised; what is on the disk by now is all that is left of it.
            enough.store(true, Ordering::Relaxed);
            told.extend(std::mem::take(&mut acknowledged.lock().unwrap()));
            copy(&image, &image.with_extension("cut"));
            for position in 0..network.ids.len() {
                network.kill(position);
            }
        });
        drop(disk);
        fs::rename(image.with_extension("cut"), &image).unwrap();
        disk = Mounted::image(&image, &at);
        for position in 0..network.ids.len() {
            let said = network.start(position);
            assert_eq!(said["votes"], true, "cut {cut}: a torn write is no lost vote");
        }
        let before = network.height(GOOD);
        eventually("the network goes on by itself", || (network.height(GOOD) > before).then_some(()));
        for position in 1..network.ids.len() {
            network.wait_caught_up(position, GOOD);
        }
        told.assert_in_trail(&network, dice.roll(4));
    }
    assert_eq!(network.open(1, &record), b"before the cut");
    for position in 0..network.ids.len() {
        network.stop(position);
    }
    drop(disk);
    eprintln!("{cuts} power cuts of all nodes: {} transactions acknowledged, none lost", told.len());
}

/// Has what all nodes keep, and the vault, lie on one disk.
fn move_onto(network: &Network, disk: &Path) {
    for position in 0..network.ids.len() {
        let own = disk.join(position.to_string());
        fs::create_dir(&own).unwrap();
        fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(own, network.node(position).join("data")).unwrap();
    }
    let vault = network.folder().join("vault");
    fs::remove_dir(&vault).unwrap();
    fs::create_dir(disk.join("vault")).unwrap();
    std::os::unix::fs::symlink(disk.join("vault"), vault).unwrap();
}

/// Works until it is enough, and writes down at once what was acknowledged.
fn work(mut command: Command, acknowledged: &Mutex<Told>, enough: &AtomicBool) {
    while !enough.load(Ordering::Relaxed) {
        let output = command.output().unwrap();
        match code(&output) {
            0 => {
                let mut acknowledged = acknowledged.lock().unwrap();
                // What comes after the cut says nothing of before.
                if !enough.load(Ordering::Relaxed) {
                    acknowledged.add(&json(&output));
                }
            }
            UNAVAILABLE => thread::sleep(Duration::from_millis(50)),
            other => panic!("{other}: {} {}", text(&output.stdout), text(&output.stderr)),
        }
    }
}

fn signal(process: u32, signal: &str) {
    let sent = Command::new("kill").args([format!("-{signal}"), process.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Copies a file with holes.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["--sparse=always", "--reflink=never"]).args([from, to]).status().unwrap();
    assert!(copied.success());
}
