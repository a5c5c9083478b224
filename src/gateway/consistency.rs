//! How fresh an answer has to be. The query of a read says so, and it is seen to in one place, before the read.
//!
//! # Source
//! docs/api.md; docs/adr/0014-reads.md

use super::{RealNode, error::ApiError};
use http::Uri;
use std::time::Duration;

/// The parameter of a query that says it.
pub(super) const PARAMETER: &str = "consistency";
/// What it may say; the first is meant where it says nothing.
pub(super) const VALUES: [&str; 2] = ["local", "linear"];

/// How long a node may take to show that nothing is missing here: the turns of ten nodes, where nothing else happens.
const PATIENCE: Duration = Duration::from_secs(20);

/// How fresh an answer has to be, and the query without that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    is_linear: bool,
    /// What else the query says, if this was a part of it.
    rest: Option<String>,
}

impl Asked {
    /// Finds it in the query of a read.
    ///
    /// # Errors
    /// 400 `bad_query` when it says something else, or says it twice.
    pub(super) fn of(query: Option<&str>) -> Result<Self, ApiError> {
        let bad = |detail: &str| ApiError::new(400, "bad_query", detail);
        let (mut said, mut rest) = (None, Vec::new());
        for pair in query.unwrap_or_default().split('&') {
            let Some(value) = pair.strip_prefix(PARAMETER).and_then(|value| value.strip_prefix('=')) else {
                rest.push(pair);
                continue;
            };
            let place = VALUES.iter().position(|known| *known == value);
            let place = place.ok_or_else(|| bad("`consistency` is `local` or `linear`"))?;
            if said.replace(place).is_some() {
                return Err(bad("`consistency` comes twice"));
            }
        }
        Ok(said.map_or_else(Self::default, |place| Self { is_linear: place > 0, rest: Some(rest.join("&")) }))
    }

    /// The query that is left to the route.
    pub(super) fn rest<'a>(&'a self, query: Option<&'a str>) -> Option<&'a str> {
        self.rest.as_deref().or(query)
    }

    /// Where the route is asked.
    pub(super) fn uri(&self, uri: &Uri) -> Uri {
        let Some(rest) = &self.rest else { return uri.clone() };
        let separator = if rest.is_empty() { "" } else { "?" };
        let mut parts = uri.clone().into_parts();
        // What is left of something that was a path with a query is one.
        parts.path_and_query = format!("{}{separator}{rest}", uri.path()).parse().ok();
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Waits until this node may answer; says whether there was anything to wait for.
    ///
    /// # Errors
    /// 503 `behind` when it cannot show in time that it lacks nothing.
    pub(super) async fn wait(&self, node: &RealNode) -> Result<bool, ApiError> {
        if !self.is_linear || node.catch_up(PATIENCE).await? {
            return Ok(self.is_linear);
        }
        let detail = "this node cannot show at the moment that it is up to date; try again, or another gateway";
        Err(ApiError::new(503, "behind", detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(query: &str) -> (bool, String) {
        let uri: Uri = format!("https://gateway.example/v1/x{query}").parse().unwrap();
        let asked = Asked::of(uri.query()).unwrap();
        (asked.is_linear, asked.uri(&uri).to_string())
    }

    #[test]
    fn the_route_is_asked_the_rest() {
        let at = |query: &str| format!("https://gateway.example/v1/x{query}");
        for (query, is_linear, rest) in [
            ("", false, ""),
            ("?", false, "?"),
            ("?limit=1&cursor=a", false, "?limit=1&cursor=a"),
            ("?consistency=local", false, ""),
            ("?consistency=linear", true, ""),
            ("?limit=1&consistency=linear&cursor=a", true, "?limit=1&cursor=a"),
            // Whoever writes it in another way asks for something that no route knows.
            ("?%63onsistency=linear", false, "?%63onsistency=linear"),
            ("?consistency", false, "?consistency"),
            ("?xconsistency=linear", false, "?xconsistency=linear"),
        ] {
            assert_eq!(left(query), (is_linear, at(rest)), "{query}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for query in
            ["consistency=", "consistency=Linear", "consistency=strong", "consistency=linear&limit=1&consistency=local"]
        {
            assert!(Asked::of(Some(query)).is_err(), "{query}");
        }
    }
}
