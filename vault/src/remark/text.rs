//! A remark's text, and the few lengths that it can have once it is sealed.

use dmdl_types::{id::NoteCommitment, limits, text::is_hidden};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

const SALT_LEN: usize = 32;
/// Salt and length come before the text.
const HEAD_LEN: usize = SALT_LEN + 2;
/// The lengths of padded texts: a text is in the shortest that it fits into.
const PADDED_LENS: [usize; 3] = [256, 1024, PADDED_LEN_MAX];
pub(super) const PADDED_LEN_MAX: usize = limits::REMARK_BYTES + 256;

const _: () = assert!(HEAD_LEN + limits::REMARK_BYTES <= PADDED_LEN_MAX && limits::REMARK_BYTES <= u16::MAX as usize);

/// Why a text is no remark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// Nothing is said.
    #[error("the text is empty")]
    Empty,
    /// Too long a text.
    #[error("the text is longer than {} bytes", limits::REMARK_BYTES)]
    TooLong,
    /// A character that steers a screen or is not seen.
    #[error("the text has control characters or ones that are not seen")]
    Control,
}

/// A text with the salt of its commitment.
pub struct PlainRemark {
    salt: Zeroizing<[u8; SALT_LEN]>,
    text: Zeroizing<String>,
}

impl std::fmt::Debug for PlainRemark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PlainRemark(redacted)")
    }
}

impl PlainRemark {
    /// A text to be committed to and sealed.
    ///
    /// # Errors
    /// [`TextError`].
    pub fn new(rng: &mut impl CryptoRng, text: &str) -> Result<Self, TextError> {
        check(text)?;
        let mut salt = Zeroizing::new([0; SALT_LEN]);
        rng.fill_bytes(salt.as_mut_slice());
        Ok(Self { salt, text: Zeroizing::new(text.to_owned()) })
    }

    /// What may stand on the ledger for the text.
    #[must_use]
    pub fn commitment(&self) -> NoteCommitment {
        NoteCommitment::of(&self.salt, &self.text)
    }

    /// `salt[32] ‖ length u16 ‖ text ‖ zeros`
    pub(super) fn padded(&self) -> Zeroizing<Vec<u8>> {
        let len = PADDED_LENS.into_iter().find(|len| HEAD_LEN + self.text.len() <= *len).unwrap_or(PADDED_LEN_MAX);
        let mut padded = Zeroizing::new(Vec::with_capacity(len));
        padded.extend_from_slice(self.salt.as_slice());
        // INVARIANT: no text is longer than a remark may be.
        padded.extend_from_slice(&u16::try_from(self.text.len()).unwrap_or(u16::MAX).to_le_bytes());
        padded.extend_from_slice(self.text.as_bytes());
        padded.resize(len, 0);
        padded
    }

    /// Reads a padded text; none when it is not the one spelling of a text.
    pub(super) fn unpad(padded: &[u8]) -> Option<Self> {
        let (salt, rest) = padded.split_first_chunk::<SALT_LEN>()?;
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let text = rest.get(..usize::from(u16::from_le_bytes(*len)))?;
        let text = std::str::from_utf8(text).ok()?;
        check(text).ok()?;
        let plain = Self { salt: Zeroizing::new(*salt), text: Zeroizing::new(text.to_owned()) };
        (plain.padded().as_slice() == padded).then_some(plain)
    }

    pub(super) fn into_text(self) -> String {
        self.text.to_string()
    }
}

pub(super) fn is_padded_len(len: usize) -> bool {
    PADDED_LENS.contains(&len)
}

fn check(text: &str) -> Result<(), TextError> {
    if text.trim().is_empty() {
        return Err(TextError::Empty);
    }
    if text.len() > limits::REMARK_BYTES {
        return Err(TextError::TooLong);
    }
    let steers = |c: char| is_hidden(c) && c != '\n' && c != '\t';
    if text.chars().any(steers) { Err(TextError::Control) } else { Ok(()) }
}
