//! A certified snapshot where it lies, read without its node.
//!
//! That a snapshot is certified is shown by blocks and certificates, which the engine keeps, and by steps that came after it.
//! So the node puts these beside it once it has them. From then on whoever can read the folder has all that another node
//! would be answered, whether the node runs or not.

use super::give;
use crate::{
    channel::{Channel, signed_after},
    mdca::Chain,
    steps,
    store::{Reader, RocksKept, Store, StoreError},
};
use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{
    codec,
    id::Epoch,
    limits,
    lineage::EpochStep,
    snapshot::{FIRST_EPOCH, Offer, Part},
    transaction::Transaction,
};
use std::path::Path;

/// Largest proof: an offer, and a few steps.
const PROOF_BYTES: usize = limits::LINEAGE_BYTES;

/// What shows that a snapshot is certified.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
struct Proof {
    offer: Offer,
    /// The steps from the snapshot's epoch to that of the anchor, which came later.
    steps: Vec<EpochStep>,
}

/// Puts the proof of the newest certified snapshot beside it, unless it is there. Its certificate may be a few blocks
/// behind: then it is for the next call.
///
/// # Errors
/// [`StoreError`] when something cannot be read, or the proof not be kept.
pub async fn keep_proof<E: Send + Sync, S: Store>(channel: &Channel<E, S>, chain: &Chain) -> Result<(), StoreError> {
    let Some((height, _)) = channel.newest_snapshot() else { return Ok(()) };
    let store = channel.store();
    if store.proof(height.get())?.is_some() {
        return Ok(());
    }
    let Some(offer) = give::offer(channel, chain).await else { return Ok(()) };
    prove(store, offer)
}

/// Puts beside a snapshot what shows that it is certified.
pub(super) fn prove<S: Store>(store: &S, offer: Offer) -> Result<(), StoreError> {
    let proof = Proof { steps: steps_since(store, &offer)?, offer };
    store.prove(proof.offer.header.height.get(), &codec::encode(&proof))
}

/// The steps from a snapshot's epoch to that of its anchor.
fn steps_since(reader: &impl Reader, offer: &Offer) -> Result<Vec<EpochStep>, StoreError> {
    let (from, to) = (offer.header.epoch.next(), offer.anchor.header.epoch);
    let missing = |epoch| StoreError::Corrupt(format!("the step to epoch {epoch} is missing"));
    let step = |epoch| steps::read(reader, epoch)?.ok_or_else(|| missing(epoch));
    (from.get()..=to.get()).map(Epoch::new).map(step).collect()
}

/// A snapshot with what shows that it is certified.
#[derive(Debug)]
pub struct Certified<R> {
    kept: R,
    proof: Proof,
}

impl Certified<RocksKept> {
    /// The newest one of the ledger in a folder, if there is one. The ledger may be open elsewhere.
    ///
    /// # Errors
    /// [`StoreError`] as of [`RocksKept::newest_proved`].
    pub fn newest(ledger: &Path) -> Result<Option<Self>, StoreError> {
        let Some((kept, proof)) = RocksKept::newest_proved(ledger)? else { return Ok(None) };
        Self::new(kept, &proof).map(Some)
    }
}

impl<R: Reader> Certified<R> {
    /// A kept store with the proof that was kept beside it.
    pub(super) fn new(kept: R, proof: &[u8]) -> Result<Self, StoreError> {
        let damaged = |error| StoreError::Corrupt(format!("the proof of a snapshot: {error}"));
        Ok(Self { kept, proof: codec::decode(proof, PROOF_BYTES).map_err(damaged)? })
    }

    /// What its node offers to others.
    #[must_use]
    pub const fn offer(&self) -> &Offer {
        &self.proof.offer
    }

    /// All of it: what another node is answered, in the order in which it asks.
    #[must_use]
    pub const fn parts(&self) -> Parts<'_, R> {
        Parts { of: self, next: Next::Offer }
    }

    /// What people have signed and blocks no longer keep, as long as the snapshot knows of it; some at a time.
    #[must_use]
    pub const fn signed(&self) -> Signed<'_, R> {
        Signed { of: self, after: Some(Vec::new()) }
    }

    fn steps(&self, from: Epoch) -> Result<Vec<EpochStep>, StoreError> {
        let steps = steps::read_from(&self.kept, from, give::PART_BYTES)?;
        if !steps.is_empty() {
            return Ok(steps);
        }
        let later = self.proof.steps.iter().filter(|step| step.config.epoch >= from).cloned().collect();
        Ok(give::fitting(later, |step| codec::encode(step).len()))
    }
}

/// The parts of a snapshot.
#[derive(Debug)]
pub struct Parts<'a, R> {
    of: &'a Certified<R>,
    next: Next,
}

#[derive(Debug)]
enum Next {
    Offer,
    Steps(Epoch),
    Leaves(u64),
    State(Vec<u8>),
    Nothing,
}

impl<R: Reader> Parts<'_, R> {
    fn part(&mut self) -> Result<Option<Part>, StoreError> {
        let offer = self.of.offer();
        let last = offer.anchor.header.epoch;
        let (part, next) = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Offer => (Part::Newest(Some(Box::new(offer.clone()))), Next::Steps(FIRST_EPOCH)),
            Next::Steps(from) if from > last => return self.go_on(Next::Leaves(0)),
            Next::Steps(from) => {
                let steps = self.of.steps(from)?;
                let missing = || StoreError::Corrupt(format!("the step to epoch {from} is missing"));
                let reached = steps.last().ok_or_else(missing)?.config.epoch;
                (Part::Steps(steps), Next::Steps(reached.next()))
            }
            Next::Leaves(from) => {
                let leaves = give::leaves(&self.of.kept, from)?;
                if leaves.is_empty() {
                    return self.go_on(Next::State(Vec::new()));
                }
                let next = Next::Leaves(from.saturating_add(leaves.len() as u64));
                (Part::Leaves(leaves), next)
            }
            Next::State(after) => {
                let rows = give::state(&self.of.kept, &after)?;
                // None is the end, and part of it.
                let next = rows.last().map_or(Next::Nothing, |(key, _)| Next::State(key.clone()));
                (Part::State(rows), next)
            }
            Next::Nothing => return Ok(None),
        };
        self.next = next;
        Ok(Some(part))
    }

    fn go_on(&mut self, next: Next) -> Result<Option<Part>, StoreError> {
        self.next = next;
        self.part()
    }
}

impl<R: Reader> Iterator for Parts<'_, R> {
    type Item = Result<Part, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.part().transpose()
    }
}

/// Transactions that are kept apart from blocks.
#[derive(Debug)]
pub struct Signed<'a, R> {
    of: &'a Certified<R>,
    /// The id that the last ones ended with; none at the end.
    after: Option<Vec<u8>>,
}

impl<R: Reader> Iterator for Signed<'_, R> {
    type Item = Result<Vec<Transaction>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let after = self.after.take()?;
        match signed_after(&self.of.kept, &after, give::ROWS) {
            Ok(rows) if rows.is_empty() => None,
            Ok(rows) => {
                let rows = give::fitting(rows, |(_, transaction)| codec::encode(transaction).len());
                self.after = rows.last().map(|(key, _)| key.clone());
                Some(Ok(rows.into_iter().map(|(_, transaction)| transaction).collect()))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
