//! Four whole nodes on a simulated network, each of which can crash and come back.
//!
//! What outlives a crash is what a disk would keep: the committed batches of the store, the
//! custodian's secrets, and what the engine has synced. Everything else goes with the node's tasks.

use super::{
    clock::SimClock,
    plan::{HEALED, Plan},
};
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::ed25519;
use commonware_p2p::simulated::{self, Control, Link, Network, Oracle};
use commonware_runtime::{Clock as _, Handle, Quota, Spawner as _, Supervisor as _, deterministic};
use commonware_utils::{NZU32, NZUsize};
use dmdl::node::{Backing, Beside, Node, Posts, Secrets, SharedNode};
use dmdl_audit_ledger::{
    channel::{Latest, Standing},
    mdca::{
        self, CLOCK_BOUND_MS, Engine, EngineBlock, Links, Post, Seats, Timing, WIRE_BYTES_MAX, WireReceiver,
        WireSender, message_bytes_max,
    },
    store::MemoryStore,
};
use dmdl_types::{
    block::Block,
    checkpoint::CosigningKey,
    genesis::{ChannelConfig, Genesis, Member, NodeRoles, Person, Role, faults},
    id::{ChannelName, DisplayName, NodeId, OrgId, UnixMillis},
    mdca::MdcaConfig,
    secret::Secret32,
    sign::SigningKey,
};
use dmdl_vault::{custodian::MemoryKeys, store::PayloadStore};
use rand_core::Rng as _;
use std::{
    cell::RefCell,
    num::NonZeroU64,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tokio::sync::oneshot;

pub(crate) const NODES: usize = 4;
pub(crate) const ORGS: [&str; NODES] = ["city-hospital", "university-clinic", "research-institute", "health-registry"];

pub(crate) type Runtime = deterministic::Context;
pub(crate) type SimNode = SharedNode<Runtime, MemoryStore>;

pub(crate) struct Cluster {
    pub(crate) genesis: Genesis,
    pub(crate) seats: Vec<Seat>,
    runtime: Runtime,
    oracle: Oracle<ed25519::PublicKey, Runtime>,
    payloads: PayloadStore,
}

/// A node's place: what stays when the node goes.
pub(crate) struct Seat {
    pub(crate) store: MemoryStore,
    /// The node, while it runs.
    pub(crate) up: Latest<Option<SimNode>>,
    pub(crate) clock: Arc<SimClock>,
    seed: [u8; 32],
    cosigning: [u8; 32],
    secrets: Arc<Mutex<MemoryKeys>>,
    task: RefCell<Option<Handle<()>>>,
}

impl Seat {
    fn key(&self) -> SigningKey {
        SigningKey::from_seed(Secret32::new(self.seed))
    }

    fn peer(&self) -> ed25519::PublicKey {
        ed25519::PublicKey::decode(Copying(self.key().public().as_bytes())).unwrap()
    }

    pub(crate) fn id(&self) -> NodeId {
        NodeId::of_key(self.key().public())
    }
}

impl Cluster {
    /// Four nodes of four organisations, running, and people with these keys and roles.
    pub(crate) async fn start(runtime: Runtime, plan: &Plan, people: &[([u8; 32], Role)]) -> Self {
        let seats: Vec<Seat> = (0..NODES).map(|_| Seat::new(&runtime)).collect();
        for (position, seat) in seats.iter().enumerate() {
            seat.clock.set(plan.clock_at_first(position));
        }
        let genesis = genesis(&runtime, &seats, plan, people);
        let config = simulated::Config {
            max_size: message_bytes_max().max(u32::try_from(WIRE_BYTES_MAX).unwrap()),
            max_peers_per_set: NZUsize!(NODES),
            disconnect_on_block: true,
            tracked_peer_sets: NZUsize!(1),
        };
        let peers: Vec<_> = seats.iter().map(Seat::peer).collect();
        let (network, oracle) = Network::new_with_peers(runtime.child("network"), config, peers).await;
        network.start();
        let cluster = Self { genesis, seats, runtime, oracle, payloads: PayloadStore::in_memory() };
        cluster.connect(&plan.link()).await;
        for seat in 0..NODES {
            cluster.boot(seat).await;
        }
        cluster
    }

    pub(crate) const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(crate) fn seat_of(&self, node: NodeId) -> usize {
        self.seats.iter().position(|seat| seat.id() == node).unwrap()
    }

    /// Starts a node on whatever it left behind.
    pub(crate) async fn boot(&self, position: usize) {
        let seat = &self.seats[position];
        let control = self.oracle.control(seat.peer());
        let (links, gossip, requests) = wire(&control).await;
        let (genesis, keys) =
            (self.genesis.clone(), (seat.key(), CosigningKey::from_seed(Secret32::new(seat.cosigning))));
        let backing = Backing {
            standing: Standing::Votes,
            store: seat.store.reopen().unwrap(),
            secrets: Secrets::Memory(Arc::clone(&seat.secrets)),
            payloads: self.payloads.clone(),
            beside: Beside::in_memory(),
        };
        let (engine_key, wall) = (seat.key(), seat.clock.wall());
        let (started, node) = oneshot::channel();
        // One task is the whole node, so that aborting it is a crash.
        let task = self.runtime.child("node").with_attribute("index", position).spawn(move |runtime| async move {
            let posts = Posts { gossip: Post::carry(&runtime, gossip), requests: Post::carry(&runtime, requests) };
            let node = Node::assemble(runtime.child("dmdl"), wall, &genesis, keys, backing, posts).unwrap();
            let links = Seats::new(&runtime, links).seat(genesis.channel_id()).await.unwrap();
            let config = mdca::Config {
                domain: genesis.domain(),
                epoch_length: NonZeroU64::new(genesis.channel.epoch_blocks).unwrap(),
                genesis: EngineBlock::new(Block::genesis(&genesis)).unwrap(),
                partition_prefix: format!("node-{position}-"),
                timing: Timing::default(),
                ledger: node.channel().clone(),
                blocker: control,
            };
            let mut engine = Engine::start(runtime.child("engine"), &engine_key, config, links).await.unwrap();
            node.drive(engine.chain().clone());
            let _ = started.send(node);
            let halt = engine.stopped().await;
            panic!("node {position} stopped by itself: {halt}");
        });
        seat.up.set(Some(node.await.unwrap()));
        seat.task.replace(Some(task));
    }

    /// Ends a node between two of its steps.
    pub(crate) async fn crash(&self, position: usize) {
        let seat = &self.seats[position];
        let task = seat.task.take().unwrap();
        task.abort();
        seat.up.set(None);
        let _ = task.await;
        // The aborted tasks let go of their files when they are next polled.
        self.runtime.sleep(Duration::from_millis(10)).await;
    }

    /// Takes all faults off the network.
    pub(crate) async fn heal(&self) {
        self.connect(&HEALED).await;
    }

    /// Takes links away: nothing is sent on them, and nobody is told.
    pub(crate) async fn cut(&self, links: &[(usize, usize)]) {
        for (from, to) in links {
            // One that is gone already stays gone.
            let _ = self.oracle.remove_link(self.seats[*from].peer(), self.seats[*to].peer()).await;
        }
    }

    /// Gives links back.
    pub(crate) async fn mend(&self, links: &[(usize, usize)], link: &Link) {
        for (from, to) in links {
            self.oracle.add_link(self.seats[*from].peer(), self.seats[*to].peer(), link.clone()).await.unwrap();
        }
    }

    /// The latest time that a final block may have: a quorum voted for it, each by a clock that was not
    /// behind it by more than the bound.
    pub(crate) fn latest_block_time(&self) -> UnixMillis {
        let mut shown: Vec<UnixMillis> = self.seats.iter().map(|seat| seat.clock.latest()).collect();
        shown.sort();
        shown[faults(NODES)].plus_ms(CLOCK_BOUND_MS)
    }

    /// Who has cut off whom for breaking the protocol.
    pub(crate) async fn cut_off(&self) -> usize {
        self.oracle.blocked().await.unwrap().len()
    }

    async fn connect(&self, link: &Link) {
        let all = (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to)));
        let links: Vec<_> = all.filter(|(from, to)| from != to).collect();
        // A link that is there already would stay as it is.
        self.cut(&links).await;
        self.mend(&links, link).await;
    }
}

type Sender = simulated::Sender<ed25519::PublicKey, Runtime>;
type Receiver = simulated::Receiver<ed25519::PublicKey>;
type Wire = (WireSender<Sender>, WireReceiver<Receiver>);

/// The links of one node, as the real network has them.
async fn wire(control: &Control<ed25519::PublicKey, Runtime>) -> (Links<Sender, Receiver>, Wire, Wire) {
    let quota = Quota::per_second(NZU32!(1024));
    let mut ends = Vec::new();
    for channel in 0..7 {
        ends.push(control.register(channel, quota).await.unwrap());
    }
    let [votes, certificates, resolver, blocks, backfill, gossip, requests] = ends.try_into().ok().unwrap();
    let post = |(sender, receiver)| (WireSender::new(sender), WireReceiver::new(receiver));
    (Links { votes, certificates, resolver, blocks, backfill }, post(gossip), post(requests))
}

impl Seat {
    fn new(runtime: &Runtime) -> Self {
        Self {
            store: MemoryStore::new(),
            up: Latest::new(None),
            clock: Arc::new(SimClock::new(runtime.child("clock"))),
            seed: secret(runtime),
            cosigning: secret(runtime),
            secrets: Arc::default(),
            task: RefCell::default(),
        }
    }
}

/// A secret of the seed.
pub(crate) fn secret(runtime: &Runtime) -> [u8; 32] {
    let mut bytes = [0; 32];
    runtime.child("secret").fill_bytes(&mut bytes);
    bytes
}

fn genesis(runtime: &Runtime, seats: &[Seat], plan: &Plan, people: &[([u8; 32], Role)]) -> Genesis {
    let mut members: Vec<Member> = seats
        .iter()
        .zip(ORGS)
        .map(|(seat, org)| Member {
            node: seat.id(),
            cosigning_key: CosigningKey::from_seed(Secret32::new(seat.cosigning)).public(),
            org: OrgId::new(org).unwrap(),
            roles: NodeRoles::ALL,
        })
        .collect();
    members.sort();
    let mut people: Vec<Person> = people
        .iter()
        .zip(ORGS)
        .map(|((seed, role), org)| Person {
            key: SigningKey::from_seed(Secret32::new(*seed)).public(),
            org: OrgId::new(org).unwrap(),
            name: DisplayName::new("somebody").unwrap(),
            role: *role,
        })
        .collect();
    people.sort_by_key(|person| person.key);
    let now = runtime.current().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let needed = u8::try_from(faults(NODES) + 1).unwrap();
    Genesis {
        version: 1,
        seed: secret(runtime),
        time: UnixMillis::new(u64::try_from(now.as_millis()).unwrap()),
        single_org_demo: false,
        members,
        people,
        channel: ChannelConfig {
            name: ChannelName::new("main").unwrap(),
            epoch_blocks: plan.epoch_blocks,
            endorsements: needed,
            custody_threshold: needed,
            policy_engine: dmdl_policies::POLICY_ENGINE,
            mdca: MdcaConfig::default(),
        },
    }
}
