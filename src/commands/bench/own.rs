//! A network of our own, in a temporary folder: its nodes in processes of their own, or all in this one.

use super::{super::ends::Ends, files::AtRest, machine, meter::Part, processes::Processes};
use crate::{
    exit::{Exit, Failure},
    gateway::{self, Server},
    local::{Identity, LocalError, LocalNetwork},
    network_file::{CertificateDigest, Endpoint, NetworkFile},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// How long the nodes may take to make a block.
const START: Duration = Duration::from_secs(60);

/// What a network of our own is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) orgs: usize,
    /// Whether who orders does nothing else.
    pub(super) apart: bool,
    pub(super) in_process: bool,
    pub(super) channels: usize,
    /// How many organisations run one.
    pub(super) gateways: usize,
}

impl Shape {
    /// The organisations, by their names.
    pub(super) fn names(&self) -> impl Iterator<Item = String> + use<> {
        (1..=self.orgs).map(|number| format!("org-{number}"))
    }
}

/// A network that is gone with this value.
pub(super) enum Own {
    Processes(Processes),
    Inside(Box<Inside>),
}

/// Nodes and gateways on threads of this process.
pub(super) struct Inside {
    // Dropped in this order: nobody writes into the folder when it is removed.
    servers: Vec<Server>,
    runtime: Runtime,
    network: LocalNetwork,
    folder: TempDir,
}

impl Own {
    /// Makes a network in which these people are the first, and starts it; says where its gateways are.
    pub(super) fn start(shape: &Shape, people: &[Identity], ends: &mut Ends) -> Result<(Self, NetworkFile), Failure> {
        if shape.in_process {
            let (inside, pin) = Inside::start(shape, people, ends)?;
            return Ok((Self::Inside(Box::new(inside)), pin));
        }
        let (processes, pin) = Processes::start(shape, people, ends)?;
        Ok((Self::Processes(processes), pin))
    }

    /// What is measured of it.
    pub(super) fn parts(&self) -> Vec<Part> {
        match self {
            Self::Processes(processes) => processes.parts(),
            Self::Inside(inside) => inside.parts(),
        }
    }

    /// How many processes its nodes are; none of their own.
    pub(super) fn processes(&self) -> Option<usize> {
        match self {
            Self::Processes(processes) => Some(processes.parts().len()),
            Self::Inside(_) => None,
        }
    }

    /// What its folder is on.
    pub(super) fn file_system(&self) -> String {
        machine::file_system(match self {
            Self::Processes(processes) => processes.folder(),
            Self::Inside(inside) => inside.folder.path(),
        })
    }

    /// Fails if a node has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        match self {
            Self::Processes(processes) => processes.check(),
            Self::Inside(inside) => match inside.network.stopped() {
                None => Ok(()),
                Some(org) => Err(not_up(format!("the node of `{org}` has stopped"))),
            },
        }
    }

    /// Takes it down, and says what its nodes keep if somebody wants to know.
    pub(super) fn stop(self, looks: bool) -> Result<Option<AtRest>, Failure> {
        let nodes: Vec<PathBuf> = self.parts().into_iter().map(|part| part.folder).collect();
        let (folder, stopped) = match self {
            Self::Processes(processes) => processes.stop(),
            Self::Inside(inside) => (inside.stop(), Ok(())),
        };
        let at_rest = looks.then(|| AtRest::of(&nodes)).transpose();
        remove(folder)?;
        stopped?;
        at_rest.map_err(|error| Failure::new(Exit::Storage, "storage", error))
    }
}

impl Inside {
    fn start(shape: &Shape, people: &[Identity], ends: &mut Ends) -> Result<(Self, NetworkFile), Failure> {
        let folder = folder_for()?;
        let nodes = folder.path().join("nodes");
        let (names, people): (Vec<String>, Vec<&Identity>) = (shape.names().collect(), people.iter().collect());
        let orgs: Vec<&str> = names.iter().map(String::as_str).collect();
        let network = LocalNetwork::create(&nodes, &orgs, &people, crate::local::Shape::default());
        let mut network = network.map_err(not_up)?;
        network.start_all().map_err(not_up)?;
        if !network.wait_ready_unless(START, || ends.came()).map_err(not_up)? {
            return Err(interrupted());
        }
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name(gateway::THREADS).enable_all().build();
        let runtime = runtime.map_err(not_up)?;
        let mut pin = NetworkFile::of(network.genesis().clone());
        let mut servers = Vec::new();
        for position in 0..shape.gateways {
            let host = network.node(position).ok_or_else(|| not_up(LocalError::NotReady(START)))?.host().clone();
            let own = folder.path().join(format!("gateway-{position}"));
            let config = gateway::Config {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                tls: Some(own.join("tls")),
                uploads: own.join("uploads"),
                ..gateway::Config::default()
            };
            let server = runtime.block_on(Server::start(config, host));
            let server = server.map_err(|error| Failure::new(Exit::Configuration, "listen", error))?;
            pin = pin.with_gateway(Endpoint {
                url: format!("https://{}", server.address()),
                certificate_sha256: server.certificate_sha256().map(CertificateDigest),
            });
            servers.push(server);
        }
        Ok((Self { servers, runtime, network, folder }, pin))
    }

    fn parts(&self) -> Vec<Part> {
        let nodes = self.folder.path().join("nodes");
        let part = |name: String| Part { folder: nodes.join(&name), name, process: None };
        self.network.seats().map(|(org, ..)| part(org.to_string())).collect()
    }

    fn stop(self) -> TempDir {
        let Self { servers, runtime, mut network, folder } = self;
        for server in servers {
            runtime.block_on(server.stop());
        }
        drop(runtime);
        (0..network.genesis().members.len()).for_each(|position| network.stop(position));
        folder
    }
}

/// A folder that is removed with the value.
pub(super) fn folder_for() -> Result<TempDir, Failure> {
    let folder = tempfile::Builder::new().prefix("dmdl-bench-").tempdir();
    folder.map_err(|error| Failure::new(Exit::Storage, "storage", error))
}

/// Removes it, and says so if that fails.
fn remove(folder: TempDir) -> Result<(), Failure> {
    let path = folder.path().display().to_string();
    let left = |error| Failure::new(Exit::Storage, "storage", format!("`{path}` could not be removed: {error}"));
    folder.close().map_err(left)
}

/// Somebody has ended it before its time.
pub(super) fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted", "interrupted; nothing was measured")
}

pub(super) fn not_up(error: impl ToString) -> Failure {
    Failure::new(Exit::Unavailable, "network", error)
}
