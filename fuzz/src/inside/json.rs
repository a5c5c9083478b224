//! Bodies of requests: what is read is what every reader of JSON reads.

#[path = "../../../src/gateway/json"]
#[allow(dead_code, reason = "only reading a body is fuzzed")]
mod body {
    mod fault;
    mod parse;
    mod scan;
    mod tree;

    /// Reads a body, or says what its sender is told.
    pub(super) fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
        parse::parse(bytes).map_err(|fault| fault.to_string())
    }
}

use dmdl_types::id::{Height, NodeId, RecordId};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use std::{collections::BTreeSet, fmt};

/// Says more of an error than a caller may hear.
const DETAIL_CHARS: usize = 300;
/// Deeper nesting is refused.
const DEPTH_MAX: usize = 32;
/// What every reader has exactly.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// A body with the shapes that bodies have.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    record: RecordId,
    #[serde(default)]
    height: Option<Height>,
    #[serde(default)]
    keys: Vec<Key>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    custodian: NodeId,
}

pub(super) fn run(data: &[u8]) {
    match body::read::<Value>(data) {
        Ok(value) => {
            assert!(value.is_object(), "a body is an object");
            assert_eq!(serde_json::from_slice::<Value>(data).ok().as_ref(), Some(&value), "two readers differ");
            check(&value, 1);
            assert!(serde_json::from_slice::<EachOnce>(data).is_ok(), "a member comes twice");
            let printed = value.to_string();
            assert_eq!(body::read::<Value>(printed.as_bytes()).ok(), Some(value), "not what was printed");
        }
        Err(text) => check_told(&text),
    }
    match body::read::<Typed>(data) {
        Ok(typed) => assert_eq!(serde_json::from_slice(data).ok(), Some(typed), "two readers differ"),
        Err(text) => check_told(&text),
    }
}

fn check_told(text: &str) {
    assert!(text.len() <= DETAIL_CHARS && text.is_ascii(), "an error repeats what was sent: {text}");
}

fn check(value: &Value, depth: usize) {
    assert!(depth <= DEPTH_MAX || !(value.is_array() || value.is_object()), "too deep");
    let plain = |text: &str| assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
    match value {
        Value::Number(number) => {
            let size = number.as_i64().map(i64::unsigned_abs);
            assert!(size.is_some_and(|size| size <= NUMBER_MAX), "readers differ over {number}");
        }
        Value::String(text) => plain(text),
        Value::Array(items) => items.iter().for_each(|item| check(item, depth + 1)),
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            plain(name);
            check(member, depth + 1);
        }),
        Value::Null | Value::Bool(_) => {}
    }
}

/// JSON in which no member comes twice; `serde_json` itself takes the last of them.
struct EachOnce;

impl<'de> Deserialize<'de> for EachOnce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for EachOnce {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("members that come once")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some((name, _)) = members.next_entry::<String, Self>()? {
            if !seen.insert(name) {
                return Err(serde::de::Error::custom("a member comes twice"));
            }
        }
        Ok(self)
    }
}
