//! People at work: `dmdl bench` at a gateway, again and again until it is enough.

use crate::{
    harness::{UNAVAILABLE, code, json, text},
    network::Network,
};
use dmdl_types::event::{Action, Event, Verdict};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    process::{Command, Output},
    sync::atomic::{AtomicBool, Ordering},
};

/// What people do, and what the ledger shows of it.
pub(crate) struct Workload {
    name: &'static str,
    /// Pieces of work that are begun a second.
    rate: u64,
    /// While a node is down, its turns to propose cost seconds: so many clients are free for what is begun meanwhile.
    clients: u64,
    /// Who enrols them. An organisation's people have names of their own, so each load has another one.
    admin: &'static str,
    actions: &'static [Action],
    verdict: Verdict,
}

/// What is done all the time.
pub(crate) static WORKLOADS: [Workload; 2] = [
    Workload {
        name: "invoke",
        rate: 50,
        clients: 100,
        admin: "admin-1",
        actions: &[Action::InitialMedical, Action::TransferMedical, Action::Delete],
        verdict: Verdict::Applied,
    },
    Workload {
        name: "decrypt",
        rate: 5,
        clients: 16,
        admin: "admin-2",
        actions: &[Action::Decrypt],
        verdict: Verdict::Allow,
    },
];

/// What came of one of them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Pieces of work that were done and measured.
    pub(crate) done: u64,
    /// With those that each client does before the clock starts: what the ledger must have.
    pub(crate) acknowledged: u64,
    /// Those that no client had time for on this machine: nobody was promised anything.
    pub(crate) not_sent: u64,
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Workload {
    /// The command that runs it once.
    pub(crate) fn command(&self, network: &Network, at: usize, seconds: u64) -> Command {
        let [rate, clients, seconds] = [self.rate, self.clients, seconds].map(|number| number.to_string());
        let of = ["bench", "--workload", self.name, "--rate", &rate, "--clients", &clients, "--seconds", &seconds];
        network.command(at, self.admin, &of)
    }

    /// Runs it until it is enough; what has begun ends in its time.
    pub(crate) fn repeat(&self, mut bench: Command, enough: &AtomicBool) -> Tally {
        let mut tally = Tally::default();
        while !enough.load(Ordering::Relaxed) {
            let output = bench.output().unwrap();
            if is_put_off(&output) {
                continue;
            }
            assert_eq!(code(&output), 0, "{}: {} {}", self.name, text(&output.stdout), text(&output.stderr));
            tally.add(&json(&output)["runs"][0], self.clients);
        }
        tally
    }

    /// Whether an event is of this work, and says that it was done.
    pub(crate) fn has(&self, event: &Event) -> bool {
        self.actions.contains(&event.action) && event.outcome.verdict == self.verdict
    }

    /// Whether the ledger shows that it has begun since it had this status.
    pub(crate) fn has_begun(&self, network: &Network, at: usize, since: &Value) -> bool {
        let (verdict, time) = (json!(self.verdict), since["time"].as_str().unwrap());
        let query = ["audit", "query", "--from", time, "--outcome", verdict.as_str().unwrap(), "--limit", "500"];
        let page = network.ok(at, "officer", &query);
        let is_new = |item: &Value| item["position"].as_u64() >= since["log_size"].as_u64();
        let is_ours = |item: &Value| self.actions.iter().any(|action| item["event"]["action"] == json!(action));
        page["items"].as_array().unwrap().iter().any(|item| is_new(item) && is_ours(item))
    }
}

impl Tally {
    fn add(&mut self, run: &Value, clients: u64) {
        let done = run["done"].as_u64().unwrap();
        self.done += done;
        self.acknowledged += done + clients;
        for (code, count) in run["error_codes"].as_object().unwrap() {
            let count = count.as_u64().unwrap();
            match code.as_str() {
                "not_sent" => self.not_sent += count,
                code => *self.errors.entry(code.to_owned()).or_default() += count,
            }
        }
    }
}

/// Whether a run has not begun because too few custodians answered its owner in time: on a busy machine they may be slow,
/// and then nothing is registered that anybody could open.
fn is_put_off(output: &Output) -> bool {
    let is_of_custodians = |error: &Value| {
        let code = error["code"].as_str().unwrap();
        // Of an opening that fails before the clock starts it says that nothing was done.
        let is_opening = error["detail"].as_str().unwrap().starts_with("nothing was done");
        ["custodians_unavailable", "not_active"].contains(&code) && !is_opening
    };
    code(output) == UNAVAILABLE && is_of_custodians(&json(output)["error"])
}
