//! Signed notes: text with signature lines under it, as transparency logs exchange them.
//!
//! Reading is strict: one note has one spelling, and what is read is printed again byte for byte.
//! The only signatures of ours on notes are cosignatures ([`CosignerKey`]).
//!
//! # Encoding
//! `text` ending in a newline, an empty line, then lines `— <name> <base64(key id[4] ‖ signature)>`.
//!
//! # Source
//! C2SP signed-note; docs/spec/checkpoint.md

mod cosigner;
pub(crate) mod lines;

#[cfg(test)]
mod tests;

pub use cosigner::{CosignerKey, TimedSignature, VerifierKeyError, cosigned_message};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use borsh::{BorshDeserialize, BorshSerialize};
use std::fmt;

/// The longest note that is read, in bytes.
pub const NOTE_LEN_BYTES_MAX: usize = 1_000_000;

/// The most signature lines that a note has.
pub const SIGNATURES_MAX: usize = 100;

/// Begins a signature line: an em dash and a space.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// Why bytes are not a signed note.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The note exceeds [`NOTE_LEN_BYTES_MAX`].
    #[error("a note has at most {NOTE_LEN_BYTES_MAX} bytes")]
    TooLong,
    /// Not UTF-8, or a control character other than a newline.
    #[error("a note is UTF-8 text without control characters")]
    NotText,
    /// No empty line sets signatures off from the text.
    #[error("the note has no signatures")]
    NoSignatures,
    /// More than [`SIGNATURES_MAX`] signatures.
    #[error("a note has at most {SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// A signature line is none.
    #[error("signature line {number} is malformed")]
    SignatureLine {
        /// Which line, from 1.
        number: usize,
    },
    /// A key name is empty, or has a space, a plus sign or a control character.
    #[error("a key name is not empty and has no spaces, plus signs or control characters")]
    KeyName,
}

/// The first bytes of the hash that stands for a key on a signature line.
///
/// # Security
/// Four bytes identify a key among known ones; they do not prove that it is the one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// The key id with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The name of a key: not empty, without spaces, plus signs and control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`NoteError::KeyName`] when the text is none.
    pub fn new(text: impl Into<String>) -> Result<Self, NoteError> {
        let text = text.into();
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if text.is_empty() || text.contains(forbidden) { Err(NoteError::KeyName) } else { Ok(Self(text)) }
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<crate::id::NodeId> for KeyName {
    /// A node cosigns under its id in hexadecimal.
    fn from(node: crate::id::NodeId) -> Self {
        Self(node.to_string())
    }
}

/// One signature line of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    /// Who signed.
    pub name: KeyName,
    /// With which key.
    pub key_id: KeyId,
    /// The signature in its algorithm's own form.
    pub signature: Vec<u8>,
}

impl SignatureLine {
    /// Parses a line without its newline.
    fn parse(line: &str) -> Option<Self> {
        let (name, blob) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
        let blob = BASE64.decode(blob).ok()?;
        let (key_id, signature) = blob.split_first_chunk::<4>()?;
        if signature.is_empty() {
            return None;
        }
        Some(Self { name: KeyName::new(name).ok()?, key_id: KeyId(*key_id), signature: signature.to_vec() })
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = BASE64.encode([&self.key_id.0[..], &self.signature].concat());
        writeln!(f, "{SIGNATURE_MARK}{} {blob}", self.name.0)
    }
}

/// A text with signatures that nobody has verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<SignatureLine>,
}

impl Note {
    /// Parses a note.
    ///
    /// # Errors
    /// [`NoteError`] when the bytes are not exactly what a note prints as.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_LEN_BYTES_MAX {
            return Err(NoteError::TooLong);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        if note.contains(|c: char| c.is_control() && c != '\n') {
            return Err(NoteError::NotText);
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        if lines.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        if lines.lines().count() > SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        let signatures = lines
            .split_inclusive('\n')
            .enumerate()
            .map(|(i, line)| {
                let parsed = line.strip_suffix('\n').and_then(SignatureLine::parse);
                parsed.ok_or(NoteError::SignatureLine { number: i + 1 })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The signed text, with its last newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, in their order.
    #[must_use]
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// A note of parts that are known to be well-formed.
    pub(crate) const fn of_parts(text: String, signatures: Vec<SignatureLine>) -> Self {
        Self { text, signatures }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| line.fmt(f))
    }
}
