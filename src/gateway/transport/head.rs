//! What a request's first lines say of its length and limits, before anything else reads them.
//!
//! The HTTP library forgives more than it tells: of two lengths it keeps one and drops the other. A
//! request that two readers could cut at different places is refused here, on the bytes as they came.
//!
//! # Source
//! RFC 9112, sections 2 to 6 and 11.2

use http::Uri;
use std::str;

/// Most bytes of a request's line and headers.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of a request's target.
const TARGET_BYTES_MAX: usize = 4 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 100;
/// Longest method that is read; which methods there are is asked later.
const METHOD_BYTES_MAX: usize = 32;
/// Digits of the largest length that is read; what is too large is asked later.
const LENGTH_DIGITS_MAX: usize = 15;

const END: &[u8] = b"\r\n\r\n";

/// Why a request is refused before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The bytes are no request.
    Malformed,
    /// Another version of HTTP.
    Version,
    /// The target is too long.
    Target,
    /// The headers are too large, or too many.
    Headers,
    /// Two readers could disagree about where the body ends.
    Ambiguous,
    /// The body comes in chunks, without a length.
    Chunked,
    /// The headers did not come in time.
    Slow,
}

impl Refusal {
    /// Status, code and detail of the answer.
    pub(super) const fn problem(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Malformed => (400, "bad_request", "this is no HTTP/1.1 request"),
            Self::Version => (400, "http_version", "only HTTP/1.1 is spoken here"),
            Self::Target => (414, "uri_too_long", "a URL has at most 4 KiB here"),
            Self::Headers => (431, "headers_too_large", "a request has at most 100 headers and 16 KiB of them"),
            Self::Ambiguous => (400, "ambiguous_length", "a request says its length once, by one `Content-Length`"),
            Self::Chunked => (411, "length_required", "a request with a body says its length by `Content-Length`"),
            Self::Slow => (408, "request_timeout", "the headers did not come in time"),
        }
    }
}

/// A head that is whole: where it ends, and how long the body after it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) len: usize,
    pub(super) body_len: u64,
}

/// Reads a head from the first bytes of a request; none while more of it must come.
///
/// # Errors
/// [`Refusal`], as soon as the bytes decide it.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Head>, Refusal> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    check_so_far(first, lines.next().is_some())?;
    let within = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = within.windows(END.len()).position(|window| window == END) else {
        return if within.len() == HEAD_BYTES_MAX { Err(Refusal::Headers) } else { Ok(None) };
    };
    let body_len = within.get(..end).map_or(Err(Refusal::Malformed), read_lines)?;
    Ok(Some(Head { len: end + END.len(), body_len }))
}

/// Refuses at once what can become no request line: a greeting in another protocol would be waited for
/// otherwise.
fn check_so_far(line: &[u8], ended: bool) -> Result<(), Refusal> {
    if ended && !line.ends_with(b"\r") {
        return Err(Refusal::Malformed);
    }
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let method = parts.next().unwrap_or_default();
    let method = method.strip_suffix(b"\r").unwrap_or(method);
    if method.len() > METHOD_BYTES_MAX || !method.iter().copied().all(is_token) {
        return Err(Refusal::Malformed);
    }
    match parts.next() {
        Some(target) if target.len() > TARGET_BYTES_MAX => Err(Refusal::Target),
        _ => Ok(()),
    }
}

/// Reads all lines of a head; gives the length of the body.
fn read_lines(head: &[u8]) -> Result<u64, Refusal> {
    let mut lines = head.split(|byte| *byte == b'\n').peekable();
    let mut next = || {
        let Some(line) = lines.next() else { return Ok(None) };
        // The last line lost its end to the blank line after it.
        let whole = if lines.peek().is_some() { line.strip_suffix(b"\r") } else { Some(line) };
        whole.filter(|line| !line.contains(&b'\r')).map(Some).ok_or(Refusal::Malformed)
    };
    read_request_line(next()?.unwrap_or_default())?;
    let (mut count, mut length, mut chunked) = (0, None, false);
    while let Some(line) = next()? {
        count += 1;
        if count > HEADERS_MAX {
            return Err(Refusal::Headers);
        }
        let (name, value) = read_header(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.replace(read_length(value)?).is_some() {
                return Err(Refusal::Ambiguous);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            chunked = true;
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err(Refusal::Ambiguous),
        (None, true) => Err(Refusal::Chunked),
        (length, false) => Ok(length.unwrap_or(0)),
    }
}

fn read_request_line(line: &[u8]) -> Result<(), Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::Malformed);
    };
    let readable = |target: &str| target.bytes().all(|byte| byte.is_ascii_graphic()) && target.parse::<Uri>().is_ok();
    if method.is_empty() || !str::from_utf8(target).is_ok_and(readable) {
        return Err(Refusal::Malformed);
    }
    match version {
        b"HTTP/1.1" => Ok(()),
        other if other.starts_with(b"HTTP/") => Err(Refusal::Version),
        _ => Err(Refusal::Malformed),
    }
}

fn read_header(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Refusal::Malformed)?;
    let (name, value) = line.split_at_checked(colon).ok_or(Refusal::Malformed)?;
    let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
    let printable = value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7F));
    if name.is_empty() || !name.iter().copied().all(is_token) || !printable {
        return Err(Refusal::Malformed);
    }
    Ok((name, value))
}

fn read_length(value: &[u8]) -> Result<u64, Refusal> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    // A list of lengths in one header is two lengths.
    if value.contains(&b',') {
        return Err(Refusal::Ambiguous);
    }
    let text = str::from_utf8(value).map_err(|_| Refusal::Malformed)?;
    match text.parse() {
        Ok(length) if digits && value.len() <= LENGTH_DIGITS_MAX => Ok(length),
        _ => Err(Refusal::Malformed),
    }
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Result<Option<Head>, Refusal> {
        read(text.as_bytes())
    }

    #[test]
    fn a_head_is_read_when_its_last_byte_is_there() {
        let text = "POST /v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(whole(&text[..end]), Ok(None), "{end}");
        }
        let head = Head { len: text.len(), body_len: 12 };
        assert_eq!(whole(text), Ok(Some(head)));
        assert_eq!(whole(&format!("{text}twelve bytes")), Ok(Some(head)));
        let bare = "GET /healthz HTTP/1.1\r\n\r\n";
        assert_eq!(whole(bare), Ok(Some(Head { len: bare.len(), body_len: 0 })));
    }

    #[test]
    fn a_length_that_can_be_read_in_two_ways_is_refused() {
        let with = |headers: &str| whole(&format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n"));
        for two in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "transfer-encoding: identity\r\ncontent-length: 5",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5, 5",
        ] {
            assert_eq!(with(two), Err(Refusal::Ambiguous), "{two}");
        }
        for none in ["Content-Length: +5", "Content-Length: -1", "Content-Length:", "Content-Length: 0x5"] {
            assert_eq!(with(none), Err(Refusal::Malformed), "{none}");
        }
        assert_eq!(with("Content-Length: 99999999999999999999"), Err(Refusal::Malformed));
        assert_eq!(with("Transfer-Encoding: chunked"), Err(Refusal::Chunked));
        assert_eq!(with("Transfer-Encoding: xchunked"), Err(Refusal::Chunked));
    }

    #[test]
    fn only_plain_lines_are_a_head() {
        for (text, why) in [
            ("GET  / HTTP/1.1\r\n\r\n", Refusal::Malformed),
            ("GET /\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1 \r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.0\r\n\r\n", Refusal::Version),
            ("GET / HTTP/2.0\r\n\r\n", Refusal::Version),
            ("PRI * HTTP/2.0\r\n\r\n", Refusal::Version),
            ("GET / ICY\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1\n\n", Refusal::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\rB: c\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1\r\nA : b\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1\r\n: b\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1\r\nA\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1\r\nA: \0\r\n\r\n", Refusal::Malformed),
            ("GET /\u{e9} HTTP/1.1\r\n\r\n", Refusal::Malformed),
            ("GET /<> HTTP/1.1\r\n\r\n", Refusal::Malformed),
            ("\r\nGET / HTTP/1.1\r\n\r\n", Refusal::Malformed),
        ] {
            assert_eq!(whole(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn another_protocol_is_refused_at_its_first_bytes() {
        assert_eq!(read(b"\x16\x03\x01\x02\x00"), Err(Refusal::Malformed));
        assert_eq!(read(&[b'A'; METHOD_BYTES_MAX + 1]), Err(Refusal::Malformed));
    }

    #[test]
    fn limits_hold_to_the_byte() {
        let target = |len: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(len - 1));
        assert!(whole(&target(TARGET_BYTES_MAX)).is_ok_and(|head| head.is_some()));
        assert_eq!(whole(&target(TARGET_BYTES_MAX + 1)), Err(Refusal::Target));
        assert_eq!(whole(&format!("GET /{}", "a".repeat(TARGET_BYTES_MAX))), Err(Refusal::Target));

        let many = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert!(whole(&many(HEADERS_MAX)).is_ok_and(|head| head.is_some()));
        assert_eq!(whole(&many(HEADERS_MAX + 1)), Err(Refusal::Headers));

        let frame = "GET / HTTP/1.1\r\nA: \r\n\r\n".len();
        let large = |len: usize| format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(len - frame));
        assert!(whole(&large(HEAD_BYTES_MAX)).is_ok_and(|head| head.is_some()));
        assert_eq!(whole(&large(HEAD_BYTES_MAX + 1)), Err(Refusal::Headers));
        assert_eq!(whole(&large(2 * HEAD_BYTES_MAX)[..HEAD_BYTES_MAX]), Err(Refusal::Headers));
    }
}
