//! How long a network of four processes takes to go on when one is killed, and how fast it is without that one.
//!
//! A measurement: it asserts nothing about time. `make degraded` runs it; `DMDL_DEGRADED_KILLS` and `DMDL_DEGRADED_SECONDS`
//! make it longer.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "cli/harness.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod harness;

#[path = "processes/network.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod network;

use harness::{code, json, text};
use network::{ALL, Network};
use serde_json::Value;
use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// Where people work.
const GATEWAY: usize = 0;
/// Transactions that are begun a second, whatever becomes of those before, and clients enough for a stall of seconds.
const RATE: &str = "50";
const CLIENTS: &str = "250";
/// How long people work before a node is killed, and after it: longer than a silent node is waited for.
const BEFORE: Duration = Duration::from_secs(5);
const AFTER_S: u64 = 15;

/// What a run of the load generator came to.
struct Run {
    p99_ms: f64,
    max_ms: f64,
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |number| number.parse().expect("a number"))
}

fn bench(network: &Network, seconds: u64) -> Command {
    let seconds = seconds.to_string();
    let load = ["bench", "--workload", "invoke", "--rate", RATE, "--clients", CLIENTS, "--seconds", &seconds];
    network.command(GATEWAY, "admin-1", &load)
}

/// Runs the load generator to its end, and does something meanwhile.
fn measure(mut bench: Command, meanwhile: impl FnOnce()) -> Run {
    let running = bench.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    meanwhile();
    let output = running.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{} {}", text(&output.stdout), text(&output.stderr));
    let run: Value = json(&output)["runs"][0].clone();
    let at = |figure: &str| run[figure].as_f64().unwrap();
    eprintln!(
        "  {} done, p50 {} ms, p99 {} ms, at most {} ms, errors {}",
        run["done"], run["p50_ms"], run["p99_ms"], run["max_ms"], run["error_codes"]
    );
    Run { p99_ms: at("p99_ms"), max_ms: at("max_ms") }
}

#[test]
#[ignore = "a measurement of minutes: `make degraded` makes it"]
fn how_long_four_take_to_go_on_without_one_and_how_fast_they_are_then() {
    let (kills, seconds) = (number("DMDL_DEGRADED_KILLS", 5), number("DMDL_DEGRADED_SECONDS", 30));
    let mut network =
        Network::generate(&[("a", "org-1", ALL), ("b", "org-2", ALL), ("c", "org-3", ALL), ("d", "org-4", ALL)]);
    network.start_all();
    let all = measure(bench(&network, seconds), || ());
    let mut stalls = Vec::new();
    for victim in (1..4).cycle().take(usize::try_from(kills).unwrap()) {
        let bench = bench(&network, BEFORE.as_secs() + AFTER_S);
        // The longest that anybody waited who began before the kill or after it.
        let run = measure(bench, || {
            thread::sleep(BEFORE);
            network.kill(victim);
        });
        stalls.push(run.max_ms);
        network.start(victim);
        network.wait_caught_up(victim, GATEWAY);
    }
    network.kill(3);
    thread::sleep(Duration::from_secs(AFTER_S));
    let three = measure(bench(&network, seconds), || ());
    stalls.sort_by(f64::total_cmp);
    let at = |percent: usize| stalls.get((stalls.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap();
    eprintln!(
        "{kills} kills of 1 of 4: the longest wait is {:.0} ms at p50, {:.0} ms at p99; commits at p99 {:.0} ms with all, \
         {:.0} ms with 1 of 4 dead, {:.1} times as long",
        at(50),
        at(99),
        all.p99_ms,
        three.p99_ms,
        three.p99_ms / all.p99_ms
    );
}
