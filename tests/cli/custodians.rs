//! Keys that custodians hand on, as an owner has it done.

use super::harness::{self, Up, code, str};
use serde_json::{Value, json};
use std::fs;

/// The custodians of a record, as the catalogue names them.
fn custodians(up: &Up, record: &str) -> Vec<String> {
    let shown = up.ok("owner", &["record", "show", record]);
    shown["custodians"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

fn reshare(up: &Up, who: &str, args: &[&str]) -> Value {
    up.ok(who, &[&["custodian", "reshare"], args].concat())["items"].clone()
}

#[test]
fn an_owner_replaces_a_custodian_and_refreshes_shares_and_the_record_opens_as_before() {
    let up = Up::shared();
    let (record, _) = up.settled_record("handed-on", &["--policy", "research-auto"]);
    let before = custodians(&up, &record);
    let (leaves, stays) = (before[0].as_str(), before[1..].to_vec());

    let handed = reshare(&up, "owner", &[&record, "--remove", leaves]);
    assert_eq!((&handed[0]["record"], &handed[0]["state"]), (&Value::from(&*record), &Value::from("DONE")));
    assert_eq!((&handed[0]["epoch"], &handed[0]["threshold"]), (&Value::from(1), &Value::from(2)));
    assert_eq!(custodians(&up, &record), stays);
    let again = reshare(&up, "owner", &[&record, "--remove", leaves]);
    assert_eq!((&again[0]["state"], &again[0]["transaction"]), (&Value::from("UNCHANGED"), &Value::Null));

    let swap = format!("{}={leaves}", stays[0]);
    let swapped = reshare(&up, "committee", &[&record, "--replace", &swap]);
    assert_eq!(swapped[0]["epoch"], 2);
    let refreshed = reshare(&up, "owner", &[&record, "--refresh"]);
    assert_eq!((&refreshed[0]["state"], &refreshed[0]["epoch"]), (&Value::from("DONE"), &Value::from(3)));
    assert_eq!(custodians(&up, &record)[0], leaves);

    let out = up.folder().join("handed-on.out");
    let asked = up.ok("researcher", &["access", "request", &record, "--purpose", "HMB", "--reason", "a study"]);
    up.ok("researcher", &["access", "open", asked["request"].as_str().unwrap(), "--out", str(&out)]);
    assert!(!fs::read(&out).unwrap().is_empty());
}

#[test]
fn a_reshare_that_cannot_be_is_refused_for_each_record_with_its_reason() {
    let up = Up::shared();
    let (record, _) = up.settled_record("stays", &[]);
    let custodians = custodians(&up, &record);
    let nobody = "ab".repeat(32);
    for (args, exit, reason) in [
        (&["--add", &*nobody][..], 2, "bad_threshold"),
        (&["--remove", &custodians[0], "--remove", &custodians[1]], 2, "bad_threshold"),
        (&["--threshold", "9"], 2, "bad_threshold"),
    ] {
        let output = up.run("owner", &[&["custodian", "reshare", "--json", &record], args].concat());
        let said = harness::json(&output);
        assert_eq!(
            (code(&output), said["items"][0]["error"]["code"].as_str()),
            (exit, Some(reason)),
            "{args:?} {said}"
        );
    }
    let output = up.run("researcher", &["custodian", "reshare", "--json", &record, "--refresh"]);
    assert_eq!(code(&output), 3, "{}", harness::json(&output));
    assert_eq!(self::custodians(&up, &record), custodians);
}

#[test]
fn an_owner_is_told_who_has_destroyed_its_share_of_an_erased_record() {
    let up = Up::shared();
    let (record, custodians) = up.settled_record("erased-for-good", &[]);
    assert_eq!(up.ok("owner", &["record", "show", &record])["erasure"], Value::Null);
    let said = up.ok("owner", &["record", "erase", &record]);
    let destroyed = said["erasure"]["destroyed"].as_array().unwrap();
    assert_eq!(
        (&said["state"], destroyed.len(), &said["erasure"]["waiting"]),
        (&"ERASED".into(), custodians, &json!([]))
    );
    assert!(destroyed.iter().all(|word| word["generation"].as_u64() > Some(0)), "{said}");
    assert_eq!(up.ok("owner", &["record", "show", &record])["erasure"], said["erasure"]);
    let trail = up.ok("owner", &["audit", "query", "--record", &record, "--limit", "500"]);
    let items = trail["items"].as_array().unwrap();
    let words: Vec<&Value> = items.iter().filter(|item| item["event"]["action"] == "destroy").collect();
    assert_eq!(words.len(), custodians);
    for word in words {
        let rule = word["event"]["outcome"]["reasons"][0]["rule"].as_str().unwrap();
        assert!(rule.starts_with("generation-"), "{word}");
    }
}
