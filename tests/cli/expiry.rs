//! Time on the command line: what a grant's days mean, and what a clock that is wrong does.
//!
//! Grants are given in days, so the clock is moved under the whole program: a library that is loaded
//! before the system's answers for the clock on the wall, and for no other.

use super::harness::{Clock, Up, code, json, str};
use std::fs;

const DAY: i64 = 86_400;

fn request(up: &Up, record: &str, days: &str) -> String {
    let ask = ["access", "request", record, "--purpose", "HMB", "--reason", "a study", "--uses", "3", "--days", days];
    up.ok("researcher", &ask)["request"].as_str().unwrap().to_owned()
}

#[test]
fn a_grant_of_a_day_opens_nothing_two_days_later_and_one_of_thirty_still_does() {
    let up = Up::start();
    let file = up.folder().join("record");
    fs::write(&file, "for a day or a month").unwrap();
    let record = up.register("owner", &file, &["--policy", "research-auto"]);
    let (day, month) = (request(&up, &record, "1"), request(&up, &record, "30"));
    for grant in [&day, &month] {
        assert_eq!(up.open("researcher", grant, &[]), b"for a day or a month");
    }

    up.stop();
    up.set_clock(Some(Clock { library: Clock::library(up.folder()), ahead_s: 2 * DAY }));
    up.resume();
    let out = up.folder().join("too-late");
    let error = up.fails("researcher", &["access", "open", &day, "--out", str(&out)], 3);
    assert_eq!(error["error"]["code"], "denied", "{error}");
    assert_eq!(error["error"]["detail"], "denied: grant_expired");
    assert!(!out.exists());
    let trail = up.ok("officer", &["audit", "query", "--record", &record, "--outcome", "deny"]);
    let [denial] = &trail["items"].as_array().unwrap()[..] else { panic!("one denial: {trail}") };
    let event = &denial["event"];
    assert_eq!(event["action"], "decrypt", "{denial}");
    assert_eq!(event["outcome"]["reasons"][0]["code"], "grant_expired", "{denial}");
    assert_eq!(up.open("researcher", &month, &[]), b"for a day or a month");
    // The record's grants, and not the record, have ended for whoever has no other.
    assert_eq!(up.open("owner", &record, &[]), b"for a day or a month");
}

#[test]
fn who_signs_by_a_clock_that_is_a_day_off_is_told_of_the_clock() {
    let up = Up::shared();
    let folder = tempfile::tempdir().unwrap();
    let library = Clock::library(folder.path());
    for ahead_s in [DAY, -DAY, 90, -90] {
        let clock = Clock { library: library.clone(), ahead_s };
        let mut command = up.command("researcher", ["record", "list", "--json"]);
        let output = clock.under(&mut command).output().unwrap();
        let error = json(&output);
        assert_eq!(code(&output), 3, "{error}");
        assert_eq!(error["error"]["code"], "sig_time", "{error}");
        let detail = error["error"]["detail"].as_str().unwrap();
        assert!(detail.contains("clock"), "{detail}");
    }
    // A little may be off.
    let clock = Clock { library, ahead_s: 20 };
    let mut command = up.command("researcher", ["record", "list", "--json"]);
    let output = clock.under(&mut command).output().unwrap();
    assert_eq!(code(&output), 0);
}
