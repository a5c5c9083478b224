//! A person's one key, for signatures and for what is sealed to them.
//!
//! The curve of Ed25519 and that of X25519 are one curve in two forms, so a signing key has an X25519 key:
//! `u = (1 + y) / (1 - y)` for the public one, and the scalar that signatures are made with for the secret.
//!
//! # Security
//! Using both is sound for Ed25519 and this KEM: docs/adr/0009-remarks.md says why.

use crate::keys::check_x25519;
use curve25519_dalek::edwards::CompressedEdwardsY;
use dmdl_types::{
    secret::Secret32,
    sign::{PublicKey, SigningKey},
};
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

/// The X25519 form of a person's public key; none for bytes that are no key, or one of low order.
pub(super) fn x25519_of(key: &PublicKey) -> Option<[u8; 32]> {
    let u = CompressedEdwardsY(*key.as_bytes()).decompress()?.to_montgomery().to_bytes();
    check_x25519(&u).ok().map(|()| u)
}

/// The X25519 form of a person's secret: the first half of SHA-512 of the seed, which X25519 clamps as
/// Ed25519 does.
///
/// # Source
/// [RFC 8032](https://www.rfc-editor.org/rfc/rfc8032), section 5.1.5
pub(super) fn x25519_secret(key: &SigningKey) -> Secret32 {
    let hash: Zeroizing<[u8; 64]> = Zeroizing::new(key.seed().expose(|seed| Sha512::digest(seed)).into());
    let mut secret = Zeroizing::new([0; 32]);
    secret.iter_mut().zip(hash.iter()).for_each(|(to, from)| *to = *from);
    Secret32::new(*secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::x25519_public;

    #[test]
    fn both_forms_of_a_key_belong_together() {
        for seed in 0..64 {
            let key = SigningKey::from_seed(Secret32::new([seed; 32]));
            assert_eq!(x25519_of(&key.public()), Some(x25519_public(&x25519_secret(&key))));
        }
    }

    #[test]
    fn what_is_no_key_and_what_has_low_order_is_not_sealed_to() {
        let mut identity = [0; 32];
        identity[0] = 1;
        for bad in [[0; 32], identity, [2; 32]] {
            assert_eq!(x25519_of(&PublicKey::new(bad)), None, "{bad:?}");
        }
    }
}
