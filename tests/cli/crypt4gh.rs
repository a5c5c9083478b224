//! Files that go to and come from genome archives: Crypt4GH, with the reference program at the other end.

use super::{
    harness::{Up, code, json, str},
    kinds::samples,
};
use serde_json::Value;
use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

/// The Python program `crypt4gh`, which `make vectors-check` installs; a test that has none says so, and fails in CI.
struct Reference(PathBuf);

impl Reference {
    fn find() -> Option<Self> {
        let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache/dmdl"));
        let folder = env::var_os("CACHE").map(PathBuf::from).or_else(home)?;
        let program = folder.join("venv/bin/crypt4gh");
        if program.exists() {
            return Some(Self(program));
        }
        let missing = format!("no program `{}`: `scripts/setup.sh python` installs it", program.display());
        assert!(env::var_os("CI").is_none(), "{missing}; where CI is set that is a failure");
        eprintln!("\n*** SKIPPED: {missing}; Crypt4GH is NOT tested with another program ***\n");
        None
    }

    fn run(&self, args: &[&str], from: &Path, to: &Path) {
        let mut program = Command::new(&self.0);
        program.args(args).stdin(File::open(from).unwrap()).stdout(File::create(to).unwrap());
        let output = program.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A key pair without a passphrase: the files of its secret and of its public half.
    fn keys(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (secret, public) = (folder.join(format!("{name}.sec")), folder.join(format!("{name}.pub")));
        let program = self.0.with_file_name("crypt4gh-keygen");
        let made = Command::new(program).args(["--nocrypt", "-f", "--sk", str(&secret), "--pk", str(&public)]).output();
        assert!(made.unwrap().status.success());
        (secret, public)
    }
}

/// The samples, or those that `make samples` makes where there are no others.
fn some_samples() -> Vec<PathBuf> {
    let (mut files, made) = (samples(), env::var_os("DMDL_SAMPLES").map(PathBuf::from));
    if let (true, Some(made)) = (files.is_empty(), made) {
        files = fs::read_dir(made).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        files.sort();
    }
    files
}

#[test]
fn every_sample_comes_as_crypt4gh_and_leaves_as_crypt4gh() {
    let Some(reference) = Reference::find() else { return };
    let up = Up::shared();
    let folder = tempfile::tempdir().unwrap();
    let (archive, theirs) = (reference.keys(folder.path(), "archive"), reference.keys(folder.path(), "theirs"));
    let files = some_samples();
    if files.is_empty() {
        return;
    }
    let encrypted: Vec<PathBuf> = (0..files.len()).map(|number| folder.path().join(format!("{number}.c4gh"))).collect();
    for (plain, sealed) in files.iter().zip(&encrypted) {
        reference.run(&["encrypt", "--sk", str(&theirs.0), "--recipient_pk", str(&archive.1)], plain, sealed);
    }
    let paths: Vec<&str> = encrypted.iter().map(|file| str(file)).collect();
    let args = [&["record", "register", "--json", "--crypt4gh-key", str(&archive.0)], &paths[..]].concat();
    let said = json(&up.run("owner", &args));
    let items = said["items"].as_array().unwrap_or_else(|| panic!("{said}"));
    assert_eq!(items.len(), files.len(), "{said}");
    for (number, (plain, item)) in files.iter().zip(items).enumerate() {
        let again = ["--crypt4gh-key", str(&archive.0)];
        let late = item["error"]["code"] == "custodians_unavailable";
        let item = &if late { up.registered("owner", &encrypted[number], &again) } else { item.clone() };
        let record = item["record"].as_str().unwrap_or_else(|| panic!("{}: {item}", plain.display()));
        let plaintext = fs::read(plain).unwrap();
        assert!(up.open("owner", record, &[]) == plaintext, "{} differs", plain.display());
        let (out, back) = (folder.path().join(format!("{number}.out")), folder.path().join(format!("{number}.back")));
        let args =
            ["access", "open", record, "--format", "crypt4gh", "--recipient", str(&theirs.1), "--out", str(&out)];
        let said = up.ok("owner", &args);
        assert_eq!((&said["bytes"], &said["format"]), (&plaintext.len().into(), &Value::from("crypt4gh")));
        assert!(fs::read(&out).unwrap().starts_with(b"crypt4gh"));
        reference.run(&["decrypt", "--sk", str(&theirs.0)], &out, &back);
        assert!(fs::read(&back).unwrap() == plaintext, "{} differs", plain.display());
    }
    eprintln!("{} samples, in and out", files.len());
}

#[test]
fn a_file_for_another_key_is_refused_and_one_without_a_key_is_not_taken_for_a_record() {
    let Some(reference) = Reference::find() else { return };
    let up = Up::shared();
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (reference.keys(folder.path(), "ours"), reference.keys(folder.path(), "theirs"));
    let (plain, sealed) = (folder.path().join("reads.bam"), folder.path().join("reads.bam.c4gh"));
    fs::write(&plain, b"a hundred reads").unwrap();
    reference.run(&["encrypt", "--sk", str(&theirs.0), "--recipient_pk", str(&theirs.1)], &plain, &sealed);
    let register = |more: &[&str]| up.run("owner", &[&["record", "register", "--json", str(&sealed)], more].concat());
    for (more, exit, problem) in [
        (&[][..], 2, "crypt4gh"),
        (&["--crypt4gh-key", str(&ours.0)], 3, "crypt4gh"),
        (&["--crypt4gh-key", str(&ours.1)], 7, "key_permissions"),
    ] {
        let output = register(more);
        assert_eq!(
            (code(&output), json(&output)["error"]["code"].as_str()),
            (exit, Some(problem)),
            "{more:?} {}",
            json(&output)
        );
    }
    // Who says what it is has it registered as it is.
    let as_it_is = json(&register(&["--type", "application/x-crypt4gh"]));
    let record = as_it_is["record"].as_str().unwrap_or_else(|| panic!("{as_it_is}"));
    assert!(up.open("owner", record, &[]) == fs::read(&sealed).unwrap());
    let output = up.run("owner", &["access", "open", record, "--format", "crypt4gh", "--out", "-"]);
    assert_eq!(code(&output), 2, "nobody could read it");
}
