//! One channel on one node: its chain, its state, what waits, and who is told.
//!
//! [`Channel`] is what the engine calls with candidate and final blocks, and what the rest of the
//! node reads. Clones share one channel.
//!
//! What survives a crash: every executed block. What a caller must not assume: that a transaction
//! taken into the pool will be ordered; only its event in the log says so.

mod caught_up;
mod drive;
mod latest;
mod lists;
mod pace;
mod pruning;
mod rehearse;
mod rejoin;
mod reshares;
mod turns;
mod view;

pub use latest::Latest;
pub use lists::{
    EventFilter, Page, PersonFilter, ProposalFilter, Reading, RecordFilter, RequestFilter, RequestView, Titles,
};
pub use pace::Pace;
pub(crate) use pruning::{keep_signed, signed_after};
pub use rejoin::{Place, Standing, note_first_votes, note_votes_lost};
pub use reshares::UnderWay;
pub use turns::Moment;
pub use view::{RecordView, ViewError};

use crate::{
    audit::ExportError,
    clock::WallClock,
    contract::{CustodyMath, Policies},
    execute::{Anchor, ExecuteError, Executed, Executor, Tip},
    log::{RecentNodes, ThroughRecent},
    mdca::Floor,
    order::{Checked, CosignPool, Cosigned, Pool, VotesSeen},
    snapshot::{self, Shelf},
    store::{HistoryView, Reader, Store, StoreError},
};
use dmdl_types::{
    checkpoint::{Checkpoint, Cosignature, CosignedCheckpoint},
    codec,
    evidence::Evidence,
    genesis::{EpochConfig, Founding},
    id::{Epoch, Height, NodeId, TransactionId, UnixMillis},
    limits,
    lineage::cosigning_epoch,
    sign::Domain,
    transaction::{EndorsedTransaction, SystemTransaction, TransactionError},
};
use pruning::Ahead;
use rejoin::Rejoin;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::{Notify, futures::Notified, mpsc};
use turns::Turns;

/// Executed blocks that may wait for the node to take notice of them.
const NOTICES: usize = 64;
/// Configurations of epochs that stay in memory: those that are asked for all the time.
const CONFIGS_KEPT: usize = 8;
/// A block that is no older than this is one of now: longer than a network that is well takes for one.
const OF_NOW_MS: u64 = 30_000;

/// The epoch that the next block of the ledger in a store is of; the first, where there is no ledger yet.
///
/// # Errors
/// [`StoreError`] when that cannot be read.
pub fn epoch_reached(reader: &impl Reader, founding: &Founding) -> Result<Epoch, StoreError> {
    let tip = Tip::load(reader)?;
    Ok(tip.map_or(Epoch::new(0), |tip| cosigning_epoch(tip.height, founding.channel.epoch_blocks)))
}

/// What a node takes notice of.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A block was executed, durably.
    Executed(Arc<Executed>),
    /// Another node is at fault, and this proves it.
    Accused(Box<Evidence>),
}

/// Why a transaction was not taken into the pool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// It does not verify.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// Its endorsements do not satisfy the channel's rule.
    #[error("the transaction is not endorsed by enough organisations")]
    NotEndorsed,
    /// It has expired, or expires too late.
    #[error("the transaction expires outside of the allowed heights")]
    Expiry,
    /// It was executed before.
    #[error("the transaction was executed before")]
    Executed,
    /// The pool is full.
    #[error(transparent)]
    Busy(#[from] crate::order::Busy),
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One channel on one node.
pub struct Channel<E, S: Store> {
    shared: Arc<Shared<E, S>>,
}

struct Shared<E, S: Store> {
    runtime: E,
    wall: WallClock,
    store: S,
    domain: Domain,
    founding: Founding,
    pace: Pace,
    checked: Checked,
    math: CustodyMath,
    policies: Arc<Policies>,
    log_nodes: RecentNodes,
    configs: Mutex<BTreeMap<Epoch, Arc<EpochConfig>>>,
    executor: Mutex<Executor<S>>,
    waiting: Mutex<Waiting>,
    arrived: Notify,
    cosigned: Notify,
    tip: Latest<Tip>,
    turns: Mutex<Turns>,
    me: NodeId,
    rejoin: Mutex<Option<Rejoin>>,
    /// Whether the node has been where the others are, since it began here.
    current: AtomicBool,
    ahead: Mutex<Ahead>,
    floor: Option<Floor>,
    shelf: Mutex<Shelf>,
    notices: mpsc::Sender<Notice>,
}

#[derive(Debug, Default)]
struct Waiting {
    pool: Pool,
    cosignatures: CosignPool,
    votes: VotesSeen,
}

impl<E, S: Store> Clone for Channel<E, S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<E, S: Store> std::fmt::Debug for Channel<E, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Channel({})", self.shared.domain.channel)
    }
}

impl<E, S: Store> Channel<E, S> {
    /// Opens the channel's ledger in `store`, or begins it; `runtime` is the engine's, `wall` this node's clock, and
    /// `me` this node.
    ///
    /// # Errors
    /// [`ExecuteError`] when the store holds another ledger or cannot be read.
    pub fn open(
        runtime: E,
        wall: WallClock,
        store: S,
        founding: Founding,
        (me, standing): (NodeId, Standing),
        math: CustodyMath,
        pace: Pace,
    ) -> Result<(Self, mpsc::Receiver<Notice>), ExecuteError> {
        let executor = Executor::open(store.clone(), founding.clone(), math)?;
        let newest = executor.newest_checkpoint()?;
        let floor = snapshot::floor(&store)?;
        let shelf = Shelf::open(&store)?;
        let rejoin = match standing {
            Standing::Rejoins(place) if !rejoin::has_rejoined(&store, place)? => Some(Rejoin::new(Some(place))),
            Standing::Rejoins(place) if rejoin::has_lost(&store)? => Some(Rejoin::new(Some(place))),
            Standing::Votes if rejoin::has_lost(&store)? => Some(Rejoin::new(None)),
            _ => None,
        };
        // What was loaded, and not executed here, is of some time or other, and so is what was executed on it for a while.
        let is_current = rejoin.is_none() && (floor.is_none() || caught_up::is_noted(&store)?);
        let (notices, inbox) = mpsc::channel(NOTICES);
        let tip = Latest::new(*executor.tip());
        let shared = Shared {
            runtime,
            wall,
            store,
            domain: founding.domain,
            founding,
            pace,
            checked: Checked::default(),
            math,
            policies: executor.policies(),
            log_nodes: RecentNodes::default(),
            configs: Mutex::default(),
            executor: Mutex::new(executor),
            waiting: Mutex::default(),
            arrived: Notify::new(),
            cosigned: Notify::new(),
            tip,
            turns: Mutex::default(),
            me,
            current: AtomicBool::new(is_current),
            rejoin: Mutex::new(rejoin),
            ahead: Mutex::default(),
            floor,
            shelf: Mutex::new(shelf),
            notices,
        };
        let channel = Self { shared: Arc::new(shared) };
        if let Some(checkpoint) = newest {
            // Cosignatures are not kept: after a restart they are gathered again.
            let config = channel.config()?;
            drop(channel.waiting().cosignatures.open(checkpoint, &config));
        }
        Ok((channel, inbox))
    }

    /// The network and channel.
    #[must_use]
    pub fn domain(&self) -> Domain {
        self.shared.domain
    }

    /// What the channel began with.
    #[must_use]
    pub fn founding(&self) -> &Founding {
        &self.shared.founding
    }

    /// The store, for reading.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.shared.store
    }

    /// The store, for reading what proofs of the audit log are made of.
    #[must_use]
    pub fn log_store(&self) -> ThroughRecent<'_, &S> {
        self.shared.log_nodes.before(&self.shared.store)
    }

    /// Whether this node only follows: it lost what it has voted for, and it is not yet safe to vote again.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.rejoin().is_some()
    }

    /// The ledger's time when this node began to vote again in the folder at this place; none if it did not, or had its votes
    /// all along.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be read.
    pub fn rejoined_at(&self, place: Place) -> Result<Option<UnixMillis>, StoreError> {
        rejoin::rejoined_at(self.store(), place)
    }

    /// What signatures this node has verified.
    #[must_use]
    pub fn checked(&self) -> &Checked {
        &self.shared.checked
    }

    /// The last executed block.
    #[must_use]
    pub fn tip(&self) -> Tip {
        self.shared.tip.get()
    }

    /// Whether what this node says can be of now: a node that begins with what others gave it, or with a backup, knows
    /// nothing of what was revoked or erased since, until it has executed a block of its own time. From then on it is
    /// as any other, which says at what height it stands.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.shared.current.load(Ordering::Relaxed)
    }

    /// Waits for the next executed block after this call, polled or not.
    pub fn executed_next(&self) -> Notified<'_> {
        self.shared.tip.changed()
    }

    /// The height that the channel was joined at, if it was joined by a snapshot: blocks up to there were not
    /// executed here, and all but the last of them are not here.
    #[must_use]
    pub fn joined_at(&self) -> Option<Height> {
        self.shared.floor.as_ref().map(|floor| floor.height)
    }

    /// The height of the newest snapshot that others can be shown, and that of the header that certifies it.
    pub(crate) fn newest_snapshot(&self) -> Option<(Height, Height)> {
        self.shelf().newest()
    }

    /// The configuration of an epoch, once it is decided.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn epoch_config(&self, epoch: Epoch) -> Result<Option<Arc<EpochConfig>>, StoreError> {
        // What is decided stays so: it is read once.
        if let Some(known) = self.configs().get(&epoch) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(config) = crate::world::read::<EpochConfig>(&self.shared.store, &epoch)? else { return Ok(None) };
        let config = Arc::new(config);
        let mut configs = self.configs();
        configs.insert(epoch, Arc::clone(&config));
        while configs.len() > CONFIGS_KEPT {
            configs.pop_first();
        }
        Ok(Some(config))
    }

    fn configs(&self) -> MutexGuard<'_, BTreeMap<Epoch, Arc<EpochConfig>>> {
        self.shared.configs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch of the next block.
    #[must_use]
    pub fn current_epoch(&self) -> Epoch {
        cosigning_epoch(self.tip().height, self.shared.founding.channel.epoch_blocks)
    }

    /// The configuration that the next block has.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn config(&self) -> Result<Arc<EpochConfig>, StoreError> {
        let config = self.config_after(self.tip().height)?;
        config.ok_or_else(|| StoreError::Corrupt("the current configuration is missing".into()))
    }

    /// The configuration of the block after a height: that by which a checkpoint of the height is cosigned, once it is
    /// decided.
    fn config_after(&self, height: Height) -> Result<Option<Arc<EpochConfig>>, StoreError> {
        self.epoch_config(cosigning_epoch(height, self.shared.founding.channel.epoch_blocks))
    }

    /// Takes an endorsed transaction into the pool; `false` when it was there already.
    ///
    /// # Errors
    /// [`SubmitError`] says why not.
    pub fn submit(&self, endorsed: EndorsedTransaction) -> Result<bool, SubmitError> {
        let checked = self.shared.checked.transaction(&endorsed, &self.shared.domain);
        let id = checked.inspect_err(|_| self.accuse_endorsers(&endorsed))?;
        // What no block can hold any more, or not for long, must not wait in the pool's place.
        if !crate::order::may_be_at(endorsed.transaction.body.expires, self.tip().height.next()) {
            return Err(SubmitError::Expiry);
        }
        if crate::log::position(&self.shared.store, id, 0)?.is_some() {
            return Err(SubmitError::Executed);
        }
        let news = {
            let mut waiting = self.waiting();
            // Under the lock: an epoch that begins lets go of whatever its committee would refuse, and must not
            // miss this one.
            if !crate::endorse::satisfied(&*self.config()?, &endorsed.endorsements) {
                return Err(SubmitError::NotEndorsed);
            }
            waiting.pool.insert(id, endorsed)?
        };
        if news {
            self.shared.arrived.notify_waiters();
        }
        Ok(news)
    }

    /// How many of people's transactions wait to be ordered.
    #[must_use]
    pub fn waiting_transactions(&self) -> usize {
        self.waiting().pool.len()
    }

    /// Whether the pool has no room for a large transaction, so that endorsing one would be in vain.
    #[must_use]
    pub fn is_pool_full(&self) -> bool {
        self.waiting().pool.is_full()
    }

    /// Takes what a node tells the ledger into the pool; `false` when it was there already, or the
    /// node may not.
    ///
    /// # Errors
    /// [`SubmitError`] when it does not verify or the state cannot be read.
    pub fn submit_system(&self, system: SystemTransaction) -> Result<bool, SubmitError> {
        let id = self.shared.checked.system(&system, &self.shared.domain)?;
        if self.is_executed(id)? {
            return Ok(false);
        }
        let mut waiting = self.waiting();
        let is_member = self.config()?.member(system.body.node).is_some();
        Ok(is_member && waiting.pool.insert_system(id, system))
    }

    /// Adds a committer's cosignature; one that contradicts what this node has executed accuses its committer.
    ///
    /// # Errors
    /// [`StoreError`] when the configuration cannot be read.
    pub fn cosign(&self, checkpoint: Checkpoint, cosignature: Cosignature) -> Result<(), StoreError> {
        // One of a height that is still to come may be by a committer of the epoch after this one.
        let height = checkpoint.height.max(self.tip().height);
        let Some(config) = self.config_after(height)? else { return Ok(()) };
        let (became, enough) = {
            let mut waiting = self.waiting();
            let became = waiting.cosignatures.add(&checkpoint, cosignature, &config);
            (became, became == Cosigned::News && waiting.cosignatures.at_least(checkpoint.size, &config).is_some())
        };
        if became == Cosigned::Contradicts {
            self.accuse(Evidence::Cosignature { checkpoint, cosignature });
        }
        if enough {
            self.shared.cosigned.notify_waiters();
        }
        Ok(())
    }

    /// Hands evidence to the node. It is worth a try, not a wait: whoever else saw the fault shows it too.
    fn accuse(&self, evidence: Evidence) {
        if codec::encode(&evidence).len() <= limits::EVIDENCE_BYTES {
            let _ = self.shared.notices.try_send(Notice::Accused(Box::new(evidence)));
        }
    }

    /// Looks whether an endorser of this epoch has endorsed what breaks a rule. Nobody has it verify more than their
    /// signatures, and the authors' once.
    fn accuse_endorsers(&self, endorsed: &EndorsedTransaction) {
        let Ok(config) = self.config() else { return };
        let EndorsedTransaction { transaction, endorsements } = endorsed;
        let (domain, checked, signed) = (&self.shared.domain, &self.shared.checked, transaction.digest());
        let is_endorser = |node| config.member(node).is_some_and(|member| member.roles.endorser);
        let of_endorsers = endorsements.iter().take(limits::ENDORSEMENTS).filter(|said| is_endorser(said.endorser));
        let mut authored = None;
        for endorsement in of_endorsers.filter(|said| checked.endorsement(said, signed, domain)) {
            let authored =
                *authored.get_or_insert_with(|| crate::endorse::check_authored(domain, checked, transaction).is_ok());
            if !authored || crate::endorse::check_expiry(endorsement.height, transaction).is_err() {
                let (transaction, endorsement) = (Box::new(transaction.clone()), endorsement.clone());
                self.accuse(Evidence::Endorsement { transaction, endorsement });
            }
        }
    }

    /// Waits until the next cosignature after this call that makes a checkpoint count, polled or not.
    pub fn cosignature_next(&self) -> Notified<'_> {
        self.shared.cosigned.notified()
    }

    /// The newest checkpoint that enough organisations have cosigned, of at least `size` leaves.
    ///
    /// # Errors
    /// [`StoreError`] when the configuration cannot be read.
    pub fn cosigned(&self, size: u64) -> Result<Option<CosignedCheckpoint>, StoreError> {
        let config = self.config()?;
        Ok(self.waiting().cosignatures.at_least(size, &config))
    }

    /// What this node came to last, while not enough organisations are known to have cosigned it.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn uncosigned(&self) -> Result<Option<Checkpoint>, StoreError> {
        let tip = self.tip();
        let anchored = tip.anchor.is_some_and(|anchor| anchor.checkpoint.size == tip.size);
        if anchored || self.cosigned(tip.size)?.is_some() {
            return Ok(None);
        }
        self.executor().newest_checkpoint()
    }

    /// Reads the index as it was at the newest final checkpoint.
    ///
    /// # Errors
    /// [`ExportError`] when there is no such checkpoint, or this node restarted since.
    pub fn with_anchored_index<T>(
        &self,
        read: impl FnOnce(Anchor, &HistoryView<&S>) -> Result<T, ExportError>,
    ) -> Result<T, ExportError> {
        // Under the lock, so that anchor and history are of one height.
        let executor = self.executor();
        let anchor = executor.tip().anchor.ok_or(ExportError::NothingFinal)?;
        let view = executor.anchored_index().ok_or(ExportError::NoHistory)?;
        read(anchor, &view)
    }

    fn is_executed(&self, id: TransactionId) -> Result<bool, StoreError> {
        Ok(crate::log::position(&self.shared.store, id, 0)?.is_some())
    }

    // A poisoned lock means that a thread panicked while it held it. The executor commits last and
    // the pool holds nothing that could not be lost, so what is inside is still consistent.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this node hears while it rejoins; none once it may vote in every epoch.
    fn rejoin(&self) -> MutexGuard<'_, Option<Rejoin>> {
        self.shared.rejoin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.shared.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shared.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn executor(&self) -> MutexGuard<'_, Executor<S>> {
        self.shared.executor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
