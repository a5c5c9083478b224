//! The single canonical encoding of everything that is hashed, signed or stored.
//!
//! Borsh, with two additions: a size limit that is checked before anything is read, and the rule
//! that decoding and encoding again gives back the same bytes. Bytes that fail either are refused,
//! so one value has exactly one encoding.
//!
//! # Source
//! docs/spec/codec.md; docs/adr/0004-codec.md

use borsh::{BorshDeserialize, BorshSerialize};

/// Why bytes are not the canonical encoding of a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes exceed the limit of their kind.
    #[error("{got} bytes exceed the limit of {limit}")]
    TooLong {
        /// How many bytes came.
        got: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The bytes are not an encoding of the expected type.
    #[error("not a valid encoding of `{kind}`")]
    Malformed {
        /// The expected type.
        kind: &'static str,
    },
    /// The bytes decode, but another encoding of the same value is the canonical one.
    #[error("not the canonical encoding of `{kind}`")]
    NonCanonical {
        /// The expected type.
        kind: &'static str,
    },
}

/// Encodes a value canonically.
#[must_use]
pub fn encode<T: BorshSerialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to a `Vec` cannot fail, and no type of ours has a fallible serialiser.
    let written = value.serialize(&mut out);
    debug_assert!(written.is_ok(), "writing to memory failed");
    out
}

/// Decodes a value from its canonical encoding of at most `limit` bytes.
///
/// # Errors
/// [`DecodeError`] when the bytes are too many, not an encoding, or not the canonical one.
pub fn decode<T: BorshSerialize + BorshDeserialize>(bytes: &[u8], limit: usize) -> Result<T, DecodeError> {
    let kind = short_name::<T>();
    if bytes.len() > limit {
        return Err(DecodeError::TooLong { got: bytes.len(), limit });
    }
    let value = T::try_from_slice(bytes).map_err(|_| DecodeError::Malformed { kind })?;
    if encode(&value) != bytes && !crate::planted!("second-encoding-accepted") {
        return Err(DecodeError::NonCanonical { kind });
    }
    Ok(value)
}

/// The last segment of a type's path: enough for a message, and the same on every build.
fn short_name<T>() -> &'static str {
    let full = std::any::type_name::<T>();
    full.rsplit("::").next().unwrap_or(full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&7u64);
        bytes.push(0);
        assert_eq!(decode::<u64>(&bytes, 64), Err(DecodeError::Malformed { kind: "u64" }));
    }

    /// The library reads a map whatever the order of its keys.
    #[test]
    fn a_second_encoding_of_the_same_value_is_refused() {
        let map = BTreeMap::from([(1u8, 10u8), (2, 20)]);
        let rising = encode(&map);
        assert_eq!(rising, [2, 0, 0, 0, 1, 10, 2, 20]);
        assert_eq!(decode(&rising, 64), Ok(map));
        for other in [[2, 0, 0, 0, 2, 20, 1, 10], [2, 0, 0, 0, 1, 10, 1, 10]] {
            let refused = decode::<BTreeMap<u8, u8>>(&other, 64);
            assert!(matches!(refused, Err(DecodeError::NonCanonical { .. })), "{refused:?}");
        }
    }

    #[test]
    fn a_length_that_promises_more_than_came_is_refused_without_allocating_it() {
        let bytes = [0xff, 0xff, 0xff, 0xff, 1, 2, 3];
        assert_eq!(decode::<Vec<u64>>(&bytes, 64).map_err(|e| matches!(e, DecodeError::Malformed { .. })), Err(true));
    }

    #[test]
    fn the_limit_is_checked_before_reading() {
        assert_eq!(decode::<u8>(&[1; 65], 64), Err(DecodeError::TooLong { got: 65, limit: 64 }));
    }
}
