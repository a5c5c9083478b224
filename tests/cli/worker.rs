//! Somebody who registers, asks and opens, again and again, at a network that comes and goes, and holds it to what it said.

use crate::harness::{UNAVAILABLE, Up, code, json, text};
use dmdl_types::bundle::Report;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Openings of each record, one after the other: some of them are interrupted.
const OPENINGS: usize = 8;
/// How long somebody goes on trying while the network comes and goes.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a command ends with when there is nothing of the kind, or nothing that one may know of.
const UNKNOWN: i32 = 4;

/// Where somebody works.
pub(crate) trait Desk {
    /// A command of somebody; which gateway it turns to is the desk's affair.
    fn command(&self, who: &str, args: &[&str]) -> Command;

    /// A folder of their own.
    fn folder(&self) -> &Path;

    /// Whether a command may come to a gateway that does not know yet what another one has acknowledged: it says so by
    /// knowing nothing (docs/adr/0014-reads.md), and is asked again.
    fn turns_to_others(&self) -> bool {
        false
    }
}

impl Desk for Up {
    fn command(&self, who: &str, args: &[&str]) -> Command {
        self.command(who, args)
    }

    fn folder(&self) -> &Path {
        self.folder()
    }
}

/// What somebody was told.
#[derive(Default)]
pub(crate) struct Told {
    /// Verdicts of transactions, by id.
    verdicts: BTreeMap<String, &'static str>,
    /// What active records hold, by id.
    active: BTreeMap<String, Vec<u8>>,
    /// How often a grant was used, by its request.
    used: BTreeMap<String, u64>,
    /// Openings that were interrupted and resumed.
    resumed: usize,
    /// The longest that anything took.
    longest: Duration,
}

/// Works until told to stop.
pub(crate) fn work(desk: &impl Desk, stop: &AtomicBool) -> Told {
    let mut told = Told::default();
    let mut round = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let content = format!("round {round}").into_bytes();
        let file = desk.folder().join("content");
        fs::write(&file, &content).unwrap();
        let register = ["record", "register", file.to_str().unwrap(), "--policy", "research-auto"];
        let said = told.insist(desk, "owner", &register);
        let record = said["record"].as_str().unwrap().to_owned();
        told.verdicts.insert(said["transaction"].as_str().unwrap().to_owned(), "applied");
        if said["state"] != "ACTIVE" {
            continue;
        }
        told.active.insert(record.clone(), content.clone());
        for _ in (0..OPENINGS).take_while(|_| !stop.load(Ordering::Relaxed)) {
            let ask = ["access", "request", &record, "--purpose", "HMB", "--reason", "a study", "--uses", "2"];
            let asked = told.insist(desk, "researcher", &ask);
            let request = asked["request"].as_str().unwrap().to_owned();
            told.verdicts.insert(request.clone(), "allow");
            assert_eq!(told.open(desk, &request), content);
        }
    }
    told
}

impl Told {
    /// Runs a command until the network answers it.
    fn insist(&mut self, desk: &impl Desk, who: &str, args: &[&str]) -> Value {
        let begun = Instant::now();
        loop {
            let output = desk.command(who, &[args, &["--json"]].concat()).output().unwrap();
            match code(&output) {
                0 => {
                    self.longest = self.longest.max(begun.elapsed());
                    return json(&output);
                }
                UNAVAILABLE => {}
                UNKNOWN if desk.turns_to_others() => {}
                other => panic!("{who}: {args:?} ended with {other}: {}", text(&output.stdout)),
            }
            assert!(begun.elapsed() < PATIENCE, "{who}: {args:?}: {}", text(&output.stdout));
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Opens a record once; what is interrupted after it was ordered is resumed, not begun anew.
    fn open(&mut self, desk: &impl Desk, request: &str) -> Vec<u8> {
        let out = desk.folder().join("opened");
        let _ = fs::remove_file(&out);
        let (begun, mut transaction) = (Instant::now(), None::<String>);
        loop {
            let mut command = desk.command("researcher", &["access", "open", request, "--out"]);
            command.arg(&out);
            if let Some(transaction) = &transaction {
                command.args(["--transaction", transaction]);
            }
            let output = command.output().unwrap();
            let said = text(&output.stderr).to_owned();
            let named = |line: &str| line.rsplit_once("decryption ").map(|(_, id)| id.trim().to_owned());
            let named = said.lines().find_map(named);
            match code(&output) {
                0 => {
                    let id = named.or(transaction).expect("the decryption is named");
                    self.verdicts.insert(id, "allow");
                    *self.used.entry(request.to_owned()).or_default() += 1;
                    self.longest = self.longest.max(begun.elapsed());
                    return fs::read(out).unwrap();
                }
                UNAVAILABLE => {
                    if let Some(id) = named {
                        self.resumed += usize::from(transaction.is_none());
                        transaction = Some(id);
                    }
                }
                // Before anything was ordered.
                UNKNOWN if named.is_none() && desk.turns_to_others() => {}
                other => panic!("opening ended with {other}: {said}"),
            }
            assert!(begun.elapsed() < PATIENCE, "{said}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Nothing that was said to be final is missing or changed in a trail.
    pub(crate) fn assert_all_in(&self, trail: &Report) {
        let verdicts: BTreeMap<String, Value> = (trail.events.iter())
            .filter(|(_, event)| event.item == 0)
            .map(|(_, event)| (event.transaction.to_string(), serde_json::to_value(event.outcome.verdict).unwrap()))
            .collect();
        for (transaction, verdict) in &self.verdicts {
            let found = verdicts.get(transaction).unwrap_or_else(|| panic!("transaction {transaction} is gone"));
            assert_eq!(found, verdict, "{transaction}");
        }
    }

    /// Every record that was said to be active opens, and an interrupted opening counted one use.
    pub(crate) fn assert_kept(&mut self, desk: &impl Desk) {
        assert!(!self.active.is_empty(), "something was done between the kills");
        let out = desk.folder().join("kept");
        for (record, content) in self.active.clone() {
            let _ = fs::remove_file(&out);
            self.insist(desk, "owner", &["access", "open", &record, "--out", out.to_str().unwrap()]);
            assert_eq!(fs::read(&out).unwrap(), content, "{record}");
        }
        for (request, used) in self.used.clone() {
            let shown = self.insist(desk, "researcher", &["access", "show", &request]);
            assert_eq!(shown["grant"]["used"], used, "{shown}");
        }
    }

    /// What it came to.
    pub(crate) fn summary(&self) -> String {
        let Self { verdicts, active, resumed, longest, .. } = self;
        let (verdicts, active, longest) = (verdicts.len(), active.len(), longest.as_secs_f32());
        format!(
            "{verdicts} transactions acknowledged, {active} records active, {resumed} openings resumed, \
             nobody waited longer than {longest:.1} s; nothing lost"
        )
    }
}
