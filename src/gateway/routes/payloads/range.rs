//! Ranges of bytes, as requests write them.
//!
//! # Source
//! RFC 9110 section 14

use http::{HeaderMap, HeaderName, header};
use std::ops::Range;

/// The first byte and the total of a part whose body has `len` bytes; none when the header does not say
/// exactly that.
pub(super) fn of_part(headers: &HeaderMap, len: usize) -> Option<(u64, u64)> {
    let (range, total) = single(headers, &header::CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    let fits = last.checked_sub(first)?.checked_add(1)? == len as u64 && last < total;
    fits.then_some((first, total))
}

/// The bytes that are asked for of so many; none when all of them are.
///
/// What is no single range of bytes is ignored, as it may be.
///
/// # Errors
/// When there are no such bytes.
pub(super) fn asked(headers: &HeaderMap, len: u64) -> Result<Option<Range<u64>>, ()> {
    let range = single(headers, &header::RANGE).and_then(|value| value.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else { return Ok(None) };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(len),
        (Some(first), None) if last.is_empty() => first..len,
        (None, Some(count)) if first.is_empty() => len.saturating_sub(count)..len,
        _ => return Ok(None),
    };
    if range.is_empty() { Err(()) } else { Ok(Some(range)) }
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut lines = headers.get_all(name).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    line.to_str().ok()
}

fn number(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_part_says_exactly_which_bytes_it_is() {
        let part = |value: &str, len| of_part(&headers(header::CONTENT_RANGE, value), len);
        assert_eq!(part("bytes 0-0/1", 1), Some((0, 1)));
        assert_eq!(part("bytes 10-19/1000", 10), Some((10, 1000)));
        for (value, len) in [
            ("bytes 0-9/10", 9),
            ("bytes 0-9/9", 10),
            ("bytes 9-0/10", 10),
            ("bytes 0-0/1", 0),
            ("bytes */10", 10),
            ("bytes 0-9/*", 10),
            ("bytes=0-9/10", 10),
            ("0-9/10", 10),
            ("bytes 0-18446744073709551615/18446744073709551615", 10),
            ("bytes +0-9/10", 10),
            ("bytes 0-9/10, bytes 0-9/10", 10),
            ("", 0),
        ] {
            assert_eq!(part(value, len), None, "{value}");
        }
        assert_eq!(of_part(&HeaderMap::new(), 10), None);
    }

    #[test]
    fn one_range_is_answered_and_others_are_ignored() {
        let ask = |value: &str| asked(&headers(header::RANGE, value), 100);
        assert_eq!(ask("bytes=0-9"), Ok(Some(0..10)));
        assert_eq!(ask("bytes=90-1000"), Ok(Some(90..100)));
        assert_eq!(ask("bytes=99-"), Ok(Some(99..100)));
        assert_eq!(ask("bytes=-7"), Ok(Some(93..100)));
        assert_eq!(ask("bytes=-1000"), Ok(Some(0..100)));
        for none in ["bytes=0-1,5-6", "bytes=9-0", "bytes=a-b", "lines=0-9", "bytes=-", "bytes=", "0-9"] {
            assert_eq!(ask(none), Ok(None), "{none}");
        }
        for missing in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=18446744073709551615-"] {
            assert_eq!(ask(missing), Err(()), "{missing}");
        }
        assert_eq!(asked(&HeaderMap::new(), 100), Ok(None));
        assert_eq!(asked(&headers(header::RANGE, "bytes=0-"), 0), Err(()));
    }
}
