//! Timestamped Ed25519 cosignatures on notes.

use super::{KeyId, KeyName, NoteError};
use crate::sign::{PublicKey, Signature};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// The signature type of timestamped Ed25519 cosignatures.
const COSIGNATURE_V1: u8 = 0x04;

/// The last second that a cosignature may name.
const TIME_UNIX_S_MAX: u64 = i64::MAX as u64;

/// Why a text is not a verifier key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierKeyError {
    /// Not of the form `name+id+key`, or not of the only spelling.
    #[error("a verifier key is `name+key id in hexadecimal+base64`")]
    Malformed,
    /// A key of another kind than timestamped Ed25519 cosignatures.
    #[error("not a key for Ed25519 cosignatures")]
    OtherType,
    /// The key id does not follow from name and key.
    #[error("the key id belongs to another name or key")]
    WrongKeyId,
}

/// A cosigner's name and public key.
///
/// # Encoding
/// As text a C2SP verifier key: `name+hex(key id)+base64(0x04 ‖ key[32])`, where the key id is
/// `SHA-256(name ‖ 0x0a ‖ 0x04 ‖ key[32])[..4]`.
///
/// # Source
/// C2SP tlog-cosignature; C2SP signed-note
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignerKey {
    name: KeyName,
    key: PublicKey,
}

impl CosignerKey {
    /// The key that a cosigner of this name signs with.
    #[must_use]
    pub const fn new(name: KeyName, key: PublicKey) -> Self {
        Self { name, key }
    }

    /// The cosigner's name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The cosigner's public key.
    #[must_use]
    pub const fn key(&self) -> PublicKey {
        self.key
    }

    /// What stands for the key on a signature line.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        let hash = Sha256::new()
            .chain_update(self.name.as_str())
            .chain_update([b'\n', COSIGNATURE_V1])
            .chain_update(self.key.as_bytes())
            .finalize();
        let [a, b, c, d, ..] = <[u8; 32]>::from(hash);
        KeyId([a, b, c, d])
    }

    /// Whether this key cosigned `text` at the signature's time.
    ///
    /// # Security
    /// Plain Ed25519 of RFC 8032 under the strict rules: weak keys and malleable signatures fail.
    #[must_use]
    pub fn verify(&self, text: &str, signed: &TimedSignature) -> bool {
        let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(self.key.as_bytes()) else { return false };
        let signature = ed25519_dalek::Signature::from_bytes(signed.signature.as_bytes());
        signed.time_unix_s <= TIME_UNIX_S_MAX
            && key.verify_strict(&cosigned_message(text, signed.time_unix_s), &signature).is_ok()
    }
}

impl fmt::Display for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = BASE64.encode([&[COSIGNATURE_V1], &self.key.as_bytes()[..]].concat());
        write!(f, "{}+{}+{key}", self.name.as_str(), self.key_id())
    }
}

impl FromStr for CosignerKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        // Base64 may have plus signs of its own, so only the first two separate.
        let mut parts = text.splitn(3, '+');
        let mut part = || parts.next().ok_or(VerifierKeyError::Malformed);
        let (name, key_id, key) = (part()?, part()?, part()?);
        let name = KeyName::new(name).map_err(|_: NoteError| VerifierKeyError::Malformed)?;
        let key = BASE64.decode(key).map_err(|_| VerifierKeyError::Malformed)?;
        let (kind, key) = key.split_first().ok_or(VerifierKeyError::Malformed)?;
        if *kind != COSIGNATURE_V1 {
            return Err(VerifierKeyError::OtherType);
        }
        let key = PublicKey::new(key.try_into().map_err(|_| VerifierKeyError::Malformed)?);
        let parsed = Self { name, key };
        if parsed.key_id().to_string() == key_id { Ok(parsed) } else { Err(VerifierKeyError::WrongKeyId) }
    }
}

/// A signature together with the second it was made in.
///
/// # Encoding
/// `time u64-be ‖ signature[64]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedSignature {
    /// When it was made, in seconds since 1970-01-01T00:00:00Z.
    pub time_unix_s: u64,
    /// The signature over [`cosigned_message`].
    pub signature: Signature,
}

impl TimedSignature {
    /// The bytes that follow the key id on a signature line.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.time_unix_s.to_be_bytes()[..], self.signature.as_bytes()].concat()
    }

    /// Reads the bytes that follow the key id on a signature line.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (time, signature) = bytes.split_first_chunk::<8>()?;
        let signature = Signature::new(signature.try_into().ok()?);
        Some(Self { time_unix_s: u64::from_be_bytes(*time), signature })
    }
}

/// The bytes that a cosigner signs.
///
/// # Encoding
/// `cosignature/v1\n`, `time <seconds>\n`, then the whole text of the note.
#[must_use]
pub fn cosigned_message(text: &str, time_unix_s: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time_unix_s}\n{text}").into_bytes()
}
