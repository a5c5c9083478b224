//! Opening: payload in, plaintext out, a chunk only after its tag.
//!
//! # Source
//! docs/spec/payload.md, "Opening"

use super::{
    PayloadEntry, Suite, UnsupportedSuite,
    aead::{Backend, CipherFailed},
    header::{Header, PayloadKeys},
    layout::{CHUNK_LEN, HEADER_LEN, Layout, LayoutError, SEALED_CHUNK_LEN, TAG_LEN},
    read_up_to,
    seal::BATCH_LEN,
};
use dmdl_types::{codec, context::DataContext, id::PayloadDigest, planted, secret::Secret32};
use std::{
    fmt,
    io::{self, Read, Write},
    ops::Range,
};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Why a payload did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The payload was sealed in a way that this version does not know.
    #[error(transparent)]
    UnsupportedSuite(#[from] UnsupportedSuite),
    /// The ledger's length is no payload's length.
    #[error(transparent)]
    ImpossibleLength(#[from] LayoutError),
    /// The payload's header is not the one whose commitment is on the ledger.
    #[error("the header is not the registered one")]
    AlteredHeader,
    /// The data key, the context or the payload's salt is not the one that the ledger commits to.
    #[error("the key is not the one that the ledger commits to")]
    WrongKey,
    /// A chunk's tag does not match: it was changed, or it belongs elsewhere.
    #[error("chunk {chunk} was altered")]
    Altered {
        /// Which chunk.
        chunk: u64,
    },
    /// The payload ended before the ledger's length.
    #[error("{got_bytes} bytes came of {expected_bytes}: the payload is truncated")]
    Truncated {
        /// The ledger's length.
        expected_bytes: u64,
        /// What came.
        got_bytes: u64,
    },
    /// The payload goes on after the ledger's length.
    #[error("more than {expected_bytes} bytes came")]
    TooLong {
        /// The ledger's length.
        expected_bytes: u64,
    },
    /// Every chunk is right, but the ledger names another digest.
    #[error("the digest is not the registered one")]
    DigestMismatch,
    /// The asked range reaches past the plaintext's end, or ends before it begins.
    #[error("no bytes {start}..{end} in a plaintext of {len_bytes}")]
    NoSuchRange {
        /// The first byte asked for.
        start: u64,
        /// The first byte not asked for.
        end: u64,
        /// How many there are.
        len_bytes: u64,
    },
    /// An earlier call failed; nothing more comes out.
    #[error("opening has failed before")]
    Failed,
    /// The payload could not be read.
    #[error("cannot read the payload")]
    Read(#[source] io::Error),
    /// The plaintext could not be written.
    #[error("cannot write the plaintext")]
    Write(#[source] io::Error),
    /// The cipher's library failed.
    #[error("the cipher failed")]
    Cipher,
}

/// Opens a whole payload and writes its plaintext, whose length it returns.
///
/// Memory does not grow with the payload.
///
/// # Errors
/// [`OpenError`]. What was written before an error is the true beginning of the plaintext and no
/// more: whoever needs all or nothing writes to a [new file](super::file::NewFile).
pub fn open(
    mut payload: impl Read,
    mut plaintext: impl Write,
    input_key: &Secret32,
    context: &DataContext,
    entry: &PayloadEntry,
) -> Result<u64, OpenError> {
    let header = read_header(&mut payload, entry)?;
    let mut opener = CommittedKey::check(input_key, context, entry, &header)?.into_opener();
    let mut batch = vec![0; BATCH_LEN];
    // Room for a batch, so that the buffer never grows and leaves plaintext behind.
    let mut opened = Zeroizing::new(Vec::with_capacity(BATCH_LEN + CHUNK_LEN));
    loop {
        let bytes = read_up_to(&mut payload, &mut batch).map_err(OpenError::Read)?;
        if bytes.is_empty() {
            break;
        }
        let pushed = opener.push(bytes, &mut opened);
        plaintext.write_all(&opened).map_err(OpenError::Write)?;
        opened.clear();
        pushed?;
    }
    let len_bytes = opener.finish()?;
    plaintext.flush().map_err(OpenError::Write)?;
    Ok(len_bytes)
}

/// Reads a payload's header.
pub(super) fn read_header(payload: &mut impl Read, entry: &PayloadEntry) -> Result<[u8; HEADER_LEN], OpenError> {
    let mut header = [0; HEADER_LEN];
    let got_bytes = read_up_to(payload, &mut header).map_err(OpenError::Read)?.len() as u64;
    if got_bytes < HEADER_LEN as u64 {
        return Err(OpenError::Truncated { expected_bytes: entry.ciphertext_len_bytes, got_bytes });
    }
    Ok(header)
}

/// The keys of one payload, which exist only if header and ledger commit to them.
///
/// Opens the payload from its beginning ([`CommittedKey::into_opener`]) or any range of it
/// ([`CommittedKey::plan`], [`CommittedKey::open_planned`]).
pub struct CommittedKey {
    keys: PayloadKeys,
    layout: Layout,
    header: [u8; HEADER_LEN],
    digest: PayloadDigest,
}

impl CommittedKey {
    /// Derives the keys of a payload and checks them against its header and the ledger, before
    /// anything is decrypted.
    ///
    /// # Errors
    /// [`OpenError::UnsupportedSuite`], [`OpenError::ImpossibleLength`], [`OpenError::WrongKey`] or
    /// [`OpenError::AlteredHeader`].
    ///
    /// # Security
    /// AES-GCM alone commits to no key: two keys can open one ciphertext to two plaintexts. Here one
    /// payload has one key.
    pub fn check(
        input_key: &Secret32,
        context: &DataContext,
        entry: &PayloadEntry,
        header: &[u8; HEADER_LEN],
    ) -> Result<Self, OpenError> {
        Self::check_with(Backend::default(), input_key, &codec::encode(context), entry, header)
    }

    /// Like [`CommittedKey::check`], with a chosen implementation of the cipher.
    ///
    /// # Errors
    /// As [`CommittedKey::check`].
    pub fn check_on(
        backend: Backend,
        input_key: &Secret32,
        context: &DataContext,
        entry: &PayloadEntry,
        header: &[u8; HEADER_LEN],
    ) -> Result<Self, OpenError> {
        Self::check_with(backend, input_key, &codec::encode(context), entry, header)
    }

    pub(super) fn check_with(
        backend: Backend,
        input_key: &Secret32,
        context: &[u8],
        entry: &PayloadEntry,
        header: &[u8; HEADER_LEN],
    ) -> Result<Self, OpenError> {
        Suite::try_from(entry.suite)?;
        let layout = Layout::of_ciphertext(entry.ciphertext_len_bytes)?;
        let Header { salt, commitment } = Header::from_bytes(header);
        let keys = PayloadKeys::derive(backend, input_key, &salt, context)?;
        if !keys.is_committed_by(&entry.key_commitment) && !planted!("key-commitment-not-checked") {
            return Err(OpenError::WrongKey);
        }
        if !bool::from(commitment.ct_eq(&entry.key_commitment)) {
            return Err(OpenError::AlteredHeader);
        }
        Ok(Self { keys, layout, header: *header, digest: entry.digest })
    }

    /// The payload's lengths.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Begins to open the payload; the bytes after the header come next.
    #[must_use]
    pub fn into_opener(self) -> Opener {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.header);
        Opener {
            key: self,
            pending: Vec::with_capacity(SEALED_CHUNK_LEN),
            chunk: 0,
            got_bytes: HEADER_LEN as u64,
            hasher,
            failed: false,
        }
    }

    /// Opens the chunk with this number and appends its plaintext to `plaintext`, or nothing at all.
    pub(super) fn open_chunk(&self, chunk: u64, sealed: &[u8], plaintext: &mut Vec<u8>) -> Result<(), OpenError> {
        let altered = OpenError::Altered { chunk };
        let Some((ciphertext, tag)) = sealed.split_last_chunk::<TAG_LEN>() else { return Err(altered) };
        let start = plaintext.len();
        plaintext.extend_from_slice(ciphertext);
        let in_place = plaintext.get_mut(start..).unwrap_or_default();
        if self.keys.open_chunk(chunk, in_place, tag).is_err() {
            plaintext.truncate(start);
            return Err(altered);
        }
        Ok(())
    }
}

impl fmt::Debug for CommittedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommittedKey").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Opens a payload as it comes, without doing any input or output.
pub struct Opener {
    key: CommittedKey,
    /// The beginning of the next chunk.
    pending: Vec<u8>,
    chunk: u64,
    got_bytes: u64,
    hasher: blake3::Hasher,
    failed: bool,
}

impl Opener {
    /// Takes more bytes of the payload and appends to `plaintext` every chunk that is now complete
    /// and true.
    ///
    /// # Errors
    /// [`OpenError::Altered`] or [`OpenError::TooLong`]; `plaintext` then holds what is true before
    /// that place, and no later call adds to it.
    pub fn push(&mut self, payload: &[u8], plaintext: &mut Vec<u8>) -> Result<(), OpenError> {
        if self.failed {
            return Err(OpenError::Failed);
        }
        let pushed = self.push_once(payload, plaintext);
        self.failed = pushed.is_err();
        pushed
    }

    /// Ends the payload and returns how many bytes of plaintext came out of it.
    ///
    /// # Errors
    /// [`OpenError::Truncated`] when bytes are missing, [`OpenError::DigestMismatch`] when the ledger
    /// names another digest, [`OpenError::Failed`] after an error.
    pub fn finish(self) -> Result<u64, OpenError> {
        let expected_bytes = self.key.layout.ciphertext_len_bytes();
        if self.failed {
            return Err(OpenError::Failed);
        }
        if planted!("payload-may-end-at-any-chunk") && self.pending.is_empty() {
            return Ok(self.key.layout.plaintext_len_bytes());
        }
        if self.got_bytes < expected_bytes {
            return Err(OpenError::Truncated { expected_bytes, got_bytes: self.got_bytes });
        }
        if self.hasher.finalize() != *self.key.digest.as_bytes() {
            return Err(OpenError::DigestMismatch);
        }
        Ok(self.key.layout.plaintext_len_bytes())
    }

    fn push_once(&mut self, payload: &[u8], plaintext: &mut Vec<u8>) -> Result<(), OpenError> {
        let expected_bytes = self.key.layout.ciphertext_len_bytes();
        let left = usize::try_from(expected_bytes - self.got_bytes).unwrap_or(usize::MAX);
        let mut rest = payload.get(..left).unwrap_or(payload);
        self.hasher.update(rest);
        self.got_bytes += rest.len() as u64;

        while let Some(Range { start, end }) = self.key.layout.chunk(self.chunk) {
            let len = usize::try_from(end - start).unwrap_or(SEALED_CHUNK_LEN);
            if self.pending.is_empty() {
                // The usual case: the chunk lies whole in the input.
                let Some((chunk, after)) = rest.split_at_checked(len) else { break };
                self.key.open_chunk(self.chunk, chunk, plaintext)?;
                rest = after;
            } else {
                let Some((tail, after)) = rest.split_at_checked(len - self.pending.len()) else { break };
                self.pending.extend_from_slice(tail);
                self.key.open_chunk(self.chunk, &self.pending, plaintext)?;
                self.pending.clear();
                rest = after;
            }
            self.chunk += 1;
        }
        self.pending.extend_from_slice(rest);
        if payload.len() > left {
            return Err(OpenError::TooLong { expected_bytes });
        }
        Ok(())
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("got_bytes", &self.got_bytes).finish_non_exhaustive()
    }
}

impl From<CipherFailed> for OpenError {
    fn from(_: CipherFailed) -> Self {
        Self::Cipher
    }
}
