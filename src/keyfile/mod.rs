//! Key files: a person's identity in a file that only they can read, and the secrets of a node.
//!
//! # Source
//! docs/spec/keyfile.md

pub(crate) mod disk;
mod node;
mod wrap;

pub(crate) use node::NodeSecrets;

use crate::local::Identity;
use dmdl_types::{
    genesis::{Person, Role},
    secret::Secret32,
    sign::SigningKey,
};
use rand_core::CryptoRng;
use serde::{Deserialize as _, Serialize as _, de::value::StrDeserializer};
use std::{
    fmt, io,
    path::{Path, PathBuf},
};
use wrap::{SEALED_LEN, Wrap};
use zeroize::Zeroizing;

/// The first line.
const VERSION: &str = "dmdl-key-v1";
/// More than any key file has, so that a text never moves while it grows.
const TEXT_LEN: usize = 1024;

/// Why a key file is not read, not unlocked or not written.
///
/// A wrong passphrase and an altered file are one error, so that neither tells anything about the other.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Nothing is at the path.
    #[error("no key file is at `{path}`")]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else may read it, or may have put it there.
    #[error("`{path}` is not safe to use: {reason}")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// It is no key file of the kind that was asked for.
    #[error("`{path}` is not a key file: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong; never what the file says.
        reason: &'static str,
    },
    /// The secret is wrapped, and no passphrase was given.
    #[error("key file `{path}` needs its passphrase")]
    NeedsPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// The secret does not come out.
    #[error("the passphrase does not open key file `{path}`, or the file was altered")]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// A passphrase of no bytes, which would only look like protection.
    #[error("an empty passphrase protects nothing")]
    EmptyPassphrase,
    /// Something is at the path already: a file, a folder, a link, even a dangling one.
    #[error("`{path}` exists already and is not replaced")]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write `{path}`: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl KeyFileError {
    /// What the system said, of its kind: a disk without room is told from one that fails.
    #[must_use]
    pub fn into_io(self) -> io::Error {
        match &self {
            Self::Read { source, .. } | Self::Write { source, .. } => io::Error::new(source.kind(), self.to_string()),
            _ => io::Error::other(self),
        }
    }
}

/// A person's key file, read but not unlocked.
#[derive(Debug)]
pub struct Locked {
    path: PathBuf,
    person: Person,
    stored: Stored,
}

/// A seed, as the file has it.
#[derive(Debug)]
enum Stored {
    /// As it is; it has the person's public key.
    Raw(Secret32),
    /// Under a passphrase.
    Wrapped {
        /// The text before it, which it is bound to.
        header: String,
        wrap: Wrap,
        sealed: [u8; SEALED_LEN],
    },
}

impl Locked {
    /// Whose key it is, as the file says.
    ///
    /// # Security
    /// Nobody vouches for it before [`Locked::unlock`], and for organisation, name and role in a file without
    /// a passphrase not even then: what a key may do is what the ledger says.
    #[must_use]
    pub const fn person(&self) -> &Person {
        &self.person
    }

    /// Whether unlocking takes a passphrase.
    #[must_use]
    pub const fn is_wrapped(&self) -> bool {
        matches!(self.stored, Stored::Wrapped { .. })
    }

    /// The identity, whose key is the one that [`Locked::person`] names; a file without a passphrase passes
    /// over one that is given.
    ///
    /// # Errors
    /// [`KeyFileError::NeedsPassphrase`], [`KeyFileError::WrongPassphrase`], and [`KeyFileError::Read`] when
    /// there is not enough memory.
    pub fn unlock(&self, passphrase: Option<&[u8]>) -> Result<Identity, KeyFileError> {
        let path = || self.path.clone();
        let key = match (&self.stored, passphrase) {
            (Stored::Raw(seed), _) => SigningKey::from_seed(seed.expose(|seed| Secret32::new(*seed))),
            (Stored::Wrapped { .. }, None) => return Err(KeyFileError::NeedsPassphrase { path: path() }),
            (Stored::Wrapped { header, wrap, sealed }, Some(passphrase)) => wrap
                .open(passphrase, header.as_bytes(), sealed)
                .map_err(|source| KeyFileError::Read { path: path(), source })?
                .map(SigningKey::from_seed)
                .filter(|key| key.public() == self.person.key)
                .ok_or_else(|| KeyFileError::WrongPassphrase { path: path() })?,
        };
        Ok(Identity { person: self.person.clone(), key })
    }
}

/// Reads a person's key file, if nobody else can read or have written it.
///
/// # Errors
/// [`KeyFileError::NotFound`], [`KeyFileError::Read`], [`KeyFileError::Permissions`],
/// [`KeyFileError::Malformed`].
pub fn read(path: &Path) -> Result<Locked, KeyFileError> {
    parse(path, &disk::read(path)?)
}

/// Writes a new key file, under a passphrase if one is given; on return it is on disk, whole.
///
/// The public key in it is that of the secret key.
///
/// # Errors
/// [`KeyFileError::EmptyPassphrase`], [`KeyFileError::Exists`], [`KeyFileError::Write`].
pub fn write(
    path: &Path,
    identity: &Identity,
    passphrase: Option<&[u8]>,
    rng: &mut impl CryptoRng,
) -> Result<(), KeyFileError> {
    if passphrase.is_some_and(<[u8]>::is_empty) {
        return Err(KeyFileError::EmptyPassphrase);
    }
    let wrap = passphrase.map(|passphrase| (passphrase, Wrap::new(rng)));
    let text = print(identity, wrap).map_err(|source| KeyFileError::Write { path: path.to_owned(), source })?;
    disk::write_new(path, text.as_bytes())
}

/// Reads a node's secret, if nobody else can read or have written its file.
///
/// # Errors
/// [`KeyFileError::NotFound`], [`KeyFileError::Read`], [`KeyFileError::Permissions`],
/// [`KeyFileError::Malformed`].
pub fn read_secret(path: &Path) -> Result<Secret32, KeyFileError> {
    let text = disk::read(path)?;
    let secret = str::from_utf8(&text).ok().and_then(|text| text.strip_suffix('\n')).and_then(unhex);
    let malformed = || malformed(path, "a node's secret is one line of 64 lower-case hexadecimal digits");
    secret.map(|secret| Secret32::new(*secret)).ok_or_else(malformed)
}

/// Writes a node's secret to a new file; on return it is on disk, whole.
///
/// # Errors
/// [`KeyFileError::Exists`], [`KeyFileError::Write`].
pub fn write_secret(path: &Path, secret: &Secret32) -> Result<(), KeyFileError> {
    let mut text = Zeroizing::new(String::with_capacity(TEXT_LEN));
    push_hex(&mut text, secret);
    disk::write_new(path, text.as_bytes())
}

/// The text of a key file.
fn print(identity: &Identity, wrap: Option<(&[u8], Wrap)>) -> io::Result<Zeroizing<String>> {
    let Identity { person, key } = identity;
    let Person { key: _, org, name, role } = person;
    let role = RoleText(*role);
    let mut text = Zeroizing::new(String::with_capacity(TEXT_LEN));
    text.push_str(&format!("{VERSION}\nkey {}\norg {org}\nname {name}\nrole {role}\n", key.public()));
    if let Some((passphrase, wrap)) = wrap {
        text.push_str(&format!("argon2id {wrap}\n"));
        let sealed = wrap.seal(passphrase, text.as_bytes(), key.seed())?;
        text.push_str(&format!("wrapped {}\n", hex::encode(sealed)));
    } else {
        text.push_str("secret ");
        push_hex(&mut text, key.seed());
    }
    Ok(text)
}

/// Reads what [`print`] writes, and nothing else.
fn parse(path: &Path, bytes: &[u8]) -> Result<Locked, KeyFileError> {
    let (person, stored) = contents(bytes).map_err(|reason| malformed(path, reason))?;
    Ok(Locked { path: path.to_owned(), person, stored })
}

fn contents(bytes: &[u8]) -> Result<(Person, Stored), &'static str> {
    let text = str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let rest = text.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('\n'));
    let mut lines = Lines(rest.ok_or("its first line is not `dmdl-key-v1`")?);
    let person = lines.person().ok_or("its line `key`, `org`, `name` or `role` is missing or malformed")?;
    let stored = if let Some(seed) = lines.value("secret") {
        let seed = unhex(seed).ok_or("its secret is not 64 lower-case hexadecimal digits")?;
        if SigningKey::from_seed(Secret32::new(*seed)).public() != person.key {
            return Err("its secret does not belong to its public key");
        }
        Stored::Raw(Secret32::new(*seed))
    } else {
        let wrap = lines.value("argon2id").and_then(Wrap::parse);
        let wrap = wrap.ok_or("its line `argon2id` is missing, malformed or out of bounds")?;
        let header = text.strip_suffix(lines.0).unwrap_or(text).to_owned();
        let sealed = lines.value("wrapped").and_then(unhex);
        let sealed = sealed.ok_or("its wrapped secret is not 96 lower-case hexadecimal digits")?;
        Stored::Wrapped { header, wrap, sealed: *sealed }
    };
    if lines.0.is_empty() { Ok((person, stored)) } else { Err("something follows its last line") }
}

/// The lines that have not been read yet.
struct Lines<'a>(&'a str);

impl<'a> Lines<'a> {
    /// The value of the next line, if it has this name and an end.
    fn value(&mut self, name: &str) -> Option<&'a str> {
        let (line, rest) = self.0.split_once('\n')?;
        let value = line.strip_prefix(name)?.strip_prefix(' ')?;
        self.0 = rest;
        Some(value)
    }

    fn person(&mut self) -> Option<Person> {
        Some(Person {
            key: self.value("key")?.parse().ok()?,
            org: self.value("org")?.parse().ok()?,
            name: self.value("name")?.parse().ok()?,
            role: role(self.value("role")?)?,
        })
    }
}

/// A role by the name that it has in every text.
struct RoleText(Role);

impl fmt::Display for RoleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(f)
    }
}

fn role(text: &str) -> Option<Role> {
    Role::deserialize(StrDeserializer::<serde::de::value::Error>::new(text)).ok()
}

fn push_hex(text: &mut Zeroizing<String>, secret: &Secret32) {
    let digits = Zeroizing::new(secret.expose(|secret| hex::encode(secret)));
    text.push_str(&digits);
    text.push('\n');
}

/// Upper case would give one file two spellings, so only lower case is read.
fn unhex<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    (lower && hex::decode_to_slice(text, bytes.as_mut_slice()).is_ok()).then_some(bytes)
}

fn malformed(path: &Path, reason: &'static str) -> KeyFileError {
    KeyFileError::Malformed { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests;
