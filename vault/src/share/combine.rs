//! Combining: `k` verified shares of one dealing give the data key.

use super::{
    polynomial,
    verify::{CheckedDealing, VerifiedShare},
};
use crate::keys;
use curve25519_dalek::Scalar;
use dmdl_types::{id::ShareIndex, secret::Secret32};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// Why shares do not combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CombineError {
    /// A share of another record, version, epoch or dealing is among them.
    #[error("share `{index}` belongs to another dealing")]
    OtherDealing {
        /// The share's index.
        index: ShareIndex,
    },
    /// One position came twice.
    #[error("share `{index}` came twice")]
    Duplicate {
        /// The index that came twice.
        index: ShareIndex,
    },
    /// Fewer than `k` came.
    #[error("`{got}` shares came, `{needed}` are needed")]
    TooFew {
        /// How many came.
        got: usize,
        /// How many open the record.
        needed: u8,
    },
}

/// Combines verified shares of `dealing`, in any order, into the record version's data key.
///
/// Of more than `k` shares the first `k` are used: verified shares all give the same key.
///
/// # Errors
/// [`CombineError`] when shares belong elsewhere, repeat a position, or are fewer than `k`.
pub fn combine(dealing: &CheckedDealing, shares: &[VerifiedShare]) -> Result<Secret32, CombineError> {
    let mut seen = BTreeSet::new();
    for share in shares {
        if share.origin != dealing.origin {
            return Err(CombineError::OtherDealing { index: share.index() });
        }
        if !seen.insert(share.index()) {
            return Err(CombineError::Duplicate { index: share.index() });
        }
    }
    let needed = dealing.commitments.threshold().k();
    let Some(chosen) = shares.get(..usize::from(needed)) else {
        return Err(CombineError::TooFew { got: shares.len(), needed });
    };

    let xs: Vec<_> = chosen.iter().map(|share| share.index().get()).collect();
    let mut secret = Zeroizing::new(Scalar::ZERO);
    for (share, factor) in chosen.iter().zip(polynomial::factors_at_zero::<Scalar>(&xs)) {
        *secret += share.share.value * factor;
    }
    Ok(keys::data_key(&Secret32::new(secret.to_bytes()), dealing.data()))
}
