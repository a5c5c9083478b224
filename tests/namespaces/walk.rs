//! A stranger's walk through docs/operations.md: its commands, as they are printed, on a host for each hospital.

use super::lan::{Lan, address};
use crate::harness::{eventually, text};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// The nodes; the page is written for the first one.
const NAMES: [&str; 4] = ["north", "south", "east", "west"];
/// From when on there is a network that should be well.
const STARTED_BY: &str = "Start";
/// What makes a namespace a host.
const HOST: &str = include_str!("host.sh");

/// Commands of the page.
struct Block {
    /// The heading that they stand under.
    section: String,
    /// Where they are given: `on=north`, or `on=each`, where each host has its own name for `north`.
    on_each: bool,
    /// They help after the first host was lost: `after=loss`.
    after_loss: bool,
    commands: String,
}

/// The commands of the page, in their order. That each of them is marked with where it is given, is a test.
fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut section, mut lines) = (Vec::new(), "", page.lines());
    while let Some(line) = lines.next() {
        section = line.strip_prefix("## ").unwrap_or(section);
        let Some(marks) = line.strip_prefix("```sh") else { continue };
        let commands: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let (on_each, after_loss) = match marks {
            " on=each" => (true, false),
            " on=north" => (false, false),
            " on=north after=loss" => (false, true),
            other => panic!("`{section}` has commands that are given nowhere: `{other}`"),
        };
        blocks.push(Block { section: section.to_owned(), on_each, after_loss, commands: commands.join("\n") });
    }
    blocks
}

/// What the sections with these commands quote of what a node says; `…` may be anything.
fn quotes(page: &str, blocks: &[Block]) -> Vec<String> {
    let walked = |section: &&str| {
        let heading = section.lines().next();
        blocks.iter().any(|block| heading == Some(&block.section))
    };
    let sections = page.split("\n## ").filter(walked);
    let said = sections.flat_map(|section| section.split("says `").skip(1).filter_map(|rest| rest.split('`').next()));
    said.map(|quote| quote.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Whether a text has the parts of a quotation, one after the other.
fn has(text: &str, quote: &str) -> bool {
    let mut parts = quote.split('…');
    parts.try_fold(text, |rest, part| rest.split_once(part).map(|(_, rest)| rest)).is_some()
}

/// Four hosts, and a file server.
struct Hosts {
    lan: Lan,
    dir: TempDir,
}

impl Hosts {
    fn new(mut lan: Lan) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("vault")).unwrap();
        fs::set_permissions(dir.path().join("vault"), fs::Permissions::from_mode(0o777)).unwrap();
        let numbers = (1..).zip(NAMES);
        let known: Vec<String> =
            numbers.clone().map(|(own, name)| format!("{} {}\n", address(own), full(name))).collect();
        for (own, name) in numbers {
            lan.add(name);
            lan.connect(name, "eth0", own);
        }
        let hosts = Self { lan, dir };
        NAMES.iter().for_each(|name| hosts.install(name, &known.concat()));
        hosts
    }

    /// The disks of a host as they are before anybody does anything: the system's settings, and a home with the program
    /// in it.
    fn install(&self, name: &str, known: &str) {
        let (disks, program) = (self.disks(name), Path::new(env!("CARGO_BIN_EXE_dmdl")));
        let built = disks.join("home/.cache/dmdl/target/release");
        for folder in ["var/lib", "usr/local/bin", "usr/share/doc"].map(|folder| disks.join(folder)) {
            fs::create_dir_all(folder).unwrap();
        }
        fs::create_dir_all(&built).unwrap();
        symlink(program, built.join("dmdl")).unwrap();
        symlink(env!("CARGO_MANIFEST_DIR"), disks.join("home/dmdl")).unwrap();
        let copied = Command::new("cp").args(["-a", "/etc"]).arg(&disks).output().unwrap();
        assert!(copied.status.success(), "{}", text(&copied.stderr));
        fs::create_dir_all(disks.join("etc/systemd/system")).unwrap();
        fs::write(disks.join("etc/fstab"), "").unwrap();
        fs::write(disks.join("etc/hosts"), format!("127.0.0.1 localhost\n{known}")).unwrap();
        for table in ["passwd", "shadow", "group", "gshadow"].map(|table| disks.join("etc").join(table)) {
            // This machine may run nodes, too.
            let lines = fs::read_to_string(&table).unwrap_or_default();
            let others = lines.lines().filter(|line| !line.starts_with("dmdl:"));
            fs::write(&table, others.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        }
    }

    /// Gives commands on a host as its administrator, and gives what they say; they must go well.
    fn give(&self, name: &str, commands: &str) -> String {
        let disks = self.disks(name);
        let mut shell = Command::new("bash");
        shell
            .args(["-c", &format!("{HOST}\n{commands}")])
            .env("HOME", disks.join("home"))
            .env("HOST", &disks)
            .env("HOSTS", self.dir.path())
            .env("VAULT", self.dir.path().join("vault"));
        let output = self.lan.on(name, &shell).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let journal = || fs::read_to_string(self.disks(name).join("journal")).unwrap_or_default();
        let erred = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "on {name}:\n{commands}\n{said}{erred}\njournal of {name}:\n{}", journal());
        said
    }

    /// How many blocks a node has executed, as its gateway says.
    fn height(&self, name: &str) -> u64 {
        let ask = format!("dmdl --network network.toml --gateway https://{}:7400 --json status", full(name));
        // The last line: each one before it says that nobody answered.
        let said = self.give(NAMES[0], &ask);
        let status: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        status["channels"][0]["height"].as_u64().unwrap()
    }

    /// Waits until every node has what any of them has now, and a block more.
    fn settle(&self) {
        let goal = NAMES.iter().map(|name| self.height(name)).max().unwrap() + 1;
        for name in NAMES {
            eventually("a node has caught up", || (self.height(name) >= goal).then_some(()));
        }
    }

    /// The host's node is gone at once, and what it had on disk.
    fn lose(&self, name: &str) {
        self.give(name, "kill -KILL \"$(cat \"$HOST/process\")\"; await_end \"$(cat \"$HOST/process\")\"");
        fs::remove_dir_all(self.disks(name).join("var/lib/dmdl")).unwrap();
    }

    fn disks(&self, name: &str) -> PathBuf {
        self.dir.path().join(full(name))
    }
}

/// The name of a node's host in the example.
fn full(name: &str) -> String {
    format!("dmdl.{name}.example")
}

#[test]
fn whoever_follows_the_page_on_operations_has_a_network_and_brings_a_lost_node_back() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let blocks = blocks(&page);
    let Some(lan) = Lan::new() else { return };
    let hosts = Hosts::new(lan);
    let mut has_started = false;
    for Block { section, on_each, after_loss, commands } in &blocks {
        has_started |= section == STARTED_BY;
        for name in &NAMES[..if *on_each { NAMES.len() } else { 1 }] {
            // Who looks after a network does one thing after the other.
            if has_started && section != STARTED_BY {
                hosts.settle();
            }
            if *after_loss {
                hosts.lose(name);
            }
            hosts.give(name, &commands.replace(NAMES[0], name));
        }
    }
    hosts.settle();
    let journal = fs::read_to_string(hosts.disks(NAMES[0]).join("journal")).unwrap();
    let quotes = quotes(&page, &blocks);
    assert!(quotes.iter().any(|quote| quote.starts_with("Node … of north-hospital is up as ")), "{quotes:?}");
    for quote in quotes {
        assert!(has(&journal, &quote), "`{quote}` is nothing that a node has said:\n{journal}");
    }
}
