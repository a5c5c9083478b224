//! The load generator: what it counts is on the ledger, and it leaves nothing behind that it did not say.

use super::harness::{self, Up, code, dmdl, run, text, within};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

/// How long it may take until a measurement has begun, or its nodes have ended.
const BEGINS: Duration = Duration::from_secs(60);

/// What every run must have, whatever it is of.
const FIELDS: [&str; 22] = [
    "of",
    "offered_tps",
    "offered_percent",
    "seconds",
    "done",
    "events",
    "blocks",
    "tps",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "max_ms",
    "errors",
    "error_codes",
    "cpu_ms_per_tx",
    "nodes_cpu_ms_per_tx",
    "gateways_cpu_ms_per_tx",
    "clients_cpu_ms_per_tx",
    "bytes_per_tx",
    "peak_rss_bytes",
    "processes",
    "spread",
];

/// A measurement on a network of its own, which is gone afterwards.
fn alone(args: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let output = dmdl()
        .args([&["bench", "--json"], args].concat())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{} {}", text(&output.stdout), text(&output.stderr));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "its network is removed");
    harness::json(&output)
}

/// The runs of a measurement, each of so many seconds, in which nothing failed.
///
/// At a rate, what was due and found no client free is counted, and no failure: nobody promises that this machine
/// keeps the rate.
fn runs(said: &Value, seconds: u64) -> &[Value] {
    let runs = said["runs"].as_array().unwrap();
    for run in runs {
        assert!(FIELDS.iter().all(|field| run.get(field).is_some()), "{run}");
        assert!(run["tps"].as_f64().unwrap() > 0.0, "{run}");
        let missed = run["offered_tps"].as_u64().map_or(0, |rate| {
            let due = rate * seconds;
            due.checked_sub(run["done"].as_u64().unwrap()).unwrap_or_else(|| panic!("more than was due: {run}"))
        });
        let codes = if missed == 0 { json!({}) } else { json!({ "not_sent": missed }) };
        assert_eq!((&run["errors"], &run["error_codes"]), (&Value::from(missed), &codes), "{run}");
        let [p50, p95, p99] = ["p50_ms", "p95_ms", "p99_ms"].map(|at| run[at].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p95 && p95 <= p99, "{run}");
        assert!(p99 <= run["max_ms"].as_f64().unwrap(), "{run}");
    }
    assert!(["cpu", "cores", "memory_bytes", "kernel", "build"].iter().all(|of| !said["machine"][of].is_null()));
    runs
}

/// Each process of a run is named, and has used memory and files.
fn assert_processes(run: &Value, names: &[&str]) {
    let processes = run["processes"].as_array().unwrap();
    let named: Vec<&str> = processes.iter().map(|process| process["name"].as_str().unwrap()).collect();
    assert_eq!(named, names, "{run}");
    let used = |of: &str| processes.iter().map(|process| process[of].as_u64().unwrap()).sum::<u64>();
    assert!(processes.iter().all(|process| process["descriptors"].as_u64() > Some(3)), "{run}");
    assert_eq!(run["peak_rss_bytes"], used("peak_rss_bytes"), "{run}");
    assert!(used("peak_rss_bytes") > 10 << 20, "{run}");
}

/// The network that a measurement was of.
fn assert_network(said: &Value, wanted: [(&str, Value); 4]) {
    for (name, value) in wanted {
        assert_eq!(said["network"][name], value, "{name} of {}", said["network"]);
    }
}

#[test]
fn as_many_events_are_new_as_transactions_were_counted() {
    let said = alone(&["--workload", "invoke", "--seconds", "1", "--clients", "8", "--repeat", "2"]);
    let [run] = runs(&said, 1) else { panic!("{said}") };
    assert_eq!((&said["workload"], &run["offered_tps"]), (&Value::from("invoke"), &Value::Null));
    assert_eq!(run["events"], run["done"], "nobody else writes there: {run}");
    assert!(run["blocks"].as_u64() > Some(0) && run["bytes_per_tx"].as_f64() > Some(0.0), "{run}");
    // Nodes, gateways and clients are told from each other, and are all that there is.
    let parts = ["nodes", "gateways", "clients"].map(|of| run[format!("{of}_cpu_ms_per_tx")].as_f64().unwrap());
    assert!(parts.iter().all(|ms| *ms > 0.0), "{run}");
    assert!((parts.iter().sum::<f64>() - run["cpu_ms_per_tx"].as_f64().unwrap()).abs() < 0.01, "{run}");
    assert_network(
        &said,
        [("processes", 4.into()), ("organisations", 4.into()), ("gateways", 4.into()), ("channels", 1.into())],
    );
    assert_processes(run, &["org-1", "org-2", "org-3", "org-4"]);
    let [least, most] = ["0", "1"].map(|at| run["spread"]["tps"][at.parse::<usize>().unwrap()].as_f64().unwrap());
    assert!(
        run["spread"]["runs"] == 2 && least <= run["tps"].as_f64().unwrap() && run["tps"].as_f64().unwrap() <= most
    );
}

#[test]
fn roles_may_be_apart_and_channels_several() {
    let args = ["--apart", "--channels", "2", "--gateways", "2", "--seconds", "1", "--clients", "8"];
    let said = alone(&[&["--workload", "invoke"], &args[..]].concat());
    let [run] = runs(&said, 1) else { panic!("{said}") };
    assert_eq!(run["events"], run["done"], "of both channels together: {run}");
    assert_network(
        &said,
        [("processes", 8.into()), ("organisations", 4.into()), ("gateways", 2.into()), ("channels", 2.into())],
    );
    let names = (1..=4).flat_map(|number| [format!("order-{number}"), format!("keep-{number}")]);
    let names: Vec<String> = names.collect();
    assert_processes(run, &names.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn what_only_reads_adds_no_event() {
    let args =
        ["--workload", "query", "--seconds", "1", "--clients", "2", "--rate", "20", "--in-process", "--sign-each"];
    let said = alone(&args);
    let [run] = runs(&said, 1) else { panic!("{said}") };
    assert_eq!(run["offered_tps"], 20);
    assert_eq!((&run["events"], &run["bytes_per_tx"]), (&Value::from(0), &Value::Null), "{run}");
    assert_network(
        &said,
        [("processes", Value::Null), ("gateways", 4.into()), ("temporary", true.into()), ("channels", 1.into())],
    );
    assert_processes(run, &["all"]);
}

#[test]
fn a_sweep_offers_parts_of_what_the_network_can_do_and_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("sweep.svg");
    // Enough that none of them comes to what a gateway allows one person, however fast the machine is.
    let args = ["--workload", "query", "--sweep", "--seconds", "1", "--clients", "32", "--plot", harness::str(&plot)];
    let said = alone(&args);
    let runs = runs(&said, 1);
    let most = runs[0]["tps"].as_f64().unwrap();
    assert_eq!((&runs[0]["offered_tps"], &said["saturation_tps"]), (&Value::Null, &runs[0]["tps"]));
    let percents: Vec<u64> = runs[1..].iter().map(|run| run["offered_percent"].as_u64().unwrap()).collect();
    assert_eq!(percents, [10, 25, 50, 70, 85, 95, 110]);
    for (run, percent) in runs[1..].iter().zip(percents) {
        let offered = run["offered_tps"].as_f64().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "a percentage")]
        let wanted = most * percent as f64 / 100.0;
        assert!((offered - wanted).abs() <= 0.5, "{offered} {wanted}");
    }
    let drawn = fs::read_to_string(&plot).unwrap();
    assert_well_formed(&drawn);
    for told in ["latency (ms)", "throughput (done a second)", "p50", "p95", "p99", "query", "organisations"] {
        assert!(drawn.contains(told), "{told}: {drawn}");
    }

    // It is told at once that there is something already, and nothing is measured.
    let again = run(&["bench", "--sweep", "--json", "--plot", harness::str(&plot)]);
    assert_eq!((code(&again), &harness::json(&again)["error"]["code"]), (2, &Value::from("exists")));
    assert_eq!(fs::read_to_string(&plot).unwrap(), drawn);
}

/// One document of XML: tags that close each other, and texts and values without bare markup.
fn assert_well_formed(document: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = document;
    let mut roots = 0;
    while let Some((text, after)) = rest.split_once('<') {
        assert_no_markup(text);
        assert!(!open.is_empty() || text.trim().is_empty(), "text beside the root: {text}");
        let (tag, after) = after.split_once('>').expect("a tag ends");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "what is closed was open");
            continue;
        }
        let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "a name: {name}");
        while !attributes.trim().is_empty() {
            let (name, value) = attributes.trim_start().split_once("=\"").expect("an attribute has a value in quotes");
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "an attribute: {name}");
            let (value, after) = value.split_once('"').expect("a value ends");
            assert_no_markup(value);
            attributes = after;
        }
        roots += usize::from(open.is_empty());
        if !closed {
            open.push(name);
        }
    }
    assert!(open.is_empty() && roots == 1 && rest.trim().is_empty(), "{open:?} {roots} {rest}");
}

fn assert_no_markup(text: &str) {
    assert!(!text.contains('<'), "{text}");
    for after in text.split('&').skip(1) {
        assert!(["amp;", "lt;", "gt;", "quot;"].iter().any(|entity| after.starts_with(entity)), "{text}");
    }
}

#[test]
fn the_papers_table_is_repeated_beside_the_papers_figures() {
    let said = alone(&["--workload", "paper", "--seconds", "1", "--clients", "16"]);
    let runs = runs(&said, 1);
    let of = |name: &str| runs.iter().filter(|run| run["of"] == name).count();
    for name in ["initialMedical", "transferMedical", "delete", "readMedical", "getHistory", "queryByOwner"] {
        assert_eq!(of(name), 4, "{name}");
    }
    let averages = said["averages"].as_array().unwrap();
    let theirs = averages.iter().map(|row| ["offered_tps", "paper_query_tps", "paper_invoke_tps"].map(|of| &row[of]));
    let theirs: Vec<[u64; 3]> = theirs.map(|row| row.map(|of| of.as_u64().unwrap())).collect();
    assert_eq!(theirs, [[4, 4, 4], [8, 8, 8], [16, 16, 16], [50, 40, 39]]);
    assert!(averages.iter().all(|row| row["query_tps"].as_f64() > Some(0.0) && row["invoke_tps"].as_f64() > Some(0.0)));
}

#[test]
fn a_running_network_is_measured_by_people_whom_its_admin_enrols() {
    let up = Up::shared();
    let size = || up.ok("officer", &["status"])["channels"][0]["log_size"].as_u64().unwrap();
    let before = size();
    let said = up.ok("admin", &["bench", "--workload", "decrypt", "--seconds", "1", "--clients", "2"]);
    let [run] = runs(&said, 1) else { panic!("{said}") };
    assert_eq!((&said["cpu_of"], &run["bytes_per_tx"]), (&Value::from("clients"), &Value::Null));
    let done = run["done"].as_u64().unwrap();
    assert!(run["events"].as_u64().unwrap() >= done, "{run}");
    assert!(size() >= before + done, "{run}");
    let error = up.fails("owner", &["bench", "--seconds", "1"], 3);
    assert_eq!(error["error"]["code"], "role");
}

/// A measurement of ten minutes that has begun to make its network in a folder.
fn begun(folder: &Path) -> Child {
    let mut bench = dmdl();
    bench.args(["bench", "--seconds", "600"]).env("TMPDIR", folder).stdin(Stdio::null());
    let process = bench.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    within(BEGINS, || (left(folder) > 0).then_some(())).expect("it begins");
    process
}

fn left(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn what_is_interrupted_removes_its_network_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = begun(folder.path());
    let id = Pid::from_child(&process);
    // At whatever it is: the nodes are starting, or run.
    std::thread::sleep(Duration::from_secs(1));
    kill_process(id, Signal::INT).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(130));
    assert_eq!(left(folder.path()), 0);
}

#[test]
fn no_node_outlives_a_measurement_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = begun(folder.path());
    let nodes = within(BEGINS, || Some(children(process.id())).filter(|nodes| nodes.len() == 4)).expect("four nodes");
    process.kill().unwrap();
    process.wait().unwrap();
    let gone = within(BEGINS, || nodes.iter().all(|node| !runs_still(*node)).then_some(()));
    assert_eq!(gone, Some(()), "{nodes:?}");
}

/// The processes that a process has started, and that have come as far as to be this program.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| field(*id, "PPid:").is_some_and(|of| of == parent.to_string())).collect()
}

fn runs_still(process: u32) -> bool {
    // One that nobody has waited for yet has an entry, and runs no more.
    field(process, "State:").is_some_and(|state| !state.starts_with('Z'))
}

fn field(process: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned())
}

#[test]
fn what_does_not_fit_together_is_refused() {
    for (args, exit, stable_code) in [
        (&["bench", "--workload", "paper", "--rate", "4"][..], 2, "conflict"),
        (&["bench", "--as", "somebody.key"], 2, "conflict"),
        (&["bench", "--gateway", "https://127.0.0.1:1"], 7, "no_pin"),
        (&["bench", "--workload", "sleep"], 2, "usage"),
        (&["bench", "--seconds", "0"], 2, "usage"),
        (&["bench", "--rate", "0"], 2, "usage"),
        (&["bench", "--clients", "2049"], 2, "usage"),
        (&["bench", "--orgs", "5"], 2, "usage"),
        (&["bench", "--apart", "--in-process"], 2, "usage"),
        (&["bench", "--plot", "plot.svg"], 2, "usage"),
        (&["bench", "--sweep", "--rate", "5"], 2, "usage"),
        (&["bench", "--repeat", "0"], 2, "usage"),
        (&["bench", "--gateways", "5"], 2, "conflict"),
        (&["bench", "--channels", "3", "--clients", "2"], 2, "conflict"),
        (&["bench", "--workload", "paper", "--sweep"], 2, "conflict"),
        (&["bench", "--network", "network.toml", "--orgs", "7"], 2, "conflict"),
    ] {
        let output = run(&[args, &["--json"]].concat());
        assert_eq!(code(&output), exit, "{args:?}");
        assert_eq!(harness::json(&output)["error"]["code"], stable_code, "{args:?}");
    }
}
