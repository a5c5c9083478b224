//! The measurement of the source paper, repeated: each of its six functions at each of its four rates.
//!
//! # Source
//! "Secure Model of Medical Data Sharing for Complex Scenarios", tables 2 and 3

use super::{
    super::text,
    driver::Pace,
    medical::{Clerk, Function, INVOKE, QUERY},
    run::{Crew, Run, float, rounded, shown},
    stage::{Person, Stage},
};
use crate::exit::Failure;
use dmdl_types::id::Height;
use futures::future;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// What the paper's table 3 says: requests a second, and what it counted of queries and invocations.
const TABLE: [(u32, u32, u32); 4] = [(4, 4, 4), (8, 8, 8), (16, 16, 16), (50, 40, 39)];
/// What it was measured on, by the paper's table 2 and the text before it.
pub(super) const THEIRS: &str = "The paper's figures are those of its Table 3: Hyperledger Fabric 1.0, 1 orderer (solo), 2 peers, a block every 2 s or \
     10 messages, on one 3.2 GHz CPU with 4 GB of memory.";

/// All runs, in the order of rates and functions, and their averages.
pub(super) struct Measured {
    pub(super) runs: Vec<Run>,
    pub(super) averages: Averages,
}

/// The averages at each rate.
#[derive(Default)]
pub(super) struct Averages(Vec<Average>);

/// The averages at one rate, ours beside the paper's.
struct Average {
    offered: u32,
    query: (f64, u32),
    invoke: (f64, u32),
}

/// Measures everything, with these owners of each channel; a run lasts as long as told, and is made so many times.
pub(super) async fn measure(
    stage: &mut Stage,
    owners: &[Vec<Arc<Person>>],
    lasts: Duration,
    times: usize,
    tell: &(dyn Fn(&str, Duration, u64) + Sync),
) -> Result<Measured, Failure> {
    let mut measured = Measured { runs: Vec::new(), averages: Averages::default() };
    for (offered, queried, invoked) in TABLE {
        let pace = Pace { lasts, rate: Some(offered) };
        let mut rates = [0.0; 2];
        for (functions, rate) in [QUERY, INVOKE].iter().zip(&mut rates) {
            for function in functions {
                let mut runs = Vec::new();
                for _ in 0..times {
                    runs.push(one(stage, owners, *function, pace, tell).await?);
                }
                let run = Run::median(runs)?;
                *rate += run.tps() / float(functions.len() as u64);
                measured.runs.push(run);
            }
        }
        let [query, invoke] = rates;
        measured.averages.0.push(Average { offered, query: (query, queried), invoke: (invoke, invoked) });
    }
    Ok(measured)
}

async fn one(
    stage: &mut Stage,
    owners: &[Vec<Arc<Person>>],
    function: Function,
    pace: Pace,
    tell: &(dyn Fn(&str, Duration, u64) + Sync),
) -> Result<Run, Failure> {
    let clerks: Vec<Clerk> = owners.iter().flat_map(|owners| Clerk::all(owners, &[function])).collect();
    // As many as will be given away or deleted, and one for each clerk to begin with.
    let needed = if function.changes() { pace.due().unwrap_or_default() } else { 0 };
    let each = usize::try_from(needed).unwrap_or(usize::MAX).div_ceil(clerks.len().max(1)) + 1;
    if function != Function::InitialMedical {
        stock(&clerks, each).await?;
        // What was entered at one gateway is asked for at another.
        stage.settle(Height::new(0)).await?;
    }
    let mut crew = Crew::ready(function.name().to_owned(), function.changes(), clerks).await?;
    crew.run(stage, pace, 1, &|at, done| tell(function.name(), at, done)).await
}

/// Has each clerk enter so many records.
pub(super) async fn stock(clerks: &[Clerk], each: usize) -> Result<(), Failure> {
    let stocked = future::try_join_all(clerks.iter().map(|clerk| clerk.stock(each))).await;
    let failed = |failure: Failure| Failure { detail: format!("records to begin with: {}", failure.detail), ..failure };
    stocked.map(drop).map_err(failed)
}

impl Averages {
    /// The averages, for people.
    pub(super) fn table(&self) -> String {
        let rows = self.0.iter().map(|average| {
            let Average { offered, query, invoke } = average;
            let ours = |tps| shown(Some(tps), 1);
            vec![offered.to_string(), ours(query.0), query.1.to_string(), ours(invoke.0), invoke.1.to_string()]
        });
        text::table(&["OFFERED/S", "QUERY TPS", "THE PAPER'S", "INVOKE TPS", "THE PAPER'S"], rows)
    }

    /// The averages, for machines.
    pub(super) fn json(&self) -> Value {
        let average = |average: &Average| {
            let Average { offered, query, invoke } = average;
            json!({
                "offered_tps": offered,
                "query_tps": rounded(Some(query.0)), "paper_query_tps": query.1,
                "invoke_tps": rounded(Some(invoke.0)), "paper_invoke_tps": invoke.1,
            })
        };
        self.0.iter().map(average).collect()
    }
}
