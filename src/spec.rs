//! The spec of a network: what people write, and `dmdl network generate` makes a network of.
//!
//! Everything that can be told without keys is checked here, with the line that it stands in; the rules of the
//! genesis document are checked with that.

use crate::{
    address::Address,
    text_file::{TextFile, TextFileError},
};
use clap::ValueEnum;
use dmdl_types::{
    genesis::{NodeRoles, Role},
    id::{ChannelName, DisplayName, OrgId},
    mdca::Scenario,
};
use http::Uri;
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::Path,
};
use toml::Spanned;

/// Largest spec.
const FILE_BYTES: u64 = 1024 * 1024;

/// A network as it is described.
#[derive(Debug)]
pub(crate) struct NetworkSpec {
    pub(crate) channel: ChannelSpec,
    pub(crate) nodes: Vec<NodeSpec>,
    pub(crate) people: Vec<PersonSpec>,
}

/// The first channel; what is not said has the usual value.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ChannelSpec {
    pub(crate) name: Option<ChannelName>,
    pub(crate) epoch_blocks: Option<u64>,
    pub(crate) endorsements: Option<u8>,
    pub(crate) custody_threshold: Option<u8>,
    pub(crate) scenario: Scenario,
    pub(crate) single_org_demo: bool,
}

/// A node.
#[derive(Debug)]
pub(crate) struct NodeSpec {
    /// The name of its folder.
    pub(crate) name: DisplayName,
    pub(crate) org: OrgId,
    /// What it does on the ledger: nothing, if it is a gateway alone.
    pub(crate) roles: NodeRoles,
    /// Where the others dial it.
    pub(crate) address: Address,
    /// Where it listens for them.
    pub(crate) listen: SocketAddr,
    pub(crate) gateway: Option<GatewaySpec>,
}

/// A node's gateway.
#[derive(Debug)]
pub(crate) struct GatewaySpec {
    pub(crate) listen: SocketAddr,
    /// Where people reach it.
    pub(crate) url: String,
    /// The host of the URL, with its port.
    pub(crate) name: String,
    /// Whether it speaks TLS.
    pub(crate) is_secure: bool,
}

/// One of the first people.
#[derive(Debug)]
pub(crate) struct PersonSpec {
    pub(crate) org: OrgId,
    /// What the organisation calls them, and the name of their key file.
    pub(crate) name: DisplayName,
    pub(crate) role: Role,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    channel: ChannelSpec,
    #[serde(default)]
    node: Vec<RawNode>,
    #[serde(default)]
    person: Vec<RawPerson>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    name: Spanned<DisplayName>,
    org: OrgId,
    roles: Spanned<BTreeSet<RoleName>>,
    address: Spanned<Address>,
    listen: Option<Spanned<SocketAddr>>,
    gateway: Option<Spanned<RawGateway>>,
}

/// What a node does, by the names that the configuration has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RoleName {
    Endorser,
    Orderer,
    Committer,
    Custodian,
    /// No role in a channel: a node's own file says whether it is one.
    #[value(skip)]
    Gateway,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGateway {
    listen: SocketAddr,
    url: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPerson {
    org: OrgId,
    name: Spanned<DisplayName>,
    role: Role,
}

impl NetworkSpec {
    /// Reads a spec and checks it.
    pub(crate) fn read(path: &Path) -> Result<Self, TextFileError> {
        let file = TextFile::read(path, FILE_BYTES)?;
        let Raw { channel, node, person } = file.parse()?;
        let (mut names, mut addresses, mut urls) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for node in &node {
            if !names.insert(node.name.get_ref().clone()) {
                return Err(file.flaw(node.name.span(), "another node has this name"));
            }
            if !addresses.insert(node.address.get_ref().clone()) {
                return Err(file.flaw(node.address.span(), "another node has this address"));
            }
            let url = node.gateway.as_ref().map(|gateway| &gateway.get_ref().url);
            if let Some(url) = url.filter(|url| !urls.insert(url.get_ref().clone())) {
                return Err(file.flaw(url.span(), "another gateway has this URL"));
            }
        }
        let mut names = BTreeSet::new();
        if let Some(person) = person.iter().find(|person| !names.insert(person.name.get_ref().clone())) {
            return Err(file.flaw(person.name.span(), "another person has this name, and so this key file"));
        }
        let nodes = node.into_iter().map(|node| node.check(&file)).collect::<Result<_, _>>()?;
        let of = |RawPerson { org, name, role }| PersonSpec { org, name: name.into_inner(), role };
        Ok(Self { channel, nodes, people: person.into_iter().map(of).collect() })
    }
}

impl RawNode {
    fn check(self, file: &TextFile) -> Result<NodeSpec, TextFileError> {
        let Self { name, org, roles, address, listen, gateway } = self;
        let has = |role: RoleName| roles.get_ref().contains(&role);
        let wrong_roles = |reason| file.flaw(roles.span(), reason);
        check_roles(roles.get_ref()).map_err(wrong_roles)?;
        let listen = match (listen, address.get_ref().socket()) {
            (Some(listen), _) if listen.get_ref().port() == 0 => {
                return Err(file.flaw(listen.span(), "a node listens at a port that the others know: not 0"));
            }
            (Some(listen), _) => listen.into_inner(),
            (None, Some(address)) => address,
            (None, None) => {
                let reason = "`address` is a name: say with `listen` at which of its own addresses the node listens";
                return Err(file.flaw(address.span(), reason));
            }
        };
        let gateway = match gateway {
            Some(gateway) if !has(RoleName::Gateway) => {
                let reason = "the node has no role `gateway`: add it, or leave out what is said of its gateway";
                return Err(file.flaw(gateway.span(), reason));
            }
            Some(gateway) if gateway.get_ref().listen == listen => {
                return Err(file.flaw(gateway.span(), "the gateway and the node cannot listen at one address"));
            }
            Some(gateway) => Some(gateway.into_inner().check(file)?),
            None if has(RoleName::Gateway) => {
                return Err(wrong_roles(
                    "a gateway needs `gateway = { listen = \"ADDRESS:PORT\", url = \"https://HOST:PORT\" }`",
                ));
            }
            None => None,
        };
        let roles = node_roles(roles.get_ref());
        Ok(NodeSpec { name: name.into_inner(), org, roles, address: address.into_inner(), listen, gateway })
    }
}

/// Refuses what no node can be.
pub(crate) fn check_roles(roles: &BTreeSet<RoleName>) -> Result<(), &'static str> {
    if roles.is_empty() {
        return Err("a node has at least one role");
    }
    if roles.contains(&RoleName::Custodian) && !roles.contains(&RoleName::Committer) {
        return Err("a custodian is also a committer: it believes what its own node executed, and nothing else");
    }
    Ok(())
}

/// What a node does in a channel, where nothing is said of gateways.
pub(crate) fn channel_roles(roles: &BTreeSet<RoleName>) -> Result<NodeRoles, &'static str> {
    if roles.contains(&RoleName::Gateway) {
        return Err("`gateway` is no role in a channel: a node's own file says whether it is one");
    }
    Ok(node_roles(roles))
}

/// What a node does on the ledger.
pub(crate) fn node_roles(roles: &BTreeSet<RoleName>) -> NodeRoles {
    let has = |role: RoleName| roles.contains(&role);
    NodeRoles {
        endorser: has(RoleName::Endorser),
        orderer: has(RoleName::Orderer),
        committer: has(RoleName::Committer),
        custodian: has(RoleName::Custodian),
    }
}

impl RawGateway {
    fn check(self, file: &TextFile) -> Result<GatewaySpec, TextFileError> {
        GatewaySpec::new(self.listen, self.url.get_ref()).map_err(|reason| file.flaw(self.url.span(), reason))
    }
}

impl GatewaySpec {
    /// A gateway that listens here, and that people reach at this URL.
    pub(crate) fn new(listen: SocketAddr, url: &str) -> Result<Self, &'static str> {
        if listen.port() == 0 {
            return Err("a gateway listens at a port that people know: not 0");
        }
        let uri: Uri = url.parse().map_err(|_| "a gateway's URL is `https://HOST:PORT`")?;
        let authority = uri.authority().filter(|_| uri.path() == "/" && uri.query().is_none());
        let authority =
            authority.filter(|authority| !authority.as_str().contains('@') && !authority.as_str().ends_with(':'));
        let (Some(authority), Some(scheme)) = (authority, uri.scheme_str()) else {
            return Err("a gateway's URL is `https://HOST:PORT`, without a path");
        };
        let is_secure = match scheme {
            "https" => true,
            "http" if listen.ip().is_loopback() && is_here(authority.host()) => false,
            _ => return Err("a gateway's URL begins with `https`, or with `http` on a loopback address alone"),
        };
        let name = match authority.port() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:{}", if is_secure { 443 } else { 80 }),
        };
        Ok(Self { listen, name, is_secure, url: url.trim_end_matches('/').to_owned() })
    }
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
