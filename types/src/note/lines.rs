//! Reading text formats line by line, one spelling a value.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

/// The lines of a text that have not been read.
pub(crate) struct Lines<'a> {
    rest: &'a str,
}

impl<'a> Lines<'a> {
    /// All lines of `text`.
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The next line without its newline; `None` when no newline is left.
    pub(crate) fn next(&mut self) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        self.rest = rest;
        Some(line)
    }

    /// The value of the next line when that is `key value`.
    pub(crate) fn value_of(&mut self, key: &str) -> Option<&'a str> {
        self.next()?.strip_prefix(key)?.strip_prefix(' ')
    }

    /// What follows the lines that were read.
    pub(crate) const fn rest(&self) -> &'a str {
        self.rest
    }
}

/// A number in decimal digits, without leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    // `parse` also takes `+7` and `007`.
    (number.to_string() == text).then_some(number)
}

/// Thirty-two bytes in standard base64, padded.
pub(crate) fn base64_hash(text: &str) -> Option<[u8; 32]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "00", "07", "+7", "-0", " 7", "7 ", "0x7", "18446744073709551616", "٧"] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_hash_has_one_spelling() {
        let good = BASE64.encode([0; 32]);
        assert_eq!(base64_hash(&good), Some([0; 32]));
        // Unpadded, with bits set that no byte has, in the alphabet of URLs, of another length.
        for bad in [&good[..43], &good.replace("A=", "B="), &BASE64.encode([0xff; 32]).replace('/', "_"), "AAAA"] {
            assert_eq!(base64_hash(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_last_line_without_its_newline_is_no_line() {
        let mut lines = Lines::new("size 7\nrest");
        assert_eq!(lines.value_of("size"), Some("7"));
        assert_eq!(lines.next(), None);
        assert_eq!(lines.rest(), "rest");
    }
}
