//! Too much, and too slowly.

use super::{
    wire::{Answer, JSON, SUBMIT, Wire, ask, raw, socket, text},
    world::{PROMPT, World, eventually, gauge, request},
};
use dmdl::{
    client::{AskGatewayError, HttpGateway},
    gateway::Limits,
    local::Identity,
    problem::Problem,
};
use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

/// The limits that these tests set are over long before this, and the usual ones after it.
const BOUND: Duration = Duration::from_secs(8);
/// Connections that a gateway has, the one that asks among them.
const CONNECTIONS: &str = "dmdl_http_connections";
/// Requests in work, the one that asks among them.
const IN_FLIGHT: &str = "dmdl_http_in_flight";
const CONTINUE: (&str, &str) = ("expect", "100-continue");

/// A question that takes so long to answer.
fn waiting(ms: u32) -> String {
    format!("/v1/channels/main/transactions/{}?wait={ms}", "ab".repeat(32))
}

#[test]
fn one_key_cannot_use_up_the_gateway() {
    let world = World::shared();
    let own = world.gateway_with("rate", Limits { burst: 5, per_second: 1, ..Limits::default() });
    let at = own.address();
    let mut wire = Wire::plain(at);
    let begun = Instant::now();
    let mut served = 0;
    let refused = loop {
        let answer = world.read_as(&world.researcher, at, &mut wire);
        if answer.status != 200 {
            break answer;
        }
        served += 1;
        assert!(served <= 6 + begun.elapsed().as_secs(), "it is served more often than it may ask");
    };
    assert!(served >= 5, "it is refused after {served}");
    refused.expect(429, "rate_limited");
    assert_eq!(refused.header("retry-after"), Some("1"));
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
    let own = world.gateway_with("drip", Limits { head: Duration::from_secs(2), ..Limits::default() });
    let at = own.address();
    let drip = |line: &'static [u8]| {
        let begun = Instant::now();
        let mut socket = socket(at);
        for byte in line.iter().cycle() {
            // A byte in time does not buy more of it.
            if socket.write_all(&[*byte]).is_err() || begun.elapsed() > BOUND {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        assert!(begun.elapsed() < BOUND, "it was cut off after {:?}", begun.elapsed());
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            drip(b"GET /healthz HTTP/1.1\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\n")
        });
        let silent = scope.spawn(|| {
            let begun = Instant::now();
            assert!(Wire::plain(at).ends(), "who says nothing is told nothing");
            assert!(begun.elapsed() < BOUND);
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
        assert!(begun.elapsed() < BOUND);
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

/// Has the owner ask for something that takes long, again and again, until a read on another connection is refused; gives the
/// connections that wait, that one, and its refusal.
fn take_all_places(world: &World, at: SocketAddr, waits_ms: u32, every: Duration) -> (Vec<Wire>, Wire, Answer) {
    let (mut busy, mut another) = (Vec::new(), Wire::plain(at));
    loop {
        let answer = world.read_as(&world.owner, at, &mut another);
        if answer.status != 200 {
            return (busy, another, answer);
        }
        assert!(busy.len() < 100, "there is always a place");
        let mut wire = Wire::plain(at);
        wire.send(&world.signed(&world.owner, "GET", &waiting(waits_ms), at, &[], b""));
        busy.push(wire);
        thread::sleep(every);
    }
}

#[test]
fn work_that_is_begun_is_not_given_up_for_more_work() {
    let world = World::shared();
    let own = world.gateway_with("full", Limits { in_flight: 2, ..Limits::default() });
    let at = own.address();
    // What asks whether there is a place takes one, so more than two try to fill both.
    let (mut busy, mut another, refused) = take_all_places(&world, at, 3000, Duration::from_millis(50));
    refused.expect(503, "overloaded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // There is a place for the connection, and that the gateway lives is still told.
    another.send(&request("GET", "/healthz", at, &[], b""));
    assert_eq!(text(&another.answer().unwrap()), "ok");
    let answers = busy.iter_mut().map(|wire| wire.answer().expect("nothing is cut off"));
    let (begun, refused): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.status == 404);
    begun.iter().for_each(|answer| answer.expect(404, "unknown_transaction"));
    refused.iter().for_each(|answer| answer.expect(503, "overloaded"));
    assert!(begun.len() >= 2, "{begun:?} {refused:?}");
    world.assert_serves(at);
}

#[test]
fn a_key_that_asks_for_all_places_leaves_some_to_others() {
    let world = World::shared();
    let own = world.gateway_with("shares", Limits { in_flight: 9, ..Limits::default() });
    let at = own.address();
    let (mut busy, mut another, refused) = take_all_places(&world, at, 8000, Duration::from_millis(20));
    refused.expect(429, "busy");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // Somebody of another organisation, and somebody whom nobody knows.
    assert_eq!(world.read_as(&world.researcher, at, &mut another).status, 200);
    another.send(&request("GET", "/v1/channels/main/status", at, &[], b""));
    assert_eq!(another.answer().unwrap().status, 200);
    for wire in &mut busy {
        let answer = wire.answer().expect("nothing is cut off");
        assert!(matches!(answer.status, 404 | 429), "{answer:?}");
    }
    assert_eq!(world.read_as(&world.owner, at, &mut another).status, 200);
}

#[test]
fn an_author_has_a_quota_of_transactions_at_the_door() {
    let world = World::shared();
    let own = world.gateway_with("authors", Limits { author_burst: 2, author_per_second: 1, ..Limits::default() });
    let at = own.address();
    let _writing = world.writing();
    let submit = |author: &Identity| {
        let body = world.transaction(author);
        let mut wire = Wire::plain(at);
        wire.send(&request("POST", SUBMIT, at, &[JSON], body.as_bytes()));
        wire.answer().expect("it is answered")
    };
    let begun = Instant::now();
    let mut taken = 0;
    let refused = loop {
        let answer = submit(&world.owner);
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken <= 3 + begun.elapsed().as_secs(), "more are taken than the author may hand in");
    };
    assert!(taken >= 2, "it is refused after {taken}");
    refused.expect(429, "quota");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(submit(&world.leaver()).status, 200, "another author has an own quota");
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(submit(&world.owner).status, 200);
}

#[test]
fn a_client_that_was_sent_away_comes_back_when_it_was_told_to() {
    let world = World::shared();
    let own = world.gateway_with("again", Limits { burst: 1, per_second: 1, ..Limits::default() });
    let client = |persistence| {
        let url = format!("http://{}", own.address());
        HttpGateway::new(&url, None, &world.founding(), &world.researcher.key).unwrap().persistently(persistence)
    };
    let ask = |client: &HttpGateway| world.block_on(client.get("records")).map(drop);
    let (hasty, patient) = (client(Duration::ZERO), client(BOUND));
    let refused = eventually_refused(|| ask(&hasty));
    assert_eq!((refused.status, refused.code.as_ref()), (429, "rate_limited"));
    for _ in 0..3 {
        ask(&patient).expect("it waits for its turn");
    }
}

/// The problem that somebody gets who asks again and again.
fn eventually_refused(mut ask: impl FnMut() -> Result<(), AskGatewayError>) -> Problem {
    for _ in 0..100 {
        match ask() {
            Ok(()) => {}
            Err(AskGatewayError::Problem(problem)) => return problem,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it is never refused")
}

#[test]
fn work_that_is_begun_is_not_given_up_for_new_connections() {
    let world = World::shared();
    let own = world.gateway_with("fuller", Limits { connections: 3, ..Limits::default() });
    let at = own.address();
    let mut busy: Vec<Wire> = (0..2)
        .map(|_| {
            let mut wire = Wire::plain(at);
            wire.send(&world.signed(&world.owner, "GET", &waiting(8000), at, &[], b""));
            wire
        })
        .collect();
    let mut third = Wire::plain(at);
    eventually("both are in work", || gauge(&mut third, at, IN_FLIGHT) == 3);
    // So is this one once it may send its body.
    let whole = world.signed(&world.owner, "POST", SUBMIT, at, &[JSON, CONTINUE], b"{}");
    third.send(&whole[..whole.len() - 2]);
    assert_eq!(third.answer().unwrap().status, 100);
    let begun = Instant::now();
    let mut turned_away = Wire::plain(at);
    let answer = turned_away.answer().unwrap();
    answer.expect(503, "overloaded");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(turned_away.ends() && begun.elapsed() < PROMPT);
    third.send(b"{}");
    third.answer().unwrap().expect(400, "json_shape");
    for wire in &mut busy {
        wire.answer().unwrap().expect(404, "unknown_transaction");
    }
    world.assert_serves(at);
}

/// Announces an unsigned body to a gateway, and gives the connection once the gateway waits for the body.
fn awaited(at: SocketAddr, len: usize) -> Wire {
    let headers = format!("Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n");
    let mut wire = Wire::plain(at);
    wire.send(&raw(at, &format!("POST {SUBMIT} HTTP/1.1"), &headers, ""));
    assert_eq!(wire.answer().expect("it may send").status, 100);
    wire
}

#[test]
fn unsigned_bodies_that_never_come_make_room_for_others() {
    let world = World::shared();
    // A quarter of this is room for what nobody signed: two bodies of the largest size.
    let own = world.gateway_with("bodies", Limits { body_bytes: 2 * 1024 * 1024, ..Limits::default() });
    let at = own.address();
    let mut oldest = [awaited(at, 262_144), awaited(at, 262_144)];
    let headers = "Content-Type: application/json\r\nContent-Length: 262144\r\n";
    let announced = raw(at, &format!("POST {SUBMIT} HTTP/1.1"), headers, "{");
    let _hogs: Vec<Wire> = (0..20)
        .map(|_| {
            let mut wire = Wire::plain(at);
            wire.send(&announced);
            wire
        })
        .collect();
    // This connection came after all of theirs.
    let mut look = Wire::plain(at);
    eventually("two of them have all the room", || gauge(&mut look, at, CONNECTIONS) <= 3);
    let begun = Instant::now();
    ask(at, &request("POST", SUBMIT, at, &[JSON], b"{}")).expect(400, "json_shape");
    assert!(begun.elapsed() < PROMPT);
    assert!(oldest.iter_mut().all(Wire::ends), "the oldest are cut off");
}

#[test]
fn bodies_that_are_awaited_take_no_place_from_others_work() {
    let world = World::shared();
    let own = world.gateway_with("awaited", Limits { in_flight: 1, ..Limits::default() });
    let at = own.address();
    let _slow: Vec<Wire> = (0..5).map(|_| awaited(at, 1000)).collect();
    world.assert_serves(at);
}

#[test]
fn a_connection_without_requests_ends_in_time() {
    let world = World::shared();
    let own = world.gateway_with("waiting", Limits { idle: Duration::from_secs(3), ..Limits::default() });
    let at = own.address();
    let mut wire = Wire::plain(at);
    for _ in 0..4 {
        assert_eq!(world.read_as(&world.owner, at, &mut wire).status, 200);
        // Every request begins its time anew.
        thread::sleep(Duration::from_secs(1));
    }
    let begun = Instant::now();
    assert!(wire.ends());
    assert!(begun.elapsed() < BOUND);
}

#[test]
fn who_takes_no_answers_is_not_kept() {
    let world = World::shared();
    let own = world.gateway_with("stalled", Limits { stall: Duration::from_secs(3), ..Limits::default() });
    let at = own.address();
    let mut wire = Wire::plain(at);
    let one = request("GET", "/v1/openapi.json", at, &[], b"");
    // More than fits into the buffers on the way.
    wire.send(&one.repeat(2000));
    let mut look = Wire::plain(at);
    assert_eq!(gauge(&mut look, at, CONNECTIONS), 2);
    eventually("it is cut off", || gauge(&mut look, at, CONNECTIONS) == 1);
    world.assert_serves(at);
}
