//! One run: workers driven at one pace on one network, and what that came to.

use super::{
    super::text,
    driver::{self, Driven, Pace, Worker},
    machine::{bytes_under, cpu_ms},
    stage::Stage,
};
use crate::exit::{Exit, Failure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use std::time::Duration;

/// What a run is of.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The functions that are called, by name.
    pub(super) of: String,
    /// For how long, and how fast.
    pub(super) pace: Pace,
    /// Whether each piece of work is a transaction.
    pub(super) changes: bool,
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct Run {
    plan: Plan,
    driven: Driven,
    events: u64,
    cpu_ms: Option<f64>,
    bytes_a_node: Option<f64>,
}

/// The head of the rows of [`Run::row`].
pub(super) const HEAD: [&str; 10] =
    ["OF", "OFFERED/S", "DONE", "TPS", "P50 MS", "P95 MS", "P99 MS", "ERRORS", "CPU MS EACH", "BYTES EACH"];

impl Run {
    /// Runs a plan. Each worker does one piece of work before the clock starts, so that no connection is
    /// made while it runs.
    ///
    /// # Errors
    /// [`Failure`] when nothing at all was done, or the ledger has fewer new events than transactions that
    /// were proved.
    pub(super) async fn of<W: Worker>(
        stage: &Stage,
        mut workers: Vec<W>,
        plan: Plan,
        tell: &(dyn Fn(Duration, u64) + Sync),
    ) -> Result<Self, Failure> {
        let first = stream::iter(&mut workers).map(Worker::step).buffer_unordered(usize::MAX);
        first.try_collect::<()>().await.map_err(|code| nothing_done(&code))?;
        let (nodes, grown) = (stage.nodes(), |from: Option<u64>, to: Option<u64>| Some(to?.saturating_sub(from?)));
        let bytes = || nodes.as_deref().map(bytes_under);
        let before = (stage.events().await?, bytes(), cpu_ms());
        let driven = driver::drive(workers, plan.pace, tell).await;
        let after = (cpu_ms(), bytes(), stage.events().await?);
        let run = Self {
            events: after.2.saturating_sub(before.0),
            cpu_ms: before.2.zip(after.0).map(|(from, to)| to - from),
            bytes_a_node: grown(before.1, after.1).map(|bytes| float(bytes) / float(stage.nodes_count() as u64)),
            plan,
            driven,
        };
        run.check()
    }

    fn check(self) -> Result<Self, Failure> {
        let done = self.driven.summary.done();
        if done == 0 {
            let code = self.driven.summary.errors.keys().next();
            return Err(nothing_done(code.map_or("no_time", String::as_str)));
        }
        if self.plan.changes && self.events < done as u64 {
            let detail = format!("{done} transactions were proved, and the ledger has {} new events", self.events);
            return Err(Failure::new(Exit::Integrity, "events_missing", detail));
        }
        Ok(self)
    }

    /// Pieces of work done a second.
    pub(super) fn tps(&self) -> f64 {
        float(self.driven.summary.done() as u64) / self.driven.took.as_secs_f64()
    }

    fn each(&self, total: Option<f64>) -> Option<f64> {
        total.map(|total| total / float(self.driven.summary.done() as u64))
    }

    /// What a node's folder grew by for each transaction; of what only reads there is no such figure.
    fn bytes_each(&self) -> Option<f64> {
        self.each(self.bytes_a_node).filter(|_| self.plan.changes)
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        let Self { plan, driven, events, cpu_ms, .. } = self;
        let summary = &driven.summary;
        let at = |per_mille| summary.percentile_ms(per_mille);
        json!({
            "of": plan.of,
            "offered_tps": plan.pace.rate,
            "seconds": rounded(Some(driven.took.as_secs_f64())),
            "done": summary.done(),
            "events": events,
            "tps": rounded(Some(self.tps())),
            "p50_ms": at(500), "p95_ms": at(950), "p99_ms": at(990), "max_ms": at(1000),
            "errors": summary.errors.values().sum::<u64>(),
            "error_codes": summary.errors,
            "cpu_ms_per_tx": rounded(self.each(*cpu_ms)),
            "bytes_per_tx": rounded(self.bytes_each()),
        })
    }

    /// For people.
    pub(super) fn row(&self) -> Vec<String> {
        let summary = &self.driven.summary;
        let ms = |per_mille| shown(summary.percentile_ms(per_mille), 1);
        vec![
            self.plan.of.clone(),
            self.plan.pace.rate.map_or_else(|| "closed loop".to_owned(), |rate| rate.to_string()),
            summary.done().to_string(),
            shown(Some(self.tps()), 1),
            ms(500),
            ms(950),
            ms(990),
            summary.errors.values().sum::<u64>().to_string(),
            shown(self.each(self.cpu_ms), 2),
            shown(self.bytes_each(), 0),
        ]
    }

    /// What went wrong, by its code; none when nothing did.
    pub(super) fn errors(&self) -> Option<String> {
        let counted = self.driven.summary.errors.iter().map(|(code, count)| format!("{count} {}", text::line(code)));
        let counted: Vec<String> = counted.collect();
        (!counted.is_empty()).then(|| format!("errors of {}: {}", self.plan.of, counted.join(", ")))
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
