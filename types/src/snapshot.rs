//! Snapshots: what a node that joins a channel asks others, what they tell it, and the chain that leads from the
//! founding document to a state that enough committers cosigned.
//!
//! Whoever offers a snapshot is believed nothing. [`Trail`] walks the configurations epoch by epoch, and only its end
//! makes a [`VerifiedOffer`]: from then on it is known what state, log and index must hash to.
//!
//! # Source
//! docs/spec/snapshot.md; docs/adr/0012-snapshots.md

#[cfg(test)]
mod tests;

use crate::{
    block::Header,
    bundle::{BundleError, verify_anchor},
    checkpoint::Checkpoint,
    genesis::{EpochConfig, Founding, GenesisError},
    id::{BlockDigest, Epoch, Height},
    lineage::{EpochStep, FinalHeader, LineageError},
    sign::Domain,
};
use borsh::{BorshDeserialize, BorshSerialize};

/// The first epoch of which snapshots are taken: one that another epoch's last block leads to.
pub const FIRST_EPOCH: Epoch = Epoch::new(2);

/// What a node offers of the newest snapshot that it has.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Offer {
    /// The header of the block that was executed last.
    pub header: Header,
    /// That block's own finality certificate, in the engine's encoding.
    pub certificate: Vec<u8>,
    /// A later final header, which carries the checkpoint of that block.
    pub anchor: FinalHeader,
}

/// What a node that joins asks.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Question {
    /// The newest snapshot.
    Newest,
    /// The steps that lead to this epoch and to those after it.
    Steps(Epoch),
    /// Leaves of the audit log at this height, from a position on.
    Leaves(Height, u64),
    /// Entries of world state at this height, after a key; every key comes after the empty one.
    State(Height, Vec<u8>),
}

/// A piece of a snapshot: the answer to the question of the same name.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Part {
    /// The newest snapshot, if there is one.
    Newest(Option<Box<Offer>>),
    /// Steps, in order; as many as fit.
    Steps(Vec<EpochStep>),
    /// Leaves, in order; as many as fit.
    Leaves(Vec<Vec<u8>>),
    /// Entries by rising key; as many as fit, and none when there are no more.
    State(Vec<(Vec<u8>, Vec<u8>)>),
    /// A snapshot of this height is not kept, or no longer.
    Gone,
}

/// Why an offer is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The founding document breaks a rule itself.
    #[error("the founding document is not valid: {0}")]
    Founding(#[from] GenesisError),
    /// A step from configuration to configuration, or the offered header, does not verify.
    #[error(transparent)]
    Lineage(#[from] LineageError),
    /// The final header that carries the checkpoint, or the checkpoint, does not verify.
    #[error(transparent)]
    Anchor(#[from] BundleError),
    /// The block is not one that a snapshot is taken after.
    #[error("a snapshot is taken neither in the first two epochs nor at the end of one")]
    Place,
    /// A step is not by the last block of the epoch before.
    #[error("the step to epoch {0} is not by the last block of the epoch before")]
    Boundary(Epoch),
    /// The chain is not walked to its end.
    #[error("the step to epoch {0} is missing")]
    Missing(Epoch),
    /// The checkpoint is of another block.
    #[error("the final header carries the checkpoint of another block than the offered one")]
    OtherBlock,
}

/// The way from a founding document to an offer, as far as it was walked.
#[derive(Debug)]
pub struct Trail {
    offer: Offer,
    domain: Domain,
    /// Where the walk is.
    config: EpochConfig,
    /// The epoch of the offered block and the last block of the one before, once the walk came by.
    passed: Option<(EpochConfig, BlockDigest)>,
}

impl Trail {
    /// Begins at what `pinned` decides.
    ///
    /// # Errors
    /// [`SnapshotError`] when the document is not valid, or the offer is of a block that no snapshot is taken after.
    pub fn begin(pinned: &Founding, offer: Offer) -> Result<Self, SnapshotError> {
        pinned.check()?;
        let epoch_blocks = pinned.channel.epoch_blocks;
        let Header { height, epoch, .. } = offer.header;
        let is_last = height.next().get().is_multiple_of(epoch_blocks);
        if epoch < FIRST_EPOCH || epoch.get() != height.get() / epoch_blocks || is_last {
            return Err(SnapshotError::Place);
        }
        let config = pinned.epoch_config(Epoch::new(1));
        Ok(Self { offer, domain: pinned.domain, config, passed: None })
    }

    /// The offer, which nobody should believe yet.
    #[must_use]
    pub const fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The epoch that the next step leads to; none at the end.
    #[must_use]
    pub fn wanted(&self) -> Option<Epoch> {
        (self.config.epoch < self.offer.anchor.header.epoch).then(|| self.config.epoch.next())
    }

    /// Walks on.
    ///
    /// # Errors
    /// [`SnapshotError`] names what is wrong with the step.
    pub fn step(&mut self, step: &EpochStep) -> Result<(), SnapshotError> {
        let next = step.verify(&self.domain, &self.config)?;
        let (epoch, header) = (next.epoch, &step.announced.header);
        if epoch.get().checked_mul(next.channel.epoch_blocks) != Some(header.height.next().get()) {
            return Err(SnapshotError::Boundary(epoch));
        }
        if epoch == self.offer.header.epoch {
            self.passed = Some((next.clone(), header.digest()));
        }
        self.config = next.clone();
        Ok(())
    }

    /// Verifies the offer at the end of the walk.
    ///
    /// # Errors
    /// [`SnapshotError`] names the first thing that is wrong.
    pub fn verify(self) -> Result<VerifiedOffer, SnapshotError> {
        if let Some(missing) = self.wanted() {
            return Err(SnapshotError::Missing(missing));
        }
        let Self { offer: Offer { header, certificate, anchor }, domain, config, passed } = self;
        let (own, parent) = passed.ok_or(SnapshotError::Missing(header.epoch))?;
        let offered = FinalHeader { header, links: Vec::new(), certificate };
        offered.verify(&domain, &own)?;
        let FinalHeader { header, certificate, .. } = offered;
        let checkpoint = verify_anchor(&anchor, &domain, &config)?.checkpoint;
        if checkpoint.height != header.height || checkpoint.block != header.digest() {
            return Err(SnapshotError::OtherBlock);
        }
        Ok(VerifiedOffer { header, certificate, parent, checkpoint })
    }
}

/// An offer that the chain from the founding document leads to: what it offers is known by its hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedOffer {
    header: Header,
    certificate: Vec<u8>,
    parent: BlockDigest,
    checkpoint: Checkpoint,
}

impl VerifiedOffer {
    /// The header of the block that was executed last.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// That block's own finality certificate.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The last block of the epoch before.
    #[must_use]
    pub const fn epoch_parent(&self) -> BlockDigest {
        self.parent
    }

    /// What committers cosigned after that block.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}
