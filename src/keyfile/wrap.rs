//! A seed under a passphrase: Argon2id, then ChaCha20-Poly1305.
//!
//! # Source
//! RFC 9106, RFC 8439; docs/spec/keyfile.md, "Wrapping"

use super::unhex;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::{
    ChaCha20Poly1305, Key, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use dmdl_types::secret::Secret32;
use rand_core::CryptoRng;
use std::{
    fmt,
    io::{self, ErrorKind},
    ops::RangeInclusive,
};
use zeroize::Zeroizing;

/// A seed and a tag.
pub(super) const SEALED_LEN: usize = 48;
const SALT_LEN: usize = 16;
const KEY_LEN: usize = 32;

/// What a new file takes: the second recommendation of RFC 9106 with one lane instead of four.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// What a file may ask for: its numbers are believed before its tag can be checked.
const MEMORY_KIB_RANGE: RangeInclusive<u32> = 8..=1024 * 1024;
const PASSES_RANGE: RangeInclusive<u32> = 1..=10;

/// How a passphrase becomes a key.
#[derive(Debug)]
pub(super) struct Wrap {
    memory_kib: u32,
    passes: u32,
    salt: [u8; SALT_LEN],
}

impl Wrap {
    /// What a new file takes, with a random salt.
    pub(super) fn new(rng: &mut impl CryptoRng) -> Self {
        let mut salt = [0; SALT_LEN];
        rng.fill_bytes(&mut salt);
        Self { memory_kib: MEMORY_KIB, passes: PASSES, salt }
    }

    /// Reads what is displayed, within the bounds.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut number = || words.next().and_then(number);
        let (memory_kib, passes, lanes) = (number()?, number()?, number()?);
        let (salt, None) = (unhex(words.next()?)?, words.next()) else { return None };
        let bounded = MEMORY_KIB_RANGE.contains(&memory_kib) && PASSES_RANGE.contains(&passes) && lanes == LANES;
        bounded.then_some(Self { memory_kib, passes, salt: *salt })
    }

    /// Wraps a seed, bound to the text before it.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub(super) fn seal(&self, passphrase: &[u8], header: &[u8], seed: &Secret32) -> io::Result<Vec<u8>> {
        let cipher = self.cipher(passphrase)?;
        seed.expose(|seed| cipher.encrypt(&Nonce::default(), Payload { msg: seed, aad: header }))
            .map_err(|_| io::Error::other("the seed is not encrypted"))
    }

    /// The seed, if passphrase, header and sealed bytes are those of [`Wrap::seal`].
    ///
    /// # Errors
    /// When there is not enough memory.
    pub(super) fn open(
        &self,
        passphrase: &[u8],
        header: &[u8],
        sealed: &[u8; SEALED_LEN],
    ) -> io::Result<Option<Secret32>> {
        let opened = self.cipher(passphrase)?.decrypt(&Nonce::default(), Payload { msg: sealed, aad: header });
        let seed = opened.ok().map(Zeroizing::new).and_then(|seed| seed.as_slice().try_into().ok());
        Ok(seed.map(Secret32::new))
    }

    /// The cipher of the derived key. Its nonce is constant: with a random salt in every file, a key encrypts
    /// one seed, once.
    fn cipher(&self, passphrase: &[u8]) -> io::Result<ChaCha20Poly1305> {
        let refused = |error: argon2::Error| io::Error::new(ErrorKind::InvalidInput, error.to_string());
        let params = Params::new(self.memory_kib, self.passes, LANES, Some(KEY_LEN)).map_err(refused)?;
        let mut memory = Zeroizing::new(Vec::new());
        memory.try_reserve_exact(params.block_count()).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
        memory.resize(params.block_count(), Block::new());
        let mut key = Zeroizing::new([0; KEY_LEN]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase, &self.salt, key.as_mut_slice(), memory.as_mut_slice())
            .map_err(refused)?;
        Ok(ChaCha20Poly1305::new(<&Key>::from(&*key)))
    }
}

impl fmt::Display for Wrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {LANES} {}", self.memory_kib, self.passes, hex::encode(self.salt))
    }
}

/// A number in its one spelling.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number: &u32| number.to_string() == text)
}
