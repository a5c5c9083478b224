//! Reading: the keys in the header, then segments, and of these what the edit list keeps.

use super::{
    MAGIC, NONCE_LEN, SEALED_LEN, TAG_LEN, VERSION,
    edits::Edits,
    packet::{self, PacketError, Told},
};
use chacha20poly1305::{AeadInOut as _, ChaCha20Poly1305, KeyInit as _};
use dmdl_types::secret::Secret32;
use std::{
    fmt,
    io::{self, Read},
};
use zeroize::Zeroizing;

/// Most packets that a header may have.
const PACKETS_MAX: u32 = 1024;
/// Longest packet: an edit list of some 130,000 lengths.
const PACKET_LEN_MAX: u32 = 1 << 20;

/// Why a file is not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It does not begin as one.
    #[error("this is no Crypt4GH file")]
    NotCrypt4gh,
    /// It is of a later version.
    #[error("the file is of Crypt4GH version {0}; only 1 is known")]
    Version(u32),
    /// More packets, or longer ones, than anybody needs.
    #[error("the header has {packets} packets; 1 to {PACKETS_MAX} are allowed")]
    Packets {
        /// How many it says it has.
        packets: u32,
    },
    /// A packet with an impossible length.
    #[error("a header packet has {len} bytes; 4 to {PACKET_LEN_MAX} are allowed")]
    PacketLen {
        /// How many it says it has.
        len: u32,
    },
    /// None of its keys is for this reader.
    #[error("the file is not encrypted for this key")]
    NotForThisKey,
    /// A packet for this reader cannot be understood.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// More than one edit list, or one without lengths.
    #[error("the file has an edit list that says nothing, or more than one")]
    EditLists,
    /// It could not be read, or ends in its header.
    #[error("cannot read the file: {0}")]
    Read(#[from] io::Error),
}

/// Yields the plaintext of a Crypt4GH file.
///
/// A segment that was altered, or cut, is an error and yields nothing. Segments that are missing at the end, or stand in
/// another order, are not noticed: the format has no means to.
pub struct Decryptor<R> {
    from: R,
    ciphers: Vec<ChaCha20Poly1305>,
    edits: Edits,
    plain: Zeroizing<Vec<u8>>,
    /// What of it is kept and has not been read yet, and where the rest begins.
    kept: std::ops::Range<usize>,
    rest: usize,
}

impl<R> fmt::Debug for Decryptor<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decryptor(..)")
    }
}

impl<R: Read> Decryptor<R> {
    /// Reads a file's header with the secret of a reader.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(mut from: R, secret: &Secret32) -> Result<Self, OpenError> {
        let mut magic = [0; MAGIC.len()];
        match from.read_exact(&mut magic) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(OpenError::NotCrypt4gh),
            read => read?,
        }
        if magic != MAGIC {
            return Err(OpenError::NotCrypt4gh);
        }
        let version = number(&mut from)?;
        if version != VERSION {
            return Err(OpenError::Version(version));
        }
        let packets = number(&mut from)?;
        if !(1..=PACKETS_MAX).contains(&packets) {
            return Err(OpenError::Packets { packets });
        }
        let (mut ciphers, mut lengths) = (Vec::new(), None);
        for _ in 0..packets {
            let len = number(&mut from)?;
            if !(4..=PACKET_LEN_MAX).contains(&len) {
                return Err(OpenError::PacketLen { len });
            }
            let mut packet = Vec::new();
            from.by_ref().take(u64::from(len - 4)).read_to_end(&mut packet)?;
            if packet.len() as u64 != u64::from(len - 4) {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            match packet::open(&packet, secret)? {
                Some(Told::DataKey(key)) => ciphers.push(key.expose(|bytes| ChaCha20Poly1305::new(bytes.into()))),
                Some(Told::EditList(told)) if lengths.is_none() && !told.is_empty() => lengths = Some(told),
                Some(Told::EditList(_)) => return Err(OpenError::EditLists),
                // It is for another reader.
                None => {}
            }
        }
        if ciphers.is_empty() {
            return Err(OpenError::NotForThisKey);
        }
        let plain = Zeroizing::new(Vec::with_capacity(SEALED_LEN));
        Ok(Self { from, ciphers, edits: Edits::of(lengths), plain, kept: 0..0, rest: 0 })
    }

    /// Decrypts the next segment; whether there is one.
    fn segment(&mut self) -> io::Result<bool> {
        let mut sealed = Vec::with_capacity(SEALED_LEN);
        self.from.by_ref().take(SEALED_LEN as u64).read_to_end(&mut sealed)?;
        if sealed.is_empty() {
            return Ok(false);
        }
        let altered = || io::Error::new(io::ErrorKind::InvalidData, "a segment of the Crypt4GH file is altered or cut");
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(altered)?;
        // An empty segment says nothing, and no writer makes one.
        if sealed.len() <= TAG_LEN {
            return Err(altered());
        }
        for cipher in &self.ciphers {
            self.plain.clear();
            self.plain.extend_from_slice(sealed);
            if cipher.decrypt_in_place(&(*nonce).into(), b"", &mut *self.plain).is_ok() {
                (self.kept, self.rest) = (0..0, 0);
                return Ok(true);
            }
        }
        self.plain.clear();
        Err(altered())
    }
}

impl<R: Read> Read for Decryptor<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.kept.is_empty() {
            if self.edits.is_over() {
                return Ok(0);
            }
            if self.rest == self.plain.len() && !self.segment()? {
                return Ok(0);
            }
            let (kept, dealt_with) = self.edits.next(self.plain.len() - self.rest);
            self.kept = self.rest + kept.start..self.rest + kept.end;
            self.rest += dealt_with;
        }
        let len = into.len().min(self.kept.len());
        let (into, _) = into.split_at_mut(len);
        into.copy_from_slice(self.plain.get(self.kept.start..self.kept.start + len).unwrap_or_default());
        self.kept.start += len;
        Ok(len)
    }
}

fn number(from: &mut impl Read) -> Result<u32, OpenError> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}
