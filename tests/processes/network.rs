//! The processes of a network, and people at its gateways.

use crate::harness::{self, code, dmdl, eventually, first_line, json, stop, str, text};
use serde_json::Value;
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};
use tempfile::TempDir;

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
}

/// Ports of the loopback address that nobody listens at: all are held at once, so that none is given out twice.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
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
        let mut network = Self { dir, seats: seats.to_vec(), addresses, gateways, ids: Vec::new(), processes };
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

    /// Makes the folder of a node that is to join, with what the first node's file and its operator know of the others.
    /// Gives its position, and the change that lets it in.
    pub(crate) fn make_node(&mut self, name: &'static str, org: &'static str) -> (usize, String) {
        let position = self.seats.len();
        self.seats.push((name, org, ALL));
        let ports = free_ports(2);
        let url = format!("https://127.0.0.1:{}", ports[1]);
        let made = dmdl()
            .args(["network", "node", "--json", "--network", str(&self.folder().join("network.toml"))])
            .args(["--out", str(&self.node(position)), "--org", org, "--peers", str(&self.config(0))])
            .args(["--peer", &format!("{}={}", self.ids[0], self.addresses[0])])
            .args(["--listen", &format!("127.0.0.1:{}", ports[0]), "--gateway-url", &url])
            .args(["--gateway-listen", &format!("127.0.0.1:{}", ports[1])])
            .output()
            .unwrap();
        assert_eq!(code(&made), 0, "{} {}", text(&made.stdout), text(&made.stderr));
        let made = json(&made);
        assert_eq!(made["peers"], position, "everybody who is there");
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

    /// What a command of somebody ends with, at the gateway of a node.
    pub(crate) fn run(&self, at: usize, who: &str, args: &[&str]) -> Output {
        dmdl()
            .env("DMDL_NETWORK", self.node(at).join("network.toml"))
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

    pub(crate) fn assert_trail_verifies(&self, at: usize) {
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
