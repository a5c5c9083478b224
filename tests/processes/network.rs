//! The processes of a network, and people at its gateways.

#[path = "dial.rs"]
mod dial;

use crate::harness::{self, Clock, code, dmdl, eventually, first_line, json, stop, str, text, within};
use dial::Dial;
use dmdl::{keyfile, local::Identity, network_file::NetworkFile};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs, iter,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{self, Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;

/// How long it may take until a change of members holds, and who joins has caught up.
const CHANGE_PATIENCE: Duration = Duration::from_secs(600);
/// A node in every role.
pub(crate) const ALL: &[&str] = &["endorser", "orderer", "committer", "custodian", "gateway"];
/// Somebody: name, organisation, role.
pub(crate) type Somebody = (&'static str, &'static str, &'static str);
/// Who is there by default.
const PEOPLE: [Somebody; 7] = [
    ("owner", "org-1", "owner"),
    ("researcher", "org-3", "researcher"),
    ("officer", "org-4", "officer"),
    ("admin-1", "org-1", "admin"),
    ("admin-2", "org-2", "admin"),
    ("admin-3", "org-3", "admin"),
    ("admin-4", "org-4", "admin"),
];

/// A node of a network: its name, its organisation, its roles.
pub(crate) type Seat = (&'static str, &'static str, &'static [&'static str]);

/// Where the processes of a network run, and people are.
pub(crate) trait Place: Send + Sync {
    /// The address that the node at a position has, and two ports there: for nodes, and for people.
    fn address(&self, position: usize) -> (Ipv4Addr, [u16; 2]);

    /// A command as it is given where a node is.
    fn at_node(&self, position: usize, command: Command) -> Command;

    /// A command as it is given where people are.
    fn at_people(&self, command: Command) -> Command;
}

/// This host, for all.
pub(crate) fn here() -> Arc<dyn Place> {
    Arc::new(Loopback)
}

struct Loopback;

impl Place for Loopback {
    fn address(&self, _: usize) -> (Ipv4Addr, [u16; 2]) {
        (Ipv4Addr::LOCALHOST, free_ports())
    }

    fn at_node(&self, _: usize, command: Command) -> Command {
        command
    }

    fn at_people(&self, command: Command) -> Command {
        command
    }
}

/// The processes of a network, and the folder that they were generated in.
pub(crate) struct Network {
    place: Arc<dyn Place>,
    dir: TempDir,
    seats: Vec<Seat>,
    /// Where its nodes and its gateways are, by the positions of the nodes.
    addresses: Vec<String>,
    gateways: Vec<Option<String>>,
    /// The nodes' ids.
    pub(crate) ids: Vec<String>,
    processes: Vec<Option<Child>>,
    /// The nodes' clocks, if they are not the machine's.
    clocks: Vec<Dial>,
    /// How many there were from the beginning.
    founders: usize,
}

/// Waits for what takes some epochs.
#[track_caller]
pub(crate) fn in_time<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    let Some(found) = within(CHANGE_PATIENCE, look) else { panic!("not in time: {what}") };
    found
}

/// Whether an organisation's votes are in blocks of the epoch of this status, or of the one before.
pub(crate) fn has_voted(status: &Value, org: &str) -> bool {
    let rows = status["reputation"].as_array().unwrap();
    let row = rows.iter().find(|row| row["org"] == org);
    let voted = |counts: &Value| counts["votes"]["good"].as_u64().unwrap() > 0;
    row.is_some_and(|row| voted(&row["ended"]) || voted(&row["current"]))
}

/// Ports of the loopback address that nobody listens at; none is given out twice. They are below those that the system
/// gives to whoever dials: one of these would be gone while its node is stopped.
fn free_ports() -> [u16; 2] {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let next = || process::id().wrapping_mul(31).wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % 20_000;
    let ports = iter::repeat_with(|| u16::try_from(10_000 + next()).unwrap());
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    [(); 2].map(|()| free.next().expect("there is always another one"))
}

impl Network {
    /// Generates a network of these nodes; none runs yet.
    pub(crate) fn generate(seats: &[Seat]) -> Self {
        Self::generate_with("", seats)
    }

    /// The same of a spec that begins so.
    pub(crate) fn generate_with(head: &str, seats: &[Seat]) -> Self {
        Self::generate_at(here(), "https", head, seats, &PEOPLE)
    }

    /// The same with gateways that speak plain HTTP, which a test can speak, too.
    pub(crate) fn generate_plain(head: &str, seats: &[Seat]) -> Self {
        Self::generate_at(here(), "http", head, seats, &PEOPLE)
    }

    /// The same somewhere, with these people, and gateways that speak HTTP in this scheme.
    pub(crate) fn generate_at(
        place: Arc<dyn Place>,
        scheme: &str,
        head: &str,
        seats: &[Seat],
        people: &[Somebody],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mut spec, mut addresses, mut gateways) = (head.to_owned(), Vec::new(), Vec::new());
        for (position, (name, org, roles)) in seats.iter().enumerate() {
            let (ip, ports) = place.address(position);
            let url = roles.contains(&"gateway").then(|| format!("{scheme}://{ip}:{}", ports[1]));
            spec += &format!("[[node]]\nname = \"{name}\"\norg = \"{org}\"\nroles = {roles:?}\n");
            let address = format!("{ip}:{}", ports[0]);
            spec += &format!("address = \"{address}\"\n");
            addresses.push(address);
            if let Some(url) = &url {
                spec += &format!("gateway = {{ listen = \"{ip}:{}\", url = \"{url}\" }}\n", ports[1]);
            }
            gateways.push(url);
        }
        for (name, org, role) in people {
            spec += &format!("[[person]]\nname = \"{name}\"\norg = \"{org}\"\nrole = \"{role}\"\n");
        }
        fs::write(dir.path().join("spec.toml"), spec).unwrap();
        let processes = seats.iter().map(|_| None).collect();
        let (founders, clocks) = (seats.len(), Vec::new());
        let mut network = Self {
            place,
            dir,
            seats: seats.to_vec(),
            addresses,
            gateways,
            ids: Vec::new(),
            processes,
            clocks,
            founders,
        };
        let (spec, out) = (network.dir.path().join("spec.toml"), network.folder());
        let made = dmdl().args(["network", "generate", "--json", "--spec", str(&spec), "--out", str(&out)]).output();
        let made = made.unwrap();
        assert_eq!(code(&made), 0, "{}", text(&made.stderr));
        let made = json(&made);
        let nodes = made["nodes"].as_array().unwrap().iter();
        network.ids = nodes.map(|node| node["node"].as_str().unwrap().to_owned()).collect();
        // On one host, each node's folder has a link to the one vault.
        let vault = network.folder().join("vault");
        fs::create_dir(&vault).unwrap();
        for position in 0..network.seats.len() {
            network.share_vault(position);
        }
        network
    }

    fn share_vault(&self, position: usize) {
        let own = self.node(position).join("vault");
        fs::remove_dir(&own).unwrap();
        std::os::unix::fs::symlink(self.folder().join("vault"), own).unwrap();
    }

    /// Makes the folder of a node that is to join, with what the first node's file and its operator know of the others:
    /// the founders, and who came since and runs. Gives its position, and the change that lets it in.
    pub(crate) fn make_node(&mut self, name: &'static str, org: &'static str) -> (usize, String) {
        let position = self.seats.len();
        self.seats.push((name, org, ALL));
        let (ip, ports) = self.place.address(position);
        let url = format!("https://{ip}:{}", ports[1]);
        let since: Vec<usize> = (self.founders..position).filter(|came| self.processes[*came].is_some()).collect();
        let told = iter::once(&0).chain(&since);
        let told = told.flat_map(|at| ["--peer".to_owned(), format!("{}={}", self.ids[*at], self.addresses[*at])]);
        let made = dmdl()
            .args(["network", "node", "--json", "--network", str(&self.folder().join("network.toml"))])
            .args(["--out", str(&self.node(position)), "--org", org, "--peers", str(&self.config(0))])
            .args(told)
            .args(["--listen", &format!("{ip}:{}", ports[0]), "--gateway-url", &url])
            .args(["--gateway-listen", &format!("{ip}:{}", ports[1])])
            .output()
            .unwrap();
        assert_eq!(code(&made), 0, "{} {}", text(&made.stdout), text(&made.stderr));
        let made = json(&made);
        assert_eq!(made["peers"], self.founders + since.len(), "everybody who is there");
        self.share_vault(position);
        self.addresses.push(made["address"].as_str().unwrap().to_owned());
        self.gateways.push(Some(url));
        self.ids.push(made["node"].as_str().unwrap().to_owned());
        self.processes.push(None);
        (position, made["changes"].as_str().unwrap().to_owned())
    }

    /// Has organisations make a change; gives the first epoch with it.
    pub(crate) fn change(&self, at: usize, change: &str, admins: &[&str]) -> u64 {
        let file = self.dir.path().join("changes.toml");
        fs::write(&file, change).unwrap();
        let mut told = self.ok(at, admins[0], &["channel", "update", "main", str(&file)]);
        let proposal = told["proposal"].as_str().unwrap().to_owned();
        for admin in &admins[1..] {
            told = self.ok(at, admin, &["channel", "approve", &proposal]);
        }
        assert_eq!(told["state"], "accepted", "{told}");
        told["from_epoch"].as_u64().unwrap()
    }

    /// How the channel stands, as one of its gateways tells.
    pub(crate) fn status(&self, at: usize) -> Value {
        self.ok(at, "officer", &["status"])["channels"][0].clone()
    }

    pub(crate) fn epoch(&self, at: usize) -> u64 {
        self.status(at)["epoch"].as_u64().unwrap()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.path().join("network")
    }

    pub(crate) fn node(&self, position: usize) -> PathBuf {
        self.folder().join("nodes").join(self.seats[position].0)
    }

    pub(crate) fn config(&self, position: usize) -> PathBuf {
        self.node(position).join("node.toml")
    }

    /// Gives each node that is not started yet a clock of its own.
    pub(crate) fn give_clocks(&mut self) {
        let (library, folder) = (Clock::library(self.dir.path()), self.dir.path());
        let clock = |seat: &Seat| Dial::new(&library, folder, &format!("clock-{}", seat.0));
        self.clocks = self.seats.iter().map(clock).collect();
    }

    /// The clock of a node.
    pub(crate) fn clock(&self, position: usize) -> &Dial {
        &self.clocks[position]
    }

    /// Starts a node and gives what it says once it is up.
    pub(crate) fn start(&mut self, position: usize) -> Value {
        self.spawn(position, dmdl(), Stdio::inherit())
    }

    /// The same with further arguments.
    pub(crate) fn start_with(&mut self, position: usize, more: &[&str]) -> Value {
        self.spawn_with(position, dmdl(), Stdio::inherit(), more)
    }

    /// The same, of a node that says in a file what it does.
    pub(crate) fn start_logging(&mut self, position: usize, log: &Path) -> Value {
        let mut program = dmdl();
        program.env("DMDL_LOG", "off,dmdl=info");
        self.spawn(position, program, fs::File::create(log).unwrap().into())
    }

    fn spawn(&mut self, position: usize, program: Command, said_beside: Stdio) -> Value {
        self.spawn_with(position, program, said_beside, &[])
    }

    fn spawn_with(&mut self, position: usize, program: Command, said_beside: Stdio, more: &[&str]) -> Value {
        let said = self.start_under(position, program, said_beside, more);
        assert!(said["node"].is_string(), "{said}");
        said
    }

    /// Starts a node by a program that runs it, such as one that makes its disk fail, and gives what it says first: that
    /// it is up, or why not.
    pub(crate) fn start_under(
        &mut self,
        position: usize,
        mut program: Command,
        said_beside: Stdio,
        more: &[&str],
    ) -> Value {
        program.args(["node", "--json", "--config", str(&self.config(position))]).args(more);
        self.clocks.get(position).map(|clock| clock.under(&mut program));
        let mut process = self
            .place
            .at_node(position, program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(said_beside)
            .spawn()
            .unwrap();
        let said = first_line(process.stdout.take().unwrap());
        self.processes[position] = Some(process);
        said
    }

    /// What a node ended with that was not asked to, if it has ended.
    pub(crate) fn ended(&mut self, position: usize) -> Option<i32> {
        let status = self.processes[position].as_mut().expect("it was started").try_wait().unwrap()?;
        self.processes[position] = None;
        Some(status.code().expect("it ends by itself"))
    }

    /// Where the gateway of a node is.
    pub(crate) fn gateway(&self, position: usize) -> &str {
        self.gateways[position].as_deref().expect("it is a gateway")
    }

    pub(crate) fn start_all(&mut self) {
        for position in 0..self.seats.len() {
            let said = self.start(position);
            let (_, org, roles) = self.seats[position];
            assert_eq!((&said["org"], &said["roles"]), (&Value::from(org), &Value::from(roles)));
            assert_eq!(said["gateway"], self.gateways[position].clone().map_or(Value::Null, Value::from));
            assert_eq!(said["votes"], true, "it has its token");
        }
    }

    /// The process of a node that runs.
    pub(crate) fn pid(&self, position: usize) -> u32 {
        self.processes[position].as_ref().expect("it runs").id()
    }

    /// The processes of all nodes, where they run.
    pub(crate) fn pids(&self) -> Vec<Option<u32>> {
        self.processes.iter().map(|process| process.as_ref().map(Child::id)).collect()
    }

    /// Where a node's gateway is, and the certificate that it shows.
    pub(crate) fn endpoint(&self, position: usize) -> (String, Option<[u8; 32]>) {
        let url = self.gateways[position].clone().expect("it is a gateway");
        let pin = self.pin(position).gateways.into_iter().find(|gateway| gateway.url == url);
        (url, pin.and_then(|gateway| gateway.certificate_sha256).map(|digest| digest.0))
    }

    /// What pins the network, as a node's folder has it.
    pub(crate) fn pin(&self, position: usize) -> NetworkFile {
        NetworkFile::read(&self.node(position).join("network.toml")).unwrap()
    }

    /// Somebody whom the network was generated with.
    pub(crate) fn identity(&self, who: &str) -> Identity {
        let path = self.folder().join("identities").join(format!("{who}.key"));
        keyfile::read(&path).unwrap().unlock(None).unwrap()
    }

    pub(crate) fn kill(&mut self, position: usize) {
        self.kill_at_once(&[position]);
    }

    /// Kills all of these, before any of them is known to have ended.
    pub(crate) fn kill_at_once(&mut self, positions: &[usize]) {
        let killed = positions.iter().map(|position| {
            let mut process = self.processes[*position].take().expect("it runs");
            process.kill().unwrap();
            process
        });
        let killed: Vec<Child> = killed.collect();
        for mut process in killed {
            process.wait().unwrap();
        }
    }

    /// The process of a node that runs.
    pub(crate) fn process(&self, position: usize) -> Pid {
        let process = self.processes[position].as_ref().expect("it runs");
        Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap()
    }

    /// Lets a node's process stand still where it is, or go on.
    pub(crate) fn pause(&self, position: usize, stands: bool) {
        kill_process(self.process(position), if stands { Signal::STOP } else { Signal::CONT }).unwrap();
    }

    /// Kills all of them before any is waited for.
    pub(crate) fn kill_all(&mut self) {
        let mut all: Vec<Child> = self.processes.iter_mut().filter_map(Option::take).collect();
        all.iter_mut().for_each(|process| process.kill().unwrap());
        all.iter_mut().for_each(|process| _ = process.wait().unwrap());
    }

    pub(crate) fn stop(&mut self, position: usize) {
        stop(self.processes[position].take().expect("it runs"));
    }

    /// A command of somebody, at the gateway of a node.
    pub(crate) fn command(&self, at: usize, who: &str, args: &[&str]) -> Command {
        let mut command = self.places().command(at, who, &self.dir.path().join("home"), args);
        command.arg("--json");
        let mut command = self.place.at_people(command);
        command.stdin(Stdio::null());
        command
    }

    /// What people need to know of it, whoever runs meanwhile.
    pub(crate) fn places(&self) -> Places {
        let pins = (0..self.seats.len()).map(|position| self.pin_file(position)).collect();
        Places { pins, gateways: self.gateways.clone(), identities: self.folder().join("identities") }
    }

    /// The pin that a node's folder has.
    pub(crate) fn pin_file(&self, at: usize) -> PathBuf {
        self.node(at).join("network.toml")
    }

    /// The key file of somebody.
    pub(crate) fn key(&self, who: &str) -> PathBuf {
        self.folder().join("identities").join(format!("{who}.key"))
    }

    /// What such a command ends with.
    pub(crate) fn run(&self, at: usize, who: &str, args: &[&str]) -> Output {
        self.command(at, who, args).output().unwrap()
    }

    /// What a command says that goes well, if need be after others that came too early.
    pub(crate) fn ok(&self, at: usize, who: &str, args: &[&str]) -> Value {
        let output = eventually(&format!("{args:?}"), || {
            Some(self.run(at, who, args)).filter(|output| code(output) != harness::UNAVAILABLE)
        });
        assert_eq!(code(&output), 0, "{args:?}: {} {}", text(&output.stdout), text(&output.stderr));
        json(&output)
    }

    /// Registers a text as the owner's, and waits until it is active.
    pub(crate) fn register(&self, at: usize, content: &str) -> String {
        let file = self.dir.path().join("content");
        fs::write(&file, content).unwrap();
        let said = self.ok(at, "owner", &["record", "register", str(&file), "--policy", "research-auto"]);
        assert_eq!(said["state"], "ACTIVE", "{said}");
        said["record"].as_str().unwrap().to_owned()
    }

    /// Asks for a record and opens it.
    pub(crate) fn open(&self, at: usize, record: &str) -> Vec<u8> {
        let asked =
            self.ok(at, "researcher", &["access", "request", record, "--purpose", "HMB", "--reason", "a study"]);
        assert_eq!(asked["decision"], "allow", "{asked}");
        let out = self.dir.path().join("opened");
        let _ = fs::remove_file(&out);
        self.ok(at, "researcher", &["access", "open", asked["request"].as_str().unwrap(), "--out", str(&out)]);
        fs::read(out).unwrap()
    }

    pub(crate) fn height(&self, at: usize) -> u64 {
        self.status(at)["height"].as_u64().unwrap()
    }

    /// Waits until a gateway's node has executed what another one has.
    pub(crate) fn wait_caught_up(&self, at: usize, with: usize) {
        let goal = self.height(with);
        eventually("a node catches up", || (self.height(at) >= goal).then_some(()));
    }

    /// How the channel stands at a height that all these nodes have come to: the same everywhere.
    pub(crate) fn agreed(&self, positions: &[usize]) -> Value {
        let mut told = in_time("all nodes are at one height", || {
            let told: Vec<Value> = positions.iter().map(|position| self.status(*position)).collect();
            told.iter().all(|status| status["height"] == told[0]["height"]).then_some(told)
        });
        let status = told.swap_remove(0);
        for other in &told {
            for of in ["block", "state_root", "log_size", "epoch"] {
                assert_eq!(other[of], status[of], "{of} at height {}", status["height"]);
            }
        }
        status
    }

    /// Exports the trail at a gateway and verifies it; gives the file, which the next export replaces.
    pub(crate) fn assert_trail_verifies(&self, at: usize) -> PathBuf {
        let bundle = self.dir.path().join("trail.bundle");
        let _ = fs::remove_file(&bundle);
        self.ok(at, "officer", &["audit", "export", "--out", str(&bundle)]);
        let verified = self.ok(at, "officer", &["audit", "verify", str(&bundle)]);
        assert_eq!(verified["valid"], true, "{verified}");
        bundle
    }
}

/// Where the gateways of a network are, and what one needs to turn to them.
#[derive(Clone)]
pub(crate) struct Places {
    pins: Vec<PathBuf>,
    gateways: Vec<Option<String>>,
    identities: PathBuf,
}

impl Places {
    /// A command of somebody, with a home under this folder, at the gateway of a node.
    pub(crate) fn command(&self, at: usize, who: &str, homes: &Path, args: &[&str]) -> Command {
        let mut command = dmdl();
        command
            .env("DMDL_NETWORK", &self.pins[at])
            .env("DMDL_HOME", homes.join(who))
            .env("DMDL_GATEWAY", self.gateways[at].as_ref().expect("it is a gateway"))
            .arg("--as")
            .arg(self.identities.join(format!("{who}.key")))
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// How many nodes there are.
    pub(crate) fn count(&self) -> usize {
        self.gateways.len()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.processes.iter_mut().filter_map(Option::take).for_each(stop);
    }
}
