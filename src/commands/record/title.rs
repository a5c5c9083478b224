//! Titles in the members' catalogue: given by owners, and believed by their signatures.

use super::super::{
    Report, failure,
    session::{Globals, Session},
    text,
};
use crate::{
    client::CallError,
    exit::{Exit, Failure},
    local::wall_clock,
};
use dmdl_types::{
    id::{RecordId, UnixMillis},
    sign::{Domain, PublicKey},
    title::{SignedTitle, Title},
};
use serde_json::{Value, json};

/// Refuses what is no title, before anything is done under it.
pub(super) fn check(text: &str) -> Result<(), Failure> {
    if text.trim().is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "no_text",
            "a title says something; `record title --forget` takes it back",
        ));
    }
    Title::check_text(text).map_err(|error| failure::call(&CallError::Title(error)))
}

/// Titles a record that was registered just now; it counts without its title.
pub(super) fn give(session: &Session, record: RecordId, title: &str, globals: &Globals) -> Result<(), Value> {
    put(session, record, title).map_err(|failure| {
        let Failure { code, detail, .. } = failure;
        if !globals.json {
            text::warn(&format!("record {record} has no title: {detail}; give it with `dmdl record title`"));
        }
        json!({ "code": code, "detail": detail })
    })
}

/// Signs a title and has it kept: after the last one, whatever the clocks of the owner's machines say.
fn put(session: &Session, record: RecordId, title: &str) -> Result<(), Failure> {
    let now = wall_clock().now();
    let given = session.run(session.client.title(record, now, title));
    let superseded = |error: &CallError| error.problem().is_some_and(|problem| problem.code == "title_superseded");
    let given = match given {
        Err(error) if superseded(&error) => {
            let row = super::row(session, record)?;
            let last = row.get("title").and_then(|shown| believed(&row, shown, &domain(session)));
            let after = last.map_or(now, |last| last.time().plus_ms(1));
            session.run(session.client.title(record, now.max(after), title))
        }
        given => given,
    };
    given.map_err(|error| failure::call(&error))
}

fn domain(session: &Session) -> Domain {
    session.client.trust().founding().domain
}

/// Gives a title, or takes it back.
pub(super) fn run(record: RecordId, title: Option<&str>, globals: &Globals) -> Result<Report, Failure> {
    title.map(check).transpose()?;
    let session = globals.connect()?;
    put(&session, record, title.unwrap_or_default())?;
    let text = match title {
        None => format!("record {record} has no title any more"),
        Some(title) => format!("record {record} is called `{}`", text::line(title)),
    };
    Ok(Report { text, json: json!({ "record": record, "title": title }), exit: Exit::Ok })
}

/// Puts the text of a title in its place if the record's owner has signed it.
pub(super) fn read(session: &Session, row: &mut Value) {
    let title = row.get("title").filter(|title| !title.is_null());
    let title = title.map(|shown| believed(row, shown, &domain(session)));
    let Some(members) = row.as_object_mut() else { return };
    match title {
        None => {}
        Some(Some(title)) => {
            let text = Some(title.text()).filter(|text| !text.is_empty());
            members.insert("title".to_owned(), json!(text));
        }
        Some(None) => {
            members.insert("title".to_owned(), Value::Null);
            members.insert("title_state".to_owned(), "altered".into());
        }
    }
}

fn believed(row: &Value, shown: &Value, domain: &Domain) -> Option<SignedTitle> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let record: RecordId = text(row, "record")?.parse().ok()?;
    let owner: PublicKey = text(row, "owner")?.parse().ok()?;
    let time = UnixMillis::new(shown.get("time")?.as_u64()?);
    let (said, signature) = (text(shown, "text")?, text(shown, "signature")?.parse().ok()?);
    Title::new(record, owner, time, said, signature).verify(domain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmdl_types::{
        id::{ChannelId, NetworkId},
        secret::Secret32,
        sign::SigningKey,
    };

    #[test]
    fn a_title_is_believed_of_the_owner_of_its_record_alone() {
        let domain = Domain { network: NetworkId::new([1; 32]), channel: ChannelId::new([2; 32]) };
        let key = SigningKey::from_seed(Secret32::new([7; 32]));
        let record = RecordId::new([3; 32]);
        let title = Title::sign(&key, &domain, record, UnixMillis::new(5), "CT").unwrap();
        let row = json!({ "record": record, "owner": key.public() });
        let shown = json!({ "text": "CT", "time": 5, "signature": title.signature() });
        assert_eq!(believed(&row, &shown, &domain).as_ref().map(SignedTitle::text), Some("CT"));
        let with = |value: &Value, name: &str, other: Value| {
            let mut value = value.clone();
            value[name] = other;
            value
        };
        assert_eq!(believed(&row, &with(&shown, "text", json!("MRI")), &domain), None);
        assert_eq!(believed(&row, &with(&shown, "time", json!(6)), &domain), None);
        assert_eq!(believed(&row, &with(&shown, "signature", json!("00")), &domain), None);
        assert_eq!(believed(&with(&row, "record", json!(RecordId::new([4; 32]))), &shown, &domain), None);
        let other = SigningKey::from_seed(Secret32::new([8; 32])).public();
        assert_eq!(believed(&with(&row, "owner", json!(other)), &shown, &domain), None);
    }

    #[test]
    fn what_is_no_title_is_refused_before_anything_is_registered() {
        assert!(check("CT of the chest").is_ok());
        for (bad, code) in [("a\nb", "bad_text"), (&*"x".repeat(257), "too_long"), (" ", "no_text")] {
            let refused = check(bad).unwrap_err();
            assert_eq!((refused.exit, refused.code.as_ref()), (Exit::Usage, code));
        }
    }
}
