//! The program itself: what it prints, and how it ends.

use super::harness::{code, dmdl, json, run, str, text};
use dmdl_types::id::NetworkId;
use serde_json::Value;
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tempfile::TempDir;

/// Asserts that a command fails alike for people and for machines.
fn assert_fails(args: &[&str], exit: i32, stable_code: &str) {
    let people = run(args);
    assert_eq!(code(&people), exit, "{args:?}: {}", text(&people.stderr));
    assert!(people.stdout.is_empty(), "errors do not go to stdout");
    assert!(!people.stderr.is_empty(), "an error is said");
    assert!(!text(&people.stderr).contains("panicked"), "{}", text(&people.stderr));
    let machines = run(&[args, &["--json"]].concat());
    assert_eq!(code(&machines), exit);
    let error = &json(&machines)["error"];
    assert_eq!(error["code"], stable_code, "{error}");
    assert_eq!(error["exit"], exit);
    assert!(error["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
}

/// What one demo left behind.
struct Demo {
    said: Value,
    bundle: PathBuf,
    network: PathBuf,
    dir: TempDir,
}

impl Demo {
    /// The arguments that verify a bundle with a pin.
    fn verify<'a>(bundle: &'a Path, pin: &'a Path) -> [&'a str; 5] {
        ["audit", "verify", str(bundle), "--network", str(pin)]
    }

    /// Writes a file beside the demo's own.
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

static DEMO: Mutex<Weak<Demo>> = Mutex::new(Weak::new());

/// The demo that the tests share; its folder goes with the last of them.
fn demo() -> Arc<Demo> {
    let mut shared = DEMO.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let dir = tempfile::tempdir().unwrap();
        let output = run(&["demo", "--dir", str(dir.path()), "--json"]);
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        let (bundle, network) = (dir.path().join("trail.bundle"), dir.path().join("network.toml"));
        let demo = Arc::new(Demo { said: json(&output), bundle, network, dir });
        *shared = Arc::downgrade(&demo);
        demo
    })
}

#[test]
fn the_demo_tells_its_story_and_leaves_a_trail_that_verifies() {
    let demo = demo();
    assert_eq!(demo.said["bundle"], str(&demo.bundle));
    assert_eq!(demo.said["network"], str(&demo.network));
    assert_eq!(demo.said["records"], 3);
    assert!(!demo.dir.path().join("nodes").exists(), "the nodes' folders are gone");

    let args = Demo::verify(&demo.bundle, &demo.network);
    let people = run(&args);
    assert_eq!(code(&people), 0);
    assert!(text(&people.stdout).starts_with("valid: every event of the channel"), "{}", text(&people.stdout));
    assert!(people.stderr.is_empty());
    let machines = run(&[&args[..], &["--json"]].concat());
    assert_eq!(code(&machines), 0);
    let report = json(&machines);
    assert_eq!((&report["valid"], &report["complete"]), (&Value::Bool(true), &Value::Bool(true)));
    assert_eq!(report["events"], demo.said["events"]);
    assert_eq!(report["root"].as_str().map(str::len), Some(64));
    assert!(report["signers"].as_array().is_some_and(|signers| signers.len() >= 3));
    assert_eq!(report["problems"], Value::Array(Vec::new()));
}

#[test]
fn the_pin_may_come_from_the_environment() {
    let demo = demo();
    let output = dmdl().args(["audit", "verify"]).arg(&demo.bundle).env("DMDL_NETWORK", &demo.network).output();
    assert_eq!(code(&output.unwrap()), 0);
}

#[test]
fn a_changed_trail_ends_with_5() {
    let demo = demo();
    let mut bytes = fs::read(&demo.bundle).unwrap();
    let last = bytes.len() - 1;
    for position in [0, last / 3, last / 2, last] {
        bytes[position] ^= 1;
        let changed = demo.write(&format!("changed-{position}.bundle"), &bytes);
        bytes[position] ^= 1;
        let args = Demo::verify(&changed, &demo.network);
        let people = run(&args);
        assert_eq!(code(&people), 5);
        let said = [&people.stdout[..], &people.stderr[..]].concat();
        assert!(text(&said).contains("INVALID"), "{}", text(&said));
        let machines = run(&[&args[..], &["--json"]].concat());
        assert_eq!(code(&machines), 5);
        let report = json(&machines);
        assert_eq!(report["valid"], Value::Bool(false));
        assert_eq!(report["complete"], Value::Null);
        assert!(report["problems"][0]["code"].is_string() && report["problems"][0]["detail"].is_string());
    }
    let empty = demo.write("empty.bundle", b"");
    assert_eq!(code(&run(&Demo::verify(&empty, &demo.network))), 5);
}

#[test]
fn verification_without_a_usable_pin_ends_with_7() {
    let demo = demo();
    assert_fails(&["audit", "verify", str(&demo.bundle)], 7, "no_pin");
    let none = demo.dir.path().join("none.toml");
    assert_fails(&Demo::verify(&demo.bundle, &none), 7, "bad_network_file");
    let garbage = demo.write("garbage.toml", b"network = 5");
    assert_fails(&Demo::verify(&demo.bundle, &garbage), 7, "bad_network_file");
}

#[test]
fn a_pin_whose_document_was_changed_ends_with_7() {
    let demo = demo();
    let pin = fs::read_to_string(&demo.network).unwrap();
    let id = pin.lines().find_map(|line| line.strip_prefix("network = ")).expect("the pin names the network");
    let _: NetworkId = id.trim_matches('"').parse().expect("by its id");
    let other = format!("\"{}\"", NetworkId::new([7; 32]));
    let other_hash = demo.write("other-hash.toml", pin.replacen(id, &other, 1).as_bytes());
    let other_rule = demo.write("other-rule.toml", pin.replacen("endorsements = 2", "endorsements = 1", 1).as_bytes());
    for changed in [other_hash, other_rule] {
        assert_ne!(fs::read_to_string(&changed).unwrap(), pin);
        assert_fails(&Demo::verify(&demo.bundle, &changed), 7, "genesis_mismatch");
    }
}

#[test]
fn a_file_that_is_not_there_ends_with_4() {
    let demo = demo();
    let missing = demo.dir.path().join("missing.bundle");
    assert_fails(&Demo::verify(&missing, &demo.network), 4, "not_found");
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    for args in [&["demo", "--no-such-flag"][..], &["no-such-command"], &["audit", "verify"], &["audit"]] {
        assert_fails(args, 2, "usage");
    }
}

#[test]
fn help_and_version_end_with_0() {
    for args in [&["--help"][..], &["--version"], &["help"], &["demo", "--help"], &["audit", "verify", "--help"]] {
        let output = run(args);
        assert_eq!(code(&output), 0, "{args:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let demo = demo();
    let mut child = dmdl()
        .args(Demo::verify(&demo.bundle, &demo.network))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(said, "");
}

#[test]
fn a_demo_without_usable_records_or_folder_fails_clearly() {
    let empty = tempfile::tempdir().unwrap();
    let dir = empty.path().join("demo");
    assert_fails(&["demo", "--dir", str(&dir), "--samples", str(empty.path())], 7, "samples");
    let file = empty.path().join("file");
    fs::write(&file, b"").unwrap();
    assert_fails(&["demo", "--dir", str(&file)], 74, "storage");
}
