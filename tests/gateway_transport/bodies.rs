//! Bodies: how large, of what type, and what JSON may say.

use super::{
    wire::{JSON, SUBMIT, Wire, ask, raw, text},
    world::{World, request},
};

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let world = World::shared();
    let at = world.address();
    let digest = "00".repeat(32);
    for (line, most) in [
        (format!("POST {SUBMIT} HTTP/1.1"), 256 * 1024),
        (format!("PUT /v1/payloads/{digest} HTTP/1.1"), 8 * 1024 * 1024),
        ("POST /v1/session HTTP/1.1".to_owned(), 256 * 1024),
        ("GET /healthz HTTP/1.1".to_owned(), 0),
    ] {
        let head =
            |len: usize| raw(at, &line, &format!("Content-Type: application/json\r\nContent-Length: {len}\r\n"), "");
        // Not a byte of the body is sent.
        let mut wire = Wire::plain(at);
        wire.send(&head(most + 1));
        wire.answer().expect(&line).expect(413, "body_too_large");
        assert!(wire.ends(), "{line}");
        let mut wire = Wire::plain(at);
        wire.send(&head(999_999_999_999_999));
        wire.answer().expect(&line).expect(413, "body_too_large");
        // The caller that sends it all the same still gets its answer.
        let mut wire = Wire::plain(at);
        wire.send(&[head(most + 1), vec![b' '; (most + 1).min(1 << 20)]].concat());
        wire.answer().expect(&line).expect(413, "body_too_large");
        world.assert_still_serves();
    }
    let most = format!("{{\"transaction\": \"\"{}}}", " ".repeat(256 * 1024 - 19));
    assert_eq!(most.len(), 256 * 1024);
    let answer = ask(at, &request("POST", SUBMIT, at, &[JSON], most.as_bytes()));
    assert_ne!(answer.code(), "body_too_large", "a body of the limit is read");
}

#[test]
fn a_caller_that_waits_for_leave_to_send_is_told_no_at_once() {
    let world = World::shared();
    let at = world.address();
    let head = |len: usize| {
        let headers = format!("Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n");
        raw(at, &format!("POST {SUBMIT} HTTP/1.1"), &headers, "")
    };
    let mut wire = Wire::plain(at);
    wire.send(&head(256 * 1024 + 1));
    wire.answer().unwrap().expect(413, "body_too_large");
    let mut wire = Wire::plain(at);
    wire.send(&head(2));
    assert_eq!(wire.answer().unwrap().status, 100);
    wire.send(b"{}");
    wire.answer().unwrap().expect(400, "json_shape");
}

#[test]
fn bodies_of_another_type_are_not_read_and_answers_of_another_type_not_given() {
    let world = World::shared();
    let at = world.address();
    let body = br#"{"transaction": ""}"#;
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "multipart/form-data"]
    {
        ask(at, &request("POST", SUBMIT, at, &[("content-type", kind)], body)).expect(415, "unsupported_media_type");
    }
    ask(at, &request("POST", SUBMIT, at, &[], body)).expect(415, "unsupported_media_type");
    for accept in ["text/xml", "application/json;q=0", "text/html, application/xml"] {
        let answer = ask(at, &request("GET", "/v1/channels", at, &[("accept", accept)], b""));
        answer.expect(406, "not_acceptable");
    }
    for accept in ["*/*", "application/json", "text/html,application/xhtml+xml,*/*;q=0.8"] {
        assert_eq!(ask(at, &request("GET", "/v1/channels", at, &[("accept", accept)], b"")).status, 200);
    }
    world.assert_still_serves();
}

#[test]
fn json_that_can_be_misread_is_refused_by_name() {
    let world = World::shared();
    let _undisturbed = world.undisturbed();
    let (at, size) = (world.address(), world.log_size());
    let deep = |depth: usize| format!("{{\"transaction\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
    let rows = [
        ("json_shape", vec!["", "null", "[]", "\"\"", "0", "{}", r#"{"transaction": 5}"#]),
        (
            "json_syntax",
            vec!["{", r#"{"transaction": "a"#, r#"{"transaction": "a"} x"#, "{}{}", "{'a': 1}", "\u{feff}{}"],
        ),
        ("json_unknown_field", vec![r#"{"transaction": "", "more": 1}"#]),
        ("json_duplicate", vec![r#"{"transaction": "", "transaction": ""}"#]),
        (
            "json_number",
            vec![
                r#"{"transaction": 1e400}"#,
                r#"{"transaction": -0}"#,
                r#"{"transaction": 9007199254740993}"#,
                r#"{"transaction": NaN}"#,
                r#"{"transaction": 1.0}"#,
            ],
        ),
        (
            "bad_text",
            vec![
                r#"{"transaction": "a\u0000"}"#,
                r#"{"transaction": "a\r\nb"}"#,
                r#"{"transaction": "\u001b[2J"}"#,
                r#"{"transaction": "\u202e"}"#,
            ],
        ),
    ];
    for (code, bodies) in rows {
        for body in bodies {
            ask(at, &request("POST", SUBMIT, at, &[JSON], body.as_bytes())).expect(400, code);
        }
        world.assert_still_serves();
    }
    let strings = format!("{{\"transaction\": [{}]}}", vec!["\"\""; 1000].join(","));
    let values = format!("{{\"transaction\": [{}]}}", vec!["0"; 100_000].join(","));
    for (code, body) in [
        ("json_depth", deep(32)),
        ("json_depth", "[".repeat(100_000)),
        ("json_complex", strings),
        ("json_complex", values),
    ] {
        ask(at, &request("POST", SUBMIT, at, &[JSON], body.as_bytes())).expect(400, code);
    }
    ask(at, &request("POST", SUBMIT, at, &[JSON], b"{\"transaction\": \"\xff\"}")).expect(400, "json_syntax");
    let secret = "s3cret".repeat(1000);
    let answer = ask(at, &request("POST", SUBMIT, at, &[JSON], format!("{{\"{secret}\": \"{secret}\"}}").as_bytes()));
    answer.expect(400, "json_unknown_field");
    assert!(!text(&answer).contains(&secret[..65]), "no more than 64 characters are repeated");
    world.assert_still_serves();
    assert_eq!(world.log_size(), size, "nothing of this is on the ledger");
}
