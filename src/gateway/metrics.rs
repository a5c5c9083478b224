//! What a gateway counts, for Prometheus. No label has a value that a caller chose.

use super::{Shared, admission::Figures, table::Routes};
use axum::{extract::State, http::header, response::IntoResponse};
use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Classes of statuses, by their first digit.
const CLASSES: usize = 6;

/// The counters of a gateway.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// A route's answers by class; the last one is for what is no route.
    answers: Vec<[AtomicU64; CLASSES]>,
    in_flight: AtomicU64,
    refused: AtomicU64,
    /// Requests that were refused for now: because of whose they are, and because of all others.
    shed: [AtomicU64; 2],
}

/// A request that is being worked at, until dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Shared>);

impl Metrics {
    pub(super) fn new(routes: &Routes) -> Self {
        let answers = (0..=routes.templates().count()).map(|_| Default::default()).collect();
        Self { answers, in_flight: AtomicU64::new(0), refused: AtomicU64::new(0), shed: Default::default() }
    }

    /// Counts an answer.
    pub(super) fn answered(&self, route: Option<usize>, status: u16) {
        let classes = route.and_then(|number| self.answers.get(number)).or_else(|| self.answers.last());
        let class = classes.and_then(|classes| classes.get(usize::from(status / 100)));
        class.map(|class| class.fetch_add(1, Relaxed));
        let [own, all] = &self.shed;
        match status {
            429 => _ = own.fetch_add(1, Relaxed),
            503 => _ = all.fetch_add(1, Relaxed),
            _ => {}
        }
    }

    /// Counts a connection for which there was no place.
    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    fn print(&self, routes: &Routes, gauges: &[(&str, &str, u64)]) -> String {
        let mut text = String::new();
        let help = "# HELP dmdl_http_requests_total Requests answered.\n# TYPE dmdl_http_requests_total counter\n";
        text.push_str(help);
        for (route, classes) in routes.templates().chain(["none"]).zip(&self.answers) {
            for (class, count) in classes.iter().enumerate() {
                let count = count.load(Relaxed);
                if count > 0 {
                    // Writing to a string does not fail.
                    let _ =
                        writeln!(text, "dmdl_http_requests_total{{route=\"{route}\",status=\"{class}xx\"}} {count}");
                }
            }
        }
        let refused =
            ("dmdl_http_connections_refused_total", "Connections without a place.", self.refused.load(Relaxed));
        let in_flight = ("dmdl_http_in_flight", "Requests being worked at.", self.in_flight.load(Relaxed));
        let [own, all] = self.shed.each_ref().map(|count| count.load(Relaxed));
        let own = ("dmdl_http_refused_429_total", "Requests refused because their key asks for too much.", own);
        let all = ("dmdl_http_refused_503_total", "Requests refused because this node cannot help now.", all);
        for (name, help, value) in [refused, in_flight, own, all].iter().chain(gauges) {
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        text
    }
}

impl InFlight {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        shared.metrics.in_flight.fetch_add(1, Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.in_flight.fetch_sub(1, Relaxed);
    }
}

/// The counters, as Prometheus reads them.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    responses((status = 200, description = "Counters in Prometheus' text format", body = String, content_type = "text/plain")),
)]
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let channel = shared.host.first().channel();
    let (tip, space) = (channel.tip(), shared.host.space());
    let Figures { window, on_their_way, idle } = shared.admission.figures();
    let gauges = [
        ("dmdl_transactions_window", "Transactions that may be on their way from here.", window as u64),
        ("dmdl_transactions_on_their_way", "Transactions on their way from here.", on_their_way as u64),
        (
            "dmdl_transactions_idle_ms",
            "Milliseconds that a transaction takes when there are few.",
            u64::try_from(idle.as_millis()).unwrap_or(u64::MAX),
        ),
        ("dmdl_pool_transactions", "Transactions that wait to be ordered.", channel.waiting_transactions() as u64),
        ("dmdl_http_connections", "Connections.", shared.connections.count() as u64),
        ("dmdl_channel_height", "Height of the newest executed block.", tip.height.get()),
        (
            "dmdl_channel_turns_lost_total",
            "Turns to propose that came to nothing, since the start.",
            channel.turns_lost(),
        ),
        ("dmdl_audit_log_size", "Leaves of the audit log.", tip.size),
        ("dmdl_storage_free_bytes", "Free bytes on the disk of the node.", space.free_bytes()),
        ("dmdl_storage_full", "1 while the disk is full and the node only reads.", space.is_full().into()),
        ("dmdl_uploads_staged_bytes", "Bytes of unfinished uploads.", shared.uploads.staged_bytes()),
    ];
    let text = shared.metrics.print(&shared.routes, &gauges);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
