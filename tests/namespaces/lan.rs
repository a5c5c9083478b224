//! Hosts of a network on one machine: each a network namespace of its own, all joined by a bridge in one more.

use rustix::{
    process::{Pid, Signal, geteuid, kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use std::{
    env,
    fs::{self, File},
    net::Ipv4Addr,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

/// Where namespaces that have a name lie.
const NAMESPACES: &str = "/run/netns";
/// What the names of ours begin with; the process that made them follows.
const OURS: &str = "dmdl-";
/// The namespace of the bridge, which people work from.
pub(crate) const SWITCH: &str = "switch";
const SWITCH_NUMBER: u8 = 254;

/// A bridge and the hosts at it; they end with this value.
#[derive(Debug)]
pub(crate) struct Lan {
    prefix: String,
    hosts: Vec<String>,
}

/// The address of the host with a number.
pub(crate) const fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number)
}

impl Lan {
    /// A bridge that no host is at yet.
    ///
    /// There is none where this process may not make namespaces: a test says so and does without; in CI it fails.
    pub(crate) fn new() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("{OURS}{}-{}-", process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let mut lan = Self { prefix, hosts: Vec::new() };
        if let Err(reason) = lan.begin() {
            assert!(env::var_os("CI").is_none(), "{reason}");
            eprintln!("\n*** SKIPPED: {reason}; hosts of their own are NOT tested ***\n");
            return None;
        }
        let switch = lan.namespace(SWITCH);
        ip(&["-n", &switch, "link", "add", "bridge", "type", "bridge"]);
        lan.connect(SWITCH, "bridge", SWITCH_NUMBER);
        Some(lan)
    }

    /// Makes the namespace of the bridge: the first thing that may fail.
    fn begin(&mut self) -> Result<(), String> {
        if !geteuid().is_root() {
            return Err("only root makes network namespaces".to_owned());
        }
        remove_stale();
        let added = Command::new("ip").args(["netns", "add", &self.namespace(SWITCH)]).output();
        let added =
            added.map_err(|error| format!("`ip` cannot be run ({error}): scripts/setup.sh test installs it"))?;
        if !added.status.success() {
            return Err(format!("no namespace can be made here: {}", String::from_utf8_lossy(&added.stderr).trim()));
        }
        self.hosts.push(SWITCH.to_owned());
        Ok(())
    }

    /// Adds a host that has a cable and no address yet: it hears nothing before it is connected.
    pub(crate) fn add(&mut self, host: &str) {
        let (switch, namespace, port) =
            (self.namespace(SWITCH), self.namespace(host), format!("port{}", self.hosts.len()));
        ip(&["netns", "add", &namespace]);
        self.hosts.push(host.to_owned());
        ip(&["-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &namespace]);
        ip(&["-n", &switch, "link", "set", &port, "master", "bridge", "up"]);
    }

    /// Connects a host under the address with this number.
    pub(crate) fn connect(&self, host: &str, device: &str, number: u8) {
        let namespace = self.namespace(host);
        ip(&["-n", &namespace, "addr", "add", &format!("{}/24", address(number)), "dev", device]);
        ip(&["-n", &namespace, "link", "set", "lo", "up"]);
        ip(&["-n", &namespace, "link", "set", device, "up"]);
    }

    /// Lets nothing of what a host sends reach the address with this number: it goes to a card that nobody has, and
    /// neither side is told. What comes from there still arrives.
    pub(crate) fn cut(&self, host: &str, number: u8) {
        let lost = ["lladdr", "02:00:00:00:00:01", "dev", "eth0", "nud", "permanent"];
        let to = address(number).to_string();
        ip(&[&["-n", &self.namespace(host), "neigh", "replace", &to][..], &lost].concat());
    }

    /// Lets it through again.
    pub(crate) fn mend(&self, host: &str, number: u8) {
        ip(&["-n", &self.namespace(host), "neigh", "del", &address(number).to_string(), "dev", "eth0"]);
    }

    /// How many frames a host has sent and received.
    pub(crate) fn frames(&self, host: &str) -> u64 {
        let told = ip(&["-n", &self.namespace(host), "-j", "-s", "link", "show", "dev", "eth0"]);
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        let frames = |direction: &str| told[0]["stats64"][direction]["packets"].as_u64().unwrap();
        frames("rx") + frames("tx")
    }

    /// A command, as it is given on a host.
    pub(crate) fn on(&self, host: &str, command: &Command) -> Command {
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &self.namespace(host)]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        there
    }

    /// Does something in a thread that is on a host: what it opens there stays there.
    pub(crate) fn inside<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new(NAMESPACES).join(self.namespace(host))).unwrap();
        let there = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(there).join().unwrap())
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}{host}", self.prefix)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.hosts.iter().for_each(|host| remove(&self.namespace(host)));
    }
}

/// What `ip` says, which must go well.
fn ip(args: &[&str]) -> Vec<u8> {
    let output = Command::new("ip").args(args).output().unwrap();
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Removes what was left by processes of this test that were killed.
fn remove_stale() {
    let entries = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
        let maker = name.strip_prefix(OURS).and_then(|rest| rest.split('-').next());
        if maker.is_some_and(|maker| !PathBuf::from("/proc").join(maker).exists()) {
            remove(&name);
        }
    }
}

/// Removes a namespace, and kills what still runs in it. It is called while a test fails, too, and does not panic.
fn remove(namespace: &str) {
    let left = Command::new("ip").args(["netns", "pids", namespace]).output();
    let left = left.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    for id in left.lines().filter_map(|line| line.trim().parse().ok()).filter_map(Pid::from_raw) {
        let _ = kill_process(id, Signal::KILL);
    }
    let _ = Command::new("ip").args(["netns", "delete", namespace]).output();
}
