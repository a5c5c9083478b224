//! The command line.

mod audit;
mod demo;
mod story;

use crate::exit::{Exit, Failure};
use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use std::{io::Write as _, path::PathBuf, process::ExitCode};

/// Shares medical records without trusting any single party with them.
#[derive(Debug, Parser)]
#[command(name = "dmdl", version, about, arg_required_else_help = true)]
struct Cli {
    /// Print one JSON document on stdout, for errors too.
    #[arg(long, global = true)]
    json: bool,
    /// The pinned network, as `dmdl demo` writes it.
    #[arg(long, global = true, value_name = "FILE", env = "DMDL_NETWORK")]
    network: Option<PathBuf>,
    /// Say nothing but the result.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tells the whole story on this machine: four organisations, real records, a request, a denial,
    /// a revocation, an audit trail.
    #[command(
        after_help = "Example:\n  dmdl demo --dir demo\n  dmdl audit verify demo/trail.bundle --network demo/network.toml"
    )]
    Demo(demo::Args),
    /// The audit trail.
    #[command(subcommand)]
    Audit(audit::Command),
}

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    start_log(cli.verbose, cli.quiet);
    let pin = cli.network.as_deref();
    let result = match &cli.command {
        Command::Demo(args) => demo::run(args, cli.quiet || cli.json),
        Command::Audit(command) => audit::run(command, pin),
    };
    match result {
        Ok(report) => finish(&report.text, &report.json, cli.json, report.exit),
        Err(failure) => fail(&failure, cli.json),
    }
}

/// What a command has to say, for people and for machines.
#[derive(Debug)]
struct Report {
    text: String,
    json: Value,
    exit: Exit,
}

/// Logs go to stderr; nothing secret is ever in them.
fn start_log(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        // The engine's own words are for whoever looks into it.
        (true, _) => "off,dmdl=error,dmdl_audit_ledger=error",
        (false, 0) => "off,dmdl=warn,dmdl_audit_ledger=warn",
        (false, 1) => "warn,dmdl=info,dmdl_audit_ledger=info",
        (false, _) => "info,dmdl=debug,dmdl_audit_ledger=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("DMDL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

fn finish(text: &str, json: &Value, as_json: bool, exit: Exit) -> ExitCode {
    let text = if as_json { json.to_string() } else { text.to_owned() };
    if !text.is_empty() {
        // A reader that has gone away, as in `dmdl … | head -1`, is no failure of ours.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
    ExitCode::from(exit as u8)
}

fn fail(failure: &Failure, as_json: bool) -> ExitCode {
    let Failure { exit, code, detail } = failure;
    if as_json {
        let error = json!({ "error": { "code": code, "detail": detail, "exit": *exit as u8 } });
        let _ = writeln!(std::io::stdout(), "{error}");
    } else {
        let _ = writeln!(std::io::stderr(), "dmdl: {detail}");
    }
    ExitCode::from(*exit as u8)
}

fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args().any(|arg| arg == "--json") {
        let line = error.to_string();
        let detail = line.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        return fail(&Failure::new(Exit::Usage, "usage", detail), true);
    }
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { Exit::Ok as u8 })
}
