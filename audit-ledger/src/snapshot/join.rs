//! The joiner's side: from what some member says to a ledger that is as good as executed.
//!
//! [`Joining`] asks one question at a time and checks each answer; whoever carries the two decides whom to ask. Only
//! when everything is there and hashes to the cosigned checkpoint does it become a [`VerifiedSnapshot`]. Until then the
//! store that it fills has no tip, and is of no use to anybody.

use crate::{
    channel::keep_signed,
    commitment::{index::Index, state::StateHash},
    execute::{self, Anchor, Tip},
    log,
    mdca::Floor,
    steps,
    store::{Batch, Overlay, Reader, RocksStore, Space, Store, StoreError},
    world,
};
use dmdl_types::{
    codec,
    event::Event,
    genesis::Founding,
    id::{Height, TransactionId, UnixMillis},
    limits,
    lineage::EpochStep,
    merkle::Frontier,
    sign::Domain,
    snapshot::{Offer, Part, Question, SnapshotError, Trail, VerifiedOffer},
    transaction::Transaction,
};
use std::path::Path;

const FLOOR_KEY: &[u8] = b"floor";

/// Why a snapshot was not taken over. But for [`JoinError::Store`] and [`JoinError::Gone`], it is the fault of whoever
/// was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The offer, or a step that leads to it, is not believed.
    #[error(transparent)]
    Offer(#[from] SnapshotError),
    /// The answer is to another question.
    #[error("the answer does not fit the question")]
    Unasked,
    /// The steps or the log end before they are whole.
    #[error("there is less of it than was offered")]
    Short,
    /// A leaf is no event.
    #[error("the leaf at position {0} is no event of this format")]
    NotAnEvent(u64),
    /// The leaves are not the log under the checkpoint.
    #[error("the leaves are not the log under the checkpoint: {0}")]
    Log(&'static str),
    /// Keys of entries do not rise.
    #[error("an entry of world state is out of order")]
    Order,
    /// The entries are not the state under the checkpoint.
    #[error("the entries are not the state under the checkpoint")]
    State,
    /// A transaction that comes with the snapshot is none of its log.
    #[error("transaction `{0}` is not in the log, or its authors did not sign it")]
    NotInLog(TransactionId),
    /// The snapshot is not kept any more.
    #[error("the snapshot is not kept any more")]
    Gone,
    /// The own store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A snapshot that is being taken over.
#[derive(Debug)]
pub struct Joining<S: Store> {
    store: S,
    stage: Stage,
}

/// What is asked for, in this order.
#[derive(Debug)]
enum Stage {
    Steps(Box<Trail>),
    /// First the leaves, whose number is known: a liar cannot fill the disk with them.
    Leaves(Box<VerifiedOffer>, Frontier, Index),
    State(Box<VerifiedOffer>, Box<StateHash>, Vec<u8>),
}

/// Where an answer leads to.
#[derive(Debug)]
pub enum Progress<S: Store> {
    /// More is needed.
    More(Joining<S>),
    /// Everything is there.
    Done(VerifiedSnapshot<S>),
}

/// A ledger that was not executed here, and whose state, log and index are those under a checkpoint that the chain from
/// the founding document leads to.
#[derive(Debug)]
pub struct VerifiedSnapshot<S> {
    store: S,
    domain: Domain,
    height: Height,
    time: UnixMillis,
    size: u64,
}

impl<S> VerifiedSnapshot<S> {
    /// The block that its ledger goes on after.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// How many leaves its log has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// When the block was made that its ledger goes on after.
    #[must_use]
    pub const fn time(&self) -> UnixMillis {
        self.time
    }

    /// The store, to be opened as any other ledger.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
    }
}

impl<S: Store> VerifiedSnapshot<S> {
    /// Keeps what people have signed, which the ledger would have kept apart from its blocks.
    ///
    /// # Errors
    /// [`JoinError::NotInLog`] when one of them is not what its id in the log says; [`JoinError::Store`].
    pub fn keep_signed(&self, transactions: &[Transaction]) -> Result<(), JoinError> {
        let mut batch = Batch::new();
        for transaction in transactions {
            let not_in_log = || JoinError::NotInLog(transaction.body.id());
            let id = transaction.verify(&self.domain).map_err(|_| not_in_log())?;
            if log::position(&self.store, id, 0)?.is_none() {
                return Err(not_in_log());
            }
            keep_signed(&mut batch, transaction);
        }
        Ok(self.store.commit(batch)?)
    }
}

impl VerifiedSnapshot<RocksStore> {
    /// Moves the ledger to the place where its channel looks for it, for good.
    ///
    /// What survives a crash: the ledger in its new place, once this returns; before, nothing there, or all of it.
    ///
    /// # Errors
    /// [`StoreError`] as of [`RocksStore::move_to`].
    pub fn move_to(self, folder: &Path) -> Result<(), StoreError> {
        self.store.move_to(folder)
    }
}

impl<S: Store> Joining<S> {
    /// Begins to take over what a member offers into an empty store.
    ///
    /// # Errors
    /// [`JoinError::Offer`] when it can be no snapshot of the channel that `founding` founds.
    pub fn begin(founding: &Founding, offer: Offer, store: S) -> Result<Self, JoinError> {
        Ok(Self { store, stage: Stage::Steps(Box::new(Trail::begin(founding, offer)?)) })
    }

    /// What to ask next.
    #[must_use]
    pub fn question(&self) -> Question {
        match &self.stage {
            Stage::Steps(trail) => Question::Steps(trail.wanted().unwrap_or(trail.offer().header.epoch)),
            Stage::Leaves(offer, log, _) => Question::Leaves(height_of(offer), log.size()),
            Stage::State(offer, _, after) => Question::State(height_of(offer), after.clone()),
        }
    }

    /// Takes the answer to [`Self::question`].
    ///
    /// # Errors
    /// [`JoinError`]: what was loaded is of no use, and another member may be asked for its own.
    pub fn take(self, answer: Part) -> Result<Progress<S>, JoinError> {
        let Self { store, stage } = self;
        let stage = match (stage, answer) {
            (_, Part::Gone) => return Err(JoinError::Gone),
            (Stage::Steps(trail), Part::Steps(steps)) => take_steps(&store, trail, &steps)?,
            (Stage::Leaves(offer, log, index), Part::Leaves(leaves)) => {
                take_leaves(&store, offer, log, index, &leaves)?
            }
            (Stage::State(offer, hash, _), Part::State(rows)) if rows.is_empty() => {
                return finish(store, &offer, &hash).map(Progress::Done);
            }
            (Stage::State(offer, hash, after), Part::State(rows)) => take_state(&store, offer, hash, after, rows)?,
            _ => return Err(JoinError::Unasked),
        };
        Ok(Progress::More(Self { store, stage }))
    }
}

fn height_of(offer: &VerifiedOffer) -> Height {
    offer.checkpoint().height
}

fn take_steps<S: Store>(store: &S, mut trail: Box<Trail>, steps: &[EpochStep]) -> Result<Stage, JoinError> {
    let mut batch = Batch::new();
    for step in steps {
        // There may be newer ones than are needed here.
        let Some(epoch) = trail.wanted() else { break };
        trail.step(step)?;
        steps::keep(&mut batch, epoch, &step.announced);
    }
    if batch.is_empty() {
        return Err(JoinError::Short);
    }
    store.commit(batch)?;
    Ok(match trail.wanted() {
        Some(_) => Stage::Steps(trail),
        None => Stage::Leaves(Box::new(trail.verify()?), Frontier::new(), Index::default()),
    })
}

fn take_leaves<S: Store>(
    store: &S,
    offer: Box<VerifiedOffer>,
    mut log: Frontier,
    mut index: Index,
    leaves: &[Vec<u8>],
) -> Result<Stage, JoinError> {
    let checkpoint = *offer.checkpoint();
    if leaves.is_empty() {
        return Err(JoinError::Short);
    }
    if log.size().saturating_add(leaves.len() as u64) > checkpoint.size {
        return Err(JoinError::Log("there are more of them"));
    }
    let event = |(position, leaf): (u64, &Vec<u8>)| -> Result<Event, JoinError> {
        codec::decode(leaf, limits::EVENT_BYTES).map_err(|_| JoinError::NotAnEvent(position))
    };
    let events = (log.size()..).zip(leaves).map(event).collect::<Result<Vec<_>, _>>()?;
    let mut block = Overlay::new(store);
    let appended = log::append(&mut block, &mut log, &mut index, &events)?;
    store.commit(block.into_changes().into())?;
    if log.size() < checkpoint.size {
        return Ok(Stage::Leaves(offer, log, index));
    }
    if appended.root != checkpoint.root {
        return Err(JoinError::Log("their root differs"));
    }
    if appended.index != checkpoint.index {
        return Err(JoinError::Log("the index over them differs"));
    }
    Ok(Stage::State(offer, Box::default(), Vec::new()))
}

fn take_state<S: Store>(
    store: &S,
    offer: Box<VerifiedOffer>,
    mut hash: Box<StateHash>,
    mut after: Vec<u8>,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<Stage, JoinError> {
    let mut batch = Batch::new();
    for (key, value) in rows {
        // Rising keys are each there once: of more than that the hash says nothing.
        if key <= after {
            return Err(JoinError::Order);
        }
        hash.replace(&key, None, Some(&value));
        after.clone_from(&key);
        batch.put(Space::State, key, value);
    }
    store.commit(batch)?;
    Ok(Stage::State(offer, hash, after))
}

/// Compares the state, and makes the store a ledger.
fn finish<S: Store>(store: S, offer: &VerifiedOffer, state: &StateHash) -> Result<VerifiedSnapshot<S>, JoinError> {
    let (header, checkpoint) = (offer.header(), offer.checkpoint());
    if state.root() != checkpoint.state {
        return Err(JoinError::State);
    }
    let tip = Tip {
        domain: header.domain,
        height: checkpoint.height,
        block: checkpoint.block,
        time: header.time,
        epoch: header.epoch,
        size: checkpoint.size,
        anchor: world::read::<Anchor>(&store, &())?,
    };
    let certificate = offer.certificate().to_vec();
    let floor = Floor { height: tip.height, certificate, epoch_parent: offer.epoch_parent() };
    let mut block = Overlay::new(&store);
    execute::begin_at(&mut block, &tip, checkpoint);
    state.store(&mut block);
    block.put(Space::Meta, FLOOR_KEY, codec::encode(&floor));
    let changes = block.into_changes();
    store.commit(changes.into())?;
    let Tip { domain, height, time, size, .. } = tip;
    Ok(VerifiedSnapshot { store, domain, height, time, size })
}

/// Where the chain of a ledger begins, if it was joined by a snapshot.
pub(crate) fn floor(reader: &impl Reader) -> Result<Option<Floor>, StoreError> {
    let damaged = |error| StoreError::Corrupt(format!("the floor: {error}"));
    let bytes = reader.get(Space::Meta, FLOOR_KEY)?;
    bytes.map(|bytes| codec::decode(&bytes, limits::BLOCK_BYTES).map_err(damaged)).transpose()
}
