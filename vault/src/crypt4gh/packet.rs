//! Header packets: each sealed to one reader with X25519 and ChaCha20-Poly1305.

use super::{NONCE_LEN, TAG_LEN};
use crate::keys::{check_x25519, random_secret, x25519_public};
use blake2::{Blake2b512, Digest as _};
use chacha20poly1305::{AeadInOut as _, ChaCha20Poly1305, KeyInit as _};
use dmdl_types::secret::Secret32;
use rand_core::CryptoRng;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// The one method of sealing a packet.
const X25519_CHACHA20_POLY1305: u32 = 0;
/// The one method of sealing segments.
const CHACHA20_POLY1305: u32 = 0;
const DATA_KEY: u32 = 0;
const EDIT_LIST: u32 = 1;
/// What comes before a packet's ciphertext: method, writer's key, nonce.
const HEAD_LEN: usize = 4 + 32 + NONCE_LEN;

/// What a packet tells its reader.
#[derive(Debug)]
pub(super) enum Told {
    /// A key that segments are sealed under.
    DataKey(Secret32),
    /// What of the plaintext to leave out and what to keep, by turns.
    EditList(Vec<u64>),
}

/// Why a packet that was meant for this reader cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// It tells something else than the standard knows.
    #[error("a header packet has type {0}, which version 1 does not know")]
    Type(u32),
    /// Segments are sealed in a way that the standard does not know.
    #[error("the data is encrypted by method {0}, which version 1 does not know")]
    Method(u32),
    /// It is shorter than what it says.
    #[error("a header packet is too short")]
    TooShort,
}

/// A packet that tells one reader the key of the segments, without its length.
///
/// Made with a key pair of its own, which is forgotten: nobody is named as the writer.
pub(super) fn data_key(rng: &mut impl CryptoRng, reader: &[u8; 32], key: &Secret32) -> Option<Vec<u8>> {
    check_x25519(reader).ok()?;
    let writer = random_secret(rng);
    let writer_public = x25519_public(&writer);
    let mut nonce = [0; NONCE_LEN];
    rng.fill_bytes(&mut nonce);
    let mut told = Zeroizing::new(Vec::with_capacity(8 + 32 + TAG_LEN));
    told.extend_from_slice(&DATA_KEY.to_le_bytes());
    told.extend_from_slice(&CHACHA20_POLY1305.to_le_bytes());
    key.expose(|bytes| told.extend_from_slice(bytes));
    let cipher = cipher(&writer, reader, (reader, &writer_public));
    cipher.encrypt_in_place(&nonce.into(), b"", &mut *told).ok()?;
    let mut packet = Vec::with_capacity(HEAD_LEN + told.len());
    packet.extend_from_slice(&X25519_CHACHA20_POLY1305.to_le_bytes());
    packet.extend_from_slice(&writer_public);
    packet.extend_from_slice(&nonce);
    packet.extend_from_slice(&told);
    Some(packet)
}

/// What a packet tells the reader with this secret; none if it is for somebody else.
pub(super) fn open(packet: &[u8], secret: &Secret32) -> Result<Option<Told>, PacketError> {
    let Some((head, sealed)) = packet.split_first_chunk::<HEAD_LEN>() else { return Ok(None) };
    let (method, rest) = head.split_at(4);
    let (writer, nonce) = rest.split_at(32);
    let (Ok(writer), Ok(nonce)) = (<[u8; 32]>::try_from(writer), <[u8; NONCE_LEN]>::try_from(nonce)) else {
        return Ok(None);
    };
    if method != X25519_CHACHA20_POLY1305.to_le_bytes() || check_x25519(&writer).is_err() {
        return Ok(None);
    }
    let mut told = Zeroizing::new(sealed.to_vec());
    let own = x25519_public(secret);
    if cipher(secret, &writer, (&own, &writer)).decrypt_in_place(&nonce.into(), b"", &mut *told).is_err() {
        return Ok(None);
    }
    read(&told).map(Some)
}

fn read(told: &[u8]) -> Result<Told, PacketError> {
    let (kind, rest) = number(told)?;
    match kind {
        DATA_KEY => {
            let (method, rest) = number(rest)?;
            if method != CHACHA20_POLY1305 {
                return Err(PacketError::Method(method));
            }
            let key = rest.first_chunk::<32>().ok_or(PacketError::TooShort)?;
            Ok(Told::DataKey(Secret32::new(*key)))
        }
        EDIT_LIST => {
            let (count, rest) = number(rest)?;
            let count = usize::try_from(count).map_err(|_| PacketError::TooShort)?;
            let len = count.checked_mul(8).ok_or(PacketError::TooShort)?;
            let (lengths, _) = rest.split_at_checked(len).ok_or(PacketError::TooShort)?;
            let lengths = lengths.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok());
            Ok(Told::EditList(lengths.map(u64::from_le_bytes).collect()))
        }
        other => Err(PacketError::Type(other)),
    }
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), PacketError> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or(PacketError::TooShort)?;
    Ok((u32::from_le_bytes(*number), rest))
}

/// The cipher that two key pairs share: `BLAKE2b-512(X25519 ‖ reader ‖ writer)`, the first 32 bytes.
fn cipher(own: &Secret32, other: &[u8; 32], (reader, writer): (&[u8; 32], &[u8; 32])) -> ChaCha20Poly1305 {
    let shared = own.expose(|bytes| StaticSecret::from(*bytes).diffie_hellman(&PublicKey::from(*other)));
    let hash = Blake2b512::new().chain_update(shared.as_bytes()).chain_update(reader).chain_update(writer);
    let hash = Zeroizing::new(<[u8; 64]>::from(hash.finalize()));
    let mut key = Zeroizing::new([0; 32]);
    key.iter_mut().zip(hash.iter()).for_each(|(key, byte)| *key = *byte);
    ChaCha20Poly1305::new((&*key).into())
}
