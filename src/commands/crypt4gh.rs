//! Crypt4GH keys in files, as `crypt4gh-keygen` writes them.
//!
//! # Source
//! The key files of the Python program `crypt4gh`, which the standard leaves to programs: text between `BEGIN` and `END`
//! lines, in base64; of a secret key, `c4gh-v1` and strings with their lengths before them.

use super::{failure, output, session::Globals};
use crate::{
    exit::{Exit, Failure},
    keyfile::disk,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use chacha20poly1305::{AeadInOut as _, ChaCha20Poly1305, KeyInit as _};
use dmdl_types::secret::Secret32;
use dmdl_vault::{
    crypt4gh::{Decryptor, OpenError},
    keys::check_x25519,
};
use std::{io::Read, path::Path};
use zeroize::Zeroizing;

/// Largest public key file that is read.
const PUBLIC_FILE_BYTES: usize = 4096;
const SECRET_MAGIC: &[u8] = b"c4gh-v1";
const NONCE_LEN: usize = 12;

/// Reads somebody's public key.
pub(super) fn public_key(path: &Path) -> Result<[u8; 32], Failure> {
    let text = output::read(path, PUBLIC_FILE_BYTES)?;
    let key = between(&text, "PUBLIC KEY").and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
    // To any other, nobody can encrypt so that one reader alone can read.
    key.filter(|key| check_x25519(key).is_ok()).ok_or_else(|| malformed(path, "a Crypt4GH public key"))
}

/// Reads a secret key, asking for its passphrase where it has one.
pub(super) fn secret_key(path: &Path, passphrase_fd: Option<u32>, globals: &Globals) -> Result<Secret32, Failure> {
    let text = disk::read(path).map_err(|error| failure::key_file(&error))?;
    let bytes = between(&text, "PRIVATE KEY").ok_or_else(|| malformed(path, "a Crypt4GH secret key"))?;
    let stored = Stored::parse(&bytes).ok_or_else(|| malformed(path, "a Crypt4GH secret key"))?;
    let Stored { kdf, options, cipher, blob } = stored;
    match (kdf, cipher) {
        (b"none", b"none") => secret(blob).ok_or_else(|| malformed(path, "a Crypt4GH secret key")),
        (b"scrypt", b"chacha20_poly1305") => {
            let passphrase = globals.passphrase_from(passphrase_fd, "Passphrase of the Crypt4GH key: ")?;
            unwrap(options, blob, passphrase.as_bytes()).ok_or_else(|| {
                let detail = format!("the passphrase does not open `{}`, or the file was altered", path.display());
                Failure::new(Exit::Denied, "passphrase", detail)
            })
        }
        _ => {
            let detail = format!(
                "`{}` is wrapped in a way that is not known here; wrap it with scrypt, as `crypt4gh-keygen` does",
                path.display()
            );
            Err(Failure::new(Exit::Configuration, "key_file", detail))
        }
    }
}

/// The plaintext of a file that is encrypted for this key.
pub(super) fn decrypted<R: Read>(path: &Path, file: R, key: &Secret32) -> Result<Decryptor<R>, Failure> {
    Decryptor::open(file, key).map_err(|error| {
        let exit = match error {
            OpenError::NotForThisKey => Exit::Denied,
            _ => Exit::Usage,
        };
        Failure::new(exit, "crypt4gh", format!("`{}`: {error}", path.display()))
    })
}

fn malformed(path: &Path, what: &str) -> Failure {
    Failure::new(Exit::Configuration, "key_file", format!("`{}` is not {what}", path.display()))
}

/// What a secret key's file says.
struct Stored<'a> {
    kdf: &'a [u8],
    /// Rounds, which scrypt ignores, and salt.
    options: &'a [u8],
    cipher: &'a [u8],
    blob: &'a [u8],
}

impl<'a> Stored<'a> {
    /// A comment may follow, which says nothing that matters.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(SECRET_MAGIC)?;
        let (kdf, rest) = string(rest)?;
        let (options, rest) = if kdf == b"none" { (&b""[..], rest) } else { string(rest)? };
        let (cipher, rest) = string(rest)?;
        let (blob, _) = string(rest)?;
        Some(Self { kdf, options, cipher, blob })
    }
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

fn unwrap(options: &[u8], blob: &[u8], passphrase: &[u8]) -> Option<Secret32> {
    let (_, salt) = options.split_first_chunk::<4>()?;
    let (nonce, sealed) = blob.split_first_chunk::<NONCE_LEN>()?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase, salt, &scrypt::Params::new(14, 8, 1).ok()?, &mut *key).ok()?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    ChaCha20Poly1305::new((&*key).into()).decrypt_in_place(&(*nonce).into(), b"", &mut *plain).ok()?;
    secret(&plain)
}

fn secret(bytes: &[u8]) -> Option<Secret32> {
    Some(Secret32::new(<[u8; 32]>::try_from(bytes).ok()?))
}

/// What stands between the `BEGIN` and `END` lines of a Crypt4GH key of this kind.
fn between(text: &[u8], kind: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = str::from_utf8(text).ok()?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let edge = |line: &str, word: &str| {
        line.starts_with(&format!("-----{word} CRYPT4GH ")) && line.ends_with(&format!("{kind}-----"))
    };
    edge(lines.next()?, "BEGIN").then_some(())?;
    let mut base64 = Zeroizing::new(String::with_capacity(text.len()));
    loop {
        let line = lines.next()?;
        if edge(line, "END") {
            break;
        }
        base64.push_str(line);
    }
    BASE64.decode(base64.as_bytes()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `crypt4gh-keygen`, with the passphrase `one two three`.
    const WRAPPED: &str = "-----BEGIN CRYPT4GH PRIVATE KEY-----\nYzRnaC12MQAGc2NyeXB0ABQAAAAAAhkcAE6ygk0pilrvYb6MOgARY2hhY2hhMjBfcG9seTEzMDUAPCmK31x5GC7iaIS1OkQ6YTYi7oEEGZ8CbjSiS3ls0iEchIoZo4A+pEV7+749TNwGoQmKJ075hmNwIBRLEwAJZm9yIHRlc3Rz\n-----END CRYPT4GH PRIVATE KEY-----\n";
    const PLAIN: &str = "-----BEGIN CRYPT4GH PRIVATE KEY-----\nYzRnaC12MQAEbm9uZQAEbm9uZQAgQlGRQtz4RlPbqXriIxumbYnuKcAgJ1wWFW7amZcy1W4=\n-----END CRYPT4GH PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN CRYPT4GH PUBLIC KEY-----\npAYEMobMuU2G+6d+oprwBgCpLTgyPmqX+SJXplMO52U=\n-----END CRYPT4GH PUBLIC KEY-----\n";

    fn stored(text: &str) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let bytes = between(text.as_bytes(), "PRIVATE KEY").unwrap();
        let Stored { kdf, options, blob, .. } = Stored::parse(&bytes).unwrap();
        (kdf.to_vec(), options.to_vec(), blob.to_vec())
    }

    fn public_of(secret: &Secret32) -> [u8; 32] {
        dmdl_vault::keys::x25519_public(secret)
    }

    #[test]
    fn keys_of_the_reference_program_are_read() {
        let public = between(PUBLIC.as_bytes(), "PUBLIC KEY").unwrap();
        let (kdf, _, blob) = stored(PLAIN);
        assert_eq!((kdf.as_slice(), public_of(&secret(&blob).unwrap()).as_slice()), (&b"none"[..], public.as_slice()));
        let (kdf, options, blob) = stored(WRAPPED);
        assert_eq!(kdf, b"scrypt");
        let wrapped = unwrap(&options, &blob, b"one two three").unwrap();
        assert_eq!(
            hex::encode(public_of(&wrapped)),
            "13d6307f2feb68dd124e80f4656cd47e3899f430d95a67328589ca9b0efb873b"
        );
        assert!(unwrap(&options, &blob, b"one two four").is_none());
    }

    #[test]
    fn what_is_cut_or_of_another_kind_is_no_key() {
        assert!(between(PUBLIC.as_bytes(), "PRIVATE KEY").is_none());
        assert!(between(PLAIN.as_bytes(), "PUBLIC KEY").is_none());
        for len in 0..PLAIN.len() - 1 {
            let cut = &PLAIN[..len];
            let parsed = between(cut.as_bytes(), "PRIVATE KEY");
            assert!(parsed.is_none(), "cut at {len}");
        }
        let bytes = between(PLAIN.as_bytes(), "PRIVATE KEY").unwrap();
        for len in 0..bytes.len() {
            assert!(Stored::parse(&bytes[..len]).is_none_or(|stored| secret(stored.blob).is_none()), "cut at {len}");
        }
    }
}
