//! What a client believes: nothing that does not follow from the pinned genesis.
//!
//! A client follows the channel's configurations from the pin, and believes the committers of each epoch about that
//! epoch and what was before. It remembers the newest checkpoint that it has verified. Every later one must contain
//! it: a gateway that shows another past, or an older state, is caught.
//!
//! Several clients may share it, as those of one program do. Then each checkpoint is verified once for all of them.

mod memory;
mod recent;

use super::{AskGatewayError, Gateway};
use crate::node::Deed;
use dmdl_types::{
    charter::CharterError,
    checkpoint::{Checkpoint, Committer, VerifiedCheckpoint},
    codec,
    custody_proof::{CustodyProof, CustodyProofError, VerifiedCustody},
    event::Event,
    genesis::{EpochConfig, Founding},
    id::{ChannelName, Epoch, Height, RecordId, RecordVersion, TransactionId},
    limits,
    lineage::{Lineage, LineageError, VouchError},
    merkle::{Hash, ProofError},
    receipt::{Receipt, ReceiptError, VerifiedLeaf},
};
use memory::Memory;
use recent::Recent;
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Mutex as Turn;

/// Why what a gateway shows is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unproved {
    /// A receipt proves nothing.
    #[error("the receipt does not verify: {0}")]
    Receipt(#[from] ReceiptError),
    /// A registration is not proved.
    #[error("the registration is not proved: {0}")]
    Custody(#[from] CustodyProofError),
    /// A receipt proves something else.
    #[error("the receipt is of another event")]
    OtherEvent,
    /// A transaction is not the one that was asked for.
    #[error("the gateway shows another transaction than the one that was asked for")]
    OtherTransaction,
    /// Two checkpoints with enough cosignatures contradict each other.
    #[error(
        "the gateway's log of {shown} events does not contain the log of {seen} events that was verified before: \
         one of them is forged"
    )]
    Fork {
        /// How many events the verified log had.
        seen: u64,
        /// How many the shown one has.
        shown: u64,
    },
    /// The log that was shown is older than what was verified before, and not shown to be its past.
    #[error("the gateway shows a log of {shown} events, but one of {seen} was verified before; ask a newer gateway")]
    Behind {
        /// How many events the verified log had.
        seen: u64,
        /// How many the shown one has.
        shown: u64,
    },
    /// A step from one configuration to the next does not verify.
    #[error("the gateway shows members of the channel that are not to be believed: {0}")]
    Lineage(#[from] LineageError),
    /// Nothing shows who may cosign in an epoch.
    #[error("it is cosigned in epoch {0}, whose configuration the gateway does not show")]
    NoConfiguration(Epoch),
    /// Who may cosign in an epoch is not known, and nobody is asked.
    #[error(
        "it is cosigned in epoch {0}, whose configuration is not known here yet; `dmdl audit receipt` asks a gateway \
         for it"
    )]
    NotKnown(Epoch),
    /// A charter founds nothing that could be believed.
    #[error("the channel's charter is not to be believed: {0}")]
    Charter(#[from] CharterError),
    /// A charter is of another channel than the one that goes by its name.
    #[error("the charter that is shown is not that of the channel that is known as `{0}`: one of them is not meant")]
    OtherCharter(ChannelName),
    /// What was verified cannot be remembered.
    #[error("what was verified cannot be kept in `{path}`: {source}")]
    Memory {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// What was seen of a log: its size and root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    size: u64,
    #[serde(with = "hex::serde")]
    root: Hash,
}

/// The pinned network, and what was verified of it so far.
#[derive(Debug)]
pub struct Trust {
    founding: Founding,
    lineage: Mutex<Arc<Lineage>>,
    seen: Mutex<Option<Seen>>,
    recent: Mutex<Recent>,
    growing: Turn<()>,
    memory: Option<Memory>,
}

impl Trust {
    /// Trusts what a pinned genesis, or a charter verified from it, decides, and forgets what was seen when the
    /// process ends.
    #[must_use]
    pub fn new(founding: Founding) -> Self {
        let lineage = Lineage::new(&founding);
        Self::beginning_with(founding, lineage, None)
    }

    /// The same, beginning with what was verified before and is remembered in a folder. Nothing is written.
    ///
    /// # Errors
    /// [`Unproved::Memory`] when what is there cannot be read, or what was seen is none of ours.
    pub fn recalling(founding: Founding, folder: &Path) -> Result<Self, Unproved> {
        let memory = Memory::of(&founding, folder);
        let (lineage, seen) = (memory.lineage(&founding)?, memory.seen()?);
        Ok(Self::beginning_with(founding, lineage, seen))
    }

    fn beginning_with(founding: Founding, lineage: Lineage, seen: Option<Seen>) -> Self {
        let (lineage, seen) = (Mutex::new(Arc::new(lineage)), Mutex::new(seen));
        Self { founding, lineage, seen, recent: Mutex::default(), growing: Turn::default(), memory: None }
    }

    /// The same, and remembers in the folder what is verified from now on.
    ///
    /// # Errors
    /// The same, and [`Unproved::Memory`] when the folder cannot be made.
    pub fn remembering(founding: Founding, folder: &Path) -> Result<Self, Unproved> {
        let memory = Memory::of(&founding, folder);
        memory.make_folder()?;
        Ok(Self { memory: Some(memory), ..Self::recalling(founding, folder)? })
    }

    /// What the channel began with.
    #[must_use]
    pub const fn founding(&self) -> &Founding {
        &self.founding
    }

    /// The configuration of the last epoch that is known: what was verified up to now, whatever came after it.
    #[must_use]
    pub fn known(&self) -> EpochConfig {
        self.lineage().newest().clone()
    }

    /// The configuration of the last epoch that a gateway shows, verified.
    ///
    /// # Errors
    /// [`Unproved`], inside of [`BelieveError`], or the gateway's failure to show it.
    pub async fn newest(&self, gateway: &impl Gateway) -> Result<EpochConfig, BelieveError> {
        let mut known = self.lineage();
        while self.follow(&known, gateway).await? {
            known = self.lineage();
        }
        Ok(known.newest().clone())
    }

    /// How many events the newest verified log has.
    #[must_use]
    pub fn seen_size(&self) -> u64 {
        self.seen().map_or(0, |seen| seen.size)
    }

    /// The event that a receipt proves, with its position.
    ///
    /// # Errors
    /// [`Unproved`], inside of [`BelieveError`], or the gateway's failure to show the rest.
    pub async fn event(&self, receipt: &Receipt, gateway: &impl Gateway) -> Result<(u64, Event), BelieveError> {
        let verify = |committers: &[Committer], needed| self.leaf(receipt, committers, needed);
        let leaf = self.vouched(receipt.checkpoint.checkpoint().height, gateway, verify).await?;
        self.grow(leaf.checkpoint(), gateway).await?;
        Ok(event(&leaf)?)
    }

    /// The leaf that a receipt proves, under a checkpoint that these committers cosigned, or that was verified before.
    fn leaf(&self, receipt: &Receipt, committers: &[Committer], needed: usize) -> Result<VerifiedLeaf, ReceiptError> {
        let known = self.recent().vouched(&receipt.checkpoint);
        if let Some(checkpoint) = known {
            return receipt.verify_under(checkpoint);
        }
        let leaf = receipt.verify(&self.founding.domain, committers, needed)?;
        self.recent().note_vouched(&receipt.checkpoint, *leaf.checkpoint());
        Ok(leaf)
    }

    /// The event that a receipt proves, with its position, by what is known here alone.
    ///
    /// # Errors
    /// [`Unproved`], with [`Unproved::NotKnown`] when it is of an epoch that nobody has shown yet.
    pub fn event_offline(&self, receipt: &Receipt) -> Result<(u64, Event), Unproved> {
        let verify = |committers: &[Committer], needed| receipt.verify(&self.founding.domain, committers, needed);
        match self.lineage().vouch(receipt.checkpoint.checkpoint().height, verify) {
            Ok(leaf) => event(&leaf),
            Err(VouchError::Unknown(epoch)) => Err(Unproved::NotKnown(epoch)),
            Err(VouchError::Refused(error)) => Err(error.into()),
        }
    }

    /// The event of one transaction, as [`Trust::event`].
    ///
    /// # Errors
    /// The same, and [`Unproved::OtherEvent`] when the receipt is of another transaction.
    pub async fn event_of(
        &self,
        id: TransactionId,
        receipt: &Receipt,
        gateway: &impl Gateway,
    ) -> Result<(u64, Event), BelieveError> {
        let (position, event) = self.event(receipt, gateway).await?;
        if event.transaction == id && event.item == 0 {
            Ok((position, event))
        } else {
            Err(Unproved::OtherEvent.into())
        }
    }

    /// The event of a transaction that is shown whole, as [`Trust::event_of`].
    ///
    /// # Errors
    /// The same, and [`Unproved::OtherTransaction`] when what is shown is not what this id names.
    pub async fn deed(
        &self,
        id: TransactionId,
        shown: &Deed,
        gateway: &impl Gateway,
    ) -> Result<(u64, Event), BelieveError> {
        // An id is the hash of what was signed.
        if shown.transaction.body.id() != id {
            return Err(Unproved::OtherTransaction.into());
        }
        self.event_of(id, &shown.receipt, gateway).await
    }

    /// A registration and its acknowledgements.
    ///
    /// # Errors
    /// [`Unproved`], inside of [`BelieveError`], or the gateway's failure to show the rest.
    pub async fn custody(
        &self,
        of: (RecordId, RecordVersion),
        proof: &CustodyProof,
        gateway: &impl Gateway,
    ) -> Result<VerifiedCustody, BelieveError> {
        let verify = |committers: &[Committer], needed| {
            proof.verify(of, &self.founding.domain, |receipt| self.leaf(receipt, committers, needed))
        };
        let custody = self.vouched(proof.height(), gateway, verify).await?;
        for checkpoint in custody.checkpoints() {
            self.grow(checkpoint, gateway).await?;
        }
        Ok(custody)
    }

    /// What verifies under committers that may cosign a checkpoint of this height. While those that are known will not
    /// do, the gateway is asked for the ones after them.
    async fn vouched<T, E>(
        &self,
        checkpoint: Height,
        gateway: &impl Gateway,
        verify: impl Fn(&[Committer], usize) -> Result<T, E>,
    ) -> Result<T, BelieveError>
    where
        Unproved: From<E>,
    {
        loop {
            let known = self.lineage();
            let refused = match known.vouch(checkpoint, &verify) {
                Ok(verified) => return Ok(verified),
                Err(VouchError::Unknown(epoch)) => Unproved::NoConfiguration(epoch),
                Err(VouchError::Refused(error)) => error.into(),
            };
            if !self.follow(&known, gateway).await? {
                return Err(refused.into());
            }
        }
    }

    /// Asks a gateway for the configurations after those that are known; false when it shows none.
    async fn follow(&self, known: &Lineage, gateway: &impl Gateway) -> Result<bool, BelieveError> {
        let steps = gateway.steps_after(known.newest().epoch).await?;
        if steps.is_empty() {
            return Ok(false);
        }
        let mut grown = known.clone();
        grown.follow(&steps).map_err(Unproved::from)?;
        self.remember_lineage(grown)?;
        Ok(true)
    }

    /// Takes note of a verified checkpoint: it must be of the log that was seen before.
    async fn grow(&self, shown: &VerifiedCheckpoint, gateway: &impl Gateway) -> Result<(), BelieveError> {
        if self.recent().is_of_log(shown) {
            return Ok(());
        }
        // One after the other, so that each is compared with the newest of those before it.
        let _turn = self.growing.lock().await;
        if !self.recent().is_of_log(shown) {
            self.compare(*shown.checkpoint(), gateway).await?;
            self.recent().note_of_log(*shown);
        }
        Ok(())
    }

    async fn compare(&self, shown: Checkpoint, gateway: &impl Gateway) -> Result<(), BelieveError> {
        let Checkpoint { size, root, .. } = shown;
        let Some(seen) = self.seen() else { return Ok(self.remember(Seen { size, root })?) };
        let fork = Unproved::Fork { seen: seen.size, shown: size };
        if size == seen.size {
            return if root == seen.root { Ok(()) } else { Err(fork.into()) };
        }
        let (old, new) = if size < seen.size { (size, seen.size) } else { (seen.size, size) };
        let (old_root, new_root) = if size < seen.size { (&root, &seen.root) } else { (&seen.root, &root) };
        let proof = match gateway.consistency(old, new).await {
            Ok(proof) => proof,
            // It does not know the newer log: an honest gateway that is behind, or one that hides it.
            Err(AskGatewayError::Problem(_)) if size < seen.size => {
                return Err(Unproved::Behind { seen: seen.size, shown: size }.into());
            }
            Err(error) => return Err(error.into()),
        };
        // Every log begins with the empty one.
        let contained = match (old, proof.old_size == old && proof.new_size == new) {
            (0, _) => Ok(()),
            (_, true) => proof.verify(old_root, new_root),
            (_, false) => Err(ProofError::NotGrown { old_size: proof.old_size, new_size: proof.new_size }),
        };
        contained.map_err(|_| fork)?;
        if size > seen.size { Ok(self.remember(Seen { size, root })?) } else { Ok(()) }
    }

    fn lineage(&self) -> Arc<Lineage> {
        Arc::clone(&self.lineage.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn remember_lineage(&self, grown: Lineage) -> Result<(), Unproved> {
        let mut lineage = self.lineage.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have followed further meanwhile.
        if lineage.newest().epoch >= grown.newest().epoch {
            return Ok(());
        }
        *lineage = Arc::new(grown);
        self.memory.as_ref().map_or(Ok(()), |memory| memory.keep_lineage(&lineage))
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> Option<Seen> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, new: Seen) -> Result<(), Unproved> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_some_and(|old| old.size >= new.size) {
            return Ok(());
        }
        *seen = Some(new);
        self.memory.as_ref().map_or(Ok(()), |memory| memory.keep_seen(new))
    }
}

/// Why something was not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BelieveError {
    /// It is not proved.
    #[error(transparent)]
    Unproved(#[from] Unproved),
    /// The gateway did not show what it takes.
    #[error(transparent)]
    Gateway(#[from] AskGatewayError),
}

/// The event of a verified leaf, with its position.
fn event(leaf: &VerifiedLeaf) -> Result<(u64, Event), Unproved> {
    let event = codec::decode(leaf.bytes(), limits::EVENT_BYTES).map_err(|_| Unproved::OtherEvent)?;
    Ok((leaf.index(), event))
}
