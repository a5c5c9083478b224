//! Who asks: signatures, and sessions.

use super::{
    wire::{RECORDS, Wire, ask},
    world::{PROMPT, World, now_s, request},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dmdl::{gateway::Limits, local::Identity};
use dmdl_types::genesis::Role;
use std::{
    thread,
    time::{Duration, Instant},
};

#[test]
fn only_a_good_signature_of_an_enrolled_key_lets_anybody_in() {
    let world = World::shared();
    let _undisturbed = world.undisturbed();
    let (at, size) = (world.address(), world.log_size());
    let host = at.to_string();
    let sign =
        |who: &Identity, target: &str, host: &str, created_s| world.signature(who, "GET", target, host, b"", created_s);
    let get = |headers: &[(String, String)]| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        ask(at, &request("GET", RECORDS, at, &headers, b""))
    };
    let good = || sign(&world.owner, RECORDS, &host, now_s());
    let altered = |from: &str, to: &str| {
        let mut headers = good();
        for (_, value) in &mut headers {
            *value = value.replace(from, to);
        }
        assert_ne!(headers, good());
        headers
    };
    assert_eq!(get(&good()).status, 200);

    let answer = get(&[]);
    answer.expect(401, "sig_missing");
    assert_eq!(answer.header("www-authenticate"), Some("Signature"));
    let only = |name: &str| good().into_iter().filter(|(own, _)| own == name).collect::<Vec<_>>();
    get(&only("signature")).expect(401, "sig_missing");
    get(&only("signature-input")).expect(401, "sig_missing");

    let two: Vec<_> =
        good().into_iter().map(|(name, value)| (name, format!("{value}, other={}", &value[5..]))).collect();
    get(&two).expect(401, "sig_ambiguous");
    get(&[good(), good()].concat()).expect(401, "sig_ambiguous");

    let stranger = Identity::new("city-hospital", "stranger", Role::Owner).unwrap();
    get(&sign(&stranger, RECORDS, &host, now_s())).expect(401, "key_unknown");

    for alg in [r#"alg="hmac-sha256""#, r#"alg="none""#, r#"alg="""#, r#"alg="rsa-v1_5-sha256""#, "alg=ed25519"] {
        get(&altered(r#"alg="ed25519""#, alg)).expect(401, "alg_not_allowed");
    }
    get(&altered(r#";alg="ed25519""#, "")).expect(401, "alg_not_allowed");

    let created = now_s();
    for other in [created - 3600, created + 3600, created - 61, created + 63] {
        get(&sign(&world.owner, RECORDS, &host, other)).expect(401, "sig_time");
    }
    for other in ["created=-1", "created=9223372036854775808", "created=1.5", "created=\"now\"", "x=1"] {
        let mut headers = good();
        headers.iter_mut().for_each(|(_, value)| {
            if let Some(start) = value.find("created=") {
                let end = start + value[start..].find(';').unwrap();
                value.replace_range(start..end, other);
            }
        });
        let answer = get(&headers);
        assert_eq!(answer.status, 401);
        assert!(["sig_time", "sig_invalid"].contains(&answer.code().as_str()), "{other}: {answer:?}");
        assert_eq!(answer.code() == "sig_invalid", other == "x=1");
    }

    // Made for another host, and sent with its name or with ours; made for another network.
    let elsewhere = sign(&world.owner, RECORDS, "evil.example", now_s());
    let headers: Vec<_> = elsewhere.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let sent = format!("GET {RECORDS} HTTP/1.1\r\nHost: evil.example\r\n{}\r\n", headers.concat());
    ask(at, sent.as_bytes()).expect(401, "sig_context");
    get(&elsewhere).expect(401, "sig_invalid");
    get(&altered("tag=\"dmdl:", "tag=\"dmdl:00")).expect(401, "sig_context");

    // Another method, path or query than was signed.
    get(&sign(&world.owner, &format!("{RECORDS}?limit=1"), &host, now_s())).expect(401, "sig_invalid");
    let headers = good();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    ask(at, &request("GET", "/v1/channels/main/requests", at, &headers, b"")).expect(401, "sig_invalid");
    ask(at, &request("GET", "/v1/channels", at, &headers, b"")).expect(401, "sig_invalid");

    // A second spelling of a good signature, and keys that would verify anything.
    let mut respelled = good();
    for (name, value) in respelled.iter_mut().filter(|(name, _)| name == "signature") {
        let mut bytes = STANDARD.decode(&value[6..value.len() - 1]).unwrap();
        add_order(&mut bytes[32..]);
        *value = format!("dmdl=:{}:", STANDARD.encode(bytes));
        assert_eq!(name, "signature");
    }
    get(&respelled).expect(401, "sig_invalid");
    let own = world.owner.person.key.to_string();
    for small in ["00".repeat(32), format!("01{}", "00".repeat(31)), format!("ec{}7f", "ff".repeat(30))] {
        get(&altered(&own, &small)).expect(401, "sig_invalid");
    }
    get(&altered(&own, &own.to_uppercase())).expect(401, "sig_invalid");

    for token in ["Bearer eyJhbGciOiJub25lIn0.e30.", "Basic YTpi", "Bearer "] {
        ask(at, &request("GET", RECORDS, at, &[("authorization", token)], b"")).expect(401, "token_invalid");
    }

    // A signature is good for one request.
    let once = good();
    assert_eq!(get(&once).status, 200);
    get(&once).expect(401, "sig_replayed");
    world.assert_still_serves();
    assert_eq!(world.log_size(), size, "nothing of this is on the ledger");
}

/// Adds the order of the group to a scalar.
fn add_order(scalar: &mut [u8]) {
    const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let mut carry = 0;
    for (digit, more) in scalar.iter_mut().zip(hex::decode(ORDER).unwrap()) {
        let sum = u16::from(*digit) + u16::from(more) + carry;
        (*digit, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
}

#[test]
fn a_signed_body_is_the_one_that_was_signed() {
    let world = World::shared();
    let at = world.address();
    let target = format!("/v1/payloads/{}", "00".repeat(32));
    let put = |headers: &[(String, String)], body: &[u8]| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        ask(at, &request("PUT", &target, at, &headers, body))
    };
    let sign = |body: &[u8]| world.signature(&world.owner, "PUT", &target, &at.to_string(), body, now_s());
    put(&sign(b"body"), b"bodz").expect(401, "digest_mismatch");
    put(&sign(b"body"), b"").expect(401, "digest_mismatch");
    put(&sign(b""), b"body").expect(401, "digest_missing");
    let digest = sign(b"body").into_iter().find(|(name, _)| name == "content-digest").unwrap();
    put(&[sign(b"body"), vec![digest.clone()]].concat(), b"body").expect(400, "digest_ambiguous");
    let mut two = sign(b"body");
    two.iter_mut()
        .filter(|(name, _)| name == "content-digest")
        .for_each(|(_, value)| *value = format!("{value}, {value}"));
    put(&two, b"body").expect(400, "digest_ambiguous");
    world.assert_still_serves();
}

#[test]
fn nobody_reads_a_large_body_for_a_stranger() {
    let world = World::shared();
    let at = world.address();
    let stranger = Identity::new("city-hospital", "stranger", Role::Owner).unwrap();
    let target = format!("/v1/payloads/{}", "00".repeat(32));
    let body = vec![7; 8 * 1024 * 1024];
    let signed = world.signed(&stranger, "PUT", &target, at, &[], &body);
    let head = signed.len() - body.len();
    // The body is announced and not sent: the answer does not wait for it.
    let begun = Instant::now();
    let mut wire = Wire::plain(at);
    wire.send(&signed[..head]);
    wire.answer().unwrap().expect(401, "key_unknown");
    // Without a signature it need not even be asked whose key it is.
    wire = Wire::plain(at);
    wire.send(&request("PUT", &target, at, &[], &body)[..200]);
    wire.answer().unwrap().expect(401, "sig_missing");
    assert!(begun.elapsed() < PROMPT);
}

#[test]
fn a_revoked_key_is_refused_at_once_in_its_session_too() {
    let world = World::shared();
    let at = world.address();
    let leaver = world.leaver();
    let mut wire = Wire::plain(at);
    wire.send(&world.signed(&leaver, "POST", "/v1/session", at, &[], b""));
    assert_eq!(wire.answer().unwrap().status, 204);
    let plain = request("GET", RECORDS, at, &[], b"");
    wire.send(&plain);
    assert_eq!(wire.answer().unwrap().status, 200);
    world.revoke(&leaver);
    world.read_as(&leaver, at, &mut Wire::plain(at)).expect(401, "key_revoked");
    wire.send(&plain);
    wire.answer().unwrap().expect(401, "key_revoked");
    // It has ended, and the connection with a stranger goes on.
    wire.send(&plain);
    wire.answer().unwrap().expect(401, "sig_missing");
    world.assert_still_serves();
}

#[test]
fn a_session_is_its_connections_alone() {
    let world = World::shared();
    let session = Duration::from_secs(6);
    let own = world.gateway_with("session", Limits { session, ..Limits::default() });
    let at = own.address();
    let plain = request("GET", RECORDS, at, &[], b"");
    let mut wire = Wire::plain(at);
    wire.send(&request("POST", "/v1/session", at, &[], b""));
    wire.answer().unwrap().expect(401, "sig_missing");
    wire.send(&world.signed(&world.owner, "POST", "/v1/session", at, &[], b""));
    assert_eq!(wire.answer().unwrap().status, 204);
    let begun = Instant::now();
    wire.send(&plain);
    assert_eq!(wire.answer().unwrap().status, 200);

    ask(at, &plain).expect(401, "sig_missing");
    // It cannot prolong itself; pages of other sites and clients behind a proxy have no part in it.
    wire.send(&request("POST", "/v1/session", at, &[], b""));
    wire.answer().unwrap().expect(401, "sig_missing");
    for foreign in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("x-forwarded-for", "10.0.0.1"),
        ("via", "1.1 proxy"),
    ] {
        wire.send(&request("GET", RECORDS, at, &[foreign], b""));
        wire.answer().unwrap().expect(401, "sig_missing");
        wire.send(&world.signed(&world.owner, "POST", "/v1/session", at, &[foreign], b""));
        wire.answer().unwrap().expect(403, "proxied");
    }
    // Somebody else's signature counts for its own request only.
    assert_eq!(world.read_as(&world.researcher, at, &mut wire).status, 200);
    wire.send(&plain);
    assert_eq!(wire.answer().unwrap().status, 200);
    thread::sleep((session + Duration::from_millis(100)).saturating_sub(begun.elapsed()));
    wire.send(&plain);
    wire.answer().unwrap().expect(401, "sig_missing");
}
