//! People at work, and what they were told.

use super::tools::Dice;
use crate::{
    harness::{UNAVAILABLE, code, json, str, text},
    network::Network,
};
use dmdl::network_file::NetworkFile;
use dmdl_types::bundle;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Command, Output},
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

/// The lines of the longest letter: some chunks of a payload.
const LINES_MAX: usize = 2_000;

/// The transactions that a gateway has acknowledged, and the records with payloads that these registered.
#[derive(Debug, Default)]
pub(crate) struct Told {
    transactions: Vec<String>,
    records: Vec<Letter>,
}

/// A record, and what was sealed.
#[derive(Debug)]
struct Letter {
    record: String,
    content: String,
    /// Whether enough custodians have its shares, as somebody was told.
    is_active: bool,
}

impl Told {
    pub(crate) fn len(&self) -> usize {
        self.transactions.len()
    }

    /// How many records with payloads.
    pub(crate) fn records(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.transactions.extend(other.transactions);
        self.records.extend(other.records);
    }

    /// Adds what a command says that ended well.
    pub(crate) fn add(&mut self, said: &Value) {
        self.transactions.push(said["transaction"].as_str().unwrap().to_owned());
    }

    /// Adds what the registration of a letter says.
    pub(crate) fn add_letter(&mut self, said: &Value, content: String) {
        self.add(said);
        let (record, is_active) = (said["record"].as_str().unwrap().to_owned(), said["state"] == "ACTIVE");
        self.records.push(Letter { record, content, is_active });
    }

    /// Asserts that as many of the newest records open at a gateway, to what was sealed.
    pub(crate) fn assert_newest_open(&self, network: &Network, at: usize, count: usize) {
        self.records.iter().rev().take(count).for_each(|letter| letter.assert_opens(network, at));
    }

    /// Asserts that the payload of every record is what was registered, and that about as many of them, spread over all,
    /// open.
    pub(crate) fn assert_kept(&self, network: &Network, at: usize, opened: usize) {
        let step = self.records.len().div_ceil(opened).max(1);
        for (number, letter) in self.records.iter().enumerate() {
            let verified = network.ok(at, "owner", &["record", "verify", &letter.record]);
            assert_eq!(verified["intact"], true, "{verified}");
            if number % step == 0 {
                letter.assert_opens(network, at);
            }
        }
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
        for transaction in &self.transactions {
            assert_eq!(found.get(transaction), Some(&1), "{transaction} was acknowledged");
        }
    }
}

impl Letter {
    /// Asserts that its owner can open it at a gateway. Nobody was promised that of a record that is not active yet.
    fn assert_opens(&self, network: &Network, at: usize) {
        let Self { record, content, is_active } = self;
        if !is_active {
            return;
        }
        let out = network.folder().join("letter.opened");
        let _ = fs::remove_file(&out);
        network.ok(at, "owner", &["access", "open", record, "--out", str(&out)]);
        assert!(fs::read(&out).unwrap() == content.as_bytes(), "record {record} opens to something else");
    }
}

/// Somebody who registers letters at a gateway, one after the other: short ones and long ones.
pub(crate) struct Registrar {
    command: Command,
    file: PathBuf,
    dice: Dice,
    number: usize,
}

impl Registrar {
    pub(crate) fn new(network: &Network, at: usize) -> Self {
        let file = network.folder().join("letter");
        let command = network.command(at, "owner", &["record", "register", str(&file), "--policy", "research-auto"]);
        Self { command, file, dice: Dice::new(6), number: 0 }
    }

    /// Registers another one, and waits as the command does until it is active; gives what came of it, and what it holds.
    pub(crate) fn register(&mut self) -> (Output, String) {
        self.number += 1;
        let content = format!("a line of letter {}\n", self.number).repeat(1 + self.dice.roll(LINES_MAX));
        fs::write(&self.file, &content).unwrap();
        (self.command.output().unwrap(), content)
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
pub(crate) struct Until<'a>(pub(crate) &'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
