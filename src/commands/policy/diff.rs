//! `dmdl policy diff`: how two policies of a record differ, in text and in what they decide.

use super::{
    super::{
        Report, audit, failure,
        session::{Globals, Session},
        text,
    },
    grid,
    judge::{Judge, Known, Record, nonsense, word},
    said,
};
use crate::exit::{Exit, Failure};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use dmdl_policies::{Request, templates::Template};
use dmdl_types::{
    access::PolicyDocument,
    codec,
    event::{Action, Verdict},
    genesis::Role,
    id::{OrgId, RecordId, TransactionId},
    index_proof::HeadKey,
    invocation::{Access, Invocation},
    limits,
    sign::PublicKey,
    transaction::Transaction,
};
use serde_json::{Value, json};

pub(super) const EXAMPLES: &str = "Examples:
  dmdl policy diff RECORD
  dmdl policy diff RECORD --from 1 --to 3";

/// Changed cells of the grid that are shown to people; machines get all.
const SHOWN: usize = 24;
/// Lines of two texts that are compared one by one, multiplied.
const LINES_MAX: usize = 4_000_000;

pub(super) fn run(
    record: RecordId,
    from: Option<usize>,
    to: Option<usize>,
    globals: &Globals,
) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let set = history(&session, record)?;
    let later = to.unwrap_or(set.len());
    let earlier = from.unwrap_or(later.saturating_sub(1));
    let policy = |number: usize| match number.checked_sub(1) {
        None => Ok(None),
        Some(place) => match set.get(place) {
            Some(transaction) => document(&session, record, *transaction).map(Some),
            None => {
                let detail = format!("the record has had {} policies; see `dmdl policy history`", set.len());
                Err(Failure::new(Exit::NotFound, "unknown_policy", detail))
            }
        },
    };
    let (before, after) = (policy(earlier)?, policy(later)?);
    let lines = lines(&before, &after);
    let about = Record::of(&session, record)?;
    let Meaning { grid, looked, changes } = meaning(&about, before.as_ref(), after.as_ref())?;

    let id = |policy: &Option<PolicyDocument>| policy.as_ref().map(PolicyDocument::id);
    let name = |number: usize, policy: &Option<PolicyDocument>| match id(policy) {
        Some(id) => format!("{number} {id}"),
        None => format!("{number} the channel's default"),
    };
    let mut shown = format!("--- {}\n+++ {}", name(earlier, &before), name(later, &after));
    for (sign, line) in lines.iter().filter(|_| before != after) {
        shown.push_str(&format!("\n{sign}{}", text::line(line)));
    }
    shown.push_str(&format!("\n\nOf {looked} requests that were tried, {} are decided otherwise:", changes.len()));
    let rows = changes.iter().take(SHOWN).map(|change| {
        vec![change.who.to_owned(), change.what.clone(), change.before.to_owned(), change.after.to_owned()]
    });
    if !changes.is_empty() {
        shown.push_str(&format!("\n{}", text::table(&["ASKED BY", "FOR", "BEFORE", "AFTER"], rows)));
    }
    if changes.len() > SHOWN {
        shown.push_str(&format!("\nand {} more; --json shows all", changes.len() - SHOWN));
    }
    shown.push_str(&format!("\nTried: a researcher of the owner's organisation and of another; {grid}."));

    let side = |number, policy: &Option<PolicyDocument>| json!({ "number": number, "policy": id(policy) });
    let line = |(sign, line): &(char, String)| format!("{sign}{line}");
    let change = |change: &Change| json!({ "by": change.who, "for": change.what, "before": change.before, "after": change.after });
    let json = json!({
        "record": record, "from": side(earlier, &before), "to": side(later, &after),
        "lines": lines.iter().map(line).collect::<Vec<_>>(),
        "grid": grid, "looked": looked, "changed": changes.iter().map(change).collect::<Vec<_>>(),
    });
    Ok(Report { text: shown, json, exit: Exit::Ok })
}

/// The transactions that gave a record its policies, proved complete.
fn history(session: &Session, record: RecordId) -> Result<Vec<TransactionId>, Failure> {
    let (_, proved) = audit::proved(session, Some(HeadKey::Record(record)))?;
    let set = proved.events.iter().filter(|(_, event)| {
        matches!(event.action, Action::SetPolicy | Action::Register)
            && event.outcome.verdict == Verdict::Applied
            && event.policy.is_some()
    });
    Ok(set.map(|(_, event)| event.transaction).collect())
}

/// The policy that a transaction gave to a record: its id is its hash, so that it is no other.
fn document(session: &Session, record: RecordId, transaction: TransactionId) -> Result<PolicyDocument, Failure> {
    let shown = session.run(session.client.gateway().get(&format!("transactions/{transaction}")));
    let shown = shown.map_err(|error| failure::gateway(&error))?;
    let body = shown.get("body").and_then(Value::as_str).and_then(|text| BASE64.decode(text).ok());
    let body = body.and_then(|bytes| codec::decode::<Transaction>(&bytes, limits::TRANSACTION_BYTES).ok());
    let body = body.filter(|shown| shown.body.id() == transaction).map(|shown| shown.body.invocation);
    match body {
        Some(Invocation::Access(Access::SetPolicy { record: of, policy })) if of == record => Ok(policy),
        Some(Invocation::Access(Access::Register(call))) if call.record == record => {
            call.policy.ok_or_else(|| nonsense("the registration has no policy"))
        }
        _ => Err(nonsense("the transaction is not the one that set the policy")),
    }
}

/// A policy as `policy show` writes it.
fn written(policy: &Option<PolicyDocument>) -> String {
    match policy {
        Some(document) => format!("// {} {}\n{}", super::PERMISSION, said(&document.permission), document.rules),
        None => Template::ReviewOnly.rules().to_owned(),
    }
}

fn lines(before: &Option<PolicyDocument>, after: &Option<PolicyDocument>) -> Vec<(char, String)> {
    let (before, after) = (written(before), written(after));
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    compared(&before, &after).into_iter().map(|(sign, line)| (sign, line.to_owned())).collect()
}

/// The lines of both texts, those that only one has with its sign: by a longest common subsequence.
fn compared<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<(char, &'a str)> {
    if before.len().saturating_mul(after.len()) > LINES_MAX {
        let gone = before.iter().map(|line| ('-', *line));
        return gone.chain(after.iter().map(|line| ('+', *line))).collect();
    }
    // How much the rests of both texts have in common, by where they begin.
    let width = after.len() + 1;
    let mut common = vec![0_u32; (before.len() + 1) * width];
    let left = |common: &[u32], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    for (i, old) in before.iter().enumerate().rev() {
        for (j, new) in after.iter().enumerate().rev() {
            let length = if old == new {
                left(&common, i + 1, j + 1) + 1
            } else {
                left(&common, i + 1, j).max(left(&common, i, j + 1))
            };
            if let Some(cell) = common.get_mut(i * width + j) {
                *cell = length;
            }
        }
    }
    let (mut i, mut j, mut shown) = (0, 0, Vec::new());
    loop {
        match (before.get(i), after.get(j)) {
            (Some(old), Some(new)) if old == new => {
                shown.push((' ', *old));
                (i, j) = (i + 1, j + 1);
            }
            (Some(old), new) if new.is_none() || left(&common, i + 1, j) >= left(&common, i, j + 1) => {
                shown.push(('-', *old));
                i += 1;
            }
            (_, Some(new)) => {
                shown.push(('+', *new));
                j += 1;
            }
            (_, None) => return shown,
        }
    }
}

/// What changes between two policies on a grid of requests.
struct Meaning {
    grid: String,
    looked: usize,
    changes: Vec<Change>,
}

struct Change {
    who: &'static str,
    what: String,
    before: &'static str,
    after: &'static str,
}

fn meaning(
    record: &Record,
    before: Option<&PolicyDocument>,
    after: Option<&PolicyDocument>,
) -> Result<Meaning, Failure> {
    let (old, new) = (Judge::of(before)?, Judge::of(after)?);
    let purposes = grid::purposes(&[old.permission(), new.permission()]);
    let (cells, known) = (grid::cells(&purposes), Known::plain());
    let elsewhere: OrgId = "another-organisation".parse().map_err(|_| nonsense("an organisation has no name"))?;
    let (mut looked, mut changes) = (0, Vec::new());
    for (who, org) in [("own organisation", &record.org), ("another", &elsewhere)] {
        for cell in &cells {
            let request = Request {
                // The key of nobody: rules about single people are not tried.
                requester: PublicKey::new([0; 32]),
                requester_org: org.clone(),
                requester_role: Role::Researcher,
                terms: cell.terms(),
            };
            let [before, after] = [&old, &new].map(|judge| word(judge.rule(record, &request, known).ruling));
            looked += 1;
            if before != after {
                changes.push(Change { who, what: cell.to_string(), before, after });
            }
        }
    }
    Ok(Meaning { grid: grid::said(&purposes), looked, changes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmdl_types::access::{DuoCode, Permission};

    #[test]
    fn lines_that_both_have_are_told_from_those_that_one_has() {
        let compare = |before: &[&'static str], after: &[&'static str]| {
            let lines = compared(before, after);
            lines.into_iter().map(|(sign, line)| format!("{sign}{line}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(compare(&["a", "b", "c"], &["a", "x", "c", "d"]), " a -b +x  c +d");
        assert_eq!(compare(&[], &["a"]), "+a");
        assert_eq!(compare(&["a", "b"], &[]), "-a -b");
        assert_eq!(compare(&["a"], &["a"]), " a");
        let many = vec!["x"; 3000];
        assert_eq!(compared(&many, &many).len(), 6000, "too long to compare: all of both is shown");
    }

    #[test]
    fn what_a_change_means_is_found_on_the_grid() {
        let record = Record {
            id: RecordId::new([1; 32]),
            owner: PublicKey::new([2; 32]),
            org: "city-hospital".parse().unwrap(),
            media_type: "application/dicom".to_owned(),
        };
        let policy = |code, template: Template| template.document(Permission { code, diseases: vec![] });
        let before = policy(DuoCode::Gru, Template::ResearchAuto);
        let same = meaning(&record, Some(&before), Some(&before)).unwrap();
        assert_eq!((same.looked, same.changes.len()), (2 * 4 * 4 * 2 * 3 * 2, 0));
        let narrowed = meaning(&record, Some(&before), Some(&policy(DuoCode::Hmb, Template::ResearchAuto))).unwrap();
        assert!(narrowed.changes.iter().all(|change| change.after == "DENY"));
        let purposes: std::collections::BTreeSet<&str> =
            narrowed.changes.iter().filter_map(|change| change.what.split(',').next()).collect();
        assert_eq!(purposes.into_iter().collect::<Vec<_>>(), ["GRU", "POA"]);
        let closed = meaning(&record, Some(&before), Some(&policy(DuoCode::Gru, Template::Closed))).unwrap();
        assert_eq!(closed.changes.len(), closed.looked, "a year was left to review, and is denied now");
        let default = meaning(&record, None, Some(&before)).unwrap();
        let opened = |change: &Change| (change.before, change.after) == ("REVIEW", "ALLOW");
        assert!(!default.changes.is_empty() && default.changes.iter().all(opened));
    }
}
