//! What is measured: whoever does the work is made ready, and works.

use super::{
    Bar,
    args::{Args, Workload},
    decrypt::{self, Reader},
    driver::{Pace, Worker},
    medical::{Clerk, Function, INVOKE, QUERY},
    paper,
    run::{Crew, Run},
    stage::{Person, Stage},
    sweep::sweep,
};
use crate::exit::{Exit, Failure};
use dmdl_types::{genesis::Role, id::Height};
use futures::future;
use serde_json::Value;
use std::sync::Arc;

/// Records of each owner, where they are asked for.
const RECORDS: usize = 10;

/// What was measured: runs, and the averages where there are any.
pub(super) struct Measured {
    pub(super) runs: Vec<Run>,
    pub(super) averages: Option<(String, Value)>,
    /// How many events the ledgers have in the end.
    pub(super) events: u64,
}

/// Measures what was asked for.
pub(super) async fn measure(args: &Args, stage: &mut Stage, bar: &Bar) -> Result<Measured, Failure> {
    bar.note("people get ready");
    let runs = match args.workload {
        Workload::Invoke => {
            let owners = owners(args, stage).await?;
            let clerks = clerks(&owners, &INVOKE, args);
            runs(args, stage, bar, (of_names(&INVOKE), true), clerks).await?
        }
        Workload::Query => {
            let owners = owners(args, stage).await?;
            let clerks = clerks(&owners, &QUERY, args);
            bar.note("records are entered");
            paper::stock(&clerks, RECORDS).await?;
            runs(args, stage, bar, (of_names(&QUERY), false), clerks).await?
        }
        Workload::Decrypt => {
            bar.note("a record is sealed, and access to it granted");
            let readers = readers(args, stage).await?;
            runs(args, stage, bar, ("decrypt".to_owned(), true), readers).await?
        }
        Workload::Paper => {
            let owners = owners(args, stage).await?;
            let (lasts, tell) = (args.lasts(), |of: &str, at, done| bar.at(of, at, args.lasts(), done));
            let paper::Measured { runs, averages } = paper::measure(stage, &owners, lasts, args.times(), &tell).await?;
            let (averages, events) = (Some((averages.table(), averages.json())), stage.extent().await?.events);
            return Ok(Measured { runs, averages, events });
        }
    };
    Ok(Measured { runs, averages: None, events: stage.extent().await?.events })
}

/// All runs of one workload.
async fn runs<W: Worker>(
    args: &Args,
    stage: &mut Stage,
    bar: &Bar,
    (of, changes): (String, bool),
    workers: Vec<W>,
) -> Result<Vec<Run>, Failure> {
    // What was entered at one gateway is asked for at another.
    stage.settle(Height::new(0)).await?;
    let (lasts, times, name) = (args.lasts(), args.times(), args.workload.name());
    let mut crew = Crew::ready(of, changes, workers).await?;
    if args.sweep {
        let tell = |of: &str, at, done| bar.at(&format!("{name}, {of}"), at, lasts, done);
        return sweep(&mut crew, stage, lasts, times, &tell).await;
    }
    let pace = Pace { lasts, rate: args.rate };
    Ok(vec![crew.run(stage, pace, times, &|at, done| bar.at(name, at, lasts, done)).await?])
}

/// Owners of each channel: at least two, since one alone has nobody to give a record to.
async fn owners(args: &Args, stage: &mut Stage) -> Result<Vec<Vec<Arc<Person>>>, Failure> {
    let mut owners = Vec::new();
    for (channel, count) in args.clients_of(stage.channels()).enumerate() {
        owners.push(stage.people(channel, Role::Owner, count.max(2)).await?);
    }
    Ok(owners)
}

/// As many clerks of each channel as there are clients of it.
fn clerks(owners: &[Vec<Arc<Person>>], turns: &[Function], args: &Args) -> Vec<Clerk> {
    let of_channel = |(owners, count): (&Vec<Arc<Person>>, usize)| Clerk::all(owners, turns).into_iter().take(count);
    owners.iter().zip(args.clients_of(owners.len())).flat_map(of_channel).collect()
}

/// Researchers of each channel, with a grant to open one record of it.
async fn readers(args: &Args, stage: &mut Stage) -> Result<Vec<Reader>, Failure> {
    let mut readers = Vec::new();
    for (channel, count) in args.clients_of(stage.channels()).enumerate() {
        let owner = stage.people(channel, Role::Owner, 1).await?;
        let owner = owner.first().ok_or_else(|| Failure::new(Exit::Internal, "internal", "nobody is an owner"))?;
        let record = Arc::new(decrypt::register(owner).await?);
        let researchers = stage.people(channel, Role::Researcher, count).await?;
        stage.settle(Height::new(0)).await?;
        let granted = researchers.into_iter().map(|person| Reader::with_grant(person, Arc::clone(&record)));
        readers.extend(future::try_join_all(granted).await?);
    }
    Ok(readers)
}

fn of_names(functions: &[Function]) -> String {
    functions.iter().map(|function| function.name()).collect::<Vec<_>>().join(" ")
}
