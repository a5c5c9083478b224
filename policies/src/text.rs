//! Looks at the text of rules before the parser does, and bounds what it may cost.
//!
//! The engine parses, checks and evaluates expressions recursively, and gives up with an error when
//! its stack runs low. How much stack is left differs between nodes, so a deep expression could be
//! allowed by one node and denied by another. Here depth is bounded by counting, which is the same
//! everywhere; [`with_ample_stack`] then makes sure that what passed never meets the engine's limit.
//!
//! # Source
//! docs/spec/policy.md, "Limits"; the tokens of Cedar 4.14, `parser/grammar.lalrpop`

use crate::error::PolicyError;
use dmdl_types::limits::POLICY_BYTES;

/// How deep brackets may nest in a rule.
pub(crate) const NESTING: usize = 24;
/// How many `if`s a rule may have. The checker copies the branch that a constant condition selects,
/// so that its work doubles with each `if`.
pub(crate) const IFS: usize = 8;
/// How many operators a rule may have: an expression is not deeper than it has operators.
pub(crate) const OPERATORS: usize = 256;

/// The stack that evaluation is sure to find. A test walks the deepest rule in half of it.
pub(crate) const STACK_BYTES: usize = 4 * 1024 * 1024;

/// Words that an opening bracket may follow without being a function's name.
const KEYWORDS: &[&str] = &["if", "then", "else", "in", "has", "like", "is"];

/// Checks length, characters, nesting, number of operators and functions, without parsing.
///
/// # Errors
/// [`PolicyError`] names the first limit that is passed.
pub(crate) fn check(rules: &str) -> Result<(), PolicyError> {
    if rules.len() > POLICY_BYTES {
        return Err(PolicyError::TooLong(rules.len()));
    }
    if let Some(hidden) = rules.chars().find(|&c| is_invisible(c)) {
        return Err(PolicyError::Invisible(u32::from(hidden)));
    }
    let mut rule = Counts::default();
    let (mut before, mut last) = (Token::End, Token::End);
    let mut rest = rules;
    while let Some((token, after)) = next(rest) {
        rest = after;
        rule.add(token)?;
        // Outside of brackets a word before one is the effect of a rule, which the parser knows.
        if let (Token::Open(b'('), Token::Word(word)) = (token, last)
            && rule.depth > 1
            && before != Token::Dot
            && before != Token::At
            && !KEYWORDS.contains(&word)
        {
            return Err(PolicyError::Function(word.chars().take(64).collect()));
        }
        (before, last) = (last, token);
        if token == Token::End {
            rule = Counts::default();
        }
    }
    Ok(())
}

/// Runs `work` on a stack that is large enough for every expression that [`check`] accepts.
pub(crate) fn with_ample_stack<R>(work: impl FnOnce() -> R) -> R {
    stacker::maybe_grow(STACK_BYTES / 2, STACK_BYTES, work)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Open(u8),
    Close,
    Dot,
    At,
    Operator,
    End,
    Other,
}

#[derive(Default)]
struct Counts {
    depth: usize,
    ifs: usize,
    operators: usize,
}

impl Counts {
    fn add(&mut self, token: Token<'_>) -> Result<(), PolicyError> {
        match token {
            Token::Open(_) => (self.depth, self.operators) = (self.depth + 1, self.operators + 1),
            Token::Close => self.depth = self.depth.saturating_sub(1),
            Token::Word("if") => (self.ifs, self.operators) = (self.ifs + 1, self.operators + 1),
            Token::Word("has" | "like" | "in" | "is") | Token::Dot | Token::Operator => self.operators += 1,
            Token::Word(_) | Token::At | Token::End | Token::Other => {}
        }
        if self.depth > NESTING {
            return Err(PolicyError::TooNested(NESTING));
        }
        if self.ifs > IFS {
            return Err(PolicyError::TooManyIfs(IFS));
        }
        if self.operators > OPERATORS { Err(PolicyError::TooComplex(OPERATORS)) } else { Ok(()) }
    }
}

/// The next token, and the text after it. Where the engine's lexer would stop, this may go on: it
/// can only count more.
fn next(text: &str) -> Option<(Token<'_>, &str)> {
    let mut text = text.trim_start();
    while let Some(comment) = text.strip_prefix("//") {
        text = comment.split_once(['\n', '\r']).map_or("", |(_, after)| after).trim_start();
    }
    let first = text.chars().next()?;
    let after = |len: usize| text.get(len..).unwrap_or_default();
    Some(match first {
        'a'..='z' | 'A'..='Z' | '_' => {
            let len = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
            (Token::Word(text.get(..len).unwrap_or_default()), after(len))
        }
        '"' => (Token::Other, after(string_len(text))),
        '(' => (Token::Open(b'('), after(1)),
        '[' => (Token::Open(b'['), after(1)),
        '{' => (Token::Open(b'{'), after(1)),
        ')' | ']' | '}' => (Token::Close, after(1)),
        '.' => (Token::Dot, after(1)),
        '@' => (Token::At, after(1)),
        ';' => (Token::End, after(1)),
        '=' | '!' | '<' | '>' | '&' | '|' => {
            let double = text.get(..2).is_some_and(|two| ["==", "!=", "<=", ">=", "&&", "||"].contains(&two));
            (Token::Operator, after(if double { 2 } else { 1 }))
        }
        '+' | '-' | '*' | '/' | '%' => (Token::Operator, after(1)),
        other => (Token::Other, after(other.len_utf8())),
    })
}

/// Length of the string literal at the start of `text`, of all of it if the literal does not end.
fn string_len(text: &str) -> usize {
    let mut escaped = true; // steps over the opening quote
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Control and format characters, with which a rule can read otherwise than it runs.
///
/// # Source
/// Unicode 17 categories Cc and Cf (the parts in use); CVE-2021-42574
fn is_invisible(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(condition: &str) -> String {
        format!("permit (principal, action, resource) when {{ {condition} }};")
    }

    #[test]
    fn strings_and_comments_count_for_nothing() {
        let brackets = "(".repeat(1000);
        assert_eq!(check(&rule(&format!("\"{brackets}\\\"{brackets}\" == \"\""))), Ok(()));
        assert_eq!(check(&rule(&format!("true // {brackets} ip(\n"))), Ok(()));
        assert_eq!(check(&rule(&format!("true // \"\n && {brackets}"))), Err(PolicyError::TooNested(NESTING)));
        assert_eq!(check(&rule(&format!("\"//\" == {brackets}"))), Err(PolicyError::TooNested(NESTING)));
    }

    #[test]
    fn nesting_is_bounded_for_every_kind_of_bracket() {
        for (open, close) in [("(", ")"), ("[", "]"), ("{a:", "}")] {
            // The condition's own brace is a level too.
            let nested = |n: usize| rule(&format!("{}1{}", open.repeat(n), close.repeat(n)));
            assert_eq!(check(&nested(NESTING - 1)), Ok(()), "{open}");
            assert_eq!(check(&nested(NESTING)), Err(PolicyError::TooNested(NESTING)), "{open}");
        }
    }

    #[test]
    fn ifs_are_bounded_in_each_rule() {
        let ifs = |n: usize| rule(&format!("{}true", "if true then true else ".repeat(n)));
        assert_eq!(check(&ifs(IFS).repeat(8)), Ok(()));
        assert_eq!(check(&ifs(IFS + 1)), Err(PolicyError::TooManyIfs(IFS)));
    }

    #[test]
    fn operators_are_bounded_in_each_rule_and_not_over_all() {
        let chain = |n: usize| rule(&vec!["true"; n].join("&&"));
        assert_eq!(check(&chain(OPERATORS - 1)), Ok(()));
        assert_eq!(check(&chain(OPERATORS + 1)), Err(PolicyError::TooComplex(OPERATORS)));
        assert_eq!(check(&chain(OPERATORS - 1).repeat(8)), Ok(()));
        for op in [" + 1", " - 1", " * 1", " == 1", " has a", " like \"\"", " in a", " is A", ".a", "[1]", "!"] {
            let long = rule(&format!("1{}", op.repeat(OPERATORS + 1)));
            assert_eq!(check(&long), Err(PolicyError::TooComplex(OPERATORS)), "{op}");
        }
    }

    #[test]
    fn a_long_list_is_not_complex() {
        let orgs: Vec<String> = (0..500).map(|n| format!("Org::\"o{n}\"")).collect();
        assert_eq!(check(&rule(&format!("[{}].contains(principal.org)", orgs.join(",")))), Ok(()));
    }

    #[test]
    fn functions_are_refused_and_methods_are_not() {
        for name in ["ip", "decimal", "datetime", "duration", "unknown", "when"] {
            for gap in ["", " ", "\n", " // (\n"] {
                let call = rule(&format!("{name}{gap}(\"1\") == 1"));
                assert_eq!(check(&call), Err(PolicyError::Function(name.into())), "{call}");
            }
        }
        assert_eq!(check(&rule("[1].contains(1) && context.ip == 1 && (true) && 1 in (2)")), Ok(()));
    }

    #[test]
    fn text_that_reads_otherwise_than_it_runs_is_refused() {
        for hidden in ['\u{202e}', '\u{200b}', '\u{0}', '\u{1b}', '\u{feff}', '\u{2066}'] {
            assert_eq!(check(&rule(&format!("\"{hidden}\" == \"\""))), Err(PolicyError::Invisible(u32::from(hidden))));
        }
        assert_eq!(check(&rule("// Für Ärzte, 研究\n true")), Ok(()));
    }
}
