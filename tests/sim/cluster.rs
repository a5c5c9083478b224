//! Whole nodes on a simulated network, each of which can crash and come back, and one more that may join them.
//!
//! What outlives a crash is what a disk would keep: the committed batches of the store, the
//! custodian's secrets, what the engine has synced, and some of what it has not. Everything else goes with the node's tasks.

use super::{
    clock::millis,
    disk::Left,
    on_disk::OnDisk,
    plan::{HEALED, Plan},
    seat::{Ground, PLACE, Seat, secret},
    wire::{Ends, wire},
};
use commonware_cryptography::ed25519;
use commonware_p2p::{
    Sender,
    simulated::{self, Link, Network, Oracle},
};
use commonware_runtime::{Clock as _, Handle, Spawner as _, Supervisor as _, deterministic};
use commonware_utils::NZUsize;
use dmdl::node::{Backing, Beside, Joined, Node, OwnDisk, Posts, Secrets, SharedNode, join};
use dmdl_audit_ledger::{
    channel::Standing,
    fault::FaultSink,
    mdca::{self, CLOCK_BOUND_MS, Engine, EngineBlock, Seats, Timing, message_bytes_max},
    snapshot::{self, Joining, Progress},
    store::MemoryStore,
};
use dmdl_types::{
    block::Block,
    genesis::{ChannelConfig, EpochConfig, Genesis, Member, NodeRoles, Person, Role, faults},
    id::{ChannelName, DisplayName, NodeId, OrgId, UnixMillis},
    mdca::MdcaConfig,
    secret::Secret32,
    sign::SigningKey,
    snapshot::{Part, Question},
};
use dmdl_vault::store::PayloadStore;
use std::{
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::oneshot;

/// The nodes of the genesis document, where nobody asks for more.
pub(crate) const NODES: usize = 4;
/// The most that there can be.
pub(crate) const NODES_MAX: usize = ORGS.len();
/// An organisation for each of them.
pub(crate) const ORGS: [&str; 7] = [
    "city-hospital",
    "university-clinic",
    "research-institute",
    "health-registry",
    "cancer-centre",
    "childrens-hospital",
    "blood-bank",
];

pub(crate) type Runtime = deterministic::Context;
pub(crate) type SimNode = SharedNode<Runtime, MemoryStore>;

pub(crate) struct Cluster {
    pub(crate) genesis: Genesis,
    pub(crate) seats: Vec<Seat>,
    runtime: Runtime,
    oracle: Oracle<ed25519::PublicKey, Runtime>,
    payloads: PayloadStore,
}

impl Cluster {
    /// The nodes of a plan, each of another organisation, running, and people with these keys and roles.
    pub(crate) async fn start(runtime: Runtime, plan: &Plan, people: &[([u8; 32], Role)]) -> Self {
        let seats: Vec<Seat> =
            (0..=plan.nodes).map(|position| Seat::new(&runtime, position, position < plan.nodes)).collect();
        for (position, seat) in seats.iter().enumerate() {
            seat.clock.set(plan.clock_at_first(position));
        }
        let genesis = genesis(&runtime, &seats[..plan.nodes], plan, people);
        let config = simulated::Config {
            max_size: message_bytes_max(),
            max_peers_per_set: NZUsize!(NODES_MAX + 1),
            disconnect_on_block: true,
            tracked_peer_sets: NZUsize!(1),
        };
        let peers: Vec<_> = seats.iter().map(Seat::peer).collect();
        let (network, oracle) = Network::new_with_peers(runtime.child("network"), config, peers).await;
        network.start();
        let cluster = Self { genesis, seats, runtime, oracle, payloads: PayloadStore::in_memory() };
        cluster.connect(&plan.link()).await;
        for seat in 0..plan.nodes {
            cluster.boot(seat).await;
        }
        cluster
    }

    /// How many nodes the genesis document has.
    pub(crate) fn nodes(&self) -> usize {
        self.genesis.members.len()
    }

    /// The seat of the one that is no member at first.
    pub(crate) fn newcomer(&self) -> usize {
        self.nodes()
    }

    pub(crate) const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(crate) fn seat_of(&self, node: NodeId) -> usize {
        self.seats.iter().position(|seat| seat.id() == node).unwrap()
    }

    /// The seats of the genesis document's nodes.
    pub(crate) fn founders(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().take(self.nodes())
    }

    /// The seats of the members.
    pub(crate) fn members(&self) -> impl DoubleEndedIterator<Item = &Seat> {
        self.seats.iter().filter(|seat| seat.member.get())
    }

    /// Starts a node on whatever it left behind.
    pub(crate) async fn boot(&self, position: usize) {
        assert!(self.try_boot(position).await, "node {position} does not start");
    }

    /// The same of a node that need not start.
    pub(crate) async fn try_boot(&self, position: usize) -> bool {
        let seat = &self.seats[position];
        let mut ends = wire(self.oracle.control(seat.peer()), Arc::clone(&seat.manners), None).await;
        let ground = seat.ground.borrow().clone();
        let node = self.live("node", position, ground, ends.pop().unwrap()).await;
        seat.up.set(node);
        seat.up.get().is_some()
    }

    /// Starts two nodes under one identity: one on whatever it left behind, the other on nothing.
    pub(crate) async fn boot_twins(&self, position: usize) {
        let seat = &self.seats[position];
        let control = self.oracle.control(seat.peer());
        let twins = Some(self.runtime.child("twins"));
        let mut ends = wire(control, Arc::clone(&seat.manners), twins).await;
        let second = Ground::empty(format!("twin-{position}-"), Standing::Votes);
        let _unwatched = self.live("twin", position, second, ends.pop().unwrap()).await;
        let ground = seat.ground.borrow().clone();
        let node = self.live("node", position, ground, ends.pop().unwrap()).await;
        seat.up.set(node);
    }

    /// Runs one node, if it starts; the last one of a seat is the seat's mouth.
    async fn live<S: Sender<PublicKey = ed25519::PublicKey>>(
        &self,
        name: &'static str,
        position: usize,
        ground: Ground,
        ends: Ends<S>,
    ) -> Option<SimNode> {
        let seat = &self.seats[position];
        let (genesis, keys, blocker) =
            (self.genesis.clone(), (seat.key(), seat.cosigning_key()), self.oracle.control(seat.peer()));
        let backing = Backing {
            standing: ground.standing,
            store: ground.store.reopen().unwrap(),
            secrets: Secrets::Memory(Arc::clone(&ground.secrets)),
            payloads: self.payloads.clone(),
            beside: Beside::in_memory(),
            disk: OwnDisk::default(),
        };
        let (engine_key, wall) = (seat.key(), seat.clock.wall());
        let has_nothing = ground.has_nothing();
        let others: Vec<NodeId> = self.members().map(Seat::id).filter(|node| *node != seat.id()).collect();
        let (started, node) = oneshot::channel();
        let fate = Arc::clone(&seat.fate);
        fate.begins();
        let Ends { links, gossip, requests } = ends;
        // One task is the whole node, so that aborting it is a crash.
        let task = self.runtime.child(name).with_attribute("index", position).spawn(move |runtime| async move {
            let mut seats = Seats::new(&runtime, &engine_key, links, gossip, requests);
            let mdca::Seat { links, members, gossip, mut requests } =
                seats.seat(&runtime, genesis.channel_id()).await.unwrap();
            let mut backing = backing;
            if has_nothing {
                members.begin_with(&others);
                let (mut own, empty) = (runtime.child("join"), || Ok(MemoryStore::new()));
                let joined = join(&mut own, &genesis.founding(), &others, &mut requests, empty).await.unwrap();
                if let Joined::By(snapshot) = joined {
                    backing.store = snapshot.into_store();
                }
            }
            let posts = Posts { gossip, requests };
            let mouth = posts.gossip.outgoing.clone();
            let node = Node::assemble(runtime.child("dmdl"), wall, &genesis.founding(), keys, backing, posts).unwrap();
            let config = mdca::Config {
                domain: genesis.domain(),
                epoch_length: NonZeroU64::new(genesis.channel.epoch_blocks).unwrap(),
                genesis: EngineBlock::new(Block::genesis(&genesis.founding())).unwrap(),
                partition_prefix: ground.partitions,
                timing: Timing::default(),
                ledger: node.channel().clone(),
                blocker,
                faults: FaultSink::nobody(),
            };
            let disk = OnDisk::new(runtime.child("engine"), ground.disk);
            let engine = Engine::start(disk, &engine_key, config, links, members, Vec::new);
            let mut engine = engine.await.unwrap();
            node.drive(engine.chain().clone());
            let _ = started.send((node, mouth));
            let halt = engine.stopped().await;
            assert!(fate.may_stop(), "node {position} stopped by itself: {halt}");
            fate.stops();
        });
        seat.tasks.borrow_mut().push(task);
        let (node, mouth) = node.await.ok()?;
        if has_nothing {
            seat.ground.borrow_mut().store = node.channel().store().clone();
        }
        seat.mouth.replace(Some(mouth));
        Some(node)
    }

    /// Ends a node, with its twin if it has one, between two of its steps: what was not synced is lost.
    pub(crate) async fn crash(&self, position: usize) {
        self.crash_leaving(position, Left::Nothing).await;
    }

    /// The same, where the disk kept some of what was not synced.
    pub(crate) async fn crash_leaving(&self, position: usize, left: Left) {
        let seat = &self.seats[position];
        let tasks = seat.tasks.take();
        tasks.iter().for_each(Handle::abort);
        seat.up.set(None);
        seat.mouth.replace(None);
        for task in tasks {
            let _ = task.await;
        }
        // The aborted tasks let go of their files when they are next polled.
        self.runtime.sleep(Duration::from_millis(10)).await;
        let disk = seat.ground.borrow().disk.clone();
        disk.settle(&mut self.runtime.child("disk"), left).await;
    }

    /// Turns a bit of the blocks or certificates of a node that is down; says which.
    pub(crate) async fn rot(&self, position: usize) -> Option<String> {
        let disk = self.seats[position].ground.borrow().disk.clone();
        disk.rot(&mut self.runtime.child("disk"), &["-blocks-", "-certificates-"]).await
    }

    /// Takes a node that is down everything that it has kept, what it knows of its own votes too.
    pub(crate) fn wipe(&self, position: usize) {
        self.seats[position].ground.replace(Ground::empty(format!("again-{position}-"), Standing::Rejoins(PLACE)));
    }

    /// What a backup of a running node has: its newest certified snapshot, if there is one.
    pub(crate) async fn back_up(&self, position: usize) -> Option<MemoryStore> {
        let node = self.seats[position].up.get()?;
        let ask = async |question| snapshot::answer(node.channel(), node.chain()?, &question).await.ok();
        let Part::Newest(Some(offer)) = ask(Question::Newest).await? else { return None };
        let mut joining = Joining::begin(&self.genesis.founding(), *offer, MemoryStore::new()).unwrap();
        loop {
            let part = ask(joining.question()).await?;
            match joining.take(part).unwrap() {
                Progress::More(next) => joining = next,
                Progress::Done(snapshot) => return Some(snapshot.into_store()),
            }
        }
    }

    /// Gives a node that is down what is in a backup of it, and nothing else.
    pub(crate) fn restore(&self, position: usize, backup: MemoryStore) {
        self.wipe(position);
        self.seats[position].ground.borrow_mut().store = backup;
    }

    /// Says something to all other members in the name of a node, over its gossip.
    pub(crate) async fn say(&self, position: usize, message: Vec<u8>) {
        let others = self.members().map(Seat::id).filter(|node| *node != self.seats[position].id()).collect();
        let mouth = self.seats[position].mouth.borrow().clone();
        if let Some(mouth) = mouth {
            // Closed only when the node goes down.
            let _ = mouth.send((others, message)).await;
        }
    }

    /// How many nodes have begun with a snapshot.
    pub(crate) fn joined(&self) -> usize {
        let nodes = self.seats.iter().filter_map(|seat| seat.up.get());
        nodes.filter(|node| node.channel().joined_at().is_some()).count()
    }

    /// The epoch that the foremost node is in.
    pub(crate) fn epoch(&self) -> u64 {
        let nodes = self.seats.iter().filter_map(|seat| seat.up.get());
        nodes.map(|node| node.channel().config().unwrap().epoch.get()).max().unwrap_or_default()
    }

    /// Where each node is, for a run that stands still.
    pub(crate) async fn stands(&self) -> String {
        let mut said = Vec::new();
        for (position, seat) in self.seats.iter().enumerate() {
            let Some(node) = seat.up.get() else {
                said.push(format!("node {position} is down"));
                continue;
            };
            let (channel, clock) = (node.channel(), millis(seat.clock.now()));
            let (tip, epoch) = (channel.tip(), channel.config().unwrap().epoch);
            let known = match node.chain() {
                Some(chain) => chain.tip().await.map(|(height, _)| height),
                None => None,
            };
            let follows = if channel.follows() { " and follows" } else { "" };
            let ahead = i128::from(tip.time.get()) - i128::from(clock.get());
            said.push(format!(
                "node {position} has executed {} of {known:?} in epoch {epoch}{follows}, {ahead} ms before its clock, and \
                 {} transactions wait",
                tip.height,
                channel.waiting_transactions()
            ));
        }
        said.join("; ")
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
    pub(crate) fn latest_block_time(&self, config: &EpochConfig) -> UnixMillis {
        let seats = self.seats.iter().filter(|seat| config.member(seat.id()).is_some());
        let mut shown: Vec<UnixMillis> = seats.map(|seat| seat.clock.latest()).collect();
        shown.sort();
        shown[faults(shown.len())].plus_ms(CLOCK_BOUND_MS)
    }

    /// Who has cut off whom for breaking the protocol.
    pub(crate) async fn cut_off(&self) -> usize {
        self.oracle.blocked().await.unwrap().len()
    }

    /// Lets those who have cut off a liar hear it again, and it them, as nodes do after a while; nobody else may be
    /// cut off.
    pub(crate) async fn forgive(&self, liar: usize) {
        let liar = self.seats[liar].peer();
        for (from, to) in self.oracle.blocked().await.unwrap() {
            assert!(to == liar || from == liar, "an honest node was cut off by another");
            self.oracle.unblock(from, to).await.unwrap();
        }
    }

    async fn connect(&self, link: &Link) {
        let seats = self.seats.len();
        let all = (0..seats).flat_map(|from| (0..seats).map(move |to| (from, to)));
        let links: Vec<_> = all.filter(|(from, to)| from != to).collect();
        // A link that is there already would stay as it is.
        self.cut(&links).await;
        self.mend(&links, link).await;
    }
}

fn genesis(runtime: &Runtime, seats: &[Seat], plan: &Plan, people: &[([u8; 32], Role)]) -> Genesis {
    let mut members: Vec<Member> =
        seats.iter().zip(ORGS).map(|(seat, org)| seat.as_member(org, NodeRoles::ALL)).collect();
    members.sort();
    let mut people: Vec<Person> = people
        .iter()
        .zip(ORGS.iter().take(seats.len()).cycle())
        .map(|((seed, role), org)| Person {
            key: SigningKey::from_seed(Secret32::new(*seed)).public(),
            org: OrgId::new(*org).unwrap(),
            name: DisplayName::new("somebody").unwrap(),
            role: *role,
        })
        .collect();
    people.sort_by_key(|person| person.key);
    let now = runtime.current().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let needed = u8::try_from(faults(seats.len()) + 1).unwrap();
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
