//! What policies mean, to their owners: how two differ, who gets what, what would have been.

use super::harness::{Up, str, text};
use serde_json::Value;
use std::fs;

#[test]
fn two_policies_are_compared_in_text_and_in_meaning() {
    let up = Up::shared();
    let record = up.record("compared", &["--policy", "research-auto", "--duo", "GRU"]);
    let file = up.folder().join("stricter.cedar");
    let stricter =
        fs::read_to_string("policies/cedar/templates/research-auto.cedar").unwrap().replace("<= 90", "<= 30");
    fs::write(&file, format!("// permission: HMB\n{stricter}")).unwrap();
    up.ok("owner", &["policy", "set", &record, str(&file)]);
    let diff = up.ok("owner", &["policy", "diff", &record]);
    assert_eq!((&diff["from"]["number"], &diff["to"]["number"]), (&1.into(), &2.into()));
    let lines: Vec<&str> = diff["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    for line in ["-// permission: GRU", "+// permission: HMB", "-  context.days <= 90 &&", "+  context.days <= 30 &&"] {
        assert!(lines.contains(&line), "{line}: {lines:?}");
    }
    let changed = diff["changed"].as_array().unwrap();
    let has = |purpose: &str, before: &str, after: &str| {
        let of = |change: &&Value| {
            change["for"].as_str().unwrap().starts_with(purpose)
                && change["before"] == before
                && change["after"] == after
        };
        changed.iter().filter(of).count()
    };
    // What was general research is not within the permission; of biomedical research, 90 days go to review.
    assert!(has("GRU, days 30", "ALLOW", "DENY") > 0 && has("POA", "ALLOW", "DENY") > 0, "{diff}");
    assert!(has("HMB, days 90", "ALLOW", "REVIEW") > 0, "{diff}");
    assert_eq!(has("HMB, days 30", "ALLOW", "REVIEW") + has("HMB, days 30", "ALLOW", "DENY"), 0, "{diff}");
    let back = up.ok("owner", &["policy", "diff", &record, "--from", "2", "--to", "1"]);
    assert_eq!(back["changed"].as_array().unwrap().len(), changed.len());
    let same = up.run("owner", &["policy", "diff", &record, "--from", "1", "--to", "1"]);
    assert!(text(&same.stdout).contains(" 0 are decided otherwise"), "{}", text(&same.stdout));
    let default = up.ok("officer", &["policy", "diff", &record, "--from", "0", "--to", "1"]);
    assert_eq!(default["from"]["policy"], Value::Null);
    assert_eq!(up.fails("owner", &["policy", "diff", &record, "--to", "3"], 4)["error"]["code"], "unknown_policy");
    assert_eq!(up.fails("researcher", &["policy", "diff", &record], 3)["error"]["code"], "role");
}

#[test]
fn who_could_get_a_record_is_said_person_by_person() {
    let up = Up::shared();
    let record = up.record("for whom", &["--policy", "research-auto", "--duo", "DS", "--disease", "MONDO:0005148"]);
    let who = up.ok("owner", &["policy", "who", &record]);
    assert_eq!(who["complete"], true);
    let of = |who: &Value, name: &str| {
        let found = who["items"].as_array().unwrap().iter().find(|item| item["name"] == name).cloned();
        found.unwrap_or_else(|| panic!("{name}: {who}"))
    };
    let researcher = of(&who, "researcher");
    assert_eq!(researcher["at_once"], serde_json::json!(["DS MONDO:0005148"]));
    assert_eq!(researcher["after_review"], serde_json::json!([]));
    let owner = of(&who, "owner");
    assert_eq!((&owner["owns"], owner["at_once"].as_array().unwrap().len()), (&true.into(), 5));
    assert!(
        who["items"].as_array().unwrap().iter().all(|item| item["role"] == "owner" || item["role"] == "researcher")
    );
    up.ok("owner", &["policy", "set", &record, "closed"]);
    let nobody = of(&up.ok("owner", &["policy", "who", &record]), "researcher");
    assert_eq!((&nobody["at_once"], &nobody["after_review"]), (&serde_json::json!([]), &serde_json::json!([])));
    let table = up.run("owner", &["policy", "who", &record]);
    assert!(text(&table.stdout).contains("as if nobody had opened a record yet"), "{}", text(&table.stdout));
}

#[test]
fn a_policy_is_tried_on_the_requests_that_were_made() {
    let up = Up::shared();
    let record = up.record("tried", &["--policy", "research-auto", "--duo", "GRU"]);
    let ask = |purpose: &str, days: &str, exit: i32| {
        let args =
            ["access", "request", &record, "--purpose", purpose, "--days", days, "--reason", "a study", "--json"];
        let output = up.run("researcher", &args);
        assert_eq!(output.status.code(), Some(exit), "{}", text(&output.stdout));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["request"].as_str().unwrap().to_owned()
    };
    let (short, ancestry, long) = (ask("HMB", "30", 0), ask("POA", "30", 0), ask("HMB", "365", 0));
    up.ok("owner", &["access", "approve", &long]);
    let simulate =
        |who: &str, policy: &[&str]| up.ok(who, &[&["policy", "simulate"], policy, &["--record", &record]].concat());
    let same = simulate("owner", &["research-auto", "--duo", "GRU"]);
    assert_eq!((&same["looked"], &same["changed"]), (&3.into(), &serde_json::json!([])), "{same}");
    let narrower = simulate("owner", &["research-auto", "--duo", "HMB"]);
    let changed = narrower["changed"].as_array().unwrap();
    assert_eq!(changed.len(), 1, "{narrower}");
    assert_eq!((&changed[0]["request"], &changed[0]["after"]), (&ancestry.as_str().into(), &"DENY".into()));
    assert_eq!(changed[0]["reasons"][0]["code"], "purpose_not_permitted");
    let closed = simulate("officer", &["closed", "--duo", "GRU"]);
    let before = |request: &str| {
        let changed = closed["changed"].as_array().unwrap();
        changed.iter().find(|item| item["request"] == request).map(|item| item["before"].clone())
    };
    assert_eq!(before(&short), Some("ALLOW".into()));
    assert_eq!(before(&long), Some("REVIEW".into()), "what the policy ruled, and not what the review decided");
    // One sees the requests that one sees: a researcher their own.
    assert_eq!(simulate("researcher", &["closed"])["looked"], 3);
    assert_eq!(simulate("admin", &["closed"])["looked"], 0);
    assert_eq!(up.fails("owner", &["policy", "simulate", "no-such-policy"], 4)["error"]["code"], "not_found");
}
