//! The load generator: what it counts is on the ledger, and it leaves nothing behind that it did not say.

use super::harness::{self, Up, code, dmdl, run, text};
use serde_json::{Value, json};
use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

/// What every run must have, whatever it is of.
const FIELDS: [&str; 8] =
    ["offered_tps", "tps", "p50_ms", "p95_ms", "p99_ms", "errors", "cpu_ms_per_tx", "bytes_per_tx"];

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
    }
    assert!(["cpu", "cores", "memory_bytes", "kernel", "build"].iter().all(|of| !said["machine"][of].is_null()));
    runs
}

#[test]
fn as_many_events_are_new_as_transactions_were_counted() {
    let said = alone(&["--workload", "invoke", "--seconds", "2", "--clients", "8"]);
    let [run] = runs(&said, 2) else { panic!("{said}") };
    assert_eq!((&said["workload"], &run["offered_tps"]), (&Value::from("invoke"), &Value::Null));
    assert_eq!(run["events"], run["done"], "nobody else writes there: {run}");
    assert!(run["bytes_per_tx"].as_f64().unwrap() > 0.0 && run["cpu_ms_per_tx"].as_f64().unwrap() > 0.0, "{run}");
}

#[test]
fn what_only_reads_adds_no_event() {
    let said = alone(&["--workload", "query", "--seconds", "1", "--clients", "2", "--rate", "20"]);
    let [run] = runs(&said, 1) else { panic!("{said}") };
    assert_eq!(run["offered_tps"], 20);
    assert_eq!((&run["events"], &run["bytes_per_tx"]), (&Value::from(0), &Value::Null), "{run}");
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

#[test]
fn what_is_interrupted_removes_its_network_too() {
    let folder = tempfile::tempdir().unwrap();
    let left = || fs::read_dir(folder.path()).unwrap().count();
    let mut bench = dmdl();
    bench.args(["bench", "--seconds", "600"]).env("TMPDIR", folder.path()).stdin(Stdio::null());
    let mut process = bench.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while left() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    let id = rustix::process::Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(130));
    assert_eq!(left(), 0);
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
        (&["bench", "--clients", "257"], 2, "usage"),
    ] {
        let output = run(&[args, &["--json"]].concat());
        assert_eq!(code(&output), exit, "{args:?}");
        assert_eq!(harness::json(&output)["error"]["code"], stable_code, "{args:?}");
    }
}
