//! Where everything lies: the arithmetic between plaintext and payload.
//!
//! # Source
//! docs/spec/payload.md, "Layout"

/// Bytes of the salt.
pub const SALT_LEN: usize = 24;
/// Bytes of the key commitment.
pub const COMMITMENT_LEN: usize = 32;
/// Bytes before the first chunk.
pub const HEADER_LEN: usize = SALT_LEN + COMMITMENT_LEN;
/// Plaintext bytes of every chunk but the last, which has fewer.
pub const CHUNK_LEN: usize = 16_384;
/// Bytes that a chunk's tag adds.
pub const TAG_LEN: usize = 16;
/// Payload bytes of every chunk but the last.
pub const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;
/// How many chunks a payload may have.
pub const CHUNK_COUNT_MAX: u64 = 1 << 38;
/// The longest plaintext: 4 PiB less one byte, because the last chunk is short.
pub const PLAINTEXT_LEN_MAX_BYTES: u64 = CHUNK_COUNT_MAX * CHUNK_LEN as u64 - 1;

/// Why no payload has such a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A payload was cut: the short last chunk, its tag or part of the header is missing.
    #[error("no whole payload has {len_bytes} bytes")]
    Truncated {
        /// The length in question.
        len_bytes: u64,
    },
    /// More than 2^38 chunks.
    #[error("{len_bytes} bytes are more than a payload holds")]
    TooLong {
        /// The length in question.
        len_bytes: u64,
    },
}

/// The lengths of one payload, which fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    plaintext_len_bytes: u64,
}

impl Layout {
    /// The layout of a plaintext's payload.
    ///
    /// # Errors
    /// [`LayoutError::TooLong`] above [`PLAINTEXT_LEN_MAX_BYTES`].
    pub const fn of_plaintext(len_bytes: u64) -> Result<Self, LayoutError> {
        if len_bytes > PLAINTEXT_LEN_MAX_BYTES {
            return Err(LayoutError::TooLong { len_bytes });
        }
        Ok(Self { plaintext_len_bytes: len_bytes })
    }

    /// The layout of a payload of this length.
    ///
    /// # Errors
    /// [`LayoutError::Truncated`] when no payload has this length, in particular when it ends exactly
    /// at a chunk's edge; [`LayoutError::TooLong`] when it has too many chunks.
    pub const fn of_ciphertext(len_bytes: u64) -> Result<Self, LayoutError> {
        let Some(body) = len_bytes.checked_sub(HEADER_LEN as u64) else {
            return Err(LayoutError::Truncated { len_bytes });
        };
        let (full_chunks, last) = (body / SEALED_CHUNK_LEN as u64, body % SEALED_CHUNK_LEN as u64);
        if full_chunks >= CHUNK_COUNT_MAX {
            return Err(LayoutError::TooLong { len_bytes });
        }
        let Some(last_plaintext) = last.checked_sub(TAG_LEN as u64) else {
            return Err(LayoutError::Truncated { len_bytes });
        };
        Ok(Self { plaintext_len_bytes: full_chunks * CHUNK_LEN as u64 + last_plaintext })
    }

    /// How many bytes went in.
    #[must_use]
    pub const fn plaintext_len_bytes(self) -> u64 {
        self.plaintext_len_bytes
    }

    /// How many bytes the payload has.
    #[must_use]
    pub const fn ciphertext_len_bytes(self) -> u64 {
        HEADER_LEN as u64 + self.plaintext_len_bytes + self.chunk_count() * TAG_LEN as u64
    }

    /// How many chunks there are, the last one included; at least one.
    #[must_use]
    pub const fn chunk_count(self) -> u64 {
        self.plaintext_len_bytes / CHUNK_LEN as u64 + 1
    }

    /// The payload bytes of a chunk, tag included, or none when there is no such chunk.
    #[must_use]
    pub fn chunk(self, chunk: u64) -> Option<std::ops::Range<u64>> {
        if chunk >= self.chunk_count() {
            return None;
        }
        let start = chunk_offset(chunk);
        Some(start..self.ciphertext_len_bytes().min(start + SEALED_CHUNK_LEN as u64))
    }
}

/// Where a chunk begins in the payload. Callers pass numbers up to [`CHUNK_COUNT_MAX`].
pub(super) const fn chunk_offset(chunk: u64) -> u64 {
    HEADER_LEN as u64 + chunk * SEALED_CHUNK_LEN as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_specifications_examples_have_these_lengths() {
        for (plaintext, chunks, ciphertext) in [
            (0, 1, 72),
            (1, 1, 73),
            (1024, 1, 1096),
            (16_383, 1, 16_455),
            (16_384, 2, 16_472),
            (16_385, 2, 16_473),
            (20_480, 2, 20_568),
        ] {
            let layout = Layout::of_plaintext(plaintext).unwrap();
            assert_eq!((layout.chunk_count(), layout.ciphertext_len_bytes()), (chunks, ciphertext));
            assert_eq!(Layout::of_ciphertext(ciphertext), Ok(layout));
        }
    }

    #[test]
    fn a_length_that_ends_within_header_or_tag_or_at_a_chunks_edge_is_truncated() {
        let within_header = 0..HEADER_LEN as u64;
        let edges = (0..4).flat_map(|k| chunk_offset(k)..chunk_offset(k) + TAG_LEN as u64);
        for len_bytes in within_header.chain(edges) {
            assert_eq!(Layout::of_ciphertext(len_bytes), Err(LayoutError::Truncated { len_bytes }));
        }
    }

    #[test]
    fn more_than_2_to_the_38_chunks_are_refused() {
        let longest = Layout::of_plaintext(PLAINTEXT_LEN_MAX_BYTES).unwrap();
        assert_eq!(longest.chunk_count(), CHUNK_COUNT_MAX);
        assert_eq!(Layout::of_ciphertext(longest.ciphertext_len_bytes()), Ok(longest));
        for len_bytes in [PLAINTEXT_LEN_MAX_BYTES + 1, u64::MAX] {
            assert_eq!(Layout::of_plaintext(len_bytes), Err(LayoutError::TooLong { len_bytes }));
        }
        for len_bytes in [chunk_offset(CHUNK_COUNT_MAX), chunk_offset(CHUNK_COUNT_MAX) + 16, u64::MAX] {
            assert_eq!(Layout::of_ciphertext(len_bytes), Err(LayoutError::TooLong { len_bytes }));
        }
    }

    proptest! {
        #[test]
        fn lengths_convert_both_ways_and_chunks_tile_the_payload(plaintext in 0u64..200_000) {
            let layout = Layout::of_plaintext(plaintext).unwrap();
            prop_assert_eq!(Layout::of_ciphertext(layout.ciphertext_len_bytes()), Ok(layout));
            let mut end = HEADER_LEN as u64;
            for chunk in 0..layout.chunk_count() {
                let bytes = layout.chunk(chunk).unwrap();
                prop_assert_eq!(bytes.start, end);
                prop_assert!(bytes.end - bytes.start >= TAG_LEN as u64);
                end = bytes.end;
            }
            prop_assert_eq!(end, layout.ciphertext_len_bytes());
            prop_assert_eq!(layout.chunk(layout.chunk_count()), None);
        }
    }
}
