//! Reasons, comments and titles: who reads them, where they lie, and what is left when they are taken back.

use super::harness::{Up, code, eventually, json, run, str, text, within};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// How many nodes keep what lies beside the ledger.
const NODES: usize = 4;
/// How long a text may take to the last of them. One that is busy just then misses it, and asks for it when it is
/// wanted.
const ON_ITS_WAY: Duration = Duration::from_secs(5);
/// How often a text is handed in that every node should have.
const TRIES: usize = 6;
const PURPOSE: [&str; 2] = ["--purpose", "HMB"];

/// Asks as somebody for a reason that is kept.
fn ask(up: &Up, who: &str, record: &str, reason: &str) -> String {
    let asked = up.ok(who, &[&["access", "request", record, "--reason", reason], &PURPOSE[..]].concat());
    assert_eq!(asked["reason"]["state"], "kept", "{asked}");
    asked["request"].as_str().unwrap().to_owned()
}

/// The same for a reason of which every node has its copy; gives the copies, too.
fn ask_all(up: &Up, who: &str, record: &str, reason: &str) -> (String, Vec<PathBuf>) {
    for _ in 0..TRIES {
        let request = ask(up, who, record, reason);
        let copies = || Some(beside(up, "remarks", &request)).filter(|copies| copies.len() == NODES);
        if let Some(copies) = within(ON_ITS_WAY, copies) {
            return (request, copies);
        }
    }
    panic!("a node keeps none of {TRIES} reasons")
}

/// Waits until every node has heard of a title, which is given again for one that missed it.
fn until_all_heard(heard: impl Fn() -> bool, give_again: impl Fn()) {
    for _ in 0..TRIES {
        if within(ON_ITS_WAY, || heard().then_some(())).is_some() {
            return;
        }
        give_again();
    }
    panic!("a node missed {TRIES} titles")
}

fn show(up: &Up, who: &str, request: &str) -> Value {
    up.ok(who, &["access", "show", request])
}

/// Makes somebody of the owner's organisation with a key file like the others.
fn enrol(up: &Up, name: &str, role: &str) {
    let (file, card) = (up.key(name), up.folder().join(format!("{name}.pub")));
    let new = ["id", "new", "--org", "city-hospital", "--name", name, "--role", role, "--no-passphrase", "--out"];
    assert_eq!(code(&run(&[&new[..], &[str(&file)]].concat())), 0);
    fs::write(&card, run(&["id", "show", str(&file)]).stdout).unwrap();
    up.ok("admin", &["id", "enroll", str(&card)]);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The spellings in which a text could lie in a file.
fn spellings(text: &str) -> Vec<Vec<u8>> {
    let wide = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let mut all = vec![text.into(), hex::encode(text).into(), hex::encode_upper(text).into()];
    all.extend([wide(u16::to_le_bytes), wide(u16::to_be_bytes)]);
    for shift in 0..3 {
        // What stands before decides how the text is cut into groups of three; the ends are not its own.
        let encoded = STANDARD.encode(["x".repeat(shift).as_bytes(), text.as_bytes()].concat());
        all.push(encoded.as_bytes()[4..encoded.len() - 4].to_vec());
    }
    all
}

/// The files in which a text lies, in whatever spelling.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let spellings = spellings(text);
    let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    files(folder)
        .into_iter()
        .filter(|file| {
            // A database may throw a file away while it is looked at.
            let bytes = fs::read(file).unwrap_or_default();
            spellings.iter().any(|part| has(&bytes, part))
        })
        .collect()
}

/// Where the four nodes keep something beside the ledger.
fn beside(up: &Up, shelf: &str, id: &str) -> Vec<PathBuf> {
    let nodes = fs::read_dir(up.network().join("nodes")).unwrap().map(|node| node.unwrap().path().join("channels"));
    // The vault is among them, and has no channels.
    let channels = nodes.flat_map(|node| fs::read_dir(node).into_iter().flatten());
    let all = channels
        .map(|channel| channel.unwrap().path().join("beside"))
        .map(|node| node.join(shelf).join(&id[..2]).join(id));
    all.filter(|path| path.exists()).collect()
}

#[test]
fn the_parties_read_a_reason_and_a_comment_and_nobody_else_does() {
    let up = Up::shared();
    let record = up.record("reasons", &[]);
    enrol(&up, "reviewer", "committee");
    enrol(&up, "bystander", "researcher");
    let reason = "Längsschnitt über HbA1c\nKohorte 7";
    let request = ask(&up, "researcher", &record, reason);
    enrol(&up, "latecomer", "committee");
    let comment = "only the cohort of 2026";
    let approved = up.ok("committee", &["access", "approve", &request, "--comment", comment]);
    assert_eq!(approved["comment"]["state"], "kept", "{approved}");
    for who in ["researcher", "owner", "committee", "officer", "reviewer"] {
        let shown = show(&up, who, &request);
        assert_eq!(shown["reason"]["text"], reason, "{who}: {shown}");
        assert_eq!(shown["comment"]["text"], comment, "{who}: {shown}");
        assert_eq!(shown["reason"]["transaction"], request.as_str());
    }
    // Who joined between the two is a reader of the second alone.
    let late = show(&up, "latecomer", &request);
    assert_eq!((&late["reason"]["state"], &late["comment"]["text"]), (&Value::from("not_for_you"), &comment.into()));
    let hidden = up.fails("bystander", &["access", "show", &request], 4);
    let absent = up.fails("bystander", &["access", "show", &"0".repeat(64)], 4);
    assert_eq!(hidden, absent, "like a request that does not exist");

    let listed = up.ok("owner", &["access", "list", "--record", &record]);
    assert_eq!(listed["items"][0]["reason"]["text"], reason);
    let table = up.run("owner", &["access", "list", "--record", &record]);
    assert!(text(&table.stdout).contains("Längsschnitt über HbA1c…"), "{}", text(&table.stdout));
    let shown = up.run("owner", &["access", "show", &request]);
    assert!(text(&shown.stdout).contains("Kohorte 7"), "{}", text(&shown.stdout));
    let trail = up.run("officer", &["audit", "query", "--record", &record, "--json"]);
    assert!(!text(&trail.stdout).contains("HbA1c"), "the trail has no text");
}

#[test]
fn a_denial_keeps_its_reason_and_a_review_may_say_nothing() {
    let up = Up::shared();
    let automatic = up.record("denied with a reason", &["--policy", "research-auto"]);
    let ancestry = ["access", "request", &automatic, "--purpose", "POA", "--reason", "ancestry"];
    let denied = up.fails("researcher", &ancestry, 3);
    assert_eq!((&denied["decision"], &denied["reason"]["state"]), (&Value::from("deny"), &"kept".into()));
    assert_eq!(show(&up, "officer", denied["request"].as_str().unwrap())["reason"]["text"], "ancestry");
    let reviewed = up.record("reviewed in silence", &[]);
    let request = ask(&up, "researcher", &reviewed, "a study");
    up.ok("owner", &["access", "deny", &request]);
    assert_eq!(show(&up, "researcher", &request)["comment"]["state"], "missing");
    // What the ledger does not know of is asked for all the same, and its denial has no reason to keep.
    let nowhere = "00".repeat(32);
    let asked = up.fails("researcher", &[&["access", "request", &nowhere, "--reason", "x"], &PURPOSE[..]].concat(), 3);
    assert_eq!((&asked["decision"], &asked["reason"]["code"]), (&Value::from("deny"), &"unknown_record".into()));
}

#[test]
fn what_is_no_text_is_refused_before_anything_is_asked() {
    let up = Up::shared();
    let record = up.record("no text", &[]);
    let long = "x".repeat(4097);
    for (bad, why) in [("", "no_text"), (" \n", "no_text"), (&*long, "too_long"), ("a\u{1b}[2J", "bad_text")] {
        let args = [&["access", "request", &record, "--reason", bad], &PURPOSE[..]].concat();
        assert_eq!(up.fails("researcher", &args, 2)["error"]["code"], why);
        assert_eq!(up.fails("owner", &["record", "title", &record, "a\nb"], 2)["error"]["code"], "bad_text");
    }
    let listed = up.ok("researcher", &["access", "list", "--record", &record]);
    assert_eq!(listed["items"], Value::Array(vec![]));
    let longest = "x".repeat(4096);
    let request = ask(&up, "researcher", &record, &longest);
    assert_eq!(show(&up, "owner", &request)["reason"]["text"], longest.as_str());
}

#[test]
fn a_reason_lies_on_no_disk_in_clear_and_is_gone_when_it_is_taken_back() {
    let up = Up::shared();
    let (record, _) = up.settled_record("canary", &[]);
    let canary = "canary-of-the-reason-5b1f0c77d2";
    let (request, copies) = ask_all(&up, "researcher", &record, canary);
    let holders = holding(&up.network(), canary);
    assert!(holders.is_empty(), "{holders:?}");
    let sealed = fs::read(&copies[0]).unwrap();

    let trail = || up.ok("officer", &["audit", "query", "--record", &record, "--limit", "500"])["items"].clone();
    let before = trail();
    assert_eq!(up.fails("owner", &["access", "forget", &request], 4)["error"]["code"], "unknown_remark");
    // It says so while a node has not answered that it took it back.
    let forgotten = up.insist("researcher", &["access", "forget", &request]);
    assert_eq!(forgotten["withdrawn"][0], request.as_str());
    for who in ["researcher", "owner", "officer"] {
        assert_eq!(show(&up, who, &request)["reason"]["state"], "withdrawn", "{who}");
    }
    assert_eq!(trail(), before, "the ledger keeps what it had");
    for copy in &copies {
        let left = fs::read(copy).unwrap();
        assert_eq!(left.len(), 129, "a signed word, and nothing of the text");
        // Transaction and author, 64 bytes, are in both.
        assert!(!sealed.windows(66).any(|part| left.windows(66).any(|kept| kept == part)));
    }
    up.insist("researcher", &["access", "forget", &request]);
    up.ok("owner", &["access", "approve", &request]);
    assert_eq!(up.open("researcher", &request, &[]), b"canary", "it blocks nothing");
}

#[test]
fn what_a_node_lost_or_altered_comes_from_the_others_and_otherwise_is_missing() {
    let up = Up::shared();
    let record = up.record("altered", &[]);
    let (request, copies) = ask_all(&up, "researcher", &record, "a study of sleep");
    let is_read = || {
        eventually("the reason is read", || {
            let reason = show(&up, "owner", &request)["reason"].clone();
            (reason["text"] == "a study of sleep").then_some(())
        });
    };
    let alter = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    // One of the copies is that of the gateway.
    for copy in &copies {
        let whole = fs::read(copy).unwrap();
        alter(copy);
        is_read();
        fs::remove_file(copy).unwrap();
        is_read();
        fs::write(copy, whole).unwrap();
    }
    copies.iter().for_each(|copy| alter(copy));
    let shown = show(&up, "owner", &request);
    assert_eq!((&shown["reason"]["state"], &shown["reason"]["text"]), (&Value::from("missing"), &Value::Null));
    assert_eq!(shown["state"], "PENDING");
    up.ok("committee", &["access", "approve", &request]);
}

#[test]
fn a_title_is_found_changed_taken_back_and_goes_with_its_record() {
    let up = Up::shared();
    let title = "Unobtainium canary title 93ad";
    let record = up.record("titled", &["--title", title]);
    assert_eq!(up.ok("researcher", &["record", "show", &record])["title"], title);
    let found = |words: &str| {
        let listed = up.ok("researcher", &["record", "list", "--query", words]);
        listed["items"].as_array().unwrap().iter().map(|item| item["record"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(found("unobtainium CANARY"), [record.as_str()]);
    assert_eq!(found("unobtainium dog"), Vec::<Value>::new());
    let table = up.run("owner", &["record", "list", "--query", "unobtainium"]);
    assert!(text(&table.stdout).contains(title), "{}", text(&table.stdout));
    // In the catalogue of each node, and nowhere else.
    let give = |title: &str| drop(up.ok("owner", &["record", "title", &record, title]));
    until_all_heard(|| beside(&up, "titles", &record).len() == NODES, || give(title));
    let (mut places, mut catalogue) = (holding(&up.network(), title), beside(&up, "titles", &record));
    places.sort();
    catalogue.sort();
    assert_eq!((&places, places.len()), (&catalogue, NODES));

    assert_eq!(up.fails("researcher", &["record", "title", &record, "mine"], 3)["error"]["code"], "role");
    let other = "Another title of 93ad";
    give(other);
    assert_eq!(up.ok("officer", &["record", "show", &record])["title"], other);
    let first = |path: &PathBuf| fs::read(path).unwrap().windows(title.len()).any(|part| part == title.as_bytes());
    until_all_heard(|| !beside(&up, "titles", &record).iter().any(first), || give(other));
    assert!(holding(&up.network(), title).is_empty(), "the first one is gone");
    // It says so while a node has not answered that it took it back.
    up.insist("owner", &["record", "title", &record, "--forget"]);
    assert_eq!(up.ok("officer", &["record", "show", &record])["title"], Value::Null);
    give(title);
    up.ok("owner", &["record", "erase", &record]);
    assert_eq!(up.ok("owner", &["record", "show", &record])["title"], Value::Null);
    assert_eq!(up.fails("owner", &["record", "title", &record, title], 2)["error"]["code"], "record_erased");
    eventually("the title is gone with its record", || holding(&up.network(), title).is_empty().then_some(()));
}

#[test]
fn a_title_is_text_whatever_it_looks_like_and_moves_no_screen() {
    let up = Up::shared();
    let record = up.record("looks", &[]);
    let last = "\"'; DROP TABLE titles; --";
    for title in ["<img src=x onerror=alert(1)>", last] {
        let given = up.run("owner", &["record", "title", &record, title]);
        assert_eq!(code(&given), 0, "{}", text(&given.stderr));
        assert!(text(&given.stdout).contains(title), "{:?}", text(&given.stdout));
        assert_eq!(up.ok("officer", &["record", "show", &record])["title"], title, "as it was typed");
        for shown in [&["record", "show", &record][..], &["record", "list", "--query", &record]] {
            let shown = up.run("officer", shown);
            assert!(text(&shown.stdout).contains(title), "{:?}", text(&shown.stdout));
        }
    }
    let file = up.folder().join("looks");
    for title in ["CT\u{1b}[2J", "CT\rMRI", "CT\nMRI", "CT\u{7f}", "CT\u{85}", "CT \u{202e}txt.exe", "C\u{200b}T"] {
        for args in [&["record", "title", &record, title][..], &["record", "register", str(&file), "--title", title]] {
            let error = up.fails("owner", args, 2);
            assert_eq!(error["error"]["code"], "bad_text", "{title:?}: {error}");
        }
    }
    assert_eq!(up.ok("officer", &["record", "show", &record])["title"], last, "nothing took its place");
}

#[test]
fn an_heir_reads_the_reasons_and_gives_the_titles() {
    let up = Up::shared();
    let record = up.record("inherited", &["--title", "of the first owner"]);
    enrol(&up, "heir", "owner");
    let heir = up.ok("heir", &["whoami"])["key"].as_str().unwrap().to_owned();
    up.ok("owner", &["record", "transfer", &record, "--to", &heir]);
    assert_eq!(up.ok("heir", &["record", "show", &record])["title"], Value::Null, "not the heir's word");
    up.ok("heir", &["record", "title", &record, "of the heir"]);
    assert_eq!(up.ok("researcher", &["record", "show", &record])["title"], "of the heir");
    let request = ask(&up, "researcher", &record, "a study of heirs");
    assert_eq!(show(&up, "heir", &request)["reason"]["text"], "a study of heirs");
    assert_eq!(show(&up, "committee", &request)["reason"]["text"], "a study of heirs");
    let former = up.run("owner", &["access", "show", &request, "--json"]);
    assert_eq!((code(&former), &json(&former)["error"]["code"]), (4, &Value::from("unknown_request")));
}
