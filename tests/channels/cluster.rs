//! Five nodes on a simulated network, four of which are on a second channel.

use crate::{NAME, ORGS, OUTSIDER, charter};
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{
    Message, Receiver,
    simulated::{self, Control, Link, Network},
};
use commonware_runtime::{Clock as _, Quota, Spawner as _, Supervisor as _, deterministic};
use commonware_utils::{NZU32, NZUsize, probability};
use dmdl::{
    client::{Client, Draft, Registered, Trust},
    node::{Backing, Beside, Node, OwnDisk, Posts, Secrets, SharedNode},
};
use dmdl_audit_ledger::{
    channel::Standing,
    clock::WallClock,
    fault::FaultSink,
    mdca::{self, Engine, EngineBlock, Links, Seat, Seats, Timing, message_bytes_max},
    store::MemoryStore,
};
use dmdl_types::{
    access::PolicyDocument,
    block::Block,
    charter::{Charter, SignedCharter},
    checkpoint::CosigningKey,
    genesis::{ChannelConfig, Founding, Genesis, Member, NodeRoles, Person, Role},
    id::{ChannelName, DisplayName, NodeId, OrgId, UnixMillis},
    invocation::Metadata,
    mdca::MdcaConfig,
    secret::Secret32,
    sign::SigningKey,
};
use dmdl_vault::store::PayloadStore;
use std::{
    io::Cursor,
    num::{NonZeroU64, NonZeroUsize},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tokio::sync::oneshot;

/// What a record on the first channel says of itself.
pub(crate) const MAIN_MEDIA: &str = "application/x-main-record";
/// How long a gateway may take for one thing.
const PATIENCE: Duration = Duration::from_secs(20);
const LINK: Link =
    Link { latency: Duration::from_millis(10), jitter: Duration::from_millis(2), success_rate: probability!(1.0) };

type Runtime = deterministic::Context;
type SimNode = SharedNode<Runtime, MemoryStore>;
type SimClient = Client<SimNode, Runtime>;

/// Everything that one node was delivered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape(Arc<Mutex<Vec<Vec<u8>>>>);

impl Tape {
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().clone()
    }
}

/// A link's receiving end that keeps what it delivers.
#[derive(Debug)]
struct Taped<R> {
    inner: R,
    tape: Tape,
}

impl<R: Receiver<PublicKey = PublicKey>> Receiver for Taped<R> {
    type Error = R::Error;
    type PublicKey = PublicKey;

    async fn recv(&mut self) -> Result<Message<PublicKey>, R::Error> {
        let (from, message) = self.inner.recv().await?;
        self.tape.0.lock().unwrap().push(message.as_ref().to_vec());
        Ok((from, message))
    }

    fn capacity(&self) -> NonZeroUsize {
        self.inner.capacity()
    }
}

pub(crate) struct Cluster {
    runtime: Runtime,
    genesis: Genesis,
    charter: SignedCharter,
    tapes: Vec<Tape>,
    main: Vec<SimNode>,
    trial: Vec<SimNode>,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([seed; 32]))
}

/// The keys of nodes are 1 to 5, of their cosignatures 11 to 15, of admins 21 to 25, of owners 31 to 35.
fn small(base: u8, position: usize) -> u8 {
    base + u8::try_from(position).unwrap()
}

fn person(base: u8, position: usize, role: Role) -> Person {
    let (org, name) = (OrgId::new(ORGS[position]).unwrap(), DisplayName::new("somebody").unwrap());
    Person { key: key(small(base, position)).public(), org, name, role }
}

fn peer(position: usize) -> PublicKey {
    PublicKey::decode(Copying(key(small(1, position)).public().as_bytes())).unwrap()
}

fn genesis(time: UnixMillis) -> Genesis {
    let mut members: Vec<Member> = (0..ORGS.len())
        .map(|position| Member {
            node: NodeId::of_key(key(small(1, position)).public()),
            cosigning_key: CosigningKey::from_seed(Secret32::new([small(11, position); 32])).public(),
            org: OrgId::new(ORGS[position]).unwrap(),
            roles: NodeRoles::ALL,
        })
        .collect();
    members.sort();
    let all = 0..ORGS.len();
    let mut people: Vec<Person> = all.clone().map(|position| person(21, position, Role::Admin)).collect();
    people.extend(all.map(|position| person(31, position, Role::Owner)));
    people.sort_by_key(|person| person.key);
    Genesis {
        version: 1,
        seed: [9; 32],
        time,
        single_org_demo: false,
        members,
        people,
        channel: ChannelConfig {
            name: ChannelName::new("main").unwrap(),
            epoch_blocks: 1000,
            endorsements: 2,
            custody_threshold: 2,
            policy_engine: dmdl_policies::POLICY_ENGINE,
            mdca: MdcaConfig::default(),
        },
    }
}

impl Cluster {
    pub(crate) async fn start(runtime: Runtime) -> Self {
        let since = runtime.current().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = UnixMillis::new(u64::try_from(since.as_millis()).unwrap());
        let genesis = genesis(now);
        let owners: Vec<Person> = (0..OUTSIDER).map(|position| person(31, position, Role::Owner)).collect();
        let admins: Vec<SigningKey> = (0..OUTSIDER).map(|position| key(small(21, position))).collect();
        let charter = charter(&genesis, &owners.iter().collect::<Vec<_>>(), &admins, now);
        let trial = charter.verify(&genesis).unwrap();
        assert_eq!(trial.channel.name.as_str(), NAME);

        let config = simulated::Config {
            max_size: message_bytes_max(),
            max_peers_per_set: NZUsize!(ORGS.len()),
            disconnect_on_block: true,
            tracked_peer_sets: NZUsize!(1),
        };
        let peers: Vec<_> = (0..ORGS.len()).map(peer).collect();
        let (network, oracle) = Network::new_with_peers(runtime.child("network"), config, peers.clone()).await;
        network.start();
        for from in &peers {
            for to in peers.iter().filter(|to| *to != from) {
                oracle.add_link(from.clone(), to.clone(), LINK).await.unwrap();
            }
        }
        let mut cluster = Self { runtime, genesis, charter, tapes: Vec::new(), main: Vec::new(), trial: Vec::new() };
        let payloads = PayloadStore::in_memory();
        for (position, peer) in peers.into_iter().enumerate() {
            let mut foundings = vec![cluster.genesis.founding()];
            foundings.extend((position != OUTSIDER).then(|| trial.clone()));
            cluster.boot(position, oracle.control(peer), foundings, &payloads).await;
        }
        cluster
    }

    /// Starts a node on its channels.
    async fn boot(
        &mut self,
        position: usize,
        control: Control<PublicKey, Runtime>,
        foundings: Vec<Founding>,
        payloads: &PayloadStore,
    ) {
        let tape = Tape::default();
        self.tapes.push(tape.clone());
        let mut ends = Vec::new();
        for link in 0..7 {
            let (sender, inner) = control.register(link, Quota::per_second(NZU32!(1024))).await.unwrap();
            ends.push((sender, Taped { inner, tape: tape.clone() }));
        }
        let [votes, certificates, resolver, blocks, backfill, gossip, requests] = ends.try_into().ok().unwrap();
        let links = Links { votes, certificates, resolver, blocks, backfill };
        let (started, nodes) = oneshot::channel();
        let payloads = payloads.clone();
        self.runtime.child("node").with_attribute("index", position).spawn(move |runtime| async move {
            let own = || key(small(1, position));
            let mut seats = Seats::new(&runtime, &own(), links, gossip, requests);
            let (mut nodes, mut engines) = (Vec::new(), Vec::new());
            for (number, founding) in foundings.into_iter().enumerate() {
                let context = runtime.child("channel").with_attribute("number", number);
                let Seat { links, members, gossip, requests } =
                    seats.seat(&context, founding.domain.channel).await.unwrap();
                let backing = Backing {
                    standing: Standing::Votes,
                    store: MemoryStore::new(),
                    secrets: Secrets::Memory(Arc::default()),
                    payloads: payloads.clone(),
                    beside: Beside::in_memory(),
                    disk: OwnDisk::default(),
                };
                let clock = runtime.child("clock");
                let wall = WallClock::new(move || clock.current());
                let cosigning = CosigningKey::from_seed(Secret32::new([small(11, position); 32]));
                let posts = Posts { gossip, requests };
                let node =
                    Node::assemble(context.child("dmdl"), wall, &founding, (own(), cosigning), backing, posts).unwrap();
                let config = mdca::Config {
                    domain: founding.domain,
                    epoch_length: NonZeroU64::new(founding.channel.epoch_blocks).unwrap(),
                    genesis: EngineBlock::new(Block::genesis(&founding)).unwrap(),
                    partition_prefix: format!("node-{position}-"),
                    timing: Timing::default(),
                    ledger: node.channel().clone(),
                    blocker: control.clone(),
                    faults: FaultSink::nobody(),
                };
                let engine =
                    Engine::start(context.child("engine"), &own(), config, links, members, Vec::new).await.unwrap();
                node.drive(engine.chain().clone());
                nodes.push(node);
                engines.push(engine);
            }
            let _ = started.send(nodes);
            let stopped = engines.iter_mut().map(|engine| Box::pin(engine.stopped()));
            let (halt, ..) = futures::future::select_all(stopped).await;
            panic!("node {position} stopped by itself: {halt}");
        });
        let mut nodes = nodes.await.unwrap();
        self.trial.extend((nodes.len() == 2).then(|| nodes.remove(1)));
        self.main.push(nodes.remove(0));
    }

    pub(crate) const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(crate) const fn charter(&self) -> &Charter {
        &self.charter.charter
    }

    pub(crate) fn tapes(&self) -> &[Tape] {
        &self.tapes
    }

    /// The owner of an organisation at its own node, on the first channel or on the second.
    pub(crate) fn client(&self, position: usize, on_trial: bool) -> SimClient {
        let (founding, nodes) = if on_trial {
            (self.charter.verify(&self.genesis).unwrap(), &self.trial)
        } else {
            (self.genesis.founding(), &self.main)
        };
        let (key, rng) = (key(small(31, position)), self.runtime.child("person"));
        Client::new(Trust::new(founding), key, Arc::clone(&nodes[position]), rng, PATIENCE)
    }
}

/// Registers a record of a kind, again as long as custodians are not connected yet.
pub(crate) async fn register(owner: &SimClient, media_type: &str, policy: Option<PolicyDocument>) -> Registered {
    let metadata = Metadata { media_type: media_type.to_owned(), subject: None, listed: true };
    let mut last = String::new();
    for _ in 0..20 {
        let draft = Draft::new(metadata.clone(), policy.clone());
        match owner.register(&b"a record"[..], Cursor::new(Vec::new()), draft, &|_| ()).await {
            Ok(registered) => {
                let active = owner.wait_active(registered.record, registered.version, PATIENCE).await.unwrap();
                assert!(active, "enough custodians acknowledge");
                return registered;
            }
            Err(error) => {
                last = error.to_string();
                owner.gateway().runtime().sleep(Duration::from_millis(500)).await;
            }
        }
    }
    panic!("the record was not registered: {last}");
}
