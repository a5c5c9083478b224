//! Putting a node together: one channel, on whatever it is given.

use super::{
    Beside, Node, QUOTA, SharedNode,
    ask::Asker,
    custody::{self, Keeper, Secrets},
    first_start::FirstStartError,
    outbox::Outbox,
    parties::Enrolments,
};
use commonware_runtime::{Clock, Spawner};
use dmdl_audit_ledger::{
    channel::{Channel, Notice, Pace, Standing},
    clock::WallClock,
    endorse::Quota,
    execute::ExecuteError,
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
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where other nodes are, as this node's operator knows; this node may be among them.
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
        founding: &Founding,
        (key, cosigning): (SigningKey, CosigningKey),
        backing: Backing<S>,
        posts: Posts,
    ) -> Result<SharedNode<E, S>, StartError> {
        let Backing { standing, store, secrets, payloads, beside } = backing;
        let opened = Channel::open(
            runtime.child("channel"),
            wall,
            store.clone(),
            founding.clone(),
            (NodeId::of_key(key.public()), standing),
            super::custody::judge,
            Pace::default(),
        )?;
        let (channel, notices): (_, mpsc::Receiver<Notice>) = opened;
        let mut rng = runtime.child("rng");
        let limits = custody::limits(&channel.config()?);
        let keeper = Keeper::open(&key, founding.domain, store, secrets, limits, &mut rng)?;
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
