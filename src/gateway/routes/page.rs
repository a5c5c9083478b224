//! `docs/api.md` against the code: every route, every code with its status, and the limits.

use super::{
    answer::{LIMIT, LIMIT_MAX, WAIT_MAX},
    openapi,
};
use crate::{
    gateway::limits::{JSON_BYTES_MAX, Limits, PART_BYTES_MAX},
    node::Refused,
    problem::Problem,
};
use dmdl_types::{
    access::{Reason, ReasonCode},
    event::{Outcome, Verdict},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Reasons of decisions, which are no problems: a problem that tells of them is `denied`.
const DECISIONS: [ReasonCode; 9] = [
    ReasonCode::PolicyPermits,
    ReasonCode::Owner,
    ReasonCode::Approved,
    ReasonCode::NeedsReview,
    ReasonCode::PurposeNotPermitted,
    ReasonCode::PolicyForbids,
    ReasonCode::NoRulePermits,
    ReasonCode::PolicyError,
    ReasonCode::ReviewDenied,
];

type Pair = (u16, String);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn page() -> String {
    fs::read_to_string(root().join("docs/api.md")).unwrap()
}

/// What stands in backticks in a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_code(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The rows of the page's tables whose first cell is a status.
fn codes_of_page(page: &str) -> BTreeSet<Pair> {
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        Some((cells.next()?.parse::<u16>().ok()?, cells.next()?))
    });
    rows.flat_map(|(status, cell)| quoted(cell).map(move |code| (status, code.to_owned()))).collect()
}

/// The source files of a folder, without their tests.
fn sources(folder: &str) -> Vec<String> {
    let (mut folders, mut texts) = (vec![root().join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.extend((!path.ends_with("tests")).then_some(path));
            } else if !path.ends_with("page.rs") && !path.ends_with("tests.rs") {
                texts.push(code_of(&path));
            }
        }
    }
    texts
}

fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
}

/// The string that a text begins with.
fn literal(text: &str) -> Option<&str> {
    text.trim_start().strip_prefix('"')?.split('"').next().filter(|text| is_code(text))
}

/// Every `(STATUS, "code"` of a text.
fn pairs(text: &str) -> BTreeSet<Pair> {
    let of = |piece: &str| {
        let (status, rest) = piece.trim_start().split_once(',')?;
        let status = status.parse::<u16>().ok().filter(|status| (100..600_u16).contains(status))?;
        Some((status, literal(rest)?.to_owned()))
    };
    text.split('(').filter_map(of).collect()
}

/// Every code that follows these words.
fn after<'t>(text: &'t str, words: &'static str) -> impl Iterator<Item = &'t str> {
    text.split(words).skip(1).filter_map(literal)
}

/// Everything that the code can answer.
fn codes_of_code() -> BTreeSet<Pair> {
    let mut found: BTreeSet<Pair> = pairs(&code_of(&root().join("src/problem.rs")));
    let gateway = sources("src/gateway").concat();
    found.extend(pairs(&gateway));
    for text in sources("src/gateway/json") {
        let of_json =
            |code: &&str| is_code(code) && (code.starts_with("json_") || ["bad_text", "bad_query"].contains(code));
        found.extend(text.split('"').filter(of_json).map(|code| (400, code.to_owned())));
    }
    for text in sources("src/http") {
        for code in after(&text, "=> ") {
            let status = match code {
                "digest_ambiguous" => 400,
                "busy" => 429,
                "overloaded" => 503,
                _ => 401,
            };
            found.insert((status, code.to_owned()));
        }
    }
    // What a node refuses, and what the ledger rejects.
    let node = sources("src/node").concat();
    let refused = after(&node, "Refused::new(").chain(after(&node, "=> ")).map(str::to_owned);
    let reasons = reasons().into_iter().filter(|code| !DECISIONS.contains(code));
    let rejected = |code: ReasonCode| Outcome { reasons: vec![Reason::code(code)], ..Outcome::applied() };
    let rejected = |code| Outcome { verdict: Verdict::Rejected, ..rejected(code) };
    let problems = refused.map(|code| Problem::from(Refused::new(&code, "")));
    let problems = problems.chain(reasons.clone().map(|code| Problem::from(Refused::new(&code.as_str(), ""))));
    let problems = problems.chain(reasons.map(|code| Problem::of_outcome(&rejected(code))));
    found.extend(problems.map(|problem| (problem.status, problem.code.into_owned())));
    found
}

/// All reasons that there are, as their own type lists them.
fn reasons() -> Vec<ReasonCode> {
    let error = serde_json::from_value::<ReasonCode>("?".into()).unwrap_err().to_string();
    let names = quoted(&error).filter(|name| *name != "?");
    names.map(|name| serde_json::from_value(name.into()).unwrap()).collect()
}

/// The methods, paths and answers of the description.
fn calls() -> Vec<(String, String, Value)> {
    let description = serde_json::to_value(openapi()).unwrap();
    let paths = description["paths"].as_object().unwrap().clone();
    let of = |(path, item): (String, Value)| {
        let calls = item.as_object().unwrap().clone().into_iter();
        calls.map(move |(method, call)| (method.to_uppercase(), path.clone(), call)).collect::<Vec<_>>()
    };
    paths.into_iter().flat_map(of).collect()
}

#[test]
fn the_page_has_every_code_that_the_code_can_answer_and_no_other() {
    let (told, can) = (codes_of_page(&page()), codes_of_code());
    assert!(can.len() > 100, "{}", can.len());
    let missing: Vec<_> = can.difference(&told).collect();
    let invented: Vec<_> = told.difference(&can).collect();
    assert!(missing.is_empty() && invented.is_empty(), "not on the page: {missing:?}; only there: {invented:?}");
}

#[test]
fn the_page_names_every_reason_of_a_decision() {
    let page = page();
    let (_, decisions) = page.split_once("A denial is an outcome").unwrap();
    for code in DECISIONS {
        assert!(quoted(decisions).any(|name| name == code.as_str()), "{code:?}");
    }
}

#[test]
fn the_page_has_every_route_with_its_codes_and_no_other() {
    let page = page();
    let known = codes_of_page(&page);
    let is_known = |code: &str| known.iter().any(|(_, known)| known == code);
    let rows = page.lines().filter_map(|line| {
        let (route, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        let (method, path) = route.split_once(' ')?;
        let codes = quoted(rest.rsplit(" | ").next()?).filter(|text| is_code(text)).map(str::to_owned);
        Some((method.to_owned(), path.to_owned(), codes.collect::<BTreeSet<_>>()))
    });
    let rows: Vec<_> = rows.collect();
    let named = |rows: &mut dyn Iterator<Item = (String, String)>| rows.collect::<BTreeSet<_>>();
    let told = named(&mut rows.iter().map(|(method, path, _)| (method.clone(), path.clone())));
    let calls = calls();
    assert_eq!(told, named(&mut calls.iter().map(|(method, path, _)| (method.clone(), path.clone()))));
    for (method, path, codes) in &rows {
        let (_, _, call) = calls.iter().find(|(m, p, _)| (m, p) == (method, path)).unwrap();
        let described = call["responses"].to_string();
        for code in codes {
            assert!(is_known(code), "{method} {path}: `{code}` is none");
            assert!(described.contains(&format!("`{code}`")), "{method} {path}: the description lacks `{code}`");
        }
        if path.contains("{c}") {
            assert!(described.contains("`unknown_channel`"), "{method} {path}");
        }
    }
}

#[test]
fn the_description_names_codes_under_their_statuses_only() {
    let known = codes_of_page(&page());
    for (method, path, call) in calls() {
        for (status, response) in call["responses"].as_object().unwrap() {
            let text = response["description"].as_str().unwrap();
            for code in quoted(text).filter(|text| known.iter().any(|(_, known)| known == text)) {
                let pair = (status.parse().unwrap(), code.to_owned());
                assert!(known.contains(&pair), "{method} {path}: {pair:?}");
            }
        }
    }
}

#[test]
fn the_page_has_the_limits_of_the_code() {
    let page = page();
    let has = |text: &str| assert!(page.contains(text), "the page lacks `{text}`");
    let Limits { connections, in_flight, body_bytes, burst, per_second, handshake, head, body, answer, idle, .. } =
        Limits::default();
    let thousands = |number: usize| match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    };
    let count = |number: u64| thousands(usize::try_from(number).unwrap());
    has(&format!("| JSON body | {} KiB |", JSON_BYTES_MAX >> 10));
    has(&format!("| part of a payload | {} MiB |", PART_BYTES_MAX >> 20));
    has(&format!("| connections | {}, and no more than half", thousands(connections)));
    has(&format!("| other requests in work | {in_flight}, and "));
    has(&format!("| bodies in memory | {} MiB", body_bytes >> 20));
    has(&format!("| {} at once, then {} a second;", count(burst), count(per_second)));
    assert_eq!(handshake, head);
    has(&format!("| handshake; headers of a request | {} s each |", head.as_secs()));
    has(&format!("| body | {} s |", body.as_secs()));
    has(&format!("| answer | {} s |", answer.as_secs()));
    has(&format!("| {} s; {} s | closed |", idle.as_secs(), Limits::default().stall.as_secs()));
    has(&format!("{} within {} s", thousands(crate::http::nonces::NONCES_PER_KEY), crate::http::nonces::TTL_S));
    has(&format!("`limit` (1 to {LIMIT_MAX}; {LIMIT} if nothing is said)"));
    has(&format!("more than {} counts as {0}", WAIT_MAX.as_millis()));
}
