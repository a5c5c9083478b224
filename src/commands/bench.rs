//! `dmdl bench`: the load generator.

mod decrypt;
mod driver;
mod machine;
mod medical;
mod paper;
mod recorder;
mod run;
mod stage;

use super::{Report, ends::Ends, session::Globals, text};
use crate::exit::{Exit, Failure};
use clap::{Args as ClapArgs, ValueEnum};
use decrypt::Reader;
use dmdl_types::genesis::Role;
use driver::Pace;
use futures::future;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use machine::Machine;
use medical::{Clerk, Function, INVOKE, QUERY};
use run::{HEAD, Plan, Run};
use serde_json::{Value, json};
use stage::{Stage, interrupted};
use std::{io::IsTerminal as _, sync::Arc, time::Duration};
use tokio::runtime::Builder;

/// Records of each owner, where they are asked for.
const RECORDS: usize = 10;

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// What is done again and again.
    #[arg(long, value_enum, default_value_t = Workload::Invoke)]
    workload: Workload,
    /// How long a run lasts: 10 seconds, and each of the many runs of `paper` 5, if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: Option<u64>,
    /// How many a second are begun, whatever becomes of those before; as many as the clients can, if not given.
    #[arg(long, value_name = "TPS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// How many clients, each a person of their own with connections of their own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: Option<u16>,
}

/// What is done again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Transactions: `initialMedical`, `transferMedical` and `delete` in turn, each proved by its receipt.
    Invoke,
    /// Signed questions: `readMedical`, `getHistory` and `queryByOwner` in turn.
    Query,
    /// Audited decryptions, from the request to the plaintext at the requester.
    Decrypt,
    /// The source paper's Table 3: each of the six functions at 4, 8, 16 and 50 a second.
    Paper,
}

impl Workload {
    const fn name(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Query => "query",
            Self::Decrypt => "decrypt",
            Self::Paper => "paper",
        }
    }

    const fn seconds(self) -> u64 {
        if matches!(self, Self::Paper) { 5 } else { 10 }
    }

    /// Clients, unless it is said how many.
    const fn clients(self) -> u16 {
        match self {
            Self::Invoke => 128,
            Self::Query => 32,
            Self::Decrypt => 16,
            Self::Paper => 64,
        }
    }
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<Report, Failure> {
    if args.workload == Workload::Paper && args.rate.is_some() {
        let detail = "the workload `paper` has the paper's rates: leave out --rate";
        return Err(Failure::new(Exit::Usage, "conflict", detail));
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Unavailable, "unavailable", error))?;
    let running = running(globals)?;
    // From here on there is something to take down.
    let (mut ends, bar) = (Ends::catch(&runtime)?, Bar::new(globals));
    bar.note("the network comes up");
    let mut stage = running.map_or_else(|| Stage::temporary(&runtime, &mut ends), Ok)?;
    let measured = runtime.block_on(async {
        tokio::select! {
            biased;
            () = ends.any() => Err(interrupted()),
            measured = measure(args, &mut stage, &bar) => measured,
        }
    });
    bar.end();
    let head = format!("machine   {}\nnetwork   {}", Machine::this().line(), stage.line());
    let is_own = stage.is_own();
    let closed = stage.close(&runtime);
    let (measured, ()) = (measured?, closed?);
    Ok(report(args, &measured, &head, is_own))
}

/// The network that is named, if one is.
fn running(globals: &Globals) -> Result<Option<Stage>, Failure> {
    if !globals.names_network() {
        if globals.names_identity() {
            let detail = "--as acts on the network that --network names; a temporary one has people of its own";
            return Err(Failure::new(Exit::Usage, "conflict", detail));
        }
        return Ok(None);
    }
    let (pin, admin) = (globals.checked_pin()?, globals.identity()?);
    if admin.person.role != Role::Admin {
        let detail = "the load generator enrols people of its own: give an admin's key with --as";
        return Err(Failure::new(Exit::Denied, "role", detail));
    }
    let at = globals.endpoint(&pin)?;
    Ok(Some(Stage::running(pin.genesis, at, admin)))
}

/// What was measured: runs, and the averages where there are any.
struct Measured {
    runs: Vec<Run>,
    averages: Option<(String, Value)>,
}

async fn measure(args: &Args, stage: &mut Stage, bar: &Bar) -> Result<Measured, Failure> {
    let Args { workload, seconds, rate, clients } = *args;
    let lasts = Duration::from_secs(seconds.unwrap_or(workload.seconds()));
    let clients = usize::from(clients.unwrap_or(workload.clients()));
    let pace = Pace { lasts, rate };
    bar.note("people are enrolled");
    let tell = |of: &str, at: Duration, done| bar.at(of, at, lasts, done);
    let of_names = |functions: &[Function]| functions.iter().map(|f| f.name()).collect::<Vec<_>>().join(" ");
    let run = match workload {
        Workload::Invoke => {
            // A record is given to another owner: one alone has nobody to give it to.
            let owners = stage.enrol(Role::Owner, clients.max(2)).await?;
            let mut clerks = Clerk::all(&owners, &INVOKE);
            clerks.truncate(clients);
            let plan = Plan { of: of_names(&INVOKE), pace, changes: true };
            Run::of(stage, clerks, plan, &|at, done| tell("invoke", at, done)).await?
        }
        Workload::Query => {
            let owners = stage.enrol(Role::Owner, clients).await?;
            let clerks = Clerk::all(&owners, &QUERY);
            bar.note("records are entered");
            paper::stock(&clerks, RECORDS).await?;
            let plan = Plan { of: of_names(&QUERY), pace, changes: false };
            Run::of(stage, clerks, plan, &|at, done| tell("query", at, done)).await?
        }
        Workload::Decrypt => {
            let owner = stage.enrol(Role::Owner, 1).await?;
            let researchers = stage.enrol(Role::Researcher, clients).await?;
            bar.note("a record is sealed, and access to it granted");
            let owner = owner.first().ok_or_else(|| Failure::new(Exit::Internal, "internal", "nobody is enrolled"))?;
            let record = Arc::new(decrypt::register(owner).await?);
            let granted = researchers.into_iter().map(|person| Reader::with_grant(person, Arc::clone(&record)));
            let readers = future::try_join_all(granted).await?;
            let plan = Plan { of: "decrypt".to_owned(), pace, changes: true };
            Run::of(stage, readers, plan, &|at, done| tell("decrypt", at, done)).await?
        }
        Workload::Paper => {
            let owners = stage.enrol(Role::Owner, clients.max(2)).await?;
            let paper::Measured { runs, averages } = paper::measure(stage, &owners, lasts, &tell).await?;
            return Ok(Measured { averages: Some((averages.table(), averages.json())), runs });
        }
    };
    Ok(Measured { runs: vec![run], averages: None })
}

fn report(args: &Args, measured: &Measured, head: &str, is_own: bool) -> Report {
    let Measured { runs, averages } = measured;
    let of_whom = if is_own { "nodes, gateway and clients together" } else { "the clients alone" };
    let mut parts = vec![format!("workload  {}\n{head}", args.workload.name())];
    parts.push(text::table(&HEAD, runs.iter().map(Run::row)));
    let errors: Vec<String> = runs.iter().filter_map(Run::errors).collect();
    parts.extend((!errors.is_empty()).then(|| errors.join("\n")));
    if let Some((table, _)) = averages {
        parts.push(format!("{table}\n{}", paper::THEIRS));
    }
    parts.push(format!("Processor time is that of {of_whom}; bytes are what a node's folder grew by."));
    let mut json = json!({
        "workload": args.workload.name(),
        "machine": Machine::this().json(),
        "network": { "temporary": is_own },
        "cpu_of": if is_own { "nodes, gateway, clients" } else { "clients" },
        "runs": runs.iter().map(Run::json).collect::<Vec<_>>(),
    });
    if let (Some(members), Some((_, averages))) = (json.as_object_mut(), averages) {
        members.insert("averages".to_owned(), averages.clone());
    }
    Report { text: parts.join("\n\n"), json, exit: Exit::Ok }
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
