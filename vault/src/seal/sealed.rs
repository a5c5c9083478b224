//! The sealed bytes, and the one HPKE suite behind them.

use super::SealError;
use crate::share::Share;
use borsh::{BorshDeserialize, BorshSerialize, io};
use dmdl_types::{
    codec::{self, DecodeError},
    custody::SealedBytes,
    hash, label,
    secret::Secret32,
};
use hpke::{
    Deserializable as _, OpModeR, OpModeS, Serializable as _, aead::ChaCha20Poly1305, kdf::HkdfSha256,
    kem::X25519HkdfSha256, single_shot_open, single_shot_seal_with_rng,
};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

type Kem = X25519HkdfSha256;
type PublicKey = <Kem as hpke::Kem>::PublicKey;
type PrivateKey = <Kem as hpke::Kem>::PrivateKey;
type EncappedKey = <Kem as hpke::Kem>::EncappedKey;

/// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305. Suite 2 is reserved for X-Wing.
const SUITE: u8 = 1;

/// Length of a sealed share's ciphertext: the share and a 16-byte tag.
const CIPHERTEXT_LEN: usize = Share::LEN + 16;

/// A share, sealed to a one-time key.
///
/// # Encoding
/// `suite u8 ‖ enc[32] ‖ ciphertext[81]`: the suite fixes both lengths. An unknown suite is refused.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct SealedShare {
    suite: u8,
    enc: [u8; 32],
    ciphertext: [u8; CIPHERTEXT_LEN],
}

impl SealedShare {
    /// Length of an encoded sealed share.
    pub const LEN: usize = 33 + CIPHERTEXT_LEN;

    /// Decodes a sealed share from the bytes that travel.
    ///
    /// # Errors
    /// [`DecodeError`] when the suite is unknown or the length is not the suite's.
    pub fn from_bytes(bytes: &SealedBytes) -> Result<Self, DecodeError> {
        codec::decode(&bytes.0, Self::LEN)
    }

    /// The bytes that travel.
    #[must_use]
    pub fn to_bytes(&self) -> SealedBytes {
        SealedBytes(codec::encode(self))
    }

    /// What stands for this seal on the ledger.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest(&self.to_bytes())
    }

    pub(super) fn seal(
        rng: &mut impl CryptoRng,
        plain: &[u8; Share::LEN],
        info: &[u8],
        public: &[u8; 32],
    ) -> Result<Self, SealError> {
        let public = PublicKey::from_bytes(public).map_err(|_| SealError::Failed)?;
        // The crate rejects an all-zero shared secret, as RFC 9180 section 7.1.4 demands.
        let (enc, ciphertext) = single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeS::Base,
            &public,
            info,
            plain,
            b"",
            rng,
        )
        .map_err(|_| SealError::Failed)?;
        let ciphertext = ciphertext.try_into().map_err(|_| SealError::Failed)?;
        Ok(Self { suite: SUITE, enc: enc.to_bytes().into(), ciphertext })
    }

    pub(super) fn open(&self, info: &[u8], secret: &Secret32) -> Option<Zeroizing<Vec<u8>>> {
        let secret = secret.expose(|bytes| PrivateKey::from_bytes(bytes)).ok()?;
        let enc = EncappedKey::from_bytes(&self.enc).ok()?;
        single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Base,
            &secret,
            &enc,
            info,
            &self.ciphertext,
            b"",
        )
        .ok()
        .map(Zeroizing::new)
    }
}

/// What stands for sealed bytes on the ledger: their hash, whether or not they are a sealed share.
#[must_use]
pub fn digest(sealed: &SealedBytes) -> [u8; 32] {
    hash::labelled(label::SEALED_SHARE, &[&sealed.0])
}

impl BorshDeserialize for SealedShare {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let suite = u8::deserialize_reader(reader)?;
        if suite != SUITE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "unknown suite"));
        }
        Ok(Self {
            suite,
            enc: BorshDeserialize::deserialize_reader(reader)?,
            ciphertext: BorshDeserialize::deserialize_reader(reader)?,
        })
    }
}

#[cfg(test)]
mod tests;
