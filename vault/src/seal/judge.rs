//! Disputes over a seal, decided by anybody from what is public and one revealed one-time secret.
//!
//! The revealed secret opens this one seal and nothing else. A judge needs no trust: opening is
//! deterministic, the secret either belongs to the key on the ledger or not, and the author of the
//! seal is bound by the digest that it registered or the signature that it gave.

use super::{ReleasedShare, SealedShare, digest, open_dealt, open_released};
use crate::{
    keys::x25519_public,
    share::{CheckedDealing, Share},
};
use dmdl_types::{
    context::{ReleaseContext, ShareContext},
    custody::SealedBytes,
    secret::Secret32,
};

/// Who a dispute over a seal blames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The dealer sealed something that is not the committed share.
    DealerFault,
    /// The custodian complained of a good share, or released a bad one.
    CustodianLied,
    /// The released share is the committed one.
    Fine,
}

/// Why there is nothing to judge: the evidence does not belong to the case, and blames nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// The context is not one of this dealing's.
    #[error("the context belongs to another dealing")]
    OtherDealing,
    /// The seal is not the one whose digest was registered.
    #[error("the sealed share is not the registered one")]
    NotRegistered,
    /// The custodian did not sign the release.
    #[error("the release is not signed by its custodian")]
    NotSigned,
    /// The revealed secret is not that of the one-time key.
    #[error("the revealed secret does not belong to the one-time key")]
    OtherKey,
}

/// What the ledger says about one dealt seal.
#[derive(Clone, Copy, Debug)]
pub struct Registered<'a> {
    /// The dealing.
    pub dealing: &'a CheckedDealing,
    /// What the share is bound to.
    pub context: &'a ShareContext,
    /// The custodian's one-time dealing key.
    pub dealing_key: &'a [u8; 32],
    /// Digest of the sealed share.
    pub digest: &'a [u8; 32],
}

/// Decides a custodian's complaint about a dealt share, given the bytes as they came.
///
/// Bytes that are not even a sealed share are the dealer's fault too: it registered their digest.
///
/// # Errors
/// [`JudgeError`] when the evidence is not about what was registered.
pub fn judge_dealt(
    registered: Registered<'_>,
    sealed: &SealedBytes,
    revealed: &Secret32,
) -> Result<Verdict, JudgeError> {
    let Registered { dealing, context, dealing_key, .. } = registered;
    if !dealing.has(context) {
        return Err(JudgeError::OtherDealing);
    }
    if digest(sealed) != *registered.digest {
        return Err(JudgeError::NotRegistered);
    }
    if x25519_public(revealed) != *dealing_key {
        return Err(JudgeError::OtherKey);
    }
    let opened = SealedShare::from_bytes(sealed).ok().and_then(|sealed| open_dealt(&sealed, context, revealed).ok());
    Ok(if is_committed(dealing, opened) { Verdict::CustodianLied } else { Verdict::DealerFault })
}

/// Decides a requester's complaint about a released share.
///
/// # Errors
/// [`JudgeError`] when the evidence is not a release by this custodian in this context.
pub fn judge_released(
    dealing: &CheckedDealing,
    context: &ReleaseContext,
    released: &ReleasedShare,
    revealed: &Secret32,
) -> Result<Verdict, JudgeError> {
    if !dealing.has(&context.share) {
        return Err(JudgeError::OtherDealing);
    }
    if !released.verify(context) {
        return Err(JudgeError::NotSigned);
    }
    if x25519_public(revealed) != context.opening_key {
        return Err(JudgeError::OtherKey);
    }
    Ok(if is_committed(dealing, open_released(released, context, revealed).ok()) {
        Verdict::Fine
    } else {
        Verdict::CustodianLied
    })
}

fn is_committed(dealing: &CheckedDealing, opened: Option<Share>) -> bool {
    opened.is_some_and(|share| dealing.verify(share).is_ok())
}
