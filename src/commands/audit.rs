//! `dmdl audit`: the trail, asked for, followed, exported, and verified without a network.

mod export;
mod filter;
mod receipt;
mod tail;

pub(super) use export::proved;

use super::{Report, failure, output, session::Globals, text};
use crate::exit::{Exit, Failure};
use clap::{Args as ClapArgs, Subcommand};
use dmdl_types::{bundle, id::TransactionId, index_proof::HeadKey, limits};
use filter::Filter;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Follows the trail: one line an event, as it happens, until it is interrupted.
    #[command(after_help = "Example:\n  dmdl --as officer.key audit tail --outcome deny")]
    Tail(Filter),
    /// Asks for events of the trail, as the gateway has them; `audit export` proves them.
    #[command(after_help = "Example:\n  dmdl --as officer.key audit query --outcome deny --from 2026-11-01T00:00:00Z")]
    Query(Query),
    /// Fetches the receipt of a transaction, verifies it, and writes it to a file.
    #[command(after_help = "Example:\n  dmdl audit receipt TX --out decision.tlog-proof")]
    Receipt {
        /// The transaction.
        transaction: TransactionId,
        /// The new file; nothing is replaced.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Exports events, with all that it takes to verify them offline. What does not verify is not written.
    ///
    /// A bundle covers the whole channel, or one record, actor or subject, completely. Lines of csv and ndjson are
    /// made from a verified bundle, and may be narrowed further.
    #[command(after_help = "Examples:
  dmdl --as officer.key audit export --out trail.bundle
  dmdl --as owner.key audit export --record RECORD --out record.bundle
  dmdl --as officer.key audit export --format csv --outcome deny --out denials.csv
  dmdl --network network.toml audit export --backup north.backup --out trail.bundle")]
    Export(export::Export),
    /// Verifies an exported bundle, or a receipt, offline: needs the pinned network and nothing else.
    ///
    /// Ends with 0 when every event is proved, with 5 when anything is not as it should be. A bundle says itself who the
    /// committers became, and proves it; of a receipt this client must have verified that before.
    #[command(after_help = "Examples:
  dmdl audit verify trail.bundle --network network.toml
  dmdl audit verify decision.tlog-proof --network network.toml")]
    Verify {
        /// The bundle or receipt.
        file: PathBuf,
    },
}

#[derive(Debug, ClapArgs)]
pub(super) struct Query {
    #[command(flatten)]
    filter: Filter,
    /// How many at a time.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Where the last page ended.
    #[arg(long)]
    cursor: Option<String>,
}

pub(super) fn run(command: &Command, globals: &Globals) -> Result<Report, Failure> {
    match command {
        Command::Tail(filter) => tail::run(filter, globals),
        Command::Query(args) => query(args, globals),
        Command::Receipt { transaction, out } => receipt::fetch(*transaction, out, globals),
        Command::Export(args) => export::run(args, globals),
        Command::Verify { file } => verify(file, globals),
    }
}

fn query(args: &Query, globals: &Globals) -> Result<Report, Failure> {
    args.filter.check()?;
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.filter.query());
    query.extend(args.cursor.clone().map(|cursor| ("cursor", cursor)));
    let session = globals.connect()?;
    let route = format!("audit/events?{}", text::query(&query));
    let mut page = session.run(session.client.gateway().get(&route)).map_err(|error| failure::gateway(&error))?;
    let items = page.get_mut("items").and_then(Value::as_array_mut).map(Vec::as_mut_slice).unwrap_or_default();
    for item in items.iter_mut() {
        if let Some(event) = item.get_mut("event") {
            text::stamp(event, "time");
        }
    }
    let rows = items.iter().map(columns);
    let shown = text::with_more(text::table(&COLUMNS, rows), &page);
    Ok(Report { text: shown, json: page, exit: Exit::Ok })
}

/// What a line about an event shows; the transaction is whole, for `audit receipt`.
const COLUMNS: [&str; 8] = ["POSITION", "TIME", "ACTION", "OUTCOME", "ACTOR", "RECORD", "WHY", "TRANSACTION"];

/// An item of the trail as [`COLUMNS`]; its time is text already.
fn columns(item: &Value) -> Vec<String> {
    let at = |path: &str| text::clean(item.pointer(path));
    let short = |path: &str| text::short(&at(path));
    let reasons = item.pointer("/event/outcome/reasons").and_then(Value::as_array).map(Vec::as_slice);
    let reasons: Vec<String> =
        reasons.unwrap_or_default().iter().map(|reason| text::clean(reason.get("code"))).collect();
    let why = if reasons.is_empty() { "-".to_owned() } else { reasons.join(",") };
    vec![
        at("/position"),
        at("/event/time"),
        at("/event/action"),
        at("/event/outcome/verdict"),
        short("/event/actor"),
        short("/event/record"),
        why,
        at("/event/transaction"),
    ]
}

fn verify(file: &Path, globals: &Globals) -> Result<Report, Failure> {
    let founding = globals.founding()?;
    let bytes = output::read(file, limits::BUNDLE_BYTES)?;
    if receipt::is_one(&bytes) {
        return receipt::verify(&bytes, globals);
    }
    Ok(match bundle::verify(&bytes, &founding) {
        Ok(report) => accepted(&report),
        Err(error) => refused("bundle_invalid", &error),
    })
}

fn accepted(report: &bundle::Report) -> Report {
    let scope = match report.filter {
        None => "every event of the channel".to_owned(),
        Some(HeadKey::Record(id)) => format!("every event of record {id}"),
        Some(HeadKey::Actor(key)) => format!("every event by {key}"),
        Some(HeadKey::Subject(id)) => format!("every event of subject {id}"),
    };
    let root = hex::encode(report.checkpoint.root);
    let text = format!(
        "valid: {scope}, {} in all\nheight {}, root {root}\nfinalized by {} orderers, cosigned by {} committers",
        report.events.len(),
        report.checkpoint.height,
        report.signers.len(),
        report.cosigners.len(),
    );
    let json = json!({
        "valid": true,
        "events": report.events.len(),
        "complete": true,
        "height": report.checkpoint.height,
        "root": root,
        "signers": report.signers,
        "cosigners": report.cosigners,
        "problems": [],
    });
    Report { text, json, exit: Exit::Ok }
}

fn refused(code: &'static str, error: &dyn std::fmt::Display) -> Report {
    let json = json!({
        "valid": false,
        "events": 0,
        "complete": null,
        "root": null,
        "signers": [],
        "problems": [{ "code": code, "detail": error.to_string() }],
    });
    Report { text: format!("INVALID: {error}"), json, exit: Exit::Integrity }
}
