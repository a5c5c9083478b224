//! Who gets a record and who does not, as separate processes see it.

use super::harness::{Up, code, json, str, text};
use std::{fs, path::PathBuf};

const STUDY: [&str; 4] = ["--purpose", "HMB", "--reason", "a study"];

fn file(up: &Up, name: &str, text: &str) -> PathBuf {
    let path = up.folder().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn request(up: &Up, record: &str, more: &[&str]) -> String {
    let asked = up.ok("researcher", &[&["access", "request", record], &STUDY[..], more].concat());
    asked["request"].as_str().unwrap().to_owned()
}

#[test]
fn what_the_policy_denies_is_on_the_ledger_and_opens_nothing() {
    let up = Up::shared();
    let record = up.register("owner", &file(&up, "denied", "denied"), &["--policy", "research-auto"]);
    let asked = up.fails("researcher", &["access", "request", &record, "--purpose", "POA", "--reason", "ancestry"], 3);
    assert_eq!(asked["decision"], "deny", "{asked}");
    assert_eq!(asked["reasons"][0]["code"], "purpose_not_permitted");
    let out = up.folder().join("nothing");
    let error = up.fails("researcher", &["access", "open", &record, "--out", str(&out)], 3);
    assert_eq!(error["error"]["code"], "no_grant");
    assert!(!out.exists());
    let trail = up.ok("officer", &["audit", "query", "--record", &record, "--outcome", "deny"]);
    assert_eq!(trail["items"].as_array().unwrap().len(), 1, "{trail}");
}

#[test]
fn a_revoked_grant_opens_nothing_more() {
    let up = Up::shared();
    let record = up.register("owner", &file(&up, "revoked", "revoked"), &["--policy", "research-auto"]);
    let asked = up.ok("researcher", &[&["access", "request", &record, "--uses", "5"], &STUDY[..]].concat());
    assert_eq!(up.open("researcher", &record, &[]), b"revoked");
    up.ok("owner", &["access", "revoke", asked["grant"].as_str().unwrap()]);
    let out = up.folder().join("never");
    let error = up.fails("researcher", &["access", "open", &record, "--out", str(&out)], 3);
    assert_eq!(error["error"]["code"], "denied");
    assert!(error["error"]["detail"].as_str().unwrap().contains("grant_revoked"), "{error}");
    assert!(!out.exists());
}

#[test]
fn a_grant_of_two_uses_opens_twice() {
    let up = Up::shared();
    let record = up.register("owner", &file(&up, "twice", "twice"), &["--policy", "research-auto"]);
    request(&up, &record, &["--uses", "2"]);
    for _ in 0..2 {
        assert_eq!(up.open("researcher", &record, &[]), b"twice");
    }
    let out = up.folder().join("thrice");
    let error = up.fails("researcher", &["access", "open", &record, "--out", str(&out)], 3);
    assert!(error["error"]["detail"].as_str().unwrap().contains("grant_used_up"), "{error}");
}

#[test]
fn a_committee_decides_what_a_policy_leaves_to_it() {
    let up = Up::shared();
    let record = up.register("owner", &file(&up, "reviewed", "reviewed"), &[]);
    let first = request(&up, &record, &[]);
    let waiting = up.ok("committee", &["access", "list", "--state", "pending", "--record", &record]);
    assert_eq!(waiting["items"][0]["request"], first.as_str());
    let mut waits = up.command("researcher", ["access", "wait", &first, "--json"]).spawn().unwrap();
    let approved = up.ok("committee", &["access", "approve", &first]);
    assert_eq!(approved["state"], "ALLOWED");
    assert!(waits.wait().unwrap().success());
    assert_eq!(up.open("researcher", &first, &[]), b"reviewed");

    let second = request(&up, &record, &[]);
    up.ok("committee", &["access", "deny", &second]);
    let said = up.fails("researcher", &["access", "wait", &second], 3);
    assert_eq!(said["decision"], "deny", "{said}");
    let error = up.fails("committee", &["access", "approve", &second], 2);
    assert_eq!(error["error"]["code"], "already_decided");
}

#[test]
fn an_unlisted_record_is_like_none_for_whoever_may_not_see_it() {
    let up = Up::shared();
    let record = up.register("owner", &file(&up, "unlisted", "unlisted"), &["--unlisted"]);
    let hidden = up.run("researcher", &["record", "show", &record, "--json"]);
    let absent = up.run("researcher", &["record", "show", &"0".repeat(64), "--json"]);
    assert_eq!((code(&hidden), code(&absent)), (4, 4), "{}", text(&hidden.stdout));
    assert_eq!(json(&hidden), json(&absent));
    let listed = up.ok("researcher", &["record", "list", "--limit", "500"]);
    assert!(listed["items"].as_array().unwrap().iter().all(|item| item["record"] != record.as_str()));
    assert_eq!(up.open("owner", &record, &[]), b"unlisted");
}

#[test]
fn a_new_version_replaces_the_old_one_and_both_open() {
    let up = Up::shared();
    let record = up.register("owner", &file(&up, "first", "first"), &["--policy", "research-auto"]);
    let same = up.register("owner", &file(&up, "second", "second"), &["--replaces", &record]);
    assert_eq!(same, record);
    assert_eq!(up.open("owner", &record, &[]), b"second");
    assert_eq!(up.open("owner", &record, &["--version", "1"]), b"first");
}

#[test]
fn an_exported_trail_verifies_and_is_refused_after_a_change() {
    let up = Up::shared();
    let record = up.register("owner", &file(&up, "audited", "audited"), &["--policy", "research-auto"]);
    request(&up, &record, &[]);
    assert_eq!(up.open("researcher", &record, &[]), b"audited");
    for (name, filter) in [("all", &[][..]), ("one", &["--record", &record])] {
        let out = up.folder().join(format!("{name}.bundle"));
        let said = up.ok("officer", &[&["audit", "export", "--out", str(&out)], filter].concat());
        assert!(said["events"].as_u64().unwrap() >= 3, "{said}");
        let verified = up.ok("officer", &["audit", "verify", str(&out)]);
        assert_eq!(verified["valid"], true);
        assert_eq!(verified["events"], said["events"]);
        let mut bytes = fs::read(&out).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let changed = file(&up, &format!("{name}.changed"), "");
        fs::write(&changed, bytes).unwrap();
        assert_eq!(up.fails("officer", &["audit", "verify", str(&changed)], 5)["valid"], false);
    }
}

#[test]
fn an_opening_that_was_ordered_resumes_and_counts_one_use() {
    let up = Up::shared();
    let record = up.register("owner", &file(&up, "resumed", "resumed"), &["--policy", "research-auto"]);
    request(&up, &record, &["--uses", "1"]);
    // What fails before the decryption is ordered costs no use.
    up.fails("researcher", &["access", "open", &record, "--out", "/proc/dmdl-none"], 2);
    // The decryption is ordered, and then its plaintext has nowhere to go.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let broken = up.command("researcher", ["access", "open", &record, "--out", "-"]).stdout(full).output().unwrap();
    let said = text(&broken.stderr);
    assert_eq!(code(&broken), 74, "{said}");
    let transaction = said.split_whitespace().find(|word| word.len() == 64).expect("the decryption is named");
    assert_eq!(up.open("researcher", &record, &["--transaction", transaction]), b"resumed");
    let out = up.folder().join("again");
    let error = up.fails("researcher", &["access", "open", &record, "--out", str(&out)], 3);
    assert!(error["error"]["detail"].as_str().unwrap().contains("grant_used_up"), "{error}");
}
