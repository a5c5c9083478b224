//! Bytes that are no request.

use super::{
    wire::{SUBMIT, Wire, raw, socket, text},
    world::{World, request},
};
use dmdl::gateway::Limits;
use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    thread,
    time::Duration,
};

#[test]
fn requests_that_break_the_framing_are_refused_and_their_connection_ends() {
    let world = World::shared();
    let at = world.address();
    let post = format!("POST {SUBMIT} HTTP/1.1");
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    let hundred: String = (0..100).map(|number| format!("X-{number}: y\r\n")).collect();
    let long = format!("GET /{} HTTP/1.1", "a".repeat(4096));
    let large = format!("X: {}\r\n", "y".repeat(17 * 1024));
    let smuggled = format!("5\r\nhello\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: {at}\r\n\r\n");
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    let reversed = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n";
    for (line, headers, body, status, code) in [
        (post.as_str(), both, smuggled.as_str(), 400, "ambiguous_length"),
        (&post, reversed, &smuggled, 400, "ambiguous_length"),
        (&post, "Content-Length: 5\r\nContent-Length: 6\r\n", "hello!", 400, "ambiguous_length"),
        (&post, "Content-Length: 5\r\nContent-Length: 5\r\n", "hello", 400, "ambiguous_length"),
        (&post, "Content-Length: 5, 5\r\n", "hello", 400, "ambiguous_length"),
        (&post, "Content-Length: 5\r\nTransfer-Encoding : chunked\r\n", "hello", 400, "bad_request"),
        (&post, "Content-Length: -5\r\n", "hello", 400, "bad_request"),
        (&post, "Content-Length: 99999999999999999999\r\n", "", 400, "bad_request"),
        (&post, "Transfer-Encoding: chunked\r\n", &smuggled, 411, "length_required"),
        (&post, "Transfer-Encoding: gzip, chunked\r\n", &smuggled, 411, "length_required"),
        ("GET /healthz HTTP/1.1", &large, "", 431, "headers_too_large"),
        ("GET /healthz HTTP/1.1", &many, "", 431, "headers_too_large"),
        // The host is one more.
        ("GET /healthz HTTP/1.1", &hundred, "", 431, "headers_too_large"),
        (&long, "", "", 414, "uri_too_long"),
        ("GET /healthz HTTP/1.0", "", "", 400, "http_version"),
        ("PRI * HTTP/2.0", "", "", 400, "http_version"),
        ("GET  /healthz HTTP/1.1", "", "", 400, "bad_request"),
        ("GET /healthz", "", "", 400, "bad_request"),
        ("GET /health\u{7f}z HTTP/1.1", "", "", 400, "bad_request"),
        ("GET /healthz HTTP/1.1", "X: a\r\n folded\r\n", "", 400, "bad_request"),
        ("GET /healthz HTTP/1.1", "X: a\0b\r\n", "", 400, "bad_request"),
        ("GET /healthz HTTP/1.1", "X: a\nY: b\r\n", "", 400, "bad_request"),
        ("GET /healthz HTTP/1.1", "no header\r\n", "", 400, "bad_request"),
    ] {
        let mut wire = Wire::plain(at);
        wire.send(&raw(at, line, headers, body));
        let answer = wire.answer().expect(line);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{line} {headers:.80}");
        assert_eq!(answer.header("connection"), Some("close"), "{line}");
        // What would have been a second request is not answered.
        assert!(wire.ends(), "{line} {headers:.80}");
        world.assert_still_serves();
    }
}

#[test]
fn every_prefix_of_a_request_that_ends_early_ends_its_connection_quietly() {
    let world = World::shared();
    let at = world.address();
    let whole =
        raw(at, &format!("POST {SUBMIT} HTTP/1.1"), "Content-Type: application/json\r\nContent-Length: 2\r\n", "{}");
    for end in (0..whole.len()).step_by(7) {
        let mut socket = socket(at);
        socket.write_all(&whole[..end]).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = Vec::new();
        socket.read_to_end(&mut said).unwrap();
        let said = String::from_utf8(said).unwrap();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{end}: {said}");
    }
    world.assert_still_serves();
}

#[test]
fn damaged_requests_are_answered_or_cut_off() {
    let world = World::shared();
    let short = Duration::from_secs(1);
    let own = world.gateway_with("damaged", Limits { head: short, idle: short, ..Limits::default() });
    let at = own.address();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let good = raw(at, "GET /healthz HTTP/1.1", "Accept: */*\r\nX: y\r\n", "");
    let mut damaged = || {
        let mut bytes = good.clone();
        for _ in 0..=next() % 3 {
            let at = usize::try_from(next()).unwrap_or_default() % bytes.len();
            match next() % 3 {
                0 => bytes[at] = next().to_le_bytes()[0],
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"\r\n :\0\t;%/"[usize::try_from(next() % 9).unwrap()]),
            }
        }
        bytes
    };
    let requests: Vec<Vec<u8>> = (0..300).map(|_| damaged()).collect();
    // Most of the time is that of connections that are left open: many of them at a time.
    let answered = thread::scope(|scope| {
        let callers = requests
            .chunks(6)
            .map(|few| scope.spawn(move || few.iter().filter(|bytes| is_answered_well(at, bytes)).count()));
        let callers: Vec<_> = callers.collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum::<usize>()
    });
    let refused = requests.len() - answered;
    assert!(answered > 10 && refused > 100, "{answered} and {refused}");
    world.assert_serves(at);
}

/// Sends a damaged request on a connection of its own: it does no harm and is answered, or is refused by name.
fn is_answered_well(at: SocketAddr, bytes: &[u8]) -> bool {
    let mut socket = socket(at);
    socket.write_all(bytes).unwrap();
    let mut said = Vec::new();
    // It ends by itself: an answer that is awaited for longer would be a request that hangs.
    socket.read_to_end(&mut said).unwrap();
    let (asked, said) = (String::from_utf8_lossy(bytes), String::from_utf8(said).unwrap());
    match said.split(' ').nth(1).expect("there is an answer") {
        "200" => true,
        "400" | "404" | "405" | "406" | "408" | "421" => {
            assert!(said.contains("application/problem+json"), "{asked:?}: {said}");
            false
        }
        _ => panic!("{asked:?} was answered {said:?}"),
    }
}

#[test]
fn requests_in_a_row_are_answered_in_their_order_until_one_is_bad() {
    let world = World::shared();
    let at = world.address();
    let good = |path: &str| request("GET", path, at, &[], b"");
    let bad = raw(at, "GET /healthz HTTP/1.1", "Content-Length: 1\r\nContent-Length: 1\r\n", "");
    let mut wire = Wire::plain(at);
    wire.send(&[good("/healthz"), good("/v1/channels"), bad, good("/healthz")].concat());
    assert_eq!(text(&wire.answer().unwrap()), "ok");
    assert!(wire.answer().unwrap().json()["items"].is_array());
    wire.answer().unwrap().expect(400, "ambiguous_length");
    assert!(wire.ends());
}
