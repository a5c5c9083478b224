//! How results look as text: times, ids, tables; and how what others wrote is made safe to print.

use dmdl_types::{genesis::NodeRoles, id::UnixMillis};
use serde_json::Value;
use std::{fmt::Write as _, io::Write as _, path::Path};

/// What stands for a value that is not there.
const NONE: &str = "-";
/// How much of an id a column shows.
const SHORT_CHARS: usize = 12;
/// Members of answers that are times, in milliseconds.
const TIMES: [&str; 4] = ["time", "registered", "ends", "since"];

/// An instant, RFC 3339 in UTC.
pub(super) fn time(ms: u64) -> String {
    UnixMillis::new(ms).to_string()
}

/// The milliseconds of an instant in RFC 3339; the offset from UTC must be written.
pub(super) fn parse_time(text: &str) -> Result<u64, String> {
    instant(text).ok_or_else(|| "write a time as `2026-11-22T18:30:45Z` or with an offset, `…+01:00`".to_owned())
}

fn instant(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', 't'])?;
    let (clock, offset_ms) = if let Some(clock) = rest.strip_suffix(['Z', 'z']) {
        (clock, 0)
    } else {
        let at = rest.rfind(['+', '-'])?;
        let (clock, offset) = rest.split_at_checked(at)?;
        let (sign, offset) = offset.split_at_checked(1)?;
        let [hours, minutes] = numbers(offset, ':', [2, 2])?;
        let ms = i64::try_from((hours * 60 + minutes) * 60_000).ok().filter(|_| hours < 24 && minutes < 60)?;
        (clock, if sign == "-" { -ms } else { ms })
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let digits = !fraction.is_empty() && fraction.len() <= 9 && fraction.bytes().all(|b| b.is_ascii_digit());
    let ms: u64 = format!("{fraction:0<3}").get(..3).filter(|_| digits)?.parse().ok()?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    // A leap second has no place in a count of milliseconds.
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let local = days(year, month, day)? * 86_400_000 + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms;
    local.checked_add_signed(-offset_ms)
}

/// Numbers with exactly so many digits each.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[u64; N]> {
    let mut parts = text.split(between);
    let mut all = [0; N];
    for (number, len) in all.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == len && part.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(all)
}

/// Days from 1970-01-01 to a date, if there is such a date and it is not earlier.
///
/// # Source
/// Howard Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Writes a time that an answer gives in milliseconds as RFC 3339.
pub(super) fn stamp(value: &mut Value, member: &str) {
    if let Some(value) = value.get_mut(member)
        && let Some(ms) = value.as_u64()
    {
        *value = time(ms).into();
    }
}

/// The beginning of an id, for columns; nothing takes it as an id.
pub(super) fn short(id: &str) -> String {
    line(id).chars().take(SHORT_CHARS).collect()
}

/// What a node does.
pub(super) fn roles(roles: NodeRoles, is_gateway: bool) -> Vec<&'static str> {
    roles.names().chain(is_gateway.then_some("gateway")).collect()
}

/// Text from elsewhere on one line: what does not print, or would change how the rest prints, is a `?`.
pub(super) fn line(text: &str) -> String {
    text.chars().map(|c| if prints(c) { c } else { '?' }).collect()
}

/// The name of a file, which may hold whatever its system allows.
pub(super) fn path(path: &Path) -> String {
    line(&path.to_string_lossy())
}

/// Text from elsewhere with its lines.
pub(super) fn lines(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || c == '\t' || prints(c) { c } else { '?' }).collect()
}

/// Whether a character prints as itself: the standard library escapes those that do not in debug text,
/// among them the ones that turn the direction of what follows.
fn prints(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1
}

/// A value of an answer, for a cell.
pub(super) fn clean(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => NONE.to_owned(),
        Some(Value::String(text)) => line(text),
        Some(other) => line(&other.to_string()),
    }
}

/// Columns with a head, two spaces apart; no line ends in spaces.
pub(super) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let head = head.iter().map(|&name| name.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let mut widths = Vec::new();
    for row in &rows {
        widths.resize(row.len().max(widths.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The members of an answer, one a line; those of members go under the path that leads to them.
pub(super) fn fields(value: &Value) -> String {
    let mut pairs = Vec::new();
    flatten(String::new(), value, &mut pairs);
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in pairs {
        let mut value = value.split('\n');
        let _ = write!(text, "{name:width$}  {}", value.next().unwrap_or_default());
        for more in value {
            let _ = write!(text, "\n{:width$}  {more}", "");
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

fn flatten(path: String, value: &Value, pairs: &mut Vec<(String, String)>) {
    let under = |name: &str| if path.is_empty() { line(name) } else { format!("{path}.{}", line(name)) };
    let last = path.rsplit('.').next().unwrap_or_default();
    match value {
        Value::Object(members) if !members.is_empty() => {
            members.iter().for_each(|(name, value)| flatten(under(name), value, pairs));
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items.iter().zip(1..).for_each(|(item, n)| flatten(under(&n.to_string()), item, pairs));
        }
        Value::Array(items) if !items.is_empty() => {
            let items: Vec<String> = items.iter().map(|item| clean(Some(item))).collect();
            pairs.push((path, items.join(" ")));
        }
        Value::Array(_) | Value::Object(_) => pairs.push((path, NONE.to_owned())),
        Value::Number(ms) if TIMES.contains(&last) => {
            let shown = ms.as_u64().map_or_else(|| ms.to_string(), time);
            pairs.push((path, shown));
        }
        Value::String(text) => pairs.push((path, lines(text).trim_end().to_owned())),
        other => pairs.push((path, clean(Some(other)))),
    }
}

/// The query of a route: names as they are, values percent-encoded.
pub(super) fn query(pairs: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        let _ = write!(text, "{}{name}=", if text.is_empty() { "" } else { "&" });
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

/// The last line of a page that others follow.
pub(super) fn with_more(mut shown: String, page: &Value) -> String {
    if let Some(cursor) = page.get("next_cursor").and_then(Value::as_str) {
        let _ = write!(shown, "\nmore: --cursor {}", line(cursor));
    }
    shown
}

/// Shows fields beside the result, before it is there.
pub(super) fn show(value: &Value) {
    let _ = writeln!(std::io::stderr(), "{}\n", fields(value));
}

/// Says something beside the result.
pub(super) fn warn(text: &str) {
    // Whoever reads errors may have gone away; the result still counts.
    let _ = writeln!(std::io::stderr(), "dmdl: {}", line(text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_time_is_read_as_it_is_written() {
        for ms in [0, 1, 951_782_399_999, 951_782_400_000, 1_795_372_245_678, 4_107_542_400_000, 253_402_300_799_999] {
            assert_eq!(parse_time(&time(ms)), Ok(ms));
        }
        // Every day of four centuries, so that every kind of leap year is among them.
        for day in 0..146_097 {
            assert_eq!(parse_time(&time(day * 86_400_000 + 1)), Ok(day * 86_400_000 + 1));
        }
    }

    #[test]
    fn an_offset_and_a_fraction_count() {
        assert_eq!(parse_time("1970-01-01T01:00:00+01:00"), Ok(0));
        assert_eq!(parse_time("1969-12-31T23:30:00-00:30"), Err(parse_time("").unwrap_err()));
        assert_eq!(parse_time("1970-01-01T00:00:00-00:30"), Ok(1_800_000));
        assert_eq!(parse_time("1970-01-01t00:00:00.5z"), Ok(500));
        assert_eq!(parse_time("1970-01-01T00:00:00.123456789Z"), Ok(123));
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for bad in [
            "",
            "2026-11-22",
            "2026-11-22T18:30:45",
            "2026-11-22 18:30:45Z",
            "2026-02-29T00:00:00Z",
            "1900-01-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2016-12-31T23:59:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.1234567890Z",
            "2026-01-01T00:00:00+25:00",
            "2026-01-01T00:00:00+1:00",
            "2026-1-1T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:00éZ",
            "1970-01-01T00:00:00+01:00",
        ] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_others_wrote_cannot_move_the_cursor_or_turn_the_text() {
        assert_eq!(line("alice\u{1b}[2J\nINFO admin granted"), "alice?[2J?INFO admin granted");
        assert_eq!(line("a\u{202e}b\u{200b}\u{feff}\u{0}\u{7f}\u{85}"), "a?b?????");
        assert_eq!(line("Für „Ärzte“ \\ 研究 \"1\" 'x'"), "Für „Ärzte“ \\ 研究 \"1\" 'x'");
        assert_eq!(lines("a\r\n\tb\u{1b}"), "a?\n\tb?");
        assert_eq!(clean(Some(&json!("\u{1b}"))), "?");
        assert_eq!(clean(Some(&json!({ "a": "\u{202e}" }))), "{\"a\":\"?\"}");
        assert_eq!(clean(None), "-");
    }

    #[test]
    fn a_table_has_even_columns_and_no_spaces_at_its_ends() {
        let rows = [vec!["1".to_owned(), "Zürich".to_owned()], vec!["long".to_owned(), String::new()]];
        assert_eq!(table(&["A", "B"], rows), "A     B\n1     Zürich\nlong");
        assert_eq!(table(&["A", "B"], []), "A  B");
    }

    #[test]
    fn an_answer_is_shown_member_by_member() {
        let answer = json!({
            "record": "r", "time": 0, "payload": { "digest": "d" }, "list": ["a", "b"], "none": null, "empty": [],
            "peers": [{ "node": "n" }], "text": "one\ntwo\n",
        });
        let shown = "record          r\n\
                     time            1970-01-01T00:00:00.000Z\n\
                     payload.digest  d\n\
                     list            a b\n\
                     none            -\n\
                     empty           -\n\
                     peers.1.node    n\n\
                     text            one\n\
                     \x20               two";
        assert_eq!(fields(&answer), shown);
    }

    #[test]
    fn a_value_of_a_query_cannot_become_another_one() {
        assert_eq!(query(&[("a", "x&b=1".into()), ("c", "ü %".into())]), "a=x%26b%3D1&c=%C3%BC%20%25");
    }

    #[test]
    fn a_time_of_an_answer_becomes_text() {
        let mut event = json!({ "time": 0, "height": 3 });
        stamp(&mut event, "time");
        stamp(&mut event, "absent");
        assert_eq!(event, json!({ "time": "1970-01-01T00:00:00.000Z", "height": 3 }));
    }
}
