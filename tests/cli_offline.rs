//! The program without a network: what it does alone, what it refuses, and how it ends.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use dmdl::{
    local::{LocalNetwork, Shape},
    network_file::{CertificateDigest, Endpoint, NetworkFile},
};
use dmdl_types::{genesis::Genesis, id::UnixMillis};
use serde_json::Value;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    thread,
};
use tempfile::TempDir;

const SETTINGS: [&str; 6] = ["DMDL_NETWORK", "DMDL_GATEWAY", "DMDL_IDENTITY", "DMDL_CHANNEL", "DMDL_HOME", "DMDL_LOG"];

/// The program, with nothing of this process's settings.
fn dmdl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmdl"));
    for setting in SETTINGS {
        command.env_remove(setting);
    }
    command
}

fn run(args: &[&str]) -> Output {
    dmdl().args(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs with a passphrase on the standard input, which is file descriptor 0.
fn run_with_passphrase(args: &[&str], passphrase: &str) -> Output {
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

fn code(output: &Output) -> i32 {
    output.status.code().expect("the program ends by itself")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The one JSON document on stdout.
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: `{}`", text(&output.stdout)))
}

/// What a command that goes well prints, for machines.
fn said(args: &[&str]) -> Value {
    let output = run(&[args, &["--json"]].concat());
    assert_eq!(code(&output), 0, "{args:?}: {}", text(&output.stdout));
    json(&output)
}

/// Asserts that a command fails alike for people and for machines; says with what words.
fn assert_fails(args: &[&str], exit: i32, stable_code: &str) -> String {
    let people = run(args);
    assert_eq!(code(&people), exit, "{args:?}: {}", text(&people.stderr));
    assert!(people.stdout.is_empty(), "errors do not go to stdout");
    assert!(!people.stderr.is_empty(), "an error is said");
    assert!(!text(&people.stderr).contains("panicked"), "{}", text(&people.stderr));
    let machines = run(&[args, &["--json"]].concat());
    assert_error(&machines, exit, stable_code)
}

fn assert_error(output: &Output, exit: i32, stable_code: &str) -> String {
    assert_eq!(code(output), exit, "{}", text(&output.stdout));
    let error = &json(output)["error"];
    assert_eq!(error["code"], stable_code, "{error}");
    assert_eq!(error["exit"], exit);
    let detail = error["detail"].as_str().unwrap();
    assert!(!detail.is_empty());
    detail.to_owned()
}

/// A folder with a key file without a passphrase, and a pin whose gateway nobody answers at.
struct Desk {
    dir: TempDir,
    key: PathBuf,
    pin: PathBuf,
    genesis: Genesis,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (key, pin) = (dir.path().join("dana.key"), dir.path().join("network.toml"));
        let orgs = ["city-hospital", "university-clinic", "research-institute", "health-registry"];
        let nodes = dir.path().join("nodes");
        let network = LocalNetwork::create(&nodes, &orgs, &[], UnixMillis::new(1), Shape::default()).unwrap();
        let desk = Self { dir, key, pin, genesis: network.genesis().clone() };
        // Whoever gave the port back took its listener with them.
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        desk.pin(&format!("http://{closed}"), None);
        let output = run(&desk.new_key(str(&desk.key), "--no-passphrase"));
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        desk
    }

    fn new_key<'a>(&self, out: &'a str, more: &'a str) -> [&'a str; 11] {
        ["id", "new", "--out", out, "--org", "city-hospital", "--name", "dr-dana", "--role", "owner", more]
    }

    fn pin(&self, url: &str, certificate_sha256: Option<[u8; 32]>) {
        let gateway = Endpoint { url: url.to_owned(), certificate_sha256: certificate_sha256.map(CertificateDigest) };
        let file = NetworkFile::of(self.genesis.clone()).with_gateway(gateway);
        fs::write(&self.pin, file.to_text().unwrap()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// The command with this desk's pin, key and memory.
    fn with<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [args, &["--network", str(&self.pin), "--as", str(&self.key)]].concat()
    }
}

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
fn a_name_that_is_no_text_is_a_name_for_machines_too() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join(OsStr::from_bytes(b"dana \xff.key"));
    let new = ["id", "new", "--org", "o", "--name", "n", "--role", "owner", "--no-passphrase", "--json", "--out"];
    let made = dmdl().args(new).arg(&out).stdin(Stdio::null()).output().unwrap();
    assert_eq!(code(&made), 0, "{}", text(&made.stderr));
    assert!(json(&made)["file"].as_str().is_some_and(|name| name.ends_with("dana \u{fffd}.key")));
    let shown = dmdl().args(["id", "show", "--json"]).arg(&out).output().unwrap();
    assert_eq!(json(&shown)["key"], json(&made)["key"]);
}

#[test]
fn the_pinned_network_says_who_the_custodians_are() {
    let desk = Desk::new();
    let listed = said(&["custodian", "list", "--network", str(&desk.pin)]);
    assert_eq!(listed["threshold"], 2);
    let orgs: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|item| &item["org"]).collect();
    assert_eq!(orgs.len(), 4);
    assert!(desk.genesis.members.iter().all(|member| orgs.contains(&&Value::from(member.org.as_str()))));
    assert_fails(&["custodian", "list"], 7, "no_pin");
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
fn a_network_file_that_is_none_is_refused_with_its_line() {
    let desk = Desk::new();
    let pin = fs::read_to_string(&desk.pin).unwrap();
    let named = |name: &str, text: &str| desk.write(name, text.as_bytes(), 0o644);
    for (path, lines) in [
        (named("unknown.toml", &format!("colour = \"blue\"\n{pin}")), true),
        (named("doubled.toml", &pin.replacen("version = 1\n", "version = 1\nversion = 1\n", 1)), true),
        (named("negative.toml", &pin.replacen("epoch_blocks = ", "epoch_blocks = -", 1)), true),
        (named("garbage.toml", "network"), true),
        (named("empty.toml", ""), true),
        (named("large.toml", &"#".repeat(11 << 20)), true),
        (desk.path("none.toml"), false),
        (desk.dir.path().to_owned(), false),
    ] {
        assert_ne!(fs::read_to_string(&path).ok().as_deref(), Some(pin.as_str()), "{}", path.display());
        let detail = assert_fails(&["status", "--network", str(&path)], 7, "bad_network_file");
        assert!(!lines || detail.contains("line"), "{detail}");
        assert!(detail.len() < 1000 && !detail.contains("####"), "it repeats the file: {detail:.200}");
    }
    let pipe = desk.path("pipe.toml");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    for path in [pipe.as_path(), Path::new("/dev/zero")] {
        assert_fails(&["status", "--network", str(path)], 7, "bad_network_file");
    }
    let line = named("line.toml", &pin.replacen("version = 1\n", "version = 1\ncolour = \"blue\"\n", 1));
    let number = pin.lines().position(|line| line == "version = 1").unwrap() + 2;
    let detail = assert_fails(&["status", "--network", str(&line)], 7, "bad_network_file");
    assert!(detail.contains(&format!("line {number}: ")) && detail.contains("colour"), "{detail}");
    let id = pin.lines().find(|line| line.starts_with("network = ")).unwrap();
    let other = named("other.toml", &pin.replacen(id, &format!("network = \"{}\"", "07".repeat(32)), 1));
    assert_fails(&["status", "--network", str(&other)], 7, "genesis_mismatch");
    assert_fails(&["status"], 7, "no_pin");
    assert_fails(&["status", "--network", str(&desk.pin), "--channel", "other"], 4, "unknown_channel");
}

#[test]
fn a_gateway_that_nobody_answers_at_ends_with_6() {
    let desk = Desk::new();
    assert_fails(&["status", "--network", str(&desk.pin)], 6, "unreachable");
    let home = desk.path("home");
    let owner = &format!("owner={}", "02".repeat(32));
    for args in [
        &["whoami"][..],
        &["audit", "query"],
        &["audit", "tail"],
        &["contract", "query", "medical", "queryByOwner", "--arg", owner],
        &["id", "enroll", str(&desk.key)],
    ] {
        let output = dmdl().args(desk.with(args)).arg("--json").env("DMDL_HOME", &home).output().unwrap();
        assert_error(&output, 6, "unreachable");
    }
    for url in ["ftp://127.0.0.1:1", "http://192.0.2.1:7400", "https://127.0.0.1:7400", "127.0.0.1", "https://a/b"] {
        assert_fails(&["status", "--network", str(&desk.pin), "--gateway", url], 7, "bad_gateway");
    }
}

#[test]
fn a_gateway_with_another_certificate_than_the_pinned_one_ends_with_6() {
    let desk = Desk::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    desk.pin(&format!("https://{}", listener.local_addr().unwrap()), Some([7; 32]));
    let server = thread::spawn(move || {
        let config = Arc::new(config);
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let failed = connection.complete_io(&mut stream);
            assert!(failed.is_err(), "the program goes away before it has said anything");
        }
    });
    assert_fails(&["status", "--network", str(&desk.pin)], 6, "tls");
    server.join().unwrap();
}

#[test]
fn a_file_that_is_there_is_not_written_over_and_nothing_is_left_of_a_failure() {
    let desk = Desk::new();
    let (home, taken) = (desk.path("home"), desk.write("taken", b"mine", 0o600));
    symlink(desk.path("nowhere"), desk.path("link")).unwrap();
    let output = |args: &[&str]| {
        dmdl().args(desk.with(args)).arg("--json").env("DMDL_HOME", &home).stdin(Stdio::null()).output().unwrap()
    };
    let transaction = "01".repeat(32);
    for path in [&taken, &desk.path("link"), &desk.dir.path().to_owned()] {
        assert_error(&output(&["audit", "export", "--out", str(path)]), 2, "exists");
        assert_error(&output(&["audit", "receipt", &transaction, "--out", str(path)]), 2, "exists");
    }
    let away = desk.path("no-such-folder/out");
    assert_error(&output(&["audit", "export", "--out", str(&away)]), 2, "no_such_folder");
    let before = fs::read_dir(desk.dir.path()).unwrap().count();
    let new = desk.path("new");
    assert_error(&output(&["audit", "export", "--out", str(&new)]), 6, "unreachable");
    assert_error(&output(&["audit", "export", "--out", str(&new), "--outcome", "deny"]), 2, "filter");
    let range = ["--from", "2026-11-22T00:00:00Z", "--to", "2026-11-21T00:00:00Z"];
    assert_error(&output(&[&["audit", "query"], &range[..]].concat()), 2, "range");
    assert_eq!(fs::read_dir(desk.dir.path()).unwrap().count(), before, "no part of a file is left");
    assert_eq!(fs::read(&taken).unwrap(), b"mine");
}

#[test]
fn a_network_that_one_organisation_may_run_alone_is_called_so() {
    let mut desk = Desk::new();
    let quiet = |desk: &Desk| run(&["status", "--quiet", "--network", str(&desk.pin)]);
    let says_so = |output: &Output| text(&output.stderr).contains("single_org_demo");
    let loud = |desk: &Desk| run(&["status", "--network", str(&desk.pin)]);
    assert!(!says_so(&loud(&desk)));
    desk.genesis.single_org_demo = true;
    desk.pin("http://127.0.0.1:9", None);
    assert!(says_so(&loud(&desk)) && !says_so(&quiet(&desk)));
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
