//! Bits that flip in the files of a node.

use super::{
    hospital::{self, BAD, GOOD, NOTICED_IN, log_of, read, recover},
    people::{Told, while_people_work},
    tools::{Dice, asked},
};
use crate::{
    harness::{json, text, within},
    network::Network,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

/// The kinds of files that a node keeps, by what is in their paths, and whether they are the newest one that is asked for.
const KINDS: [(&str, &[&str]); 14] = [
    ("votes", &["engine/", "-votes-"]),
    ("blocks", &["engine/", "-blocks-values/"]),
    ("tables", &["ledger/", ".sst"]),
    ("log", &["ledger/", ".log"]),
    ("secrets", &["custodian/keys/bucket-"]),
    ("certificates", &["engine/", "-certificates-"]),
    ("blocks' keys", &["engine/", "-blocks-keys/"]),
    ("blocks' lists", &["engine/", "-blocks-ordinal/"]),
    ("blocks' metadata", &["engine/", "-blocks-metadata/"]),
    ("progress", &["engine/", "-marshal-"]),
    ("manifest", &["ledger/MANIFEST"]),
    ("current", &["ledger/CURRENT"]),
    ("keys of secrets", &["custodian/keys/table-"]),
    ("marks", &["votes.marks"]),
];

/// What the record has in it that is asked for.
const CONTENT: &str = "as it was written";
/// Flips of one network: enough for it to become old, so that there is much to have again.
const FLIPS_OF_A_NETWORK: usize = 50;
/// How often a node may end because of what is read only when somebody asks for it.
const ENDS: usize = 4;

/// What became of flips.
#[derive(Default)]
struct Flips {
    acknowledged: usize,
    /// How many there were, and how many were told, by kind.
    by_kind: BTreeMap<&'static str, (usize, usize)>,
}

/// Flips a bit of one file after the other: of a node that is stopped, and of one that runs.
pub(crate) fn flip_here_and_there() {
    let flips = asked("DMDL_BIT_FLIPS", 3);
    let (mut dice, mut done) = (Dice::new(4), Flips::default());
    for first in (0..flips).step_by(FLIPS_OF_A_NETWORK) {
        done.make_in_one_network(first..flips.min(first + FLIPS_OF_A_NETWORK), &mut dice);
    }
    let Flips { acknowledged, by_kind } = done;
    let (made, told) = by_kind.values().fold((0, 0), |(made, told), kind| (made + kind.0, told + kind.1));
    eprintln!(
        "{made} bit flips: {told} told and repaired, the others harmless, 0 shown; {acknowledged} transactions acknowledged, \
         none lost; by kind, flipped and told: {by_kind:?}"
    );
}

impl Flips {
    fn make_in_one_network(&mut self, numbers: Range<usize>, dice: &mut Dice) {
        let mut network = hospital::generate();
        network.start_all();
        let record = network.register(GOOD, CONTENT);
        let mut told = Told::default();
        for number in numbers {
            // Something of every kind is there, and something is new.
            told.extend(while_people_work(&mut network, &[GOOD], |_| thread::sleep(Duration::from_secs(1))));
            // What was damaged before may be met only now, when the database tidies up.
            if let Some(code) = hospital::catch_up(&mut network, BAD) {
                assert_eq!(code, 74, "{}", read(&log_of(&network)));
                heal(&mut network, &record, &told);
            }
            let (kind, parts) = KINDS[number % KINDS.len()];
            let runs = number % 3 == 2;
            if !runs {
                network.stop(BAD);
            }
            let Some(flipped) = flip(&network.node(BAD).join("data"), parts, dice) else {
                eprintln!("there is no file of kind {kind} now");
                if !runs {
                    network.start(BAD);
                }
                continue;
            };
            // Whatever is read of it now is told or right; then the node is started anew.
            let ends = runs && matches!(look(&mut network, &record, &told), Seen::Ended);
            if runs && !ends {
                network.kill(BAD);
            }
            let said = heal(&mut network, &record, &told);
            let is_told = ends || said.lines().any(tells);
            let counts = self.by_kind.entry(kind).or_default();
            *counts = (counts.0 + 1, counts.1 + usize::from(is_told));
            eprintln!("flip {number}, {flipped}: {}", if is_told { "told" } else { "harmless" });
        }
        told.assert_in_trail(&network, GOOD);
        assert_eq!(network.open(GOOD, &record), CONTENT.as_bytes());
        self.acknowledged += told.len();
    }
}

/// Whether a line tells of a flip. What was lost for good with an earlier one is told at every start.
fn tells(line: &str) -> bool {
    let is_new = !line.contains("a file of the custodian is missing");
    is_new && ["damaged", "ERROR", "Corrupt"].iter().any(|word| line.contains(word))
}

/// Flips a bit of a file in whose path these are, one after the other; says where, if there is one.
fn flip(data: &Path, parts: &[&str], dice: &mut Dice) -> Option<String> {
    let mut files = Vec::new();
    list(data, &mut files);
    files.retain(|file| {
        let mut rest = file.to_str().unwrap();
        !rest.contains("/damaged/")
            && parts.iter().all(|part| match rest.split_once(part) {
                Some((_, after)) => {
                    rest = after;
                    true
                }
                None => false,
            })
    });
    files.retain(|file| fs::metadata(file).is_ok_and(|meta| meta.len() > 0));
    files.sort();
    if files.is_empty() {
        return None;
    }
    // As often the newest as any.
    let file = if dice.roll(2) == 0 { files.last().unwrap() } else { dice.pick(&files) };
    let mut bytes = fs::read(file).unwrap();
    // What is not 0 is more often something than padding.
    let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let at = if written.is_empty() { dice.roll(bytes.len()) } else { *dice.pick(&written) };
    let bit = dice.roll(8);
    bytes[at] ^= 1 << bit;
    let one = std::os::unix::fs::FileExt::write_all_at;
    one(&fs::File::options().write(true).open(file).unwrap(), &bytes[at..=at], at as u64).unwrap();
    Some(format!("bit {bit} of byte {at} of {}", file.strip_prefix(data).unwrap().display()))
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => list(&path, files),
            false => files.push(path),
        }
    }
}

/// What comes of a look at what a node has.
enum Seen {
    /// All of it, and right.
    Whole,
    /// It refuses, and says this.
    Refused(String),
    /// The node has ended, as one whose disk is bad.
    Ended,
}

/// Starts a node that has ended until it stays, whatever it is asked for, and shows all; gives what it said on the way.
fn heal(network: &mut Network, record: &str, told: &Told) -> String {
    let mut said = Vec::new();
    for _ in 0..ENDS {
        said.extend(recover(network, BAD));
        let mut refused = String::new();
        let seen = within(NOTICED_IN, || match look(network, record, told) {
            Seen::Refused(why) => {
                refused = why;
                None
            }
            seen => Some(seen),
        });
        said.push(read(&log_of(network)));
        match seen {
            Some(Seen::Ended) => {}
            Some(_) => return said.join("\n"),
            None => panic!("a node is not whole again: {refused} {said:#?}"),
        }
    }
    panic!("a node ends again and again: {said:#?}");
}

/// Has a node read what it has; what it shows is right.
fn look(network: &mut Network, record: &str, told: &Told) -> Seen {
    let mut seen = Seen::Whole;
    for look in [look_at_trail, look_at_record, look_into_record] {
        match look(network, record, told) {
            Ok(()) => {}
            Err(Seen::Ended) => return Seen::Ended,
            Err(refused) => seen = refused,
        }
    }
    seen
}

fn look_at_trail(network: &mut Network, _: &str, told: &Told) -> Result<(), Seen> {
    let bundle = network.folder().join("looked.bundle");
    let _ = fs::remove_file(&bundle);
    ask(network, "officer", &["audit", "export", "--out", bundle.to_str().unwrap()])?;
    told.assert_in_bundle(network, &fs::read(&bundle).unwrap());
    Ok(())
}

fn look_at_record(network: &mut Network, record: &str, _: &Told) -> Result<(), Seen> {
    assert_eq!(ask(network, "owner", &["record", "show", record])?["record"], record);
    Ok(())
}

fn look_into_record(network: &mut Network, record: &str, _: &Told) -> Result<(), Seen> {
    let opened = network.folder().join("looked");
    let _ = fs::remove_file(&opened);
    let request = ["access", "request", record, "--purpose", "HMB", "--reason", "a study"];
    let asked = ask(network, "researcher", &request)?;
    let open = ["access", "open", asked["request"].as_str().unwrap(), "--out", opened.to_str().unwrap()];
    ask(network, "researcher", &open)?;
    assert_eq!(fs::read(&opened).unwrap(), CONTENT.as_bytes());
    Ok(())
}

/// What a node answers.
fn ask(network: &mut Network, who: &str, args: &[&str]) -> Result<Value, Seen> {
    let mut command = network.command(BAD, who, args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    while command.try_wait().unwrap().is_none() {
        if let Some(code) = network.ended(BAD) {
            assert_eq!(code, 74, "{}", read(&log_of(network)));
            // It would go on asking for a while.
            command.kill().unwrap();
            command.wait().unwrap();
            return Err(Seen::Ended);
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = command.wait_with_output().unwrap();
    if output.status.success() { Ok(json(&output)) } else { Err(Seen::Refused(text(&output.stdout).to_owned())) }
}
