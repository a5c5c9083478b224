//! Reading a remark.

use super::{Body, Kem, PlainRemark, SignedRemark, key_info, keys, text_data};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use dmdl_types::sign::{Domain, SigningKey};
use hpke::{Deserializable as _, OpModeR, aead::ChaCha20Poly1305 as HpkeCipher, kdf::HkdfSha256, single_shot_open};
use zeroize::Zeroizing;

/// Why somebody does not read a remark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Its author took it back.
    #[error("its author took the remark back")]
    Withdrawn,
    /// It is sealed to others.
    #[error("the remark is not sealed to this reader")]
    NotAReader,
    /// What its author sealed does not open, or is not what they committed to.
    #[error("the remark does not open as its author committed to it")]
    NotOpened,
}

impl SignedRemark {
    /// Opens the remark as one of its readers, and checks the text against its commitment.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, domain: &Domain, reader: &SigningKey) -> Result<String, OpenError> {
        let Body::Sealed(sealed) = &self.0.body else { return Err(OpenError::Withdrawn) };
        let mine = sealed.readers.iter().find(|one| one.reader == reader.public()).ok_or(OpenError::NotAReader)?;
        let context = sealed.context(*domain);
        let secret = keys::x25519_secret(reader);
        let secret = secret.expose(|bytes| <Kem as hpke::Kem>::PrivateKey::from_bytes(bytes));
        let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(&mine.enc);
        let (Ok(secret), Ok(enc)) = (secret, enc) else { return Err(OpenError::NotOpened) };
        let info = key_info(&context, &mine.reader);
        let key = single_shot_open::<HpkeCipher, HkdfSha256, Kem>(&OpModeR::Base, &secret, &enc, &info, &mine.key, b"");
        let key = Zeroizing::new(key.map_err(|_| OpenError::NotOpened)?);
        let key: &[u8; 32] = key.as_slice().try_into().map_err(|_| OpenError::NotOpened)?;

        let payload = Payload { msg: &sealed.ciphertext, aad: &text_data(&context) };
        let text = ChaCha20Poly1305::new(key.into()).decrypt(&Nonce::default(), payload);
        let text = Zeroizing::new(text.map_err(|_| OpenError::NotOpened)?);
        let plain = PlainRemark::unpad(&text).ok_or(OpenError::NotOpened)?;
        if plain.commitment() == sealed.commitment { Ok(plain.into_text()) } else { Err(OpenError::NotOpened) }
    }
}
