//! Where a request goes, in the one spelling that both sides sign.

use super::signature::SignatureError;
use ::http::{HeaderMap, Method, Uri, header::HOST};
use std::{fmt, str::FromStr};

/// The port that an `https` authority leaves out.
const DEFAULT_PORT: &str = ":443";

/// Why a request's target cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// No host, several hosts, or a host with a user's name.
    #[error("the request does not name exactly one host")]
    Authority,
    /// Other bytes than visible ASCII, which could end a line of the signature base.
    #[error("the request's target has other characters than visible ASCII")]
    Characters,
}

impl From<TargetError> for SignatureError {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::Authority => Self::Context,
            TargetError::Characters => Self::Malformed("the target has other characters than visible ASCII"),
        }
    }
}

/// A host with its port: in lower case, without the default port of `https`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority(String);

impl FromStr for Authority {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_suffix(DEFAULT_PORT).unwrap_or(text);
        if text.is_empty() || text.contains('@') || !is_visible(text) {
            return Err(TargetError::Authority);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a request asks of whom: nothing in it can end a line of a signature base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    method: &'a str,
    authority: Authority,
    path: &'a str,
    query: &'a str,
}

impl<'a> Target<'a> {
    /// The target of these parts, which are as they stand in the request: percent-encoded where they have to
    /// be, the query without its question mark. No path is the path `/`; no query is an empty one.
    ///
    /// # Errors
    /// [`TargetError::Characters`].
    pub fn new(
        method: &'a str,
        authority: Authority,
        path: &'a str,
        query: Option<&'a str>,
    ) -> Result<Self, TargetError> {
        let path = if path.is_empty() { "/" } else { path };
        let query = query.unwrap_or_default();
        if method.is_empty() || ![method, path, query].into_iter().all(is_visible) {
            return Err(TargetError::Characters);
        }
        Ok(Self { method, authority, path, query })
    }

    /// The target of a request, on either side: its host stands in the URI, in `Host`, or alike in both.
    ///
    /// # Errors
    /// [`TargetError`] says what the request lacks.
    pub fn of(method: &'a Method, uri: &'a Uri, headers: &HeaderMap) -> Result<Self, TargetError> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().map(|host| host.to_str().map_err(|_| TargetError::Authority)).transpose()?;
        if hosts.next().is_some() {
            return Err(TargetError::Authority);
        }
        let named = [uri.authority().map(::http::uri::Authority::as_str), host];
        let mut named = named.into_iter().flatten().map(Authority::from_str);
        let authority = named.next().ok_or(TargetError::Authority)??;
        if named.next().transpose()?.is_some_and(|other| other != authority) {
            return Err(TargetError::Authority);
        }
        Self::new(method.as_str(), authority, uri.path(), uri.query())
    }

    /// Whom the request is for.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The target's lines of a signature base, in the order in which a signature covers them.
    pub(super) fn lines(&self) -> String {
        let Self { method, authority, path, query } = self;
        format!("\"@method\": {method}\n\"@authority\": {authority}\n\"@path\": {path}\n\"@query\": ?{query}\n")
    }
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
