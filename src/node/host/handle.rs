//! The threads of a host, and its one loop: orders of its own people, words of other hosts, and the end.

use super::{
    FoundError, Host, HostedNode, Order,
    charters::{self, Message},
    ground::{self, Ground},
    neighbours::Neighbours,
};
use crate::{
    local::wall_clock,
    node::{NodeConfig, StartError, StartToken},
};
use commonware_runtime::{Clock as _, Runner as _, Supervisor as _, tokio as runtime};
use dmdl_audit_ledger::{
    channel::Standing,
    mdca::{Engine, NetworkConfig, Post},
    process::{self, Connections, Steady},
};
use dmdl_types::{
    charter::SignedCharter,
    genesis::Founding,
    governance::MEMBERS_MAX,
    id::{ChannelId, NodeId},
};
use futures::future::select_all;
use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// Worker threads of one node's runtime.
const WORKERS: usize = 2;
/// How long a node that broke the protocol stays disconnected: about an epoch of a busy channel.
const BLOCK_DURATION: Duration = Duration::from_secs(60);
/// How long after its start a host asks for charters, when others had time to connect, and how often from then on.
const ASK_FIRST: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_secs(30);
/// Charters that may wait to be founded.
const ORDERS: usize = 16;

/// A host that runs on threads of its own; dropped, it stops as a crash would.
pub struct Handle {
    host: Arc<Host>,
    standing: Standing,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({:?})", self.host)
    }
}

impl Handle {
    /// Starts a node and waits until all of its channels are ready.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: NodeConfig) -> Result<Self, StartError> {
        let make = |path: &Path| std::fs::create_dir_all(path).map_err(|source| ground::folder_error(path, source));
        make(&config.dir)?;
        make(&config.vault)?;
        let first = config.genesis.channel_id();
        let folder = charters::make_folder(&config.dir, first);
        let folder = folder.map_err(|source| ground::folder_error(&config.dir, source))?;
        // With only one of the two, this node could vote again where it has voted before. The ledger is made before
        // the engine writes anything.
        let ledger = folder.join("ledger");
        if ground::has_journals(&config.dir.join("engine"), first) && !ledger.exists() {
            return Err(StartError::Incomplete(folder.display().to_string()));
        }
        let token = StartToken { network: config.genesis.id(), node: NodeId::of_key(config.key.public()) };
        // Before there is an engine that could speak.
        let standing = token.spend(&config.start_token, &config.dir, &ledger)?;
        let (ready, started) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runner = runtime::Runner::new(
                runtime::Config::new().with_worker_threads(WORKERS).with_storage_directory(config.dir.join("engine")),
            );
            runner.start(|context| async move {
                let context = Steady::new(context, Instant::now());
                match Running::start(context, config, standing).await {
                    Ok(running) => {
                        // Who asked for the node may have gone; then it stops at once.
                        let _ = ready.send(Ok(Arc::clone(&running.host)));
                        running.run(stopped).await;
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            });
        });
        let host = started.recv().map_err(|_| StartError::Ended)??;
        Ok(Self { host, standing, stop: Some(stop), thread: Some(thread) })
    }

    /// Whether it could vote when it started.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// All of its channels.
    #[must_use]
    pub const fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The node on the network's first channel.
    #[must_use]
    pub fn node(&self) -> &HostedNode {
        self.host.first()
    }

    /// Whether the node has stopped by itself.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.thread.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    /// Stops the node and waits until its folder is free.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic in the node was printed where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.halt();
    }
}

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
    Hear(NodeId, Vec<u8>),
    Ask,
}

/// A host at work.
struct Running {
    context: Steady,
    host: Arc<Host>,
    neighbours: Neighbours,
    ground: Ground,
    /// One a channel, never none.
    engines: Vec<Engine>,
    hosts: Post,
    orders: mpsc::Receiver<Order>,
    dir: PathBuf,
}

impl Running {
    async fn start(context: Steady, config: NodeConfig, standing: Standing) -> Result<Self, StartError> {
        tracing::info!(?standing, "the node starts");
        let network = NetworkConfig {
            network: config.genesis.id(),
            listen: config.listen,
            members_max: room(config.genesis.members.len().max(config.peers.len() + 1)),
            block_duration: BLOCK_DURATION,
        };
        let Connections { hosts, peers, wires } = process::connect(&context, wall_clock(), &config.key, &network);
        let mut ground = Ground::new(context.child("host"), &config, standing, wires)?;
        let NodeConfig { genesis, key, dir, peers: told, .. } = config;
        // Everybody dials everybody: a gateway of one hospital asks the endorser and the custodian of another, although
        // neither of the two orders, and a remark goes to all.
        let mut neighbours = Neighbours::new(NodeId::of_key(key.public()), told, peers);
        // Everybody on the network is on its first channel; who has come since it was founded is only here.
        let others: Vec<NodeId> = neighbours.nodes().collect();
        let (first, engine) = ground.start(&genesis.founding(), &others).await?;
        neighbours.follow(std::slice::from_ref(&first));
        let (sender, orders) = mpsc::channel(ORDERS);
        let host = Arc::new(Host { genesis, first, chartered: Mutex::default(), orders: sender });
        let mut running = Self { context, host, neighbours, ground, engines: vec![engine], hosts, orders, dir };
        let kept = charters::kept(&running.dir).map_err(|source| ground::folder_error(&running.dir, source))?;
        for charter in kept {
            let founding = charter.verify(&running.host.genesis).map_err(StartError::Charter)?;
            let (node, engine) = running.ground.start(&founding, &running.others_of(&founding)).await?;
            running.engines.push(engine);
            running.host.add(charter, node);
        }
        Ok(running)
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let clock = self.context.child("clock");
        let mut ask = pin!(clock.sleep(ASK_FIRST));
        loop {
            let nodes = self.host.nodes();
            // Begun before the look: an epoch that ends meanwhile is not slept over.
            let executed = select_all(nodes.iter().map(|node| Box::pin(node.channel().executed_next())));
            self.neighbours.follow(&nodes);
            let next = tokio::select! {
                biased;
                _ = &mut stopped => Next::Stop,
                (halt, ..) = select_all(self.engines.iter_mut().map(|engine| Box::pin(engine.stopped()))) => {
                    tracing::error!(%halt, "the node stops");
                    Next::Stop
                }
                Some(order) = self.orders.recv() => Next::Found(Box::new(order)),
                Some((from, bytes)) = self.hosts.incoming.recv() => Next::Hear(from, bytes),
                () = &mut ask => Next::Ask,
                _ = executed => Next::Follow,
            };
            match next {
                Next::Stop => break,
                Next::Follow => {}
                Next::Found(order) => {
                    let Order { charter, answer } = *order;
                    let founded = self.found(charter).await;
                    // Who asked may have gone.
                    let _ = answer.send(founded);
                }
                Next::Hear(from, bytes) => self.hear(from, &bytes).await,
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

    /// Takes what another host says.
    async fn hear(&mut self, from: NodeId, bytes: &[u8]) {
        match Message::decode(bytes) {
            Ok(Message::WhichNameMe) => {
                let charters = self.host.charters();
                for charter in charters.iter().filter(|charter| charter.charter.has(from)) {
                    self.tell(std::iter::once(from), &Message::Charter(Box::new((**charter).clone())));
                }
            }
            // Whoever is no member has it from a leak: that is nobody to hear of it from.
            Ok(Message::Charter(charter)) if charter.charter.has(from) => {
                if let Err(error) = self.join(&charter, false).await {
                    tracing::warn!(%from, %error, "a charter of another node was not taken");
                }
            }
            Ok(Message::Charter(_)) => tracing::warn!(%from, "a charter came from somebody who is no member"),
            Err(error) => tracing::debug!(%from, %error, "a message was not taken"),
        }
    }

    /// Founds a channel, and tells the other members.
    async fn found(&mut self, charter: SignedCharter) -> Result<ChannelId, FoundError> {
        let id = self.join(&charter, true).await?;
        let members: Vec<NodeId> = charter.charter.members.iter().map(|member| member.node).collect();
        self.tell(members.into_iter(), &Message::Charter(Box::new(charter)));
        Ok(id)
    }

    /// Keeps a charter and starts its channel, unless that is done; `is_new` says that nobody else can have it yet.
    async fn join(&mut self, charter: &SignedCharter, is_new: bool) -> Result<ChannelId, FoundError> {
        let founding = charter.verify(&self.host.genesis)?;
        let id = founding.domain.channel;
        if !self.host.has_room_for(charter)? {
            return Ok(id);
        }
        charters::keep(&self.dir, charter)?;
        let others = if is_new { Vec::new() } else { self.others_of(&founding) };
        let (node, engine) = self.ground.start(&founding, &others).await?;
        self.engines.push(engine);
        self.host.add(charter.clone(), node);
        tracing::info!(channel = %id, "a channel is founded here");
        Ok(id)
    }

    /// The other members of a channel that a charter founds: nobody else is to hear of it.
    fn others_of(&self, founding: &Founding) -> Vec<NodeId> {
        let me = self.host.first.id();
        founding.members.iter().map(|member| member.node).filter(|node| *node != me).collect()
    }

    /// Sends a message to other nodes. What is lost is asked for again.
    fn tell(&self, nodes: impl Iterator<Item = NodeId>, message: &Message) {
        let me = self.host.first.id();
        let others = nodes.filter(|node| *node != me).collect();
        let _ = self.hosts.outgoing.try_send((others, message.encode()));
    }
}
