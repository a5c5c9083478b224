//! `dmdl demo`: the whole story, in one process, on this machine.

use super::{
    Report,
    story::{self, StoryError},
};
use crate::exit::{Exit, Failure};
use clap::Args as ClapArgs;
use serde_json::json;
use std::{fs, io::Write as _, path::PathBuf, time::Instant};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Where the exported trail and the pinned network are left.
    #[arg(long, value_name = "DIR", default_value = "dmdl-demo")]
    dir: PathBuf,
    /// Keep the nodes' folders too.
    #[arg(long)]
    keep: bool,
    /// A folder with records to share; without it, small made-up ones are used.
    #[arg(long, value_name = "DIR", env = "DMDL_SAMPLES")]
    samples: Option<PathBuf>,
}

pub(super) fn run(args: &Args, quiet: bool) -> Result<Report, Failure> {
    let records = story::records(args.samples.as_deref()).map_err(|error| failure(&error))?;
    fs::create_dir_all(&args.dir).map_err(|error| {
        Failure::new(Exit::Storage, "storage", format!("cannot make `{}`: {error}", args.dir.display()))
    })?;
    let begun = Instant::now();
    let tell = move |line: &str| {
        if !quiet {
            // The reader may have gone away; the story goes on to its end all the same.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    };
    let told = story::tell(&args.dir, records, &tell);
    if !args.keep {
        // What is left behind is the evidence, not the nodes; a leftover folder harms nobody.
        let _ = fs::remove_dir_all(args.dir.join("nodes"));
    }
    let told = told.map_err(|error| failure(&error))?;
    let seconds = begun.elapsed().as_secs_f64();
    let text = format!(
        "\nDone in {seconds:.1} s. The trail is in {}; verify it yourself:\n  dmdl audit verify {} --network {}",
        args.dir.display(),
        told.bundle.display(),
        told.network.display(),
    );
    let json = json!({
        "bundle": told.bundle,
        "network": told.network,
        "records": told.records,
        "events": told.events,
        "seconds": seconds,
    });
    Ok(Report { text, json, exit: Exit::Ok })
}

fn failure(error: &StoryError) -> Failure {
    let (exit, code) = match error {
        StoryError::Samples { .. } => (Exit::Configuration, "samples"),
        StoryError::Storage(_) => (Exit::Storage, "storage"),
        StoryError::Surprise(_) => (Exit::Internal, "internal"),
        _ => (Exit::Unavailable, "unavailable"),
    };
    Failure::new(exit, code, error)
}
