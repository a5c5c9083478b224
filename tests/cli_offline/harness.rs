//! The program, and a desk to work at: a key file, and the pin of a network that does not answer.

use dmdl::{
    local::{LocalNetwork, Shape},
    network_file::{CertificateDigest, Endpoint, NetworkFile},
};
use dmdl_types::genesis::Genesis;
use serde_json::Value;
use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

const SETTINGS: [&str; 6] = ["DMDL_NETWORK", "DMDL_GATEWAY", "DMDL_IDENTITY", "DMDL_CHANNEL", "DMDL_HOME", "DMDL_LOG"];

/// The program, with nothing of this process's settings.
pub(crate) fn dmdl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmdl"));
    for setting in SETTINGS {
        command.env_remove(setting);
    }
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    dmdl().args(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs with a passphrase on the standard input, which is file descriptor 0.
pub(crate) fn run_with_passphrase(args: &[&str], passphrase: &str) -> Output {
    let mut child = dmdl()
        .args(args)
        .args(["--passphrase-fd", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that has refused already reads no passphrase.
    let _ = writeln!(child.stdin.take().unwrap(), "{passphrase}");
    child.wait_with_output().unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("the program ends by itself")
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

pub(crate) fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The one JSON document on stdout.
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: `{}`", text(&output.stdout)))
}

/// What a command that goes well prints, for machines.
pub(crate) fn said(args: &[&str]) -> Value {
    let output = run(&[args, &["--json"]].concat());
    assert_eq!(code(&output), 0, "{args:?}: {}", text(&output.stdout));
    json(&output)
}

/// Asserts that a command fails alike for people and for machines; says with what words.
pub(crate) fn assert_fails(args: &[&str], exit: i32, stable_code: &str) -> String {
    let people = run(args);
    assert_eq!(code(&people), exit, "{args:?}: {}", text(&people.stderr));
    assert!(people.stdout.is_empty(), "errors do not go to stdout");
    assert!(!people.stderr.is_empty(), "an error is said");
    assert!(!text(&people.stderr).contains("panicked"), "{}", text(&people.stderr));
    let machines = run(&[args, &["--json"]].concat());
    assert_error(&machines, exit, stable_code)
}

pub(crate) fn assert_error(output: &Output, exit: i32, stable_code: &str) -> String {
    assert_eq!(code(output), exit, "{}", text(&output.stdout));
    let error = &json(output)["error"];
    assert_eq!(error["code"], stable_code, "{error}");
    assert_eq!(error["exit"], exit);
    let detail = error["detail"].as_str().unwrap();
    assert!(!detail.is_empty());
    detail.to_owned()
}

/// A folder with a key file without a passphrase, and a pin whose gateway nobody answers at.
pub(crate) struct Desk {
    pub(crate) dir: TempDir,
    pub(crate) key: PathBuf,
    pub(crate) pin: PathBuf,
    pub(crate) genesis: Genesis,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (key, pin) = (dir.path().join("dana.key"), dir.path().join("network.toml"));
        let orgs = ["city-hospital", "university-clinic", "research-institute", "health-registry"];
        let nodes = dir.path().join("nodes");
        let network = LocalNetwork::create(&nodes, &orgs, &[], Shape::default()).unwrap();
        let desk = Self { dir, key, pin, genesis: network.genesis().clone() };
        // Whoever gave the port back took its listener with them.
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        desk.pin(&format!("http://{closed}"), None);
        let output = run(&desk.new_key(str(&desk.key), "--no-passphrase"));
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        desk
    }

    pub(crate) fn new_key<'a>(&self, out: &'a str, more: &'a str) -> [&'a str; 11] {
        ["id", "new", "--out", out, "--org", "city-hospital", "--name", "dr-dana", "--role", "owner", more]
    }

    pub(crate) fn pin(&self, url: &str, certificate_sha256: Option<[u8; 32]>) {
        let gateway = Endpoint { url: url.to_owned(), certificate_sha256: certificate_sha256.map(CertificateDigest) };
        let file = NetworkFile::of(self.genesis.clone()).with_gateway(gateway);
        fs::write(&self.pin, file.to_text().unwrap()).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// The command with this desk's pin, key and memory.
    pub(crate) fn with<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [args, &["--network", str(&self.pin), "--as", str(&self.key)]].concat()
    }
}
