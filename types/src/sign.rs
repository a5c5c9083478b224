//! Signatures: always over what they mean, on one network and one channel.
//!
//! Ed25519 under the rules of ZIP-215, so that single and batch verification agree and no two
//! nodes ever differ over a signature.
//!
//! # Encoding
//! The signed bytes are `len(label) varint ‖ label ‖ genesis[32] ‖ channel[32] ‖ kind u8 ‖ version u8 ‖ body`.
//!
//! # Source
//! docs/spec/signing.md; ZIP-215

use crate::{
    id::{ChannelId, NetworkId},
    secret::Secret32,
};
use borsh::{BorshDeserialize, BorshSerialize};
use commonware_codec::{Copying, DecodeExt, Encode};
use commonware_cryptography::{
    BatchEntry, BatchVerifier as _, Signer as _, Verifier as _, ed25519,
    transcript::{Transcript, Version},
};
use commonware_parallel::Sequential;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

/// Where a signature is valid: one channel of one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Domain {
    /// The network.
    pub network: NetworkId,
    /// The channel.
    pub channel: ChannelId,
}

/// What a signature means: its label, and the kind and version of the body under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// One of [`crate::label`].
    pub label: &'static str,
    /// Which of several bodies under this label.
    pub kind: u8,
    /// Version of the body's format.
    pub version: u8,
}

impl Meaning {
    /// Version 1 of the only body under a label.
    #[must_use]
    pub const fn v1(label: &'static str) -> Self {
        Self { label, kind: 0, version: 1 }
    }
}

/// Why a public key is refused at enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes are no point of the curve.
    #[error("the key is not a point of the curve")]
    NotAPoint,
    /// A signature by such a key says nothing about its message.
    #[error("the key has small order")]
    SmallOrder,
    /// The bytes are a second spelling of a point: its y is not reduced.
    #[error("the key is not encoded canonically")]
    NotCanonical,
}

/// An Ed25519 public key as its 32 bytes: the identity of an author or a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key with these bytes, not yet checked.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks what enrolment demands of a key: a point of the curve, of large order, in its one spelling.
    ///
    /// # Errors
    /// [`KeyError`] says which of these fails.
    pub fn check(&self) -> Result<(), KeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.0).map_err(|_| KeyError::NotAPoint)?;
        if key.is_weak() {
            return Err(KeyError::SmallOrder);
        }
        if key.to_edwards().compress().to_bytes() == self.0 { Ok(()) } else { Err(KeyError::NotCanonical) }
    }

    /// Whether `signature` is this key's over `body` with this meaning in this domain.
    #[must_use]
    pub fn verify(&self, domain: &Domain, meaning: Meaning, body: &[u8], signature: &Signature) -> bool {
        self.verify_raw(meaning.label.as_bytes(), &message(domain, meaning, body), signature)
    }

    /// Whether `signature` is this key's over `message` in the engine's framing of a namespace.
    #[must_use]
    pub(crate) fn verify_raw(&self, namespace: &[u8], message: &[u8], signature: &Signature) -> bool {
        let Ok(key) = ed25519::PublicKey::decode(Copying(&self.0)) else { return false };
        let Ok(signature) = ed25519::Signature::decode(Copying(&signature.0)) else { return false };
        key.verify(namespace, message, &signature)
    }
}

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Signature([u8; 64]);

impl Signature {
    /// The signature with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The signature's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

/// A signature and what it is said to be of, not yet verified.
#[derive(Clone, Debug)]
pub struct Claim {
    key: PublicKey,
    label: &'static str,
    message: Vec<u8>,
    signature: Signature,
}

impl Claim {
    /// That `signature` is this key's over `body` with this meaning in this domain.
    #[must_use]
    pub fn new(key: PublicKey, domain: &Domain, meaning: Meaning, body: &[u8], signature: Signature) -> Self {
        Self { key, label: meaning.label, message: message(domain, meaning, body), signature }
    }

    /// Whether it is.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.key.verify_raw(self.label.as_bytes(), &self.message, &self.signature)
    }
}

/// Keys whose points were computed before: that takes a tenth of a verification, and few keys make most claims.
#[derive(Debug, Default)]
pub struct KnownKeys(Mutex<BTreeMap<PublicKey, ed25519::PublicKey>>);

impl KnownKeys {
    /// How many are known at a time: 1 MiB of them.
    const MOST: usize = 4096;

    /// The points of these claims' keys; none if a key is no point.
    fn points(&self, claims: &[Claim]) -> Option<BTreeMap<PublicKey, ed25519::PublicKey>> {
        // Nothing is half done when a thread dies that holds this.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut points, mut new) = (BTreeMap::new(), Vec::new());
        for Claim { key, .. } in claims {
            if points.contains_key(key) {
                continue;
            }
            let point = match known.get(key) {
                Some(point) => point.clone(),
                None => {
                    let point = ed25519::PublicKey::decode(Copying(&key.0)).ok()?;
                    new.push((*key, point.clone()));
                    point
                }
            };
            points.insert(*key, point);
        }
        if known.len() + new.len() > Self::MOST {
            known.clear();
        }
        known.extend(new.into_iter().take(Self::MOST));
        Some(points)
    }
}

/// Whether all of these claims hold. Which of them does not, only each one can tell.
///
/// Many at once cost less than half of what they cost one by one, and less still where few keys have made them.
///
/// # Security
/// The equations are added up with random weights, so that no two wrong ones make up for each other. The weights are
/// drawn from a hash of all claims: who makes claims cannot choose them.
#[must_use]
pub fn all_hold(claims: &[Claim], known: &KnownKeys) -> bool {
    let [_, _, ..] = claims else { return claims.iter().all(Claim::holds) };
    let mut weights = Transcript::new(b"dmdl.batch-verification", Version::V1);
    let Some(keys) = known.points(claims) else { return false };
    let mut signatures = Vec::with_capacity(claims.len());
    for Claim { key, label, message, signature } in claims {
        let Ok(decoded) = ed25519::Signature::decode(Copying(&signature.0)) else { return false };
        signatures.push(decoded);
        for part in [&key.0[..], label.as_bytes(), message, &signature.0] {
            weights.commit(part);
        }
    }
    let mut entries = Vec::with_capacity(claims.len());
    for (claim, signature) in claims.iter().zip(&signatures) {
        let Some(public_key) = keys.get(&claim.key) else { return false };
        entries.push((claim, public_key, signature));
    }
    let mut weights = weights.noise(b"weights");
    ed25519::PublicKey::verify_batch(
        &mut weights,
        &entries,
        |_, &(claim, public_key, signature)| BatchEntry {
            namespace: claim.label.as_bytes(),
            message: &claim.message,
            public_key,
            signature,
        },
        &Sequential,
    )
}

/// An Ed25519 signing key.
///
/// # Security
/// The seed is wiped on drop and never printed.
pub struct SigningKey {
    seed: Secret32,
    key: ed25519::PrivateKey,
}

impl SigningKey {
    /// The key of a 32-byte seed.
    ///
    /// # Panics
    /// Never: every 32 bytes are a seed.
    #[must_use]
    pub fn from_seed(seed: Secret32) -> Self {
        #[expect(clippy::expect_used, reason = "every 32 bytes decode to a signing key")]
        let key = seed.expose(|bytes| ed25519::PrivateKey::decode(Copying(bytes))).expect("32 bytes are a seed");
        Self { seed, key }
    }

    /// The seed, for writing a key file and for deriving keys of other uses.
    #[must_use]
    pub const fn seed(&self) -> &Secret32 {
        &self.seed
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&self.key.public_key().encode());
        PublicKey(bytes)
    }

    /// Signs `body` with this meaning in this domain.
    #[must_use]
    pub fn sign(&self, domain: &Domain, meaning: Meaning, body: &[u8]) -> Signature {
        let signed = self.key.sign(meaning.label.as_bytes(), &message(domain, meaning, body));
        let mut bytes = [0; 64];
        bytes.copy_from_slice(&signed.encode());
        Signature(bytes)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public())
    }
}

fn message(domain: &Domain, meaning: Meaning, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(66 + body.len());
    out.extend_from_slice(domain.network.as_bytes());
    out.extend_from_slice(domain.channel.as_bytes());
    out.push(meaning.kind);
    out.push(meaning.version);
    out.extend_from_slice(body);
    out
}

macro_rules! hex_text {
    ($name:ident, $len:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::id::IdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; $len];
                if text.bytes().any(|b| b.is_ascii_uppercase()) || hex::decode_to_slice(text, &mut bytes).is_err() {
                    return Err(crate::id::IdError::NotHex);
                }
                Ok(Self(bytes))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_text!(PublicKey, 32);
hex_text!(Signature, 64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label;

    fn domain(n: u8) -> Domain {
        Domain { network: NetworkId::new([n; 32]), channel: ChannelId::new([2; 32]) }
    }

    #[test]
    fn a_signature_is_valid_for_exactly_one_meaning() {
        let key = SigningKey::from_seed(Secret32::new([9; 32]));
        let mut contexts = Vec::new();
        for network in [1, 2] {
            for label in label::ALL {
                for kind in [0, 1] {
                    for version in [1, 2] {
                        contexts.push((domain(network), Meaning { label, kind, version }));
                    }
                }
            }
        }
        for (i, (d, m)) in contexts.iter().enumerate() {
            let signature = key.sign(d, *m, b"body");
            for (j, (d2, m2)) in contexts.iter().enumerate() {
                assert_eq!(key.public().verify(d2, *m2, b"body", &signature), i == j, "{m:?} in {m2:?}");
            }
            assert!(!key.public().verify(d, *m, b"bodY", &signature));
        }
    }

    #[test]
    fn keys_of_small_order_are_refused_at_enrolment() {
        assert_eq!(PublicKey::new([0; 32]).check(), Err(KeyError::SmallOrder));
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::new(identity).check(), Err(KeyError::SmallOrder));
        assert_eq!(SigningKey::from_seed(Secret32::new([3; 32])).public().check(), Ok(()));
    }

    #[test]
    fn a_second_spelling_of_a_key_is_refused_at_enrolment() {
        // Of the 19 that are not below the prime: those that are points of large order.
        let spelled = |low: u8, high: u8| {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, high);
            PublicKey::new(bytes).check()
        };
        let refused: Vec<_> = (0xed..=0xff).flat_map(|low| [spelled(low, 0x7f), spelled(low, 0xff)]).collect();
        assert!(refused.iter().all(Result::is_err), "{refused:?}");
        assert_eq!(spelled(0xff, 0xff), Err(KeyError::NotCanonical));
    }

    fn claims(count: u8) -> Vec<Claim> {
        let claim = |number: u8| {
            let key = SigningKey::from_seed(Secret32::new([number % 3; 32]));
            let (body, meaning) = ([number; 40], Meaning::v1(label::ALL[0]));
            Claim::new(key.public(), &domain(1), meaning, &body, key.sign(&domain(1), meaning, &body))
        };
        (0..count).map(claim).collect()
    }

    #[test]
    fn many_claims_hold_together_exactly_if_each_of_them_holds() {
        let known = KnownKeys::default();
        for count in [0, 1, 2, 3, 40] {
            let good = claims(count);
            assert!(all_hold(&good, &known), "{count}");
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at].message[70] ^= 1;
                assert!(!all_hold(&bad, &known), "{at} of {count}");
                let mut bad = good.clone();
                bad[at].signature.0[40] ^= 1;
                assert!(!all_hold(&bad, &known), "{at} of {count}");
                let mut bad = good.clone();
                bad[at].key = SigningKey::from_seed(Secret32::new([9; 32])).public();
                assert!(!all_hold(&bad, &known), "{at} of {count}");
            }
        }
    }

    /// Added up without weights, one more and one less would make each other good.
    #[test]
    fn two_wrong_claims_do_not_make_up_for_each_other() {
        let known = KnownKeys::default();
        let mut bad = claims(6);
        let low = |claim: &Claim| claim.signature.0[32];
        // Of the same key; and neither number carries.
        let (more, less) = (0, 3);
        assert_eq!(bad[more].key, bad[less].key);
        assert!(low(&bad[more]) < 0xff && low(&bad[less]) > 0);
        bad[more].signature.0[32] += 1;
        bad[less].signature.0[32] -= 1;
        assert!(!bad[more].holds() && !bad[less].holds());
        assert!(!all_hold(&bad, &known));
    }

    /// A verifier that asks for less, or for more, than another would split the chain: ZIP-215 settles it.
    #[test]
    fn what_has_small_order_holds_alone_and_together() {
        let known = KnownKeys::default();
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&identity);
        let claim = Claim::new(
            PublicKey::new(identity),
            &domain(1),
            Meaning::v1(label::ALL[0]),
            b"body",
            Signature::new(signature),
        );
        assert!(claim.holds());
        let mut together = claims(5);
        together.push(claim);
        assert!(all_hold(&together, &known));
    }

    #[test]
    fn a_signing_key_does_not_print_its_seed() {
        let key = SigningKey::from_seed(Secret32::new([9; 32]));
        assert!(!format!("{key:?}").contains("0909"));
    }
}
