//! Key files and passphrases.

use super::harness::{Desk, assert_error, assert_fails, code, dmdl, json, run, run_with_passphrase, said, str, text};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    process::Stdio,
};

#[test]
fn a_new_key_is_for_its_user_alone_and_is_never_shown() {
    let desk = Desk::new();
    assert_eq!(fs::metadata(&desk.key).unwrap().permissions().mode() & 0o777, 0o600);
    let file = fs::read_to_string(&desk.key).unwrap();
    let value = |name: &str| file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
    let public = said(&["id", "show", str(&desk.key)]);
    assert_eq!(public["key"], value("key"));
    assert_eq!((&public["org"], &public["role"]), (&Value::from("city-hospital"), &Value::from("owner")));
    for args in [&["id", "show", str(&desk.key)][..], &["whoami", "--as", str(&desk.key)]] {
        let output = run(args);
        assert_eq!(code(&output), 0);
        assert!(text(&output.stdout).contains(value("key")) && !text(&output.stdout).contains(value("secret")));
    }
    let card = desk.write("dana.pub", &run(&["id", "show", str(&desk.key)]).stdout, 0o644);
    assert_eq!(said(&["id", "show", str(&card)]), public, "what is shown can be handed on");
}

#[test]
fn a_key_file_is_not_replaced() {
    let desk = Desk::new();
    let before = fs::read(&desk.key).unwrap();
    assert_fails(&desk.new_key(str(&desk.key), "--no-passphrase"), 2, "exists");
    symlink(desk.path("nowhere"), desk.path("link.key")).unwrap();
    assert_fails(&desk.new_key(str(&desk.path("link.key")), "--no-passphrase"), 2, "exists");
    assert_eq!(fs::read(&desk.key).unwrap(), before);
    assert!(!desk.path("nowhere").exists());
}

#[test]
fn a_passphrase_comes_from_a_file_descriptor_or_a_terminal_and_from_nowhere_else() {
    let desk = Desk::new();
    let path = desk.path("wrapped.key");
    let new = &desk.new_key(str(&path), "--json")[..];
    assert!(assert_error(&run(new), 7, "passphrase").contains("--passphrase-fd"));
    assert!(!path.exists());
    assert_error(&run_with_passphrase(new, ""), 2, "passphrase");
    assert!(!path.exists(), "an empty passphrase protects nothing");
    let made = run_with_passphrase(new, "correct horse");
    assert_eq!((code(&made), &json(&made)["passphrase"]), (0, &Value::Bool(true)));
    let whoami = &["whoami", "--json", "--as", str(&path)][..];
    let opened = run_with_passphrase(whoami, "correct horse");
    assert_eq!(json(&opened)["key"], json(&made)["key"]);

    let wrong = assert_error(&run_with_passphrase(whoami, "battery staple"), 3, "passphrase");
    let file = fs::read_to_string(&path).unwrap();
    let last = file.trim_end().chars().last().unwrap();
    let altered = format!("{}{}\n", &file[..file.len() - 2], if last == '0' { '1' } else { '0' });
    fs::write(&path, altered).unwrap();
    let altered = assert_error(&run_with_passphrase(whoami, "correct horse"), 3, "passphrase");
    assert_eq!(wrong, altered, "a wrong passphrase and an altered file are told apart by nobody");
}

#[test]
fn a_key_file_that_is_not_safe_or_none_is_refused() {
    let desk = Desk::new();
    let whole = fs::read(&desk.key).unwrap();
    let open = desk.write("open.key", &whole, 0o644);
    let link = desk.path("link.key");
    symlink(&desk.key, &link).unwrap();
    for path in [&open, &link, &desk.dir.path().to_owned()] {
        assert_fails(&["whoami", "--as", str(path)], 7, "key_permissions");
    }
    assert_fails(&["id", "show", str(&open)], 7, "key_permissions");
    let cut = desk.write("cut.key", &whole[..whole.len() - 9], 0o600);
    let other = desk.write("other.key", b"-----BEGIN PRIVATE KEY-----\n", 0o600);
    let empty = desk.write("empty.key", b"", 0o600);
    let large = desk.write("large.key", &whole.repeat(100), 0o600);
    for path in [&cut, &other, &empty, &large] {
        let detail = assert_fails(&["whoami", "--as", str(path)], 7, "key_file");
        assert!(!detail.contains("BEGIN"), "nothing of the file is repeated: {detail}");
        assert_fails(&["id", "show", str(path)], 7, "key_file");
    }
    for args in [&["whoami", "--as", str(&desk.path("none"))][..], &["id", "show", str(&desk.path("none"))]] {
        assert_fails(args, 4, "not_found");
    }
    assert_fails(&["whoami"], 7, "no_identity");
}

#[test]
fn a_name_that_is_no_text_is_a_name_for_machines_too() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join(OsStr::from_bytes(b"dana \xff.key"));
    let new = ["id", "new", "--org", "o", "--name", "n", "--role", "owner", "--no-passphrase", "--json", "--out"];
    let made = dmdl().args(new).arg(&out).stdin(Stdio::null()).output().unwrap();
    assert_eq!(code(&made), 0, "{}", text(&made.stderr));
    assert!(json(&made)["file"].as_str().is_some_and(|name| name.ends_with("dana \u{fffd}.key")));
    let shown = dmdl().args(["id", "show", "--json"]).arg(&out).output().unwrap();
    assert_eq!(json(&shown)["key"], json(&made)["key"]);
}
