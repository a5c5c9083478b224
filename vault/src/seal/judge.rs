//! Disputes over a seal, decided by anybody from what is public and one revealed one-time secret.
//!
//! The revealed secret opens this one seal and nothing else. A judge needs no trust: opening is
//! deterministic, the secret either belongs to the key on the ledger or not, and the author of the
//! seal is bound by the digest that it registered or the signature that it gave.

use super::{OpenError, ReleasedShare, SealedShare, open_dealt, open_released};
use crate::{
    keys::x25519_public,
    share::{Dealing, Share},
};
use dmdl_types::{
    context::{ReleaseContext, ShareContext},
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
    pub dealing: &'a Dealing,
    /// What the share is bound to.
    pub context: &'a ShareContext,
    /// The custodian's one-time dealing key.
    pub dealing_key: &'a [u8; 32],
    /// Digest of the sealed share.
    pub digest: &'a [u8; 32],
}

/// Decides a custodian's complaint about a dealt share.
///
/// # Errors
/// [`JudgeError`] when the evidence is not about what was registered.
pub fn judge_dealt(registered: Registered<'_>, sealed: &SealedShare, revealed: &Secret32) -> Result<Verdict, JudgeError> {
    let Registered { dealing, context, dealing_key, digest } = registered;
    if !dealing.has(context) {
        return Err(JudgeError::OtherDealing);
    }
    if sealed.digest() != *digest {
        return Err(JudgeError::NotRegistered);
    }
    if x25519_public(revealed) != *dealing_key {
        return Err(JudgeError::OtherKey);
    }
    Ok(if is_committed(dealing, open_dealt(sealed, context, revealed)) {
        Verdict::CustodianLied
    } else {
        Verdict::DealerFault
    })
}

/// Decides a requester's complaint about a released share.
///
/// # Errors
/// [`JudgeError`] when the evidence is not a release by this custodian in this context.
pub fn judge_released(
    dealing: &Dealing,
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
    Ok(if is_committed(dealing, open_released(released, context, revealed)) {
        Verdict::Fine
    } else {
        Verdict::CustodianLied
    })
}

fn is_committed(dealing: &Dealing, opened: Result<Share, OpenError>) -> bool {
    opened.is_ok_and(|share| dealing.verify(share).is_ok())
}
