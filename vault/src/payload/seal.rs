//! Sealing: plaintext in, payload out, in constant memory.
//!
//! # Source
//! docs/spec/payload.md, "Sealing"

use super::{
    PayloadEntry, Suite,
    aead::{Backend, CipherFailed},
    header::{Header, PayloadKeys},
    layout::{CHUNK_LEN, HEADER_LEN, Layout, LayoutError, SALT_LEN},
    read_up_to,
};
use dmdl_types::{codec, context::DataContext, id::PayloadDigest, secret::Secret32};
use rand_core::CryptoRng;
use std::{
    fmt,
    io::{self, Read, Write},
};
use zeroize::Zeroizing;

/// How much is read, sealed and hashed at a time: many chunks, so that BLAKE3 runs wide, and few
/// enough to stay in the processor's cache.
pub(super) const BATCH_LEN: usize = 64 * CHUNK_LEN;

/// Why a payload was not sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The plaintext has more bytes than a payload holds.
    #[error(transparent)]
    TooLong(#[from] LayoutError),
    /// The plaintext could not be read.
    #[error("cannot read the plaintext")]
    Read(#[source] io::Error),
    /// The payload could not be written.
    #[error("cannot write the payload")]
    Write(#[source] io::Error),
    /// The cipher's library failed.
    #[error("the cipher failed")]
    Cipher,
}

impl From<CipherFailed> for SealError {
    fn from(_: CipherFailed) -> Self {
        Self::Cipher
    }
}

/// A payload that was sealed whole: what to register of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// How it was sealed.
    pub suite: Suite,
    /// BLAKE3 of all bytes of the payload.
    pub digest: PayloadDigest,
    /// How many bytes the payload has.
    pub ciphertext_len_bytes: u64,
    /// How many bytes went in.
    pub plaintext_len_bytes: u64,
    /// The commitment to the payload's key.
    pub key_commitment: [u8; 32],
}

impl Sealed {
    /// The payload's entry on the ledger.
    #[must_use]
    pub const fn entry(&self) -> PayloadEntry {
        PayloadEntry {
            suite: self.suite.byte(),
            digest: self.digest,
            ciphertext_len_bytes: self.ciphertext_len_bytes,
            key_commitment: self.key_commitment,
        }
    }
}

/// Seals everything that `plaintext` yields and writes the payload to `payload`.
///
/// Memory does not grow with the payload. An upload that breaks is resumed with the bytes written
/// here; changed plaintext is sealed under a new version's key, never again under this one.
///
/// # Errors
/// [`SealError`]; what was written before is then not a payload.
///
/// # Security
/// `input_key` must be uniformly random and belong to this record version alone.
pub fn seal(
    plaintext: impl Read,
    mut payload: impl Write,
    input_key: &Secret32,
    context: &DataContext,
    rng: &mut impl CryptoRng,
) -> Result<Sealed, SealError> {
    let mut sealer = Sealer::new(Backend::default(), input_key, context, rng)?;
    let mut plaintext = plaintext;
    let mut batch = Zeroizing::new(vec![0; BATCH_LEN]);
    let mut sealed = Vec::with_capacity(BATCH_LEN + BATCH_LEN / 512);
    loop {
        let bytes = read_up_to(&mut plaintext, &mut batch).map_err(SealError::Read)?;
        if bytes.is_empty() {
            break;
        }
        sealer.push(bytes, &mut sealed)?;
        payload.write_all(&sealed).map_err(SealError::Write)?;
        sealed.clear();
    }
    let result = sealer.finish(&mut sealed)?;
    payload.write_all(&sealed).and_then(|()| payload.flush()).map_err(SealError::Write)?;
    Ok(result)
}

/// Seals plaintext as it comes, without doing any input or output.
pub struct Sealer {
    keys: PayloadKeys,
    /// Not yet handed out.
    header: Option<[u8; HEADER_LEN]>,
    /// The beginning of the next chunk; always shorter than a chunk between calls.
    pending: Zeroizing<Vec<u8>>,
    chunk: u64,
    plaintext_len_bytes: u64,
    hasher: blake3::Hasher,
}

impl Sealer {
    /// Begins a payload under a data key, with a salt drawn from `rng`.
    ///
    /// # Errors
    /// [`SealError::Cipher`] when the cipher's library fails.
    pub fn new(
        backend: Backend,
        input_key: &Secret32,
        context: &DataContext,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, SealError> {
        let mut salt = [0; SALT_LEN];
        rng.fill_bytes(&mut salt);
        Self::with_salt(backend, input_key, &codec::encode(context), salt)
    }

    pub(super) fn with_salt(
        backend: Backend,
        input_key: &Secret32,
        context: &[u8],
        salt: [u8; SALT_LEN],
    ) -> Result<Self, SealError> {
        let keys = PayloadKeys::derive(backend, input_key, &salt, context)?;
        let header = Header { salt, commitment: *keys.commitment() }.to_bytes();
        Ok(Self {
            keys,
            header: Some(header),
            // Exact, because a buffer that grows leaves copies of plaintext behind.
            pending: Zeroizing::new(Vec::with_capacity(CHUNK_LEN)),
            chunk: 0,
            plaintext_len_bytes: 0,
            hasher: blake3::Hasher::new(),
        })
    }

    /// Takes more plaintext and appends to `payload` every chunk that is now full.
    ///
    /// # Errors
    /// [`SealError::TooLong`] when a payload does not hold that much; the bytes are then not taken.
    pub fn push(&mut self, plaintext: &[u8], payload: &mut Vec<u8>) -> Result<(), SealError> {
        let total = self.plaintext_len_bytes.saturating_add(plaintext.len() as u64);
        Layout::of_plaintext(total)?;
        let start = payload.len();
        payload.extend(self.header.take().into_iter().flatten());

        let room = CHUNK_LEN - self.pending.len();
        let rest = match plaintext.split_at_checked(room) {
            Some((head, rest)) if !self.pending.is_empty() => {
                self.pending.extend_from_slice(head);
                let pending = std::mem::replace(&mut self.pending, Zeroizing::new(Vec::with_capacity(CHUNK_LEN)));
                self.seal_chunk(&pending, payload)?;
                rest
            }
            _ if !self.pending.is_empty() => {
                self.pending.extend_from_slice(plaintext);
                &[]
            }
            _ => plaintext,
        };
        let mut chunks = rest.chunks_exact(CHUNK_LEN);
        for chunk in &mut chunks {
            self.seal_chunk(chunk, payload)?;
        }
        self.pending.extend_from_slice(chunks.remainder());

        self.plaintext_len_bytes = total;
        // Once for all chunks: BLAKE3 is fastest over long input.
        self.hasher.update(payload.get(start..).unwrap_or_default());
        Ok(())
    }

    /// Appends the last chunk to `payload`, short and maybe empty.
    ///
    /// # Errors
    /// [`SealError`] when the payload could not be finished.
    pub fn finish(mut self, payload: &mut Vec<u8>) -> Result<Sealed, SealError> {
        let layout = Layout::of_plaintext(self.plaintext_len_bytes)?;
        let start = payload.len();
        payload.extend(self.header.take().into_iter().flatten());
        let pending = std::mem::take(&mut self.pending);
        self.seal_chunk(&pending, payload)?;
        self.hasher.update(payload.get(start..).unwrap_or_default());
        Ok(Sealed {
            suite: Suite::Aes256Gcm,
            digest: PayloadDigest::new(*self.hasher.finalize().as_bytes()),
            ciphertext_len_bytes: layout.ciphertext_len_bytes(),
            plaintext_len_bytes: layout.plaintext_len_bytes(),
            key_commitment: *self.keys.commitment(),
        })
    }

    fn seal_chunk(&mut self, plaintext: &[u8], payload: &mut Vec<u8>) -> Result<(), SealError> {
        let start = payload.len();
        payload.extend_from_slice(plaintext);
        let in_place = payload.get_mut(start..).unwrap_or_default();
        match self.keys.seal_chunk(self.chunk, in_place) {
            Ok(tag) => payload.extend_from_slice(&tag),
            Err(failed) => {
                // What lies there may be plaintext still.
                in_place.fill(0);
                payload.truncate(start);
                return Err(failed.into());
            }
        }
        self.chunk += 1;
        Ok(())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("plaintext_len_bytes", &self.plaintext_len_bytes).finish_non_exhaustive()
    }
}
