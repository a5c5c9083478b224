//! Requests that name what is not there, say it in no known way, or come from nobody.

use super::table::Table;
use dmdl_types::{
    genesis::Role,
    id::{DisplayName, OrgId},
};
use std::fmt::Write as _;

const RECORDS: &str = "/v1/channels/main/records";

#[test]
fn names_that_are_none_or_of_nothing_here() {
    let mut table = Table::new();
    let world = table.world.clone();
    let record = table.record(true, None).record;
    table.begin();
    let owner = Some(world.person(0, Role::Owner));
    let id = "ab".repeat(32);
    let get = |name, target: &str, expected| table.row(name, owner, ("GET", target), None, expected);

    get("a record of another channel", &format!("/v1/channels/other/records/{record}"), (404, "unknown_channel"));
    get("a channel in capitals", &format!("/v1/channels/MAIN/records/{record}"), (404, "unknown_channel"));
    get("a record that is not there", &format!("{RECORDS}/{id}"), (404, "unknown_record"));
    let (short, long, capitals, word) = (&id[2..], format!("{id}ab"), id.to_uppercase(), "a".repeat(3000));
    for (name, bad) in [
        ("an id of 31 bytes", short),
        ("an id of 33 bytes", long.as_str()),
        ("an id of odd length", &id[1..]),
        ("an id in capitals", capitals.as_str()),
        ("a word", "admin"),
        ("a path", "..%2f..%2fetc%2fpasswd"),
        ("a NUL", "%00"),
        ("a wildcard", "*"),
        ("a word of thousands of letters", word.as_str()),
    ] {
        get(name, &format!("{RECORDS}/{bad}"), (400, "bad_id"));
        get(name, &format!("/v1/channels/main/persons/{bad}"), (400, "bad_id"));
        get(name, &format!("/v1/payloads/{bad}"), (400, "bad_id"));
        table.row(name, owner, ("HEAD", &format!("/v1/payloads/{bad}")), None, (400, "bad_id"));
    }
    for (name, bad) in [("a key of 31 bytes", short), ("a key of 33 bytes", long.as_str()), ("a word", "root")] {
        get(name, &format!("{RECORDS}?owner={bad}"), (400, "bad_query"));
    }
    get("a payload of nobody", &format!("/v1/payloads/{id}"), (404, "unknown_payload"));
    get("a path in two spellings", &format!("/v1/channels/main//records/{record}"), (400, "bad_id"));
    get("a path with a dot", &format!("{RECORDS}/./{record}"), (400, "bad_id"));
    get(
        "a range of all blocks that there may be",
        "/v1/channels/main/audit/proof?old=0&new=1000000000",
        (404, "future_height"),
    );
    get("a range that goes back", "/v1/channels/main/audit/proof?old=2&new=1", (400, "range"));
    get("a height below nothing", "/v1/channels/main/audit/proof?old=-1&new=1", (400, "bad_query"));
    get("a height of 2^64", "/v1/channels/main/audit/proof?old=1&new=18446744073709551616", (400, "bad_query"));
    get("an epoch below nothing", "/v1/channels/main/configurations?after=-1", (400, "bad_query"));
    get("an epoch of 2^64", "/v1/channels/main/configurations?after=18446744073709551616", (400, "bad_query"));
    get("a page of 10^9", &format!("{RECORDS}?limit=1000000000"), (400, "bad_limit"));
    get("a cursor of another list", &format!("{RECORDS}?cursor=AAAA"), (400, "bad_cursor"));
    let many = (0..200).fold(String::new(), |mut query, number| {
        write!(query, "p{number}=1&").unwrap();
        query
    });
    get("a query of 200 parameters", &format!("{RECORDS}?{many}"), (400, "bad_query"));
    table.end();
}

#[test]
fn texts_that_are_composed_in_two_ways_are_two_texts() {
    let mut table = Table::new();
    let world = table.world.clone();
    table.begin();
    let owner = Some(world.person(0, Role::Owner));
    // Neither finds what the other would: nothing is normalised, and nothing merged.
    for text in ["caf%C3%A9", "cafe%CC%81"] {
        let found = world.ask(owner, "GET", &format!("{RECORDS}?query={text}"), &[], b"").json();
        assert_eq!(found["items"], serde_json::json!([]));
    }
    // People's and organisations' names have no such letters at all.
    for text in ["caf\u{e9}", "cafe\u{301}"] {
        assert!(DisplayName::new(text).is_err() && OrgId::new(text).is_err());
    }
    table.end();
}

#[test]
fn bodies_that_say_nothing_or_too_much() {
    let mut table = Table::new();
    let world = table.world.clone();
    table.begin();
    let owner = Some(world.person(0, Role::Owner));
    let post = |name, body: &str, expected| {
        for (who, target) in [(None, "/v1/channels/main/transactions"), (owner, "/v1/channels/main/query")] {
            table.row(name, who, ("POST", target), Some(body), expected);
        }
    };
    for (name, body) in [("no bytes", ""), ("null", "null"), ("a list", "[]"), ("a text", "\"\""), ("a number", "0")] {
        post(name, body, (400, "json_shape"));
    }
    for (name, body) in [("a cut document", "{\"a\""), ("a tail", "{} x"), ("two documents", "{}{}")] {
        post(name, body, (400, "json_syntax"));
    }
    post("33 levels", &format!("{{\"a\":{}{}}}", "[".repeat(32), "]".repeat(32)), (400, "json_depth"));
    post("100,000 levels", &"[".repeat(100_000), (400, "json_depth"));
    post("1,001 strings", &format!("{{\"a\":[{}]}}", vec!["\"\""; 1001].join(",")), (400, "json_complex"));
    post("100,000 numbers", &format!("{{\"a\":[{}]}}", vec!["0"; 100_000].join(",")), (400, "json_complex"));
    post(
        "an unknown member",
        "{\"transaction\":\"\",\"contract\":\"\",\"function\":\"\",\"args\":{},\"x\":1}",
        (400, "json_unknown_field"),
    );
    for number in ["1e400", "-0", "9007199254740993", "NaN", "1.0"] {
        post("a number that readers differ over", &format!("{{\"a\":{number}}}"), (400, "json_number"));
    }
    for text in ["\\u0000", "a\\r\\nb", "\\u001b[2J", "\\u202e"] {
        post("a text that steers a terminal", &format!("{{\"{text}\":1}}"), (400, "bad_text"));
    }
    let secret = "s".repeat(5000);
    post("a long name", &format!("{{\"{secret}\":1}}"), (400, "json_unknown_field"));
    table.end();
}

#[test]
fn a_key_of_a_node_is_no_persons() {
    let mut table = Table::new();
    let world = table.world.clone();
    table.begin();
    let node = world.node_identity(0);
    table.row("a node's key", Some(&node), ("GET", RECORDS), None, (401, "key_unknown"));
    table.row("nobody's key", Some(&world.nobody), ("GET", RECORDS), None, (401, "key_unknown"));
    table.row("no key", None, ("GET", RECORDS), None, (401, "sig_missing"));
    let records = format!("{RECORDS}/{}", "ab".repeat(32));
    table.row("nobody, and nothing there", Some(&world.nobody), ("GET", &records), None, (401, "key_unknown"));
    table.end();
}
