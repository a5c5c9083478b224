//! Remarks: a requester's reason and a reviewer's comment, beside the ledger and for the parties alone.
//!
//! A text is encrypted once, under a key of its own, and that key is sealed to each reader's signing key in
//! its form for X25519. The author signs the whole, with a salted commitment to the text inside: all readers
//! read the same text, and it is the one that a request on the ledger commits to. Whoever keeps a remark
//! sees who wrote it to whom, and roughly how long it is.
//!
//! An author takes a remark back by signing that. What was taken back never comes again.
//!
//! # Source
//! docs/spec/remark.md; docs/adr/0009-remarks.md; [RFC 9180](https://www.rfc-editor.org/rfc/rfc9180) (HPKE)

mod keys;
mod open;
mod text;

#[cfg(test)]
mod tests;

pub use open::OpenError;
pub use text::{PlainRemark, TextError};

use crate::keys::bound;
use borsh::{BorshDeserialize, BorshSerialize};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use dmdl_types::{
    codec,
    id::{NoteCommitment, TransactionId},
    invocation::{Access, Invocation},
    label, limits,
    sign::{Domain, Meaning, PublicKey, Signature, SigningKey},
    transaction::TransactionBody,
};
use hpke::{
    Deserializable as _, OpModeS, Serializable as _, aead::ChaCha20Poly1305 as HpkeCipher, kdf::HkdfSha256,
    kem::X25519HkdfSha256, single_shot_seal_with_rng,
};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// The only suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305 for both ciphers.
const SUITE: u8 = 1;
const TAG_LEN: usize = 16;
/// A sealed key: 32 bytes and a tag.
const SEALED_KEY_LEN: usize = 32 + TAG_LEN;

const SEALED: Meaning = Meaning { label: label::REMARK_SIGNATURE, kind: 0, version: 1 };
const WITHDRAWN: Meaning = Meaning { label: label::REMARK_SIGNATURE, kind: 1, version: 1 };

type Kem = X25519HkdfSha256;

/// Largest encoded remark.
pub const REMARK_BYTES_MAX: usize =
    1 + 1 + 32 + 32 + 32 + 4 + limits::REMARK_READERS * ReaderKey::LEN + 4 + text::PADDED_LEN_MAX + TAG_LEN + 64;

/// Why something is no remark of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemarkError {
    /// An unknown suite, too many or unsorted readers, or a length that no text gives.
    #[error("the remark is not well formed")]
    Malformed,
    /// Not signed by the one whom it names.
    #[error("the remark is not signed by its author")]
    NotSigned,
    /// It names another transaction.
    #[error("the remark is of another transaction")]
    OtherTransaction,
    /// Its author is not that of the transaction.
    #[error("only the author of a transaction remarks on it")]
    OtherAuthor,
    /// The transaction is neither a request nor a review.
    #[error("the transaction takes no remark")]
    NoPlace,
    /// The text is not the one that the transaction commits to.
    #[error("the remark is not the one that the transaction commits to")]
    OtherCommitment,
}

/// Why a remark is not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// There are no readers, or too many.
    #[error("a remark has 1 to {} readers", limits::REMARK_READERS)]
    Readers,
    /// A reader's key cannot be sealed to.
    #[error("the key `{0}` cannot be sealed to")]
    Key(PublicKey),
    /// The cipher refused.
    #[error("sealing failed")]
    Failed,
}

/// What a remark is bound to. The transaction's id covers record, request and contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize)]
struct Context {
    domain: Domain,
    transaction: TransactionId,
    author: PublicKey,
}

/// The key of a remark's text, sealed to one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct ReaderKey {
    reader: PublicKey,
    enc: [u8; 32],
    key: [u8; SEALED_KEY_LEN],
}

impl ReaderKey {
    const LEN: usize = 32 + 32 + SEALED_KEY_LEN;
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Sealed {
    suite: u8,
    transaction: TransactionId,
    author: PublicKey,
    commitment: NoteCommitment,
    readers: Vec<ReaderKey>,
    ciphertext: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Withdrawn {
    transaction: TransactionId,
    author: PublicKey,
}

/// A remark as it came, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Remark {
    body: Body,
    signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
enum Body {
    /// A text for its readers.
    Sealed(Sealed),
    /// The author took it back.
    Withdrawn(Withdrawn),
}

/// A remark that its author has signed.
///
/// Only [`SignedRemark::seal`], [`SignedRemark::withdraw`] and [`Remark::verify`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRemark(Remark);

impl Remark {
    /// Checks what can be seen without a reader's key.
    ///
    /// # Errors
    /// [`RemarkError`].
    pub fn verify(self, domain: &Domain) -> Result<SignedRemark, RemarkError> {
        let (author, meaning, body) = match &self.body {
            Body::Sealed(sealed) => {
                sealed.check()?;
                (sealed.author, SEALED, codec::encode(sealed))
            }
            Body::Withdrawn(withdrawn) => (withdrawn.author, WITHDRAWN, codec::encode(withdrawn)),
        };
        if author.verify(domain, meaning, &body, &self.signature) {
            Ok(SignedRemark(self))
        } else {
            Err(RemarkError::NotSigned)
        }
    }
}

impl Sealed {
    fn check(&self) -> Result<(), RemarkError> {
        let rises = self.readers.is_sorted_by(|a, b| a.reader < b.reader);
        let padded = self.ciphertext.len().checked_sub(TAG_LEN).is_some_and(text::is_padded_len);
        let count = (1..=limits::REMARK_READERS).contains(&self.readers.len());
        if self.suite == SUITE && count && rises && padded { Ok(()) } else { Err(RemarkError::Malformed) }
    }

    const fn context(&self, domain: Domain) -> Context {
        Context { domain, transaction: self.transaction, author: self.author }
    }
}

impl SignedRemark {
    /// Seals a text to its readers; whoever stands twice among them is one.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(
        rng: &mut impl CryptoRng,
        author: &SigningKey,
        domain: &Domain,
        transaction: TransactionId,
        plain: &PlainRemark,
        readers: impl IntoIterator<Item = PublicKey>,
    ) -> Result<Self, SealError> {
        let mut readers: Vec<PublicKey> = readers.into_iter().collect();
        readers.sort_unstable();
        readers.dedup();
        if !(1..=limits::REMARK_READERS).contains(&readers.len()) {
            return Err(SealError::Readers);
        }
        let context = Context { domain: *domain, transaction, author: author.public() };
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(key.as_mut_slice());
        let payload = Payload { msg: &plain.padded(), aad: &text_data(&context) };
        // The nonce is constant because no key encrypts twice.
        let ciphertext = ChaCha20Poly1305::new((&*key).into()).encrypt(&Nonce::default(), payload);
        let readers = readers.into_iter().map(|reader| seal_key(rng, &key, &context, reader));
        let sealed = Sealed {
            suite: SUITE,
            transaction,
            author: context.author,
            commitment: plain.commitment(),
            readers: readers.collect::<Result<_, _>>()?,
            ciphertext: ciphertext.map_err(|_| SealError::Failed)?,
        };
        let signature = author.sign(domain, SEALED, &codec::encode(&sealed));
        Ok(Self(Remark { body: Body::Sealed(sealed), signature }))
    }

    /// Takes the remark on a transaction back, whether there is one or not.
    #[must_use]
    pub fn withdraw(author: &SigningKey, domain: &Domain, transaction: TransactionId) -> Self {
        let withdrawn = Withdrawn { transaction, author: author.public() };
        let signature = author.sign(domain, WITHDRAWN, &codec::encode(&withdrawn));
        Self(Remark { body: Body::Withdrawn(withdrawn), signature })
    }

    /// The transaction that it remarks on.
    #[must_use]
    pub const fn transaction(&self) -> TransactionId {
        match &self.0.body {
            Body::Sealed(sealed) => sealed.transaction,
            Body::Withdrawn(withdrawn) => withdrawn.transaction,
        }
    }

    /// Who wrote it.
    #[must_use]
    pub const fn author(&self) -> PublicKey {
        match &self.0.body {
            Body::Sealed(sealed) => sealed.author,
            Body::Withdrawn(withdrawn) => withdrawn.author,
        }
    }

    /// Whether its author took it back.
    #[must_use]
    pub const fn is_withdrawn(&self) -> bool {
        matches!(self.0.body, Body::Withdrawn(_))
    }

    /// Checks that it is what its transaction has place for: the author's own word on a request or a
    /// review, and on a request the one that was committed to.
    ///
    /// # Errors
    /// [`RemarkError`].
    pub fn check_place(&self, body: &TransactionBody) -> Result<(), RemarkError> {
        if body.id() != self.transaction() {
            return Err(RemarkError::OtherTransaction);
        }
        if body.authors.first() != Some(&self.author()) {
            return Err(RemarkError::OtherAuthor);
        }
        match (&body.invocation, &self.0.body) {
            (Invocation::Access(Access::Request { reason, .. }), Body::Sealed(sealed))
                if *reason != sealed.commitment =>
            {
                Err(RemarkError::OtherCommitment)
            }
            (Invocation::Access(Access::Request { .. } | Access::Approve { .. } | Access::Deny { .. }), _) => Ok(()),
            _ => Err(RemarkError::NoPlace),
        }
    }

    /// The remark as it travels.
    #[must_use]
    pub const fn remark(&self) -> &Remark {
        &self.0
    }
}

fn seal_key(
    rng: &mut impl CryptoRng,
    key: &[u8; 32],
    context: &Context,
    reader: PublicKey,
) -> Result<ReaderKey, SealError> {
    let public = keys::x25519_of(&reader).ok_or(SealError::Key(reader))?;
    let public = <Kem as hpke::Kem>::PublicKey::from_bytes(&public).map_err(|_| SealError::Key(reader))?;
    let info = key_info(context, &reader);
    let (enc, sealed) =
        single_shot_seal_with_rng::<HpkeCipher, HkdfSha256, Kem>(&OpModeS::Base, &public, &info, key, b"", rng)
            .map_err(|_| SealError::Failed)?;
    let sealed = sealed.try_into().map_err(|_| SealError::Failed)?;
    Ok(ReaderKey { reader, enc: enc.to_bytes().into(), key: sealed })
}

/// What a sealed key is bound to.
fn key_info(context: &Context, reader: &PublicKey) -> Vec<u8> {
    bound(label::REMARK_SEAL, &(context, reader))
}

/// What an encrypted text is bound to.
fn text_data(context: &Context) -> Vec<u8> {
    bound(label::REMARK_TEXT, context)
}
