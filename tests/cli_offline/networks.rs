//! Network files, and gateways that do not answer.

use super::harness::{Desk, assert_error, assert_fails, dmdl, run, said, str, text};
use serde_json::Value;
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::Path,
    process::{Output, Stdio},
    sync::Arc,
    thread,
};

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
        (named("large.toml", &"#".repeat(11 << 20)), false),
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
