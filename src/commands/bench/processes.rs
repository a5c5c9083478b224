//! A network of our own whose nodes are processes, as `dmdl network generate` and `dmdl node` make it.
//!
//! They are this same program. None outlives it: each is stopped when the measurement is over, killed where that went
//! wrong, and killed by the kernel if this process ends in any other way.

use super::{
    super::{ends::Ends, network::Plan, output},
    meter::Part,
    own::{Shape, folder_for, interrupted, not_up},
};
use crate::{
    address::Address,
    exit::{Exit, Failure},
    local::Identity,
    network_file::NetworkFile,
    node_file,
    spec::{ChannelSpec, GatewaySpec, NodeSpec},
};
use dmdl_types::{
    genesis::NodeRoles,
    id::{DisplayName, IdError, OrgId},
};
use rand_core::Rng as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long the nodes may take to come up; a small machine starts sixteen of them at a time.
const START: Duration = Duration::from_secs(60);
/// How long a node may take to stop.
const STOP: Duration = Duration::from_secs(20);
/// How often it is looked whether a node is up, or down.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Ports that nobody is given who dials: one of those could be gone before its node listens.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
/// Settings of whoever measures, that are no node's.
const SETTINGS: [&str; 4] = ["DMDL_NETWORK", "DMDL_GATEWAY", "DMDL_IDENTITY", "DMDL_CHANNEL"];

/// The processes of a network; dropped, they are killed.
pub(super) struct Processes {
    // Dropped in this order: nobody writes into the folder when it is removed.
    nodes: Vec<Node>,
    folder: TempDir,
}

struct Node {
    name: String,
    process: Child,
    /// The first line that it says.
    said: Receiver<String>,
    /// The folder of its file.
    folder: PathBuf,
}

impl Processes {
    /// Makes a network in which these people are the first, and starts its nodes.
    pub(super) fn start(shape: &Shape, people: &[Identity], ends: &mut Ends) -> Result<(Self, NetworkFile), Failure> {
        let folder = folder_for()?;
        let seats = seats(shape)?;
        let plan = Plan::new(&ChannelSpec::default(), &seats, people)?;
        let pin = plan.write_nodes(folder.path())?;
        pin.genesis.check().map_err(not_up)?;
        let vault = folder.path().join(node_file::VAULT);
        output::subfolder(&vault)?;
        let mut network = Self { nodes: Vec::new(), folder };
        for seat in &seats {
            let folder = network.folder.path().join("nodes").join(seat.name.as_str());
            share_vault(&vault, &folder.join(node_file::VAULT))?;
            network.nodes.push(Node::spawn(seat.name.as_str(), folder)?);
        }
        let deadline = Instant::now() + START;
        network.nodes.iter().try_for_each(|node| node.wait_up(deadline, ends))?;
        Ok((network, pin))
    }

    /// What is measured of it.
    pub(super) fn parts(&self) -> Vec<Part> {
        let part = |node: &Node| Part {
            name: node.name.clone(),
            process: Some(node.process.id()),
            folder: node.folder.join("data"),
        };
        self.nodes.iter().map(part).collect()
    }

    /// The folder of everything.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Fails if a node has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        self.nodes.iter_mut().try_for_each(Node::check)
    }

    /// Stops all nodes; fails if one had ended by itself.
    pub(super) fn stop(mut self) -> (TempDir, Result<(), Failure>) {
        let ended = self.check();
        self.nodes.iter().for_each(|node| node.signal(Signal::TERM));
        let deadline = Instant::now() + STOP;
        self.nodes.iter_mut().for_each(|node| node.wait_down(deadline));
        let Self { nodes, folder } = self;
        drop(nodes);
        (folder, ended)
    }
}

impl Node {
    fn spawn(name: &str, folder: PathBuf) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(not_up)?;
        let log = File::create(folder.join("log")).map_err(not_up)?;
        let mut command = Command::new(program);
        SETTINGS.iter().for_each(|setting| _ = command.env_remove(setting));
        command
            .args(["node", "--json", "--parent", &std::process::id().to_string(), "--config"])
            .arg(folder.join(node_file::NODE_FILE))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        // Started by the thread that lives as long as the process: the kernel watches that one.
        let mut process = command.spawn().map_err(not_up)?;
        let said = first_line(process.stdout.take());
        Ok(Self { name: name.to_owned(), process, said, folder })
    }

    /// Waits until it says that it is up.
    fn wait_up(&self, deadline: Instant, ends: &mut Ends) -> Result<(), Failure> {
        loop {
            if ends.came() {
                return Err(interrupted());
            }
            match self.said.recv_timeout(LOOK_EVERY) {
                Ok(line) => {
                    let said: Value = serde_json::from_str(&line).unwrap_or_default();
                    let error = said.pointer("/error/detail").and_then(Value::as_str);
                    return match error {
                        None if said.get("node").is_some() => Ok(()),
                        error => Err(self.failed(error.unwrap_or("it ended before it was up"))),
                    };
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => return Err(self.failed("it was not up in time")),
            }
        }
    }

    fn check(&mut self) -> Result<(), Failure> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failed(&format!("it ended by itself, with {status}"))),
            Err(error) => Err(self.failed(&error.to_string())),
        }
    }

    /// A failure of the node, with the end of its log, which goes with its folder.
    fn failed(&self, what: &str) -> Failure {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last =
            log.lines().rev().find(|line| !line.trim().is_empty()).map(|line| format!("; its log ends with: {line}"));
        let detail = format!("the node `{}` failed: {what}{}", self.name, last.unwrap_or_default());
        Failure::new(Exit::Unavailable, "node_failed", detail)
    }

    fn signal(&self, signal: Signal) {
        // One that has ended is not waited for yet, so that its id is nobody else's.
        let _ = kill_process(Pid::from_child(&self.process), signal);
    }

    fn wait_down(&mut self, deadline: Instant) {
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // No harm to one that has stopped; whoever has not must not write on.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The nodes: one an organisation with every role, or one that orders and one that does everything else.
fn seats(shape: &Shape) -> Result<Vec<NodeSpec>, Failure> {
    const ORDERS: NodeRoles = NodeRoles { endorser: false, orderer: true, committer: false, custodian: false };
    const KEEPS: NodeRoles = NodeRoles { orderer: false, ..NodeRoles::ALL };
    let mut seats = Vec::new();
    let mut ports = free_ports(if shape.apart { 3 } else { 2 } * shape.orgs)?.into_iter();
    let mut port = || ports.next().ok_or_else(|| not_up("no port is free"));
    for (number, org) in (1..).zip(shape.names()) {
        if shape.apart {
            seats.push(seat(&format!("order-{number}"), &org, ORDERS, port()?, None)?);
        }
        let (name, roles) = if shape.apart { (format!("keep-{number}"), KEEPS) } else { (org.clone(), NodeRoles::ALL) };
        let (address, gateway) = (port()?, port()?);
        seats.push(seat(&name, &org, roles, address, Some(gateway).filter(|_| number <= shape.gateways))?);
    }
    Ok(seats)
}

fn seat(
    name: &str,
    org: &str,
    roles: NodeRoles,
    at: SocketAddr,
    gateway: Option<SocketAddr>,
) -> Result<NodeSpec, Failure> {
    let internal = |error: IdError| Failure::new(Exit::Internal, "internal", error);
    let gateway = gateway.map(|at| GatewaySpec::new(at, &format!("https://{at}"))).transpose();
    Ok(NodeSpec {
        name: DisplayName::new(name).map_err(internal)?,
        org: OrgId::new(org).map_err(internal)?,
        roles,
        address: Address::try_from(at.to_string()).map_err(not_up)?,
        listen: at,
        gateway: gateway.map_err(not_up)?,
    })
}

/// Addresses that nobody listens at: all are held at once, so that none is given out twice.
fn free_ports(count: usize) -> Result<Vec<SocketAddr>, Failure> {
    let span = u32::from(PORTS.end - PORTS.start);
    let from = crate::local::os_rng().next_u32() % span;
    let tried = (0..span).map(|step| SocketAddr::from((Ipv4Addr::LOCALHOST, port(from + step))));
    let held: Vec<TcpListener> = tried.filter_map(|address| TcpListener::bind(address).ok()).take(count).collect();
    held.iter().map(|held| held.local_addr().map_err(not_up)).collect()
}

fn port(number: u32) -> u16 {
    let span = u32::from(PORTS.end - PORTS.start);
    PORTS.start.saturating_add(u16::try_from(number % span).unwrap_or_default())
}

/// Has a node see the vault that all see.
fn share_vault(vault: &Path, own: &Path) -> Result<(), Failure> {
    fs::remove_dir(own).and_then(|()| symlink(vault, own)).map_err(|error| output::storage(own, &error))
}

/// The first line that a process says, once it does; the rest is read and dropped, so that it never waits for a reader.
fn first_line(stdout: Option<ChildStdout>) -> Receiver<String> {
    let (sender, said) = channel();
    if let Some(stdout) = stdout {
        thread::spawn(move || {
            let (mut lines, mut line) = (BufReader::new(stdout), String::new());
            if lines.read_line(&mut line).is_ok() {
                // Whoever started it may have gone.
                let _ = sender.send(line);
            }
            let _ = io::copy(&mut lines, &mut io::sink());
        });
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn shape(orgs: usize, apart: bool, gateways: usize) -> Shape {
        Shape { orgs, apart, gateways, channels: 1, in_process: false }
    }

    #[test]
    fn an_organisation_has_one_node_or_one_that_orders_and_one_that_does_the_rest() {
        let together = seats(&shape(4, false, 4)).unwrap();
        assert!(together.iter().all(|seat| seat.roles == NodeRoles::ALL && seat.gateway.is_some()));
        let apart = seats(&shape(4, true, 2)).unwrap();
        assert_eq!((together.len(), apart.len()), (4, 8));
        assert_eq!(apart.iter().filter(|seat| seat.roles.orderer).count(), 4);
        assert!(apart.iter().all(|seat| seat.roles.orderer != seat.roles.custodian));
        let gateways: Vec<_> =
            apart.iter().filter(|seat| seat.gateway.is_some()).map(|seat| seat.name.as_str()).collect();
        assert_eq!(gateways, ["keep-1", "keep-2"]);
    }

    #[test]
    fn no_port_is_given_out_twice() {
        let ports = free_ports(48).unwrap();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 48);
        assert!(ports.iter().all(|address| PORTS.contains(&address.port())));
        assert_eq!((port(0), port(21_999), port(22_000)), (10_000, 31_999, 10_000));
    }
}
