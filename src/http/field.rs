//! The text of signature fields: the one spelling that the profile allows, and nothing else.
//!
//! Whatever is read here is a structured field (RFC 9651) in its canonical serialization, so its text stands
//! in the signature base as it came, and no two readers can differ over what it says.

use super::signature::SignatureError;
use ::http::{HeaderMap, HeaderName};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The name of the parameters.
pub(super) const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
/// The name of the signature itself.
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("signature");
/// The name of the body's digest.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// Longest field that is looked at; the longest good one has fewer than 400 bytes.
const FIELD_BYTES: usize = 2048;
/// Most digits of an integer in a structured field.
const INTEGER_DIGITS: usize = 15;

/// The value of a dictionary field's one member, which has our label; `None` where there is none.
pub(super) fn member<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, SignatureError> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(SignatureError::Ambiguous);
    }
    if line.len() > FIELD_BYTES {
        return Err(SignatureError::Malformed("a field is too long"));
    }
    let text = line.to_str().map_err(|_| SignatureError::Malformed("a field is not ASCII"))?;
    let mut quoted = false;
    for byte in text.bytes() {
        match byte {
            // No string of the profile has an escaped quote, so this one is refused, here or further on.
            b'"' => quoted = !quoted,
            b',' if !quoted => return Err(SignatureError::Ambiguous),
            _ => {}
        }
    }
    Ok(text.strip_prefix("dmdl="))
}

/// A parameter's value, not yet judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'h> {
    /// A string, without its quotes. Whoever judges it compares it whole, so escapes are never undone.
    Text(&'h str),
    /// Anything else.
    Bare(&'h str),
}

impl<'h> Value<'h> {
    /// A string's text.
    pub(super) const fn text(self) -> Option<&'h str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bare(_) => None,
        }
    }

    /// A whole number without a sign, in the one spelling it has.
    pub(super) fn integer(self) -> Option<u64> {
        let Self::Bare(digits) = self else { return None };
        let canonical = digits == "0" || !digits.starts_with('0');
        if digits.len() > INTEGER_DIGITS || !canonical || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok()
    }
}

/// `Signature-Input`, taken apart but not judged.
#[derive(Debug, Default)]
pub(super) struct Input<'h> {
    /// The list of covered components, with its brackets.
    pub(super) components: &'h str,
    pub(super) created: Option<Value<'h>>,
    pub(super) keyid: Option<Value<'h>>,
    pub(super) alg: Option<Value<'h>>,
    pub(super) nonce: Option<Value<'h>>,
    pub(super) tag: Option<Value<'h>>,
}

impl<'h> Input<'h> {
    pub(super) fn parse(text: &'h str) -> Result<Self, SignatureError> {
        let malformed = || SignatureError::Malformed("the input is not a list with parameters");
        let end = text.find(')').ok_or_else(malformed)?;
        let (components, mut rest) = text.split_at_checked(end + 1).ok_or_else(malformed)?;
        let mut input = Self { components, ..Self::default() };
        while !rest.is_empty() {
            let (name, after) = rest.strip_prefix(';').and_then(|rest| rest.split_once('=')).ok_or_else(malformed)?;
            let value;
            (value, rest) = take_value(after).ok_or_else(malformed)?;
            let place = match name {
                "created" => &mut input.created,
                "keyid" => &mut input.keyid,
                "alg" => &mut input.alg,
                "nonce" => &mut input.nonce,
                "tag" => &mut input.tag,
                _ => return Err(SignatureError::Malformed("the input has a parameter that is not allowed")),
            };
            if place.replace(value).is_some() {
                return Err(SignatureError::Ambiguous);
            }
        }
        Ok(input)
    }
}

/// A value at the beginning of `text`, and what follows it.
fn take_value(text: &str) -> Option<(Value<'_>, &str)> {
    if let Some(string) = text.strip_prefix('"') {
        let (inner, rest) = string.split_once('"')?;
        return Some((Value::Text(inner), rest));
    }
    let (bare, rest) = text.split_at_checked(text.find(';').unwrap_or(text.len()))?;
    Some((Value::Bare(bare), rest))
}

/// The bytes between the colons of a byte sequence.
pub(super) fn byte_sequence<const N: usize>(text: &str) -> Option<[u8; N]> {
    fixed_base64(text.strip_prefix(':')?.strip_suffix(':')?)
}

/// Exactly `N` bytes in the one base64 text that they have.
pub(super) fn fixed_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N.div_ceil(3) * 4 {
        return None;
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// `Content-Digest`: its text and the SHA-256 that it names; `None` where there is none.
pub(super) fn content_digest(headers: &HeaderMap) -> Result<Option<(&str, [u8; 32])>, SignatureError> {
    let mut lines = headers.get_all(CONTENT_DIGEST).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() || line.as_bytes().contains(&b',') {
        return Err(SignatureError::DigestAmbiguous);
    }
    let text = line.to_str().map_err(|_| SignatureError::DigestMismatch)?;
    let digest = text.strip_prefix("sha-256=").and_then(byte_sequence).ok_or(SignatureError::DigestMismatch)?;
    Ok(Some((text, digest)))
}

/// The text of `Content-Digest`.
pub(super) fn print_digest(digest: &[u8; 32]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest))
}
