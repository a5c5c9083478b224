//! Keys, policies, the trail and the contracts, as separate processes of the people concerned see them.

use super::harness::{Up, code, dmdl, eventually, json, run, str, text};
use dmdl::{
    local::{LocalNetwork, Shape},
    network_file::NetworkFile,
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, ChildStdout, Stdio},
    time::Duration,
};

const STUDY: [&str; 6] = ["--purpose", "HMB", "--reason", "a study", "--days", "30"];

fn key(up: &Up, who: &str) -> String {
    up.ok(who, &["whoami"])["key"].as_str().unwrap().to_owned()
}

/// The code of the error that a command ends with.
fn refused(up: &Up, who: &str, args: &[&str], exit: i32) -> String {
    let error = up.fails(who, args, exit);
    error["error"]["code"].as_str().unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[test]
fn a_key_lives_from_its_file_to_its_revocation() {
    let up = Up::shared();
    let (file, card) = (up.folder().join("new.key"), up.folder().join("new.pub"));
    let new = ["id", "new", "--out", str(&file), "--org", "city-hospital", "--name", "dr-new", "--role", "researcher"];
    let made = json(&run(&[&new[..], &["--no-passphrase", "--json"]].concat()));
    let id = made["key"].as_str().unwrap();
    fs::write(&card, run(&["id", "show", str(&file)]).stdout).unwrap();
    let pin = up.network().join("network.toml");
    let whoami = || {
        let output = dmdl()
            .args(["--as", str(&file), "--network", str(&pin), "whoami", "--json"])
            .env("DMDL_HOME", up.folder().join("home/new"))
            .output()
            .unwrap();
        assert_eq!(code(&output), 0, "{}", text(&output.stdout));
        json(&output)["ledger"]["status"].clone()
    };
    assert_eq!(whoami(), "UNKNOWN");
    assert_eq!(refused(&up, "owner", &["id", "enroll", str(&card)], 3), "role");
    let enrolled = up.ok("owner", &["id", "enroll", str(&card), "--by", str(&up.key("admin"))]);
    assert_eq!((&enrolled["key"], &enrolled["enrolled"]), (&made["key"], &Value::Bool(true)));
    assert_eq!(whoami(), "ACTIVE");
    assert_eq!(refused(&up, "admin", &["id", "enroll", str(&card)], 2), "id_reuse");
    assert_eq!(refused(&up, "owner", &["id", "revoke", id], 3), "role");
    assert_eq!(up.ok("admin", &["id", "revoke", id])["status"], "revoked");
    assert_eq!(whoami(), "REVOKED_OR_SUSPENDED");
}

#[test]
fn a_policy_is_set_shown_explained_and_remembered() {
    let up = Up::shared();
    let record = up.record("policies", &["--policy", "research-auto"]);
    let first = up.ok("owner", &["policy", "show", &record]);
    let explained = up.ok("owner", &["policy", "explain", &record, "--as-if", "purpose=HMB,org=biobank"]);
    assert_eq!((&explained["decision"], &explained["policy"]), (&Value::from("allow"), &first["policy"]));
    assert_eq!(refused(&up, "researcher", &["policy", "set", &record, "closed"], 3), "role");
    let second = up.ok("owner", &["policy", "set", &record, "closed", "--duo", "GRU"]);
    let explained = up.ok("owner", &["policy", "explain", &record, "--as-if", "purpose=HMB,org=biobank"]);
    assert_eq!((&explained["decision"], &explained["policy"]), (&Value::from("deny"), &second["policy"]));
    let asked = up.fails("researcher", &[&["access", "request", &record], &STUDY[..]].concat(), 3);
    assert_eq!(asked["reasons"], explained["reasons"], "the network decides as it was explained");

    // What is shown is a file that can be set again.
    let shown = up.folder().join("shown.cedar");
    fs::write(&shown, up.run("owner", &["policy", "show", &record]).stdout).unwrap();
    assert_eq!(up.ok("owner", &["policy", "set", &record, str(&shown)])["policy"], second["policy"]);
    let history = up.ok("owner", &["policy", "history", &record]);
    let policies: Vec<&Value> = history["items"].as_array().unwrap().iter().map(|item| &item["policy"]).collect();
    assert_eq!(policies, [&first["policy"], &second["policy"], &second["policy"]]);
    assert_eq!(refused(&up, "researcher", &["policy", "history", &record], 3), "role");
    let nowhere = "00".repeat(32);
    assert_eq!(refused(&up, "owner", &["policy", "show", &nowhere], 4), "unknown_record");
    assert_eq!(refused(&up, "owner", &["policy", "set", &nowhere, "closed"], 4), "unknown_record");
}

#[test]
fn the_trail_is_asked_for_proved_and_written_as_people_need_it() {
    let up = Up::shared();
    let (record, custodians) = up.settled_record("trail", &["--policy", "research-auto"]);
    // A registration, its acknowledgements, and two requests.
    let events_of_record = 1 + custodians + 2;
    let allowed = up.ok("researcher", &[&["access", "request", &record], &STUDY[..]].concat());
    up.fails("researcher", &["access", "request", &record, "--purpose", "POA", "--reason", "ancestry"], 3);
    let of_record = ["--record", &record];
    let query = |more: &[&str]| up.ok("owner", &[&["audit", "query"], &of_record[..], more].concat());
    let all = query(&[]);
    let events = all["items"].as_array().unwrap();
    assert_eq!(events.len(), events_of_record, "{all}");
    assert_eq!(query(&["--outcome", "deny"])["items"].as_array().unwrap().len(), 1);
    assert_eq!(query(&["--purpose", "POA", "--outcome", "allow"])["items"].as_array().unwrap().len(), 0);
    let time = events[0]["event"]["time"].as_str().unwrap();
    assert_eq!(query(&["--from", time, "--to", time])["items"][0], events[0]);
    let first = query(&["--limit", "2"]);
    let rest = query(&["--cursor", first["next_cursor"].as_str().unwrap()]);
    let paged = [first["items"].as_array().unwrap().as_slice(), rest["items"].as_array().unwrap()].concat();
    assert_eq!(&paged, events);
    assert_eq!(refused(&up, "researcher", &["audit", "query"], 3), "role");

    let out = |name: &str| up.folder().join(name);
    let export = |who: &str, name: &str, more: &[&str]| {
        up.ok(who, &[&["audit", "export", "--out", str(&out(name))], more].concat())
    };
    // A bundle goes as far as the newest final checkpoint, which comes a moment after what it covers.
    let proved = eventually("a checkpoint covers all of it", || {
        let _ = fs::remove_file(out("record.bundle"));
        Some(export("owner", "record.bundle", &of_record)).filter(|proved| proved["events"] == events_of_record)
    });
    let whole = export("officer", "whole.bundle", &[]);
    for (name, exported) in [("record.bundle", &proved), ("whole.bundle", &whole)] {
        let verified = up.ok("owner", &["audit", "verify", str(&out(name))]);
        assert_eq!((&verified["root"], &verified["events"]), (&exported["root"], &exported["events"]));
    }
    assert_eq!(
        export("owner", "denials.csv", &[&of_record[..], &["--format", "csv", "--outcome", "deny"]].concat())["events"],
        1
    );
    let table = fs::read_to_string(out("denials.csv")).unwrap();
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains("purpose_not_permitted"), "{table}");
    export("owner", "all.ndjson", &[&of_record[..], &["--format", "ndjson"]].concat());
    let lines = fs::read_to_string(out("all.ndjson")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(&lines, events, "proved lines say what was told");
    let mine = out("no.bundle");
    assert_eq!(refused(&up, "researcher", &["audit", "export", "--out", str(&mine)], 3), "role");
    assert!(!mine.exists());

    let transaction = allowed["transaction"].as_str().unwrap();
    let receipt = up.ok("researcher", &["audit", "receipt", transaction, "--out", str(&out("allowed.tlog-proof"))]);
    assert_eq!((&receipt["verdict"], &receipt["height"]), (&Value::from("allow"), &allowed["height"]));
    assert!(fs::read_to_string(out("allowed.tlog-proof")).unwrap().starts_with("c2sp.org/tlog-proof@v1\n"));
    let verify = |name| up.run("researcher", &["audit", "verify", str(&out(name)), "--json"]);
    let verified = verify("allowed.tlog-proof");
    let said: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!((verified.status.code(), &said["transaction"]), (Some(0), &allowed["transaction"]));
    assert_eq!((&said["valid"], &said["verdict"]), (&Value::from(true), &Value::from("allow")));
    let elsewhere = fs::read_to_string(out("allowed.tlog-proof")).unwrap().replacen("\nindex ", "\nindex 1", 1);
    fs::write(out("elsewhere.tlog-proof"), elsewhere).unwrap();
    let refuted = verify("elsewhere.tlog-proof");
    let said: Value = serde_json::from_slice(&refuted.stdout).unwrap();
    assert_eq!((refuted.status.code(), &said["valid"]), (Some(5), &Value::from(false)));
    assert_eq!(said["problems"][0]["code"], "receipt_invalid");
    let nothing = out("none");
    let none = ["audit", "receipt", &record, "--timeout", "1", "--out", str(&nothing)];
    assert_eq!(refused(&up, "researcher", &none, 4), "unknown_transaction");
    assert!(!nothing.exists());
}

/// Somebody who follows the trail.
struct Follower {
    process: Child,
    lines: Option<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(up: &Up, more: &[&str]) -> Self {
        let args = [&["audit", "tail"], more].concat();
        let mut process = up.command("officer", args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = process.stdout.take().map(BufReader::new);
        Self { process, lines }
    }

    fn next(&mut self) -> String {
        let mut line = String::new();
        self.lines.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_trail_can_be_followed_as_it_happens() {
    let up = Up::shared();
    let record = up.record("followed", &["--policy", "closed"]);
    let mut follower = Follower::start(&up, &["--json", "--record", &record]);
    // Events come from when the gateway has let it in, so something happens until it has.
    let (heard, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let line = follower.next();
            heard.send(line).unwrap();
        });
        let line = loop {
            up.fails("researcher", &[&["access", "request", &record], &STUDY[..]].concat(), 3);
            if let Ok(line) = told.recv_timeout(Duration::from_millis(200)) {
                break line;
            }
        };
        let item: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&item["event"]["record"], &item["event"]["action"]), (&record.into(), &"request".into()));
        assert_eq!(item["event"]["outcome"]["verdict"], "deny");
    });
}

#[test]
fn only_officers_follow_the_trail() {
    assert_eq!(refused(&Up::shared(), "owner", &["audit", "tail"], 3), "role");
}

#[test]
fn the_functions_of_the_paper_are_called_by_their_names() {
    let up = Up::shared();
    let call = |kind: &str, function: &str, arguments: &[&str]| {
        let arguments = arguments.iter().flat_map(|argument| ["--arg", argument]);
        up.ok("owner", &["contract", kind, "medical", function].into_iter().chain(arguments).collect::<Vec<_>>())
    };
    let begun = call("invoke", "initialMedical", &["type=application/dicom", "source=ward 3", "subject=P-7"]);
    let record = begun["record"].as_str().unwrap();
    assert_eq!(begun["source"]["commitment"].as_str().map(str::len), Some(64));
    let (of_record, owner) = (format!("record={record}"), key(&up, "owner"));
    let read = call("query", "readMedical", &[&of_record]);
    assert_eq!((&read["state"], &read["owner"]), (&Value::from("CATALOGUED"), &Value::from(owner.as_str())));
    assert!(read["subject"].is_string(), "{read}");
    let owned = call("query", "queryByOwner", &[&format!("owner={owner}"), "limit=500"]);
    assert!(owned["items"].as_array().unwrap().contains(&read));
    call("invoke", "delete", &[&of_record]);
    let history = call("query", "getHistory", &[&of_record]);
    let kinds: Vec<&Value> = history["items"].as_array().unwrap().iter().map(|item| &item["kind"]).collect();
    assert_eq!(kinds, ["source", "registration", "deletion"]);
    let to = format!("to={}", key(&up, "researcher"));
    let transfer = ["contract", "invoke", "medical", "transferMedical", "--arg", &of_record, "--arg", &to];
    assert_eq!(refused(&up, "owner", &transfer, 2), "record_erased");
}

#[test]
fn the_status_is_told_to_anybody_and_believed_of_the_pinned_network_only() {
    let up = Up::shared();
    let pin = up.network().join("network.toml");
    let status = |pin: &PathBuf| run(&["status", "--json", "--network", str(pin)]);
    let told = json(&status(&pin));
    let channel = &told["channels"][0];
    assert_eq!(channel["name"], "main");
    assert!(channel["height"].as_u64().is_some_and(|height| height > 0), "{told}");
    assert_eq!(channel["reputation"].as_array().unwrap().len(), 4);
    let whole = NetworkFile::read(&pin).unwrap();
    assert_eq!(told["genesis"], whole.network.to_string());

    let orgs = ["city-hospital", "university-clinic", "research-institute", "health-registry"];
    let nodes = tempfile::tempdir().unwrap();
    let other = LocalNetwork::create(nodes.path(), &orgs, &[], Shape::default()).unwrap();
    let mixed = NetworkFile::of(other.genesis().clone()).with_gateway(whole.gateways[0].clone());
    let path = up.folder().join("other.toml");
    fs::write(&path, mixed.to_text().unwrap()).unwrap();
    let output = status(&path);
    assert_eq!((code(&output), &json(&output)["error"]["code"]), (7, &Value::from("genesis_mismatch")));
}

#[test]
fn a_reader_of_the_trail_that_goes_away_is_no_failure() {
    let up = Up::shared();
    let record = up.record("left", &["--policy", "closed"]);
    let mut follower = Follower::start(&up, &[]);
    let mut errors = follower.process.stderr.take().unwrap();
    drop(follower.lines.take());
    let status = loop {
        up.fails("researcher", &[&["access", "request", &record], &STUDY[..]].concat(), 3);
        if let Some(status) = follower.process.try_wait().unwrap() {
            break status;
        }
    };
    let mut said = String::new();
    errors.read_to_string(&mut said).unwrap();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

#[test]
fn a_trail_that_is_shorter_than_what_was_verified_before_is_not_exported() {
    let up = Up::shared();
    up.record("remembered", &["--policy", "closed"]);
    let pin = NetworkFile::read(&up.network().join("network.toml")).unwrap();
    let home = up.folder().join("home/far-seeing");
    fs::create_dir_all(home.join(pin.network.to_string())).unwrap();
    let seen = format!("size = 1000000\nroot = \"{}\"\n", "07".repeat(32));
    fs::write(home.join(pin.network.to_string()).join("main.seen"), seen).unwrap();
    let out = up.folder().join("short.bundle");
    let args = ["audit", "export", "--out", str(&out), "--timeout", "1", "--json"];
    let output = up.command("officer", args).env("DMDL_HOME", home).output().unwrap();
    assert_eq!((code(&output), &json(&output)["error"]["code"]), (6, &Value::from("gateway_behind")));
    assert!(!out.exists());
}
