//! Four organisations with seven nodes, each a process on a host of its own, and two channels with different members.

use super::{
    canaries::Canaries,
    lan::{Lan, SWITCH, address},
    tape::Tape,
};
use crate::harness::{UNAVAILABLE, code, dmdl, eventually, first_line, json, stop, str, text};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
};
use tempfile::TempDir;

const ALL: &[&str] = &["endorser", "orderer", "committer", "custodian", "gateway"];

/// A node: its name, which is that of its host, its organisation, and its roles, in each channel that it is on.
type Seat = (&'static str, &'static str, &'static [&'static str]);

/// The network.
///
/// A channel needs four orderers of which no organisation runs more than one, and a custodian at most in each: of four
/// organisations, then, each runs an orderer that is on every channel. Those of `north` have one role each; who is
/// on one channel and not on the other is an endorser, a keeper of shares, and a gateway.
pub(crate) const SEATS: [Seat; 7] = [
    ("north-order", "north", &["orderer"]),
    ("north-keep", "north", &["committer", "custodian"]),
    ("north-endorse", "north", &["endorser"]),
    ("south", "south", ALL),
    ("east", "east", ALL),
    ("west", "west", ALL),
    ("west-door", "west", &["gateway"]),
];
const ORGS: [&str; 4] = ["north", "south", "east", "west"];
/// Each has what the processes of one channel must not learn of the other; all are on the network's first channel.
static CHANNELS: [Plan; 2] = [
    Plan { outsiders: &["north-endorse", "west-door"], doors: ["south", "east", "west"] },
    Plan { outsiders: &["north-keep"], doors: ["west-door", "west-door", "east"] },
];
/// Who is on a channel, with their organisations, by the door that they come by.
const PEOPLE: [(&str, &str, usize); 4] =
    [("owner", "south", 0), ("committee", "south", 0), ("researcher", "east", 1), ("officer", "west", 2)];

/// A host without a cable, where things are verified.
pub(crate) const NOWHERE: &str = "nowhere";
const NODE_PORT: u16 = 7401;
const GATEWAY_PORT: u16 = 7400;

/// A channel that is not founded yet.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The nodes that are not on it.
    pub(crate) outsiders: &'static [&'static str],
    /// At which gateways the owner's side, the researcher and the officer are.
    doors: [&'static str; 3],
}

/// A channel with its people, and what nobody else may know.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) plan: &'static Plan,
    /// What its members know.
    pub(crate) canaries: Canaries,
    /// Where its people keep their files.
    pub(crate) folder: PathBuf,
    people: BTreeMap<&'static str, Person>,
    id: String,
}

impl Channel {
    /// Who has a role on the channel.
    pub(crate) fn person(&self, role: &str) -> &Person {
        &self.people[role]
    }
}

/// Somebody at a gateway, at work on one channel.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    key: PathBuf,
    home: PathBuf,
    gateway: String,
    channel: String,
}

/// The network, which stops with this value.
#[derive(Debug)]
pub(crate) struct Hospitals {
    processes: Vec<Child>,
    tapes: Vec<Tape>,
    // The last to go.
    lan: Lan,
    dir: TempDir,
}

fn number(position: usize) -> u8 {
    u8::try_from(position + 1).unwrap()
}

fn position(node: &str) -> usize {
    SEATS.iter().position(|(name, ..)| *name == node).unwrap()
}

/// Where people reach a gateway.
fn url(node: &str) -> String {
    format!("https://{}:{GATEWAY_PORT}", address(number(position(node))))
}

fn spec() -> String {
    let mut spec = String::from("[channel]\ncustody_threshold = 2\n");
    for (position, (name, org, roles)) in SEATS.iter().enumerate() {
        let own = address(number(position));
        write!(
            spec,
            "\n[[node]]\nname = \"{name}\"\norg = \"{org}\"\nroles = {roles:?}\naddress = \"{own}:{NODE_PORT}\"\n"
        )
        .unwrap();
        if roles.contains(&"gateway") {
            writeln!(spec, "gateway = {{ listen = \"{own}:{GATEWAY_PORT}\", url = \"{}\" }}", url(name)).unwrap();
        }
    }
    for org in ORGS {
        write!(spec, "\n[[person]]\norg = \"{org}\"\nname = \"admin-{org}\"\nrole = \"admin\"\n").unwrap();
    }
    spec
}

impl Hospitals {
    /// Generates the network, starts every node on its host, and founds both channels.
    pub(crate) fn start(mut lan: Lan) -> (Self, Vec<Channel>) {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["wire", "logs", "people"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        lan.add(NOWHERE);
        let mut tapes = Vec::new();
        for (position, (host, ..)) in SEATS.iter().enumerate() {
            lan.add(host);
            tapes.push(Tape::start(&lan, host, &dir.path().join("wire").join(host)));
            lan.connect(host, "eth0", number(position));
        }
        let mut hospitals = Self { processes: Vec::new(), tapes, lan, dir };
        let ids = hospitals.generate();
        SEATS.iter().for_each(|(host, org, roles)| hospitals.boot(host, org, roles));
        let found = |(number, plan)| hospitals.found(&format!("channel-{number}"), plan, &ids);
        let channels = CHANNELS.iter().enumerate().map(found).collect();
        (hospitals, channels)
    }

    /// Makes the network's folders, and gives the ids of its nodes.
    fn generate(&self) -> Vec<String> {
        let spec_file = self.path("spec.toml");
        fs::write(&spec_file, spec()).unwrap();
        let network = self.path("network");
        let generate = ["network", "generate", "--json", "--spec", str(&spec_file), "--out", str(&network)];
        let made = said(&dmdl().args(generate).output().unwrap());
        // All hosts see one vault.
        fs::create_dir(self.path("vault")).unwrap();
        for (host, ..) in SEATS {
            let own = self.folder(host).join("vault");
            fs::remove_dir(&own).unwrap();
            symlink(self.path("vault"), own).unwrap();
        }
        made["nodes"].as_array().unwrap().iter().map(|node| node["node"].as_str().unwrap().to_owned()).collect()
    }

    fn boot(&mut self, host: &str, org: &str, roles: &[&str]) {
        let mut command = dmdl();
        // Everything that a node has to say of what it does.
        command.env("DMDL_LOG", "debug").args(["node", "--json", "--config"]).arg(self.folder(host).join("node.toml"));
        let mut process = self
            .lan
            .on(host, &command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(self.log(host)).unwrap())
            .spawn()
            .unwrap();
        let up = first_line(process.stdout.take().unwrap());
        self.processes.push(process);
        assert_eq!(
            (&up["org"], &up["roles"], &up["votes"]),
            (&org.into(), &roles.into(), &true.into()),
            "{host}: {up}"
        );
    }

    /// Founds a channel as its people do: one admin drafts, the others approve.
    fn found(&self, folder: &str, plan: &'static Plan, ids: &[String]) -> Channel {
        let mut canaries = Canaries::new();
        let name = canaries.add_word("the channel's name");
        let folder = self.path("people").join(folder);
        fs::create_dir(&folder).unwrap();
        let mut described = format!("name = \"{name}\"\nendorsements = 2\ncustody_threshold = 2\n");
        for ((_, _, roles), id) in SEATS.iter().zip(ids).filter(|((host, ..), _)| !plan.outsiders.contains(host)) {
            // That a node is a gateway, its own file says.
            let roles: Vec<&str> = roles.iter().copied().filter(|role| *role != "gateway").collect();
            write!(described, "\n[[member]]\nnode = \"{id}\"\nroles = {roles:?}\n").unwrap();
        }
        let mut people = BTreeMap::new();
        for (role, org, door) in PEOPLE {
            let (called, key) = (canaries.add_word(&format!("the {role}'s name")), folder.join(format!("{role}.key")));
            let made = ["id", "new", "--no-passphrase", "--org", org, "--name", &called, "--role", role, "--out"];
            said(&dmdl().args(made).arg(&key).arg("--json").output().unwrap());
            let shown = said(&dmdl().args(["id", "show", "--json"]).arg(&key).output().unwrap());
            let public = canaries.add_id(&format!("the {role}'s key"), &shown["key"]);
            write!(
                described,
                "\n[[person]]\nkey = \"{public}\"\norg = \"{org}\"\nname = \"{called}\"\nrole = \"{role}\"\n"
            )
            .unwrap();
            let (home, gateway) = (folder.join(format!("{role}-home")), url(plan.doors[door]));
            people.insert(role, Person { key, home, gateway, channel: name.clone() });
        }
        let (file, charter) = (folder.join("channel.toml"), folder.join("charter"));
        fs::write(&file, described).unwrap();
        let admins = ORGS.map(|org| Person {
            key: self.path("network/identities").join(format!("admin-{org}.key")),
            home: folder.join(format!("admin-{org}-home")),
            gateway: url(plan.doors[0]),
            channel: "main".to_owned(),
        });
        let drafted = self.ok(&admins[0], &["channel", "create", str(&file), "--out", str(&charter)]);
        let id = canaries.add_id("the channel's id", &drafted["channel"]);
        for admin in &admins[1..] {
            self.ok(admin, &["channel", "approve", str(&charter)]);
        }
        self.ok(&admins[0], &["channel", "found", str(&charter)]);
        let channel = Channel { plan, canaries, folder, people, id };
        self.wait_founded(&channel);
        channel
    }

    /// Waits until all members of a channel have its charter, and their gateways blocks of it.
    fn wait_founded(&self, channel: &Channel) {
        for (host, ..) in SEATS.iter().filter(|(host, ..)| !channel.plan.outsiders.contains(host)) {
            let charter = self.folder(host).join("data/channels").join(&channel.id).join("charter");
            eventually("a member has the charter", || charter.exists().then_some(()));
        }
        for person in channel.people.values() {
            eventually("the channel makes blocks", || {
                // A gateway that is not on it yet knows of no such channel.
                let status = Some(self.run(person, &["status"])).filter(|output| code(output) == 0)?;
                (json(&status)["channels"][0]["height"].as_u64()? > 1).then_some(())
            });
        }
    }

    /// What a command of somebody ends with; people are where the switch is.
    pub(crate) fn run(&self, who: &Person, args: &[&str]) -> Output {
        self.run_from(SWITCH, who, args)
    }

    /// What a command of somebody ends with that is given on some host.
    pub(crate) fn run_from(&self, host: &str, who: &Person, args: &[&str]) -> Output {
        let mut command = dmdl();
        command
            .env("DMDL_NETWORK", self.path("network/network.toml"))
            .env("DMDL_HOME", &who.home)
            .env("DMDL_GATEWAY", &who.gateway)
            .env("DMDL_CHANNEL", &who.channel)
            .arg("--as")
            .arg(&who.key)
            .args(args)
            .arg("--json");
        self.lan.on(host, &command).stdin(Stdio::null()).output().unwrap()
    }

    /// What a command says that goes well, if need be after others that came too early.
    pub(crate) fn ok(&self, who: &Person, args: &[&str]) -> Value {
        said(&self.in_time(who, args))
    }

    /// What a command says that is denied.
    pub(crate) fn denied(&self, who: &Person, args: &[&str]) -> Value {
        let output = self.in_time(who, args);
        assert_eq!(code(&output), 3, "{args:?}: {} {}", text(&output.stdout), text(&output.stderr));
        json(&output)
    }

    fn in_time(&self, who: &Person, args: &[&str]) -> Output {
        eventually(&format!("{args:?}"), || Some(self.run(who, args)).filter(|output| code(output) != UNAVAILABLE))
    }

    /// Says something in clear to every host.
    pub(crate) fn mark_wires(&self, sign: &[u8]) {
        for position in 0..SEATS.len() {
            Tape::mark(&self.lan, SWITCH, address(number(position)), sign);
        }
    }

    /// Fails if a node that is not on a channel knows of it.
    pub(crate) fn check_outsiders(&self, channel: &Channel) {
        for host in channel.plan.outsiders {
            let told = channel.canaries.in_memory(self.process(host));
            assert_eq!(told, BTreeSet::new(), "in the memory of {host}, which is no member");
        }
    }

    /// Fails if a node knows what only people may read, or a member of a channel nothing of it: what is not found with
    /// others, this would find.
    pub(crate) fn check_insiders(&self, channel: &Channel, secrets: &Canaries) {
        for (host, ..) in SEATS.iter().filter(|(host, ..)| !channel.plan.outsiders.contains(host)) {
            assert_eq!(secrets.in_memory(self.process(host)), BTreeSet::new(), "in the memory of {host}");
            let known = || channel.canaries.in_memory(self.process(host)).contains("a record").then_some(());
            eventually("a member knows of a record", known);
        }
    }

    fn process(&self, host: &str) -> u32 {
        self.processes[position(host)].id()
    }

    /// Stops every node and every tape; what they leave is the files.
    pub(crate) fn stop(&mut self) {
        self.processes.drain(..).for_each(stop);
        for (tape, (host, ..)) in self.tapes.drain(..).zip(SEATS) {
            tape.end(&self.lan, host);
        }
    }

    /// What a host has on its own disk: not the vault, which is one for all.
    pub(crate) fn folder(&self, host: &str) -> PathBuf {
        self.path("network/nodes").join(host)
    }

    pub(crate) fn log(&self, host: &str) -> PathBuf {
        self.path("logs").join(host)
    }

    pub(crate) fn wire(&self, host: &str) -> PathBuf {
        self.path("wire").join(host)
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Hospitals {
    fn drop(&mut self) {
        self.processes.drain(..).for_each(stop);
    }
}

/// What a command says that has gone well.
fn said(output: &Output) -> Value {
    assert_eq!(code(output), 0, "{} {}", text(&output.stdout), text(&output.stderr));
    json(output)
}
