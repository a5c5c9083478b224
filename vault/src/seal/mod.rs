//! Shares on their way: from dealer to custodian, and from custodian to requester.
//!
//! HPKE in base mode, to a key that is used once. The context of the share is HPKE's `info`: a seal
//! opens for one network, channel, record, version, epoch, custodian, position, threshold and
//! dealing, and a released share only for one decryption and requester besides. Base mode says
//! nothing about the sender: the registration carries each dealt seal's [digest](SealedShare::digest)
//! under the owner's signature, and a custodian [signs](ReleasedShare) what it releases. So each seal
//! has an author, and [`judge_dealt`] and [`judge_released`] let anybody decide a dispute over it.
//!
//! # Source
//! docs/spec/share.md; [RFC 9180](https://www.rfc-editor.org/rfc/rfc9180) (HPKE)

mod judge;
mod sealed;

pub use judge::{JudgeError, Registered, Verdict, judge_dealt, judge_released};
pub use sealed::{SealedShare, digest};

use crate::{
    keys::{KeyError, bound, check_x25519},
    share::{Share, ShareError, VerifiedShare},
};
use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{
    codec,
    context::{ReleaseContext, ShareContext},
    id::RecordId,
    label, planted,
    secret::Secret32,
    sign::{Domain, Meaning, Signature, SigningKey},
};
use rand_core::CryptoRng;

/// Why a share is not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The key to seal to is refused.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The share is not the one that the context speaks of.
    #[error("the share does not fit its context")]
    OtherShare,
    /// The context names another custodian than the one that would sign.
    #[error("the context names another custodian")]
    OtherCustodian,
    /// HPKE refused.
    #[error("sealing failed")]
    Failed,
}

/// Why a sealed share does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The custodian did not sign this for this context.
    #[error("the release is not signed by its custodian")]
    NotSigned,
    /// Altered, or sealed to another key or for another context.
    #[error("the sealed share does not open")]
    NotOpened,
    /// What was sealed is no share.
    #[error("the sealed bytes are no share")]
    NoShare(#[from] ShareError),
    /// What was sealed is a share of another position.
    #[error("the sealed share has another position")]
    OtherIndex,
}

/// Seals a dealt share to a custodian's one-time dealing key.
///
/// # Errors
/// [`SealError`] when the key is weak or the share's position is not the context's.
pub fn seal_to_custodian(
    rng: &mut impl CryptoRng,
    share: &Share,
    context: &ShareContext,
    dealing_key: &[u8; 32],
) -> Result<SealedShare, SealError> {
    check_x25519(dealing_key)?;
    if share.index() != context.index {
        return Err(SealError::OtherShare);
    }
    share.expose(|plain| SealedShare::seal(rng, plain, &dealt_info(context), dealing_key))
}

/// Opens a dealt share with the custodian's one-time secret; it is verified before it is used.
///
/// # Errors
/// [`OpenError`] when it does not open in this context, or is no share of this position.
pub fn open_dealt(sealed: &SealedShare, context: &ShareContext, dealing_secret: &Secret32) -> Result<Share, OpenError> {
    open(sealed, &dealt_info(context), dealing_secret, context)
}

/// Seals a verified share to the requester's one-time key in `context`, and signs the release.
///
/// # Errors
/// [`SealError`] when the key is weak, or the share or the signer is not the one that the context
/// speaks of.
pub fn seal_to_requester(
    rng: &mut impl CryptoRng,
    share: &VerifiedShare,
    context: &ReleaseContext,
    custodian: &SigningKey,
) -> Result<ReleasedShare, SealError> {
    check_x25519(&context.opening_key)?;
    if !share.fits(&context.share) {
        return Err(SealError::OtherShare);
    }
    if custodian.public() != context.share.custodian.key() {
        return Err(SealError::OtherCustodian);
    }
    let info = bound(label::RELEASE_SEAL, context);
    let sealed = share.share().expose(|plain| SealedShare::seal(rng, plain, &info, &context.opening_key))?;
    Ok(ReleasedShare::sign(sealed, context, custodian))
}

/// Opens a released share with the requester's one-time secret for this custodian, after checking
/// the custodian's signature: from here on, whatever is wrong with the share is provably its doing.
///
/// # Errors
/// [`OpenError`] when it is not signed, does not open in this context, or is no share of this position.
pub fn open_released(
    released: &ReleasedShare,
    context: &ReleaseContext,
    opening_secret: &Secret32,
) -> Result<Share, OpenError> {
    if !released.verify(context) {
        return Err(OpenError::NotSigned);
    }
    open(&released.sealed, &bound(label::RELEASE_SEAL, context), opening_secret, &context.share)
}

/// A share that a custodian released: sealed to the requester, signed by the custodian.
///
/// # Encoding
/// `sealed[114] ‖ signature[64]`
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ReleasedShare {
    /// The share, sealed to the requester.
    pub sealed: SealedShare,
    /// The custodian's signature on the context and the seal.
    pub signature: Signature,
}

impl ReleasedShare {
    /// Length of the encoding.
    pub const LEN: usize = SealedShare::LEN + 64;

    /// Signs a sealed share as released in this context.
    #[must_use]
    pub fn sign(sealed: SealedShare, context: &ReleaseContext, custodian: &SigningKey) -> Self {
        let signature = custodian.sign(&domain(context), RELEASE, &signed_body(&sealed, context));
        Self { sealed, signature }
    }

    /// Whether the custodian that the context names signed this release.
    #[must_use]
    pub fn verify(&self, context: &ReleaseContext) -> bool {
        let body = signed_body(&self.sealed, context);
        context.share.custodian.key().verify(&domain(context), RELEASE, &body, &self.signature)
    }
}

const RELEASE: Meaning = Meaning::v1(label::RELEASE_SIGNATURE);

const fn domain(context: &ReleaseContext) -> Domain {
    Domain { network: context.share.data.network, channel: context.share.data.channel }
}

/// What a release's signature is over: `ReleaseContext[267] ‖ sealed[114]`.
fn signed_body(sealed: &SealedShare, context: &ReleaseContext) -> Vec<u8> {
    codec::encode(&(context, sealed))
}

/// What a dealt share's seal is bound to: HPKE's `info`.
fn dealt_info(context: &ShareContext) -> Vec<u8> {
    let mut context = *context;
    if planted!("seal-without-record") {
        context.data.record = RecordId::new([0; 32]);
    }
    bound(label::SHARE_SEAL, &context)
}

fn open(sealed: &SealedShare, info: &[u8], secret: &Secret32, context: &ShareContext) -> Result<Share, OpenError> {
    let plain = sealed.open(info, secret).ok_or(OpenError::NotOpened)?;
    let share = Share::from_bytes(&plain)?;
    let own = share.index() == context.index || planted!("share-index-from-the-message");
    if own { Ok(share) } else { Err(OpenError::OtherIndex) }
}

#[cfg(test)]
pub(crate) mod tests;
