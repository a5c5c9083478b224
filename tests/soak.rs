//! Work at 30 % of what the network can do, for as long as wanted, with a fault a minute: what the processes use stays
//! what it is.
//!
//! `make soak` runs it for an hour, and keeps a table of samples; the suite for one short round.

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

#[path = "common/proc.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod proc;

#[path = "soak/faults.rs"]
mod faults;
#[path = "soak/samples.rs"]
mod samples;

use faults::{Draws, strike};
use harness::{code, json, text};
use network::{ALL, Network, in_time};
use samples::Samples;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const NODES: usize = 4;
/// How many people work, all of one organisation: few enough that a gateway which has just lost one of four nodes has a place
/// for each.
const CLIENTS: &str = "32";
/// Some seconds under load, so that epochs end and snapshots are kept.
const EPOCH_BLOCKS: u64 = 100;
/// Rounds before there is a snapshot that a wiped node can join by, for sure.
const BEFORE_WIPES: u64 = 3;
/// What no process may have, whatever the load.
const RESIDENT_MOST: u64 = 1 << 30;

/// How long everything takes.
struct Plan {
    rounds: u64,
    /// How long people work in a round, and when the fault comes.
    works: Duration,
    fault_after: Duration,
    sampled_every: Duration,
    /// Transactions a second; what the network can do is measured, otherwise.
    rate: Option<u64>,
    seed: u64,
    /// Where the samples are kept.
    folder: Option<PathBuf>,
    /// Growth that is no leak, an hour: MiB, and files of the chain, which it has a few of for each some thousand blocks.
    slopes_most: Option<(f64, f64)>,
}

impl Plan {
    fn asked() -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
        let seed = number("DMDL_SOAK_SEED").unwrap_or(1);
        let folder = std::env::var_os("DMDL_SOAK_DIR").map(PathBuf::from);
        match number("DMDL_SOAK_MINUTES") {
            Some(minutes) => Self {
                rounds: minutes,
                works: Duration::from_secs(45),
                fault_after: Duration::from_secs(10),
                sampled_every: Duration::from_secs(10),
                rate: number("DMDL_SOAK_RATE"),
                seed,
                folder,
                // A line through less than that says nothing.
                slopes_most: (minutes >= 30).then_some((32.0, 200.0)),
            },
            None => Self {
                rounds: 1,
                works: Duration::from_secs(8),
                fault_after: Duration::from_secs(2),
                sampled_every: Duration::from_secs(1),
                rate: Some(30),
                seed,
                folder,
                slopes_most: None,
            },
        }
    }
}

/// Says that it is enough, also when a test fails meanwhile.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One run of the load generator at the first node's gateway.
fn bench(network: &Network, seconds: u64, more: &[&str]) -> Value {
    let seconds = seconds.to_string();
    let args = [&["bench", "--workload", "invoke", "--clients", CLIENTS, "--seconds", &seconds], more].concat();
    let output = network.run(0, "admin-1", &args);
    assert_eq!(code(&output), 0, "{} {}", text(&output.stdout), text(&output.stderr));
    json(&output)["runs"][0].clone()
}

#[test]
fn what_processes_use_stays_what_it_is_while_people_work_and_nodes_fail() {
    let plan = Plan::asked();
    let seats = [("a", "org-1", ALL), ("b", "org-2", ALL), ("c", "org-3", ALL), ("d", "org-4", ALL)];
    let mut network = Network::generate_with(&format!("[channel]\nepoch_blocks = {EPOCH_BLOCKS}\n"), &seats);
    network.start_all();
    let rate = plan.rate.unwrap_or_else(|| {
        let closed = bench(&network, 10, &[])["tps"].as_f64().unwrap();
        eprintln!("{CLIENTS} at a time    {closed:.0}/s");
        format!("{:.0}", (closed * 0.3).max(1.0)).parse().unwrap()
    });
    let temporary = tempfile::tempdir().unwrap();
    let folder = plan.folder.clone().unwrap_or_else(|| temporary.path().to_owned());
    fs::create_dir_all(&folder).unwrap();
    let samples = Mutex::new(Samples::begin(&folder.join("samples.csv")));
    let processes = Mutex::new(vec![None; NODES]);
    let look = |network: &Network| *processes.lock().unwrap() = network.pids();
    look(&network);

    let (begun, over, mut draws) = (Instant::now(), AtomicBool::new(false), Draws(plan.seed));
    let (mut done, mut errors): (u64, BTreeMap<String, u64>) = (0, BTreeMap::new());
    thread::scope(|scope| {
        let _until = Until(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let pids = processes.lock().unwrap().clone();
                samples.lock().unwrap().take(&pids);
                thread::sleep(plan.sampled_every);
            }
        });
        for round in 0..plan.rounds {
            let fault = draws.fault(NODES, round >= BEFORE_WIPES);
            let load = network.command(
                0,
                "admin-1",
                &[
                    &["bench", "--workload", "invoke", "--clients", CLIENTS][..],
                    &["--rate", &rate.to_string(), "--seconds", &plan.works.as_secs().to_string()],
                ]
                .concat(),
            );
            let mut load = load;
            let working = scope.spawn(move || load.output().unwrap());
            thread::sleep(plan.fault_after);
            strike(&mut network, fault);
            look(&network);
            let output = working.join().unwrap();
            // Two nodes without votes are one too many, and while nobody works an epoch takes minutes.
            in_time("a node votes after a fault", || {
                let votes = network.status(fault.1)["votes"] == true;
                if !votes {
                    bench(&network, 5, &["--rate", &rate.to_string()]);
                }
                votes.then_some(())
            });
            assert_eq!(code(&output), 0, "{} {}", text(&output.stdout), text(&output.stderr));
            let run = &json(&output)["runs"][0];
            done += run["done"].as_u64().unwrap();
            for (code, count) in run["error_codes"].as_object().unwrap() {
                *errors.entry(code.clone()).or_default() += count.as_u64().unwrap();
            }
            eprintln!(
                "round {round:>3}  {:>4} s  {:?} node {}  {} done, p50 {} ms, p99 {} ms, errors {}",
                begun.elapsed().as_secs(),
                fault.0,
                fault.1,
                run["done"],
                run["p50_ms"],
                run["p99_ms"],
                run["error_codes"]
            );
        }
    });

    let samples = samples.into_inner().unwrap();
    let warm_up = begun.elapsed() / 4;
    eprintln!("{rate}/s, {} rounds, seed {}: {done} done, errors {errors:?}", plan.rounds, plan.seed);
    eprintln!("samples         {}", folder.join("samples.csv").display());
    eprintln!("node lives samples    resident MiB     MiB/h  descriptors  each h");
    for node in 0..NODES {
        let Some(trend) = samples.trend(node, warm_up) else { continue };
        eprintln!(
            "{node:>4} {:>5} {:>7} {:>7} -> {:>5} {:>9.1} {:>4} -> {:>4} {:>7.1}",
            trend.lives,
            trend.samples,
            proc::mib(trend.resident.0),
            proc::mib(trend.resident.1),
            trend.resident_slope,
            trend.descriptors.0,
            trend.descriptors.1,
            trend.descriptors_slope
        );
    }
    network.assert_trail_verifies(0);
    assert!(done > 0 && errors.keys().all(|code| code == "not_sent"), "{errors:?}");
    for (node, pid) in network.pids().into_iter().enumerate() {
        let most = proc::resident_most(pid.expect("every node runs at the end")).unwrap();
        assert!(most < RESIDENT_MOST, "node {node} had {} MiB", proc::mib(most));
    }
    // The first node is the one whose process lives from the beginning to the end.
    let trend = samples.trend(0, warm_up).expect("there are samples");
    assert_eq!(trend.lives, 1);
    if let Some((resident, descriptors)) = plan.slopes_most {
        assert!(trend.resident_slope < resident, "{trend:?}");
        assert!(trend.descriptors_slope < descriptors, "{trend:?}");
    }
}
