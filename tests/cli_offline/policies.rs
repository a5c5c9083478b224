//! Policies and contracts, as far as they can be looked at alone.

use super::harness::{Desk, assert_fails, said, str};
use serde_json::Value;

#[test]
fn policies_are_listed_and_checked_without_a_network() {
    let listed = said(&["policy", "list"]);
    let names: Vec<&str> = listed["items"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["closed", "research-auto", "review-only"]);
    for name in names {
        assert_eq!(said(&["policy", "check", name])["valid"], Value::Bool(true));
    }
    let desk = Desk::new();
    let rule = "@id(\"all\")\npermit (principal, action == Action::\"request\", resource);\n";
    let file = desk.write("rules.cedar", format!("// permission: DS MONDO:0005148\n{rule}").as_bytes(), 0o644);
    let checked = said(&["policy", "check", str(&file)]);
    assert_eq!((&checked["permission"]["code"], &checked["rules"][0]), (&Value::from("DS"), &Value::from("all")));
    assert_eq!(checked["permission"]["diseases"][0], "MONDO:0005148");
    assert_eq!(said(&["policy", "check", str(&file), "--duo", "GRU"])["permission"]["code"], "GRU");
    let bad = desk.write("bad.cedar", b"permit (principal, action, resource) when { principal.age > 17 };", 0o644);
    assert!(assert_fails(&["policy", "check", str(&bad)], 2, "policy_invalid").contains("age"));
    let long = desk.write("long.cedar", &vec![b' '; 16 * 1024 + 1], 0o644);
    let longer = desk.write("longer.cedar", &vec![b' '; 1 << 20], 0o644);
    for path in [&long, &longer] {
        assert_fails(&["policy", "check", str(path)], 2, "policy_invalid");
    }
    assert_fails(&["policy", "check", str(&file), "--duo", "DS"], 2, "policy_invalid");
    assert_fails(&["policy", "check", "no-such-policy"], 4, "not_found");
    assert_fails(&["policy", "check", "/dev/zero"], 2, "not_a_file");
    assert_fails(&["policy", "check", str(&file), "--duo", "XYZ"], 2, "usage");
}

#[test]
fn contracts_are_listed_and_their_calls_checked_before_anything_is_sent() {
    let listed = said(&["contract", "list"]);
    let functions = listed["items"][0]["functions"].as_array().unwrap();
    let names: Vec<&str> = functions.iter().map(|function| function["function"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["initialMedical", "transferMedical", "delete", "readMedical", "getHistory", "queryByOwner"],
        "by the names of the source paper"
    );
    let medical = |args: &[&'static str]| [&["contract", "invoke", "medical"], args].concat();
    assert_fails(&["contract", "invoke", "access", "request"], 4, "unknown_contract");
    assert_fails(&medical(&["readMedical"]), 4, "unknown_function");
    assert_fails(&medical(&["delete"]), 2, "bad_argument");
    assert_fails(&medical(&["delete", "--arg", "record=../../etc/passwd"]), 2, "bad_argument");
    assert_fails(
        &medical(&["initialMedical", "--arg", "type=a/b", "--arg", "source=x", "--arg", "y=z"]),
        2,
        "bad_argument",
    );
    assert_fails(&medical(&["delete", "--arg", "record"]), 2, "usage");
    let question = |args: &[&'static str]| [&["contract", "query", "medical"], args].concat();
    assert_fails(&question(&["delete"]), 4, "unknown_function");
    assert_fails(&question(&["readMedical"]), 2, "bad_argument");
    assert_fails(&question(&["readMedical", "--arg", "record=x"]), 2, "bad_argument");
    assert_fails(&question(&["queryByOwner", "--arg", "limit=9"]), 2, "bad_argument");
}
