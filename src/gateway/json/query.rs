//! The path and the query of a request: every part is known, comes once, and is what it has to be.

use super::{
    fault::{Fault, echo},
    tree::check_text,
};
use crate::gateway::error::ApiError;
use axum::extract::{FromRequestParts, Path, Query};
use http::{Uri, request::Parts};
use serde::{
    Deserializer,
    de::{
        DeserializeOwned, Error as _, IntoDeserializer, Visitor,
        value::{MapDeserializer, StringDeserializer},
    },
    forward_to_deserialize_any,
};
use std::collections::BTreeSet;

/// The names in a path.
#[derive(Debug)]
pub(crate) struct StrictPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for StrictPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let bad = |_| ApiError::new(400, "bad_id", "the address has something else where an id or a name belongs");
        let Path(names) = Path::from_request_parts(parts, state).await.map_err(bad)?;
        Ok(Self(names))
    }
}

/// The parameters of a query.
#[derive(Debug)]
pub(crate) struct StrictQuery<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for StrictQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self(parse(&parts.uri)?))
    }
}

fn parse<T: DeserializeOwned>(uri: &Uri) -> Result<T, Fault> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let Query(pairs) = pairs.map_err(|_| bad_query("the query cannot be read".to_owned()))?;
    let mut seen = BTreeSet::new();
    for (name, value) in &pairs {
        check_text(name)?;
        check_text(value)?;
        if !seen.insert(name.as_str()) {
            return Err(bad_query(format!("`{}` comes twice", echo(name))));
        }
    }
    let parameters = pairs.iter().map(|(name, value)| (name.as_str(), Parameter { name, value }));
    T::deserialize(MapDeserializer::new(parameters)).map_err(|fault: Fault| fault.coded("bad_query"))
}

fn bad_query(detail: String) -> Fault {
    Fault::new("bad_query", detail)
}

/// The value of one parameter.
#[derive(Clone, Copy)]
struct Parameter<'a> {
    name: &'a str,
    value: &'a str,
}

impl Parameter<'_> {
    fn number(self) -> Result<u64, Fault> {
        let Self { name, value } = self;
        let plain = value.bytes().all(|byte| byte.is_ascii_digit()) && (value == "0" || !value.starts_with('0'));
        let number = value.parse().ok().filter(|_| plain);
        number.ok_or_else(|| Fault::custom(format_args!("`{}` is not a whole number", echo(name))))
    }
}

impl<'de> IntoDeserializer<'de, Fault> for Parameter<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.visit_u64(self.number()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Parameter<'_> {
    type Error = Fault;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.value)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(Fault::custom(format_args!("`{}` is neither `true` nor `false`", echo(self.name)))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(StringDeserializer::new(self.value.to_owned()))
    }

    /// What a type would ignore is refused.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(Fault::unknown(self.name))
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmdl_types::id::{Height, RecordId};
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Parameters {
        record: Option<RecordId>,
        limit: Option<u16>,
        old: Option<Height>,
        text: String,
        all: bool,
    }

    fn read(query: &str) -> Result<Parameters, Fault> {
        parse(&format!("/v1/x?{query}").parse().unwrap())
    }

    #[test]
    fn known_parameters_are_read() {
        let id = "ab".repeat(32);
        let read = read(&format!("record={id}&limit=20&old=7&text=a%20b%26c&all=true")).unwrap();
        assert_eq!(read.record, Some(id.parse().unwrap()));
        assert_eq!((read.limit, read.old, read.all), (Some(20), Some(Height::new(7)), true));
        assert_eq!(read.text, "a b&c");
        assert_eq!(parse::<Parameters>(&"/v1/x".parse().unwrap()).unwrap(), Parameters::default());
    }

    #[test]
    fn whatever_else_a_query_says_is_refused() {
        for query in [
            "other=1",
            "limit=1&limit=1",
            "limit=-1",
            "limit=65536",
            "limit=1.0",
            "limit=+1",
            "limit=01",
            "limit=",
            "old=18446744073709551616",
            "record=..%2f..%2fetc",
            "record=AB",
            "all=1",
        ] {
            let fault = read(query).expect_err(query);
            assert_eq!(fault.code(), "bad_query", "{query}: {fault}");
        }
        for query in ["text=%00", "text=%0d%0a", "text=%ff", "text=%1b[2J", "text=%e2%80%ae", "%00=1"] {
            assert_eq!(read(query).expect_err(query).code(), "bad_text", "{query}");
        }
    }
}
