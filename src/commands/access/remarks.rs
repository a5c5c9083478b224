//! Reasons and comments as people read them: beside what the ledger says, and never in its way.

use super::super::{
    failure,
    session::{Globals, Session},
    text,
};
use crate::{
    client::{CallError, Said, Told},
    exit::{Exit, Failure},
};
use dmdl_types::id::TransactionId;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

/// Requests whose remarks are asked for at a time.
const AT_ONCE: usize = 8;
/// Characters of a reason in a list.
const CLIP_CHARS: usize = 40;

/// Whether a remark was kept; says so if it was not.
pub(super) fn kept(kept: &Result<(), CallError>, what: &str, globals: &Globals) -> Value {
    let Err(error) = kept else { return json!({ "state": "kept" }) };
    let failure = failure::call(error);
    if !globals.json {
        text::warn(&format!("the {what} is not kept, and cannot be given later: {}", failure.detail));
    }
    json!({ "state": "missing", "code": failure.code, "detail": failure.detail })
}

/// Adds the reason of a request, and the comment of its review once there is one.
pub(super) fn add(session: &Session, request: TransactionId, row: &mut Value) {
    let said = session.run(session.client.remarks(request));
    put(row, said);
}

/// The same for a page of requests.
pub(super) fn add_all(session: &Session, rows: &mut [Value]) {
    let ids = rows.iter().map(|row| row.get("request")?.as_str()?.parse::<TransactionId>().ok());
    let ids: Vec<Option<TransactionId>> = ids.collect();
    let asked = stream::iter(ids).map(|id| async move {
        match id {
            Some(id) => session.client.remarks(id).await,
            None => Ok(Vec::new()),
        }
    });
    let said: Vec<_> = session.run(asked.buffered(AT_ONCE).collect());
    rows.iter_mut().zip(said).for_each(|(row, said)| put(row, said));
}

fn put(row: &mut Value, said: Result<Vec<Said>, CallError>) {
    let Some(members) = row.as_object_mut() else { return };
    // The row is what the gateway says; what somebody remarked is shown as proved, or not at all.
    members.remove("comment");
    members.insert("reason".to_owned(), json!({ "state": "missing" }));
    let said = match said {
        Ok(said) => said,
        Err(error) => {
            let detail = failure::call(&error).detail;
            members.insert("reason".to_owned(), json!({ "state": "unavailable", "detail": detail }));
            return;
        }
    };
    for Said { transaction, author, is_reason, told } in said {
        let name = if is_reason { "reason" } else { "comment" };
        let (state, text) = match told {
            Told::Text(text) => ("read", Some(text)),
            Told::Missing => ("missing", None),
            Told::Withdrawn => ("withdrawn", None),
            Told::NotForYou => ("not_for_you", None),
            Told::Altered => ("altered", None),
        };
        let shown = json!({ "state": state, "text": text, "author": author, "transaction": transaction });
        members.insert(name.to_owned(), shown);
    }
}

/// A row with its remarks as text: what they say, or why they say nothing.
pub(super) fn readable(row: &Value) -> Value {
    let mut row = row.clone();
    for name in ["reason", "comment"] {
        if row.get(name).is_some() {
            let text = line(&row, name);
            row.as_object_mut().and_then(|members| members.insert(name.to_owned(), text.into()));
        }
    }
    row
}

/// The beginning of a remark, for a column.
pub(super) fn clipped(row: &Value, name: &str) -> String {
    let all = line(row, name);
    let first = text::line(all.lines().next().unwrap_or_default());
    if first.chars().count() > CLIP_CHARS || all.lines().count() > 1 {
        return first.chars().take(CLIP_CHARS - 1).chain(['…']).collect();
    }
    first
}

fn line(row: &Value, name: &str) -> String {
    let member = |member: &str| row.pointer(&format!("/{name}/{member}")).and_then(Value::as_str);
    match (member("text"), member("state")) {
        (Some(text), _) => text.to_owned(),
        (None, Some(state)) => format!("({})", state.replace('_', " ")),
        (None, None) => String::new(),
    }
}

/// Takes back what one has remarked on a request.
pub(super) fn forget(request: TransactionId, globals: &Globals) -> Result<super::Report, Failure> {
    let session = globals.connect()?;
    let forgotten = session.run(session.client.forget(request)).map_err(|error| failure::call(&error))?;
    if forgotten.is_empty() {
        let detail = format!("you have remarked nothing on request {request}");
        return Err(Failure::new(Exit::NotFound, "unknown_remark", detail));
    }
    let text = format!("your remarks on request {request} are taken back; the ledger keeps its commitment");
    Ok(super::Report { text, json: json!({ "request": request, "withdrawn": forgotten }), exit: Exit::Ok })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_nothing_of_remarks_by_itself() {
        let text = json!({ "state": "read", "text": "the board agreed" });
        let forged = json!({ "request": "r", "reason": text, "comment": text });
        let mut row = forged.clone();
        put(&mut row, Ok(Vec::new()));
        assert_eq!(row, json!({ "request": "r", "reason": { "state": "missing" } }));
        row = forged;
        put(&mut row, Err(CallError::Title(dmdl_types::title::TitleError::TooLong)));
        assert_eq!((&row["reason"]["state"], row.get("comment")), (&json!("unavailable"), None));
    }

    #[test]
    fn a_remark_is_shown_or_why_there_is_none() {
        let row = json!({
            "request": "r",
            "reason": { "state": "read", "text": "one\ntwo" }, "comment": { "state": "not_for_you", "text": null },
        });
        assert_eq!(readable(&row), json!({ "request": "r", "reason": "one\ntwo", "comment": "(not for you)" }));
        assert_eq!((clipped(&row, "reason"), clipped(&row, "comment")), ("one…".into(), "(not for you)".into()));
        let long = json!({ "reason": { "state": "read", "text": "x".repeat(50) } });
        assert_eq!(clipped(&long, "reason").chars().count(), CLIP_CHARS);
        let steering = json!({ "reason": { "state": "read", "text": "a\u{202e}b" } });
        assert_eq!(clipped(&steering, "reason"), "a?b");
        assert_eq!(clipped(&json!({}), "reason"), "");
    }
}
