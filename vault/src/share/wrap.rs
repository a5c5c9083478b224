//! A share at rest: encrypted under a key that lives apart from it.
//!
//! A database that keeps old versions of its files never forgets a share, so what it holds is only
//! ciphertext. The custodian keeps 32 random bytes for each share in a small store of their own;
//! deleting those shreds the share, in every copy of the database.
//!
//! # Source
//! docs/spec/share.md; [RFC 8439](https://www.rfc-editor.org/rfc/rfc8439) (ChaCha20-Poly1305)

use super::{Share, ShareError, VerifiedShare};
use crate::keys;
use borsh::{BorshDeserialize, BorshSerialize};
use chacha20poly1305::{
    ChaCha20Poly1305, Key, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use dmdl_types::{codec, context::ShareContext, secret::Secret32};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Length of a wrapped share's ciphertext: the share and a 16-byte tag.
const CIPHERTEXT_LEN: usize = Share::LEN + 16;

/// Why a share is not wrapped or not unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// The share is not the one that the context speaks of.
    #[error("the share does not fit its context")]
    OtherShare,
    /// Altered, or wrapped under another key or for another context.
    #[error("the wrapped share does not open")]
    NotOpened,
    /// The bytes inside are no share.
    #[error("the wrapped bytes are no share")]
    NoShare(#[from] ShareError),
}

/// A share as a custodian's database keeps it.
///
/// # Encoding
/// `nonce[12] ‖ ciphertext[81]`: ChaCha20-Poly1305 of the encoded share, with the encoded
/// [`ShareContext`] as associated data and the key of [`keys::share_wrap_key`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct WrappedShare {
    nonce: [u8; 12],
    ciphertext: [u8; CIPHERTEXT_LEN],
}

impl WrappedShare {
    /// Wraps a verified share under the secret that the custodian keeps apart for it.
    ///
    /// # Errors
    /// [`WrapError::OtherShare`] when the context speaks of another share.
    pub fn seal(
        rng: &mut impl CryptoRng,
        share: &VerifiedShare,
        stored: &Secret32,
        context: &ShareContext,
    ) -> Result<Self, WrapError> {
        if !share.fits(context) {
            return Err(WrapError::OtherShare);
        }
        let mut nonce = [0; 12];
        rng.fill_bytes(&mut nonce);
        let aad = codec::encode(context);
        let sealed = share.share().expose(|plain| {
            cipher(stored, context).encrypt(&Nonce::from(nonce), Payload { msg: plain.as_slice(), aad: &aad })
        });
        let ciphertext = sealed.ok().and_then(|bytes| bytes.try_into().ok()).ok_or(WrapError::OtherShare)?;
        Ok(Self { nonce, ciphertext })
    }

    /// Opens a wrapped share; what comes out is verified again before it is used.
    ///
    /// # Errors
    /// [`WrapError`] when the bytes were altered, or the secret or the context is another.
    pub fn open(&self, stored: &Secret32, context: &ShareContext) -> Result<Share, WrapError> {
        let aad = codec::encode(context);
        let plain = cipher(stored, context)
            .decrypt(&Nonce::from(self.nonce), Payload { msg: &self.ciphertext, aad: &aad })
            .map_err(|_| WrapError::NotOpened)?;
        let share = Share::from_bytes(&Zeroizing::new(plain))?;
        if share.index() == context.index { Ok(share) } else { Err(WrapError::OtherShare) }
    }
}

fn cipher(stored: &Secret32, context: &ShareContext) -> ChaCha20Poly1305 {
    keys::share_wrap_key(stored, context).expose(|key| ChaCha20Poly1305::new(&Key::from(*key)))
}
