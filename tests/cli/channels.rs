//! A channel of four of seven organisations: drafted, approved by each, founded, used, and unknown to the others.

use super::harness::{Up, eventually, str};
use std::{fmt::Write as _, fs};

const MEMBERS: [&str; 4] = ["city-hospital", "university-clinic", "research-institute", "health-registry"];
const ON_TRIAL: [&str; 2] = ["--channel", "trial"];

/// What the admin of the first organisation writes of the channel.
fn described(up: &Up) -> String {
    let mut text = String::from("name = \"trial\"\n");
    for org in MEMBERS {
        write!(text, "\n[[member]]\norg = \"{org}\"\n").unwrap();
    }
    for who in ["owner", "researcher", "officer", "admin"] {
        let person = up.ok(who, &["id", "show", str(&up.key(who))]);
        let of = |member: &str| person[member].as_str().unwrap();
        let (key, org, name, role) = (of("key"), of("org"), of("name"), of("role"));
        write!(text, "\n[[person]]\nkey = \"{key}\"\norg = \"{org}\"\nname = \"{name}\"\nrole = \"{role}\"\n").unwrap();
    }
    text
}

fn code(error: &serde_json::Value) -> &str {
    error["error"]["code"].as_str().unwrap()
}

#[test]
fn a_channel_is_founded_once_each_of_its_organisations_has_approved_it() {
    let up = Up::start_with(&["--orgs", "7"]);
    let (file, charter) = (up.folder().join("trial.toml"), up.folder().join("trial.charter"));
    fs::write(&file, described(&up)).unwrap();
    let drafted = up.ok("admin", &["channel", "create", str(&file), "--out", str(&charter)]);
    assert_eq!(drafted["missing"].as_array().unwrap().len(), 3, "{drafted}");
    assert_eq!(code(&up.fails("admin", &["channel", "found", str(&charter)], 3)), "unapproved");
    assert_eq!(code(&up.fails("owner", &["channel", "approve", str(&charter)], 3)), "role");
    assert_eq!(code(&up.fails("admin-cancer-centre", &["channel", "approve", str(&charter)], 3)), "role");
    for org in &MEMBERS[1..] {
        up.ok(&format!("admin-{org}"), &["channel", "approve", str(&charter)]);
    }
    let founded = up.ok("admin", &["channel", "found", str(&charter)]);
    assert_eq!(founded["channel"], drafted["channel"]);
    up.ok("admin", &["channel", "found", str(&charter)]);

    eventually("the channel makes blocks", || {
        let status = up.insist("owner", &["status", "--channel", "trial"]);
        (status["channels"][0]["height"].as_u64().unwrap() > 1).then_some(())
    });
    let payload = up.folder().join("trial-record.txt");
    fs::write(&payload, "on the trial").unwrap();
    let id = up.register("owner", &payload, &["--policy", "research-auto", "--channel", "trial"]);
    let request = ["access", "request", id.as_str(), "--purpose", "HMB", "--reason", "a study", "--channel", "trial"];
    assert_eq!(up.ok("researcher", &request)["decision"], "allow");
    assert_eq!(up.open("researcher", &id, &ON_TRIAL), b"on the trial");
    assert_eq!(
        code(&up.fails("owner", &["record", "show", &id], 4)),
        "unknown_record",
        "it is not on the first channel"
    );

    let names = |who: &str| up.ok(who, &["channel", "list"])["items"].as_array().unwrap().len();
    assert_eq!((names("owner"), names("committee")), (2, 1));
    for args in [&["status"][..], &["record", "list"], &["channel", "show"]] {
        let refused = up.fails("committee", &[args, &ON_TRIAL].concat(), 4);
        assert_eq!(code(&refused), "unknown_channel", "{args:?}");
        let none = up.fails("committee", &[args, &["--channel", "nothing"]].concat(), 4);
        assert_eq!(code(&none), "unknown_channel", "{args:?}");
    }

    let bundle = up.folder().join("trial.bundle");
    up.ok("officer", &["audit", "export", "--out", str(&bundle), "--channel", "trial"]);
    assert_eq!(up.ok("officer", &["audit", "verify", str(&bundle), "--channel", "trial"])["valid"], true);
    let other = up.run("officer", &["audit", "verify", str(&bundle)]);
    assert_eq!(other.status.code(), Some(5), "it is no trail of the first channel");
}
