//! `dmdl policy`: who may have a grant, and why.

mod diff;
mod explain;
mod grid;
mod judge;
mod pages;
mod simulate;
mod who;

use super::{
    Report, audit, failure, output,
    record::applied,
    session::{Globals, Session},
    text,
};
use crate::{
    client::AskGatewayError,
    exit::{Exit, Failure},
};
use clap::{Args as ClapArgs, Subcommand};
use dmdl_policies::{ParsedPolicy, templates::Template};
use dmdl_types::{
    access::{DuoCode, MondoId, Permission, PolicyDocument},
    event::{Action, Verdict},
    id::{PolicyId, RecordId},
    index_proof::HeadKey,
    limits,
};
use serde_json::{Value, json};
use std::path::Path;

/// How the first line of a file with rules begins, if it names the permission.
const PERMISSION: &str = "permission:";
/// Longest such line, with room to spare: as many diseases as a permission may have.
const PERMISSION_BYTES: usize = 4096;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lists the policy library: ready-made policies by name.
    #[command(after_help = "Example:\n  dmdl policy list")]
    List,
    /// Checks a policy without a network, and says exactly what is wrong with it.
    ///
    /// Ends with 2 when it is not valid. A file may name its permission in its first line:
    /// `// permission: DS MONDO:0005148`. Without that line and without --duo it is HMB.
    #[command(after_help = "Example:\n  dmdl policy check rules.cedar --duo DS --disease MONDO:0005148")]
    Check(Source),
    /// Sets the policy of a record: it binds every opening from then on.
    #[command(after_help = "Example:\n  dmdl policy set RECORD research-auto --duo HMB")]
    Set {
        /// The record.
        record: RecordId,
        #[command(flatten)]
        source: Source,
    },
    /// Shows the policy of a record, as a file that `policy set` takes.
    #[command(after_help = "Example:\n  dmdl policy show RECORD > rules.cedar")]
    Show {
        /// The record.
        record: RecordId,
    },
    /// Lists the policies that a record has had, proved complete.
    #[command(after_help = "Example:\n  dmdl --as owner.key policy history RECORD")]
    History {
        /// The record.
        record: RecordId,
    },
    /// Compares two policies that a record has had: their text, and what they decide.
    ///
    /// The policies are numbered as `policy history` lists them, from 1; 0 is the channel's default.
    #[command(after_help = diff::EXAMPLES)]
    Diff {
        /// The record.
        record: RecordId,
        /// The earlier one; the one before the later otherwise.
        #[arg(long, value_name = "N")]
        from: Option<usize>,
        /// The later one; the last otherwise.
        #[arg(long, value_name = "N")]
        to: Option<usize>,
    },
    /// Says who of the channel's people could get a record under its policy, and for what.
    #[command(after_help = who::EXAMPLES)]
    Who {
        /// The record.
        record: RecordId,
    },
    /// Says what a policy would have decided about past requests. Nothing is asked of the ledger.
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(simulate::Simulate),
    /// Says what a record's policy would decide about a request, and why. Nothing is asked of the ledger.
    #[command(after_help = explain::EXAMPLES)]
    Explain {
        /// The record.
        record: RecordId,
        /// Who asks for what, as NAME=VALUE with commas between.
        #[arg(long, value_name = "FACTS", required = true, value_delimiter = ',')]
        as_if: Vec<String>,
    },
}

/// Where a policy comes from.
#[derive(Debug, ClapArgs)]
pub(super) struct Source {
    /// A policy of the library, or a file in Cedar; `-` is the standard input.
    #[arg(value_name = "FILE")]
    policy: String,
    /// What the data may be used for, as a DUO code; HMB unless the file says otherwise.
    #[arg(long, value_name = "CODE")]
    duo: Option<DuoCode>,
    /// A disease that DS is limited to, as MONDO:0005148; may be repeated.
    #[arg(long, value_name = "MONDO", requires = "duo")]
    disease: Vec<MondoId>,
}

pub(super) fn run(command: &Command, globals: &Globals) -> Result<Report, Failure> {
    match command {
        Command::List => Ok(list()),
        Command::Check(source) => check(source),
        Command::Set { record, source } => set(*record, source, globals),
        Command::Show { record } => show(*record, globals),
        Command::History { record } => history(*record, globals),
        Command::Diff { record, from, to } => diff::run(*record, *from, *to, globals),
        Command::Who { record } => who::run(*record, globals),
        Command::Simulate(args) => simulate::run(args, globals),
        Command::Explain { record, as_if } => explain::run(*record, as_if, globals),
    }
}

/// The valid policy that an argument names: one of the library, or a file with rules.
///
/// The permission is `duo` with `diseases` if that is given, else what the file's first line says, else HMB.
/// That line is not part of the rules.
pub(super) fn document(arg: &str, duo: Option<DuoCode>, diseases: &[MondoId]) -> Result<PolicyDocument, Failure> {
    checked(arg, duo, diseases).map(|(document, _)| document)
}

fn checked(arg: &str, duo: Option<DuoCode>, diseases: &[MondoId]) -> Result<(PolicyDocument, ParsedPolicy), Failure> {
    let (said, rules) = match Template::named(arg) {
        Some(template) => (None, template.rules().to_owned()),
        None => file(arg)?,
    };
    let permission = match duo {
        Some(code) => Permission { code, diseases: diseases.to_vec() },
        None => said.unwrap_or(Permission { code: DuoCode::Hmb, diseases: Vec::new() }),
    };
    let document = PolicyDocument { permission, rules };
    let parsed = ParsedPolicy::parse(&document).map_err(invalid)?;
    Ok((document, parsed))
}

/// The permission that a file names, if it does, and its rules.
fn file(arg: &str) -> Result<(Option<Permission>, String), Failure> {
    let bytes = output::read(Path::new(arg), limits::POLICY_BYTES + PERMISSION_BYTES);
    let bytes = bytes.map_err(|failure| match failure.code.as_ref() {
        "not_found" => {
            let name = text::line(arg);
            let hint = format!("`{name}` is neither a policy of the library (`dmdl policy list`) nor a file");
            Failure::new(Exit::NotFound, "not_found", hint)
        }
        "too_long" => invalid(failure.detail),
        _ => failure,
    })?;
    let text = String::from_utf8(bytes).map_err(|_| invalid("the rules are not text in UTF-8"))?;
    match text.split_once('\n') {
        Some((first, rules)) => match permission(first)? {
            Some(permission) => Ok((Some(permission), rules.to_owned())),
            None => Ok((None, text)),
        },
        None => Ok((None, text)),
    }
}

/// The permission that a comment names: `// permission: DS MONDO:0005148`.
fn permission(line: &str) -> Result<Option<Permission>, Failure> {
    let comment = line.strip_prefix("//").map(str::trim_start);
    let Some(terms) = comment.and_then(|comment| comment.strip_prefix(PERMISSION)) else { return Ok(None) };
    let mut terms = terms.split_whitespace();
    let code = terms.next().unwrap_or_default().parse().map_err(invalid)?;
    let diseases = terms.map(str::parse).collect::<Result<_, _>>().map_err(invalid)?;
    Ok(Some(Permission { code, diseases }))
}

/// The permission as it is written before rules, and said to people.
fn said(permission: &Permission) -> String {
    let diseases = permission.diseases.iter().map(|disease| format!(" {disease}"));
    format!("{}{}", permission.code, diseases.collect::<String>())
}

fn invalid(why: impl ToString) -> Failure {
    Failure::new(Exit::Usage, "policy_invalid", text::lines(&why.to_string()))
}

fn list() -> Report {
    let rows = Template::ALL.iter().map(|template| vec![template.name().to_owned(), template.summary().to_owned()]);
    let text = text::table(&["NAME", "WHO MAY OPEN"], rows);
    let item = |template: &Template| json!({ "name": template.name(), "summary": template.summary(), "rules": template.rules() });
    let items: Vec<Value> = Template::ALL.iter().map(item).collect();
    Report { text, json: json!({ "items": items }), exit: Exit::Ok }
}

fn check(source: &Source) -> Result<Report, Failure> {
    let (document, parsed) = checked(&source.policy, source.duo, &source.disease)?;
    let rules: Vec<&str> = parsed.rule_names().collect();
    let names = if rules.is_empty() { "no rules".to_owned() } else { format!("rules {}", rules.join(", ")) };
    let text = format!("valid: permission {}, {names}\npolicy {}", said(&document.permission), document.id());
    let json = json!({
        "valid": true, "policy": document.id(), "permission": document.permission, "rules": rules,
    });
    Ok(Report { text, json, exit: Exit::Ok })
}

fn set(record: RecordId, source: &Source, globals: &Globals) -> Result<Report, Failure> {
    let document = document(&source.policy, source.duo, &source.disease)?;
    let policy = document.id();
    let session = globals.connect()?;
    let done = session.run(session.client.set_policy(record, document)).map_err(|error| failure::call(&error))?;
    applied(&done)?;
    let text = format!("record {record} has policy {policy}");
    let json = json!({
        "record": record, "policy": policy, "transaction": done.transaction, "height": done.event.height,
    });
    Ok(Report { text, json, exit: Exit::Ok })
}

/// The policy that the gateway shows of a record; none is the channel's default.
///
/// A policy's id is its hash, so that a gateway cannot show other rules under it.
fn shown(session: &Session, record: RecordId) -> Result<Option<PolicyDocument>, Failure> {
    let route = format!("records/{record}/policy");
    let told = session.run(session.client.gateway().get(&route)).map_err(|error| failure::gateway(&error))?;
    let nonsense = |what: &str| failure::gateway(&AskGatewayError::Nonsense(what.to_owned()));
    parse_shown(&told).map_err(nonsense)
}

fn parse_shown(told: &Value) -> Result<Option<PolicyDocument>, &'static str> {
    let id = match told.get("policy") {
        None | Some(Value::Null) => return Ok(None),
        Some(id) => id.as_str().and_then(|id| id.parse::<PolicyId>().ok()).ok_or("the policy has no id")?,
    };
    let code = told.pointer("/permission/code").and_then(Value::as_str).and_then(|code| code.parse().ok());
    let diseases =
        told.pointer("/permission/diseases").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let diseases = diseases.iter().map(|disease| disease.as_str().and_then(|text| text.parse().ok())).collect();
    let (Some(code), Some(diseases)) = (code, diseases) else { return Err("the policy has no permission") };
    let rules = told.get("rules").and_then(Value::as_str).ok_or("the policy has no rules")?;
    let document = PolicyDocument { permission: Permission { code, diseases }, rules: rules.to_owned() };
    if document.id() == id { Ok(Some(document)) } else { Err("the rules are not those of the policy's id") }
}

fn show(record: RecordId, globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let document = shown(&session, record)?;
    let (id, permission, rules) = match &document {
        Some(document) => (Some(document.id()), Some(&document.permission), document.rules.as_str()),
        None => (None, None, Template::ReviewOnly.rules()),
    };
    let text = match permission {
        Some(permission) => format!("// {PERMISSION} {}\n{}", said(permission), text::lines(rules)),
        None => {
            let name = Template::ReviewOnly.name();
            format!("// The record names no policy, so that the channel's default holds: {name}.\n{rules}")
        }
    };
    let json = json!({ "record": record, "policy": id, "permission": permission, "rules": rules });
    Ok(Report { text: text.trim_end().to_owned(), json, exit: Exit::Ok })
}

fn history(record: RecordId, globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let (_, proved) = audit::proved(&session, Some(HeadKey::Record(record)))?;
    let set = proved.events.iter().filter(|(_, event)| {
        matches!(event.action, Action::SetPolicy | Action::Register) && event.outcome.verdict == Verdict::Applied
    });
    // A registration without a policy, or of another version, leaves the policy as it is.
    let set: Vec<_> = set.filter_map(|(position, event)| Some((position, event, event.policy?))).collect();
    let rows = set.iter().map(|(_, event, policy)| {
        vec![event.time.to_string(), policy.to_string(), event.actor.to_string(), event.transaction.to_string()]
    });
    let text = text::table(&["SET", "POLICY", "BY", "TRANSACTION"], rows);
    let item = |(position, event, policy): &(&u64, &dmdl_types::event::Event, PolicyId)| {
        json!({
            "position": position, "time": event.time.to_string(), "policy": policy, "actor": event.actor,
            "action": event.action, "transaction": event.transaction,
        })
    };
    let items: Vec<Value> = set.iter().map(item).collect();
    let json = json!({ "record": record, "items": items, "height": proved.checkpoint.height });
    Ok(Report { text, json, exit: Exit::Ok })
}

#[cfg(test)]
mod tests;
