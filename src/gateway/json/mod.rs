//! What requests say: read strictly, so that two readers never differ over it.
//!
//! # Source
//! RFC 8259, RFC 7493

mod fault;
mod parse;
mod query;
mod scan;
mod tree;

pub(crate) use query::{StrictPath, StrictQuery};

use super::{Shared, error::ApiError};
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use fault::Fault;
use http::{HeaderMap, header};
use parse::parse;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A JSON body without anything that could be read in two ways.
#[derive(Debug)]
pub(crate) struct StrictJson<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Shared>> for StrictJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<Shared>) -> Result<Self, ApiError> {
        check_content_type(request.headers())?;
        // The body is there, and is no larger than a body may be.
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|_| ApiError::new(400, "bad_request", "the body cannot be read"))?;
        Ok(Self(parse(&bytes)?))
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut lines = headers.get_all(header::CONTENT_TYPE).iter().map(|line| line.to_str().unwrap_or_default());
    let (Some(line), None) = (lines.next(), lines.next()) else { return Err(unsupported()) };
    let mut parts = line.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let is_utf8 = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.eq_ignore_ascii_case("charset") && value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    if essence.eq_ignore_ascii_case("application/json") && parts.all(is_utf8) { Ok(()) } else { Err(unsupported()) }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        Self::new(400, fault.code(), fault)
    }
}

fn unsupported() -> ApiError {
    ApiError::new(415, "unsupported_media_type", "the body must be `application/json`, in UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmdl_types::id::RecordId;
    use serde::Deserialize;
    use serde_json::Value;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Body {
        text: String,
        #[serde(default)]
        count: u16,
        #[serde(default)]
        id: Option<RecordId>,
        #[serde(default)]
        inner: Vec<Inner>,
        #[serde(default)]
        any: Value,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        flag: bool,
    }

    fn code(text: &str) -> &'static str {
        code_of(text.as_bytes())
    }

    fn code_of(bytes: &[u8]) -> &'static str {
        match parse::<Body>(bytes) {
            Ok(body) => panic!("{body:?}"),
            Err(fault) => {
                assert!(fault.to_string().len() < 300 && fault.to_string().is_ascii(), "{fault}");
                fault.code()
            }
        }
    }

    #[test]
    fn a_plain_object_is_read() {
        let text = r#" {"text": "a\u00e9\n", "count": 7, "inner": [{"flag": true}], "any": {"x": [1, null, -3]}} "#;
        let body: Body = parse(text.replace("\\n", "").as_bytes()).unwrap();
        assert_eq!((body.text.as_str(), body.count, body.inner.len()), ("a\u{e9}", 7, 1));
        assert_eq!(body.any["x"][2], -3);
    }

    #[test]
    fn what_is_no_object_has_no_shape() {
        for text in ["", "  ", "null", "[]", "\"\"", "0", "true", "{}", r#"{"text": 5}"#, r#"{"text": null}"#] {
            assert_eq!(code(text), "json_shape", "{text}");
        }
        assert_eq!(code(r#"{"text": "a", "id": "AB"}"#), "json_shape");
        assert_eq!(code(r#"{"text": "a", "inner": [{}]}"#), "json_shape");
    }

    #[test]
    fn one_document_and_nothing_else_is_read() {
        for text in ["{", r#"{"text": "a"#, r#"{"text": "a"}x"#, r#"{"text": "a"}{}"#, "{'text': 1}", "{\"text\":}"] {
            assert_eq!(code(text), "json_syntax", "{text}");
        }
        for text in [r#"{"text": "a",}"#, r#"{"text": "\ud800"}"#, "{\"text\": \"\n\"}", "{\"text\": tru}", "//\n{}"] {
            assert_eq!(code(text), "json_syntax", "{text}");
        }
        assert_eq!(code_of(b"{\"text\": \"\xff\"}"), "json_syntax");
        assert_eq!(code("\u{feff}{\"text\": \"a\"}"), "json_syntax");
    }

    #[test]
    fn what_is_deep_is_refused_before_it_is_climbed() {
        let deep = |depth: usize| format!(r#"{{"text": "a", "any": {}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(parse::<Body>(deep(31).as_bytes()).is_ok());
        assert_eq!(code(&deep(32)), "json_depth");
        assert_eq!(code(&"[".repeat(100_000)), "json_depth");
        assert_eq!(code(&r#"{"a":"#.repeat(100_000)), "json_depth");
        assert!(parse::<Body>(format!(r#"{{"text": "{}"}}"#, "[".repeat(50)).as_bytes()).is_ok());
    }

    #[test]
    fn what_has_too_many_parts_is_refused() {
        let strings = |count: usize| format!(r#"{{"text": "a", "any": [{}]}}"#, vec!["\"\""; count].join(","));
        assert!(parse::<Body>(strings(997).as_bytes()).is_ok());
        assert_eq!(code(&strings(998)), "json_complex");
        let zeros = |count: usize| format!(r#"{{"text": "a", "any": [{}]}}"#, vec!["0"; count].join(","));
        assert_eq!(code(&zeros(100_000)), "json_complex");
    }

    #[test]
    fn every_member_is_known_and_comes_once() {
        assert_eq!(code(r#"{"text": "a", "more": 1}"#), "json_unknown_field");
        assert_eq!(code(r#"{"text": "a", "inner": [{"flag": true, "more": {}}]}"#), "json_unknown_field");
        assert_eq!(code(&format!(r#"{{"text": "a", "{}": 1}}"#, "m".repeat(10_000))), "json_unknown_field");
        assert_eq!(code(r#"{"text": "a", "text": "a"}"#), "json_duplicate");
        assert_eq!(code(r#"{"text": "a", "any": {"b": 1, "b": 2}}"#), "json_duplicate");
    }

    #[test]
    fn only_whole_numbers_that_everybody_reads_alike_are_read() {
        let number = |text: &str| format!(r#"{{"text": "a", "count": {text}}}"#);
        for text in ["1e400", "-0", "9007199254740993", "NaN", "Infinity", "-Infinity", "1.0", "1e2", "01", "+1", "0x1"]
        {
            assert_eq!(code(&number(text)), "json_number", "{text}");
        }
        assert_eq!(code(&number("65536")), "json_number");
        assert_eq!(code(&number("-1")), "json_number");
        assert_eq!(parse::<Body>(number("65535").as_bytes()).unwrap().count, 65535);
        assert!(parse::<Body>(br#"{"text": "a", "any": 9007199254740991}"#).is_ok());
    }

    #[test]
    fn text_that_could_forge_a_line_is_refused() {
        for escape in ["\\u0000", "\\r\\n", "\\u001b[2J", "\\u202e", "\\u2066", "\\u0085", "\\u2028", "\\ufeff"] {
            assert_eq!(code(&format!(r#"{{"text": "a{escape}b"}}"#)), "bad_text", "{escape}");
            assert_eq!(code(&format!(r#"{{"text": "a", "any": {{"{escape}": 1}}}}"#)), "bad_text", "{escape}");
        }
    }

    #[test]
    fn only_json_is_taken_for_json() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            check_content_type(&headers).is_ok()
        };
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=\"UTF-8\""] {
            assert!(check(good), "{good}");
        }
        for bad in ["text/plain", "application/jsonx", "application/json; charset=latin1", "text/json", ""] {
            assert!(!check(bad), "{bad}");
        }
        assert!(check_content_type(&HeaderMap::new()).is_err());
    }
}
