//! Putting a node together: one channel, on whatever it is given.

use super::{
    AUTHOR_QUOTA, Beside, Node, OwnDisk, SharedNode,
    ask::Asker,
    custody::{self, Keeper, Secrets},
    first_start::{FirstStartError, Votes},
    outbox::Outbox,
    verifier::Verifier,
};
use commonware_runtime::{Clock, Spawner};
use dmdl_audit_ledger::{
    channel::{Channel, Notice, Pace, Standing},
    clock::WallClock,
    endorse::Quota,
    execute::ExecuteError,
    fault::{FaultKind, FaultSink, StorageFault},
    mdca::{Chain, Peer, Post},
    process::ProcessError,
    store::{Store, StoreError},
};
use dmdl_types::{
    charter::CharterError,
    checkpoint::CosigningKey,
    genesis::{Founding, Genesis},
    id::NodeId,
    sign::SigningKey,
};
use dmdl_vault::store::PayloadStore;
use rand_core::CryptoRng;
use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
};
use tokio::sync::{Notify, mpsc};

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
    /// What is to become of the votes in its folder.
    pub votes: Votes,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where other nodes are, as this node's operator knows; this node may be among them.
    pub peers: Vec<Peer>,
    /// The folder of everything it keeps.
    pub dir: PathBuf,
    /// The folder of sealed payloads.
    pub vault: PathBuf,
    /// Below how much free space on its disk it only reads.
    pub kept_free_bytes: u64,
    /// Who is told first when its disk fails; then it stops.
    pub faults: FaultSink,
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
        source: io::Error,
    },
    /// A channel has lost a part of what the node keeps, and with it what this node knows of its own votes.
    #[error(
        "the channel in `{0}` lacks its `ledger` folder, or the node its `engine` folder: restore both together, or join as a new node"
    )]
    Incomplete(String),
    /// A charter that is kept founds nothing any more.
    #[error("a charter that is kept here is not valid: {0}")]
    Charter(CharterError),
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
    /// The engine did not start.
    #[error(transparent)]
    Engine(#[from] ProcessError),
    /// Something damaged was put aside, and the next start replaces it.
    #[error("blocks are damaged and were put aside: start the node again, and it joins by a snapshot")]
    Again,
    /// The ledger is to be had anew, and nobody gives it: without others' snapshot there is nothing to begin with.
    #[error(
        "the ledger in `{0}` is to be had anew, blocks before it were let go, and no other node gives a snapshot now: start the \
         node again once others run"
    )]
    NoSnapshot(String),
    /// The disk failed.
    #[error("{0}")]
    Disk(StorageFault),
    /// The node ended before it was ready.
    #[error("the node ended before it was ready")]
    Ended,
}

impl StartError {
    /// The fault of the disk that it is, of a channel that is begun while others run: their votes are on the same disk, and
    /// after a sync that failed nobody knows what is. A disk without room has lost nothing.
    pub(super) fn fault(&self) -> Option<StorageFault> {
        match self {
            Self::Folder { path, source } => fault_of(path, source),
            Self::Store(error) | Self::Execute(ExecuteError::Store(error)) if error.is_fatal() => {
                Some(StorageFault::of(FaultKind::from(error), "the ledger of a channel that begins", error))
            }
            Self::Custodian(reason) => {
                Some(StorageFault::of(FaultKind::Failed, "the custodian of a channel that begins", reason))
            }
            Self::Disk(fault) => Some(fault.clone()),
            _ => None,
        }
    }
}

/// The fault of the disk that an error at a place is, if it is one after which nothing there can be relied upon.
pub(super) fn fault_of(place: impl Into<String>, error: &io::Error) -> Option<StorageFault> {
    let is_full = error.kind() == io::ErrorKind::StorageFull;
    (!is_full).then(|| StorageFault::of(FaultKind::Failed, place, error))
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
    /// The disk that these are on.
    pub disk: OwnDisk,
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
        founding: &Founding,
        (key, cosigning): (SigningKey, CosigningKey),
        backing: Backing<S>,
        posts: Posts,
    ) -> Result<SharedNode<E, S>, StartError> {
        let Backing { standing, store, secrets, payloads, beside, disk } = backing;
        let opened = Channel::open(
            runtime.child("channel"),
            wall,
            store.clone(),
            founding.clone(),
            (NodeId::of_key(key.public()), standing),
            super::custody::MATH,
            Pace::default(),
        )?;
        let (channel, notices): (_, mpsc::Receiver<Notice>) = opened;
        let mut rng = runtime.child("rng");
        let limits = custody::limits(&*channel.config()?);
        let keeper = Keeper::open(&key, founding.domain, store, secrets, limits, &mut rng)?;
        let Posts { gossip, requests } = posts;
        let (verifier, to_verify) = Verifier::new();
        let node = Arc::new(Self {
            channel,
            chain: OnceLock::new(),
            key,
            cosigning,
            payloads,
            beside,
            disk,
            unheard: Mutex::default(),
            keeper,
            asker: Asker::new(requests.outgoing.clone(), rng.next_u64()),
            verifier,
            gossip: gossip.outgoing,
            outbox: Mutex::new(Outbox::default()),
            outbox_due: Notify::new(),
            reshares: Mutex::default(),
            reshares_due: Notify::new(),
            quota: Mutex::new(Quota::new(AUTHOR_QUOTA.0, AUTHOR_QUOTA.1)),
            rng: Mutex::new(rng),
            runtime: runtime.child("node"),
        });
        if matches!(standing, Standing::Rejoins(_)) && node.channel.follows() {
            // The others have those that were not taken back, and are asked for them.
            let forgotten = node.beside.forget_texts(&node.channel.domain());
            forgotten.map_err(|error| StoreError::Io(error.to_string()))?;
        }
        node.recover()?;
        node.recover_titles()?;
        let task = Arc::clone(&node);
        runtime.child("notice").spawn(|_| task.notice(notices));
        let task = Arc::clone(&node);
        runtime.child("reshare").spawn(|_| task.hand_on());
        let task = Arc::clone(&node);
        runtime.child("tell").spawn(|_| task.tell());
        let task = Arc::clone(&node);
        runtime.child("verify").spawn(|_| async move {
            let channel = &task.channel;
            let take = |from, endorsed| {
                if let Err(error) = channel.submit(endorsed) {
                    tracing::debug!(%from, %error, "a transaction was not taken");
                }
            };
            to_verify.work(&task.runtime, channel.checked(), &channel.domain(), take).await;
        });
        let task = Arc::clone(&node);
        runtime.child("hear").spawn(|_| task.hear(gossip.incoming));
        let task = Arc::clone(&node);
        runtime.child("serve").spawn(move |own| task.serve(own, requests.incoming, requests.outgoing));
        if !node.channel.is_current() {
            let task = Arc::clone(&node);
            runtime.child("titles").spawn(|_| task.gather_titles());
        }
        Ok(node)
    }

    /// Gives the node the chain of its engine, which exports read.
    pub fn drive(&self, chain: Chain) {
        // A second engine for the same node would be refused its folder long before.
        let _ = self.chain.set(chain);
    }
}
