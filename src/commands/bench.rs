//! `dmdl bench`: the load generator.
//!
//! What is measured is a [`stage`]: a network of our own, whose nodes are processes, or one that runs already. People on
//! it do a [`work`]load, driven in a closed loop or at a rate ([`driver`]), and a [`run`] says what that came to: what
//! clients saw ([`recorder`]), and what it took ([`meter`]).
//!
//! # Source
//! docs/performance.md

mod args;
mod decrypt;
mod driver;
mod files;
mod insist;
mod machine;
mod medical;
mod meter;
mod own;
mod paper;
mod plot;
mod processes;
mod recorder;
mod run;
mod stage;
mod sweep;
mod work;

pub(super) use args::Args;

use super::{Report, ends::Ends, output::NewFile, session::Globals, text};
use crate::{
    exit::{Exit, Failure},
    gateway::raise_open_files,
    local::wall_clock,
};
use dmdl_types::{genesis::Role, id::UnixMillis};
use files::AtRest;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use machine::Machine;
use meter::CLIENT_THREADS;
use own::interrupted;
use plot::Plot;
use run::{HEAD, LEGEND, Run};
use serde_json::{Value, json};
use stage::Stage;
use std::{io::IsTerminal as _, thread, time::Duration};
use tokio::runtime::{Builder, Runtime};
use work::{Measured, measure};

pub(super) fn run(args: &Args, globals: &Globals) -> Result<Report, Failure> {
    args.check(globals)?;
    // Before anything is measured: a file that cannot be written is told at once.
    let plot = args.plot.as_deref().map(NewFile::create).transpose()?;
    // Each client has a connection at least.
    raise_open_files();
    let runtime = clients().map_err(|error| Failure::new(Exit::Unavailable, "unavailable", error))?;
    let running = running(args, globals)?;
    // From here on there is something to take down.
    let (mut ends, bar, began) = (Ends::catch(&runtime)?, Bar::new(globals), wall_clock().now());
    bar.note("the network comes up");
    let temporary = || Stage::temporary(&runtime, &mut ends, &args.shape(), args.cast(), args.sign_each);
    let mut stage = running.map_or_else(temporary, Ok)?;
    let measured = runtime.block_on(async {
        tokio::select! {
            biased;
            () = ends.any() => Err(interrupted()),
            measured = measure(args, &mut stage, &bar) => measured,
        }
    });
    bar.end();
    let (line, network, is_own) = (stage.line(), stage.json(), stage.is_own());
    let closed = stage.close(&runtime, measured.is_ok() && args.changes());
    let (measured, at_rest) = (measured?, closed?);
    let told = Told { began, line, network, is_own, at_rest };
    if let Some(file) = plot {
        file.whole(told.plot(args, &measured).svg().as_bytes())?;
    }
    Ok(told.report(args, &measured))
}

/// Threads for the clients: no more than half of the cores, since nodes need the others.
fn clients() -> std::io::Result<Runtime> {
    let half = thread::available_parallelism().map_or(1, usize::from) / 2;
    Builder::new_multi_thread().worker_threads(half.max(1)).thread_name(CLIENT_THREADS).enable_all().build()
}

/// The network that is named, if one is.
fn running(args: &Args, globals: &Globals) -> Result<Option<Stage>, Failure> {
    if !globals.names_network() {
        return Ok(None);
    }
    let (pin, admin) = (globals.checked_pin()?, globals.identity()?);
    if admin.person.role != Role::Admin {
        let detail = "the load generator enrols people of its own: give an admin's key with --as";
        return Err(Failure::new(Exit::Denied, "role", detail));
    }
    let mut gateways = globals.endpoints(&pin)?;
    match args.gateways() {
        Some(wanted) if wanted > gateways.len() => {
            let detail = format!("only {} gateways are known: give fewer --gateways", gateways.len());
            return Err(Failure::new(Exit::Usage, "conflict", detail));
        }
        Some(wanted) => gateways.truncate(wanted),
        None => {}
    }
    Stage::running(pin.genesis, gateways, admin, args.sign_each).map(Some)
}

/// What is told beside the figures: they mean nothing without it.
struct Told {
    began: UnixMillis,
    line: String,
    network: Value,
    is_own: bool,
    at_rest: Option<AtRest>,
}

impl Told {
    fn report(&self, args: &Args, measured: &Measured) -> Report {
        let Measured { runs, averages, events } = measured;
        let requests = if args.sign_each { "each signed" } else { "in sessions of a signature each" };
        let head = format!(
            "workload  {}, {} clients, requests {requests}\nmachine   {}\nnetwork   {}\nbegan     {}",
            args.workload.name(),
            args.clients(),
            Machine::this().line(),
            self.line,
            text::time(self.began.get())
        );
        let mut parts = vec![head, text::table(&HEAD, runs.iter().map(Run::row))];
        let mut remarks: Vec<String> = runs.iter().flat_map(Run::remarks).collect();
        // A tenth of a core is what looks at a machine that is at rest.
        let others = runs.iter().filter_map(Run::others).fold(0.0, f64::max);
        remarks
            .extend((others > 0.1).then(|| format!("Others had up to {others:.1} cores of this machine meanwhile.")));
        parts.extend((!remarks.is_empty()).then(|| remarks.join("\n")));
        let busiest = runs.iter().max_by(|a, b| a.tps().total_cmp(&b.tps()));
        parts.extend(busiest.and_then(Run::processes));
        if let Some((table, _)) = averages {
            parts.push(format!("{table}\n{}", paper::THEIRS));
        }
        parts.push(LEGEND.to_owned());
        parts.extend(self.at_rest.map(|at_rest| at_rest.line(*events)));
        Report { text: parts.join("\n\n"), json: self.json(args, measured), exit: Exit::Ok }
    }

    fn json(&self, args: &Args, Measured { runs, averages, events }: &Measured) -> Value {
        let mut json = json!({
            "workload": args.workload.name(),
            "machine": Machine::this().json(),
            "began": text::time(self.began.get()),
            "network": self.network,
            "clients": args.clients(),
            "sessions": !args.sign_each,
            "cpu_of": if self.is_own { "nodes, gateways, clients" } else { "clients" },
            "saturation_tps": args.sweep.then(|| runs.first().map(|run| run::rounded(Some(run.tps())))),
            "runs": runs.iter().map(Run::json).collect::<Vec<_>>(),
            "at_rest": self.at_rest.map(|at_rest| at_rest.json(*events)),
        });
        if let (Some(members), Some((_, averages))) = (json.as_object_mut(), averages) {
            members.insert("averages".to_owned(), averages.clone());
        }
        json
    }

    fn plot(&self, args: &Args, measured: &Measured) -> Plot {
        let title = format!("dmdl bench, {}: latency against throughput", args.workload.name());
        let below = [format!("{}, {}", text::time(self.began.get()), self.line), Machine::this().line()];
        Plot::of(title, below, &measured.runs)
    }
}

/// How far it is, on stderr, where somebody looks.
struct Bar(ProgressBar);

impl Bar {
    fn new(globals: &Globals) -> Self {
        let shown = !globals.quiet && !globals.json && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(1), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn note(&self, what: &'static str) {
        self.0.set_position(0);
        self.0.set_message(what);
    }

    fn at(&self, of: &str, at: Duration, lasts: Duration, done: u64) {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.0.set_length(ms(lasts));
        self.0.set_position(ms(at.min(lasts)));
        self.0.set_message(format!("{of}: {done} done"));
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}
