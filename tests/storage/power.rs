//! Power cuts: what is left of a disk is what was synced, and some of what was not.
//!
//! `DMDL_RESUMES_S` is the most seconds that the network may take until it goes on after one.

use super::{
    hospital::{self, GOOD, height},
    people::{self, Registrar, Told, Until},
    tools::{Dice, Mounted, asked, can_mount},
};
use crate::{
    harness::{UNAVAILABLE, assert_resumed, code, json, text},
    network::{Network, in_time},
};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const DISK_MIB: u64 = 512;
/// As many of the newest records are opened after each cut, and as many of all in the end.
const NEWEST: usize = 2;
const OPENED: usize = 30;

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
    let mut registrar = Registrar::new(&network, 2);
    let (mut told, mut slowest) = (Told::default(), Duration::ZERO);
    for cut in 0..cuts {
        let acknowledged = Mutex::new(Told::default());
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            let (acknowledged, until, enough) = (&acknowledged, Until(&enough), &enough);
            for position in [GOOD, 1] {
                let mut command = people::command(&network, position);
                scope.spawn(move || work(|| (command.output().unwrap(), None), acknowledged, enough));
            }
            let registrar = &mut registrar;
            let registering = scope.spawn(move || {
                let register = || {
                    let (output, content) = registrar.register();
                    (output, Some(content))
                };
                work(register, acknowledged, enough);
            });
            // Else a slow machine would be cut before anything is promised of a payload.
            in_time("a record is registered", || {
                assert!(!registering.is_finished(), "nobody can register any more");
                (acknowledged.lock().unwrap().records() > 0).then_some(())
            });
            thread::sleep(Duration::from_millis(500 + dice.roll(2500) as u64));
            for position in 0..network.ids.len() {
                signal(network.pid(position), "STOP");
            }
            // What people know by now is promised; what is on the disk by now is all that is left of it.
            drop(until);
            told.extend(std::mem::take(&mut acknowledged.lock().unwrap()));
            copy(&image, &image.with_extension("cut"));
            for position in 0..network.ids.len() {
                network.kill(position);
            }
        });
        drop(disk);
        fs::rename(image.with_extension("cut"), &image).unwrap();
        disk = Mounted::image(&image, &at);
        let took = go_on(&mut network, cut);
        assert_resumed(&format!("cut {cut}"), took);
        slowest = slowest.max(took);
        told.assert_in_trail(&network, dice.roll(4));
        told.assert_newest_open(&network, dice.roll(4), NEWEST);
    }
    assert_eq!(network.open(1, &record), b"before the cut");
    told.assert_kept(&network, GOOD, OPENED);
    for position in 0..network.ids.len() {
        network.stop(position);
    }
    drop(disk);
    eprintln!(
        "{cuts} power cuts of all nodes: {} transactions acknowledged, {} of them with payloads, none lost; back within \
         {:.1} s",
        told.len(),
        told.records(),
        slowest.as_secs_f64()
    );
}

/// Starts all nodes. Gives how long it takes from the start of the last one until there are new blocks, and all have them.
fn go_on(network: &mut Network, cut: usize) -> Duration {
    let mut last_started = Instant::now();
    for position in 0..network.ids.len() {
        last_started = Instant::now();
        let said = network.start(position);
        assert_eq!(said["votes"], true, "cut {cut}: a torn write is no lost vote");
    }
    let look = |position| in_time("a node answers", || height(network, position));
    // A block that one of them had before is no new one.
    let before = (0..network.ids.len()).map(look).max().unwrap();
    for position in 0..network.ids.len() {
        in_time("all go on by themselves", || (height(network, position)? > before).then_some(()));
    }
    last_started.elapsed()
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

/// Works until it is enough, and writes down at once what was acknowledged, with the content of a letter that was registered.
fn work(mut act: impl FnMut() -> (Output, Option<String>), acknowledged: &Mutex<Told>, enough: &AtomicBool) {
    while !enough.load(Ordering::Relaxed) {
        let (output, letter) = act();
        match code(&output) {
            0 => {
                let mut acknowledged = acknowledged.lock().unwrap();
                // What comes after the cut says nothing of before.
                if !enough.load(Ordering::Relaxed) {
                    match letter {
                        Some(content) => acknowledged.add_letter(&json(&output), content),
                        None => acknowledged.add(&json(&output)),
                    }
                }
            }
            // That the gateway stopped in the middle, too. What may be of it, nobody was promised.
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
