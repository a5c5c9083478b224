//! Policies as arguments; what a network says of them is tested on a real one.

use super::*;
use std::{fs, path::PathBuf};

const RULE: &str = "@id(\"all\") permit (principal, action == Action::\"request\", resource);\n";

fn written(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.cedar");
    fs::write(&path, text).unwrap();
    (dir, path)
}

fn read(text: &str) -> Result<PolicyDocument, Failure> {
    let (_dir, path) = written(text.as_bytes());
    document(path.to_str().unwrap(), None, &[])
}

fn diabetes() -> MondoId {
    "MONDO:0005148".parse().unwrap()
}

#[test]
fn a_name_of_the_library_is_a_policy_with_hmb_unless_another_code_is_given() {
    let default = document("closed", None, &[]).unwrap();
    assert_eq!(default.permission, Permission { code: DuoCode::Hmb, diseases: vec![] });
    assert_eq!(default.rules, Template::Closed.rules());
    let given = document("closed", Some(DuoCode::Ds), &[diabetes()]).unwrap();
    assert_eq!(given.permission, Permission { code: DuoCode::Ds, diseases: vec![diabetes()] });
}

#[test]
fn the_first_line_of_a_file_names_its_permission_and_is_no_rule() {
    let named = read(&format!("// permission: DS MONDO:0005148\n{RULE}")).unwrap();
    assert_eq!(named.permission, Permission { code: DuoCode::Ds, diseases: vec![diabetes()] });
    assert_eq!(named.rules, RULE);
    let other_comment = format!("// All researchers.\n{RULE}");
    let unnamed = read(&other_comment).unwrap();
    assert_eq!((unnamed.permission.code, unnamed.rules), (DuoCode::Hmb, other_comment));
    let (_dir, path) = written(format!("// permission: DS MONDO:0005148\n{RULE}").as_bytes());
    let given = document(path.to_str().unwrap(), Some(DuoCode::Gru), &[]).unwrap();
    assert_eq!((given.permission.code, given.rules.as_str()), (DuoCode::Gru, RULE), "an argument outweighs the line");
}

#[test]
fn what_is_shown_can_be_set_again() {
    let document = read(&format!("// permission: DS MONDO:0005148\n{RULE}")).unwrap();
    let again = read(&format!("// {PERMISSION} {}\n{}", said(&document.permission), document.rules)).unwrap();
    assert_eq!(again.id(), document.id());
}

#[test]
fn an_invalid_policy_is_refused_with_its_exact_fault() {
    let long = format!("{RULE}//{}", "x".repeat(limits::POLICY_BYTES));
    let longer = format!("{RULE}//{}", "x".repeat(2 * limits::POLICY_BYTES));
    for (text, why) in [
        ("permit (principal, action, resource) when { principal.age > 3 };", "age"),
        ("permit (principal, action", "can't be read"),
        ("// permission: XYZ\n", "DUO"),
        ("// permission: DS diabetes\n", "MONDO"),
        ("// permission: DS\n", "diseases"),
        ("// permission:\n", "DUO"),
        ("forbid (principal, action, resource) when { \"\u{202e}\" == \"\" };", "202E"),
        (&long, "bytes"),
        (&longer, "bytes"),
    ] {
        let refused = read(text).unwrap_err();
        assert_eq!((refused.exit, refused.code.as_ref()), (Exit::Usage, "policy_invalid"), "{why}");
        assert!(refused.detail.contains(why), "{why}: {}", refused.detail);
        assert!(refused.detail.len() < 1024);
    }
    let (_dir, path) = written(b"\xff\xfe");
    assert_eq!(document(path.to_str().unwrap(), None, &[]).unwrap_err().code, "policy_invalid");
    assert_eq!(document("open", None, &[]).unwrap_err().exit, Exit::NotFound);
}

#[test]
fn rules_that_do_not_hash_to_their_id_are_not_shown() {
    let document = Template::ResearchAuto.document(Permission { code: DuoCode::Ds, diseases: vec![diabetes()] });
    let told = |rules: &str| json!({ "policy": document.id(), "permission": document.permission, "rules": rules });
    assert_eq!(parse_shown(&told(&document.rules)), Ok(Some(document.clone())));
    assert!(parse_shown(&told("permit (principal, action, resource);")).is_err());
    assert!(parse_shown(&json!({ "policy": document.id(), "permission": null, "rules": document.rules })).is_err());
    assert_eq!(parse_shown(&json!({ "policy": null, "permission": null, "rules": "" })), Ok(None));
}
