//! One run: workers driven at one pace on one network, and what that came to.

use super::{
    super::text,
    driver::{self, Driven, Pace, Worker},
    insist::insist,
    meter::Usage,
    stage::{Extent, PATIENCE, Stage},
};
use crate::exit::{Exit, Failure};
use futures::future;
use serde_json::{Value, json};
use std::time::Duration;

/// Who does the work of a workload, run after run.
#[derive(Debug)]
pub(super) struct Crew<W> {
    of: String,
    changes: bool,
    workers: Vec<W>,
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct Run {
    of: String,
    changes: bool,
    pace: Pace,
    /// How much of what the network can do is offered, in percent, where that was measured before.
    percent: Option<u32>,
    driven: Driven,
    /// New events and blocks.
    grown: Extent,
    usage: Usage,
    spread: Option<Spread>,
}

/// How far the runs lie apart that this one is the median of: the least and the most of each figure.
#[derive(Debug)]
struct Spread {
    runs: usize,
    tps: [f64; 2],
    p50_ms: [f64; 2],
    p99_ms: [f64; 2],
    cpu_ms: [f64; 2],
}

/// The head of the rows of [`Run::row`].
pub(super) const HEAD: [&str; 13] = [
    "OF",
    "OFFERED/S",
    "DONE",
    "TPS",
    "P50 MS",
    "P95 MS",
    "P99 MS",
    "MAX MS",
    "ERRORS",
    "NODES",
    "GATEWAYS",
    "CLIENTS",
    "BYTES",
];
/// What the last columns are.
pub(super) const LEGEND: &str = "NODES, GATEWAYS and CLIENTS are milliseconds of processor time for each piece of work done, over all of them \
     together; BYTES is what a node's ledger grew by for each transaction.";

impl<W: Worker> Crew<W> {
    /// Who is ready: each has done one piece of work, so that no connection is made while it is measured.
    ///
    /// # Errors
    /// [`Failure`] when somebody's came to nothing, however often it was tried.
    pub(super) async fn ready(of: String, changes: bool, mut workers: Vec<W>) -> Result<Self, Failure> {
        let first = workers.iter_mut().map(|worker| insist(PATIENCE, async || worker.step().await));
        let failed = |failure: Failure| Failure { detail: format!("nothing was done: {}", failure.detail), ..failure };
        future::try_join_all(first).await.map_err(failed)?;
        Ok(Self { of, changes, workers })
    }

    /// Works at one pace; so many times, and gives the median.
    ///
    /// # Errors
    /// [`Failure`] when nothing at all was done, a node ended, or the ledger has fewer new events than transactions
    /// that were proved.
    pub(super) async fn run(
        &mut self,
        stage: &mut Stage,
        pace: Pace,
        times: usize,
        tell: &(dyn Fn(Duration, u64) + Sync),
    ) -> Result<Run, Failure> {
        let mut runs = Vec::new();
        for _ in 0..times.max(1) {
            runs.push(self.once(stage, pace, tell).await?);
        }
        Run::median(runs)
    }

    async fn once(
        &mut self,
        stage: &mut Stage,
        pace: Pace,
        tell: &(dyn Fn(Duration, u64) + Sync),
    ) -> Result<Run, Failure> {
        let (meter, before) = (stage.meter(), stage.extent().await?);
        let reading = meter.begin();
        let driven = driver::drive(&mut self.workers, pace, tell).await;
        let usage = meter.since(&reading);
        stage.check()?;
        let after = stage.extent().await?;
        let run = Run {
            of: self.of.clone(),
            changes: self.changes,
            pace,
            percent: None,
            driven,
            grown: Extent {
                events: after.events.saturating_sub(before.events),
                blocks: after.blocks.saturating_sub(before.blocks),
            },
            usage,
            spread: None,
        };
        run.check()
    }
}

impl Run {
    fn check(self) -> Result<Self, Failure> {
        let (done, events) = (self.done(), self.grown.events);
        if done == 0 {
            let code = self.driven.summary.errors.keys().next();
            return Err(nothing_done(code.map_or("no_time", String::as_str)));
        }
        if self.changes && events < done {
            let detail = format!("{done} transactions were proved, and the ledger has {events} new events");
            return Err(Failure::new(Exit::Integrity, "events_missing", detail));
        }
        Ok(self)
    }

    /// The one in the middle: by how much was done where that was what the network made of it, and by its latency where
    /// that was given. Of an even number, the lesser of the two.
    ///
    /// # Errors
    /// [`Failure`] of none.
    pub(super) fn median(mut runs: Vec<Self>) -> Result<Self, Failure> {
        let by = |run: &Self| if run.pace.rate.is_some() { run.ms(500).unwrap_or_default() } else { run.tps() };
        runs.sort_by(|a, b| by(a).total_cmp(&by(b)));
        let span = |of: &dyn Fn(&Self) -> f64| {
            let values = runs.iter().map(of);
            [values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max)]
        };
        let spread = (runs.len() > 1).then(|| Spread {
            runs: runs.len(),
            tps: span(&Self::tps),
            p50_ms: span(&|run| run.ms(500).unwrap_or_default()),
            p99_ms: span(&|run| run.ms(990).unwrap_or_default()),
            cpu_ms: span(&|run| run.each(run.cpu_ms())),
        });
        let middle = runs.len().saturating_sub(1) / 2;
        let median = (middle < runs.len()).then(|| runs.swap_remove(middle));
        median.map(|run| Self { spread, ..run }).ok_or_else(|| nothing_done("no_time"))
    }

    /// The same, known to be offered so much of what the network can do.
    pub(super) fn at_percent(self, percent: u32) -> Self {
        Self { percent: Some(percent), ..self }
    }

    fn done(&self) -> u64 {
        self.driven.summary.done() as u64
    }

    /// Pieces of work done a second.
    pub(super) fn tps(&self) -> f64 {
        float(self.done()) / self.driven.took.as_secs_f64()
    }

    /// A latency.
    pub(super) fn ms(&self, per_mille: usize) -> Option<f64> {
        self.driven.summary.percentile_ms(per_mille)
    }

    /// How much of what the network can do was offered.
    pub(super) const fn percent(&self) -> Option<u32> {
        self.percent
    }

    fn each(&self, total: f64) -> f64 {
        total / float(self.done())
    }

    /// Processor time of everybody who is measured.
    fn cpu_ms(&self) -> f64 {
        let nodes = self.usage.nodes.as_ref().map_or(0.0, |nodes| nodes.nodes_cpu_ms + nodes.gateways_cpu_ms);
        nodes + self.usage.clients_cpu_ms
    }

    /// What a node's ledger grew by for each transaction; of what only reads there is no such figure.
    fn bytes_each(&self) -> Option<f64> {
        let nodes = self.usage.nodes.as_ref().filter(|_| self.changes)?;
        Some(self.each(float(nodes.grown_bytes) / float(nodes.ledgers as u64)))
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        let Self { of, pace, driven, grown, usage, .. } = self;
        let (nodes, each) = (usage.nodes.as_ref(), |total: f64| rounded(Some(self.each(total))));
        json!({
            "of": of,
            "offered_tps": pace.rate,
            "offered_percent": self.percent,
            "seconds": rounded(Some(driven.took.as_secs_f64())),
            "done": self.done(),
            "events": grown.events,
            "blocks": grown.blocks,
            "tps": rounded(Some(self.tps())),
            "p50_ms": self.ms(500), "p95_ms": self.ms(950), "p99_ms": self.ms(990), "max_ms": self.ms(1000),
            "errors": driven.summary.errors.values().sum::<u64>(),
            "error_codes": driven.summary.errors,
            "cpu_ms_per_tx": each(self.cpu_ms()),
            "nodes_cpu_ms_per_tx": nodes.and_then(|nodes| each(nodes.nodes_cpu_ms)),
            "gateways_cpu_ms_per_tx": nodes.and_then(|nodes| each(nodes.gateways_cpu_ms)),
            "clients_cpu_ms_per_tx": each(usage.clients_cpu_ms),
            "others_cpu_ms": rounded(usage.others_cpu_ms),
            "bytes_per_tx": rounded(self.bytes_each()),
            "peak_rss_bytes": nodes.and_then(|nodes| nodes.peak_bytes()),
            "processes": nodes.map(|nodes| nodes.json()),
            "spread": self.spread.as_ref().map(Spread::json),
        })
    }

    fn offered(&self) -> String {
        match (self.pace.rate, self.percent) {
            (None, _) => "closed loop".to_owned(),
            (Some(rate), None) => rate.to_string(),
            (Some(rate), Some(percent)) => format!("{rate} ({percent} %)"),
        }
    }

    /// For people.
    pub(super) fn row(&self) -> Vec<String> {
        let (summary, nodes) = (&self.driven.summary, self.usage.nodes.as_ref());
        let ms = |per_mille| shown(self.ms(per_mille), 1);
        let each = |total: Option<f64>| shown(total.map(|total| self.each(total)), 3);
        vec![
            self.of.clone(),
            self.offered(),
            self.done().to_string(),
            shown(Some(self.tps()), 1),
            ms(500),
            ms(950),
            ms(990),
            ms(1000),
            summary.errors.values().sum::<u64>().to_string(),
            each(nodes.map(|nodes| nodes.nodes_cpu_ms)),
            each(nodes.map(|nodes| nodes.gateways_cpu_ms)),
            each(Some(self.usage.clients_cpu_ms)),
            shown(self.bytes_each(), 0),
        ]
    }

    /// What each process used, for people; none of a network that runs elsewhere.
    pub(super) fn processes(&self) -> Option<String> {
        let nodes = self.usage.nodes.as_ref()?;
        Some(text::table(&super::meter::NodesUsage::HEAD, nodes.rows()))
    }

    /// What else is to be said of it: how far runs lie apart, and what went wrong.
    pub(super) fn remarks(&self) -> Vec<String> {
        let Self { of, driven, spread, .. } = self;
        let run = || format!("{of}, {}", self.offered());
        let mut remarks: Vec<String> = spread.iter().map(|spread| format!("{}: {}", run(), spread.line())).collect();
        let errors = driven.summary.errors.iter().map(|(code, count)| format!("{count} {}", text::line(code)));
        let errors: Vec<String> = errors.collect();
        remarks.extend((!errors.is_empty()).then(|| format!("{}: errors: {}", run(), errors.join(", "))));
        remarks
    }

    /// How many cores of this machine others had meanwhile.
    pub(super) fn others(&self) -> Option<f64> {
        self.usage.others_cpu_ms.map(|ms| ms / 1000.0 / self.driven.took.as_secs_f64())
    }
}

impl Spread {
    fn json(&self) -> Value {
        let Self { runs, tps, p50_ms, p99_ms, cpu_ms } = self;
        let span = |span: &[f64; 2]| span.map(|value| rounded(Some(value)));
        json!({
            "runs": runs, "tps": span(tps), "p50_ms": span(p50_ms), "p99_ms": span(p99_ms),
            "cpu_ms_per_tx": span(cpu_ms),
        })
    }

    fn line(&self) -> String {
        let Self { runs, tps, p50_ms, p99_ms, cpu_ms } = self;
        let span = |[least, most]: &[f64; 2], decimals| {
            format!("{} to {}", shown(Some(*least), decimals), shown(Some(*most), decimals))
        };
        format!(
            "the median of {runs} runs, which had {} a second, p50 {} ms, p99 {} ms, {} CPU ms each",
            span(tps, 1),
            span(p50_ms, 1),
            span(p99_ms, 1),
            span(cpu_ms, 3)
        )
    }
}

fn nothing_done(code: &str) -> Failure {
    Failure::new(Exit::Unavailable, code.to_owned(), format!("nothing was done: {code}"))
}

#[expect(clippy::cast_precision_loss, reason = "figures of a report have six digits that matter, not sixteen")]
pub(super) const fn float(number: u64) -> f64 {
    number as f64
}

/// Three decimals say more than any run is worth.
pub(super) fn rounded(value: Option<f64>) -> Option<f64> {
    value.map(|value| (value * 1000.0).round() / 1000.0)
}

pub(super) fn shown(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}
