//! What is wrong with what a request says, without repeating it.

use serde::de::{self, Expected, Unexpected};
use std::fmt;

/// Longest piece of a request that an answer repeats, in characters.
const ECHO_CHARS: usize = 64;

/// Why a body, a query or a path is not what it has to be.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Fault {
    code: &'static str,
    detail: String,
}

impl Fault {
    pub(super) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    pub(super) fn syntax() -> Self {
        Self::new("json_syntax", "the body is not one JSON document")
    }

    pub(super) fn shape(detail: impl Into<String>) -> Self {
        Self::new("json_shape", detail)
    }

    pub(super) fn unknown(name: &str) -> Self {
        Self::new("json_unknown_field", format!("`{}` is not known here", echo(name)))
    }

    pub(super) const fn code(&self) -> &'static str {
        self.code
    }

    /// The same, said of a member.
    pub(super) fn within(self, name: &str) -> Self {
        Self { detail: format!("in `{}`: {}", echo(name), self.detail), ..self }
    }

    /// The same under another code.
    pub(super) fn coded(self, code: &'static str) -> Self {
        Self { code, ..self }
    }
}

/// A piece of a request that may be repeated: short, and harmless in a log.
pub(super) fn echo(text: &str) -> String {
    text.chars().take(ECHO_CHARS).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::shape(message.to_string())
    }

    // The default texts repeat what was sent.
    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::shape(format!("a value is not {expected}"))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let code = match unexpected {
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "json_number",
            _ => "json_shape",
        };
        Self::new(code, format!("a value is not {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::shape(format!("a value is none of `{}`", expected.join("`, `")))
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::unknown(field)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::shape(format!("`{field}` is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new("json_duplicate", format!("`{field}` comes twice"))
    }
}
