//! TLS, and how a gateway starts and stops.

use super::{
    wire::{Wire, raw, text},
    world::{World, eventually, gauge, request},
};
use dmdl::gateway::{Config, Limits, ServeError};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

#[test]
fn tls_1_3_to_the_pinned_certificate_and_nothing_else() {
    let world = World::shared();
    let own = world.tls_gateway("tls-uploads", Limits::default());
    let at = own.address();
    // By its address a client names no host in the handshake.
    for name in ["localhost", "127.0.0.1"] {
        let mut wire = Wire::tls(at, name, own.pin());
        wire.send(&request("GET", "/healthz", at, &[], b""));
        assert_eq!(text(&wire.answer().expect(name)), "ok");
        assert_eq!(world.read_as(&world.owner, at, &mut wire).status, 200);
        wire.send(&raw(at, "GET /healthz HTTP/1.1", "Content-Length: 1\r\nContent-Length: 2\r\n", ""));
        wire.answer().unwrap().expect(400, "ambiguous_length");
        assert!(wire.ends());
    }
    let mut other = Wire::tls(at, "evil.example", own.pin());
    assert!(!other.send(&request("GET", "/healthz", at, &[], b"")) || other.ends(), "another name has no handshake");

    // A greeting of TLS 1.2 gets an alert; plain HTTP and silence get nothing of HTTP.
    let mut old = Wire::plain(at);
    old.send(&hello_tls_1_2());
    let words = old.last_words();
    assert_eq!((words.first(), words.last()), (Some(&0x15), Some(&70)), "protocol_version: {words:?}");
    let mut plain = Wire::plain(at);
    plain.send(&request("GET", "/healthz", at, &[], b""));
    assert!(!plain.last_words().starts_with(b"HTTP"));
    let hasty = world.tls_gateway("tls-hasty", Limits { handshake: Duration::from_millis(800), ..Limits::default() });
    let begun = Instant::now();
    assert!(Wire::plain(hasty.address()).ends() && begun.elapsed() < Duration::from_secs(8));

    let mut reverse = Wire::plain(world.address());
    reverse.send(&hello_tls_1_2());
    reverse.answer().unwrap().expect(400, "bad_request");
    assert!(reverse.ends());

    let mut wire = Wire::tls(at, "localhost", own.pin());
    assert_eq!(world.read_as(&world.owner, at, &mut wire).status, 200);
    let pin = own.pin();
    drop(own);
    let again = world.tls_gateway("tls-again", Limits::default());
    assert_eq!(again.pin(), pin, "the certificate stays");
}

/// A greeting that knows no newer version.
fn hello_tls_1_2() -> Vec<u8> {
    // Its groups and its signature schemes; it lacks the versions that newer ones say.
    let extensions = hex::decode("000a00040002001d000d00080006040308040807").unwrap();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let mut hello = vec![1, 0];
    hello.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    hello.extend(body);
    let mut record = vec![0x16, 3, 1];
    record.extend(u16::try_from(hello.len()).unwrap().to_be_bytes());
    record.extend(hello);
    record
}

#[test]
fn plain_http_is_for_this_machine_only() {
    let world = World::shared();
    let config = |tls| Config {
        listen: SocketAddr::from(([0, 0, 0, 0], 0)),
        uploads: world.folder("everywhere"),
        tls,
        ..Config::default()
    };
    let error = world.try_serve(config(None)).expect_err("plain HTTP does not leave the machine");
    assert!(matches!(error, ServeError::PlainNotLoopback(_)), "{error}");
    assert!(!world.folder("everywhere").exists());
    let served = world.try_serve(config(Some(world.folder("tls"))));
    assert!(served.is_ok(), "{served:?}");
}

#[test]
fn a_gateway_that_stops_ends_what_it_has_begun() {
    let world = World::shared();
    // However slow this machine is, the work is ended before its time is over.
    let own = world.gateway_with("stopping", Limits { grace: Duration::from_secs(30), ..Limits::default() });
    let at = own.address();
    let waiting = format!("/v1/channels/main/transactions/{}?wait=4000", "ab".repeat(32));
    let mut busy = Wire::plain(at);
    busy.send(&world.signed(&world.owner, "GET", &waiting, at, &[], b""));
    let mut idle = Wire::plain(at);
    assert_eq!(world.read_as(&world.owner, at, &mut idle).status, 200);
    eventually("the first is in work", || gauge(&mut idle, at, "dmdl_http_in_flight") == 2);
    let begun = Instant::now();
    own.stop();
    assert!(begun.elapsed() < Duration::from_secs(10));
    busy.answer().expect("work is ended, not cut off").expect(404, "unknown_transaction");
    assert!(idle.ends());
    assert!(std::net::TcpStream::connect(at).is_err(), "nobody listens any more");
}
