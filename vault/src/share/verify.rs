//! Verifying: whether a share lies on the committed polynomial.

use super::{
    Share,
    commitments::{CommitmentError, Commitments},
    pedersen,
    threshold::{Threshold, ThresholdError},
};
use dmdl_types::{
    context::{DataContext, ShareContext},
    custody::Dealing,
    id::{DealingId, NodeId, ShareEpoch, ShareIndex},
};
use std::fmt;

/// Why a share is refused; the index names who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// No custodian has this position.
    #[error("share `{index}` is beyond the `{n}` of its dealing")]
    BeyondThreshold {
        /// The share's index.
        index: ShareIndex,
        /// How many shares there are.
        n: u8,
    },
    /// Altered, misplaced, or of another dealing.
    #[error("share `{index}` is not the committed one")]
    NotCommitted {
        /// The share's index.
        index: ShareIndex,
    },
}

impl VerifyError {
    /// The position of whoever sent the share.
    #[must_use]
    pub const fn culprit(&self) -> ShareIndex {
        match self {
            Self::BeyondThreshold { index, .. } | Self::NotCommitted { index } => *index,
        }
    }
}

/// What all shares of one dealing have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) id: DealingId,
    pub(super) data: DataContext,
    pub(super) epoch: ShareEpoch,
    pub(super) threshold: Threshold,
}

impl Origin {
    const fn context(&self, custodian: NodeId, index: ShareIndex) -> ShareContext {
        ShareContext {
            data: self.data,
            epoch: self.epoch,
            custodian,
            index,
            k: self.threshold.k(),
            n: self.threshold.n(),
            dealing: self.id,
        }
    }
}

/// Why what the ledger says of a dealing is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DealingError {
    /// Its numbers are no threshold.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
    /// Its commitments are none.
    #[error(transparent)]
    Commitments(#[from] CommitmentError),
    /// The commitments make another dealing than the context names.
    #[error("the commitments belong to another dealing")]
    OtherDealing,
}

/// A dealing as the ledger knows it, decoded and checked: its commitments, and the record version and
/// share epoch that it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedDealing {
    pub(super) origin: Origin,
    pub(super) commitments: Commitments,
}

impl CheckedDealing {
    /// The dealing that these commitments make for a record version and an epoch of its shares.
    #[must_use]
    pub fn new(commitments: Commitments, data: DataContext, epoch: ShareEpoch) -> Self {
        let id = DealingId::derive(&data, epoch, commitments.as_bytes());
        Self { origin: Origin { id, data, epoch, threshold: commitments.threshold() }, commitments }
    }

    /// The dealing that a share's context speaks of, from its encoded commitments.
    ///
    /// # Errors
    /// [`DealingError`] when threshold, commitments and dealing id do not fit together.
    pub fn of_context(context: &ShareContext, commitments: &[[u8; 32]]) -> Result<Self, DealingError> {
        let commitments = Commitments::parse(Threshold::new(context.k, context.n)?, commitments)?;
        let dealing = Self::new(commitments, context.data, context.epoch);
        if dealing.id() == context.dealing { Ok(dealing) } else { Err(DealingError::OtherDealing) }
    }

    /// A registered dealing of a record version.
    ///
    /// # Errors
    /// [`DealingError`] when its numbers are no threshold or its commitments none.
    pub fn of_dealing(dealing: &Dealing, data: DataContext) -> Result<Self, DealingError> {
        let small = |len: usize| u8::try_from(len).unwrap_or(u8::MAX);
        let threshold = Threshold::new(small(dealing.commitments.len()), small(dealing.shares.len()))?;
        Ok(Self::new(Commitments::parse(threshold, &dealing.commitments)?, data, dealing.epoch))
    }

    /// The dealing's id.
    #[must_use]
    pub const fn id(&self) -> DealingId {
        self.origin.id
    }

    /// The commitments.
    #[must_use]
    pub const fn commitments(&self) -> &Commitments {
        &self.commitments
    }

    /// The share epoch.
    #[must_use]
    pub const fn epoch(&self) -> ShareEpoch {
        self.origin.epoch
    }

    /// The record version whose key is shared.
    #[must_use]
    pub const fn data(&self) -> &DataContext {
        &self.origin.data
    }

    /// What the share of the custodian at this position is bound to.
    #[must_use]
    pub const fn context(&self, custodian: NodeId, index: ShareIndex) -> ShareContext {
        self.origin.context(custodian, index)
    }

    /// Whether a context is one of this dealing's, at a position that it has.
    #[must_use]
    pub fn has(&self, context: &ShareContext) -> bool {
        *context == self.context(context.custodian, context.index)
            && (1..=self.origin.threshold.n()).contains(&context.index.get())
    }

    /// Checks that a share lies on the committed polynomial.
    ///
    /// # Errors
    /// [`VerifyError`] names the share's index.
    pub fn verify(&self, share: Share) -> Result<VerifiedShare, VerifyError> {
        let (index, n) = (share.index(), self.origin.threshold.n());
        if index.get() == 0 || index.get() > n {
            return Err(VerifyError::BeyondThreshold { index, n });
        }
        let committed = pedersen::evaluate(self.commitments.points(), index.get());
        if pedersen::commit(&share.value, &share.blinding) != committed {
            return Err(VerifyError::NotCommitted { index });
        }
        Ok(VerifiedShare { origin: self.origin, share })
    }
}

/// A share that lies on the committed polynomial: holding one is the proof.
pub struct VerifiedShare {
    pub(super) origin: Origin,
    pub(super) share: Share,
}

impl VerifiedShare {
    /// The share.
    #[must_use]
    pub const fn share(&self) -> &Share {
        &self.share
    }

    /// The share's position, from 1.
    #[must_use]
    pub const fn index(&self) -> ShareIndex {
        self.share.index()
    }

    /// The dealing it belongs to.
    #[must_use]
    pub const fn dealing(&self) -> DealingId {
        self.origin.id
    }

    /// What this share is bound to, as the one of a custodian.
    #[must_use]
    pub const fn context(&self, custodian: NodeId) -> ShareContext {
        self.origin.context(custodian, self.index())
    }

    /// Whether this is the share that a context speaks of.
    #[must_use]
    pub fn fits(&self, context: &ShareContext) -> bool {
        *context == self.origin.context(context.custodian, self.index())
    }
}

impl fmt::Debug for VerifiedShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedShare({} of {:?}, redacted)", self.index(), self.origin.id)
    }
}
