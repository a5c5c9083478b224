//! Networks of other sizes than the usual one.

use super::harness::Up;
use std::fs;

#[test]
fn seven_organisations_share_a_key_of_which_three_shares_open() {
    let up = Up::start_with(&["--orgs", "7"]);
    let custodians = up.ok("owner", &["custodian", "list"])["items"].as_array().unwrap().clone();
    let mut orgs: Vec<_> = custodians.iter().map(|row| row["org"].as_str().unwrap()).collect();
    orgs.sort_unstable();
    orgs.dedup();
    assert_eq!(orgs.len(), 7, "{custodians:?}");

    let file = up.folder().join("letter.txt");
    fs::write(&file, "a letter to seven").unwrap();
    let said = up.registered("owner", &file, &["--policy", "research-auto"]);
    assert_eq!(said["threshold"], 3, "{said}");
    let held = [said["custodians"].as_array().unwrap().len(), said["absent"].as_array().unwrap().len()];
    assert_eq!(held[0] + held[1], 7, "{said}");
    let record = said["record"].as_str().unwrap();
    up.ok("researcher", &["access", "request", record, "--purpose", "HMB", "--uses", "2", "--reason", "a study"]);
    assert_eq!(up.open("researcher", record, &[]), b"a letter to seven");

    // The folder knows how many they are.
    up.stop();
    up.resume();
    assert_eq!(up.open("researcher", record, &[]), b"a letter to seven");
}
