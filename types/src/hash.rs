//! SHA-256 over labelled, length-prefixed parts.

use sha2::{Digest as _, Sha256};

/// Hashes parts so that no two different lists of parts give the same input.
///
/// # Encoding
/// `len(label) u64-le ‖ label ‖ (len(part) u64-le ‖ part)*`
///
/// # Source
/// docs/spec/signing.md
#[must_use]
pub fn labelled(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update((label.len() as u64).to_le_bytes());
    hasher.update(label.as_bytes());
    for part in parts {
        if !crate::planted!("hash-without-lengths") {
            hasher.update((part.len() as u64).to_le_bytes());
        }
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::labelled;

    #[test]
    fn moving_a_byte_between_parts_changes_the_hash() {
        assert_ne!(labelled("l", &[b"ab", b"c"]), labelled("l", &[b"a", b"bc"]));
        assert_ne!(labelled("l", &[b"ab"]), labelled("la", &[b"b"]));
    }
}
