//! The file that one node runs by: where its things lie, where it listens, and where the others are.
//!
//! What the node does is not in it: its roles follow from the channel's configuration. It is a gateway if the file says
//! where.

use crate::{
    address::Address,
    gateway,
    keyfile::{KeyFileError, NodeSecrets},
    network_file::{NetworkFile, NetworkFileError},
    node::{KEPT_FREE_MIB, NodeConfig, StartToken, Votes},
    text_file::{TextFile, TextFileError},
};
use dmdl_audit_ledger::fault::FaultSink;
use dmdl_types::{genesis::Genesis, id::NodeId};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
};
use toml::Spanned;

/// Largest such file.
const FILE_BYTES: u64 = 1024 * 1024;

/// Why a node cannot be run by its file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeFileError {
    /// It cannot be read, or something in it is wrong.
    #[error(transparent)]
    Text(#[from] TextFileError),
    /// The network file that it names cannot be used.
    #[error(transparent)]
    Network(#[from] NetworkFileError),
    /// A secret that it names cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
}

/// What a node is started with.
#[derive(Debug)]
pub(crate) struct NodeFile {
    pub(crate) node: NodeConfig,
    pub(crate) gateway: Option<gateway::Config>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    network: PathBuf,
    key: PathBuf,
    cosigning_key: Spanned<PathBuf>,
    start_token: PathBuf,
    listen: Spanned<SocketAddr>,
    data: PathBuf,
    vault: Spanned<PathBuf>,
    gateway: Option<Spanned<RawGateway>>,
    /// Below how much free space, in MiB, the node only reads.
    #[serde(default = "kept_free_mib")]
    keep_free_mib: u32,
    #[serde(default)]
    peer: Vec<RawPeer>,
}

const fn kept_free_mib() -> u32 {
    KEPT_FREE_MIB
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGateway {
    listen: SocketAddr,
    #[serde(default)]
    names: Vec<String>,
    tls: Option<PathBuf>,
    uploads: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPeer {
    node: Spanned<NodeId>,
    address: Spanned<Address>,
}

impl NodeFile {
    /// Reads the file and all that it names; paths in it begin at its own folder.
    pub(crate) fn read(path: &Path) -> Result<Self, NodeFileError> {
        let file = TextFile::read(path, FILE_BYTES)?;
        let Raw { network, key, cosigning_key, start_token, listen, data, vault, keep_free_mib, gateway, peer } =
            file.parse()?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let (data, at_vault) = (folder.join(data), vault.span());
        let vault = folder.join(vault.into_inner());
        if data == vault {
            return Err(file
                .flaw(at_vault, "`vault` and `data` must be two folders: others write to the vault")
                .into());
        }
        let genesis = NetworkFile::read(&folder.join(network))?.genesis;
        let secrets = NodeSecrets::read(&folder.join(key), &folder.join(cosigning_key.get_ref()))?;
        // Of a node that came later, the genesis document knows nothing.
        let founder = genesis.members.iter().find(|member| member.node == secrets.node());
        if founder.is_some_and(|member| member.cosigning_key != secrets.cosigning_public()) {
            return Err(file.flaw(cosigning_key.span(), "the network knows this node by another cosigning key").into());
        }
        let peers = peers(&file, &genesis, secrets.node(), listen.span(), peer)?;
        let peers = peers.into_iter().map(|(node, address)| address.peer(node)).collect();
        let gateway = gateway.map(|gateway| gateway_of(&file, folder, *listen.get_ref(), gateway)).transpose()?;
        let node = NodeConfig {
            genesis,
            key: secrets.signing_key(),
            cosigning: secrets.cosigning_key(),
            start_token: folder.join(start_token),
            votes: Votes::Own,
            listen: listen.into_inner(),
            peers,
            dir: data,
            vault,
            kept_free_bytes: u64::from(keep_free_mib) << 20,
            faults: FaultSink::nobody(),
        };
        Ok(Self { node, gateway })
    }

    /// Where the file of some node says that others are.
    pub(crate) fn peers_in(path: &Path) -> Result<Vec<(NodeId, Address)>, TextFileError> {
        let Raw { peer, .. } = TextFile::read(path, FILE_BYTES)?.parse()?;
        Ok(peer.into_iter().map(|RawPeer { node, address }| (node.into_inner(), address.into_inner())).collect())
    }
}

/// Where others are, each once: founders or not, since nodes come and go. `at` is told if there are none.
fn peers(
    file: &TextFile,
    genesis: &Genesis,
    me: NodeId,
    at: Range<usize>,
    raw: Vec<RawPeer>,
) -> Result<BTreeMap<NodeId, Address>, TextFileError> {
    let (mut peers, mut addresses) = (BTreeMap::new(), BTreeSet::new());
    for RawPeer { node, address } in raw {
        let wrong = |reason| Err(file.flaw(node.span(), reason));
        let id = *node.get_ref();
        if id == me {
            return wrong("this is the node itself, which is no peer of its own");
        }
        if id.key().check().is_err() {
            return wrong("this is no key that a node can have");
        }
        if peers.contains_key(&id) {
            return wrong("this node is listed twice");
        }
        if !addresses.insert(address.get_ref().clone()) {
            return Err(file.flaw(address.span(), "another peer has this address"));
        }
        peers.insert(id, address.into_inner());
    }
    // Who of the founders is still there, the ledger knows; but somebody has to be asked for it.
    if peers.is_empty() && genesis.members.iter().any(|member| member.node != me) {
        return Err(file.flaw(at, "no `[[peer]]` says where another node is: list every one that there is"));
    }
    Ok(peers)
}

fn gateway_of(
    file: &TextFile,
    folder: &Path,
    node_listen: SocketAddr,
    gateway: Spanned<RawGateway>,
) -> Result<gateway::Config, TextFileError> {
    let at = gateway.span();
    let RawGateway { listen, names, tls, uploads } = gateway.into_inner();
    if listen == node_listen {
        return Err(file.flaw(at, "the gateway and the node cannot listen at one address"));
    }
    if tls.is_none() && !listen.ip().is_loopback() {
        return Err(file.flaw(at, "without `tls` a gateway listens on a loopback address only"));
    }
    Ok(gateway::Config {
        listen,
        tls: tls.map(|tls| folder.join(tls)),
        names,
        uploads: folder.join(uploads),
        ..gateway::Config::default()
    })
}

/// What a generated folder calls the network file and the parts of it that only its node has.
pub(crate) const NETWORK_FILE: &str = "network.toml";
pub(crate) const NODE_FILE: &str = "node.toml";
pub(crate) const VAULT: &str = "vault";
pub(crate) const TLS: &str = "tls";

/// The text of the file of a node that has a folder to itself.
pub(crate) fn text(
    listen: SocketAddr,
    gateway: Option<&gateway::Config>,
    peers: impl Iterator<Item = (NodeId, Address)>,
) -> String {
    let mut text = format!(
        "# What `dmdl node` runs this node by. Paths begin at the folder of this file.

network = \"{NETWORK_FILE}\"
key = \"{key}\"
cosigning_key = \"{cosigning}\"
# Used up by the first start. Without it a new node follows, and votes only from a later epoch on: never put it back.
start_token = \"{token}\"
# Where the other nodes connect to.
listen = \"{listen}\"
# The ledger, votes and shares: on a disk of this host alone.
data = \"data\"
# While less than this is free on that disk, the node only reads, and takes no part.
keep_free_mib = {kept}
# Sealed payloads. All nodes of a network MUST see the same folder here: mount a shared one.
vault = \"{VAULT}\"
",
        kept = KEPT_FREE_MIB,
        key = NodeSecrets::KEY_FILE,
        cosigning = NodeSecrets::COSIGNING_FILE,
        token = StartToken::FILE,
    );
    if let Some(gateway::Config { listen, tls, names, .. }) = gateway {
        let names = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let tls = if tls.is_some() { format!("tls = \"{TLS}\"\n") } else { String::new() };
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "\n[gateway]\nlisten = \"{listen}\"\n# Under which hosts people reach it.\nnames = [{names}]\n{tls}\
             uploads = \"uploads\"\n"
        );
    }
    for (node, address) in peers {
        let _ = write!(text, "\n[[peer]]\nnode = \"{node}\"\naddress = \"{address}\"\n");
    }
    text
}
