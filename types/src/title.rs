//! Titles of records: text in the members' catalogue, beside the ledger, which its owner can take back.
//!
//! # Source
//! docs/spec/remark.md

use crate::{
    codec,
    id::{RecordId, UnixMillis},
    label, limits,
    sign::{Domain, Meaning, PublicKey, Signature, SigningKey},
    text::is_hidden,
};
use borsh::{BorshDeserialize, BorshSerialize};

const TITLE: Meaning = Meaning::v1(label::TITLE_SIGNATURE);

/// Why something is no title.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TitleError {
    /// Too long a text.
    #[error("a title has at most {} bytes", limits::TITLE_BYTES)]
    TooLong,
    /// More than one line, or a character that steers a screen or is not seen.
    #[error("a title is one line, without control characters or ones that are not seen")]
    Control,
    /// Not signed by the one whom it names.
    #[error("the title is not signed by its author")]
    NotSigned,
}

/// What an owner calls a record, or that it has no title any more: of two, the later one counts.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Title {
    record: RecordId,
    author: PublicKey,
    time: UnixMillis,
    text: String,
    signature: Signature,
}

/// A title that its author has signed.
///
/// Only [`Title::sign`] and [`Title::verify`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTitle(Title);

impl Title {
    /// A title as it came, not yet verified. An empty text takes the title back.
    #[must_use]
    pub const fn new(
        record: RecordId,
        author: PublicKey,
        time: UnixMillis,
        text: String,
        signature: Signature,
    ) -> Self {
        Self { record, author, time, text, signature }
    }

    /// Checks that a text may be a title: one short line.
    ///
    /// # Errors
    /// [`TitleError`].
    pub fn check_text(text: &str) -> Result<(), TitleError> {
        if text.len() > limits::TITLE_BYTES {
            return Err(TitleError::TooLong);
        }
        if text.chars().any(is_hidden) { Err(TitleError::Control) } else { Ok(()) }
    }

    /// Titles a record. An empty text takes the title back.
    ///
    /// # Errors
    /// [`TitleError`] when the text is too long or not one line.
    pub fn sign(
        key: &SigningKey,
        domain: &Domain,
        record: RecordId,
        time: UnixMillis,
        text: &str,
    ) -> Result<SignedTitle, TitleError> {
        Self::check_text(text)?;
        let signature = key.sign(domain, TITLE, &body(record, time, text));
        Ok(SignedTitle(Self::new(record, key.public(), time, text.to_owned(), signature)))
    }

    /// The record that it names.
    #[must_use]
    pub const fn record(&self) -> RecordId {
        self.record
    }

    /// Checks the text and the signature.
    ///
    /// # Errors
    /// [`TitleError`].
    pub fn verify(self, domain: &Domain) -> Result<SignedTitle, TitleError> {
        Self::check_text(&self.text)?;
        let body = body(self.record, self.time, &self.text);
        if self.author.verify(domain, TITLE, &body, &self.signature) {
            Ok(SignedTitle(self))
        } else {
            Err(TitleError::NotSigned)
        }
    }
}

impl SignedTitle {
    /// The record.
    #[must_use]
    pub const fn record(&self) -> RecordId {
        self.0.record
    }

    /// Who gave the title.
    #[must_use]
    pub const fn author(&self) -> PublicKey {
        self.0.author
    }

    /// When, by the author's clock.
    #[must_use]
    pub const fn time(&self) -> UnixMillis {
        self.0.time
    }

    /// The text; empty when the title was taken back.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The author's signature.
    #[must_use]
    pub const fn signature(&self) -> Signature {
        self.0.signature
    }

    /// Whether it takes a title back.
    #[must_use]
    pub const fn is_withdrawn(&self) -> bool {
        self.0.text.is_empty()
    }

    /// Whether this one counts where `other` was there before: at one time, the one that takes back, and then
    /// the larger bytes.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        (self.0.time, self.is_withdrawn(), &self.0.text, self.0.signature)
            > (other.0.time, other.is_withdrawn(), &other.0.text, other.0.signature)
    }

    /// The title as it travels.
    #[must_use]
    pub const fn title(&self) -> &Title {
        &self.0
    }
}

/// What is signed: `record[32] ‖ time u64 ‖ text String`.
fn body(record: RecordId, time: UnixMillis, text: &str) -> Vec<u8> {
    codec::encode(&(record, time, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{ChannelId, NetworkId},
        secret::Secret32,
    };

    fn domain(n: u8) -> Domain {
        Domain { network: NetworkId::new([n; 32]), channel: ChannelId::new([2; 32]) }
    }

    fn signed(time: u64, text: &str) -> SignedTitle {
        let key = SigningKey::from_seed(Secret32::new([7; 32]));
        Title::sign(&key, &domain(1), RecordId::new([3; 32]), UnixMillis::new(time), text).unwrap()
    }

    #[test]
    fn a_title_is_of_one_record_at_one_time_on_one_channel() {
        let title = signed(5, "CT of the chest").title().clone();
        assert!(title.clone().verify(&domain(1)).is_ok());
        assert_eq!(title.clone().verify(&domain(2)), Err(TitleError::NotSigned));
        let changes: [fn(&mut Title); 4] = [
            |title| title.record = RecordId::new([4; 32]),
            |title| title.time = UnixMillis::new(6),
            |title| title.text.push('.'),
            |title| title.author = SigningKey::from_seed(Secret32::new([8; 32])).public(),
        ];
        for change in changes {
            let mut changed = title.clone();
            change(&mut changed);
            assert_eq!(changed.verify(&domain(1)), Err(TitleError::NotSigned));
        }
    }

    #[test]
    fn a_title_is_one_short_line() {
        let key = SigningKey::from_seed(Secret32::new([7; 32]));
        let sign =
            |text: &str| Title::sign(&key, &domain(1), RecordId::new([3; 32]), UnixMillis::new(1), text).map(drop);
        assert_eq!(sign(&"x".repeat(limits::TITLE_BYTES)), Ok(()));
        assert_eq!(sign(&"x".repeat(limits::TITLE_BYTES + 1)), Err(TitleError::TooLong));
        for bad in ["a\nb", "a\u{1b}[2J", "\u{0}", "a\u{85}", "a\u{202e}b", "a\u{200b}b"] {
            assert_eq!(sign(bad), Err(TitleError::Control), "{bad:?}");
        }
    }

    #[test]
    fn of_two_titles_the_later_one_counts_wherever_they_meet() {
        let (first, second) = (signed(5, "first"), signed(6, ""));
        assert!(second.supersedes(&first) && !first.supersedes(&second) && !first.supersedes(&first));
        let (a, b) = (signed(5, "a"), signed(5, "b"));
        assert!(b.supersedes(&a) && !a.supersedes(&b));
        // Even a title from the end of time can be taken back.
        let (last, withdrawn) = (signed(u64::MAX, "last"), signed(u64::MAX, ""));
        assert!(withdrawn.supersedes(&last) && !last.supersedes(&withdrawn));
    }
}
