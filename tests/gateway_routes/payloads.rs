//! Payloads, up and down.

use super::world::{Answer, World, random_bytes};
use dmdl_types::genesis::Role;
use std::fs;

const MIB: usize = 1 << 20;

fn address(bytes: &[u8]) -> String {
    format!("/v1/payloads/{}", blake3::hash(bytes).to_hex())
}

fn put(world: &World, whole: &[u8], range: std::ops::Range<usize>) -> Answer {
    put_as(world, world.person(0, Role::Owner), &address(whole), whole, range)
}

fn put_as(
    world: &World,
    who: &dmdl::local::Identity,
    route: &str,
    whole: &[u8],
    range: std::ops::Range<usize>,
) -> Answer {
    let said = format!("bytes {}-{}/{}", range.start, range.end - 1, whole.len());
    let headers = [("content-type", "application/octet-stream"), ("content-range", said.as_str())];
    world.ask(Some(who), "PUT", route, &headers, &whole[range])
}

fn head(world: &World, whole: &[u8]) -> Answer {
    world.ask(Some(world.person(0, Role::Owner)), "HEAD", &address(whole), &[], b"")
}

fn get(world: &World, whole: &[u8], headers: &[(&str, &str)]) -> Answer {
    world.ask(Some(&world.stranger), "GET", &address(whole), headers, b"")
}

#[test]
fn an_upload_is_resumed_where_it_broke_off() {
    let world = World::start();
    let whole = random_bytes(3 * MIB + 17);
    let missing = head(&world, &whole);
    assert_eq!((missing.status, missing.header("upload-offset")), (404, Some("0")));
    let answer = put(&world, &whole, 0..MIB);
    assert_eq!((answer.status, answer.header("upload-offset")), (202, Some("1048576")));
    let answer = head(&world, &whole);
    assert_eq!((answer.status, answer.header("upload-offset")), (404, Some("1048576")));
    // The gateway goes down in between, and comes up in the same folder.
    world.open_gateway();
    assert_eq!(head(&world, &whole).header("upload-offset"), Some("1048576"));
    for wrong in [0..MIB, MIB - 1..2 * MIB, MIB + 1..2 * MIB, 2 * MIB..whole.len()] {
        let answer = put(&world, &whole, wrong);
        answer.problem(409, "upload_offset");
        assert_eq!(answer.header("upload-offset"), Some("1048576"));
    }
    assert_eq!(put(&world, &whole, MIB..3 * MIB).status, 202);
    assert_eq!(get(&world, &whole, &[]).problem(404, "unknown_payload")["status"], 404);
    assert_eq!(fs::read_dir(world.uploads()).unwrap().count(), 1);
    assert_eq!(put(&world, &whole, 3 * MIB..whole.len()).status, 201);
    assert_eq!(fs::read_dir(world.uploads()).unwrap().count(), 0);

    let answer = head(&world, &whole);
    assert_eq!((answer.status, answer.header("content-length")), (200, Some(whole.len().to_string().as_str())));
    assert_eq!(get(&world, &whole, &[]).body, whole);
    // What is stored already is stored already, whichever part comes, and whoever sends it.
    assert_eq!(put(&world, &whole, 0..MIB).status, 200);
    assert_eq!(put(&world, &whole, 3 * MIB..whole.len()).status, 200);
    let other = world.person(1, Role::Owner);
    assert_eq!(put_as(&world, other, &address(&whole), &whole, 0..MIB).status, 200);
}

#[test]
fn what_is_not_what_it_says_is_refused() {
    let world = World::shared();
    let owner = world.person(0, Role::Owner);
    let whole = random_bytes(5000);
    let other = random_bytes(5000);
    let route = address(&whole);
    assert_eq!(put(&world, &whole, 0..1000).status, 202);
    put_as(&world, owner, &route, &other, 1000..5000).problem(422, "digest_mismatch");
    assert_eq!(head(&world, &whole).header("upload-offset"), Some("0"), "the stage is dropped");
    assert_eq!(put(&world, &whole, 0..5000).status, 201);
    put_as(&world, owner, &route, &whole[..4999], 0..4999).problem(422, "digest_mismatch");

    let whole = random_bytes(100);
    let route = address(&whole);
    let octets = ("content-type", "application/octet-stream");
    let send = |headers: &[(&str, &str)], body: &[u8]| world.ask(Some(owner), "PUT", &route, headers, body);
    for range in [
        "bytes 0-99/99",
        "bytes 0-98/100",
        "bytes 0-100/101",
        "bytes 1-100/101",
        "bytes */100",
        "bytes 0-99/*",
        "0-99/100",
        "items 0-99/100",
        "bytes 99-0/100",
        "bytes 0-99/100,",
        "",
    ] {
        let told = send(&[octets, ("content-range", range)], &whole).told();
        let expected = if range == "bytes 1-100/101" { (409, "upload_offset") } else { (400, "bad_range") };
        assert_eq!(told, (expected.0, expected.1.to_owned()), "{range}");
    }
    send(&[octets], &whole).problem(400, "bad_range");
    send(&[octets, ("content-range", "bytes 0-0/1")], b"").problem(400, "bad_range");
    send(&[("content-range", "bytes 0-99/100")], &whole).problem(415, "unsupported_media_type");
    send(&[("content-type", "application/json"), ("content-range", "bytes 0-99/100")], &whole)
        .problem(415, "unsupported_media_type");
    let huge = format!("bytes 0-99/{}", u64::MAX);
    send(&[octets, ("content-range", &huge)], &whole).problem(507, "upload_quota");
    let large = vec![0; 8 * MIB + 1];
    let range = format!("bytes 0-{}/{}", large.len() - 1, large.len());
    send(&[octets, ("content-range", &range)], &large).problem(413, "body_too_large");
}

#[test]
fn the_same_part_from_two_connections_is_taken_once() {
    let world = World::shared();
    let whole = random_bytes(4 * MIB);
    let both = |range: std::ops::Range<usize>| {
        std::thread::scope(|scope| {
            let threads = [(); 2].map(|()| scope.spawn(|| put(&world, &whole, range.clone())));
            threads.map(|thread| thread.join().unwrap().status)
        })
    };
    let mut statuses = both(0..2 * MIB);
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409]);
    let statuses = both(2 * MIB..4 * MIB);
    assert!(statuses.iter().all(|status| [200, 201].contains(status)), "{statuses:?}");
    assert_eq!(get(&world, &whole, &[]).body, whole);
}

#[test]
fn a_range_of_a_payload_is_sent() {
    let world = World::shared();
    let whole = random_bytes(2 * MIB + 5);
    assert_eq!(put(&world, &whole, 0..whole.len()).status, 201);
    let len = whole.len();
    let ask = |range: &str| get(&world, &whole, &[("range", range)]);
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=5-1048580", 5, 1_048_581),
        ("bytes=-5", len - 5, len),
        ("bytes=2097150-", 2_097_150, len),
        ("bytes=0-99999999", 0, len),
    ] {
        let answer = ask(range);
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.header("content-range").unwrap(), format!("bytes {from}-{}/{len}", to - 1));
        assert_eq!(answer.body, whole[from..to], "{range}");
    }
    for range in [format!("bytes={len}-"), "bytes=-0".to_owned()] {
        let answer = ask(&range);
        answer.problem(416, "range");
        assert_eq!(answer.header("content-range").unwrap(), format!("bytes */{len}"));
    }
    for range in ["bytes=0-1,3-4", "lines=1-2", "bytes=9-3", "nonsense"] {
        let answer = ask(range);
        assert_eq!((answer.status, answer.body.len()), (200, len), "{range}");
    }
    let answer = get(&world, &whole, &[]);
    assert_eq!(
        (answer.header("accept-ranges"), answer.header("content-type")),
        (Some("bytes"), Some("application/octet-stream"))
    );
    assert_eq!(answer.body, whole);
}

#[test]
fn a_damaged_payload_is_never_sent_as_a_good_one() {
    let world = World::shared();
    for len in [1000, 3 * MIB] {
        let whole = random_bytes(len);
        assert_eq!(put(&world, &whole, 0..len).status, 201);
        let name = blake3::hash(&whole).to_hex().to_string();
        let file = world.vault().join(&name[..2]).join(&name[2..4]).join(&name);
        let mut bytes = fs::read(&file).unwrap();
        bytes[len - 1] ^= 1;
        fs::write(&file, &bytes).unwrap();
        if len < MIB {
            get(&world, &whole, &[]).problem(502, "blob_corrupt");
        } else {
            use http_body_util::BodyExt as _;
            let (parts, body) = world.send(Some(&world.stranger), "GET", &address(&whole), &[], b"").into_parts();
            assert_eq!(parts.status, 200);
            assert!(world.run(body.collect()).is_err(), "it breaks off");
        }
        fs::write(&file, b"").unwrap();
        get(&world, &whole, &[]).problem(502, "blob_corrupt");
        // Putting it again is no remedy while it looks stored; removing it is.
        fs::remove_file(&file).unwrap();
        get(&world, &whole, &[]).problem(404, "unknown_payload");
        assert_eq!(put(&world, &whole, 0..len).status, 201);
        assert_eq!(get(&world, &whole, &[]).body, whole);
    }
}
