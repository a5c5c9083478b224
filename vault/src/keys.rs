//! Every derivation of a secret, on one screen.
//!
//! | secret | formula |
//! |---|---|
//! | data key of a record version | `HKDF(secret scalar, "dmdl/v1/dek" ‖ DataContext)` |
//! | a requester's one-time X25519 secret for one custodian | `HKDF(seed, "dmdl/v1/opening-key" ‖ nonce[16] ‖ custodian[32])` |
//! | key that wraps one share at rest | `HKDF(stored secret, "dmdl/v1/share-wrap" ‖ ShareContext)` |
//! | a custodian's one-time X25519 dealing secret | 32 random bytes, never derived |
//!
//! HKDF is HKDF-SHA256 with an empty salt and 32 bytes of output. Contexts are in their canonical
//! encoding, whose length is fixed, and no label is a prefix of another: no two inputs are alike.
//!
//! # Source
//! docs/spec/share.md; [RFC 5869](https://www.rfc-editor.org/rfc/rfc5869) (HKDF);
//! [RFC 7748](https://www.rfc-editor.org/rfc/rfc7748) (X25519)

use borsh::BorshSerialize;
use dmdl_types::{
    codec,
    context::{DataContext, ShareContext},
    id::NodeId,
    label,
    secret::Secret32,
};
use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// The key that a record version's payload is sealed with, from its shared secret scalar.
///
/// `secret` is the scalar's canonical encoding: 32 bytes, little-endian.
///
/// # Security
/// Bound only to what can never change, so that no policy change, transfer or reshare locks a record.
#[must_use]
pub fn data_key(secret: &Secret32, context: &DataContext) -> Secret32 {
    derive(secret, &bound(label::DATA_KEY, context))
}

/// A requester's one-time X25519 secret for one custodian and one decryption.
///
/// The requester keeps one seed; `nonce` is the transaction's, new for each and not secret.
///
/// # Security
/// Each custodian seals to a key of its own, so that proving one custodian's lie, which reveals one
/// of these, opens no other share.
#[must_use]
pub fn opening_secret(seed: &Secret32, nonce: &[u8; 16], custodian: NodeId) -> Secret32 {
    derive(seed, &bound(label::OPENING_KEY, &(*nonce, custodian)))
}

/// The key that wraps one share at rest, from the secret that a custodian keeps apart for it.
///
/// # Security
/// Deleting the stored secret shreds the share. The context gives each share another key even where
/// one stored secret serves several epochs of a record.
#[must_use]
pub fn share_wrap_key(stored: &Secret32, context: &ShareContext) -> Secret32 {
    derive(stored, &bound(label::SHARE_WRAP, context))
}

/// A new one-time secret: a custodian's for one dealing, or a share's secret at rest.
#[must_use]
pub fn random_secret(rng: &mut impl CryptoRng) -> Secret32 {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut_slice());
    Secret32::new(*bytes)
}

/// The X25519 public key of a one-time secret.
#[must_use]
pub fn x25519_public(secret: &Secret32) -> [u8; 32] {
    secret.expose(|bytes| PublicKey::from(&StaticSecret::from(*bytes)).to_bytes())
}

/// Why an X25519 public key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes are another spelling of a reduced coordinate.
    #[error("the one-time key is not in canonical form")]
    NonCanonical,
    /// Whatever secret meets such a key, the result is zero and known to all.
    #[error("the one-time key has low order")]
    LowOrder,
}

/// Checks an X25519 public key before anything is sealed to it.
///
/// # Errors
/// [`KeyError`] when the key has low order, or is not the canonical encoding of its coordinate.
///
/// # Security
/// X25519 itself reads other spellings of a coordinate, and HPKE binds the spelling: a share sealed
/// to one would not open, and an honest sender would seem to have lied. So only one is allowed.
pub fn check_x25519(public: &[u8; 32]) -> Result<(), KeyError> {
    // p = 2^255 - 19, little-endian: 0xed, then thirty times 0xff, then 0x7f.
    let [first, middle @ .., last] = public;
    let unreduced = *last > 0x7f || (*last == 0x7f && middle.iter().all(|byte| *byte == 0xff) && *first >= 0xed);
    if unreduced {
        return Err(KeyError::NonCanonical);
    }
    // Every secret is a multiple of 8, the largest low order: one that is known to all shows whether
    // the key has low order just as any other would.
    let shared = StaticSecret::from([0; 32]).diffie_hellman(&PublicKey::from(*public));
    if shared.was_contributory() { Ok(()) } else { Err(KeyError::LowOrder) }
}

/// `label ‖ context`: what a derivation or a seal is bound to.
pub(crate) fn bound<T: BorshSerialize>(label: &str, context: &T) -> Vec<u8> {
    [label.as_bytes(), &codec::encode(context)].concat()
}

fn derive(secret: &Secret32, info: &[u8]) -> Secret32 {
    let mut key = Zeroizing::new([0; 32]);
    #[expect(clippy::expect_used, reason = "HKDF-SHA256 refuses only outputs above 8160 bytes")]
    secret
        .expose(|bytes| Hkdf::<Sha256>::new(None, bytes).expand(info, key.as_mut_slice()))
        .expect("32 bytes are a valid length");
    Secret32::new(*key)
}

#[cfg(test)]
pub(crate) mod tests;
