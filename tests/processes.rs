//! A network whose nodes are separate processes, as `dmdl network generate` and `dmdl node` make it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "cli/harness.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod harness;

use harness::{code, dmdl, eventually, first_line, json, stop, str, text};
use serde_json::Value;
use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Output, Stdio},
};
use tempfile::TempDir;

/// A node in every role.
const ALL: &[&str] = &["endorser", "orderer", "committer", "custodian", "gateway"];
/// The people, with their organisations.
const PEOPLE: [(&str, &str, &str); 3] =
    [("owner", "org-1", "owner"), ("researcher", "org-3", "researcher"), ("officer", "org-4", "officer")];

/// A node of a network: its name, its organisation, its roles.
type Seat = (&'static str, &'static str, &'static [&'static str]);

/// The processes of a network, and the folder that they were generated in.
struct Network {
    dir: TempDir,
    seats: Vec<Seat>,
    /// Where its gateways are, by the positions of their nodes.
    gateways: Vec<Option<String>>,
    processes: Vec<Option<Child>>,
}

/// Ports of the loopback address that nobody listens at: all are held at once, so that none is given out twice.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

impl Network {
    /// Generates a network of these nodes; none runs yet.
    fn generate(seats: &[Seat]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = free_ports(2 * seats.len());
        let (mut spec, mut gateways) = (String::new(), Vec::new());
        for ((name, org, roles), ports) in seats.iter().zip(ports.chunks(2)) {
            let url = roles.contains(&"gateway").then(|| format!("https://127.0.0.1:{}", ports[1]));
            spec += &format!("[[node]]\nname = \"{name}\"\norg = \"{org}\"\nroles = {roles:?}\n");
            spec += &format!("address = \"127.0.0.1:{}\"\n", ports[0]);
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
        let network = Self { dir, seats: seats.to_vec(), gateways, processes };
        let spec = network.dir.path().join("spec.toml");
        let made = dmdl().args(["network", "generate", "--spec", str(&spec), "--out", str(&network.folder())]).output();
        let made = made.unwrap();
        assert_eq!(code(&made), 0, "{}", text(&made.stderr));
        // On one host, each node's folder has a link to the one vault.
        let vault = network.folder().join("vault");
        fs::create_dir(&vault).unwrap();
        for position in 0..network.seats.len() {
            let own = network.node(position).join("vault");
            fs::remove_dir(&own).unwrap();
            std::os::unix::fs::symlink(&vault, own).unwrap();
        }
        network
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("network")
    }

    fn node(&self, position: usize) -> PathBuf {
        self.folder().join("nodes").join(self.seats[position].0)
    }

    fn config(&self, position: usize) -> PathBuf {
        self.node(position).join("node.toml")
    }

    /// Starts a node and gives what it says once it is up.
    fn start(&mut self, position: usize) -> Value {
        let mut process = dmdl()
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

    fn start_all(&mut self) {
        for position in 0..self.seats.len() {
            let said = self.start(position);
            let (_, org, roles) = self.seats[position];
            assert_eq!((&said["org"], &said["roles"]), (&Value::from(org), &Value::from(roles)));
            assert_eq!(said["gateway"], self.gateways[position].clone().map_or(Value::Null, Value::from));
            assert_eq!(said["votes"], true, "it has its token");
        }
    }

    fn kill(&mut self, position: usize) {
        let mut process = self.processes[position].take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    fn stop(&mut self, position: usize) {
        stop(self.processes[position].take().expect("it runs"));
    }

    /// What a command of somebody ends with, at the gateway of a node.
    fn run(&self, at: usize, who: &str, args: &[&str]) -> Output {
        dmdl()
            .env("DMDL_NETWORK", self.folder().join("network.toml"))
            .env("DMDL_HOME", self.dir.path().join("home").join(who))
            .env("DMDL_GATEWAY", self.gateways[at].as_ref().expect("it is a gateway"))
            .arg("--as")
            .arg(self.folder().join("identities").join(format!("{who}.key")))
            .args(args)
            .arg("--json")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a command says that goes well, if need be after others that came too early.
    fn ok(&self, at: usize, who: &str, args: &[&str]) -> Value {
        let output = eventually(&format!("{args:?}"), || {
            Some(self.run(at, who, args)).filter(|output| code(output) != harness::UNAVAILABLE)
        });
        assert_eq!(code(&output), 0, "{args:?}: {} {}", text(&output.stdout), text(&output.stderr));
        json(&output)
    }

    /// Registers a text as the owner's, and waits until it is active.
    fn register(&self, at: usize, content: &str) -> String {
        let file = self.dir.path().join("content");
        fs::write(&file, content).unwrap();
        let said = self.ok(at, "owner", &["record", "register", str(&file), "--policy", "research-auto"]);
        assert_eq!(said["state"], "ACTIVE", "{said}");
        said["record"].as_str().unwrap().to_owned()
    }

    /// Asks for a record and opens it.
    fn open(&self, at: usize, record: &str) -> Vec<u8> {
        let asked =
            self.ok(at, "researcher", &["access", "request", record, "--purpose", "HMB", "--reason", "a study"]);
        assert_eq!(asked["decision"], "allow", "{asked}");
        let out = self.dir.path().join("opened");
        let _ = fs::remove_file(&out);
        self.ok(at, "researcher", &["access", "open", asked["request"].as_str().unwrap(), "--out", str(&out)]);
        fs::read(out).unwrap()
    }

    fn height(&self, at: usize) -> u64 {
        self.ok(at, "officer", &["status"])["channels"][0]["height"].as_u64().unwrap()
    }

    /// Waits until a gateway's node has executed what another one has.
    fn wait_caught_up(&self, at: usize, with: usize) {
        let goal = self.height(with);
        eventually("a node catches up", || (self.height(at) >= goal).then_some(()));
    }

    fn assert_trail_verifies(&self, at: usize) {
        let bundle = self.dir.path().join("trail.bundle");
        let _ = fs::remove_file(&bundle);
        self.ok(at, "officer", &["audit", "export", "--out", str(&bundle)]);
        let verified = self.ok(at, "officer", &["audit", "verify", str(&bundle)]);
        assert_eq!(verified["valid"], true, "{verified}");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.processes.iter_mut().filter_map(Option::take).for_each(stop);
    }
}

#[test]
fn four_processes_are_a_network_that_lives_without_any_one_of_them() {
    let mut network =
        Network::generate(&[("a", "org-1", ALL), ("b", "org-2", ALL), ("c", "org-3", ALL), ("d", "org-4", ALL)]);
    network.start_all();
    let record = network.register(0, "a letter to four");
    assert_eq!(network.open(1, &record), b"a letter to four");
    network.assert_trail_verifies(3);

    // Nobody runs a node twice.
    let again = dmdl().args(["node", "--json", "--config", str(&network.config(2))]).output().unwrap();
    assert_eq!((code(&again), &json(&again)["error"]["code"]), (7, &Value::from("locked")));

    network.kill(3);
    let other = network.register(0, "a letter to three");
    assert_eq!(network.open(1, &other), b"a letter to three");
    let said = network.start(3);
    assert_eq!(said["votes"], true, "it has kept its votes");
    network.wait_caught_up(3, 0);
    assert_eq!(network.open(3, &record), b"a letter to four");

    // One that lost everything but its keys does not know what it has voted for.
    network.stop(2);
    fs::remove_dir_all(network.node(2).join("data")).unwrap();
    let said = network.start(2);
    assert_eq!(said["votes"], false, "its token is used up");
    network.wait_caught_up(2, 0);
    assert_eq!(network.open(2, &other), b"a letter to three");

    for position in 0..network.seats.len() {
        network.stop(position);
    }
}

#[test]
fn roles_may_be_processes_of_their_own() {
    const ORDERS: &[&str] = &["orderer"];
    const KEEPS: &[&str] = &["endorser", "committer", "custodian"];
    const SHOWS: &[&str] = &["gateway"];
    let mut network = Network::generate(&[
        ("order-1", "org-1", ORDERS),
        ("order-2", "org-2", ORDERS),
        ("order-3", "org-3", ORDERS),
        ("order-4", "org-4", ORDERS),
        ("keep-1", "org-1", KEEPS),
        ("keep-2", "org-2", KEEPS),
        ("keep-3", "org-3", KEEPS),
        ("keep-4", "org-4", KEEPS),
        ("door", "org-1", SHOWS),
    ]);
    network.start_all();
    let record = network.register(8, "passed from hand to hand");
    assert_eq!(network.open(8, &record), b"passed from hand to hand");
    network.assert_trail_verifies(8);
}
