//! The header, and the key that it commits to.
//!
//! # Source
//! docs/spec/payload.md, "Key derivation"

use super::{
    aead::{Backend, ChunkCipher, CipherFailed, NONCE_LEN},
    layout::{COMMITMENT_LEN, HEADER_LEN, SALT_LEN, TAG_LEN},
};
use dmdl_types::secret::Secret32;
use hkdf::hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha512;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// What every derivation of this format begins with; the AEAD's name ends with a zero byte.
const INFO: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";
const KEY_LEN: usize = 32;
const OKM_LEN: usize = KEY_LEN + NONCE_LEN + COMMITMENT_LEN;

/// The first 56 bytes of a payload.
///
/// # Encoding
/// `salt[24] ‖ commitment[32]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Random, never used twice with one data key.
    pub salt: [u8; SALT_LEN],
    /// Commits to the data key, the salt and the context.
    pub commitment: [u8; COMMITMENT_LEN],
}

impl Header {
    /// The header in these bytes; any bytes are one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Self {
        let (mut salt, mut commitment) = ([0; SALT_LEN], [0; COMMITMENT_LEN]);
        let (first, second) = bytes.split_at(SALT_LEN);
        salt.copy_from_slice(first);
        commitment.copy_from_slice(second);
        Self { salt, commitment }
    }

    /// The header's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let (salt, commitment) = bytes.split_at_mut(SALT_LEN);
        salt.copy_from_slice(&self.salt);
        commitment.copy_from_slice(&self.commitment);
        bytes
    }
}

/// The keys of one payload: what its chunks are sealed with.
pub(super) struct PayloadKeys {
    cipher: ChunkCipher,
    base_nonce: [u8; NONCE_LEN],
    commitment: [u8; COMMITMENT_LEN],
}

impl PayloadKeys {
    /// Derives the keys of the payload with this salt, bound to `context`.
    ///
    /// `key[32] ‖ base_nonce[12] ‖ commitment[32] = HKDF-Expand-SHA512(input_key, info)`, where info
    /// is the format's name, the AEAD's name, a zero byte, the salt and the context.
    ///
    /// # Security
    /// Every buffer that held the key is wiped.
    pub(super) fn derive(
        backend: Backend,
        input_key: &Secret32,
        salt: &[u8; SALT_LEN],
        context: &[u8],
    ) -> Result<Self, CipherFailed> {
        let mut okm = Zeroizing::new([0; OKM_LEN]);
        input_key.expose(|key| hkdf_expand(key, &[INFO, salt, context], okm.as_mut()));
        let (key, rest) = okm.split_first_chunk::<KEY_LEN>().ok_or(CipherFailed)?;
        let (base_nonce, commitment) = rest.split_first_chunk::<NONCE_LEN>().ok_or(CipherFailed)?;
        Ok(Self {
            cipher: ChunkCipher::new(backend, key)?,
            base_nonce: *base_nonce,
            commitment: commitment.try_into().map_err(|_| CipherFailed)?,
        })
    }

    /// What the payload's header must say.
    pub(super) const fn commitment(&self) -> &[u8; COMMITMENT_LEN] {
        &self.commitment
    }

    /// Whether these keys are the committed ones, in constant time.
    pub(super) fn is_committed_by(&self, commitment: &[u8; COMMITMENT_LEN]) -> bool {
        self.commitment.ct_eq(commitment).into()
    }

    /// Encrypts chunk number `chunk` where it lies.
    pub(super) fn seal_chunk(&self, chunk: u64, bytes: &mut [u8]) -> Result<[u8; TAG_LEN], CipherFailed> {
        self.cipher.seal(self.nonce(chunk), bytes)
    }

    /// Decrypts chunk number `chunk` where it lies, or leaves zeros there.
    pub(super) fn open_chunk(&self, chunk: u64, bytes: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), CipherFailed> {
        self.cipher.open(self.nonce(chunk), bytes, tag)
    }

    /// The base nonce XOR the chunk's number, big-endian, at its end.
    fn nonce(&self, chunk: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.base_nonce;
        for (byte, number) in nonce.iter_mut().rev().zip(chunk.to_be_bytes().into_iter().rev()) {
            *byte ^= number;
        }
        nonce
    }
}

/// HKDF-Expand with SHA-512 of a key of 32 bytes, into at most 255 blocks of 64 bytes.
///
/// The `hkdf` crate insists on a key as long as the hash, as RFC 5869 advises where the key comes
/// out of HKDF-Extract. This format takes a uniformly random key of the cipher's length instead.
///
/// # Source
/// RFC 5869, section 2.3
fn hkdf_expand(key: &[u8; 32], info: &[&[u8]], okm: &mut [u8]) {
    // HMAC fills a short key up with zeros to the hash's block: done here, because `new` then takes
    // an array and cannot fail.
    let mut padded = Zeroizing::new([0; 128]);
    for (to, from) in padded.iter_mut().zip(key) {
        *to = *from;
    }
    let keyed = Hmac::<Sha512>::new((&*padded).into());
    let mut previous = Zeroizing::new([0; 64]);
    for (counter, block) in (1u8..=255).zip(okm.chunks_mut(64)) {
        let mut mac = keyed.clone();
        if counter > 1 {
            mac.update(previous.as_slice());
        }
        for part in info {
            mac.update(part);
        }
        mac.update(&[counter]);
        let mut output = mac.finalize().into_bytes();
        previous.copy_from_slice(&output);
        zeroize::Zeroize::zeroize(output.as_mut_slice());
        for (to, from) in block.iter_mut().zip(previous.iter()) {
            *to = *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(input_key: [u8; 32], context: &[u8]) -> PayloadKeys {
        PayloadKeys::derive(Backend::default(), &Secret32::new(input_key), &[3; SALT_LEN], context).unwrap()
    }

    /// The crate expands full-length keys only; a key of 32 bytes and the same with 32 zeros after it
    /// are one HMAC key, so the two must agree.
    #[test]
    fn expansion_agrees_with_the_hkdf_crate() {
        let mut long = [0; 64];
        long[..32].copy_from_slice(&[9; 32]);
        for len in [1, 63, 64, 65, 76, 200] {
            let (mut ours, mut theirs) = (vec![0; len], vec![0; len]);
            hkdf_expand(&[9; 32], &[b"some ", b"info"], &mut ours);
            hkdf::Hkdf::<Sha512>::from_prk(&long).unwrap().expand(b"some info", &mut theirs).unwrap();
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn the_chunk_number_enters_the_nonce_at_its_end() {
        let keys = keys([1; 32], b"");
        let mut nonce = keys.base_nonce;
        assert_eq!(keys.nonce(0), nonce);
        nonce[7] ^= 0x01;
        nonce[10] ^= 0x02;
        nonce[11] ^= 0x03;
        assert_eq!(keys.nonce(0x01_0000_0203), nonce);
    }

    #[test]
    fn another_key_or_context_has_another_commitment() {
        let one = keys([1; 32], b"a");
        assert!(one.is_committed_by(keys([1; 32], b"a").commitment()));
        assert!(!one.is_committed_by(keys([2; 32], b"a").commitment()));
        assert!(!one.is_committed_by(keys([1; 32], b"b").commitment()));
    }

    proptest! {
        #[test]
        fn a_header_has_one_encoding(bytes in prop::array::uniform32(any::<u8>()), tail: [u8; 24]) {
            let mut header = [0; HEADER_LEN];
            header[..32].copy_from_slice(&bytes);
            header[32..].copy_from_slice(&tail);
            prop_assert_eq!(Header::from_bytes(&header).to_bytes(), header);
        }
    }
}
