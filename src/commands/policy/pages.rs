//! Lists that are read page by page to their end.

use super::super::{failure, session::Session, text};
use crate::exit::Failure;
use serde_json::Value;

/// Items of a page.
const LIMIT: &str = "500";
/// Most pages of a list: honest pages may be empty, and a gateway may have no end of them.
const PAGES_MAX: usize = 1000;

/// What `take` makes of the items of a list, no more than `max`, and whether these are all.
pub(super) fn all<T>(
    session: &Session,
    list: &str,
    filter: &[(&str, String)],
    max: usize,
    take: impl Fn(&Value) -> Result<Option<T>, Failure>,
) -> Result<(Vec<T>, bool), Failure> {
    let (mut all, mut cursor) = (Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let mut query = [filter, &[("limit", LIMIT.to_owned())]].concat();
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let route = format!("{list}?{}", text::query(&query));
        let page = session.run(session.client.gateway().get(&route)).map_err(|error| failure::gateway(&error))?;
        for item in page.get("items").and_then(Value::as_array).into_iter().flatten() {
            all.extend(take(item)?);
        }
        if all.len() >= max {
            all.truncate(max);
            return Ok((all, false));
        }
        cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() {
            return Ok((all, true));
        }
    }
    Ok((all, false))
}
