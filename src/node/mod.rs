//! A node: one channel, every role that the channel's configuration gives it, and the only place where they meet. A
//! [`Host`] is the process that runs one for each of its channels.
//!
//! Pure rooms decide; this one acts. It carries messages between the network, the channel, the
//! custodian and the stores, and decides nothing by itself.

mod ask;
mod beside;
mod custody;
mod endorse;
mod evidence;
mod first_start;
mod gateway;
mod host;
mod join;
mod listen;
mod message;
mod outbox;
mod parties;
mod place;
mod remarks;
mod reshare;
mod serve;
mod space;
mod start;
mod verifier;

pub use ask::AskError;
pub use beside::Beside;
pub use custody::Secrets;
pub use first_start::{FirstStartError, StartToken, Votes};
pub use gateway::{Final, GatewayError};
pub use host::{
    BackUpError, Contained, Extent, FoundError, Handle, Host, HostedNode, RestoreError, Restored, back_up,
    check_backup, restore, trail,
};
pub use join::{Joined, join};
pub use message::Refused;
pub use parties::{Deed, Parties, Party};
pub use remarks::RemarkShown;
pub(crate) use space::FULL;
pub use space::{KEPT_FREE_MIB, OwnDisk, Space};
pub use start::{Backing, NodeConfig, Posts, StartError};

use ask::Asker;
use commonware_runtime::Clock;
use custody::Keeper;
use dmdl_audit_ledger::{
    channel::Channel,
    endorse::Quota,
    mdca::Chain,
    store::{Store, StoreError},
};
use dmdl_types::{
    checkpoint::CosigningKey,
    genesis::{EpochConfig, Member, NodeRoles},
    id::{Height, NodeId, TransactionId},
    sign::SigningKey,
};
use dmdl_vault::store::PayloadStore;
use message::Message;
use outbox::Outbox;
use rand_core::CryptoRng;
use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::sync::{Notify, mpsc};
use verifier::Verifier;

/// How long another node may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long items for the ledger may gather before they are sent together.
const GATHERING: Duration = Duration::from_millis(25);
/// Transactions an author may have endorsed at once, and a second after that.
pub(crate) const AUTHOR_QUOTA: (u64, u64) = (500, 200);

/// What the tasks of a node share.
pub struct Node<E, S: Store> {
    runtime: E,
    channel: Channel<E, S>,
    chain: OnceLock<Chain>,
    key: SigningKey,
    cosigning: CosigningKey,
    payloads: PayloadStore,
    beside: Beside,
    disk: OwnDisk,
    /// Transactions of which no node had a remark, and when they were asked.
    unheard: Mutex<BTreeMap<TransactionId, SystemTime>>,
    keeper: Keeper<S>,
    asker: Asker,
    verifier: Verifier,
    gossip: mpsc::Sender<ask::Outgoing>,
    outbox: Mutex<Outbox>,
    outbox_due: Notify,
    /// Reshares that may be this node's business.
    reshares: Mutex<reshare::Watched>,
    reshares_due: Notify,
    quota: Mutex<Quota>,
    rng: Mutex<E>,
}

impl<E, S: Store> std::fmt::Debug for Node<E, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.key.public())
    }
}

impl<E: Clock + CryptoRng, S: Store> Node<E, S> {
    /// This node.
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId::of_key(self.key.public())
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> &Channel<E, S> {
        &self.channel
    }

    /// The final chain, once the engine is up.
    #[must_use]
    pub fn chain(&self) -> Option<&Chain> {
        self.chain.get()
    }

    /// The highest block that is known to be final here. A node that catches up has not executed it yet.
    pub async fn newest_height(&self) -> Height {
        let executed = self.channel.tip().height;
        match self.chain.get() {
            Some(chain) => chain.tip().await.map_or(executed, |(height, _)| height.max(executed)),
            None => executed,
        }
    }

    /// The clock that deadlines here are measured with.
    #[must_use]
    pub const fn runtime(&self) -> &E {
        &self.runtime
    }

    /// Where sealed payloads are kept.
    #[must_use]
    pub const fn payloads(&self) -> &PayloadStore {
        &self.payloads
    }

    /// Waits until `look` finds something, looking again after each executed block; none after
    /// `patience`.
    ///
    /// # Errors
    /// Whatever `look` fails with.
    pub async fn when<T, F>(
        &self,
        patience: Duration,
        mut look: impl FnMut() -> Result<Option<T>, F>,
    ) -> Result<Option<T>, F> {
        // A length and no deadline: who sets the clock back must not make others wait for it.
        let mut over = pin!(self.runtime.sleep(patience));
        loop {
            // Begun before the look: a block that is executed meanwhile is not slept over.
            let executed = self.channel.executed_next();
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            tokio::select! {
                biased;
                () = executed => {}
                () = &mut over => return Ok(None),
            }
        }
    }

    /// Waits until everything that was final anywhere when this was called is executed here; false when that cannot be
    /// shown in time.
    ///
    /// It takes until this node has proposed, and is not shown by one that does not propose.
    ///
    /// # Errors
    /// [`StoreError`] when the configuration cannot be read.
    pub async fn catch_up(&self, patience: Duration) -> Result<bool, StoreError> {
        let moment = self.channel.moment();
        let shown = self.when(patience, || {
            let caught_up = self.channel.has_caught_up_with(moment);
            Ok::<_, StoreError>((caught_up || !self.channel.proposes()?).then_some(caught_up))
        });
        Ok(shown.await?.unwrap_or(false))
    }

    /// This node as the channel has it, in this epoch or the next; none while it is no member.
    ///
    /// # Errors
    /// [`StoreError`] when the configuration cannot be read.
    pub fn member(&self) -> Result<Option<Member>, StoreError> {
        let config = self.channel.config()?;
        let next = self.channel.epoch_config(config.epoch.next())?;
        let of = |config: &EpochConfig| config.member(self.id()).cloned();
        Ok(of(&config).or_else(|| next.as_deref().and_then(of)))
    }

    /// What this node does in the channel now: what its configuration says, and no file of the node's own.
    fn roles(&self) -> Result<NodeRoles, StoreError> {
        let config = self.channel.config()?;
        Ok(config.member(self.id()).map(|member| member.roles).unwrap_or_default())
    }

    /// Lets `draw` use the runtime's randomness: the operating system's, or the simulator's seed.
    fn random<T>(&self, draw: impl FnOnce(&mut E) -> T) -> T {
        draw(&mut lock(&self.rng))
    }

    fn nonce(&self) -> [u8; 16] {
        let mut nonce = [0; 16];
        self.random(|rng| rng.fill_bytes(&mut nonce));
        nonce
    }

    /// Sends a message to every other member; who is not connected gets it from the chain.
    async fn broadcast(&self, config: &EpochConfig, message: &Message) {
        let me = self.id();
        let others: Vec<NodeId> = config.members.iter().map(|m| m.node).filter(|node| *node != me).collect();
        // The queue is closed only when the node shuts down.
        let _ = self.gossip.send((others, message.encode())).await;
    }

    /// Sends what waits in the outbox, if the last batch is through.
    async fn flush_outbox(&self) {
        let config = match self.channel.config() {
            // The ledger takes nothing from others: it waits, should the node become a member again.
            Ok(config) if config.member(self.id()).is_none() => return,
            Ok(config) => config,
            Err(error) => {
                tracing::error!(%error, "the channel's configuration cannot be read");
                return;
            }
        };
        let nonce = self.nonce();
        let tip = self.channel.tip().height;
        let executed = |id| matches!(self.channel.event_of(id), Ok(Some(_)));
        let flushed = {
            // Read under the outbox's lock: what another flush has settled must not come back.
            let mut outbox = lock(&self.outbox);
            let pending = self.custodian_items();
            pending.into_iter().for_each(|item| outbox.push(item));
            let flushed = outbox.flush(self.channel.domain(), &self.key, tip, nonce, executed);
            self.settle_items(&flushed.heard);
            flushed
        };
        let Some(system) = flushed.send else { return };
        match self.channel.submit_system(system.clone()) {
            Ok(_) => self.broadcast(&config, &Message::System(Box::new(system))).await,
            Err(error) => tracing::error!(%error, "a system transaction was not taken"),
        }
    }
}

/// A poisoned lock means that another task panicked; what is behind these locks is consistent after
/// every statement, so the others go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A node that tasks share.
pub type SharedNode<E, S> = Arc<Node<E, S>>;
