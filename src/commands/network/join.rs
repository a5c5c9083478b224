//! `dmdl network node`: the folder of a node that joins.

use super::{Report, endpoint, output, text, write_node};
use crate::{
    address::Address,
    commands::session::Globals,
    exit::{Exit, Failure},
    keyfile::NodeSecrets,
    node_file::{self, NodeFile},
    spec::{GatewaySpec, RoleName, check_roles, node_roles},
};
use clap::Args as ClapArgs;
use dmdl_types::{
    genesis::Member,
    id::{NodeId, OrgId},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
};

#[derive(Debug, ClapArgs)]
pub(in crate::commands) struct Args {
    /// The folder to make; nothing is replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Whose node it is.
    #[arg(long)]
    org: OrgId,
    /// Where it listens for the other nodes.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Where the others dial it; where it listens, if nothing is said.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    address: Option<Address>,
    /// What it does in the channel.
    #[arg(long, value_name = "ROLE,…", value_delimiter = ',', default_value = "endorser,orderer,committer,custodian")]
    roles: Vec<RoleName>,
    /// Where people reach it, if it is a gateway, too.
    #[arg(long, value_name = "URL", requires = "gateway_listen")]
    gateway_url: Option<String>,
    /// Where its gateway listens.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "gateway_url")]
    gateway_listen: Option<SocketAddr>,
    /// The file of a node that is there already: its peers become this one's.
    #[arg(long, value_name = "FILE")]
    peers: Option<PathBuf>,
    /// Another node, and where it is: that one itself, and each that came since. Comes before what `--peers` says.
    #[arg(long, value_name = "NODE=HOST:PORT", value_parser = peer)]
    peer: Vec<(NodeId, Address)>,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<Report, Failure> {
    let pin = globals.pin()?;
    let plan = Plan::new(args)?;
    if !output::is_free(&args.out)? {
        let detail = format!("`{}` is not empty, and nothing is replaced: choose another folder", args.out.display());
        return Err(Failure::new(Exit::Usage, "exists", detail));
    }
    output::new_folder(&args.out, |folder| {
        let gateway = plan.gateway.as_ref();
        let peers = plan.peers.iter().map(|(node, address)| (*node, address.clone()));
        write_node(folder, pin.network, &plan.secrets, (args.listen, gateway), peers)?;
        let pin = match gateway {
            Some(gateway) => pin.with_gateway(endpoint(gateway, folder)?),
            None => pin,
        };
        let path = folder.join(node_file::NETWORK_FILE);
        pin.save(&path).map_err(|error| output::storage(&path, &error))
    })?;
    Ok(plan.report(args, globals.quiet))
}

/// A node that is not written yet.
struct Plan {
    secrets: NodeSecrets,
    member: Member,
    address: Address,
    gateway: Option<GatewaySpec>,
    peers: BTreeMap<NodeId, Address>,
}

impl Plan {
    fn new(args: &Args) -> Result<Self, Failure> {
        let roles: BTreeSet<RoleName> = args.roles.iter().copied().collect();
        check_roles(&roles).map_err(usage)?;
        if args.listen.port() == 0 {
            return Err(usage("a node listens at a port that the others know: not 0"));
        }
        let address = match &args.address {
            Some(address) => address.clone(),
            None => address(&args.listen.to_string())
                .map_err(|_| usage("`--listen` is for all addresses: say with `--address` where the others dial it"))?,
        };
        let gateway = match (args.gateway_listen, &args.gateway_url) {
            (Some(listen), _) if listen == args.listen => {
                return Err(usage("the gateway and the node cannot listen at one address"));
            }
            (Some(listen), Some(url)) => Some(GatewaySpec::new(listen, url).map_err(usage)?),
            _ => None,
        };
        let mut peers = BTreeMap::new();
        if let Some(file) = &args.peers {
            let told =
                NodeFile::peers_in(file).map_err(|error| Failure::new(Exit::Configuration, "bad_config", error))?;
            peers.extend(told);
        }
        peers.extend(args.peer.iter().cloned());
        if peers.is_empty() {
            return Err(usage("`--peers` or `--peer` says where the other nodes are: without one it finds nobody"));
        }
        let secrets = NodeSecrets::new();
        let member = Member {
            node: secrets.node(),
            cosigning_key: secrets.cosigning_public(),
            org: args.org.clone(),
            roles: node_roles(&roles),
        };
        Ok(Self { secrets, member, address, gateway, peers })
    }

    /// What is proposed, as a file of changes has it.
    fn change(&self) -> String {
        let Member { node, cosigning_key, org, roles } = &self.member;
        let roles = roles.names().map(|role| format!("\"{role}\"")).collect::<Vec<_>>().join(", ");
        format!(
            "[[change]]\n[change.add-node]\nnode = \"{node}\"\ncosigning_key = \"{cosigning_key}\"\norg = \"{org}\"\n\
             roles = [{roles}]\naddress = \"{}\"",
            self.address
        )
    }

    fn report(&self, args: &Args, quiet: bool) -> Report {
        let config = args.out.join(node_file::NODE_FILE);
        let change = self.change();
        let Member { node, cosigning_key, org, roles } = &self.member;
        let json = json!({
            "node": node, "cosigning_key": cosigning_key, "org": org, "address": self.address.to_string(),
            "roles": text::roles(*roles, self.gateway.is_some()), "config": config.to_string_lossy(),
            "peers": self.peers.len(), "changes": change,
        });
        let text = if quiet {
            change
        } else {
            format!(
                "Node {node} of {org} has its folder, {}, with {} peers.

An admin proposes it, by `dmdl channel update` with these lines in a file:

{change}

Copy the folder to its host and remove it here. The node may be started at once, and waits until it is let in; started
in the epoch before its first, it joins by a snapshot:

  dmdl node --config {}",
                text::path(&args.out),
                self.peers.len(),
                node_file::NODE_FILE,
            )
        };
        Report { text, json, exit: Exit::Ok }
    }
}

fn address(text: &str) -> Result<Address, &'static str> {
    Address::try_from(text.to_owned())
}

fn peer(text: &str) -> Result<(NodeId, Address), String> {
    let (node, at) = text.split_once('=').ok_or("a peer is NODE=HOST:PORT")?;
    let node = node.parse().map_err(|_| "a peer's node is the 64 hexadecimal digits of its id")?;
    Ok((node, address(at)?))
}

fn usage(detail: &str) -> Failure {
    Failure::new(Exit::Usage, "usage", detail)
}
