//! The command line.

mod access;
mod audit;
mod backup;
mod bench;
mod channel;
mod completions;
mod contract;
mod crypt4gh;
mod custodian;
mod demo;
mod ends;
mod failure;
mod fault;
mod id;
mod network;
mod node;
mod output;
mod policy;
mod progress;
mod record;
mod session;
mod status;
mod story;
mod text;
mod up;

use crate::exit::{Exit, Failure};
use clap::{CommandFactory as _, Parser, Subcommand};
use serde_json::{Value, json};
use session::Globals;
use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

/// What scripts go by; [`Exit`] has the same list.
const EXIT_CODES: &str = "Exit codes: 0 well, 2 usage, 3 denied, 4 not found, 5 not what it should be, 6 unavailable, \
7 configuration or permissions, 70 a bug, 74 storage, 130 interrupted.";

/// Shares medical records without trusting any single party with them.
#[derive(Debug, Parser)]
#[command(name = "dmdl", version, about, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    globals: Globals,
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
    /// Runs a network of several organisations on this machine, with a gateway, until it is stopped; the same
    /// command resumes it.
    #[command(after_help = "Example:\n  dmdl up --dir hospital-network")]
    Up(up::Args),
    /// Networks whose nodes are separate processes, on hosts of their own.
    #[command(subcommand)]
    Network(network::Command),
    /// Runs one node, with the roles that the channel's configuration gives it, until it is stopped.
    #[command(after_help = "Example:\n  dmdl node --config hospital-network/nodes/north/node.toml")]
    Node(node::Args),
    /// Writes what a node keeps of its channels to a file: the ledger and no secret.
    ///
    /// Remarks and titles, which may be taken back, are not in it, nor are shares and votes.
    #[command(after_help = "Example:\n  dmdl backup --config /var/lib/dmdl/north/node.toml --out north.backup")]
    Backup(backup::Backup),
    /// Restores a backup into the empty data folder of its node, after it has verified all of it.
    ///
    /// The node has everything since from the others, and votes again when that is safe.
    #[command(after_help = "Examples:
  dmdl restore --config /var/lib/dmdl/north/node.toml --from north.backup --check
  dmdl restore --config /var/lib/dmdl/north/node.toml --from north.backup")]
    Restore(backup::Restore),
    /// Channels of some of the network's organisations, of which the others learn nothing.
    #[command(subcommand)]
    Channel(channel::Command),
    /// Says who acts, and what the ledger knows of them.
    #[command(after_help = "Example:\n  dmdl --as owner.key whoami")]
    Whoami,
    /// Key files of people, and their life on the ledger.
    #[command(subcommand)]
    Id(id::Command),
    /// Medical records: sealing, registering, finding.
    #[command(subcommand)]
    Record(record::Command),
    /// Who may open a record, and for what.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Asking for access, deciding, opening.
    #[command(subcommand)]
    Access(access::Command),
    /// The audit trail.
    #[command(subcommand)]
    Audit(audit::Command),
    /// The contracts of the channel.
    #[command(subcommand)]
    Contract(contract::Command),
    /// Who keeps the shares of keys.
    #[command(subcommand)]
    Custodian(custodian::Command),
    /// How the network stands.
    #[command(after_help = "Example:\n  dmdl status --json")]
    Status,
    /// Measures a network under load: a running one, or a temporary one of its own.
    #[command(after_help = "Examples:
  dmdl bench
  dmdl bench --workload query --seconds 30 --json
  dmdl bench --workload invoke --rate 200
  dmdl bench --sweep --seconds 20 --plot invoke.svg
  dmdl bench --orgs 7 --apart --repeat 3
  dmdl --network hospital-network/network.toml --as hospital-network/identities/admin.key bench --workload decrypt

At a rate, latencies count from when a call was due. docs/performance.md says what is counted. Calls stay on the ledger
of a running network for ever: measure one that is for trying.")]
    Bench(bench::Args),
    /// Prints completions for a shell.
    #[command(after_help = "Example:\n  source <(dmdl completions bash)")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let globals = &cli.globals;
    start_log(globals.verbose, globals.quiet);
    let result = match &cli.command {
        Command::Demo(args) => demo::run(args, globals.quiet || globals.json),
        Command::Up(args) => up::run(args, globals.quiet, globals.json),
        Command::Network(command) => network::run(command, globals),
        Command::Node(args) => node::run(args, globals.quiet, globals.json),
        Command::Backup(args) => backup::back_up(args, globals),
        Command::Restore(args) => backup::restore(args, globals),
        Command::Channel(command) => channel::run(command, globals),
        Command::Whoami => id::whoami(globals),
        Command::Id(command) => id::run(command, globals),
        Command::Record(command) => record::run(command, globals),
        Command::Policy(command) => policy::run(command, globals),
        Command::Access(command) => access::run(command, globals),
        Command::Audit(command) => audit::run(command, globals),
        Command::Contract(command) => contract::run(command, globals),
        Command::Custodian(command) => custodian::run(command, globals),
        Command::Status => status::run(globals),
        Command::Bench(args) => bench::run(args, globals),
        Command::Completions { shell } => Ok(completions::run(*shell)),
    };
    match result {
        Ok(report) => finish(&report.text, &report.json, globals.json, report.exit),
        Err(failure) => fail(&failure, globals.json),
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
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // It would complain on the same stderr, and panic if that cannot be written.
        .log_internal_errors(false)
        .try_init();
}

fn finish(text: &str, json: &Value, as_json: bool, exit: Exit) -> ExitCode {
    let text = match (as_json, json) {
        // Standard output was the command's own.
        (true, Value::Null) => String::new(),
        (true, json) => json.to_string(),
        (false, _) => text.to_owned(),
    };
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
        // A name that somebody gave must not look like lines of ours; what is wrong with a policy has several.
        let detail = if code.as_ref() == "policy_invalid" { text::lines(detail) } else { text::line(detail) };
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
    // With an option from the environment, clap takes a bare command for one that lacks its last word.
    if std::env::args_os().len() == 1 {
        let _ = write!(std::io::stderr(), "{}", Cli::command().render_help());
        return ExitCode::from(Exit::Usage as u8);
    }
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { Exit::Ok as u8 })
}
