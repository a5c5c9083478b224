//! What is typed, what is printed, and what is around the program.

use super::harness::{Desk, assert_error, assert_fails, code, dmdl, json, run, said, str, text};
use std::{io::Read as _, process::Stdio};

#[test]
fn what_somebody_typed_cannot_steer_the_terminal() {
    let output = run(&["policy", "check", "alice\u{1b}[2J\nINFO admin granted"]);
    assert_eq!(code(&output), 4);
    assert!(!text(&output.stderr).contains('\u{1b}'), "{:?}", text(&output.stderr));
    assert_eq!(text(&output.stderr).lines().count(), 1);
    for args in [
        &["whoami", "--as", "alice\u{1b}[2J\nINFO admin granted"][..],
        &["status", "--network", "alice\u{1b}[2J\nINFO admin granted"],
        &["id", "show", "alice\u{202e}\nINFO admin granted"],
    ] {
        let said = run(args).stderr;
        assert_eq!(text(&said).lines().count(), 1, "{args:?}: {:?}", text(&said));
        assert!(!text(&said).contains(['\u{1b}', '\u{202e}']), "{args:?}: {:?}", text(&said));
    }
}

#[test]
fn every_shell_can_complete_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert_eq!(code(&output), 0);
        let script = text(&output.stdout);
        assert!(script.contains("audit") && script.contains("completions"), "{shell}");
        assert_eq!(said(&["completions", shell])["script"], script.trim_end());
    }
    assert_fails(&["completions", "tcsh"], 2, "usage");
}

#[test]
fn every_command_explains_itself_with_an_example() {
    for command in [
        "network generate",
        "network node",
        "node",
        "backup",
        "restore",
        "whoami",
        "id new",
        "id show",
        "id enroll",
        "id revoke",
        "policy list",
        "policy check",
        "policy set",
        "policy show",
        "policy history",
        "policy explain",
        "status",
        "audit tail",
        "audit query",
        "audit receipt",
        "audit export",
        "audit verify",
        "custodian list",
        "contract list",
        "contract invoke",
        "contract query",
        "completions",
    ] {
        let args: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let output = run(&args);
        assert_eq!(code(&output), 0, "{command}");
        assert!(text(&output.stdout).contains("Example") && output.stderr.is_empty(), "{command}");
    }
    let whole = run(&["--help"]);
    let codes = text(&whole.stdout).lines().find(|line| line.starts_with("Exit codes: ")).unwrap();
    for code in [0, 2, 3, 4, 5, 6, 7, 70, 74, 130] {
        assert!(codes.contains(&format!(" {code} ")), "{code} in {codes}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    for args in [
        &["id"][..],
        &["id", "new"],
        &["id", "new", "--out", "k", "--org", "Not A Name", "--name", "n", "--role", "owner"],
        &["id", "new", "--out", "k", "--org", "o", "--name", "n", "--role", "root"],
        &["id", "revoke", "00"],
        &["policy", "show", "../../etc/passwd"],
        &["audit", "query", "--limit", "0"],
        &["audit", "query", "--from", "2026-11-22"],
        &["audit", "query", "--outcome", "maybe"],
        &["status", "--timeout", "-1"],
        &["status", "extra"],
    ] {
        assert_fails(args, 2, "usage");
    }
    let other = assert_fails(&["audit", "export", "--format", "fhir", "--out", "x"], 2, "usage");
    assert!(other.contains("`bundle`, `csv` and `ndjson`"), "{other}");
}

#[test]
fn an_odd_environment_is_no_trouble() {
    let desk = Desk::new();
    let args = ["id", "show", str(&desk.key), "--json"];
    let odd = dmdl().args(args).env("LANG", "C").env("LC_ALL", "C").env("TZ", "Mars/Base").env_remove("HOME").output();
    let odd = odd.unwrap();
    assert_eq!(code(&odd), 0, "{}", text(&odd.stderr));
    assert_eq!(json(&odd), said(&args[..3]));
    let homeless = dmdl().args(desk.with(&["audit", "query", "--json"])).env_remove("HOME").output().unwrap();
    assert_error(&homeless, 7, "no_home");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = dmdl().args(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut first).unwrap();
    drop(out);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(said, "");
}
