//! Clocks: the clock of one node is a day off while a grant ends. The ledger's time is not, and decides.

use super::ground::turn;
use crate::{
    harness::{Clock, code, json, str, text},
    network::{ALL, Network, Seat},
};
use dmdl::network_file::NetworkFile;
use dmdl_types::{
    bundle,
    event::{Action, Event, Verdict},
    id::UnixMillis,
};
use serde_json::Value;
use std::{
    fs,
    time::{Duration, Instant},
};

const SEATS: [Seat; 4] = [("a", "org-1", ALL), ("b", "org-2", ALL), ("c", "org-3", ALL), ("d", "org-4", ALL)];
const DAY_S: i64 = 86_400;
const DAY_MS: u64 = 86_400_000;
/// How long before and after the end of a grant people use it.
const BEFORE: Duration = Duration::from_secs(8);
const AFTER: Duration = Duration::from_secs(4);
/// The node whose clock is off; people are at the others.
const OFF: usize = 0;

/// Opens a record again and again until its grant has ended a while ago, and says how often that went well.
fn open_until_over(network: &Network, request: &str, clock: &Clock, over: Instant) -> u32 {
    let (out, mut opened) = (network.folder().join("opened"), 0);
    for gateway in [1, 2, 3].iter().cycle() {
        let mut command = network.command(*gateway, "researcher", &["access", "open", request, "--out", str(&out)]);
        let begun = Instant::now();
        let output = clock.under(&mut command).output().unwrap();
        match code(&output) {
            0 => opened += 1,
            3 => assert_eq!(json(&output)["error"]["code"], "denied"),
            // It came too late for this gateway, or this gateway for it.
            _ => {}
        }
        let _ = fs::remove_file(&out);
        if begun > over {
            break;
        }
    }
    opened
}

/// The decryptions of a trail under the grant that a request was approved with, and when that grant ends.
fn decryptions<'a>(trail: &'a [Event], request: &str) -> (UnixMillis, Vec<&'a Event>) {
    let of_request = |event: &&Event| event.refers_to.is_some_and(|asked| asked.to_string() == request);
    let approved = trail.iter().filter(of_request).find(|event| event.action == Action::Approve);
    let approved = approved.expect("the request is approved");
    let under = |event: &&Event| of_request(event) && event.action == Action::Decrypt;
    (approved.time.plus_ms(DAY_MS), trail.iter().filter(under).collect())
}

/// What a command says of somebody whose clock is this one.
fn ok(network: &Network, clock: &Clock, who: &str, args: &[&str]) -> Value {
    let output = clock.under(&mut network.command(1, who, args)).output().unwrap();
    assert_eq!(code(&output), 0, "{args:?}: {} {}", text(&output.stdout), text(&output.stderr));
    json(&output)
}

#[test]
fn a_clock_that_is_a_day_off_neither_prolongs_a_grant_nor_ends_it() {
    let _turn = turn();
    let mut network = Network::generate(&SEATS);
    network.give_clocks();
    network.start_all();
    let record = network.register(1, "for a day");
    let library = Clock::library(&network.folder());
    let (mut ahead_s, mut requests, mut opened) = (0, Vec::new(), 0);
    for off_s in [-DAY_S, DAY_S] {
        let clock = Clock { library: library.clone(), ahead_s };
        // More uses than the policy gives by itself.
        let terms = ["--purpose", "HMB", "--reason", "a study", "--uses", "1000", "--days", "1"];
        let asked = ok(&network, &clock, "researcher", &[&["access", "request", &record][..], &terms].concat());
        let request = asked["request"].as_str().unwrap().to_owned();
        ok(&network, &clock, "owner", &["access", "approve", &request]);
        let ends = Instant::now() + BEFORE;
        ahead_s += DAY_S - i64::try_from(BEFORE.as_secs()).unwrap();
        for node in 0..SEATS.len() {
            network.clock(node).set(if node == OFF { ahead_s + off_s } else { ahead_s });
        }
        let clock = Clock { library: library.clone(), ahead_s };
        opened += open_until_over(&network, &request, &clock, ends + AFTER);
        requests.push(request);
        network.clock(OFF).set(ahead_s);
    }
    let (clock, bundle) = (Clock { library, ahead_s }, network.folder().join("trail.bundle"));
    ok(&network, &clock, "officer", &["audit", "export", "--out", str(&bundle)]);
    let pin = NetworkFile::read(&network.pin_file(1)).unwrap();
    let report = bundle::verify(&fs::read(&bundle).unwrap(), &pin.genesis.founding()).unwrap();
    let trail: Vec<Event> = report.events.into_iter().map(|(_, event)| event).collect();
    let (mut allowed, mut denied) = (0, 0);
    for request in &requests {
        let (ends, decryptions) = decryptions(&trail, request);
        let (before, after): (Vec<&Event>, Vec<&Event>) = decryptions.iter().partition(|event| event.time <= ends);
        assert!(before.iter().all(|event| event.outcome.verdict == Verdict::Allow), "before {ends}: {before:#?}");
        assert!(after.iter().all(|event| event.outcome.verdict == Verdict::Deny), "after {ends}: {after:#?}");
        assert!(!before.is_empty() && !after.is_empty(), "it was used before {ends} and tried after");
        (allowed, denied) = (allowed + before.len(), denied + after.len());
    }
    assert!(opened > 0, "the record opened");
    eprintln!(
        "clocks: {} grants ended beside a clock that is a day off, 0 anomalies; {allowed} uses before, {denied} denied after",
        requests.len()
    );
}
