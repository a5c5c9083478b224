//! Judging a complaint: whether the dealer is at fault, decided alike by every executor.
//!
//! # Source
//! docs/spec/custodian.md, "Complaints"

use super::SEALED_BYTES_MAX;
use crate::{
    keys::x25519_public,
    seal::{Registered, ReleasedShare, Verdict, digest, judge_dealt, judge_released},
    share::{CheckedDealing, DealingError},
};
use dmdl_types::{
    codec,
    context::{ReleaseContext, ShareContext},
    custody::{Dealing, SealedBytes},
    secret::Secret32,
};

/// Whether a complaint proves the dealer at fault.
///
/// `context` is recomputed from the ledger for the custodian that complains. Evidence that is not
/// about what was registered (other bytes, another key, another custodian) proves nothing.
/// Commitments that are none are the dealer's fault: it registered them.
///
/// # Security
/// Pure and total: the verdict depends on the arguments alone.
#[must_use]
pub fn judge(context: &ShareContext, dealing: &Dealing, sealed: &SealedBytes, secret: &[u8; 32]) -> bool {
    let position = usize::from(context.index.get()).checked_sub(1);
    let Some(dealt) = position.and_then(|position| dealing.shares.get(position)) else { return false };
    let belongs = dealt.key.custodian == context.custodian
        && dealing.epoch == context.epoch
        && dealing.commitments.len() == usize::from(context.k)
        && dealing.shares.len() == usize::from(context.n)
        && sealed.0.len() <= SEALED_BYTES_MAX;
    if !belongs {
        return false;
    }
    let secret = Secret32::new(*secret);
    match CheckedDealing::of_context(context, &dealing.commitments) {
        Ok(checked) => {
            let registered =
                Registered { dealing: &checked, context, dealing_key: &dealt.key.key, digest: &dealt.digest };
            judge_dealt(registered, sealed, &secret) == Ok(Verdict::DealerFault)
        }
        // The case is about another dealing: nobody's fault.
        Err(DealingError::OtherDealing) => false,
        Err(DealingError::Threshold(_) | DealingError::Commitments(_)) => {
            digest(sealed) == dealt.digest && x25519_public(&secret) == dealt.key.key
        }
    }
}

/// Whether these are the bytes of a sealed share that were registered.
#[must_use]
pub fn is_sealed(sealed: &SealedBytes, registered: &[u8; 32]) -> bool {
    sealed.0.len() <= SEALED_BYTES_MAX && digest(sealed) == *registered
}

/// Whether a custodian released something else than its share: it signed this for that decryption, and it is not the
/// committed one.
///
/// `context` and `commitments` are the ledger's. What the custodian did not sign, or another secret opens, proves nothing.
///
/// # Security
/// Pure and total, as [`judge`].
#[must_use]
pub fn lied(context: &ReleaseContext, commitments: &[[u8; 32]], released: &SealedBytes, secret: &[u8; 32]) -> bool {
    let Ok(released) = codec::decode::<ReleasedShare>(&released.0, ReleasedShare::LEN) else { return false };
    let Ok(dealing) = CheckedDealing::of_context(&context.share, commitments) else { return false };
    judge_released(&dealing, context, &released, &Secret32::new(*secret)) == Ok(Verdict::CustodianLied)
}
