//! Dealing: a new secret, its commitments, and a share for each custodian.

use super::{Share, commitments::Commitments, pedersen, polynomial, threshold::Threshold};
use crate::keys;
use curve25519_dalek::Scalar;
use dmdl_types::{context::DataContext, id::ShareIndex, secret::Secret32};
use rand_core::CryptoRng;
use std::fmt;
use zeroize::Zeroizing;

/// Why nothing was dealt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DealError {
    /// Two coefficients are alike, or one is zero with its blinding: with a working generator this
    /// does not happen.
    #[error("the random generator repeats itself")]
    StuckRandomness,
}

/// What a dealer holds: the commitments for all, a share for each custodian, and the secret.
///
/// # Security
/// The secret stays inside: it leaves only as the data key of one record version.
pub struct Dealt {
    commitments: Commitments,
    secret: Secret32,
    shares: Vec<Share>,
}

impl Dealt {
    /// The public commitments.
    #[must_use]
    pub const fn commitments(&self) -> &Commitments {
        &self.commitments
    }

    /// The shares, for the custodians at positions 1 to `n`, in this order.
    #[must_use]
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// The key of the record version that this secret was dealt for.
    #[must_use]
    pub fn data_key(&self, context: &DataContext) -> Secret32 {
        keys::data_key(&self.secret, context)
    }
}

impl fmt::Debug for Dealt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dealt").field("commitments", &self.commitments).finish_non_exhaustive()
    }
}

/// Deals a new random secret: fresh for every record version.
///
/// # Errors
/// [`DealError::StuckRandomness`] when the generator is visibly broken.
///
/// # Security
/// `rng` cannot report a failure: `rand_core`'s `CryptoRng` has none. The operating system's
/// generator can fail, and is wrapped in `rand_core::UnwrapErr`, which then panics before any share
/// exists: no randomness, no dealing.
pub fn deal<R: CryptoRng>(rng: &mut R, threshold: Threshold) -> Result<Dealt, DealError> {
    let secret = Zeroizing::new(Scalar::random(rng));
    let blinding = Zeroizing::new(Scalar::random(rng));
    let (commitments, shares) = deal_pair(rng, threshold, &secret, &blinding)?;
    Ok(Dealt { commitments, secret: Secret32::new(secret.to_bytes()), shares })
}

/// Deals a given pair of scalars: a new secret with its blinding, or a share that is reshared.
///
/// Draws, for each further coefficient, the coefficient and then its blinding.
pub(super) fn deal_pair<R: CryptoRng>(
    rng: &mut R,
    threshold: Threshold,
    value: &Scalar,
    blinding: &Scalar,
) -> Result<(Commitments, Vec<Share>), DealError> {
    let k = usize::from(threshold.k());
    // The exact size at once: a vector that grows leaves copies behind.
    let mut values = Zeroizing::new(Vec::with_capacity(k));
    let mut blindings = Zeroizing::new(Vec::with_capacity(k));
    values.push(*value);
    blindings.push(*blinding);
    for _ in 1..k {
        values.push(Scalar::random(rng));
        blindings.push(Scalar::random(rng));
    }

    let points = values.iter().zip(blindings.iter()).map(|(value, blinding)| pedersen::commit(value, blinding));
    let bytes: Vec<_> = points.map(|point| point.compress().to_bytes()).collect();
    let repeated = bytes.iter().enumerate().any(|(i, one)| bytes.iter().take(i).any(|other| one == other));
    let commitments = Commitments::parse(threshold, &bytes).map_err(|_| DealError::StuckRandomness)?;
    if repeated {
        return Err(DealError::StuckRandomness);
    }

    let shares = (1..=threshold.n()).map(|x| Share {
        index: ShareIndex::new(x),
        value: polynomial::evaluate(&values, x),
        blinding: polynomial::evaluate(&blindings, x),
    });
    Ok((commitments, shares.collect()))
}
