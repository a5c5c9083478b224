//! Methods, hosts, paths and queries.

use super::{
    wire::{RECORDS, Wire, ask},
    world::{World, request},
};

#[test]
fn methods_that_are_not_there_are_refused() {
    let world = World::shared();
    let at = world.address();
    for method in ["TRACE", "DELETE", "PATCH", "OPTIONS", "BREW", "get", "CONNECT"] {
        let mut wire = Wire::plain(at);
        wire.send(&request(method, "/healthz", at, &[], b""));
        let answer = wire.answer().expect(method);
        answer.expect(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), (method != "CONNECT").then_some("GET, HEAD").or(Some("")), "{method}");
    }
    let mut wire = Wire::plain(at);
    wire.send(format!("CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes());
    wire.answer().unwrap().expect(405, "method_not_allowed");
    let answer = ask(at, &request("PUT", "/v1/channels", at, &[], b""));
    answer.expect(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    for name in ["x-http-method-override", "x-method-override", "x-http-method"] {
        ask(at, &request("GET", "/healthz", at, &[(name, "DELETE")], b"")).expect(405, "method_not_allowed");
    }
    let mut wire = Wire::plain(at);
    wire.send(&request("HEAD", "/healthz", at, &[], b""));
    let answer = wire.answer_to("HEAD").unwrap();
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("2")));
    world.assert_still_serves();
}

#[test]
fn requests_for_another_host_are_misdirected() {
    let world = World::shared();
    let at = world.address();
    let port = at.port();
    let get = |target: &str, hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        ask(at, format!("GET {target} HTTP/1.1\r\n{hosts}\r\n").as_bytes())
    };
    let own = at.to_string();
    for host in ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost", "127.0.0.2:7400", "a@127.0.0.1"] {
        get("/healthz", &[host]).expect(421, "misdirected");
    }
    get(&format!("http://evil.example:{port}/healthz"), &[&own]).expect(421, "misdirected");
    get(&format!("http://localhost:{port}/healthz"), &[&own]).expect(421, "misdirected");
    get(&format!("https://{own}/healthz"), &[&own]).expect(421, "misdirected");
    get("/healthz", &[]).expect(400, "bad_host");
    get("/healthz", &[&own, &own]).expect(400, "bad_host");
    for host in [own.clone(), format!("localhost:{port}"), format!("LocalHost:{port}"), format!("[::1]:{port}")] {
        assert_eq!(get("/healthz", &[&host]).status, 200, "{host}");
        assert_eq!(get(&format!("http://{host}/healthz"), &[&host]).status, 200, "{host}");
    }
    let spoofed =
        [("x-forwarded-for", "10.0.0.1"), ("x-forwarded-host", "evil.example"), ("forwarded", "host=evil.example")];
    assert_eq!(ask(at, &request("GET", "/healthz", at, &spoofed, b"")).status, 200);
}

#[test]
fn no_spelling_of_a_path_reaches_another_resource() {
    let world = World::shared();
    let at = world.address();
    let id = "ab".repeat(32);
    for path in [
        format!("{RECORDS}/../../etc/passwd"),
        format!("{RECORDS}/%2e%2e%2f{id}"),
        format!("{RECORDS}/..%5c{id}"),
        format!("{RECORDS}/%00"),
        format!("{RECORDS}/%252e%252e"),
        format!("{RECORDS}//etc/passwd"),
        format!("{RECORDS}/./{id}"),
        format!("{RECORDS}/{id};a=b"),
        format!("{RECORDS}/{id}*"),
        format!("{RECORDS}/a+b"),
        format!("{RECORDS}/{id}/"),
        format!("{RECORDS}/{}", "AB".repeat(32)),
        format!("{RECORDS}/{}", &id[1..]),
        format!("{RECORDS}/root"),
        "//v1/channels".to_owned(),
        "/v1/channels/".to_owned(),
        "/v1/./channels".to_owned(),
        "/v1/x/../channels".to_owned(),
        "/v1/%63hannels".to_owned(),
        "/v1/channels/%6dain/status".to_owned(),
        "/%68ealthz".to_owned(),
    ] {
        let answer = ask(at, &world.signed(&world.owner, "GET", &path, at, &[], b""));
        answer.expect(400, "bad_id");
    }
    for path in ["/v1/channelsx", "/v2/channels", "/V1/channels", "/v1/channels.json", "/console", "/v1"] {
        ask(at, &request("GET", path, at, &[], b"")).expect(404, "unknown_route");
    }
    let absent = ask(at, &world.signed(&world.owner, "GET", &format!("{RECORDS}/{id}"), at, &[], b""));
    absent.expect(404, "unknown_record");
    world.assert_still_serves();
}

#[test]
fn queries_say_only_what_is_known() {
    let world = World::shared();
    let at = world.address();
    for (query, code) in [
        ("?other=1", "bad_query"),
        ("?limit=1&limit=1", "bad_query"),
        ("?owner=..%2f..%2fetc", "bad_query"),
        ("?query=%00", "bad_text"),
        ("?query=%0d%0aSet-Cookie:x", "bad_text"),
        ("?query=%ff", "bad_text"),
    ] {
        let answer = ask(at, &world.signed(&world.owner, "GET", &format!("{RECORDS}{query}"), at, &[], b""));
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{query}");
    }
    ask(at, &request("GET", "/v1/channels?limit=1", at, &[], b"")).expect(400, "bad_query");
    assert_eq!(ask(at, &request("GET", "/v1/channels?", at, &[], b"")).status, 200);
    world.assert_still_serves();
}
