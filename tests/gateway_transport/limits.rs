//! Too much, and too slowly.

use super::{
    wire::{Answer, JSON, SUBMIT, Wire, ask, raw, socket, text},
    world::{World, eventually, request},
};
use dmdl::gateway::Limits;
use std::{
    io::{Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

#[test]
fn one_key_cannot_use_up_the_gateway() {
    let world = World::shared();
    let own = world.gateway_with("rate", Limits { burst: 5, per_second: 1, ..Limits::default() });
    let at = own.address();
    let mut wire = Wire::plain(at);
    let answers: Vec<Answer> = (0..8).map(|_| world.read_as(&world.researcher, at, &mut wire)).collect();
    assert!(answers[..5].iter().all(|answer| answer.status == 200), "{answers:?}");
    let last = answers.last().unwrap();
    last.expect(429, "rate_limited");
    assert_eq!(last.header("retry-after"), Some("1"));
    assert_eq!(world.read_as(&world.owner, at, &mut wire).status, 200, "another key has its own allowance");
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(world.read_as(&world.researcher, at, &mut wire).status, 200);
}

#[test]
fn the_usual_limits_keep_what_is_promised() {
    let limits = Limits::default();
    assert!(limits.head < Duration::from_secs(10) && limits.handshake < Duration::from_secs(10));
    assert!(limits.body < Duration::from_secs(30));
    assert_eq!(limits.session, Duration::from_secs(300));
}

#[test]
fn headers_that_drip_are_cut_off_while_others_are_served() {
    let world = World::shared();
    let own = world.gateway_with("drip", Limits { head: Duration::from_millis(800), ..Limits::default() });
    let at = own.address();
    let drip = |line: &'static [u8]| {
        let begun = Instant::now();
        let mut socket = socket(at);
        for byte in line.iter().cycle() {
            // A byte in time does not buy more of it.
            if socket.write_all(&[*byte]).is_err() || begun.elapsed() > Duration::from_secs(5) {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        assert!(begun.elapsed() < Duration::from_secs(3), "it was cut off after {:?}", begun.elapsed());
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            drip(b"GET /healthz HTTP/1.1\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\n")
        });
        let silent = scope.spawn(|| {
            let begun = Instant::now();
            assert!(Wire::plain(at).ends(), "who says nothing is told nothing");
            assert!(begun.elapsed() < Duration::from_secs(3));
        });
        let told = scope.spawn(|| {
            let mut wire = Wire::plain(at);
            wire.send(b"GET /healthz HT");
            wire.answer().unwrap().expect(408, "request_timeout");
            assert!(wire.ends());
        });
        for _ in 0..5 {
            world.assert_serves(at);
            thread::sleep(Duration::from_millis(200));
        }
        silent.join().unwrap();
        told.join().unwrap();
    });
}

#[test]
fn a_body_that_drips_is_cut_off() {
    let world = World::shared();
    let own = world.gateway_with("slow", Limits { body: Duration::from_millis(800), ..Limits::default() });
    let at = own.address();
    let target = format!("/v1/payloads/{}", "00".repeat(32));
    let signed = world.signed(&world.owner, "PUT", &target, at, &[], &[7; 100]);
    let headers = "Content-Type: application/json\r\nContent-Length: 100\r\n";
    for bytes in [raw(at, &format!("POST {SUBMIT} HTTP/1.1"), headers, ""), signed[..signed.len() - 100].to_vec()] {
        let begun = Instant::now();
        let mut wire = Wire::plain(at);
        wire.send(&bytes);
        for _ in 0..4 {
            wire.send(b"{");
            thread::sleep(Duration::from_millis(100));
        }
        wire.answer().unwrap().expect(408, "request_timeout");
        assert!(wire.ends());
        assert!(begun.elapsed() < Duration::from_secs(3));
        world.assert_serves(at);
    }
}

#[test]
fn thousands_of_idle_connections_keep_nobody_out() {
    let world = World::shared();
    let own = world.gateway_with("idle", Limits { connections: 200, ..Limits::default() });
    let at = own.address();
    // This one has asked something, and so has a better claim than those that never did.
    let mut known = Wire::plain(at);
    assert_eq!(world.read_as(&world.owner, at, &mut known).status, 200);
    let mut idle: Vec<_> = (0..2000).map(|_| socket(at)).collect();
    world.assert_serves(at);
    assert_eq!(world.read_as(&world.owner, at, &mut known).status, 200);
    let mut closed = 0;
    for socket in &mut idle {
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        closed += usize::from(matches!(socket.read(&mut [0; 1]), Ok(0)));
    }
    assert!(closed >= 1790, "only {closed} were closed");
    world.assert_serves(at);
}

#[test]
fn work_that_is_begun_is_not_given_up_for_new_connections() {
    let world = World::shared();
    let own = world.gateway_with("full", Limits { connections: 3, in_flight: 2, ..Limits::default() });
    let at = own.address();
    let waiting = format!("/v1/channels/main/transactions/{}?wait=3000", "ab".repeat(32));
    let mut busy: Vec<Wire> = (0..2)
        .map(|_| {
            let mut wire = Wire::plain(at);
            wire.send(&world.signed(&world.owner, "GET", &waiting, at, &[], b""));
            wire
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    // There is a place for one more connection, but not for its work; that the gateway lives is still told.
    let mut third = Wire::plain(at);
    let answer = world.read_as(&world.owner, at, &mut third);
    answer.expect(503, "overloaded");
    assert_eq!(answer.header("retry-after"), Some("1"));
    third.send(&request("GET", "/healthz", at, &[], b""));
    assert_eq!(text(&third.answer().unwrap()), "ok");
    drop(third);
    for wire in &mut busy {
        wire.answer().unwrap().expect(404, "unknown_transaction");
    }
    world.assert_serves(at);

    let full = world.gateway_with("fuller", Limits { connections: 2, ..Limits::default() });
    let at = full.address();
    let mut busy: Vec<Wire> = (0..2)
        .map(|_| {
            let mut wire = Wire::plain(at);
            wire.send(&world.signed(&world.owner, "GET", &waiting, at, &[], b""));
            wire
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    let mut turned_away = Wire::plain(at);
    let answer = turned_away.answer().unwrap();
    answer.expect(503, "overloaded");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(turned_away.ends() && begun.elapsed() < Duration::from_secs(1));
    for wire in &mut busy {
        wire.answer().unwrap().expect(404, "unknown_transaction");
    }
    world.assert_serves(at);
}

#[test]
fn unsigned_bodies_that_never_come_make_room_for_others() {
    let world = World::shared();
    // A quarter of this is room for what nobody signed: two bodies of the largest size.
    let own = world.gateway_with("bodies", Limits { body_bytes: 2 * 1024 * 1024, ..Limits::default() });
    let at = own.address();
    let headers = "Content-Type: application/json\r\nContent-Length: 262144\r\n";
    let announced = raw(at, &format!("POST {SUBMIT} HTTP/1.1"), headers, "{");
    let mut hogs: Vec<Wire> = (0..20)
        .map(|_| {
            let mut wire = Wire::plain(at);
            wire.send(&announced);
            wire
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    ask(at, &request("POST", SUBMIT, at, &[JSON], b"{}")).expect(400, "json_shape");
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(hogs[0].ends(), "the oldest is cut off");
}

#[test]
fn bodies_that_are_awaited_take_no_place_from_others_work() {
    let world = World::shared();
    let own = world.gateway_with("awaited", Limits { in_flight: 1, ..Limits::default() });
    let at = own.address();
    let headers = "Content-Type: application/json\r\nContent-Length: 1000\r\n";
    let announced = raw(at, &format!("POST {SUBMIT} HTTP/1.1"), headers, "{");
    let _slow: Vec<Wire> = (0..5)
        .map(|_| {
            let mut wire = Wire::plain(at);
            wire.send(&announced);
            wire
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    world.assert_serves(at);
}

#[test]
fn a_connection_without_requests_ends_in_time() {
    let world = World::shared();
    let own = world.gateway_with("waiting", Limits { idle: Duration::from_millis(600), ..Limits::default() });
    let at = own.address();
    let mut wire = Wire::plain(at);
    for _ in 0..4 {
        assert_eq!(world.read_as(&world.owner, at, &mut wire).status, 200);
        // Every request begins its time anew.
        thread::sleep(Duration::from_millis(300));
    }
    let begun = Instant::now();
    assert!(wire.ends());
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn who_takes_no_answers_is_not_kept() {
    let world = World::shared();
    let own = world.gateway_with("stalled", Limits { stall: Duration::from_millis(600), ..Limits::default() });
    let at = own.address();
    let mut wire = Wire::plain(at);
    let one = request("GET", "/v1/openapi.json", at, &[], b"");
    // More than fits into the buffers on the way.
    wire.send(&one.repeat(2000));
    let connections = || {
        let metrics = text(&ask(at, &request("GET", "/metrics", at, &[], b"")));
        let line = metrics.lines().find_map(|line| line.strip_prefix("dmdl_http_connections "));
        line.unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(connections(), 2);
    eventually("it is cut off", || connections() == 1);
    world.assert_serves(at);
}
