//! `dmdl access open`: an ordered decryption, verified shares, the plaintext.

use super::super::{
    Report, crypt4gh, failure,
    output::{self, NewFile},
    record,
    session::{Globals, Session, short_echo},
    text,
};
use crate::{
    client::{OpenError, Opened, Opening, Prepared},
    exit::{Exit, Failure},
    keyfile,
    local::os_rng,
};
use clap::{Args, ValueEnum};
use dmdl_types::{
    codec,
    event::Action,
    id::{GrantId, RecordId, RecordVersion, TransactionId},
    invocation::Authority,
    limits,
};
use dmdl_vault::{
    crypt4gh::{Encryptor, StartError},
    payload,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, Write},
    ops::Range,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

#[derive(Debug, Args)]
pub(in crate::commands) struct Open {
    /// The record, or the request that was allowed.
    #[arg(value_name = "ID|REQUEST")]
    id: String,
    /// Where to write the plaintext; `-` is standard output, which gets verified chunks as they come.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Under this grant; the newest one that has uses left otherwise.
    #[arg(long, value_name = "G")]
    grant: Option<GrantId>,
    /// Which version; the newest otherwise.
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    /// What to write: the plaintext, or a Crypt4GH file for somebody.
    #[arg(long, value_name = "FORMAT", default_value = "raw")]
    format: Format,
    /// Whose Crypt4GH public key the file is for; may be repeated.
    #[arg(long, value_name = "FILE", required_if_eq("format", "crypt4gh"))]
    recipient: Vec<PathBuf>,
    /// Only these bytes of the record, counted from 0, both ends included; `A-` goes to the end. No others are fetched.
    #[arg(long, value_name = "A-B", value_parser = byte_range)]
    range: Option<ByteRange>,
    /// Resume this opening: asks the custodians again, and takes no second use.
    #[arg(long, value_name = "TX")]
    transaction: Option<TransactionId>,
}

/// Bytes of a record, from one to before another.
type ByteRange = Range<u64>;

fn byte_range(text: &str) -> Result<ByteRange, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| "give A-B or A-, in bytes".to_owned());
    let (first, last) = text.split_once('-').ok_or("give A-B or A-, in bytes")?;
    let first = number(first)?;
    let until = if last.is_empty() { u64::MAX } else { number(last)?.saturating_add(1) };
    if first < until { Ok(first..until) } else { Err("the range runs backwards".to_owned()) }
}

/// In what form a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// As it was registered.
    Raw,
    /// Encrypted with Crypt4GH: nothing in clear is written anywhere.
    Crypt4gh,
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Crypt4gh => "crypt4gh",
        }
    }
}

pub(super) fn run(args: &Open, globals: &Globals) -> Result<Report, Failure> {
    if args.format == Format::Raw && !args.recipient.is_empty() {
        let detail = "--recipient says whom a Crypt4GH file is for: give --format crypt4gh with it";
        return Err(Failure::new(Exit::Usage, "usage", detail));
    }
    let readers = args.recipient.iter().map(|path| crypt4gh::public_key(path)).collect::<Result<Vec<_>, _>>()?;
    let streams = args.out == Path::new("-");
    // What would only fail in the end fails before it costs a use.
    let file = if streams { None } else { Some(NewFile::create(&args.out)?) };
    let session = globals.connect()?;
    let openings = Openings::of(&session)?;
    let prepared = match args.transaction {
        Some(transaction) => openings.find(transaction)?,
        None => {
            let prepared = prepare(args, &session)?;
            openings.keep(&prepared)?;
            prepared
        }
    };
    if !globals.quiet && !globals.json {
        text::warn(&format!("decryption {}", prepared.id()));
    }
    let opened = session
        .run(session.client.order(&prepared))
        .and_then(|opening| write(&session, opening, file, (&args.range, &readers)));
    let (height, opened, file) = match opened {
        Ok(done) => done,
        Err(error) => {
            if matches!(error, OpenError::Denied(_)) {
                // It is decided for ever: nothing of it can be resumed.
                openings.forget(prepared.id());
            }
            return Err(resumable(failure::open(&error), prepared.id()));
        }
    };
    if let Some(file) = file {
        file.finish()?;
    }
    openings.forget(prepared.id());
    let json = json!({
        "transaction": opened.transaction,
        "height": height,
        "bytes": opened.plaintext_len_bytes,
        "format": args.format.name(),
        "custodians": opened.custodians,
        "altered": opened.altered,
        "culprits": opened.culprits,
    });
    let (name, bytes, count) = (text::path(&args.out), opened.plaintext_len_bytes, opened.custodians.len());
    // Standard output is the payload's alone.
    let text = if streams { String::new() } else { format!("{name}: {bytes} bytes, shares of {count} custodians") };
    Ok(Report { text, json: if streams { Value::Null } else { json }, exit: Exit::Ok })
}

type Written = (dmdl_types::id::Height, Opened, Option<NewFile>);

fn write(session: &Session, opening: Opening, file: Option<NewFile>, wanted: Wanted<'_>) -> Result<Written, OpenError> {
    let height = opening.done.event.height;
    match file {
        Some(mut file) => {
            let opened = written(session, &opening, &mut file, wanted)?;
            Ok((height, opened, Some(file)))
        }
        None => Ok((height, written(session, &opening, io::stdout(), wanted)?, None)),
    }
}

/// Which bytes of the plaintext, and whom they are encrypted for: nobody, or these readers.
type Wanted<'a> = (&'a Option<ByteRange>, &'a [[u8; 32]]);

/// Writes what is wanted of the plaintext.
fn written(
    session: &Session,
    opening: &Opening,
    to: impl Write + Send,
    (range, readers): Wanted<'_>,
) -> Result<Opened, OpenError> {
    if readers.is_empty() {
        return plaintext(session, opening, range, to);
    }
    let failed = |error| OpenError::Payload(payload::OpenError::Write(error));
    let mut file = Encryptor::start(to, os_rng(), readers).map_err(|error| match error {
        StartError::Write(error) => failed(error),
        error => failed(io::Error::other(error)),
    })?;
    let opened = plaintext(session, opening, range, &mut file)?;
    file.finish().map_err(failed)?;
    Ok(opened)
}

fn plaintext(
    session: &Session,
    opening: &Opening,
    range: &Option<ByteRange>,
    to: impl Write + Send,
) -> Result<Opened, OpenError> {
    match range {
        None => session.run(session.client.open(opening, to)),
        Some(range) => session.run(session.client.open_range(opening, range.clone(), to)),
    }
}

/// Says how to go on with an opening that has not come to its end: at this gateway, or at an honest one.
fn resumable(mut failure: Failure, id: TransactionId) -> Failure {
    if matches!(failure.exit, Exit::Unavailable | Exit::Integrity) {
        failure.detail.push_str(&format!("; resume with --transaction {id}"));
    }
    failure
}

fn prepare(args: &Open, session: &Session) -> Result<Prepared, Failure> {
    let id: RecordId = args.id.parse().map_err(|_| {
        let detail = format!("`{}` is neither a record nor a request", short_echo(&args.id));
        Failure::new(Exit::Usage, "bad_id", detail)
    })?;
    let (record, grant) = match granted_record(args, session, id)? {
        Some((record, grant)) => (record, Some(grant)),
        None => (id, args.grant),
    };
    let row = record::row(session, record)?;
    let active = row.get("active_version").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let version = args.version.or(active).filter(|version| *version > 0).ok_or_else(|| {
        let detail = format!("record {record} is not active yet; its custodians have not acknowledged");
        Failure::new(Exit::Unavailable, "record_pending", detail)
    })?;
    let owns = row.get("owner").and_then(Value::as_str) == Some(&session.client.id().to_string());
    let authority = match grant {
        Some(grant) => Authority::Grant(grant),
        None if owns => Authority::Owner,
        None => Authority::Grant(usable_grant(session, record)?),
    };
    let prepared = session.run(session.client.prepare(record, RecordVersion::new(version), authority));
    prepared.map_err(|error| failure::open(&error))
}

/// The record and grant of a request, if the id is one that this person made; proved.
fn granted_record(args: &Open, session: &Session, id: RecordId) -> Result<Option<(RecordId, GrantId)>, Failure> {
    let request = TransactionId::new(*id.as_bytes());
    let asked = match session.run(session.client.outcome(request, Duration::ZERO)) {
        Ok(asked) => asked,
        Err(error) if error.problem().is_some_and(|problem| matches!(problem.status, 403 | 404)) => None,
        Err(error) => return Err(failure::call(&error)),
    };
    let Some(asked) = asked.filter(|asked| asked.event.action == Action::Request) else { return Ok(None) };
    Ok(asked.event.record.map(|record| (record, args.grant.unwrap_or(GrantId::of_request(request)))))
}

/// The newest grant of this person for a record that has uses left. The ledger decides whether it holds.
fn usable_grant(session: &Session, record: RecordId) -> Result<GrantId, Failure> {
    let route = format!("requests?record={record}&requester={}&state=ALLOWED&limit=500", session.client.id());
    let page = session.run(session.client.gateway().get(&route)).map_err(|error| failure::gateway(&error))?;
    let items = page.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let number = |item: &Value, name: &str| item.pointer(name).and_then(Value::as_u64).unwrap_or(0);
    let grants = items.iter().filter_map(|item| {
        let grant: GrantId = item.pointer("/grant/grant")?.as_str()?.parse().ok()?;
        let revoked = item.pointer("/grant/revoked").and_then(Value::as_bool).unwrap_or(false);
        let left = !revoked && number(item, "/grant/used") < number(item, "/grant/uses");
        Some((left, number(item, "/grant/ends"), grant))
    });
    // One that is used up or revoked is still asked for: the denial is evidence, and says why.
    grants.max_by_key(|(left, ends, _)| (*left, *ends)).map(|(_, _, grant)| grant).ok_or_else(|| {
        let detail = format!("there is no grant for record {record}; ask for one with `dmdl access request`");
        Failure::new(Exit::Denied, "no_grant", detail)
    })
}

/// Openings that were signed and have not come to their end: with what is kept here they can be resumed.
struct Openings(PathBuf);

impl Openings {
    fn of(session: &Session) -> Result<Self, Failure> {
        let folder = session.home.join("openings");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| Failure::new(Exit::Storage, "storage", format!("`{}`: {error}", folder.display())))?;
        Ok(Self(folder))
    }

    fn paths(&self, id: TransactionId) -> (PathBuf, PathBuf) {
        (self.0.join(format!("{id}.transaction")), self.0.join(format!("{id}.seed")))
    }

    /// Keeps an opening before anyone else knows of it.
    fn keep(&self, prepared: &Prepared) -> Result<(), Failure> {
        let (transaction, seed) = prepared.parts();
        let (transaction_file, seed_file) = self.paths(prepared.id());
        keyfile::write_secret(&seed_file, seed).map_err(|error| failure::key_file(&error))?;
        NewFile::create(&transaction_file)?.whole(&codec::encode(transaction))
    }

    fn find(&self, id: TransactionId) -> Result<Prepared, Failure> {
        let (transaction_file, seed_file) = self.paths(id);
        let unknown = || {
            let detail = format!("no opening {id} is in progress here");
            Failure::new(Exit::NotFound, "unknown_opening", detail)
        };
        if !transaction_file.exists() {
            return Err(unknown());
        }
        let seed = keyfile::read_secret(&seed_file).map_err(|error| failure::key_file(&error))?;
        let bytes = output::read(&transaction_file, limits::TRANSACTION_BYTES)?;
        let transaction = codec::decode(&bytes, limits::TRANSACTION_BYTES).ok();
        transaction.and_then(|transaction| Prepared::restore(transaction, seed)).ok_or_else(unknown)
    }

    /// What is left behind harms nobody but takes room, so a failure is passed over.
    fn forget(&self, id: TransactionId) {
        let (transaction, seed) = self.paths(id);
        let _ = fs::remove_file(seed);
        let _ = fs::remove_file(transaction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_both_its_ends_in_it_or_goes_to_the_end() {
        assert_eq!(byte_range("0-0"), Ok(0..1));
        assert_eq!(byte_range("100-199"), Ok(100..200));
        assert_eq!(byte_range("7-"), Ok(7..u64::MAX));
        for bad in ["", "-", "-5", "5", "5-4", "a-b", "1-2-3", "0x1-2", "18446744073709551616-"] {
            assert!(byte_range(bad).is_err(), "{bad}");
        }
    }
}
