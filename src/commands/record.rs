//! `dmdl record`: sealing and registering, and what became of it.

mod erase;
mod title;

use super::{
    Report, crypt4gh, failure, output, policy,
    progress::Bar,
    session::{Globals, Remote, Session},
    text,
};
use crate::{
    client::{self, AskGatewayError, CallError, Draft, Gateway as _, OpenError, Progress, RegisterError, Registered},
    exit::{Exit, Failure},
    node::Final,
};
use clap::{Args as ClapArgs, Subcommand};
use dmdl_types::{
    access::{DuoCode, MondoId, PolicyDocument},
    event::Verdict,
    id::{NodeId, PayloadDigest, RecordId, RecordVersion},
    invocation::{Invocation, Medical, Metadata},
    secret::Secret32,
    sign::PublicKey,
};
use dmdl_vault::crypt4gh::MAGIC;
use serde_json::{Value, json};
use std::{
    io::{self, BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Seals files on this machine, shares their keys among custodians, and registers them.
    ///
    /// Prints one record id a file. Nothing about a file but its sealed bytes, media type and length leaves this
    /// machine; its name is not sent.
    #[command(after_help = "Examples:
  dmdl record register scan.dcm --policy research-auto --duo HMB --title 'CT of the chest'
  dmdl record register *.json --policy rules.cedar --subject P-1734 --type application/fhir+json
  dmdl record register reads.bam.c4gh --crypt4gh-key archive.sec
  dmdl record register scan-corrected.dcm --replaces RECORD")]
    Register(Box<Register>),
    /// Lists the records of the channel that one may see.
    #[command(after_help = "Example:\n  dmdl record list --duo HMB --type application/dicom")]
    List(List),
    /// Shows one record.
    Show {
        /// The record.
        id: RecordId,
    },
    /// Shows where a record comes from and whose it was.
    History {
        /// The record.
        id: RecordId,
    },
    /// Gives a record to another owner.
    Transfer {
        /// The record.
        id: RecordId,
        /// The new owner's key.
        #[arg(long, value_name = "KEY")]
        to: PublicKey,
    },
    /// Erases a record: its grants end, and its custodians destroy their shares and say so on the ledger.
    Erase {
        /// The record.
        id: RecordId,
        /// Do not wait until the custodians have said so.
        #[arg(long)]
        no_wait: bool,
    },
    /// Gives a record a title in the members' catalogue, or takes it back.
    ///
    /// A title is text in clear for everybody who may know of the record, beside the ledger: no patient's name
    /// belongs into it.
    #[command(after_help = "Examples:
  dmdl record title RECORD 'CT of the chest, follow-up'
  dmdl record title RECORD --forget")]
    Title {
        /// The record.
        id: RecordId,
        /// The title: one line.
        #[arg(required_unless_present = "forget", conflicts_with = "forget")]
        text: Option<String>,
        /// Take the title back.
        #[arg(long)]
        forget: bool,
    },
    /// Compares the stored bytes of a record with what the ledger says of them.
    Verify {
        /// The record.
        id: RecordId,
        /// Which version; the last otherwise.
        #[arg(long)]
        version: Option<u32>,
    },
}

#[derive(Debug, ClapArgs)]
pub(super) struct Register {
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Who may open them: a policy of the library (`dmdl policy list`) or a file in Cedar. Without one, nobody
    /// but those whom the owner or the committee approves.
    #[arg(long, value_name = "FILE")]
    policy: Option<String>,
    /// What the data may be used for, as a DUO code; HMB unless the policy's file says otherwise.
    #[arg(long, value_name = "CODE", requires = "policy")]
    duo: Option<DuoCode>,
    /// A disease that DS is limited to, as MONDO:0005148; may be repeated.
    #[arg(long, value_name = "MONDO", requires = "duo")]
    disease: Vec<MondoId>,
    /// How many shares open them.
    #[arg(long, value_name = "K")]
    threshold: Option<u8>,
    /// A custodian to share the keys among, which must answer; may be repeated. Otherwise they are shared among
    /// whoever answers of the channel's custodians, if those are 2K - 1 or more.
    #[arg(long, value_name = "ID")]
    custodian: Vec<NodeId>,
    /// The patient's pseudonym. Only its keyed digest leaves this machine.
    #[arg(long, value_name = "PSEUDONYM")]
    subject: Option<String>,
    /// What the members' catalogue calls them, beside the ledger. No patient's name belongs into it.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// The media type; guessed from the name otherwise.
    #[arg(long = "type", value_name = "MEDIA")]
    media_type: Option<String>,
    /// Hide them from members who may not open them.
    #[arg(long)]
    unlisted: bool,
    /// The files are encrypted with Crypt4GH for this secret key: they are decrypted while they are sealed, and nothing in
    /// clear is written anywhere.
    #[arg(long, value_name = "FILE")]
    crypt4gh_key: Option<PathBuf>,
    /// Read the passphrase of the Crypt4GH key from this file descriptor.
    #[arg(long, value_name = "N", requires = "crypt4gh_key")]
    crypt4gh_passphrase_fd: Option<u32>,
    /// Register a new version of this record.
    #[arg(long, value_name = "ID")]
    replaces: Option<RecordId>,
    /// Do not wait until the custodians have acknowledged.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, ClapArgs)]
pub(super) struct List {
    /// Only of this media type.
    #[arg(long = "type", value_name = "MEDIA")]
    media_type: Option<String>,
    /// Only with this permission.
    #[arg(long, value_name = "CODE")]
    duo: Option<DuoCode>,
    /// Only of this owner.
    #[arg(long, value_name = "KEY")]
    owner: Option<PublicKey>,
    /// Only whose id, media type, organisation or title contains this.
    #[arg(long, value_name = "TEXT")]
    query: Option<String>,
    /// Only registered at or after this time, RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = text::parse_time)]
    since: Option<u64>,
    /// How many at a time.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Where the last page ended.
    #[arg(long)]
    cursor: Option<String>,
}

pub(super) fn run(command: &Command, globals: &Globals) -> Result<Report, Failure> {
    match command {
        Command::Register(args) => register(args, globals),
        Command::List(args) => list(args, globals),
        Command::Show { id } => show(*id, globals),
        Command::History { id } => history(*id, globals),
        Command::Transfer { id, to } => {
            let call = Invocation::Medical(Medical::Transfer { record: *id, to: *to });
            changed(globals, call, &format!("record {id} belongs to {to}"), json!({ "record": id, "owner": to }))
        }
        Command::Erase { id, no_wait } => erase::run(*id, !no_wait, globals),
        Command::Title { id, text, .. } => title::run(*id, text.as_deref(), globals),
        Command::Verify { id, version } => verify(*id, *version, globals),
    }
}

fn register(args: &Register, globals: &Globals) -> Result<Report, Failure> {
    args.title.as_deref().map(title::check).transpose()?;
    let policy = args.policy.as_deref().map(|name| policy::document(name, args.duo, &args.disease)).transpose()?;
    let key = args.crypt4gh_key.as_deref();
    let key = key.map(|path| crypt4gh::secret_key(path, args.crypt4gh_passphrase_fd, globals)).transpose()?;
    let session = globals.connect()?;
    let (mut lines, mut results, mut first) = (Vec::new(), Vec::new(), None);
    for file in &args.files {
        match one(args, (file, key.as_ref()), policy.clone(), &session, globals) {
            Ok((line, result)) => {
                lines.push(line);
                results.push(result);
            }
            Err(error) if args.files.len() == 1 => return Err(error),
            Err(error) => {
                if !globals.json {
                    text::warn(&format!("{}: {}", file.display(), error.detail));
                }
                let Failure { exit, code, detail } = error;
                results.push(json!({ "error": { "code": code, "detail": detail, "exit": exit as u8 } }));
                first.get_or_insert(exit);
            }
        }
    }
    let json = match <[Value; 1]>::try_from(results) {
        Ok([only]) => only,
        Err(results) => json!({ "items": results }),
    };
    Ok(Report { text: lines.join("\n"), json, exit: first.unwrap_or(Exit::Ok) })
}

fn one(
    args: &Register,
    (path, key): (&Path, Option<&Secret32>),
    policy: Option<PolicyDocument>,
    session: &Session,
    globals: &Globals,
) -> Result<(String, Value), Failure> {
    let (file, len) = plaintext(args, path, key)?;
    let media_type = match &args.media_type {
        Some(given) => given.clone(),
        None => guessed(path).to_owned(),
    };
    let subject = args.subject.as_deref().map(|name| session.client.subject(name));
    let metadata = Metadata { media_type, subject, listed: !args.unlisted };
    let draft = Draft {
        threshold: args.threshold,
        custodians: args.custodian.clone(),
        replaces: args.replaces.map(|id| next_version(session, id)).transpose()?,
        ..Draft::new(metadata, policy)
    };
    // The sealed bytes wait in a file: a payload may be larger than memory.
    let spool = tempfile::tempfile().map_err(|error| Failure::new(Exit::Storage, "storage", error))?;
    let bar = Bar::new(globals, path, len);
    let progress = |step| match step {
        Progress::Sealed(bytes) => bar.at("sealing", bytes, len),
        Progress::Stored(bytes, of) => bar.at("storing", bytes, Some(of)),
        Progress::Registered => bar.note("waiting for the custodians"),
    };
    let registered = session.run(session.client.register(file, spool, draft, &progress));
    let registered = registered.map_err(|error: RegisterError| failure::register(&error))?;
    let Registered { record, version, done, payload, custodians, absent, threshold } = registered;
    let problem = args.title.as_deref().and_then(|text| title::give(session, record, text, globals).err());
    let active = !args.no_wait && {
        let waited = session.run(session.client.wait_active(record, version, session.patience));
        waited.map_err(|error| failure::call(&error))?
    };
    bar.end();
    let state = if active { "ACTIVE" } else { "PENDING" };
    if !absent.is_empty() && !globals.quiet {
        let (held, all) = (custodians.len(), custodians.len() + absent.len());
        text::warn(&format!(
            "{} gave no key: {held} of {all} custodians share the key of record {record}, {threshold} open it",
            client::list(&absent)
        ));
    }
    if !active && !globals.json && !globals.quiet {
        text::warn(&format!(
            "record {record} is PENDING; it becomes active by itself when enough custodians acknowledge"
        ));
    }
    let json = json!({
        "record": record,
        "version": version,
        "state": state,
        "transaction": done.transaction,
        "payload": payload.digest,
        "custodians": custodians,
        "absent": absent,
        "threshold": threshold,
        "title": args.title.as_deref().filter(|_| problem.is_none()),
        "title_problem": problem,
    });
    Ok((record.to_string(), json))
}

/// What is sealed of a file, and how long it is if that is known: of one in Crypt4GH, what it holds.
fn plaintext(args: &Register, path: &Path, key: Option<&Secret32>) -> Result<(Input, Option<u64>), Failure> {
    let (file, len) = input(path)?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    if let Some(key) = key {
        return Ok((Box::new(crypt4gh::decrypted(path, file, key)?), None));
    }
    let is_crypt4gh = file.fill_buf().map_err(|error| output::unreadable(path, &error))?.starts_with(&MAGIC);
    if is_crypt4gh && args.media_type.is_none() {
        let detail = format!(
            "`{}` is encrypted with Crypt4GH: give the key that it is for with --crypt4gh-key, or say what it is with \
             --type to register it as it is",
            path.display()
        );
        return Err(Failure::new(Exit::Usage, "crypt4gh", detail));
    }
    Ok((Box::new(file), len))
}

type Input = Box<dyn Read + Send>;

/// A file to register.
fn input(path: &Path) -> Result<(Input, Option<u64>), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let (file, len) = output::open(path)?;
    Ok((Box::new(file), Some(len)))
}

fn next_version(session: &Session, record: RecordId) -> Result<(RecordId, RecordVersion), Failure> {
    let shown = row(session, record)?;
    let last = shown.get("last_version").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let next = last.and_then(|last| last.checked_add(1)).map(RecordVersion::new);
    let nonsense = || failure::gateway(&AskGatewayError::Nonsense("the record has no version".to_owned()));
    Ok((record, next.ok_or_else(nonsense)?))
}

/// What the gateway says of a record.
pub(super) fn row(session: &Session, record: RecordId) -> Result<Value, Failure> {
    let shown = session.run(session.client.gateway().get(&format!("records/{record}")));
    shown.map_err(|error| failure::gateway(&error))
}

fn list(args: &List, globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.media_type.clone().map(|value| ("type", value)));
    query.extend(args.duo.map(|value| ("duo", value.to_string())));
    query.extend(args.owner.map(|value| ("owner", value.to_string())));
    query.extend(args.query.clone().map(|value| ("query", value)));
    query.extend(args.since.map(|value| ("since", value.to_string())));
    query.extend(args.cursor.clone().map(|value| ("cursor", value)));
    let route = format!("records?{}", text::query(&query));
    let mut page = session.run(session.client.gateway().get(&route)).map_err(|error| failure::gateway(&error))?;
    let items = page.get_mut("items").and_then(Value::as_array_mut).map(Vec::as_mut_slice).unwrap_or_default();
    items.iter_mut().for_each(|item| title::read(&session, item));
    let field = |item: &Value, name: &str| text::clean(item.get(name));
    let rows = items.iter().map(|item| {
        let permission = item.pointer("/permission/code").and_then(Value::as_str).unwrap_or("-").to_owned();
        let registered = item.get("registered").and_then(Value::as_u64).map(text::time).unwrap_or_default();
        let (media_type, title) = (field(item, "media_type"), field(item, "title"));
        vec![field(item, "record"), field(item, "state"), permission, media_type, registered, title]
    });
    let shown = text::table(&["RECORD", "STATE", "DUO", "TYPE", "REGISTERED", "TITLE"], rows);
    Ok(Report { text: text::with_more(shown, &page), json: page, exit: Exit::Ok })
}

fn show(record: RecordId, globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let mut shown = row(&session, record)?;
    title::read(&session, &mut shown);
    // What can be proved is proved: who registered it, what payload, and that its custodians hold its key.
    let last = shown.get("last_version").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    if last > 0 {
        let version = RecordVersion::new(last);
        let custody = session.run(session.client.custody(record, version, std::time::Duration::ZERO));
        if let Some(custody) = custody.map_err(|error| failure::call(&error))?
            && let Some(members) = shown.as_object_mut()
        {
            let proved = json!({
                "version": version, "registrant": custody.registrant(), "transaction": custody.transaction(),
                "payload": custody.registration().payload.digest, "active": custody.is_active(),
            });
            members.insert("proved".to_owned(), proved);
        }
    }
    Ok(Report { text: text::fields(&shown), json: shown, exit: Exit::Ok })
}

fn history(record: RecordId, globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let page = session.run(session.client.gateway().get(&format!("records/{record}/history?limit=500")));
    let page = page.map_err(|error| failure::gateway(&error))?;
    let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let rows = items.iter().map(|item| {
        let time = item.get("time").and_then(Value::as_u64).map(text::time).unwrap_or_default();
        vec![time, text::clean(item.get("kind")), text::clean(item.get("owner")), text::clean(item.get("transaction"))]
    });
    Ok(Report { text: text::table(&["TIME", "EVENT", "OWNER", "TRANSACTION"], rows), json: page, exit: Exit::Ok })
}

/// Orders a call that either applies or is refused.
pub(super) fn changed(globals: &Globals, call: Invocation, done: &str, mut json: Value) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let result = session.run(session.client.call(call)).map_err(|error: CallError| failure::call(&error))?;
    applied(&result)?;
    if let Some(members) = json.as_object_mut() {
        members.insert("transaction".to_owned(), json!(result.transaction));
        members.insert("height".to_owned(), json!(result.event.height));
    }
    Ok(Report { text: done.to_owned(), json, exit: Exit::Ok })
}

/// A call that the ledger has applied; its refusal otherwise.
pub(super) fn applied(done: &Final) -> Result<(), Failure> {
    let outcome = &done.event.outcome;
    if matches!(outcome.verdict, Verdict::Applied | Verdict::Allow | Verdict::Pending) {
        return Ok(());
    }
    Err(failure::told(&crate::problem::Problem::of_outcome(outcome)))
}

fn verify(record: RecordId, version: Option<u32>, globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let version = match version {
        Some(version) => version,
        None => {
            let shown = row(&session, record)?;
            let last = shown.get("last_version").and_then(Value::as_u64);
            last.and_then(|n| u32::try_from(n).ok()).unwrap_or(1)
        }
    };
    let version = RecordVersion::new(version);
    let custody = session.run(session.client.custody(record, version, std::time::Duration::ZERO));
    let custody = custody.map_err(|error| failure::call(&error))?.ok_or_else(|| {
        Failure::new(Exit::NotFound, "unknown_record", format!("there is no version {version} of record {record}"))
    })?;
    let payload = &custody.registration().payload;
    let stored = session.run(digest_of(&session.client, payload.digest));
    let lost = || failure::open(&OpenError::PayloadLost { record, digest: payload.digest });
    let damaged = || failure::open(&OpenError::PayloadDamaged { record, digest: payload.digest });
    let (digest, len) = stored.map_err(|error| match failure::gateway(&error) {
        failure if failure.code == "unknown_payload" => lost(),
        failure if failure.code == "blob_corrupt" => damaged(),
        failure => failure,
    })?;
    let intact = digest == payload.digest && len == payload.ciphertext_len_bytes;
    let json =
        json!({ "record": record, "version": version, "payload": payload.digest, "bytes": len, "intact": intact });
    if intact {
        let text = format!("intact: {len} sealed bytes are those that were registered");
        return Ok(Report { text, json, exit: Exit::Ok });
    }
    Err(damaged())
}

async fn digest_of(client: &Remote, digest: PayloadDigest) -> Result<(PayloadDigest, u64), AskGatewayError> {
    use futures::TryStreamExt as _;
    let mut bytes = client.gateway().download(digest).await?;
    let (mut hasher, mut len) = (blake3::Hasher::new(), 0);
    while let Some(part) = bytes.try_next().await? {
        hasher.update(&part);
        len += part.len() as u64;
    }
    Ok((PayloadDigest::new(*hasher.finalize().as_bytes()), len))
}

/// The media type that a file's name suggests.
fn guessed(path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name = name.strip_suffix(".c4gh").unwrap_or(&name);
    const TYPES: [(&str, &str); 22] = [
        (".nii.gz", "application/gzip"),
        (".vcf.gz", "application/gzip"),
        (".fhir.json", "application/fhir+json"),
        (".dcm", "application/dicom"),
        (".nii", "application/octet-stream"),
        (".json", "application/json"),
        (".ndjson", "application/x-ndjson"),
        (".xml", "application/xml"),
        (".pdf", "application/pdf"),
        (".edf", "application/edf"),
        (".vcf", "text/x-vcf"),
        (".bam", "application/x-bam"),
        (".fa", "text/x-fasta"),
        (".fq", "text/x-fastq"),
        (".hl7", "x-application/hl7-v2+er7"),
        (".tar", "application/x-tar"),
        (".gz", "application/gzip"),
        (".zip", "application/zip"),
        (".csv", "text/csv"),
        (".tsv", "text/tab-separated-values"),
        (".txt", "text/plain"),
        (".owl", "application/rdf+xml"),
    ];
    TYPES.iter().find(|(end, _)| name.ends_with(end)).map_or("application/octet-stream", |(_, media)| media)
}
