//! The vectors and the page's example: what a second implementation has to make and to refuse.

use super::*;
use serde_json::{Value, json};
use std::{fs, path::Path};

const PAGE: &str = include_str!("../../../docs/spec/http-signature.md");

/// Compares a frozen file with what the code makes today; with `DMDL_WRITE_VECTORS` set, writes it.
fn assert_frozen(name: &str, today: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/http-signature/v1").join(name);
    if std::env::var_os("DMDL_WRITE_VECTORS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("{today:#}\n")).unwrap();
    }
    let frozen: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(&frozen, today, "{} differs from what the code makes", path.display());
}

/// What a verifier knows, and the cases.
fn file(cases: Vec<Value>) -> Value {
    json!({ "network": network(), "authorities": HOSTS, "now": NOW_S, "cases": cases })
}

fn case(name: &str, request: &Request) -> Value {
    let Request { method, authority, path, query, body, headers } = request;
    let body = std::str::from_utf8(body).unwrap();
    json!({
        "name": name, "method": method, "authority": authority, "path": path, "query": query, "body": body,
        "headers": headers,
    })
}

fn good() -> Vec<(&'static str, Request)> {
    let plain = Request::unsigned("GET", "/healthz", None, b"");
    let default_port = Request { authority: "Gateway.Example:443".to_owned(), ..plain.clone() };
    assert_eq!(default_port.target().authority().to_string(), "gateway.example");
    vec![
        ("no body", get()),
        ("a body", post()),
        (
            "no query, and the host in upper case",
            Request { authority: "GATEWAY.example:8443".to_owned(), ..plain.clone() }.signed(),
        ),
        ("another host of the gateway", Request { authority: HOSTS[1].to_owned(), ..plain.clone() }.signed()),
        (
            "percent-encoding and an empty value in the query",
            Request::unsigned("GET", "/v1/a%2Fb/%C3%A4", Some("a=&b=%20&c"), b"").signed(),
        ),
        ("a minute old", plain.clone().signed_by(&key(), network(), NOW_S - WINDOW_S)),
        ("a minute ahead", plain.signed_by(&key(), network(), NOW_S + WINDOW_S)),
    ]
}

#[test]
fn frozen_good_requests_are_what_is_signed_and_believed() {
    let cases = good().into_iter().map(|(name, request)| {
        let verified = request.verify().expect(name);
        let mut case = case(name, &request);
        case["base"] = request.base().into();
        case["seed"] = hex::encode(SEED).into();
        case["key"] = verified.key().to_string().into();
        case["nonce"] = STANDARD.encode(verified.nonce().as_bytes()).into();
        case["created"] = verified.created_s().into();
        case
    });
    assert_frozen("good.json", &file(cases.collect()));
}

#[test]
fn frozen_bad_requests_get_their_codes() {
    let cases = bad().into_iter().map(|(name, request, _)| {
        let mut case = case(name, &request);
        case["error"] = request.verify().expect_err(name).code().into();
        case
    });
    assert_frozen("bad.json", &file(cases.collect()));
}

#[test]
fn the_example_of_the_page_is_what_is_signed() {
    let squeeze = |text: &str| text.split_whitespace().collect::<String>();
    let (page, request) = (squeeze(PAGE), post());
    assert!(page.contains(&squeeze(&request.base())), "the page does not show\n{}", request.base());
    for (name, value) in &request.headers {
        assert!(page.contains(&squeeze(&format!("{name}: {value}"))), "the page does not show\n{name}: {value}");
    }
    assert!(page.contains(&squeeze(std::str::from_utf8(BODY).unwrap())));
}
