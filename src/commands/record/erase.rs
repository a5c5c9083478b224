//! `dmdl record erase`: ends a record, and says who has destroyed what opened it.

use super::{
    super::{
        Report, failure,
        session::{Globals, Session},
        text,
    },
    applied, row,
};
use crate::{
    client::Gateway as _,
    exit::{Exit, Failure},
};
use dmdl_types::{
    id::RecordId,
    invocation::{Access, Invocation},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How often the ledger is asked who has destroyed what it had.
const LOOK_EVERY: Duration = Duration::from_millis(300);

pub(super) fn run(record: RecordId, waits: bool, globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let call = Invocation::Access(Access::Erase { record });
    let done = session.run(session.client.call(call)).map_err(|error| failure::call(&error))?;
    applied(&done)?;
    let begun = Instant::now();
    let mut erasure = erasure(&session, record)?;
    while waits && waiting(&erasure) > 0 && begun.elapsed() < session.patience {
        session.run(session.client.gateway().pause(LOOK_EVERY));
        erasure = self::erasure(&session, record)?;
    }
    let silent = waiting(&erasure);
    if silent > 0 && !globals.quiet && !globals.json {
        text::warn(&format!(
            "{silent} custodians have not said yet that they have destroyed what they had; `dmdl record show` tells when they do"
        ));
    }
    let shown = format!("record {record} is erased\n\n{}", table(&erasure));
    let json = json!({
        "record": record, "state": "ERASED", "transaction": done.transaction, "height": done.event.height,
        "erasure": erasure,
    });
    Ok(Report { text: shown.trim_end().to_owned(), json, exit: Exit::Ok })
}

/// What custodians say of an erased record, as the gateway has it.
fn erasure(session: &Session, record: RecordId) -> Result<Value, Failure> {
    Ok(row(session, record)?.get("erasure").cloned().unwrap_or(Value::Null))
}

fn listed<'a>(erasure: &'a Value, name: &str) -> &'a [Value] {
    erasure.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn waiting(erasure: &Value) -> usize {
    listed(erasure, "waiting").len()
}

fn table(erasure: &Value) -> String {
    let destroyed = listed(erasure, "destroyed").iter();
    let destroyed = destroyed.map(|word| vec![text::clean(word.get("node")), text::clean(word.get("generation"))]);
    let waiting = listed(erasure, "waiting").iter().map(|node| vec![text::clean(Some(node)), "not yet".to_owned()]);
    let rows: Vec<_> = destroyed.chain(waiting).collect();
    if rows.is_empty() { String::new() } else { text::table(&["CUSTODIAN", "DESTROYED SINCE KEY STORE"], rows) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_destroyed_its_shares_stands_before_who_has_not_said_so() {
        let erasure = json!({ "destroyed": [{ "node": "n1", "generation": 7 }], "waiting": ["n2\u{1b}"] });
        let lines: Vec<Vec<String>> =
            table(&erasure).lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
        assert_eq!(lines[1..], [vec!["n1", "7"], vec!["n2?", "not", "yet"]]);
        assert_eq!(waiting(&erasure), 1);
        assert_eq!((table(&Value::Null), waiting(&Value::Null)), (String::new(), 0));
    }
}
