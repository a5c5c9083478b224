//! Names: 32-byte ids, short text ids, and numbers that must not be mixed up.

use crate::{codec::DecodeError, hash, label, sign::PublicKey};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Not 64 lower-case hexadecimal digits.
    #[error("an id is 64 lower-case hexadecimal digits")]
    NotHex,
    /// Not a short name.
    #[error("a name is 1 to 64 characters of `a-z`, `0-9`, `-`, and begins with a letter")]
    NotName,
}

impl From<IdError> for DecodeError {
    fn from(_: IdError) -> Self {
        DecodeError::Malformed { kind: "id" }
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        ///
        /// Written as 64 lower-case hexadecimal digits.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The id with these bytes.
            #[must_use]
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The id's bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

/// Upper case would give one id two spellings, so only lower case is read.
fn parse_hex(text: &str) -> Result<[u8; 32], IdError> {
    if text.len() != 64 || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(IdError::NotHex);
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError::NotHex)?;
    Ok(bytes)
}

ids! {
    /// Hash of the genesis document: which network this is.
    NetworkId
    /// Hash of what founded a channel, its genesis or charter: which ledger this is.
    ChannelId
    /// Hash of a transaction's body.
    TransactionId
    /// Digest of a transaction with its authors' signatures.
    TransactionDigest
    /// A provable fault: what it is counted once by.
    FaultId
    /// Digest of a block's header.
    BlockDigest
    /// Digest of an epoch's configuration.
    ConfigDigest
    /// A record: the clinical item with its metadata.
    RecordId
    /// A standing permission.
    GrantId
    /// A policy: the hash of its document.
    PolicyId
    /// A pseudonymous patient; meaningless without the owner's secret.
    SubjectId
    /// Digest of a sealed payload's bytes (BLAKE3).
    PayloadDigest
    /// Commitment to text that is kept off the ledger.
    NoteCommitment
    /// Digest of a dealing's public part.
    DealingId
    /// Digest of the shares of one epoch of a record version: their dealing, and who keeps them.
    ShareSetId
    /// A node, by its Ed25519 key; with the role of custodian also the custodian's id.
    NodeId
}

impl NodeId {
    /// The node with this key.
    #[must_use]
    pub const fn of_key(key: PublicKey) -> Self {
        Self(*key.as_bytes())
    }

    /// The key that the node signs with.
    #[must_use]
    pub const fn key(&self) -> PublicKey {
        PublicKey::new(self.0)
    }
}

impl ChannelId {
    /// The channel that a genesis document creates under `name`.
    #[must_use]
    pub fn of_genesis(network: NetworkId, name: &ChannelName) -> Self {
        Self(hash::labelled(label::CHANNEL_ID, &[network.as_bytes(), name.as_str().as_bytes()]))
    }
}

impl GrantId {
    /// The grant that a request leads to; there is at most one.
    #[must_use]
    pub fn of_request(request: TransactionId) -> Self {
        Self(hash::labelled(label::GRANT_ID, &[request.as_bytes()]))
    }
}

impl SubjectId {
    /// The pseudonym under which a patient of this owner appears on the ledger.
    ///
    /// # Security
    /// `secret` is known to the owner's organisation alone: without it, nobody can confirm a guess
    /// at the pseudonym.
    #[must_use]
    pub fn derive(secret: &[u8; 32], pseudonym: &str) -> Self {
        Self(hash::labelled(label::SUBJECT_ID, &[secret, pseudonym.as_bytes()]))
    }
}

impl NoteCommitment {
    /// Commits to off-chain text under a random salt.
    #[must_use]
    pub fn of(salt: &[u8; 32], text: &str) -> Self {
        Self(hash::labelled(label::NOTE_COMMITMENT, &[salt, text.as_bytes()]))
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        ///
        /// 1 to 64 characters of `a-z`, `0-9` and `-`, beginning with a letter.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Parses a name.
            ///
            /// # Errors
            /// [`IdError::NotName`] when the text is none.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                if is_name(&text) { Ok(Self(text)) } else { Err(IdError::NotName) }
            }

            /// The name's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl BorshDeserialize for $name {
            fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
                let text = String::deserialize_reader(reader)?;
                Self::new(text).map_err(|e| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, e.to_string()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(<String as serde::Deserialize>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

names! {
    /// An organisation of the network.
    OrgId
    /// What people call a channel.
    ChannelName
    /// What an organisation calls one of its people or nodes: never a patient.
    DisplayName
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($inner:ty))*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            BorshSerialize, BorshDeserialize, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// The value with this number.
            #[must_use]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }

            /// The value after this one; the last is its own successor.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

numbers! {
    /// Position of a block in its channel; genesis is 0.
    Height(u64)
    /// A try at a block within an epoch.
    View(u64)
    /// A stretch of blocks with one committee and one schedule of primaries.
    Epoch(u64)
    /// Version of a record, from 1.
    RecordVersion(u32)
    /// Generation of a record version's shares, from 0; a reshare begins the next.
    ShareEpoch(u32)
    /// Position of a custodian in its set, from 1: the x-coordinate of its share.
    ShareIndex(u8)
    /// Which use of a grant a decryption is, from 1.
    UseNumber(u32)
}

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// The instant this many milliseconds after the epoch.
    #[must_use]
    pub const fn new(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The instant `ms` later, or the last there is.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`, 0 when it is not earlier.
    #[must_use]
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UnixMillis {
    /// RFC 3339 in UTC, with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
    }
}

/// Year, month and day of a count of days since 1970-01-01.
///
/// # Source
/// Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
const fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = RecordId::new([0xab; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse::<RecordId>(), Err(IdError::NotHex));
        assert_eq!("../../etc/passwd".parse::<RecordId>(), Err(IdError::NotHex));
        assert_eq!(id.to_string()[1..].parse::<RecordId>(), Err(IdError::NotHex));
    }

    #[test]
    fn a_name_is_short_plain_text() {
        for bad in ["", "-a", "1a", "A", "a b", "a/b", "é", &"a".repeat(65)] {
            assert_eq!(OrgId::new(bad), Err(IdError::NotName), "{bad:?}");
        }
        assert!(OrgId::new("st-mary-2").is_ok());
    }

    #[test]
    fn a_name_is_checked_when_it_is_decoded() {
        let bytes = crate::codec::encode(&"Not A Name".to_string());
        assert!(crate::codec::decode::<OrgId>(&bytes, 100).is_err());
    }

    #[test]
    fn times_are_written_in_rfc_3339() {
        assert_eq!(UnixMillis::new(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(UnixMillis::new(951_782_400_000).to_string(), "2000-02-29T00:00:00.000Z");
        assert_eq!(UnixMillis::new(1_795_372_245_678).to_string(), "2026-11-22T18:30:45.678Z");
    }
}
