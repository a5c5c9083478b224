//! What a client believes: nothing that does not follow from the pinned genesis.
//!
//! A client remembers the newest checkpoint that it has verified. Every later one must contain it:
//! a gateway that shows another past, or an older state, is caught.

use super::{AskGatewayError, Gateway};
use crate::node::Deed;
use dmdl_types::{
    charter::CharterError,
    checkpoint::{Checkpoint, Committer, VerifiedCheckpoint},
    codec,
    custody_proof::{CustodyProof, CustodyProofError, VerifiedCustody},
    event::Event,
    genesis::Founding,
    id::{ChannelName, Epoch, RecordId, RecordVersion, TransactionId},
    limits,
    merkle::{Hash, ProofError},
    receipt::{Receipt, ReceiptError},
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Largest file of what was seen.
const FILE_BYTES: u64 = 4096;

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
    /// A charter founds nothing that could be believed.
    #[error("the channel's charter is not to be believed: {0}")]
    Charter(#[from] CharterError),
    /// A charter is of another channel than the one that goes by its name.
    #[error("the charter that is shown is not that of the channel that is known as `{0}`: one of them is not meant")]
    OtherCharter(ChannelName),
    /// What was verified cannot be remembered.
    #[error("the last verified checkpoint cannot be kept in `{path}`: {source}")]
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
    committers: Vec<Committer>,
    needed_orgs: usize,
    seen: Mutex<Option<Seen>>,
    file: Option<PathBuf>,
}

impl Trust {
    /// Trusts what a pinned genesis, or a charter verified from it, decides, and forgets what was seen when the
    /// process ends.
    #[must_use]
    pub fn new(founding: Founding) -> Self {
        let config = founding.epoch_config(Epoch::new(0));
        let (committers, needed_orgs) = (config.cosigners(), config.cosigners_needed());
        Self { founding, committers, needed_orgs, seen: Mutex::new(None), file: None }
    }

    /// The same, and remembers what was seen in a folder.
    ///
    /// # Errors
    /// [`Unproved::Memory`] when the folder cannot be used, or what is in it is none of ours.
    pub fn remembering(founding: Founding, folder: &Path) -> Result<Self, Unproved> {
        let mut trust = Self::new(founding);
        let folder = folder.join(trust.founding.domain.network.to_string());
        let path = folder.join(format!("{}.seen", trust.founding.channel.name));
        let failed = |source| Unproved::Memory { path: path.display().to_string(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        trust.seen = Mutex::new(read(&path).map_err(failed)?);
        trust.file = Some(path);
        Ok(trust)
    }

    /// What the channel began with.
    #[must_use]
    pub const fn founding(&self) -> &Founding {
        &self.founding
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
        let leaf = receipt.verify(&self.founding.domain, &self.committers, self.needed_orgs).map_err(Unproved::from)?;
        self.grow(leaf.checkpoint(), gateway).await?;
        let event = codec::decode(leaf.bytes(), limits::EVENT_BYTES).map_err(|_| Unproved::OtherEvent)?;
        Ok((leaf.index(), event))
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
        let custody =
            proof.verify(of, &self.founding.domain, &self.committers, self.needed_orgs).map_err(Unproved::from)?;
        for checkpoint in custody.checkpoints() {
            self.grow(checkpoint, gateway).await?;
        }
        Ok(custody)
    }

    /// Takes note of a verified checkpoint: it must be of the log that was seen before.
    async fn grow(&self, shown: &VerifiedCheckpoint, gateway: &impl Gateway) -> Result<(), BelieveError> {
        let &Checkpoint { size, root, .. } = shown.checkpoint();
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

    fn seen(&self) -> Option<Seen> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, new: Seen) -> Result<(), Unproved> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_some_and(|old| old.size >= new.size) {
            return Ok(());
        }
        *seen = Some(new);
        let Some(path) = &self.file else { return Ok(()) };
        write(path, new).map_err(|source| Unproved::Memory { path: path.display().to_string(), source })
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

fn read(path: &Path) -> io::Result<Option<Seen>> {
    use io::Read as _;
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(FILE_BYTES).read_to_string(&mut text)?;
    toml::from_str(&text).map(Some).map_err(io::Error::other)
}

fn write(path: &Path, seen: Seen) -> io::Result<()> {
    let text = toml::to_string(&seen).map_err(io::Error::other)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
