//! Resharing: `k` holders move a record's secret to new shares without anybody rebuilding it.
//!
//! Each of `k` old holders deals its own share to the new custodians, as a dealing of its own: a
//! sub-dealing. Its first commitment must be the public image of the holder's share, so that a holder
//! who deals anything else is named before its contribution is used. Sub-dealings are then added up,
//! each with its Lagrange factor: commitments by everybody, shares by each new custodian. The secret,
//! and so the data key, stays what it was; the old shares fit the new ones no more.
//!
//! # Source
//! docs/spec/share.md; Desmedt and Jajodia, "Redistributing Secret Shares to New Access Structures"
//! (1997); Wong, Wang and Wing, "Verifiable Secret Redistribution" (2002)

use super::{
    Share,
    commitments::{CommitmentError, Commitments},
    deal::{DealError, deal_pair},
    pedersen, polynomial,
    threshold::Threshold,
    verify::{CheckedDealing, VerifiedShare},
};
use curve25519_dalek::{RistrettoPoint, Scalar, traits::VartimeMultiscalarMul as _};
use dmdl_types::id::ShareIndex;
use rand_core::CryptoRng;
use std::collections::BTreeSet;

/// Why a reshare, or one holder's part in it, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReshareError {
    /// The old dealing has no such position.
    #[error("the dealing has no share `{from}`")]
    NoSuchHolder {
        /// The claimed position.
        from: ShareIndex,
    },
    /// The holder dealt something that is not its share.
    #[error("holder `{from}` did not deal its own share")]
    NotItsShare {
        /// The holder's position.
        from: ShareIndex,
    },
    /// The parts are not one each of exactly `k` holders of one dealing, for one new threshold.
    #[error("a reshare takes one part each of exactly `{needed}` holders of one dealing")]
    WrongParts {
        /// How many holders it takes.
        needed: u8,
    },
    /// The shares are not one of each part, all for one custodian.
    #[error("the shares are not one of each part, for one custodian")]
    WrongShares,
    /// The parts add up to commitments that are none.
    #[error("the parts cancel out: {0}")]
    Cancelled(#[from] CommitmentError),
}

/// One holder's part in a reshare, checked to deal exactly that holder's share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubDealing {
    from: ShareIndex,
    old: CheckedDealing,
    dealing: CheckedDealing,
}

impl SubDealing {
    /// Deals a holder's share to new custodians: its public commitments, and a share for each.
    ///
    /// # Errors
    /// [`DealError`] when the generator is visibly broken.
    pub fn deal<R: CryptoRng>(
        rng: &mut R,
        share: &VerifiedShare,
        threshold: Threshold,
    ) -> Result<(Commitments, Vec<Share>), DealError> {
        deal_pair(rng, threshold, &share.share.value, &share.share.blinding)
    }

    /// Checks the part of the holder at position `from` of the `old` dealing, for the next share epoch.
    ///
    /// # Errors
    /// [`ReshareError`] names the holder.
    pub fn check(old: &CheckedDealing, from: ShareIndex, commitments: Commitments) -> Result<Self, ReshareError> {
        if !(1..=old.commitments.threshold().n()).contains(&from.get()) {
            return Err(ReshareError::NoSuchHolder { from });
        }
        let image = pedersen::evaluate(old.commitments.points(), from.get());
        if commitments.points().first() != Some(&image) {
            return Err(ReshareError::NotItsShare { from });
        }
        let dealing = CheckedDealing::new(commitments, *old.data(), old.origin.epoch.next());
        Ok(Self { from, old: old.clone(), dealing })
    }

    /// The part as a dealing of the new epoch: it verifies shares and gives them their contexts.
    #[must_use]
    pub const fn dealing(&self) -> &CheckedDealing {
        &self.dealing
    }

    /// The holder's position in the old dealing.
    #[must_use]
    pub const fn from(&self) -> ShareIndex {
        self.from
    }
}

/// The new dealing that `k` parts add up to; its first commitment equals the old one's.
///
/// # Errors
/// [`ReshareError`] when the parts are not one each of exactly `k` holders of one dealing.
pub fn merge_commitments(parts: &[SubDealing]) -> Result<CheckedDealing, ReshareError> {
    let (first, factors) = factors(parts)?;
    let merged = (0..usize::from(first.dealing.commitments.threshold().k())).map(|coefficient| {
        let points = parts.iter().map(|part| part.dealing.commitments.points().get(coefficient).copied());
        RistrettoPoint::optional_multiscalar_mul(&factors, points).map(|point| point.compress().to_bytes())
    });
    // Each part has as many commitments as the first: `factors` has compared their thresholds.
    let merged: Vec<_> = merged.flatten().collect();
    let commitments = Commitments::parse(first.dealing.commitments.threshold(), &merged)?;
    Ok(CheckedDealing::new(commitments, first.dealing.origin.data, first.dealing.origin.epoch))
}

/// The new share that one custodian's shares of `k` parts add up to, given in the parts' order.
///
/// What comes out is verified against the new dealing like any other share.
///
/// # Errors
/// [`ReshareError`] when the parts do not belong together, or the shares not to the parts.
pub fn merge_shares(parts: &[SubDealing], shares: &[VerifiedShare]) -> Result<Share, ReshareError> {
    let (_, factors) = factors(parts)?;
    let index = shares.first().map(VerifiedShare::index).ok_or(ReshareError::WrongShares)?;
    let belongs =
        |(part, share): (&SubDealing, &VerifiedShare)| share.origin == part.dealing.origin && share.index() == index;
    if shares.len() != parts.len() || !parts.iter().zip(shares).all(belongs) {
        return Err(ReshareError::WrongShares);
    }
    let mut merged = Share { index, value: Scalar::ZERO, blinding: Scalar::ZERO };
    for (share, factor) in shares.iter().zip(factors) {
        merged.value += share.share.value * factor;
        merged.blinding += share.share.blinding * factor;
    }
    Ok(merged)
}

/// The first part, and each part's Lagrange factor, if the parts belong together.
fn factors(parts: &[SubDealing]) -> Result<(&SubDealing, Vec<Scalar>), ReshareError> {
    let Some(first) = parts.first() else { return Err(ReshareError::WrongParts { needed: 0 }) };
    let needed = first.old.commitments.threshold().k();
    let holders: BTreeSet<_> = parts.iter().map(SubDealing::from).collect();
    let alike = |part: &SubDealing| {
        part.old.origin == first.old.origin && part.dealing.origin.threshold == first.dealing.origin.threshold
    };
    if parts.len() != usize::from(needed) || holders.len() != parts.len() || !parts.iter().all(alike) {
        return Err(ReshareError::WrongParts { needed });
    }
    let xs: Vec<_> = parts.iter().map(|part| part.from.get()).collect();
    Ok((first, polynomial::factors_at_zero(&xs)))
}
