//! Bringing a node up, and down.

use super::{
    Beside, Node, QUOTA, SharedNode,
    ask::Asker,
    custody::{Keeper, Secrets},
    first_start::{FirstStartError, StartToken},
    outbox::Outbox,
    parties::Enrolments,
};
use crate::local::wall_clock;
use commonware_runtime::{Clock, Runner as _, Spawner, Supervisor, tokio as runtime};
use dmdl_audit_ledger::{
    channel::{Channel, Notice, Pace, Standing},
    clock::WallClock,
    endorse::Quota,
    execute::ExecuteError,
    mdca::{Chain, Engine, NetworkConfig, Peer, PeerError, Post},
    process::{self, ProcessError, Steady},
    store::{MemoryBudget, RocksStore, Store, StoreError},
};
use dmdl_types::{
    checkpoint::CosigningKey,
    genesis::Genesis,
    id::{Height, NodeId},
    sign::SigningKey,
};
use dmdl_vault::store::PayloadStore;
use rand_core::CryptoRng;
use std::{
    fs::DirEntry,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, mpsc, oneshot};

/// Worker threads of one node's runtime.
const WORKERS: usize = 2;
/// How long a node that broke the protocol stays disconnected: about an epoch of a busy channel.
const BLOCK_DURATION: Duration = Duration::from_secs(60);

/// The file that the engine's runtime locks its folder with.
const LOCK_FILE: &str = ".hold";

/// What a node is started with.
#[derive(Debug)]
pub struct NodeConfig {
    /// The pinned genesis.
    pub genesis: Genesis,
    /// The node's key.
    pub key: SigningKey,
    /// The key of its checkpoint cosignatures.
    pub cosigning: CosigningKey,
    /// The file of its start token, which is there before the first start alone.
    pub start_token: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where the members are dialled; this node may be among them.
    pub peers: Vec<Peer>,
    /// The folder of everything it keeps.
    pub dir: PathBuf,
    /// The folder of sealed payloads.
    pub vault: PathBuf,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The folder cannot be used.
    #[error("`{path}`: {source}")]
    Folder {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The folder has lost a part, and with it what this node knows of its own votes.
    #[error("`{0}` lacks its `engine` or its `ledger` folder: restore both together, or join as a new node")]
    Incomplete(String),
    /// It cannot be told whether it may vote.
    #[error(transparent)]
    FirstStart(#[from] FirstStartError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger cannot be opened.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// The custodian cannot be opened.
    #[error("the custodian cannot be opened: {0}")]
    Custodian(String),
    /// A peer cannot be dialled.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The engine did not start.
    #[error(transparent)]
    Engine(#[from] ProcessError),
    /// The node ended before it was ready.
    #[error("the node ended before it was ready")]
    Ended,
}

/// Two directions of messages each for gossip and for questions.
#[derive(Debug)]
pub struct Posts {
    /// Transactions and cosignatures on their way to all.
    pub gossip: Post,
    /// Questions and answers.
    pub requests: Post,
}

/// What a node keeps its things in.
#[derive(Debug)]
pub struct Backing<S> {
    /// Whether the node knows what it has voted for.
    pub standing: Standing,
    /// The ledger and the custodian's rows.
    pub store: S,
    /// The secrets that the custodian keeps apart.
    pub secrets: Secrets,
    /// Sealed payloads.
    pub payloads: PayloadStore,
    /// Remarks and titles.
    pub beside: Beside,
}

impl<E, S> Node<E, S>
where
    E: Clock + CryptoRng + Spawner,
    S: Store,
{
    /// Puts a node together and starts its tasks; the engine is started with the same channel and
    /// handed over with [`Node::drive`].
    ///
    /// # Errors
    /// [`StartError`].
    pub fn assemble(
        runtime: E,
        wall: WallClock,
        genesis: &Genesis,
        (key, cosigning): (SigningKey, CosigningKey),
        backing: Backing<S>,
        posts: Posts,
    ) -> Result<SharedNode<E, S>, StartError> {
        let Backing { standing, store, secrets, payloads, beside } = backing;
        let opened = Channel::open(
            runtime.child("channel"),
            wall,
            store.clone(),
            genesis.clone(),
            (NodeId::of_key(key.public()), standing),
            super::custody::judge,
            Pace::default(),
        )?;
        let (channel, notices): (_, mpsc::Receiver<Notice>) = opened;
        let mut rng = runtime.child("rng");
        let orderers = genesis.members.iter().filter(|m| m.roles.orderer).count();
        let keeper = Keeper::open(&key, genesis.domain(), store, secrets, orderers, &mut rng)?;
        let Posts { gossip, requests } = posts;
        let node = Arc::new(Self {
            channel,
            chain: OnceLock::new(),
            key,
            cosigning,
            payloads,
            beside,
            unheard: Mutex::default(),
            enrolments: Mutex::new(Enrolments::default()),
            keeper,
            asker: Asker::new(requests.outgoing.clone(), rng.next_u64()),
            gossip: gossip.outgoing,
            outbox: Mutex::new(Outbox::default()),
            outbox_due: Notify::new(),
            quota: Mutex::new(Quota::new(QUOTA.0, QUOTA.1)),
            rng: Mutex::new(rng),
            runtime: runtime.child("node"),
        });
        node.recover()?;
        node.recover_titles()?;
        let task = Arc::clone(&node);
        runtime.child("notice").spawn(|_| task.notice(notices));
        let task = Arc::clone(&node);
        runtime.child("tell").spawn(|_| task.tell());
        let task = Arc::clone(&node);
        runtime.child("hear").spawn(|_| task.hear(gossip.incoming));
        let task = Arc::clone(&node);
        runtime.child("serve").spawn(move |own| task.serve(own, requests.incoming, requests.outgoing));
        Ok(node)
    }

    /// Gives the node the chain of its engine, which exports read.
    pub fn drive(&self, chain: Chain) {
        // A second engine for the same node would be refused its folder long before.
        let _ = self.chain.set(chain);
    }
}

/// A node that runs on threads of its own; dropped, it stops as a crash would.
pub struct Handle {
    node: SharedNode<Steady, RocksStore>,
    standing: Standing,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({:?})", self.node)
    }
}

impl Handle {
    /// Starts a node and waits until it is ready.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: NodeConfig) -> Result<Self, StartError> {
        let folder = |path: &PathBuf| {
            let failed = |source| StartError::Folder { path: path.display().to_string(), source };
            std::fs::create_dir_all(path).map_err(failed)
        };
        folder(&config.dir)?;
        // With only one of the two folders, this node could vote again where it has voted before. The
        // ledger is made before the engine writes anything.
        let voted = has_journals(&config.dir.join("engine"));
        let ledger = config.dir.join("ledger");
        if voted && !ledger.exists() {
            return Err(StartError::Incomplete(config.dir.display().to_string()));
        }
        folder(&config.vault)?;
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
                match run(&context, config, voted, standing).await {
                    Ok((node, mut engine)) => {
                        // Who asked for the node may have gone; then it stops at once.
                        let _ = ready.send(Ok(node));
                        tokio::select! {
                            _ = stopped => {}
                            halt = engine.stopped() => tracing::error!(%halt, "the node stops"),
                        }
                        engine.abort().await;
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            });
        });
        let node = started.recv().map_err(|_| StartError::Ended)??;
        Ok(Self { node, standing, stop: Some(stop), thread: Some(thread) })
    }

    /// Whether it could vote when it started.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &SharedNode<Steady, RocksStore> {
        &self.node
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

/// Whether the engine has written anything into its folder. A start that was refused leaves the folder
/// with a lock file, which must not make the next start trust it.
fn has_journals(engine: &Path) -> bool {
    let journal = |file: std::io::Result<DirEntry>| file.is_ok_and(|file| file.file_name() != LOCK_FILE);
    engine.read_dir().is_ok_and(|mut files| files.any(journal))
}

async fn run(
    context: &Steady,
    config: NodeConfig,
    voted: bool,
    standing: Standing,
) -> Result<(SharedNode<Steady, RocksStore>, Engine), StartError> {
    let NodeConfig { genesis, key, cosigning, start_token: _, listen, peers, dir, vault } = config;
    tracing::info!(?standing, "the node starts");
    let members = NonZeroUsize::new(genesis.members.len()).unwrap_or(NonZeroUsize::MIN);
    let network = NetworkConfig { network: genesis.id(), listen, members_max: members, block_duration: BLOCK_DURATION };
    let engine_key = SigningKey::from_seed(key.seed().expose(|seed| dmdl_types::secret::Secret32::new(*seed)));
    // Everybody dials everybody: a gateway of one hospital asks the endorser and the custodian of another, although
    // neither of the two orders, and a remark goes to all.
    let connections = process::connect(context, wall_clock(), &engine_key, &network, &peers, &[])?;

    let unusable = |path: &PathBuf, source| StartError::Folder { path: path.display().to_string(), source };
    let beside = dir.join("beside");
    let backing = Backing {
        standing,
        store: RocksStore::open(&dir.join("ledger"), &MemoryBudget::default())?,
        secrets: super::custody::open_secrets(&dir.join("custodian"))?,
        payloads: PayloadStore::in_folder(&vault).map_err(|source| unusable(&vault, source))?,
        beside: Beside::in_folder(&beside, &genesis.domain()).map_err(|source| unusable(&beside, source))?,
    };
    let posts = Posts { gossip: connections.gossip, requests: connections.requests };
    let node = Node::assemble(context.child("dmdl"), wall_clock(), &genesis, (key, cosigning), backing, posts)?;
    if !voted && node.channel().tip().height > Height::new(0) {
        return Err(StartError::Incomplete(dir.display().to_string()));
    }

    let engine = process::start(context, &engine_key, &genesis, node.channel().clone(), connections.wires).await?;
    node.drive(engine.chain().clone());
    Ok((node, engine))
}
