//! Pedersen verifiable secret sharing: one secret scalar a record version, `n` shares, any `k` of
//! which give the data key, while `k - 1` together with everything public say nothing about it.
//!
//! The dealer [deals](deal()); the commitments go to the ledger, each share to its custodian. Whoever
//! holds a share [verifies](CheckedDealing::verify) it against the commitments, and only a share that passed
//! can be [combined](combine()), released or kept: [`VerifiedShare`] has no other origin.
//!
//! # Security
//! Coefficients are uniform over the whole field, the leading one and zero included: a sharing that
//! avoids zero is biased, and its shares leak. Time depends on positions, which are public, never on
//! values. What lives on the heap or in our own types is wiped on drop; copies that the compiler or
//! a curve operation leaves on the stack cannot be promised away.
//!
//! # Source
//! docs/spec/share.md; Pedersen, CRYPTO '91

mod combine;
mod commitments;
mod deal;
mod pedersen;
mod polynomial;
mod reshare;
mod threshold;
mod verify;
mod wrap;

pub use combine::{CombineError, combine};
pub use commitments::{CommitmentError, Commitments};
pub use deal::{DealError, Dealt, deal};
pub use reshare::{ReshareError, SubDealing, merge_commitments, merge_shares};
pub use threshold::{Threshold, ThresholdError};
pub use verify::{CheckedDealing, DealingError, VerifiedShare, VerifyError};
pub use wrap::{WrapError, WrappedShare};

use curve25519_dalek::Scalar;
use dmdl_types::id::ShareIndex;
use std::fmt;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

/// Why bytes are no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// A share has one length.
    #[error("a share is 65 bytes, not `{got}`")]
    WrongLength {
        /// How many bytes came.
        got: usize,
    },
    /// Position 0 is the secret's own.
    #[error("a share's index is 1 to 255")]
    IndexZero,
    /// A number is not below the group's order, so it would have two encodings.
    #[error("share `{index}` is not in canonical form")]
    NonCanonical {
        /// The share's index.
        index: u8,
    },
}

/// A share that nothing is known of yet: position, value and blinding.
///
/// # Encoding
/// `index u8 ‖ value[32] ‖ blinding[32]`, scalars little-endian and below the group's order.
///
/// # Security
/// Wiped on drop, never printed, not cloned; its bytes are read only inside a closure.
pub struct Share {
    index: ShareIndex,
    value: Scalar,
    blinding: Scalar,
}

impl Share {
    /// Length of an encoded share.
    pub const LEN: usize = 65;

    /// Decodes a share.
    ///
    /// # Errors
    /// [`ShareError`] when the length is wrong, the index 0, or a scalar not canonical.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ShareError> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().map_err(|_| ShareError::WrongLength { got: bytes.len() })?;
        let [index, scalars @ ..] = bytes;
        if *index == 0 {
            return Err(ShareError::IndexZero);
        }
        let bad = ShareError::NonCanonical { index: *index };
        let (value, blinding) = scalars.split_at(32);
        Ok(Self {
            index: ShareIndex::new(*index),
            value: canonical(value).ok_or(bad)?,
            blinding: canonical(blinding).ok_or(bad)?,
        })
    }

    /// Lets `read` see the encoded share.
    pub fn expose<R>(&self, read: impl FnOnce(&[u8; Self::LEN]) -> R) -> R {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        let [index, scalars @ ..] = &mut *bytes;
        *index = self.index.get();
        let (value, blinding) = scalars.split_at_mut(32);
        value.copy_from_slice(self.value.as_bytes());
        blinding.copy_from_slice(self.blinding.as_bytes());
        read(&bytes)
    }

    /// The share's position among the custodians, from 1.
    #[must_use]
    pub const fn index(&self) -> ShareIndex {
        self.index
    }
}

fn canonical(bytes: &[u8]) -> Option<Scalar> {
    let bytes = Zeroizing::new(<[u8; 32]>::try_from(bytes).ok()?);
    Scalar::from_canonical_bytes(*bytes).into()
}

impl Drop for Share {
    fn drop(&mut self) {
        self.value.zeroize();
        self.blinding.zeroize();
    }
}

impl ZeroizeOnDrop for Share {}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({}, redacted)", self.index)
    }
}

#[cfg(test)]
mod tests;
