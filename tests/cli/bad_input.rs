//! What people type, where they are, and what others do to a network while it runs.

use super::harness::{Up, code, dmdl, json, run, str, text};
use dmdl::node::StartToken;
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Stdio,
    time::Duration,
};

fn failed(output: &std::process::Output) -> (i32, String) {
    let said = json(output);
    (code(output), said["error"]["code"].as_str().unwrap_or_else(|| panic!("{said}")).to_owned())
}

#[test]
fn an_address_that_is_taken_is_told_before_a_node_is_started() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let network = dir.path().join("network");
    let output = run(&["up", "--json", "--dir", str(&network), "--listen", &address]);
    assert_eq!(failed(&output), (7, "listen".to_owned()));
    assert!(json(&output)["error"]["detail"].as_str().unwrap().contains(&address));
    for org in fs::read_dir(network.join("nodes")).unwrap() {
        let kept: Vec<_> = fs::read_dir(org.unwrap().path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let is_given = |name: &OsString| name.to_string_lossy().ends_with(".key") || name == StartToken::FILE;
        assert!(kept.iter().all(is_given), "a node has run: {kept:?}");
    }
    for (args, exit, code) in [
        (&["--listen", "0.0.0.0:0", "--plain-http"][..], 7, "listen"),
        (&["--listen", "127.0.0.1:-1"], 2, "usage"),
        (&["--listen", "127.0.0.1:65536"], 2, "usage"),
        (&["--listen", "localhost"], 2, "usage"),
        (&["--orgs", "5"], 2, "usage"),
        (&["--orgs", "7"], 7, "other_network"),
        (&["--threshold", "3"], 7, "other_network"),
    ] {
        let output = run(&[&["up", "--json", "--dir", str(&network)], args].concat());
        assert_eq!(failed(&output), (exit, code.to_owned()), "{args:?}");
    }
    let output = run(&["up", "--json", "--dir", str(dir.path())]);
    assert_eq!(failed(&output), (7, "not_a_network".to_owned()));
    let fresh = dir.path().join("fresh");
    let output = run(&["up", "--json", "--dir", str(&fresh), "--threshold", "1"]);
    assert_eq!(failed(&output), (2, "bad_network".to_owned()));
    assert!(!fresh.exists(), "nothing is left of a network that cannot be");
}

#[test]
fn two_processes_do_not_run_one_network() {
    let up = Up::shared();
    let output = run(&["up", "--json", "--dir", str(&up.network()), "--listen", "127.0.0.1:0"]);
    assert_eq!(failed(&output), (7, "locked".to_owned()));
}

#[test]
fn somebody_without_a_pin_is_told_what_the_gateway_says_and_believes_nothing_of_it() {
    let up = Up::shared();
    let pin = dmdl::network_file::NetworkFile::read(&up.network().join("network.toml")).unwrap();
    let certificate = hex::encode(pin.gateways[0].certificate_sha256.unwrap().0);
    let url = up.gateway();
    let key = up.key("owner");
    for args in [&["status"][..], &["--as", str(&key), "record", "list"], &["--as", str(&key), "audit", "query"]] {
        let output = run(&[&["--gateway", &url, "--json"], args].concat());
        assert_eq!(failed(&output), (7, "no_pin".to_owned()), "{args:?}");
        let detail = json(&output)["error"]["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&pin.network.to_string()) && detail.contains(&certificate), "{detail}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [format!("https://{closed}"), "ftp://127.0.0.1".to_owned(), "http://192.0.2.1:1".to_owned()] {
        let output = run(&["--gateway", &url, "--json", "status"]);
        assert_eq!(failed(&output), (7, "no_pin".to_owned()), "{url}");
    }
    // What needs no gateway asks none.
    let output = dmdl().args(["custodian", "list", "--json"]).env("DMDL_GATEWAY", &url).output().unwrap();
    assert_eq!(failed(&output), (7, "no_pin".to_owned()));
    assert!(!text(&output.stdout).contains(&certificate));
}

#[test]
fn numbers_and_names_that_cannot_be_are_refused_by_name() {
    let up = Up::shared();
    let file = up.folder().join("refused");
    fs::write(&file, "refused").unwrap();
    let custodians = up.ok("owner", &["custodian", "list"])["items"].clone();
    let custodian = |n: usize| custodians[n]["custodian"].as_str().unwrap().to_owned();
    let (one, two, three, nobody) = (custodian(0), custodian(1), custodian(2), "ab".repeat(32));
    for (args, exit, code) in [
        (&["--threshold", "0"][..], 2, "bad_threshold"),
        (&["--threshold", "1"], 2, "bad_threshold"),
        (&["--threshold", "3"], 2, "bad_threshold"),
        (&["--threshold", "200"], 2, "bad_threshold"),
        (&["--threshold", "256"], 2, "usage"),
        (&["--threshold", "-1"], 2, "usage"),
        (&["--custodian", &nobody], 4, "unknown_custodian"),
        (&["--custodian", "root"], 2, "usage"),
        (&["--custodian", &one, "--custodian", &two], 2, "bad_threshold"),
        (&["--custodian", &one, "--custodian", &one, "--custodian", &one], 2, "bad_threshold"),
        (&["--type", "text/plain; name=Doe"], 2, "bad_argument"),
        (&["--type", "caf\u{e9}/x"], 2, "bad_argument"),
        (&["--duo", "GRU"], 2, "usage"),
        (&["--policy", "research-auto", "--duo", "XYZ"], 2, "usage"),
        (&["--replaces", &nobody], 4, "unknown_record"),
        (&["--replaces", "../../etc/passwd"], 2, "usage"),
    ] {
        let error = up.fails("owner", &[&["record", "register", str(&file)], args].concat(), exit);
        assert_eq!(error["error"]["code"], code, "{args:?}: {error}");
    }
    let more = ["--custodian", &one, "--custodian", &two, "--custodian", &three, "--policy", "research-auto"];
    let record = up.register("owner", &file, &more);
    let request = |more: &[&str], exit, code: &str| {
        let study = ["access", "request", &record, "--purpose", "HMB", "--reason", "a study"];
        let error = up.fails("researcher", &[&study[..], more].concat(), exit);
        assert_eq!(error["error"]["code"], code, "{more:?}: {error}");
    };
    request(&["--days", "0"], 2, "bad_argument");
    request(&["--days", "3651"], 2, "bad_argument");
    request(&["--days", "65536"], 2, "usage");
    request(&["--days", "-1"], 2, "usage");
    request(&["--days", "1.5"], 2, "usage");
    request(&["--uses", "0"], 2, "bad_argument");
    request(&["--uses", "100001"], 2, "bad_argument");
    request(&["--uses", "18446744073709551616"], 2, "usage");
    request(&["--country", "ch"], 2, "usage");
    request(&["--disease", "5148"], 2, "usage");
    let fails = |who: &str, args: &[&str], exit, code: &str| {
        let error = up.fails(who, args, exit);
        assert_eq!(error["error"]["code"], code, "{args:?}: {error}");
    };
    fails("owner", &["access", "revoke", &nobody], 4, "unknown_grant");
    fails("owner", &["access", "revoke", "*"], 2, "bad_id");
    fails("owner", &["access", "approve", &nobody], 4, "unknown_request");
    fails("owner", &["record", "transfer", &record, "--to", &nobody], 2, "unknown_person");
    fails("researcher", &["record", "erase", &record], 3, "role");
    fails("owner", &["record", "show", &nobody], 4, "unknown_record");
    fails("owner", &["record", "list", "--since", "yesterday"], 2, "usage");
    fails("owner", &["record", "list", "--query", &"x".repeat(200)], 2, "too_long");
    fails("owner", &["record", "list", "--cursor", "AAAA"], 2, "bad_cursor");
    fails("owner", &["access", "open", "admin", "--out", str(&up.folder().join("never"))], 2, "bad_id");
    fails("admin", &["id", "revoke", &nobody], 2, "unknown_person");
}

#[test]
fn a_home_that_cannot_be_written_is_told() {
    let up = Up::shared();
    for home in ["/proc/dmdl-none", "/dev/null/dmdl"] {
        let run = |args: &[&str]| up.command("owner", args).arg("--json").env("DMDL_HOME", home).output().unwrap();
        // What was verified must be remembered, so nothing is asked that could not be.
        for args in [&["record", "list"][..], &["whoami"], &["audit", "query"]] {
            let output = run(args);
            assert_eq!(failed(&output), (74, "storage".to_owned()), "{home}: {args:?}");
            let detail = json(&output)["error"]["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(home), "{detail}");
            assert_eq!(text(&output.stderr), "");
        }
        // What remembers nothing needs no home.
        for args in [&["status"][..], &["custodian", "list"], &["policy", "check", "closed"]] {
            let output = run(args);
            assert_eq!(code(&output), 0, "{home}: {args:?}: {}", text(&output.stdout));
        }
    }
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let up = Up::start_in_shell("exec 2>/dev/full", &["-v"]);
    let file = up.folder().join("unlogged");
    fs::write(&file, "unlogged").unwrap();
    let record = up.register("owner", &file, &[]);
    assert_eq!(up.open("owner", &record, &[]), b"unlogged");
    // Nor is a command of somebody whose screen is full.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let command = &mut up.command("owner", ["record", "show", &record, "-vv"]);
    assert_eq!(command.stderr(full).stdout(Stdio::null()).status().unwrap().code(), Some(0));
}

/// How many connections the gateway says it has.
fn connections(url: &str) -> usize {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    let line = told.lines().find_map(|line| line.strip_prefix("dmdl_http_connections "));
    line.unwrap_or_else(|| panic!("{told}")).parse().unwrap()
}

#[test]
fn thousands_of_idle_connections_leave_files_for_the_work() {
    // Twice as many as there are idle connections, for this process has their other ends.
    assert!(dmdl::gateway::raise_open_files() > 4_000, "this machine lets a process have too few files open");
    let up = Up::start_in_shell("ulimit -n 600", &["--plain-http"]);
    let url = up.gateway();
    let address = url.strip_prefix("http://").unwrap();
    let idle: Vec<TcpStream> = (0..2000).map(|_| TcpStream::connect(address).unwrap()).collect();
    let held = connections(&url);
    assert!((200..=300).contains(&held), "{held} connections are held: as many as half of the files, and no more");
    // Signed requests are served, and nodes write and read.
    let file = up.folder().join("crowded");
    fs::write(&file, vec![7; 1_000_000]).unwrap();
    let record = up.register("owner", &file, &[]);
    assert_eq!(up.open("owner", &record, &[]), vec![7; 1_000_000]);
    let closed = idle.iter().filter(|stream| {
        stream.set_nonblocking(true).unwrap();
        matches!((&mut &**stream).read(&mut [0]), Ok(0))
    });
    assert!(closed.count() >= 1_700, "the excess is refused");
}
