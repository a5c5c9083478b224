//! `dmdl access`: asking, deciding, opening.

mod open;
mod remarks;

use super::{
    Report, failure,
    record::{applied, changed},
    session::{Globals, Session},
    text,
};
use crate::{
    exit::{Exit, Failure},
    node::Final,
};
use clap::{Args as ClapArgs, Subcommand};
use dmdl_types::{
    access::{DuoCode, MondoId, Purpose, Terms},
    event::{Action, Verdict},
    id::{GrantId, NoteCommitment, RecordId, TransactionId},
    invocation::{Access, Invocation},
};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Largest document that a request commits to.
const DOCUMENT_BYTES: u64 = 64 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Asks for access to records. The policy of each decides at once, or leaves it to review.
    ///
    /// Ends with 3 when the policy denies, with 0 when it allows or leaves the request pending.
    #[command(after_help = "Example:
  dmdl access request RECORD --purpose DS --disease MONDO:0005148 --days 90 --uses 3 --reason 'diabetes cohort'")]
    Request(Box<Request>),
    /// Waits until a request is decided.
    Wait {
        /// The request.
        request: TransactionId,
    },
    /// Approves a request that a policy left to review.
    #[command(after_help = "Example:
  dmdl access approve REQUEST --comment 'for the cohort of 2026 only'")]
    Approve(Review),
    /// Denies a request that a policy left to review.
    Deny(Review),
    /// Takes back the reason or comment that one gave on a request: nobody gets it any more.
    ///
    /// The ledger keeps what was decided, and a commitment that says nothing about the text.
    Forget {
        /// The request.
        request: TransactionId,
    },
    /// Ends a grant: nothing ordered after it is opened under it.
    Revoke {
        /// The grant, or the request that it answers.
        grant: String,
    },
    /// Lists requests: one's own, or those that one decides about.
    List {
        /// Only about this record.
        #[arg(long, value_name = "ID")]
        record: Option<RecordId>,
        /// Only in this state: pending, allowed or denied.
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// How many at a time.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
        /// Where the last page ended.
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Shows a request with its reason, its decision with its comment, and its grant.
    Show {
        /// The request.
        request: TransactionId,
    },
    /// Opens a record: an ordered decryption, shares from the custodians, the plaintext.
    #[command(after_help = "Examples:
  dmdl access open RECORD --out scan.dcm
  dmdl access open REQUEST --out - | dcmdump -
  dmdl access open RECORD --range 0-1048575 --out first-mebibyte
  dmdl access open RECORD --transaction TX --out scan.dcm    # resume; counts no second use")]
    Open(Box<open::Open>),
}

#[derive(Debug, ClapArgs)]
pub(super) struct Review {
    /// The request.
    request: TransactionId,
    /// Why, in words, sealed to the requester, the record's owner, the committee and officers.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Request {
    /// The records.
    #[arg(required = true, value_name = "ID")]
    records: Vec<RecordId>,
    /// Why, as a DUO code: GRU, HMB, DS, POA or NRES.
    #[arg(long, value_name = "DUO_CODE")]
    purpose: DuoCode,
    /// Why, in words. They are sealed to the record's owner, the committee and officers; the ledger gets a salted
    /// commitment to them.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how many days.
    #[arg(long, value_name = "N", default_value_t = 30)]
    days: u16,
    /// For how many openings.
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: u32,
    /// The disease under study.
    #[arg(long, value_name = "MONDO")]
    disease: Option<MondoId>,
    /// The approved project. Only a commitment to it is sent.
    #[arg(long, value_name = "P")]
    project: Option<String>,
    /// The country of use, as two letters.
    #[arg(long, value_name = "CC", value_parser = country)]
    country: Option<[u8; 2]>,
    /// The ethics approval. Only a commitment to it is sent.
    #[arg(long, value_name = "FILE")]
    ethics: Option<PathBuf>,
    /// The use is not for profit.
    #[arg(long)]
    non_profit: bool,
    /// The use is commercial.
    #[arg(long, conflicts_with = "non_profit")]
    commercial: bool,
}

fn country(text: &str) -> Result<[u8; 2], String> {
    let code = <[u8; 2]>::try_from(text.as_bytes()).ok().filter(|code| code.iter().all(u8::is_ascii_uppercase));
    code.ok_or_else(|| "two capital letters, as in ISO 3166-1: `CH`".to_owned())
}

pub(super) fn run(command: &Command, globals: &Globals) -> Result<Report, Failure> {
    match command {
        Command::Request(args) => request(args, globals),
        Command::Wait { request } => wait(*request, globals),
        Command::Approve(args) => review(args, true, globals),
        Command::Deny(args) => review(args, false, globals),
        Command::Forget { request } => remarks::forget(*request, globals),
        Command::Revoke { grant } => {
            let id: GrantId =
                grant.parse().map_err(|_| Failure::new(Exit::Usage, "bad_id", "a grant is 64 hexadecimal digits"))?;
            revoke(id, globals)
        }
        Command::List { record, state, limit, cursor } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(record.map(|value| ("record", value.to_string())));
            query.extend(state.clone().map(|value| ("state", value.to_ascii_uppercase())));
            query.extend(cursor.clone().map(|value| ("cursor", value)));
            list(&query, globals)
        }
        Command::Show { request } => {
            let session = globals.connect()?;
            let mut shown = row(&session, *request)?;
            remarks::add(&session, *request, &mut shown);
            Ok(Report { text: text::fields(&remarks::readable(&shown)), json: shown, exit: Exit::Ok })
        }
        Command::Open(args) => open::run(args, globals),
    }
}

fn request(args: &Request, globals: &Globals) -> Result<Report, Failure> {
    let salt = |text: &[u8]| *blake3::hash(text).as_bytes();
    // A project is no secret between the parties: the same project always gives the same commitment.
    let project = args.project.as_deref().map(|project| NoteCommitment::of(&salt(b"project"), project));
    let ethics = args.ethics.as_deref().map(document).transpose()?;
    let terms = Terms {
        purpose: Purpose { code: args.purpose, disease: args.disease },
        days: args.days,
        uses: args.uses,
        non_profit: args.non_profit,
        commercial: args.commercial,
        country: args.country,
        project,
        ethics,
    };
    let session = globals.connect()?;
    let (mut lines, mut results, mut exit) = (Vec::new(), Vec::new(), Exit::Ok);
    for record in &args.records {
        let asked = session.run(session.client.ask(*record, terms.clone(), &args.reason));
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) if args.records.len() == 1 => return Err(failure::call(&error)),
            Err(error) => {
                let Failure { exit: code, code: name, detail } = failure::call(&error);
                lines.push(format!("{record}: {detail}"));
                results.push(json!({ "error": { "code": name, "detail": detail, "exit": code as u8 } }));
                exit = if exit == Exit::Ok { code } else { exit };
                continue;
            }
        };
        let (line, mut json, code) = decided(&asked.done, asked.done.transaction);
        if let Some(members) = json.as_object_mut() {
            members.insert("reason".to_owned(), remarks::kept(&asked.kept, "reason", globals));
        }
        lines.push(line);
        results.push(json);
        exit = if exit == Exit::Ok { code } else { exit };
    }
    let json = match <[Value; 1]>::try_from(results) {
        Ok([only]) => only,
        Err(results) => json!({ "items": results }),
    };
    Ok(Report { text: lines.join("\n"), json, exit })
}

/// A commitment to a file: it is read here and sent nowhere.
fn document(path: &Path) -> Result<NoteCommitment, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(Exit::Usage, "unreadable", format!("cannot read `{}`: {error}", path.display()))
    };
    // A pipe or a device has no end that anyone could wait for.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Failure::new(Exit::Usage, "not_a_file", format!("`{}` is not a regular file", path.display())));
    }
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).map_err(unreadable)?;
    let len = hasher.update_reader(file.take(DOCUMENT_BYTES + 1)).map_err(unreadable)?.count();
    if len > DOCUMENT_BYTES {
        let detail = format!("`{}` is longer than {} MiB", path.display(), DOCUMENT_BYTES >> 20);
        return Err(Failure::new(Exit::Usage, "too_long", detail));
    }
    Ok(NoteCommitment::new(*hasher.finalize().as_bytes()))
}

/// How a request stands, by a proved outcome.
fn decided(done: &Final, request: TransactionId) -> (String, Value, Exit) {
    let outcome = &done.event.outcome;
    let approved = done.event.action == Action::Approve && outcome.verdict == Verdict::Applied;
    let denied = done.event.action == Action::DenyRequest && outcome.verdict == Verdict::Applied;
    let decision = match outcome.verdict {
        Verdict::Allow => "allow",
        Verdict::Pending => "pending",
        _ if approved => "allow",
        _ => "deny",
    };
    let reasons: Vec<Value> =
        outcome.reasons.iter().map(|reason| json!({ "code": reason.code, "detail": reason.to_string() })).collect();
    let mut json = json!({
        "request": request,
        "decision": decision,
        "reasons": reasons,
        "transaction": done.transaction,
        "height": done.event.height,
    });
    if let (Some(grant), Some(members)) = (outcome.grant, json.as_object_mut()) {
        members.insert("grant".to_owned(), json!(grant));
    }
    let why = crate::client::reasons(&outcome.reasons);
    let exit = if decision == "deny" { Exit::Denied } else { Exit::Ok };
    debug_assert!(!denied || exit == Exit::Denied);
    (format!("{request} {} ({why})", decision.to_ascii_uppercase()), json, exit)
}

/// What the gateway says of a request.
fn row(session: &Session, request: TransactionId) -> Result<Value, Failure> {
    let shown = session.run(session.client.gateway().get(&format!("requests/{request}")));
    shown.map_err(|error| failure::gateway(&error))
}

/// Waits for a decision, and believes it only with its receipt.
fn wait(request: TransactionId, globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let asked = session.run(session.client.outcome(request, session.patience)).map_err(|e| failure::call(&e))?;
    let asked = asked
        .ok_or_else(|| Failure::new(Exit::NotFound, "unknown_request", format!("there is no request {request}")))?;
    let done = if asked.event.outcome.verdict == Verdict::Pending {
        session.run(session.client.decision(request, session.patience)).map_err(|error| failure::call(&error))?
    } else {
        Some(asked)
    };
    let done = done.ok_or_else(|| {
        let detail = format!("request {request} is not decided yet; wait again");
        Failure::new(Exit::Unavailable, "pending", detail)
    })?;
    let (text, json, exit) = decided(&done, request);
    Ok(Report { text, json, exit })
}

fn review(args: &Review, approve: bool, globals: &Globals) -> Result<Report, Failure> {
    let Review { request, comment } = args;
    let session = globals.connect()?;
    let (done, kept) = match comment {
        Some(comment) => {
            let said = session.run(session.client.decide(*request, approve, comment));
            let said = said.map_err(|error| failure::call(&error))?;
            (said.done, Some(said.kept))
        }
        None => (session.run(session.client.review(*request, approve)).map_err(|error| failure::call(&error))?, None),
    };
    applied(&done)?;
    let state = if approve { "ALLOWED" } else { "DENIED" };
    let grant = done.event.outcome.grant;
    let mut json = json!({
        "request": request, "state": state, "grant": grant, "transaction": done.transaction, "height": done.event.height,
    });
    if let (Some(kept), Some(members)) = (kept, json.as_object_mut()) {
        members.insert("comment".to_owned(), remarks::kept(&kept, "comment", globals));
    }
    let text = match grant {
        Some(grant) => format!("{request} ALLOWED, grant {grant}"),
        None => format!("{request} {state}"),
    };
    Ok(Report { text, json, exit: Exit::Ok })
}

fn revoke(grant: GrantId, globals: &Globals) -> Result<Report, Failure> {
    let call = Invocation::Access(Access::Revoke { grant });
    changed(globals, call, &format!("grant {grant} is revoked"), json!({ "grant": grant, "state": "REVOKED" }))
}

fn list(query: &[(&str, String)], globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let route = format!("requests?{}", text::query(query));
    let mut page = session.run(session.client.gateway().get(&route)).map_err(|error| failure::gateway(&error))?;
    if let Some(items) = page.get_mut("items").and_then(Value::as_array_mut) {
        remarks::add_all(&session, items);
    }
    let items = page.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rows = items.iter().map(|item| {
        vec![
            text::clean(item.get("request")),
            text::clean(item.get("state")),
            text::clean(item.pointer("/terms/purpose/code")),
            text::clean(item.get("record")),
            text::clean(item.pointer("/grant/grant")),
            remarks::clipped(item, "reason"),
        ]
    });
    let shown = text::table(&["REQUEST", "STATE", "PURPOSE", "RECORD", "GRANT", "REASON"], rows);
    Ok(Report { text: text::with_more(shown, &page), json: page, exit: Exit::Ok })
}
