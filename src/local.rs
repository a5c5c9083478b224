//! A network of several organisations on this machine, in one process: real nodes, real TCP on
//! loopback, real stores. What `dmdl demo` and `dmdl up` run on.

use crate::{
    client::{Client, Trust},
    keyfile::{KeyFileError, NodeSecrets},
    node::{FoundError, Handle, HostedNode, KEPT_FREE_MIB, NodeConfig, StartError, StartToken, Votes},
};
use dmdl_audit_ledger::{clock::WallClock, fault::FaultSink, mdca::Peer};
use dmdl_types::{
    charter::SignedCharter,
    genesis::{ChannelConfig, Founding, Genesis, Member, NodeRoles, Person, Role, faults},
    id::{ChannelId, ChannelName, DisplayName, Height, IdError, NodeId, OrgId},
    mdca::MdcaConfig,
    secret::Secret32,
    sign::SigningKey,
};
use getrandom::SysRng;
use rand_core::{Rng as _, UnwrapErr};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// The machine's clock.
#[must_use]
pub fn wall_clock() -> WallClock {
    WallClock::new(SystemTime::now)
}

/// The operating system's generator; without randomness there is no secret, so a failure panics.
#[must_use]
pub const fn os_rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// Why a local network did not come up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// A name is none.
    #[error(transparent)]
    Name(#[from] IdError),
    /// A node's secret cannot be kept, or found again.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A folder cannot be made.
    #[error("`{path}`: {source}")]
    Folder {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The folder holds the nodes of another network.
    #[error("`{0}` holds the nodes of another network than the genesis document names")]
    OtherNetwork(String),
    /// No port is free.
    #[error("no port is free on the loopback address: {0}")]
    Port(std::io::Error),
    /// The nodes do not make blocks.
    #[error("the nodes made no block in {0:?}")]
    NotReady(Duration),
    /// The disk that the nodes are on is full.
    #[error("the disk under `{0}` is full, and a node whose disk is full only reads: make room, and start again")]
    Full(String),
    /// A node did not start.
    #[error("node of `{org}`: {source}")]
    Start {
        /// Whose node.
        org: OrgId,
        /// Why.
        source: StartError,
    },
}

/// What may differ from one local network to another.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How many shares open a record; one more than the organisations that may fail, otherwise.
    pub threshold: Option<u8>,
    /// Blocks an epoch.
    pub epoch_blocks: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { threshold: None, epoch_blocks: 1000 }
    }
}

/// An organisation's node, while it is down.
struct Seat {
    org: OrgId,
    secrets: NodeSecrets,
    address: SocketAddr,
}

/// A network with one node an organisation, each with every role.
pub struct LocalNetwork {
    genesis: Genesis,
    dir: PathBuf,
    seats: Vec<Seat>,
    nodes: Vec<Option<Handle>>,
    faults: FaultSink,
}

impl std::fmt::Debug for LocalNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocalNetwork({})", self.genesis.id())
    }
}

/// A person at a node in this process.
pub type LocalClient = Client<HostedNode, UnwrapErr<SysRng>>;

/// A person of a local network, with the key that others only see half of.
#[derive(Debug)]
pub struct Identity {
    /// The person.
    pub person: Person,
    /// The key.
    pub key: SigningKey,
}

impl Identity {
    /// A new identity.
    ///
    /// # Errors
    /// [`IdError`] when a name is none.
    pub fn new(org: &str, name: &str, role: Role) -> Result<Self, IdError> {
        let key = SigningKey::from_seed(random_secret());
        let person = Person { key: key.public(), org: OrgId::new(org)?, name: DisplayName::new(name)?, role };
        Ok(Self { person, key })
    }

    /// The key once more, for another holder in this process.
    #[must_use]
    pub fn key(&self) -> SigningKey {
        SigningKey::from_seed(self.key.seed().expose(|seed| Secret32::new(*seed)))
    }
}

impl LocalNetwork {
    /// Makes a network of these organisations and people in `dir`, which begins now; no node runs yet.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn create(dir: &Path, orgs: &[&str], people: &[&Identity], shape: Shape) -> Result<Self, LocalError> {
        let mut seats = Vec::new();
        let mut members = Vec::new();
        for (org, address) in orgs.iter().zip(free_addresses(orgs.len())?) {
            let seat = Seat { org: OrgId::new(*org)?, secrets: NodeSecrets::new(), address };
            seat.keep(dir)?;
            members.push(Member {
                node: seat.node(),
                cosigning_key: seat.secrets.cosigning_public(),
                org: seat.org.clone(),
                roles: NodeRoles::ALL,
            });
            seats.push(seat);
        }
        members.sort();
        let mut people: Vec<Person> = people.iter().map(|identity| identity.person.clone()).collect();
        people.sort_by_key(|person| person.key);
        let mut seed = [0; 32];
        os_rng().fill_bytes(&mut seed);
        let tolerated = faults(orgs.len());
        let genesis = Genesis {
            version: 1,
            seed,
            time: wall_clock().now(),
            single_org_demo: false,
            members,
            people,
            channel: ChannelConfig {
                name: ChannelName::new("main")?,
                epoch_blocks: shape.epoch_blocks,
                endorsements: small(tolerated + 1),
                custody_threshold: shape.threshold.unwrap_or(small(tolerated + 1)),
                policy_engine: dmdl_policies::POLICY_ENGINE,
                mdca: MdcaConfig::default(),
            },
        };
        for seat in &seats {
            StartToken { network: genesis.id(), node: seat.node() }.issue(&seat.start_token(dir))?;
        }
        let nodes = seats.iter().map(|_| None).collect();
        Ok(Self { genesis, dir: dir.to_owned(), seats, nodes, faults: FaultSink::nobody() })
    }

    /// Finds a network again that was made in `dir`; no node runs yet.
    ///
    /// # Errors
    /// [`LocalError`] when a node's secrets are not there, or not those of the genesis document.
    pub fn open(dir: &Path, genesis: Genesis) -> Result<Self, LocalError> {
        let mut seats = Vec::new();
        for (member, address) in genesis.members.iter().zip(free_addresses(genesis.members.len())?) {
            let seat = Seat::find(dir, &member.org, address)?;
            if seat.node() != member.node || seat.secrets.cosigning_public() != member.cosigning_key {
                return Err(LocalError::OtherNetwork(dir.display().to_string()));
            }
            seats.push(seat);
        }
        let nodes = seats.iter().map(|_| None).collect();
        Ok(Self { genesis, dir: dir.to_owned(), seats, nodes, faults: FaultSink::nobody() })
    }

    /// Tells of faults of the disk, of the nodes that start from now on, before they stop.
    pub fn tell_faults(&mut self, faults: FaultSink) {
        self.faults = faults;
    }

    /// The genesis document.
    #[must_use]
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The organisations with their nodes and addresses.
    pub fn seats(&self) -> impl Iterator<Item = (&OrgId, NodeId, SocketAddr)> {
        self.seats.iter().map(|seat| (&seat.org, seat.node(), seat.address))
    }

    /// Starts the node of one organisation; one that runs already goes on.
    ///
    /// # Errors
    /// [`LocalError::Start`].
    pub fn start(&mut self, position: usize) -> Result<(), LocalError> {
        let peers = self.peers();
        let (Some(seat), Some(slot)) = (self.seats.get(position), self.nodes.get_mut(position)) else { return Ok(()) };
        if slot.is_some() {
            return Ok(());
        }
        let config = NodeConfig {
            genesis: self.genesis.clone(),
            key: seat.secrets.signing_key(),
            cosigning: seat.secrets.cosigning_key(),
            start_token: seat.start_token(&self.dir),
            votes: Votes::Common,
            listen: seat.address,
            peers,
            dir: self.dir.join(seat.org.as_str()),
            vault: self.dir.join("vault"),
            kept_free_bytes: u64::from(KEPT_FREE_MIB) << 20,
            faults: self.faults.clone(),
        };
        let handle = Handle::start(config).map_err(|source| LocalError::Start { org: seat.org.clone(), source })?;
        *slot = Some(handle);
        Ok(())
    }

    /// Starts all nodes.
    ///
    /// # Errors
    /// [`LocalError::Start`].
    pub fn start_all(&mut self) -> Result<(), LocalError> {
        (0..self.seats.len()).try_for_each(|position| self.start(position))
    }

    /// Waits until every running node has executed a block, which takes a quorum of them.
    ///
    /// # Errors
    /// [`LocalError::NotReady`] and [`LocalError::Full`] when that takes longer than `patience`.
    pub fn wait_ready(&self, patience: Duration) -> Result<(), LocalError> {
        self.wait_ready_unless(patience, || false).map(drop)
    }

    /// The same until `over` says that nobody waits any more; whether they are ready.
    ///
    /// # Errors
    /// As [`Self::wait_ready`].
    pub fn wait_ready_unless(&self, patience: Duration, mut over: impl FnMut() -> bool) -> Result<bool, LocalError> {
        let begun = Instant::now();
        let behind = |node: &&Handle| node.node().channel().tip().height == Height::new(0);
        while self.nodes.iter().flatten().any(|node| behind(&node)) {
            if over() {
                return Ok(false);
            }
            if begun.elapsed() > patience {
                let is_full = self.nodes.iter().flatten().any(|node| node.host().space().is_full());
                let dir = self.dir.display().to_string();
                return Err(if is_full { LocalError::Full(dir) } else { LocalError::NotReady(patience) });
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(true)
    }

    /// Stops the node of one organisation, and waits until it has.
    pub fn stop(&mut self, position: usize) {
        if let Some(handle) = self.nodes.get_mut(position).and_then(Option::take) {
            handle.stop();
        }
    }

    /// The node of one organisation, if it runs.
    #[must_use]
    pub fn node(&self, position: usize) -> Option<&Handle> {
        self.nodes.get(position)?.as_ref()
    }

    /// An organisation whose node has stopped by itself.
    #[must_use]
    pub fn stopped(&self) -> Option<&OrgId> {
        let mut seats = self.seats.iter().zip(&self.nodes);
        seats.find(|(_, node)| node.as_ref().is_some_and(Handle::has_stopped)).map(|(seat, _)| &seat.org)
    }

    /// A person at the node of one organisation, if it runs.
    #[must_use]
    pub fn client(&self, position: usize, identity: &Identity, patience: Duration) -> Option<LocalClient> {
        self.client_on(position, self.genesis.founding(), identity, patience)
    }

    /// The same on another channel, if the node is on it.
    #[must_use]
    pub fn client_on(
        &self,
        position: usize,
        founding: Founding,
        identity: &Identity,
        patience: Duration,
    ) -> Option<LocalClient> {
        let gateway = self.node(position)?.host().node(founding.channel.name.as_str())?;
        Some(Client::new(Trust::new(founding), identity.key(), gateway, os_rng(), patience))
    }

    /// Founds a channel at the first of its members that runs; the others hear of it from that one.
    ///
    /// # Errors
    /// [`FoundError`].
    pub async fn found(&self, charter: SignedCharter) -> Result<ChannelId, FoundError> {
        let member = self.nodes.iter().flatten().find(|handle| charter.charter.has(handle.node().id()));
        member.ok_or(FoundError::NotMember)?.host().found(charter).await
    }

    fn peers(&self) -> Vec<Peer> {
        let peer =
            |seat: &Seat| Peer { node: seat.node(), host: seat.address.ip().to_string(), port: seat.address.port() };
        self.seats.iter().map(peer).collect()
    }
}

impl Seat {
    /// Keeps the node's secrets where [`Seat::find`] finds them.
    fn keep(&self, dir: &Path) -> Result<(), LocalError> {
        let folder = dir.join(self.org.as_str());
        std::fs::create_dir_all(&folder)
            .map_err(|source| LocalError::Folder { path: folder.display().to_string(), source })?;
        Ok(self.secrets.keep(&folder)?)
    }

    fn find(dir: &Path, org: &OrgId, address: SocketAddr) -> Result<Self, LocalError> {
        let secrets = NodeSecrets::find(&dir.join(org.as_str()))?;
        Ok(Self { org: org.clone(), secrets, address })
    }

    fn node(&self) -> NodeId {
        self.secrets.node()
    }

    fn start_token(&self, dir: &Path) -> PathBuf {
        dir.join(self.org.as_str()).join(StartToken::FILE)
    }
}

/// 32 bytes of the operating system's randomness.
pub(crate) fn random_secret() -> Secret32 {
    let mut bytes = [0; 32];
    os_rng().fill_bytes(&mut bytes);
    Secret32::new(bytes)
}

/// A number of organisations or nodes as the genesis document has it; more than it can have is refused there.
pub(crate) fn small(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// Addresses that nobody listens on: all are held at once, so that none is given out twice.
fn free_addresses(count: usize) -> Result<Vec<SocketAddr>, LocalError> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(LocalError::Port);
    let listeners = (0..count).map(bind).collect::<Result<Vec<_>, _>>()?;
    listeners.iter().map(|listener| listener.local_addr().map_err(LocalError::Port)).collect()
}
