//! Changes of a channel: proposed from a file, looked at, approved by the admins of other organisations, taken back.

use super::harness::{Up, code, str, text};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

/// What somebody writes of the changes.
fn described(up: &Up, name: &str, text: &str) -> PathBuf {
    let path = up.folder().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn proposed(up: &Up, name: &str, text: &str) -> Value {
    up.ok("admin", &["channel", "update", "main", str(&described(up, name, text))])
}

fn id(proposed: &Value) -> &str {
    proposed["proposal"].as_str().unwrap()
}

fn refused(up: &Up, who: &str, args: &[&str], exit: i32) -> String {
    up.fails(who, args, exit)["error"]["code"].as_str().unwrap().to_owned()
}

#[test]
fn changes_that_enough_organisations_approve_are_accepted() {
    let up = Up::shared();
    let first = proposed(&up, "decay.toml", "[[change]]\nset-rules = { mdca = { decay = 800000 } }\n");
    let standing = |shown: &Value| json!([shown["state"], shown["approvals"], shown["needed"], shown["from_epoch"]]);
    assert_eq!(standing(&first), json!(["open", ["city-hospital"], 3, null]));
    assert_eq!(first["changes"][0]["rules"]["mdca"]["decay"], 800_000);
    let approve = ["channel", "approve", id(&first)];
    let open = |up: &Up| up.ok("owner", &["channel", "show"])["proposals"]["items"].to_string();
    assert!(open(&up).contains(id(&first)));

    assert_eq!(refused(&up, "admin", &approve, 2), "duplicate");
    assert_eq!(refused(&up, "owner", &approve, 3), "role");
    assert_eq!(up.ok("admin-university-clinic", &approve)["state"], "open");
    let accepted = up.ok("admin-research-institute", &approve);
    assert_eq!((&accepted["state"], &accepted["changes"]), (&json!("accepted"), &first["changes"]));
    assert!(accepted["from_epoch"].as_u64().unwrap() >= 2, "{accepted}");
    assert_eq!(refused(&up, "admin-health-registry", &approve, 2), "already_decided");
    assert_eq!(refused(&up, "admin", &["channel", "withdraw", id(&first)], 2), "already_decided");
    assert!(!open(&up).contains(id(&first)));

    // The next one begins with what was accepted, though that does not hold yet.
    let second = proposed(&up, "endorsements.toml", "[[change]]\nset-rules = { endorsements = 3 }\n");
    let rules = &second["changes"][0]["rules"];
    assert_eq!((&rules["endorsements"], &rules["mdca"]["decay"]), (&json!(3), &json!(800_000)));
    up.ok("admin", &["channel", "withdraw", id(&second)]);
}

#[test]
fn whoever_approves_is_shown_what_changes() {
    let up = Up::shared();
    let proposal = proposed(&up, "threshold.toml", "[[change]]\nset-rules = { endorsements = 4 }\n");
    let shown = up.ok("admin-university-clinic", &["channel", "show", id(&proposal)]);
    assert_eq!(shown, proposal, "looking at it changes nothing");
    let output = up.run("admin-university-clinic", &["channel", "approve", id(&proposal)]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let line = |name: &str, value: &str| {
        let mut lines = text(&output.stderr).lines();
        lines.any(|line| line.starts_with(name) && line.ends_with(&format!(" {value}")))
    };
    assert!(line("changes.1.change ", "set_rules") && line("changes.1.rules.endorsements ", "4"));

    let withdraw = ["channel", "withdraw", id(&proposal)];
    assert_eq!(refused(&up, "admin-university-clinic", &withdraw, 3), "role");
    let withdrawn = up.ok("admin", &withdraw);
    assert_eq!(withdrawn["state"], "withdrawn");
    let (nowhere, other) = ("00".repeat(32), withdrawn["transaction"].as_str().unwrap());
    for command in ["approve", "show", "withdraw"] {
        for id in [nowhere.as_str(), other] {
            assert_eq!(refused(&up, "admin", &["channel", command, id], 4), "unknown_proposal", "{command} {id}");
        }
    }
    let shown = up.ok("researcher", &["channel", "show", id(&proposal)]);
    assert_eq!((&shown["state"], &shown["changes"]), (&json!("withdrawn"), &proposal["changes"]));
}

#[test]
fn changes_of_nodes_are_proposed_like_others() {
    let up = Up::shared();
    let node = up.ok("owner", &["custodian", "list"])["items"][0]["custodian"].as_str().unwrap().to_owned();
    let change = format!("[[change]]\nset-roles = {{ node = \"{node}\", roles = [\"orderer\", \"committer\"] }}\n");
    let proposal = proposed(&up, "roles.toml", &change);
    assert_eq!((&proposal["state"], &proposal["changes"][0]["node"]), (&json!("open"), &json!(node)));
    up.ok("admin", &["channel", "withdraw", id(&proposal)]);
}

#[test]
fn changes_that_make_no_sense_are_refused_before_they_are_proposed() {
    let up = Up::shared();
    let node = "01".repeat(32);
    for (text, told) in [
        ("[[change]]\nset-rules = { endorsements = 3 }\n\n[[change]]\npaint-node = 1\n".to_owned(), ":5: "),
        ("\n[[change]]\n[change.set-rules]\nendorsements = 3\ncolour = 1\n".to_owned(), ":5: "),
        ("# nothing\n".to_owned(), ":1: "),
        (format!("[[change]]\nremove-node = \"{node}\"\n"), "is no member"),
        ("[[change]]\nset-rules = { endorsements = 1 }\n".to_owned(), "endorsements"),
        ("[[change]]\nremove-org = \"health-registry\"\n".to_owned(), "at least 4 are needed"),
    ] {
        let file = described(&up, "bad.toml", &text);
        let error = up.fails("admin", &["channel", "update", "main", str(&file)], 7)["error"].clone();
        assert_eq!(error["code"], "bad_changes", "{text}");
        assert!(error["detail"].as_str().unwrap().contains(told), "{text}: {error}");
    }
    let file = described(&up, "good.toml", "[[change]]\nset-rules = { endorsements = 3 }\n");
    assert_eq!(refused(&up, "owner", &["channel", "update", "main", str(&file)], 3), "role");
    assert_eq!(refused(&up, "admin", &["channel", "update", "none", str(&file)], 4), "unknown_channel");
    assert_eq!(refused(&up, "admin", &["channel", "update", "main", "nowhere.toml"], 4), "unreadable");
}
