//! A first look at JSON text, byte by byte: nothing is built and nothing recurses, so no text can cost more
//! than its length.

use super::fault::Fault;

/// Deepest nesting.
const DEPTH_MAX: usize = 32;
/// Most strings, names of members included.
const STRINGS_MAX: usize = 1000;
/// Most values.
const VALUES_MAX: usize = 10_000;
/// Largest number, either way: every reader of JSON has it exactly.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// Refuses text that is too deep, has too many parts, or numbers that readers disagree about. What is let
/// through need not be JSON.
pub(super) fn check(text: &[u8]) -> Result<(), Fault> {
    if text.trim_ascii().is_empty() {
        return Err(Fault::shape("the body is empty; a JSON object is expected"));
    }
    let (mut depth, mut strings, mut values) = (0_usize, 0, 0);
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b'"' => {
                strings += 1;
                after_string(after)
            }
            b'{' | b'[' => {
                depth += 1;
                values += 1;
                after
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                after
            }
            b',' => {
                values += 1;
                after
            }
            b'+' | b'-' | b'0'..=b'9' => {
                let (number, after) = split_while(rest, |byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
                check_number(number)?;
                after
            }
            b'a'..=b'z' | b'A'..=b'Z' => {
                let (word, after) = split_while(rest, |byte| byte.is_ascii_alphanumeric());
                check_word(word)?;
                after
            }
            _ => after,
        };
        if depth > DEPTH_MAX {
            return Err(Fault::new("json_depth", format!("the body is nested deeper than {DEPTH_MAX} levels")));
        }
        if strings > STRINGS_MAX || values > VALUES_MAX {
            return Err(Fault::new(
                "json_complex",
                format!("the body has more than {STRINGS_MAX} strings or too many values"),
            ));
        }
    }
    Ok(())
}

/// What follows a string; nothing when it does not end.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => return after,
            b'\\' => after.get(1..).unwrap_or_default(),
            _ => after,
        };
    }
    rest
}

fn split_while(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !belongs(*byte)).unwrap_or(bytes.len());
    bytes.split_at_checked(end).unwrap_or((bytes, &[]))
}

fn check_number(token: &[u8]) -> Result<(), Fault> {
    let text = str::from_utf8(token).unwrap_or_default();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    match digits.parse::<u64>() {
        Ok(number) if plain && number <= NUMBER_MAX && text != "-0" => Ok(()),
        _ => Err(not_a_number()),
    }
}

fn check_word(word: &[u8]) -> Result<(), Fault> {
    match word {
        b"true" | b"false" | b"null" => Ok(()),
        b"NaN" | b"Infinity" => Err(not_a_number()),
        _ => Err(Fault::syntax()),
    }
}

fn not_a_number() -> Fault {
    Fault::new("json_number", format!("a number is whole, plain decimal, and between -{NUMBER_MAX} and {NUMBER_MAX}"))
}
