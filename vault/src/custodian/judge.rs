//! Judging a complaint: whether the dealer is at fault, decided alike by every executor.
//!
//! # Source
//! docs/spec/custodian.md, "Complaints"

use super::SEALED_BYTES_MAX;
use crate::{
    keys::x25519_public,
    seal::{Registered, Verdict, digest, judge_dealt},
    share::{CheckedDealing, DealingError},
};
use dmdl_types::{
    context::ShareContext,
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
