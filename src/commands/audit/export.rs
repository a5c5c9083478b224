//! `dmdl audit export`: bundles, and lines made from them.

use super::{
    super::{
        Report, backup, failure, output,
        session::{self, Globals, Session},
        text,
    },
    filter::Filter,
};
use crate::{
    exit::{Exit, Failure},
    node,
};
use clap::Args as ClapArgs;
use dmdl_types::{bundle, event::Event, index_proof::HeadKey, limits};
use serde_json::json;
use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long to wait before a gateway that is not there yet is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

#[derive(Debug, ClapArgs)]
pub(in super::super) struct Export {
    #[command(flatten)]
    filter: Filter,
    /// `bundle`, which others can verify; `csv` or `ndjson`, which they cannot.
    #[arg(long, value_name = "FORMAT", default_value = "bundle", value_parser = format)]
    format: Format,
    /// Ask no gateway: take the trail as it is in this backup of a node.
    #[arg(long, value_name = "FILE")]
    backup: Option<PathBuf>,
    /// The new file; nothing is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Bundle,
    Csv,
    Ndjson,
}

/// Where the trail is taken from.
enum Source<'a> {
    Gateway(Box<Session>),
    Backup(&'a Path),
}

impl<'a> Source<'a> {
    fn of(args: &'a Export, globals: &Globals) -> Result<Self, Failure> {
        let Some(backup) = &args.backup else { return Ok(Self::Gateway(Box::new(globals.connect()?))) };
        if args.format == Format::Bundle && args.filter.head().is_some() {
            let detail =
                "the bundle of a backup is of the whole channel; for a narrower choice use --format csv or ndjson";
            return Err(Failure::new(Exit::Usage, "filter", detail));
        }
        Ok(Self::Backup(backup))
    }
}

fn format(name: &str) -> Result<Format, &'static str> {
    match name {
        "bundle" => Ok(Format::Bundle),
        "csv" => Ok(Format::Csv),
        "ndjson" => Ok(Format::Ndjson),
        _ => Err("available are `bundle`, `csv` and `ndjson`"),
    }
}

pub(super) fn run(args: &Export, globals: &Globals) -> Result<Report, Failure> {
    let Export { filter, format, out, .. } = args;
    filter.check()?;
    if *format == Format::Bundle && !filter.is_head() {
        let detail = "a bundle is complete for the channel, or for one of --record, --actor, --subject; \
                      for a narrower choice use --format csv or ndjson";
        return Err(Failure::new(Exit::Usage, "filter", detail));
    }
    let source = Source::of(args, globals)?;
    let mut file = BufWriter::new(output::NewFile::create(out)?);
    let (bytes, proved) = match &source {
        Source::Gateway(session) => proved(session, filter.head())?,
        Source::Backup(backup) => backed_up(backup, globals)?,
    };
    let wanted = || proved.events.iter().filter(|(_, event)| filter.takes(event));
    let written = match format {
        Format::Bundle => file.write_all(&bytes),
        Format::Csv => csv(&mut file, wanted()),
        Format::Ndjson => wanted().try_for_each(|event| writeln!(file, "{}", line(event))),
    };
    let file = written.and_then(|()| file.into_inner().map_err(std::io::IntoInnerError::into_error));
    file.map_err(|error| output::unwritten(out, &error))?.finish()?;
    let bundle::Report { checkpoint, .. } = &proved;
    let (events, root) = (wanted().count(), hex::encode(checkpoint.root));
    let text = format!(
        "{}: {events} events of the first {} of the trail\nheight {}, root {root}",
        text::path(out),
        checkpoint.size,
        checkpoint.height,
    );
    let json = json!({
        "file": out.to_string_lossy(), "events": events, "size": checkpoint.size, "root": root, "height": checkpoint.height,
    });
    Ok(Report { text, json, exit: Exit::Ok })
}

/// A verified bundle of the channel, as it is in the backup of a node.
fn backed_up(path: &Path, globals: &Globals) -> Result<(Vec<u8>, bundle::Report), Failure> {
    let genesis = globals.pin()?.genesis;
    let (file, _) = backup::open(path)?;
    let trail = node::trail(&genesis, globals.channel(), file).map_err(|error| backup::not_restored(path, &error))?;
    let (founding, bundle) = trail.ok_or_else(|| {
        let detail = format!("the backup has no events of a channel `{}`", session::short_echo(globals.channel()));
        Failure::new(Exit::NotFound, "no_trail", detail)
    })?;
    let bytes = bundle.to_bytes();
    let report = bundle::verify(&bytes, &founding).map_err(|error| backup::damaged(&error))?;
    Ok((bytes, report))
}

/// A verified bundle of the channel, or of one record, actor or subject, that covers at least what this client
/// has seen of the trail before.
pub(in super::super) fn proved(session: &Session, head: Option<HeadKey>) -> Result<(Vec<u8>, bundle::Report), Failure> {
    let seen = session.client.trust().seen_size();
    let mut query = vec![("size", seen.to_string())];
    query.extend(head.map(|key| match key {
        HeadKey::Record(id) => ("record", id.to_string()),
        HeadKey::Actor(key) => ("actor", key.to_string()),
        HeadKey::Subject(id) => ("subject", id.to_string()),
    }));
    let route = format!("audit/export?{}", text::query(&query));
    let begun = Instant::now();
    loop {
        let asked = session.run(session.client.gateway().get_bytes(&route, limits::BUNDLE_BYTES));
        let checked = match asked {
            Ok(bytes) => check(bytes, session, head, seen),
            Err(error) => Err(match failure::gateway(&error) {
                // A log that is shorter than what was seen of it.
                failure if failure.code == "future_height" => behind(&failure.detail),
                failure => failure,
            }),
        };
        match checked {
            // The checkpoint over what was seen becomes final with one of the next blocks.
            Err(failure)
                if matches!(failure.code.as_ref(), "not_final" | "overloaded" | "gateway_behind")
                    && begun.elapsed() < session.patience =>
            {
                // Inside of the runtime: a timer belongs to one from its beginning.
                session.run(async { tokio::time::sleep(AGAIN_AFTER).await });
            }
            checked => return checked,
        }
    }
}

fn check(
    bytes: Vec<u8>,
    session: &Session,
    head: Option<HeadKey>,
    seen: u64,
) -> Result<(Vec<u8>, bundle::Report), Failure> {
    let invalid = |why: &dyn std::fmt::Display| Failure::new(Exit::Integrity, "bundle_invalid", why);
    let report = bundle::verify(&bytes, session.client.trust().founding()).map_err(|error| invalid(&error))?;
    if report.filter != head {
        return Err(invalid(&"the gateway's bundle covers something else than was asked for"));
    }
    if report.checkpoint.size < seen {
        let size = report.checkpoint.size;
        return Err(behind(&format!("its bundle covers {size} events, but {seen} were verified before")));
    }
    Ok((bytes, report))
}

fn behind(why: &str) -> Failure {
    let detail = format!("the gateway is behind: {why}; try again, or ask another one");
    Failure::new(Exit::Unavailable, "gateway_behind", detail)
}

/// An event on one line, as `audit query` shows it.
fn line((position, event): &(u64, Event)) -> String {
    let mut event = json!(event);
    text::stamp(&mut event, "time");
    json!({ "position": position, "event": event }).to_string()
}

/// The columns of a table of events.
const COLUMNS: [&str; 21] = [
    "position",
    "time",
    "height",
    "transaction",
    "item",
    "action",
    "actor",
    "org",
    "record",
    "version",
    "subject",
    "share_epoch",
    "share_set",
    "purpose",
    "disease",
    "policy",
    "refers_to",
    "verdict",
    "reasons",
    "grant",
    "use_number",
];

/// Writes events as RFC 4180 has it: a head, and a line each.
fn csv<'a>(file: &mut impl Write, events: impl Iterator<Item = &'a (u64, Event)>) -> std::io::Result<()> {
    write!(file, "{}\r\n", COLUMNS.join(","))?;
    for (position, event) in events {
        let json = json!(event);
        let member = |path: &str| match json.pointer(path) {
            None | Some(serde_json::Value::Null) => String::new(),
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let reasons = event.outcome.reasons.iter().map(|reason| match &reason.rule {
            Some(rule) => format!("{}:{rule}", reason.code.as_str()),
            None => reason.code.as_str(),
        });
        let cells = COLUMNS.map(|column| match column {
            "position" => position.to_string(),
            "time" => event.time.to_string(),
            "share_epoch" => member("/shares/epoch"),
            "share_set" => member("/shares/id"),
            "purpose" => member("/purpose/code"),
            "disease" => member("/purpose/disease"),
            "verdict" => member("/outcome/verdict"),
            "reasons" => reasons.clone().collect::<Vec<_>>().join(" "),
            "grant" | "use_number" => member(&format!("/outcome/{column}")),
            column => member(&format!("/{column}")),
        });
        write!(file, "{}\r\n", cells.map(|cell| quoted(&cell)).join(","))?;
    }
    Ok(())
}

/// A cell that no reader takes for more than one, and no spreadsheet for a formula.
fn quoted(cell: &str) -> String {
    let cell = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::{super::filter::tests::event, *};

    #[test]
    fn an_event_is_one_line_of_a_table() {
        let mut table = Vec::new();
        csv(&mut table, [(7, event())].iter()).unwrap();
        let table = String::from_utf8(table).unwrap();
        let (head, rest) = table.split_once("\r\n").unwrap();
        assert_eq!(head.split(',').count(), COLUMNS.len());
        let id = |byte: &str| byte.repeat(32);
        let expected = format!(
            "7,1970-01-01T00:00:01.000Z,3,{},0,request,{},city-hospital,{},,{},2,{},DS,MONDO:0005148,{},,deny,\
             policy_forbids:weekdays-only,,\r\n",
            id("01"),
            id("02"),
            id("03"),
            id("04"),
            id("05"),
            id("06"),
        );
        assert_eq!(rest, expected);
    }

    #[test]
    fn an_event_is_one_line_of_json_with_its_time_as_text() {
        let line = line(&(7, event()));
        assert!(!line.contains('\n'));
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["position"], 7);
        assert_eq!(read["event"]["time"], "1970-01-01T00:00:01.000Z");
        assert_eq!(read["event"]["outcome"]["reasons"][0]["code"], "policy_forbids");
    }

    #[test]
    fn a_cell_stays_a_cell() {
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted("=1+1"), "'=1+1");
        assert_eq!(quoted("plain"), "plain");
    }

    #[test]
    fn other_formats_are_refused_with_those_there_are() {
        assert_eq!(format("csv"), Ok(Format::Csv));
        for other in ["fhir", "pdf", "CSV", ""] {
            assert!(format(other).unwrap_err().contains("`bundle`, `csv` and `ndjson`"));
        }
    }
}
