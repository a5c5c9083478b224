//! Writing: a header for its readers, then segments.

use super::{MAGIC, NONCE_LEN, SEALED_LEN, SEGMENT_LEN, TAG_LEN, VERSION, packet};
use crate::keys::random_secret;
use chacha20poly1305::{AeadInOut as _, ChaCha20Poly1305, KeyInit as _};
use rand_core::CryptoRng;
use std::{
    fmt,
    io::{self, Write},
};
use zeroize::Zeroizing;

/// Why no file was begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Nobody could read it.
    #[error("a Crypt4GH file needs a reader")]
    NoReader,
    /// A reader's key is no key: what is sealed to it, anybody could open, or nobody.
    #[error("the public key of reader {0} is no usable X25519 key")]
    BadKey(usize),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Encrypts what is written to it, into a Crypt4GH file; without [`Encryptor::finish`] the end is missing.
pub struct Encryptor<W, R> {
    to: W,
    rng: R,
    cipher: ChaCha20Poly1305,
    plain: Zeroizing<Vec<u8>>,
}

impl<W, R> fmt::Debug for Encryptor<W, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encryptor(..)")
    }
}

impl<W: Write, R: CryptoRng> Encryptor<W, R> {
    /// Writes the header of a file for the readers with these public keys.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(mut to: W, mut rng: R, readers: &[[u8; 32]]) -> Result<Self, StartError> {
        if readers.is_empty() {
            return Err(StartError::NoReader);
        }
        let key = random_secret(&mut rng);
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&u32::try_from(readers.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (number, reader) in (1..).zip(readers) {
            let packet = packet::data_key(&mut rng, reader, &key).ok_or(StartError::BadKey(number))?;
            let len = u32::try_from(packet.len() + 4).unwrap_or(u32::MAX);
            header.extend_from_slice(&len.to_le_bytes());
            header.extend_from_slice(&packet);
        }
        to.write_all(&header)?;
        let cipher = key.expose(|bytes| ChaCha20Poly1305::new(bytes.into()));
        Ok(Self { to, rng, cipher, plain: Zeroizing::new(Vec::with_capacity(SEALED_LEN)) })
    }

    /// Writes the last segment and gives the file back.
    ///
    /// # Errors
    /// Whatever the file says.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.plain.is_empty() {
            self.segment()?;
        }
        self.to.flush()?;
        Ok(self.to)
    }

    fn segment(&mut self) -> io::Result<()> {
        let mut nonce = [0; NONCE_LEN];
        self.rng.fill_bytes(&mut nonce);
        let sealed = self.cipher.encrypt_in_place(&nonce.into(), b"", &mut *self.plain);
        sealed.map_err(|_| io::Error::other("the cipher failed"))?;
        debug_assert!(self.plain.len() <= SEGMENT_LEN + TAG_LEN);
        self.to.write_all(&nonce)?;
        self.to.write_all(&self.plain)?;
        self.plain.clear();
        Ok(())
    }
}

impl<W: Write, R: CryptoRng> Write for Encryptor<W, R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = SEGMENT_LEN - self.plain.len();
        let (taken, _) = bytes.split_at(bytes.len().min(room));
        self.plain.extend_from_slice(taken);
        if self.plain.len() == SEGMENT_LEN {
            self.segment()?;
        }
        Ok(taken.len())
    }

    /// Writes on what is whole: a segment that is begun stays here, since only the last may be short.
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
