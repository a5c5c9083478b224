//! AES-256-GCM, by two implementations that make the same bytes.
//!
//! `aws-lc-rs` is several times faster and is what runs natively; RustCrypto's `aes-gcm` runs
//! everywhere, a browser included. A test compares them.
//!
//! # Source
//! NIST SP 800-38D; RFC 5116, `AEAD_AES_256_GCM`

use super::layout::TAG_LEN;
use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _, aead::inout::InOutBuf};

/// Bytes of a chunk's nonce.
pub(super) const NONCE_LEN: usize = 12;

/// The cipher refused: a tag did not match, or the library failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CipherFailed;

/// Which implementation of the cipher runs. It never shows in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// RustCrypto's `aes-gcm`, on every target.
    Portable,
    /// `aws-lc-rs`.
    #[cfg(not(target_arch = "wasm32"))]
    Native,
}

impl Default for Backend {
    /// The fastest implementation of this target.
    fn default() -> Self {
        #[cfg(not(target_arch = "wasm32"))]
        return Self::Native;
        #[cfg(target_arch = "wasm32")]
        return Self::Portable;
    }
}

/// AES-256-GCM under one key, without additional data.
///
/// # Security
/// Both implementations wipe their key schedule on drop.
pub(super) enum ChunkCipher {
    Portable(Box<Aes256Gcm>),
    #[cfg(not(target_arch = "wasm32"))]
    Native(Box<aws_lc_rs::aead::LessSafeKey>),
}

impl ChunkCipher {
    /// Prepares a key for `backend`.
    pub(super) fn new(backend: Backend, key: &[u8; 32]) -> Result<Self, CipherFailed> {
        match backend {
            Backend::Portable => Ok(Self::Portable(Box::new(Aes256Gcm::new(key.into())))),
            #[cfg(not(target_arch = "wasm32"))]
            Backend::Native => {
                use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
                let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| CipherFailed)?;
                Ok(Self::Native(Box::new(LessSafeKey::new(key))))
            }
        }
    }

    /// Encrypts `chunk` where it lies and returns its tag.
    pub(super) fn seal(&self, nonce: [u8; NONCE_LEN], chunk: &mut [u8]) -> Result<[u8; TAG_LEN], CipherFailed> {
        match self {
            Self::Portable(cipher) => cipher
                .encrypt_inout_detached(&nonce.into(), &[], InOutBuf::from(chunk))
                .map(Into::into)
                .map_err(|_| CipherFailed),
            #[cfg(not(target_arch = "wasm32"))]
            Self::Native(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), chunk).map_err(|_| CipherFailed)?;
                tag.as_ref().try_into().map_err(|_| CipherFailed)
            }
        }
    }

    /// Decrypts `chunk` where it lies.
    ///
    /// When the tag does not match, what is left in `chunk` is zeros: neither plaintext nor ciphertext.
    pub(super) fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        chunk: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CipherFailed> {
        let opened = match self {
            Self::Portable(cipher) => cipher
                .decrypt_inout_detached(&nonce.into(), &[], InOutBuf::from(&mut *chunk), tag.into())
                .map_err(|_| CipherFailed),
            #[cfg(not(target_arch = "wasm32"))]
            Self::Native(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.open_in_place_separate_tag(nonce, Aad::empty(), tag, &mut *chunk)
                    .map(|_| ())
                    .map_err(|_| CipherFailed)
            }
        };
        if opened.is_err() {
            chunk.fill(0);
        }
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// GCM specification (McGrew, Viega), test cases 13 and 14.
    #[test]
    fn the_gcm_specifications_test_cases_come_out() {
        for backend in [Backend::Portable, Backend::Native] {
            let cipher = ChunkCipher::new(backend, &[0; 32]).unwrap();
            let tag = cipher.seal([0; 12], &mut []).unwrap();
            assert_eq!(hex::encode(tag), "530f8afbc74536b9a963b4f1c4cb738b");
            let mut block = [0; 16];
            let tag = cipher.seal([0; 12], &mut block).unwrap();
            assert_eq!(hex::encode(block), "cea7403d4d606b6e074ec5d3baf39d18");
            assert_eq!(hex::encode(tag), "d0d1c8a799996bf0265b98b5d48ab919");
        }
    }

    proptest! {
        #[test]
        fn both_backends_make_and_take_the_same_bytes(
            key: [u8; 32],
            nonce: [u8; 12],
            plaintext in prop::collection::vec(any::<u8>(), 0..2048),
        ) {
            let native = ChunkCipher::new(Backend::Native, &key).unwrap();
            let portable = ChunkCipher::new(Backend::Portable, &key).unwrap();
            let (mut a, mut b) = (plaintext.clone(), plaintext.clone());
            let tag = native.seal(nonce, &mut a).unwrap();
            prop_assert_eq!(tag, portable.seal(nonce, &mut b).unwrap());
            prop_assert_eq!(&a, &b);
            prop_assert_eq!(portable.open(nonce, &mut a, &tag), Ok(()));
            prop_assert_eq!(native.open(nonce, &mut b, &tag), Ok(()));
            prop_assert_eq!(&a, &plaintext);
            prop_assert_eq!(&b, &plaintext);
        }

        #[test]
        fn a_wrong_tag_leaves_nothing_to_read(key: [u8; 32], bit in 0usize..128, plaintext: [u8; 64]) {
            for backend in [Backend::Portable, Backend::Native] {
                let cipher = ChunkCipher::new(backend, &key).unwrap();
                let mut chunk = plaintext;
                let mut tag = cipher.seal([7; 12], &mut chunk).unwrap();
                tag[bit / 8] ^= 1 << (bit % 8);
                prop_assert_eq!(cipher.open([7; 12], &mut chunk, &tag), Err(CipherFailed));
                prop_assert_eq!(chunk, [0; 64]);
            }
        }
    }
}
