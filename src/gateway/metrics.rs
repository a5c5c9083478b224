//! What a gateway counts, for Prometheus. No label has a value that a caller chose.

use super::{Shared, table::Routes};
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
}

/// A request that is being worked at, until dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Shared>);

impl Metrics {
    pub(super) fn new(routes: &Routes) -> Self {
        let answers = (0..=routes.templates().count()).map(|_| Default::default()).collect();
        Self { answers, in_flight: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    /// Counts an answer.
    pub(super) fn answered(&self, route: Option<usize>, status: u16) {
        let classes = route.and_then(|number| self.answers.get(number)).or_else(|| self.answers.last());
        let class = classes.and_then(|classes| classes.get(usize::from(status / 100)));
        class.map(|class| class.fetch_add(1, Relaxed));
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
        for (name, help, value) in [refused, in_flight].iter().chain(gauges) {
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
    let tip = shared.host.first().channel().tip();
    let gauges = [
        ("dmdl_http_connections", "Connections.", shared.connections.count() as u64),
        ("dmdl_channel_height", "Height of the newest executed block.", tip.height.get()),
        ("dmdl_audit_log_size", "Leaves of the audit log.", tip.size),
        ("dmdl_uploads_staged_bytes", "Bytes of unfinished uploads.", shared.uploads.staged_bytes()),
    ];
    let text = shared.metrics.print(&shared.routes, &gauges);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
