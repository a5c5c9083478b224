//! `dmdl network`: the folders of a network whose nodes are separate processes.

mod join;

use super::{Report, failure, output, session::Globals, text};
use crate::{
    address::Address,
    exit::{Exit, Failure},
    gateway,
    keyfile::{self, NodeSecrets},
    local::{Identity, os_rng, small, wall_clock},
    network_file::{CertificateDigest, Endpoint, NetworkFile},
    node::StartToken,
    node_file,
    spec::{ChannelSpec, GatewaySpec, NetworkSpec, NodeSpec, PersonSpec},
};
use clap::{Args as ClapArgs, Subcommand};
use dmdl_types::{
    genesis::{ChannelConfig, Genesis, Member, faults},
    id::{ChannelName, NetworkId, NodeId},
};
use rand_core::Rng as _;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Blocks an epoch, unless the spec says otherwise.
const EPOCH_BLOCKS: u64 = 1000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Makes the genesis document of a network, and a folder for each of its nodes with all that its host needs:
    /// keys, a configuration, and a start token that is used up once.
    #[command(after_help = "Example:
  dmdl network generate --spec examples/four-hospitals.toml --out hospital-network
  dmdl node --config hospital-network/nodes/north/node.toml")]
    Generate(Generate),
    /// Makes the folder of a node that joins a network which is there already: keys, a configuration, a start token.
    /// Says what an admin proposes, so that the others let it in.
    #[command(after_help = "Example:
  dmdl --network network.toml network node --out fifth --org fifth-hospital --listen 10.0.0.5:7401 \\
      --peers nodes/north/node.toml --peer 1f0c…=north.example:7401 -q > fifth.toml
  dmdl --network network.toml --as admin.key channel update main fifth.toml
  dmdl node --config fifth/node.toml")]
    Node(Box<join::Args>),
}

#[derive(Debug, ClapArgs)]
pub(super) struct Generate {
    /// What the network is: its channel, nodes and people, in TOML.
    #[arg(long, value_name = "FILE")]
    spec: PathBuf,
    /// The folder to make; nothing is replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(super) fn run(command: &Command, globals: &Globals) -> Result<Report, Failure> {
    match command {
        Command::Generate(args) => generate(args, globals.quiet),
        Command::Node(args) => join::run(args, globals),
    }
}

fn generate(args: &Generate, quiet: bool) -> Result<Report, Failure> {
    let Generate { spec: path, out } = args;
    let spec = NetworkSpec::read(path).map_err(|error| Failure::new(Exit::Configuration, "bad_spec", error))?;
    if !output::is_free(out)? {
        let detail = format!("`{}` is not empty, and nothing is replaced: choose another folder", out.display());
        return Err(Failure::new(Exit::Usage, "exists", detail));
    }
    let identity =
        |person: &PersonSpec| Identity::new(person.org.as_str(), person.name.as_str(), person.role).map_err(internal);
    let people = spec.people.iter().map(identity).collect::<Result<Vec<_>, _>>()?;
    let plan = Plan::new(&spec.channel, &spec.nodes, &people)?;
    plan.genesis.check().map_err(|error| {
        let detail = format!("`{}` describes no network that can be trusted: {error}", path.display());
        Failure::new(Exit::Configuration, "bad_spec", detail)
    })?;
    output::new_folder(out, |made| plan.write(made))?;
    Ok(plan.report(out, quiet))
}

/// A network that is not written yet.
pub(super) struct Plan<'a> {
    genesis: Genesis,
    nodes: Vec<(&'a NodeSpec, NodeSecrets)>,
    people: &'a [Identity],
}

impl<'a> Plan<'a> {
    /// Draws the keys of all nodes.
    pub(super) fn new(spec: &ChannelSpec, nodes: &'a [NodeSpec], people: &'a [Identity]) -> Result<Self, Failure> {
        let nodes: Vec<_> = nodes.iter().map(|node| (node, NodeSecrets::new())).collect();
        let member = |(node, secrets): &(&NodeSpec, NodeSecrets)| Member {
            node: secrets.node(),
            cosigning_key: secrets.cosigning_public(),
            org: node.org.clone(),
            roles: node.roles,
        };
        let mut members: Vec<Member> = nodes.iter().map(member).collect();
        members.sort();
        let mut known: Vec<_> = people.iter().map(|identity| identity.person.clone()).collect();
        known.sort_by_key(|person| person.key);
        let mut seed = [0; 32];
        os_rng().fill_bytes(&mut seed);
        let genesis = Genesis {
            version: 1,
            seed,
            time: wall_clock().now(),
            single_org_demo: spec.single_org_demo,
            channel: channel(spec, &members)?,
            members,
            people: known,
        };
        Ok(Self { genesis, nodes, people })
    }

    fn network(&self) -> NetworkId {
        self.genesis.id()
    }

    fn write(&self, dir: &Path) -> Result<(), Failure> {
        let identities = dir.join("identities");
        output::subfolder(&identities)?;
        for identity in self.people {
            let path = identities.join(format!("{}.key", identity.person.name));
            keyfile::write(&path, identity, None, &mut os_rng()).map_err(|error| failure::key_file(&error))?;
        }
        self.write_nodes(dir).map(drop)
    }

    /// Writes the folder of each node, in `nodes`, and the network file, which it gives.
    pub(super) fn write_nodes(&self, dir: &Path) -> Result<NetworkFile, Failure> {
        let nodes = dir.join("nodes");
        output::subfolder(&nodes)?;
        let mut pin = NetworkFile::of(self.genesis.clone());
        for (node, secrets) in &self.nodes {
            let folder = nodes.join(node.name.as_str());
            output::subfolder(&folder)?;
            self.write_node(node, secrets, &folder)?;
            if let Some(gateway) = &node.gateway {
                pin = pin.with_gateway(endpoint(gateway, &folder)?);
            }
        }
        let folders = self.nodes.iter().map(|(node, _)| nodes.join(node.name.as_str()));
        for folder in folders.chain([dir.to_owned()]) {
            let path = folder.join(node_file::NETWORK_FILE);
            pin.save(&path).map_err(|error| output::storage(&path, &error))?;
        }
        Ok(pin)
    }

    fn write_node(&self, node: &NodeSpec, secrets: &NodeSecrets, folder: &Path) -> Result<(), Failure> {
        let others = self.nodes.iter().map(|(other, secrets)| (secrets.node(), other.address.clone()));
        let peers = others.filter(|(other, _)| *other != secrets.node());
        write_node(folder, self.network(), secrets, (node.listen, node.gateway.as_ref()), peers)
    }

    fn report(&self, dir: &Path, quiet: bool) -> Report {
        let config_of = |node: &NodeSpec| dir.join("nodes").join(node.name.as_str()).join(node_file::NODE_FILE);
        let (pin, identities) = (dir.join(node_file::NETWORK_FILE), dir.join("identities"));
        let orgs = self.genesis.members.iter().map(|member| &member.org).collect::<BTreeSet<_>>().len();
        let nodes: Vec<Value> = self
            .nodes
            .iter()
            .map(|(node, secrets)| {
                json!({
                    "name": node.name, "node": secrets.node(), "org": node.org,
                    "roles": text::roles(node.roles, node.gateway.is_some()),
                    "config": config_of(node).to_string_lossy(),
                })
            })
            .collect();
        let json = json!({
            "network": self.network(), "dir": dir.to_string_lossy(), "network_file": pin.to_string_lossy(),
            "identities": identities.to_string_lossy(), "organisations": orgs, "nodes": nodes,
            "endorsements": self.genesis.channel.endorsements, "threshold": self.genesis.channel.custody_threshold,
        });
        let text = if quiet {
            self.network().to_string()
        } else {
            format!(
                "Network {} of {} nodes and {orgs} organisations.

  pin         {}
  nodes       {}, a folder for each host
  identities  {}, without passphrases: give each to whom it names

Copy each node's folder to its host, remove it here, and start the node there:

  dmdl node --config node.toml",
                self.network(),
                self.nodes.len(),
                text::path(&pin),
                text::path(&dir.join("nodes")),
                text::path(&identities),
            )
        };
        Report { text, json, exit: Exit::Ok }
    }
}

/// A channel: what the spec does not say follows from how many there are.
pub(super) fn channel(spec: &ChannelSpec, members: &[Member]) -> Result<ChannelConfig, Failure> {
    let endorsing = members.iter().filter(|member| member.roles.endorser).map(|member| &member.org);
    let endorsing = endorsing.collect::<BTreeSet<_>>().len();
    let custodians = members.iter().filter(|member| member.roles.custodian).count();
    Ok(ChannelConfig {
        name: match &spec.name {
            Some(name) => name.clone(),
            None => ChannelName::new("main").map_err(internal)?,
        },
        epoch_blocks: spec.epoch_blocks.unwrap_or(EPOCH_BLOCKS),
        endorsements: spec.endorsements.unwrap_or(small(faults(endorsing) + 1)),
        custody_threshold: spec.custody_threshold.unwrap_or(small(faults(custodians) + 1)),
        policy_engine: dmdl_policies::POLICY_ENGINE,
        mdca: spec.scenario.config(),
    })
}

/// Writes what only this node has into its folder, and makes the place of the vault.
fn write_node(
    folder: &Path,
    network: NetworkId,
    secrets: &NodeSecrets,
    (listen, gateway): (SocketAddr, Option<&GatewaySpec>),
    peers: impl Iterator<Item = (NodeId, Address)>,
) -> Result<(), Failure> {
    output::subfolder(&folder.join(node_file::VAULT))?;
    secrets.keep(folder).map_err(|error| failure::key_file(&error))?;
    // The keys are new: nobody has voted with them, on any folder.
    let token = StartToken { network, node: secrets.node() };
    token.issue(&folder.join(StartToken::FILE)).map_err(|error| failure::key_file(&error))?;
    let gateway = gateway.map(|gateway| config(gateway, folder));
    let text = node_file::text(listen, gateway.as_ref(), peers);
    output::NewFile::create(&folder.join(node_file::NODE_FILE))?.whole(text.as_bytes())
}

/// What a gateway is started with, in the folder of its node.
fn config(gateway: &GatewaySpec, folder: &Path) -> gateway::Config {
    gateway::Config {
        listen: gateway.listen,
        tls: gateway.is_secure.then(|| folder.join(node_file::TLS)),
        names: vec![gateway.name.clone()],
        ..gateway::Config::default()
    }
}

/// Where a gateway is, with the certificate that is made for it here.
fn endpoint(gateway: &GatewaySpec, folder: &Path) -> Result<Endpoint, Failure> {
    let certificate = config(gateway, folder).certificate_sha256();
    let certificate = certificate.map_err(|error| match error {
        gateway::TlsError::Make(_) => {
            Failure::new(Exit::Configuration, "bad_spec", format!("`{}`: {error}", gateway.url))
        }
        error => Failure::new(Exit::Storage, "storage", error),
    })?;
    Ok(Endpoint { url: gateway.url.clone(), certificate_sha256: certificate.map(CertificateDigest) })
}

fn internal(error: impl ToString) -> Failure {
    Failure::new(Exit::Internal, "internal", error)
}
