//! A host's one loop: orders of its own people, words of other hosts, and the end.

use super::{
    Asker, FoundError, Host, HostedNode, Order,
    charters::{self, Message},
    ground::{self, Ground},
    invitations::{Invitations, Progress},
    neighbours::Neighbours,
};
use crate::{
    local::wall_clock,
    node::{
        NodeConfig, OwnDisk, StartError,
        message::Answer,
        space::{Watch, Watching},
        start,
    },
};
use commonware_runtime::{Clock as _, Supervisor as _};
use dmdl_audit_ledger::{
    channel::Standing,
    fault::{FaultKind, FaultSink, StorageFault},
    mdca::{Engine, NetworkConfig, Post},
    process::{self, Connections, Steady},
};
use dmdl_types::{
    charter::SignedCharter,
    genesis::Founding,
    governance::MEMBERS_MAX,
    id::{ChannelId, Epoch, NodeId},
    lineage::EpochStep,
    snapshot::{Part, Question},
};
use futures::future::{FutureExt as _, LocalBoxFuture, select_all};
use std::{
    collections::BTreeSet,
    future::pending,
    num::NonZeroUsize,
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Messages that are heard of what another host says within a moment, each once: it has more to say again and again.
const HEARD_MAX: usize = 64;
/// How long a node that broke the protocol stays disconnected: about an epoch of a busy channel.
const BLOCK_DURATION: Duration = Duration::from_secs(60);
/// How long after its start a host asks for charters, when others had time to connect, and how often from then on.
const ASK_FIRST: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_secs(30);
/// Charters that may wait to be founded.
const ORDERS: usize = 16;

/// How many nodes may be connected to a host that is told of so many when it starts, itself included.
///
/// Each takes memory from the start on, so there is room for a network to double and no more: whoever runs one that
/// outgrows it names the nodes that came in the node's file, and starts it again.
fn room(told: usize) -> NonZeroUsize {
    let room = told.saturating_mul(2).saturating_add(4).min(MEMBERS_MAX);
    NonZeroUsize::new(room).unwrap_or(NonZeroUsize::MIN)
}

/// What a host does next.
enum Next {
    Stop,
    Follow,
    Found(Box<Order>),
    Started(Box<Started>),
    Hear(NodeId, Vec<Vec<u8>>),
    Ask,
}

/// A channel that is being started. A whole snapshot may have to come first, and what others send must not keep a host
/// from what it does on its other channels.
type Starting = LocalBoxFuture<'static, Started>;

/// A channel that was started, or not, and what the next one is started on.
struct Started {
    ground: Ground,
    charter: SignedCharter,
    outcome: Result<(HostedNode, Engine), StartError>,
}

/// Waits for the channel that is being started, if there is one.
async fn started(starting: &mut Option<Starting>) -> Started {
    match starting {
        Some(starting) => starting.await,
        None => pending().await,
    }
}

/// A host at work.
pub(super) struct Running {
    context: Steady,
    host: Arc<Host>,
    neighbours: Neighbours,
    invitations: Invitations,
    /// None while a channel is being started: one at a time.
    ground: Option<Ground>,
    starting: Option<Starting>,
    /// Who waits for the channel that is being started.
    asker: Option<Asker>,
    /// One a channel, never none.
    engines: Vec<Engine>,
    hosts: Post,
    orders: mpsc::Receiver<Order>,
    dir: PathBuf,
    faults: FaultSink,
    /// Before the host goes: whoever starts it again needs its files.
    _watching: Watching,
}

impl Running {
    pub(super) async fn start(
        context: Steady,
        config: NodeConfig,
        standing: Standing,
        disk: OwnDisk,
    ) -> Result<Self, StartError> {
        tracing::info!(?standing, "the node starts");
        let network = NetworkConfig {
            network: config.genesis.id(),
            listen: config.listen,
            members_max: room(config.genesis.members.len().max(config.peers.len() + 1)),
            block_duration: BLOCK_DURATION,
        };
        let Connections { hosts, peers, wires } = process::connect(&context, wall_clock(), &config.key, &network);
        let silence = wires.silence();
        let mut watch = Watch {
            dir: config.dir.clone(),
            kept_free_bytes: config.kept_free_bytes,
            faults: disk.faults.clone(),
            host: Weak::new(),
            looked: Host::look_for_faults,
            changed: Box::new(move |is_full| silence.set(is_full)),
        };
        // Before there is an engine that could speak.
        watch.look(&disk.space);
        let mut ground = Ground::new(context.child("host"), &config, standing, wires, disk.clone())?;
        let NodeConfig { genesis, key, dir, peers: told, .. } = config;
        let me = NodeId::of_key(key.public());
        // Everybody dials everybody: a gateway of one hospital asks the endorser and the custodian of another, although
        // neither of the two orders, and a remark goes to all.
        let mut neighbours = Neighbours::new(me, told, peers);
        // Everybody on the network is on its first channel; who has come since it was founded is only here.
        let others: Vec<NodeId> = neighbours.nodes().collect();
        let (first, engine) = ground.start(&genesis.founding(), &others, None).await?;
        neighbours.follow(std::slice::from_ref(&first));
        let (sender, orders) = mpsc::channel(ORDERS);
        let OwnDisk { space, faults } = disk;
        let host = Host { genesis, first, chartered: Mutex::default(), orders: sender, space: space.clone() };
        let host = Arc::new(host);
        watch.host = Arc::downgrade(&host);
        let watching = watch.begin(space);
        let mut engines = vec![engine];
        let kept = charters::kept(&dir).map_err(|source| ground::folder_error(&dir, source))?;
        for charter in kept {
            let founding = charter.verify(&host.genesis).map_err(StartError::Charter)?;
            let (node, engine) = ground.start(&founding, &others_of(me, &founding), None).await?;
            engines.push(engine);
            host.add(charter, node);
        }
        let (invitations, ground) = (Invitations::new(me), Some(ground));
        let (starting, asker) = (None, None);
        Ok(Self {
            context,
            host,
            neighbours,
            invitations,
            ground,
            starting,
            asker,
            engines,
            hosts,
            orders,
            dir,
            faults,
            _watching: watching,
        })
    }

    /// The host, for whoever started it.
    pub(super) const fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Runs until it is stopped, or told of a fault of the disk.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>, mut told: mpsc::Receiver<StorageFault>) {
        let clock = self.context.child("clock");
        let mut ask = pin!(clock.sleep(ASK_FIRST));
        loop {
            let nodes = self.host.nodes();
            // Begun before the look: an epoch that ends meanwhile is not slept over.
            let executed = select_all(nodes.iter().map(|node| Box::pin(node.channel().executed_next())));
            if self.neighbours.follow(&nodes) {
                self.tell_newcomers();
            }
            let next = tokio::select! {
                biased;
                _ = &mut stopped => Next::Stop,
                Some(fault) = told.recv() => {
                    tracing::error!(%fault, "the node stops");
                    Next::Stop
                }
                (halt, ..) = select_all(self.engines.iter_mut().map(|engine| Box::pin(engine.stopped()))) => {
                    self.faults.tell(&StorageFault::of(FaultKind::Halted, "engine", &halt));
                    tracing::error!(%halt, "the node stops");
                    Next::Stop
                }
                started = started(&mut self.starting) => Next::Started(Box::new(started)),
                Some(order) = self.orders.recv(), if self.ground.is_some() => Next::Found(Box::new(order)),
                Some((from, packet)) = self.hosts.incoming.recv() => Next::Hear(from, packet),
                () = &mut ask => Next::Ask,
                _ = executed => Next::Follow,
            };
            match next {
                Next::Stop => break,
                Next::Follow => {}
                Next::Found(order) => self.found(*order),
                Next::Started(started) => self.add(*started),
                Next::Hear(from, packet) => {
                    let mut said = BTreeSet::new();
                    for bytes in packet.iter().filter(|bytes| said.insert(*bytes)).take(HEARD_MAX) {
                        self.hear(from, bytes).await;
                    }
                }
                Next::Ask => {
                    self.tell(self.neighbours.nodes(), &Message::WhichNameMe);
                    ask.set(clock.sleep(ASK_EVERY));
                }
            }
        }
        for engine in self.engines {
            engine.abort().await;
        }
    }

    /// Takes what another host says. What comes while a channel is being started is told again.
    async fn hear(&mut self, from: NodeId, bytes: &[u8]) {
        match Message::decode(bytes) {
            Ok(Message::WhichNameMe) => self.tell_charters(from),
            Ok(Message::StepsFrom(channel, epoch)) => self.show_steps(from, channel, epoch).await,
            Ok(_) if self.ground.is_none() => {}
            Ok(Message::Charter(charter)) => {
                if let Err(error) = self.hear_charter(from, *charter) {
                    tracing::warn!(%from, %error, "a charter of another node was not taken");
                }
            }
            Ok(Message::Steps(channel, steps)) => {
                if let Err(error) = self.hear_steps(from, channel, &steps) {
                    tracing::warn!(%from, %channel, %error, "a channel does not show that it has let this node in");
                }
            }
            Err(error) => tracing::debug!(%from, %error, "a message was not taken"),
        }
    }

    fn hear_charter(&mut self, from: NodeId, charter: SignedCharter) -> Result<(), FoundError> {
        // Whoever is no member has it from a leak: that is nobody to hear of it from.
        if !charter.charter.has(from) {
            return Err(FoundError::Stranger);
        }
        if charter.charter.has(self.me()) {
            let founding = charter.verify(&self.host.genesis)?;
            let others = others_of(self.me(), &founding);
            self.begin(charter, founding, others)?;
        } else if self.host.has_room_for(&charter)?
            && let Some(question) = self.invitations.hear(from, charter, &self.host.genesis)?
        {
            self.tell(std::iter::once(from), &question);
        }
        Ok(())
    }

    fn hear_steps(&mut self, from: NodeId, channel: ChannelId, steps: &[EpochStep]) -> Result<(), FoundError> {
        match self.invitations.follow(from, channel, steps)? {
            Progress::Waits => {}
            Progress::More(question) => self.tell(std::iter::once(from), &question),
            Progress::LetIn(admission) => {
                let (charter, founding, others) = admission.into_parts();
                self.begin(charter, founding, others)?;
            }
        }
        Ok(())
    }

    /// Takes an order of its own people.
    fn found(&mut self, Order { charter, answer }: Order) {
        let founding = match charter.verify(&self.host.genesis) {
            Ok(_) if !charter.charter.has(self.me()) => Err(FoundError::NotMember),
            founding => founding.map_err(FoundError::from),
        };
        // Nobody else can have it yet: there is nobody to ask.
        match founding.and_then(|founding| self.begin(charter.clone(), founding, Vec::new())) {
            Ok(true) => self.asker = Some(answer),
            Ok(false) => {
                self.tell_founders(&charter);
                answered(answer, Ok(charter.charter.id()));
            }
            Err(error) => answered(answer, Err(error)),
        }
    }

    /// Keeps a charter and begins to start its channel; `Ok(false)` says that it was started before.
    fn begin(&mut self, charter: SignedCharter, founding: Founding, others: Vec<NodeId>) -> Result<bool, FoundError> {
        if !self.host.has_room_for(&charter)? {
            return Ok(false);
        }
        if let Err(error) = charters::keep(&self.dir, &charter) {
            if let Some(fault) = start::fault_of("a charter", &error) {
                self.faults.tell(&fault);
            }
            return Err(error.into());
        }
        let Some(mut ground) = self.ground.take() else { return Ok(false) };
        let first = Arc::clone(&self.host);
        let start = async move {
            let outcome = match ground.votes_since(&first.first) {
                Ok(since) => ground.start(&founding, &others, since).await,
                Err(error) => Err(error.into()),
            };
            Started { ground, charter, outcome }
        };
        self.starting = Some(start.boxed_local());
        Ok(true)
    }

    /// Adds the channel that was started, and tells the other members if it is new.
    fn add(&mut self, Started { ground, charter, outcome }: Started) {
        (self.ground, self.starting) = (Some(ground), None);
        let (channel, asker) = (charter.charter.id(), self.asker.take());
        match outcome {
            Ok((node, engine)) => {
                self.engines.push(engine);
                self.host.add(charter.clone(), node);
                tracing::info!(%channel, "a channel is founded here");
                if let Some(asker) = asker {
                    self.tell_founders(&charter);
                    answered(asker, Ok(channel));
                }
            }
            Err(error) => {
                tracing::warn!(%channel, %error, "a channel did not start");
                if let Some(fault) = error.fault() {
                    self.faults.tell(&fault);
                }
                if let Some(asker) = asker {
                    answered(asker, Err(error.into()));
                }
            }
        }
    }

    /// Tells a node which channels it is a member of, as far as this node is to be believed: only who is named by a
    /// charter is.
    fn tell_charters(&self, to: NodeId) {
        let charters = self.host.charters();
        for (channel, charter) in charters.iter().filter(|(_, charter)| charter.charter.has(self.me())) {
            if self.may_know(*channel, charter, to) {
                self.tell(std::iter::once(to), &Message::Charter(Box::new((**charter).clone())));
            }
        }
    }

    /// Tells those of the channels whom these have let in of late, so that they are there in their first epoch.
    fn tell_newcomers(&self) {
        let charters = self.host.charters();
        for (channel, charter) in charters.iter().filter(|(_, charter)| charter.charter.has(self.me())) {
            let newcomers = self.neighbours.newcomers(*channel).filter(|node| !charter.charter.has(*node));
            self.tell(newcomers, &Message::Charter(Box::new((**charter).clone())));
        }
    }

    /// Shows a member how the configurations of a channel follow on each other.
    async fn show_steps(&self, to: NodeId, channel: ChannelId, first: Epoch) {
        let Some((charter, node)) = self.host.chartered(channel) else { return };
        // Whoever may not know of it is answered what is answered of a channel that does not exist: nothing.
        if !self.may_know(channel, &charter, to) {
            return;
        }
        match node.give(&Question::Steps(first)).await {
            Ok(Answer::Snapshot(part)) => {
                if let Part::Steps(steps) = *part {
                    self.tell(std::iter::once(to), &Message::Steps(channel, steps));
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%to, %channel, %error, "a node was not shown that it is let in"),
        }
    }

    /// Whether a node is to hear of a channel: the charter names it, or the channel has let it in since.
    fn may_know(&self, channel: ChannelId, charter: &SignedCharter, node: NodeId) -> bool {
        charter.charter.has(node) || self.neighbours.has(channel, node)
    }

    fn tell_founders(&self, charter: &SignedCharter) {
        let founders = charter.charter.members.iter().map(|member| member.node);
        self.tell(founders, &Message::Charter(Box::new(charter.clone())));
    }

    /// Sends a message to other nodes. What is lost is asked for again.
    fn tell(&self, nodes: impl Iterator<Item = NodeId>, message: &Message) {
        let me = self.me();
        let others: Vec<NodeId> = nodes.filter(|node| *node != me).collect();
        if !others.is_empty() {
            let _ = self.hosts.outgoing.try_send((others, message.encode()));
        }
    }

    fn me(&self) -> NodeId {
        self.host.first.id()
    }
}

/// The other members of a channel that a charter founds: nobody else is to hear of it.
fn others_of(me: NodeId, founding: &Founding) -> Vec<NodeId> {
    founding.members.iter().map(|member| member.node).filter(|node| *node != me).collect()
}

/// Answers who handed a charter in, unless they have gone.
fn answered(asker: Asker, answer: Result<ChannelId, FoundError>) {
    let _ = asker.send(answer);
}
