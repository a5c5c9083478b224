//! The public half of a dealing: one commitment a coefficient.

use super::{pedersen, threshold::Threshold};
use curve25519_dalek::{RistrettoPoint, ristretto::CompressedRistretto};

/// Why bytes are not the commitments of a dealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitmentError {
    /// There must be exactly `k`.
    #[error("`{got}` commitments came, the threshold needs `{needed}`")]
    WrongCount {
        /// How many came.
        got: usize,
        /// How many shares open the record.
        needed: u8,
    },
    /// Not the canonical encoding of a point of the group.
    #[error("commitment `{position}` is no point of the group")]
    NotAPoint {
        /// Which coefficient, from 0.
        position: usize,
    },
    /// The commitment says that its coefficient is zero.
    #[error("commitment `{position}` is the identity")]
    Identity {
        /// Which coefficient, from 0.
        position: usize,
    },
}

/// The Pedersen commitments to the `k` coefficients of a sharing polynomial, decoded and checked.
///
/// # Encoding
/// `k` ristretto255 points of 32 bytes, the constant's first.
///
/// # Security
/// The identity is refused everywhere. As the last commitment it would say in public that fewer than
/// `k` shares open the record; as the first, that the secret is zero. This forces no coefficient to
/// be non-zero: it excludes one pair (zero, zero) of a coefficient and its blinding among 2^504.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitments {
    threshold: Threshold,
    points: Vec<RistrettoPoint>,
    bytes: Vec<[u8; 32]>,
}

impl Commitments {
    /// Decodes and checks commitments, once; verifying shares against them is then cheap.
    ///
    /// # Errors
    /// [`CommitmentError`] when there are not `k` of them, or one is no canonical point or the identity.
    pub fn parse(threshold: Threshold, bytes: &[[u8; 32]]) -> Result<Self, CommitmentError> {
        if bytes.len() != usize::from(threshold.k()) {
            return Err(CommitmentError::WrongCount { got: bytes.len(), needed: threshold.k() });
        }
        let decoded = bytes.iter().enumerate().map(|(position, encoded)| {
            let point = CompressedRistretto(*encoded).decompress().ok_or(CommitmentError::NotAPoint { position })?;
            if pedersen::is_void(&point) { Err(CommitmentError::Identity { position }) } else { Ok(point) }
        });
        Ok(Self { threshold, points: decoded.collect::<Result<_, _>>()?, bytes: bytes.to_vec() })
    }

    /// How many shares there are, and how many open the record.
    #[must_use]
    pub const fn threshold(&self) -> Threshold {
        self.threshold
    }

    /// The encoded commitments, as they stand on the ledger.
    #[must_use]
    pub fn as_bytes(&self) -> &[[u8; 32]] {
        &self.bytes
    }

    pub(super) fn points(&self) -> &[RistrettoPoint] {
        &self.points
    }
}
