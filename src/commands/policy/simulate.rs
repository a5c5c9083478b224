//! `dmdl policy simulate`: what a policy would have decided about past requests.

use super::{
    super::{
        Report, failure,
        session::{Globals, Session},
        text,
    },
    Source,
    judge::{Judge, Known, Record, nonsense, word},
    pages,
};
use crate::exit::{Exit, Failure};
use clap::Args as ClapArgs;
use dmdl_policies::Request;
use dmdl_types::{
    access::{Purpose, Ruling, Terms},
    genesis::Role,
    id::{NoteCommitment, OrgId, RecordId},
    sign::PublicKey,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const EXAMPLES: &str =
    "Past requests are those that one sees: an owner or a committee those for their records, an officer all.
They are decided anew as if they were made today, by people who had opened nothing.

Examples:
  dmdl policy simulate stricter.cedar --record RECORD
  dmdl policy simulate closed --duo GRU";

/// Most requests that are looked at.
const REQUESTS_MAX: usize = 5000;

#[derive(Debug, ClapArgs)]
pub(in super::super) struct Simulate {
    #[command(flatten)]
    source: Source,
    /// Only requests for this record.
    #[arg(long, value_name = "ID")]
    record: Option<RecordId>,
}

/// A request as it was made, and what the policy of that time ruled.
struct Past {
    request: String,
    record: RecordId,
    requester: PublicKey,
    terms: Terms,
    ruled: Ruling,
}

pub(super) fn run(args: &Simulate, globals: &Globals) -> Result<Report, Failure> {
    let Source { policy, duo, disease } = &args.source;
    let document = super::document(policy, *duo, disease)?;
    let judge = Judge::of(Some(&document))?;
    let session = globals.connect()?;
    let (past, complete) = past(&session, args.record)?;
    let (mut records, mut people) = (BTreeMap::new(), BTreeMap::new());
    let (known, mut changed, mut rows) = (Known::plain(), Vec::new(), Vec::new());
    for Past { request, record, requester, terms, ruled } in &past {
        let about = match records.get(record) {
            Some(about) => about,
            None => records.entry(*record).or_insert(Record::of(&session, *record)?),
        };
        let (org, role) = match people.get(requester) {
            Some(known) => known,
            None => people.entry(*requester).or_insert(person(&session, *requester)?),
        };
        let asked =
            Request { requester: *requester, requester_org: org.clone(), requester_role: *role, terms: terms.clone() };
        let now = judge.rule(about, &asked, known);
        if now.ruling == *ruled {
            continue;
        }
        let (before, after) = (word(*ruled), word(now.ruling));
        let reasons: Vec<Value> =
            now.reasons.iter().map(|reason| json!({ "code": reason.code, "detail": reason.to_string() })).collect();
        let why = now.reasons.first().map(ToString::to_string).unwrap_or_default();
        rows.push(vec![request.clone(), terms.purpose.to_string(), before.to_owned(), after.to_owned(), why]);
        changed.push(json!({
            "request": request, "record": record, "requester": requester, "purpose": terms.purpose,
            "before": before, "after": after, "reasons": reasons,
        }));
    }
    let looked = past.len();
    let mut shown = format!("Of {looked} past requests, {} would be decided otherwise.", changed.len());
    if !rows.is_empty() {
        shown.push_str(&format!("\n{}", text::table(&["REQUEST", "PURPOSE", "THEN", "NOW", "BECAUSE"], rows)));
    }
    if !complete {
        shown.push_str("\nThere are more than these.");
    }
    let json = json!({
        "policy": document.id(), "record": args.record, "looked": looked, "complete": complete, "changed": changed,
    });
    Ok(Report { text: shown, json, exit: Exit::Ok })
}

/// The requests that one sees, and whether they are all.
fn past(session: &Session, record: Option<RecordId>) -> Result<(Vec<Past>, bool), Failure> {
    let filter: Vec<(&str, String)> = record.map(|record| ("record", record.to_string())).into_iter().collect();
    let take = |item: &Value| read(item).map(Some).ok_or_else(|| nonsense("a request is none"));
    pages::all(session, "requests", &filter, REQUESTS_MAX, take)
}

fn read(item: &Value) -> Option<Past> {
    let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str);
    let number = |pointer: &str| item.pointer(pointer).and_then(Value::as_u64);
    let flag = |pointer: &str| item.pointer(pointer).and_then(Value::as_bool).unwrap_or_default();
    let optional = |pointer: &str| text(pointer).map(str::parse::<NoteCommitment>).transpose().ok();
    let disease = text("/terms/purpose/disease").map(str::parse).transpose().ok()?;
    let terms = Terms {
        purpose: Purpose { code: text("/terms/purpose/code")?.parse().ok()?, disease },
        days: number("/terms/days")?.try_into().ok()?,
        uses: number("/terms/uses")?.try_into().ok()?,
        non_profit: flag("/terms/non_profit"),
        commercial: flag("/terms/commercial"),
        country: text("/terms/country").map(|code| code.as_bytes().try_into()).transpose().ok()?,
        project: optional("/terms/project")?,
        ethics: optional("/terms/ethics")?,
    };
    let ruled = match text("/ruled")? {
        "allow" => Ruling::Allow,
        "pending" => Ruling::Review,
        _ => Ruling::Deny,
    };
    Some(Past {
        request: text("/request")?.to_owned(),
        record: text("/record")?.parse().ok()?,
        requester: text("/requester")?.parse().ok()?,
        terms,
        ruled,
    })
}

fn person(session: &Session, key: PublicKey) -> Result<(OrgId, Role), Failure> {
    let shown = session.run(session.client.gateway().get(&format!("persons/{key}")));
    let shown = shown.map_err(|error| failure::gateway(&error))?;
    let text = |name: &str| shown.get(name).and_then(Value::as_str);
    let read = || Some((text("org")?.parse().ok()?, super::super::id::role(text("role")?).ok()?));
    read().ok_or_else(|| nonsense("a person is none"))
}
