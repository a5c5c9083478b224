//! What is told of all this: logs, counters, descriptions, headers.

use super::{
    wire::{JSON, RECORDS, SUBMIT, ask, raw, text},
    world::{World, request},
};
use crate::log;

#[test]
fn a_line_of_the_log_says_what_happened_and_nothing_that_was_said() {
    let world = World::shared();
    let at = world.address();
    let marker = "m4rker";
    let target = format!("{RECORDS}/{}?{marker}=1", "cd".repeat(32));
    ask(at, &world.signed(&world.owner, "GET", &target, at, &[("user-agent", marker)], b""));
    ask(at, &request("POST", SUBMIT, at, &[JSON], format!("{{\"{marker}\": 1}}").as_bytes()));
    ask(at, &request(marker, "/healthz", at, &[], b""));
    ask(at, &request("GET", &format!("/{marker}"), at, &[], b""));
    ask(at, &raw(at, "GET /healthz HTTP/1.1", &format!("{marker} \u{1b}[2J: x\r\n"), ""));
    let log = log::kept();
    assert!(!log.contains(marker) && !log.contains("cdcd"), "nothing that was sent is in the log");
    for line in log.lines() {
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
        assert!(line.len() < 400 && line.contains("dmdl::gateway"), "{line}");
    }
    let key = &world.owner.person.key.to_string()[..8];
    let of = |route: &str, status: &str| {
        log.lines()
            .any(|line| line.contains(&format!("route=\"{route}\"")) && line.contains(&format!("status={status}")))
    };
    assert!(of("/v1/channels/{c}/records/{id}", "400") && of("/v1/channels/{c}/transactions", "400"), "{log}");
    assert!(of("/healthz", "405") && of("-", "404") && of("-", "400"), "{log}");
    assert!(log.lines().any(|line| line.contains(&format!("key=\"{key}\""))), "{log}");
}

#[test]
fn counters_and_descriptions_are_public_and_hold_nothing_of_callers() {
    let world = World::shared();
    let at = world.address();
    ask(at, &request("GET", "/m4rker", at, &[], b""));
    let metrics = ask(at, &request("GET", "/metrics", at, &[], b""));
    assert_eq!(metrics.status, 200);
    let counters = text(&metrics);
    for name in [
        "dmdl_http_requests_total{route=\"none\",status=\"4xx\"}",
        "dmdl_http_in_flight ",
        "dmdl_http_connections ",
        "dmdl_channel_height ",
        "dmdl_audit_log_size ",
        "dmdl_uploads_staged_bytes ",
    ] {
        assert!(counters.contains(name), "{name} in {counters}");
    }
    assert!(!counters.contains("m4rker"));
    assert_eq!(text(&ask(at, &request("GET", "/readyz", at, &[], b""))), "ready");

    let description = ask(at, &request("GET", "/v1/openapi.json", at, &[], b"")).json();
    let paths = description["paths"].as_object().unwrap();
    for path in ["/healthz", "/readyz", "/metrics", "/v1/openapi.json", "/v1/session", "/v1/payloads/{digest}"] {
        assert!(paths.contains_key(path), "{path}");
    }
    // What is described is served: nothing described is an unknown route, whatever else it says to strangers.
    for (template, calls) in paths {
        let path: String = template
            .split('/')
            .skip(1)
            .map(|part| match part {
                "{c}" => "/main".to_owned(),
                part if part.starts_with('{') => format!("/{}", "ab".repeat(32)),
                part => format!("/{part}"),
            })
            .collect();
        for method in ["GET", "PUT", "POST"].iter().filter(|method| calls.get(method.to_lowercase()).is_some()) {
            let answer = ask(at, &request(method, &path, at, &[], b""));
            assert!(
                ![404, 405].contains(&answer.status) || answer.code() != "unknown_route",
                "{method} {path}: {answer:?}"
            );
            assert_ne!(answer.status, 405, "{method} {path}");
        }
    }
}

#[test]
fn every_answer_forbids_what_browsers_would_make_of_it() {
    let world = World::shared();
    let at = world.address();
    for path in ["/healthz", "/v1/channels", "/nothing", "/v1/channels/main/status"] {
        let answer = ask(at, &request("GET", path, at, &[], b""));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(
            answer.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'"))
        );
        assert!(answer.header("access-control-allow-origin").is_none());
        assert_eq!(answer.header("dmdl-height").is_some(), path.starts_with("/v1/channels/"), "{path}");
    }
    let refused = ask(at, &request("GET", RECORDS, at, &[], b""));
    refused.expect(401, "sig_missing");
    assert!(refused.header("dmdl-height").is_some(), "refusals of a channel's routes have a height too");
}
