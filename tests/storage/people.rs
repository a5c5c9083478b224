//! People at work, and what they were told.

use crate::{
    harness::{UNAVAILABLE, code, json, text},
    network::Network,
};
use dmdl::network_file::NetworkFile;
use dmdl_types::bundle;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// What somebody does again and again: puts a new record on the ledger.
const CALL: [&str; 8] = [
    "contract",
    "invoke",
    "medical",
    "initialMedical",
    "--arg",
    "type=application/dicom",
    "--arg",
    "source=ward 3, scanner 2",
];

/// The transactions that a gateway has acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Told(Vec<String>);

impl Told {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Adds what a command says that ended well.
    pub(crate) fn add(&mut self, said: &Value) {
        self.0.push(said["transaction"].as_str().unwrap().to_owned());
    }

    /// Asserts that the trail, as one gateway exports it, has each of them once, and verifies from the pinned genesis.
    pub(crate) fn assert_in_trail(&self, network: &Network, at: usize) {
        self.assert_in_bundle(network, &fs::read(network.assert_trail_verifies(at)).unwrap());
    }

    /// The same of a trail that was exported.
    pub(crate) fn assert_in_bundle(&self, network: &Network, exported: &[u8]) {
        let pin = NetworkFile::read(&network.folder().join("network.toml")).unwrap();
        let trail = bundle::verify(exported, &pin.genesis.founding()).unwrap();
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for (_, event) in &trail.events {
            *found.entry(event.transaction.to_string()).or_default() += 1;
        }
        for transaction in &self.0 {
            assert_eq!(found.get(transaction), Some(&1), "{transaction} was acknowledged");
        }
    }
}

/// The command of somebody who works at a gateway.
pub(crate) fn command(network: &Network, at: usize) -> Command {
    network.command(at, "owner", &CALL)
}

/// Works until it is enough; what is not acknowledged is nobody's promise. Only an unavailable gateway may refuse.
pub(crate) fn work(mut command: Command, enough: &AtomicBool) -> Told {
    let mut told = Told::default();
    while !enough.load(Ordering::Relaxed) {
        let output = command.output().unwrap();
        match code(&output) {
            0 => told.add(&json(&output)),
            UNAVAILABLE => thread::sleep(Duration::from_millis(50)),
            other => panic!("{other}: {} {}", text(&output.stdout), text(&output.stderr)),
        }
    }
    told
}

/// Does something while people work at these gateways, and gives what they were told.
pub(crate) fn while_people_work(network: &mut Network, at: &[usize], act: impl FnOnce(&mut Network)) -> Told {
    let commands: Vec<Command> = at.iter().map(|at| command(network, *at)).collect();
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = commands.into_iter().map(|command| scope.spawn(|| work(command, &enough))).collect();
        let until = Until(&enough);
        act(network);
        drop(until);
        let mut told = Told::default();
        for worker in workers {
            told.extend(worker.join().unwrap());
        }
        told
    })
}

/// Says that it is enough, also when a test fails meanwhile.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
