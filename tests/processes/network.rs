//! The processes of a network, and people at its gateways.

use crate::harness::{self, code, dmdl, eventually, first_line, json, stop, str, text, within};
use serde_json::Value;
use std::{
    fs, iter,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tempfile::TempDir;

/// How long it may take until a change of members holds, and who joins has caught up.
const CHANGE_PATIENCE: Duration = Duration::from_secs(600);
/// A node in every role.
pub(crate) const ALL: &[&str] = &["endorser", "orderer", "committer", "custodian", "gateway"];
/// The people, with their organisations.
const PEOPLE: [(&str, &str, &str); 7] = [
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

/// The processes of a network, and the folder that they were generated in.
pub(crate) struct Network {
    dir: TempDir,
    seats: Vec<Seat>,
    /// Where its nodes and its gateways are, by the positions of the nodes.
    addresses: Vec<String>,
    gateways: Vec<Option<String>>,
    /// The nodes' ids.
    pub(crate) ids: Vec<String>,
    processes: Vec<Option<Child>>,
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
fn free_ports(count: usize) -> Vec<u16> {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let next = || process::id().wrapping_mul(31).wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % 20_000;
    let ports = iter::repeat_with(|| u16::try_from(10_000 + next()).unwrap());
    ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).take(count).collect()
}

impl Network {
    /// Generates a network of these nodes; none runs yet.
    pub(crate) fn generate(seats: &[Seat]) -> Self {
        Self::generate_with("", seats)
    }

    /// The same of a spec that begins so.
    pub(crate) fn generate_with(head: &str, seats: &[Seat]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = free_ports(2 * seats.len());
        let (mut spec, mut addresses, mut gateways) = (head.to_owned(), Vec::new(), Vec::new());
        for ((name, org, roles), ports) in seats.iter().zip(ports.chunks(2)) {
            let url = roles.contains(&"gateway").then(|| format!("https://127.0.0.1:{}", ports[1]));
            spec += &format!("[[node]]\nname = \"{name}\"\norg = \"{org}\"\nroles = {roles:?}\n");
            let address = format!("127.0.0.1:{}", ports[0]);
            spec += &format!("address = \"{address}\"\n");
            addresses.push(address);
            if let Some(url) = &url {
                spec += &format!("gateway = {{ listen = \"127.0.0.1:{}\", url = \"{url}\" }}\n", ports[1]);
            }
            gateways.push(url);
        }
        for (name, org, role) in PEOPLE {
            spec += &format!("[[person]]\nname = \"{name}\"\norg = \"{org}\"\nrole = \"{role}\"\n");
        }
        fs::write(dir.path().join("spec.toml"), spec).unwrap();
        let processes = seats.iter().map(|_| None).collect();
        let founders = seats.len();
        let mut network =
            Self { dir, seats: seats.to_vec(), addresses, gateways, ids: Vec::new(), processes, founders };
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
        let ports = free_ports(2);
        let url = format!("https://127.0.0.1:{}", ports[1]);
        let since: Vec<usize> = (self.founders..position).filter(|came| self.processes[*came].is_some()).collect();
        let told = iter::once(&0).chain(&since);
        let told = told.flat_map(|at| ["--peer".to_owned(), format!("{}={}", self.ids[*at], self.addresses[*at])]);
        let made = dmdl()
            .args(["network", "node", "--json", "--network", str(&self.folder().join("network.toml"))])
            .args(["--out", str(&self.node(position)), "--org", org, "--peers", str(&self.config(0))])
            .args(told)
            .args(["--listen", &format!("127.0.0.1:{}", ports[0]), "--gateway-url", &url])
            .args(["--gateway-listen", &format!("127.0.0.1:{}", ports[1])])
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

    /// Starts a node and gives what it says once it is up.
    pub(crate) fn start(&mut self, position: usize) -> Value {
        self.spawn(position, &mut dmdl())
    }

    /// The same, of a node that says in a file what it does.
    pub(crate) fn start_logging(&mut self, position: usize, log: &Path) -> Value {
        self.spawn(position, dmdl().env("DMDL_LOG", "off,dmdl=info").stderr(fs::File::create(log).unwrap()))
    }

    fn spawn(&mut self, position: usize, program: &mut Command) -> Value {
        let mut process = program
            .args(["node", "--json", "--config", str(&self.config(position))])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = first_line(process.stdout.take().unwrap());
        assert!(said["node"].is_string(), "{said}");
        self.processes[position] = Some(process);
        said
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

    pub(crate) fn kill(&mut self, position: usize) {
        let mut process = self.processes[position].take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub(crate) fn stop(&mut self, position: usize) {
        stop(self.processes[position].take().expect("it runs"));
    }

    /// A command of somebody, at the gateway of a node.
    pub(crate) fn command(&self, at: usize, who: &str, args: &[&str]) -> Command {
        let mut command = dmdl();
        command
            .env("DMDL_NETWORK", self.node(at).join("network.toml"))
            .env("DMDL_HOME", self.dir.path().join("home").join(who))
            .env("DMDL_GATEWAY", self.gateways[at].as_ref().expect("it is a gateway"))
            .arg("--as")
            .arg(self.folder().join("identities").join(format!("{who}.key")))
            .args(args)
            .arg("--json")
            .stdin(Stdio::null());
        command
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

impl Drop for Network {
    fn drop(&mut self) {
        self.processes.iter_mut().filter_map(Option::take).for_each(stop);
    }
}
