//! The sealed bytes of a record: a payload.
//!
//! A payload is a C2SP `chunked-encryption` message with HKDF-Expand-SHA-512 and AES-256-GCM: a
//! header that commits to the key, then chunks of 16 KiB, each with its own tag, the last one always
//! shorter. So a payload is sealed and opened in constant memory, any range of it opens alone, and a
//! changed, moved, missing or added chunk is refused before one byte of it comes out.
//!
//! One file per section of the specification: [`layout`] (lengths and offsets), [`header`] (key
//! derivation and commitment), [`aead`] (the cipher), [`seal`], [`open`], [`range`] (random access),
//! [`file`] (plaintext that appears whole or not at all).
//!
//! # Security
//! A payload alone does not tell its true length; the ledger does. Opening needs the ledger's
//! [`PayloadEntry`] and never judges truncation by the end of a file.
//!
//! # Source
//! docs/spec/payload.md v1; <https://c2sp.org/chunked-encryption>

pub mod aead;
#[cfg(not(target_arch = "wasm32"))]
pub mod file;
pub mod header;
pub mod layout;
pub mod open;
pub mod range;
pub mod seal;
#[cfg(test)]
mod tests;

pub use aead::Backend;
pub use header::Header;
pub use layout::{Layout, LayoutError};
pub use open::{CommittedKey, OpenError, Opener, open};
pub use range::{RangePlan, open_range};
pub use seal::{SealError, Sealed, Sealer, seal};

use dmdl_types::{id::PayloadDigest, invocation::PayloadInfo};
use std::io::{self, Read};

/// How a payload was sealed. The byte is on the ledger; the payload itself does not carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Suite {
    /// HKDF-Expand-SHA-512 and AES-256-GCM in chunks of 16 KiB.
    Aes256Gcm = 1,
}

/// A suite byte that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("payload suite `{0}` is not supported")]
pub struct UnsupportedSuite(pub u8);

impl Suite {
    /// The suite's byte.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

impl TryFrom<u8> for Suite {
    type Error = UnsupportedSuite;

    fn try_from(byte: u8) -> Result<Self, UnsupportedSuite> {
        match byte {
            1 => Ok(Self::Aes256Gcm),
            other => Err(UnsupportedSuite(other)),
        }
    }
}

/// What the ledger says of a payload; opening believes nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadEntry {
    /// The suite byte, as registered.
    pub suite: u8,
    /// BLAKE3 of all bytes of the payload.
    pub digest: PayloadDigest,
    /// How many bytes the payload has.
    pub ciphertext_len_bytes: u64,
    /// The commitment to the payload's key.
    pub key_commitment: [u8; 32],
}

/// A padding byte that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("payload padding `{0}` is not supported")]
pub struct UnsupportedPadding(pub u8);

impl TryFrom<&PayloadInfo> for PayloadEntry {
    type Error = UnsupportedPadding;

    /// The entry of a registered payload. Padded plaintext is refused: this version would hand it
    /// out with its padding.
    fn try_from(info: &PayloadInfo) -> Result<Self, UnsupportedPadding> {
        let PayloadInfo { suite, digest, ciphertext_len_bytes, key_commitment, padding } = *info;
        if padding != 0 {
            return Err(UnsupportedPadding(padding));
        }
        Ok(Self { suite, digest, ciphertext_len_bytes, key_commitment })
    }
}

impl From<PayloadEntry> for PayloadInfo {
    /// The entry as it is registered: without padding.
    fn from(entry: PayloadEntry) -> Self {
        let PayloadEntry { suite, digest, ciphertext_len_bytes, key_commitment } = entry;
        Self { suite, digest, ciphertext_len_bytes, key_commitment, padding: 0 }
    }
}

/// Reads until `buffer` is full or the input ends, and returns what came.
fn read_up_to<'a>(reader: &mut impl Read, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match reader.read(room) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.get(..filled).unwrap_or_default())
}
