//! An invisible salamander: one ciphertext that AES-GCM opens under two keys, to two plaintexts.
//!
//! Source: Dodis, Grubbs, Ristenpart, Woodage, "Fast Message Franking", 2018; Albertini et al.,
//! "How to Abuse and Fix Authenticated Encryption Without Key Commitment", 2022.

use super::*;
use crate::payload::header::Header;
use aes_gcm::{
    AeadInOut as _, Aes256Gcm, KeyInit as _,
    aead::inout::InOutBuf,
    aes::{Aes256, cipher::BlockCipherEncrypt as _},
};
use hkdf::Hkdf;
use sha2::Sha512;

const SALT: [u8; SALT_LEN] = [5; SALT_LEN];
/// Two blocks of ciphertext: one at will, one that makes both tags agree.
const LEN: usize = 32;

/// What the format derives from an input key, written again from its specification.
struct Derived {
    key: [u8; 32],
    nonce: [u8; 12],
    commitment: [u8; 32],
}

fn derive(input_key: [u8; 32]) -> Derived {
    let mut prk = [0; 64];
    prk[..32].copy_from_slice(&input_key);
    let info = [&b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"[..], &SALT, &codec::encode(&context())].concat();
    let mut okm = [0; 76];
    Hkdf::<Sha512>::from_prk(&prk).unwrap().expand(&info, &mut okm).unwrap();
    Derived {
        key: okm[..32].try_into().unwrap(),
        nonce: okm[32..44].try_into().unwrap(),
        commitment: okm[44..].try_into().unwrap(),
    }
}

impl Derived {
    fn encrypt_block(&self, block: [u8; 16]) -> u128 {
        let mut block = block.into();
        Aes256::new(&self.key.into()).encrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    }

    /// The key of the universal hash.
    fn h(&self) -> u128 {
        self.encrypt_block([0; 16])
    }

    /// What masks the tag.
    fn mask(&self) -> u128 {
        let mut counter = [0; 16];
        counter[..12].copy_from_slice(&self.nonce);
        counter[15] = 1;
        self.encrypt_block(counter)
    }

    fn tag(&self, blocks: [u128; 2]) -> u128 {
        let h = self.h();
        let hash = multiply(multiply(multiply(blocks[0], h) ^ blocks[1], h) ^ LENGTHS, h);
        hash ^ self.mask()
    }

    fn opens(&self, ciphertext: &[u8; LEN], tag: u128) -> bool {
        let mut buffer = *ciphertext;
        Aes256Gcm::new(&self.key.into())
            .decrypt_inout_detached(
                &self.nonce.into(),
                &[],
                InOutBuf::from(buffer.as_mut_slice()),
                &tag.to_be_bytes().into(),
            )
            .is_ok()
    }
}

/// GHASH's last block: no additional data, 256 bits of ciphertext.
const LENGTHS: u128 = LEN as u128 * 8;

/// Multiplication in GCM's field, whose bits run from the most significant.
fn multiply(x: u128, y: u128) -> u128 {
    let (mut product, mut v) = (0, y);
    for bit in (0..128).rev() {
        if x >> bit & 1 == 1 {
            product ^= v;
        }
        v = if v & 1 == 1 { v >> 1 ^ 0xe1 << 120 } else { v >> 1 };
    }
    product
}

/// `x^(2^128 - 2)`, the inverse.
fn invert(x: u128) -> u128 {
    let one = 1 << 127;
    let mut result = one;
    let mut power = x;
    for _ in 1..128 {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    result
}

/// The input keys that the payloads are made for.
pub(super) const KEYS: [[u8; 32]; 2] = [[7; 32], [8; 32]];

/// One ciphertext with a header for each key, and the commitment in it.
pub(super) fn payloads() -> [(Vec<u8>, PayloadEntry); 2] {
    let [a, b] = KEYS.map(derive);
    let first = 0x6d61_6465_2066_6f72_2074_776f_206b_6579_u128;
    let square = |x| multiply(x, x);
    let cube = |x| multiply(square(x), x);
    // Solve tag_a = tag_b for the second block.
    let constant = multiply(first, cube(a.h()) ^ cube(b.h())) ^ multiply(LENGTHS, a.h() ^ b.h()) ^ a.mask() ^ b.mask();
    let second = multiply(constant, invert(square(a.h()) ^ square(b.h())));

    let tag = a.tag([first, second]);
    let mut ciphertext = [0; LEN];
    ciphertext[..16].copy_from_slice(&first.to_be_bytes());
    ciphertext[16..].copy_from_slice(&second.to_be_bytes());
    assert!(a.opens(&ciphertext, tag) && b.opens(&ciphertext, tag), "the attack on bare AES-GCM works");

    [a.commitment, b.commitment].map(|key_commitment| {
        let header = Header { salt: SALT, commitment: key_commitment }.to_bytes();
        let payload = [&header[..], &ciphertext, &tag.to_be_bytes()].concat();
        let entry = PayloadEntry {
            suite: 1,
            digest: PayloadDigest::new(*blake3::hash(&payload).as_bytes()),
            ciphertext_len_bytes: payload.len() as u64,
            key_commitment,
        };
        (payload, entry)
    })
}

#[test]
fn a_payload_made_for_two_keys_opens_under_the_committed_one_at_most() {
    let payloads = payloads();
    for (mine, theirs) in [(0, 1), (1, 0)] {
        let (payload, entry) = &payloads[mine];
        let open_with = |key: usize| {
            let mut plaintext = Vec::new();
            let result = open(payload.as_slice(), &mut plaintext, &Secret32::new(KEYS[key]), &context(), entry);
            (plaintext.len(), result)
        };
        assert!(matches!(open_with(mine), (LEN, Ok(32))));
        assert!(matches!(open_with(theirs), (0, Err(OpenError::WrongKey))));
    }
}
