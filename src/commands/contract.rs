//! `dmdl contract`: the channel's contracts, by the names of their functions.

use super::{
    Report, failure,
    record::applied,
    session::{Globals, Session, short_echo},
    text,
};
use crate::{
    exit::{Exit, Failure},
    local::os_rng,
};
use clap::{Args as ClapArgs, Subcommand};
use dmdl_types::{
    id::{NoteCommitment, RecordId},
    invocation::{Invocation, Medical, Metadata},
    sign::PublicKey,
};
use rand_core::Rng as _;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fmt::Display, str::FromStr};

/// The only contract whose functions are called by name; the others have commands of their own.
const MEDICAL: &str = "medical";
/// Its functions: name, whether it changes anything, arguments.
const FUNCTIONS: [(&str, bool, &str); 6] = [
    ("initialMedical", true, "type=MEDIA source=TEXT [storage=DIGEST] [subject=PSEUDONYM] [listed=true|false]"),
    ("transferMedical", true, "record=ID to=KEY"),
    ("delete", true, "record=ID"),
    ("readMedical", false, "record=ID"),
    ("getHistory", false, "record=ID [limit=N] [cursor=CURSOR]"),
    ("queryByOwner", false, "owner=KEY [limit=N] [cursor=CURSOR]"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lists the contracts of the channel and their functions.
    #[command(after_help = "Example:\n  dmdl contract list")]
    List,
    /// Calls a function that changes something: the call is ordered, and its outcome proved.
    #[command(after_help = "Examples:
  dmdl contract invoke medical initialMedical --arg type=application/dicom --arg source='ward 3, scanner 2'
  dmdl contract invoke medical transferMedical --arg record=RECORD --arg to=KEY
  dmdl contract invoke medical delete --arg record=RECORD")]
    Invoke(Call),
    /// Calls a function that only reads.
    #[command(after_help = "Example:\n  dmdl contract query medical readMedical --arg record=RECORD")]
    Query(Call),
}

#[derive(Debug, ClapArgs)]
pub(super) struct Call {
    /// The contract.
    contract: String,
    /// Its function; `dmdl contract list` names them.
    function: String,
    /// An argument, as NAME=VALUE; may be repeated.
    #[arg(long = "arg", value_name = "NAME=VALUE", value_parser = pair)]
    arguments: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn run(command: &Command, globals: &Globals) -> Result<Report, Failure> {
    match command {
        Command::List => Ok(list()),
        Command::Invoke(call) => {
            let (function, arguments) = call.check(true)?;
            invoke(function, arguments, globals)
        }
        Command::Query(call) => {
            let (function, arguments) = call.check(false)?;
            query(function, arguments, globals)
        }
    }
}

impl Call {
    /// The function, if there is one of this name and kind, with its arguments.
    fn check(&self, changes: bool) -> Result<(&'static str, Arguments), Failure> {
        if self.contract != MEDICAL {
            let detail = format!(
                "no contract `{}` has functions to call by name; `dmdl contract list` shows those that have",
                short_echo(&self.contract)
            );
            return Err(Failure::new(Exit::NotFound, "unknown_contract", detail));
        }
        let known = FUNCTIONS.iter().find(|(name, kind, _)| *name == self.function && *kind == changes);
        let Some((name, ..)) = known else {
            let kind = if changes { "invoke" } else { "query" };
            let detail = format!("contract `{MEDICAL}` has no function `{}` to {kind}", short_echo(&self.function));
            return Err(Failure::new(Exit::NotFound, "unknown_function", detail));
        };
        let mut arguments = BTreeMap::new();
        for (name, value) in &self.arguments {
            if arguments.insert(name.clone(), value.clone()).is_some() {
                return Err(bad(name, "it is given twice"));
            }
        }
        Ok((name, Arguments(arguments)))
    }
}

/// What was given to a function and not taken yet.
#[derive(Debug)]
struct Arguments(BTreeMap<String, String>);

impl Arguments {
    fn take<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        self.0.remove(name).map(|value| value.parse().map_err(|error| bad(name, error))).transpose()
    }

    fn required<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<T, Failure> {
        self.take(name)?.ok_or_else(|| bad(name, "it is required"))
    }

    /// Refuses what nothing has taken.
    fn end(self) -> Result<(), Failure> {
        match self.0.keys().next() {
            Some(name) => Err(bad(name, "the function has no such argument")),
            None => Ok(()),
        }
    }
}

fn bad(name: &str, why: impl Display) -> Failure {
    Failure::new(Exit::Usage, "bad_argument", format!("argument `{}`: {why}", short_echo(name)))
}

fn list() -> Report {
    let rows = FUNCTIONS.iter().map(|(name, changes, arguments)| {
        let kind = if *changes { "invoke" } else { "query" };
        vec![MEDICAL.to_owned(), kind.to_owned(), (*name).to_owned(), (*arguments).to_owned()]
    });
    let text = format!(
        "{}\nThe contracts `access` and `membership` are behind `dmdl record`, `policy`, `access` and `id`.",
        text::table(&["CONTRACT", "KIND", "FUNCTION", "ARGUMENTS"], rows)
    );
    let function = |(name, changes, arguments): &(&str, bool, &str)| json!({ "function": name, "kind": if *changes { "invoke" } else { "query" }, "arguments": arguments });
    let functions: Vec<Value> = FUNCTIONS.iter().map(function).collect();
    let others = ["access", "membership"].map(|name| json!({ "contract": name, "functions": [] }));
    let mut items = vec![json!({ "contract": MEDICAL, "functions": functions })];
    items.extend(others);
    Report { text, json: json!({ "items": items }), exit: Exit::Ok }
}

fn invoke(function: &'static str, mut arguments: Arguments, globals: &Globals) -> Result<Report, Failure> {
    // Whatever can be refused is refused before anything is connected to.
    let (mut extra, mut subject) = (Map::new(), None);
    let (call, shown) = match function {
        "initialMedical" => {
            let (media_type, listed) = (arguments.required("type")?, arguments.take("listed")?.unwrap_or(true));
            let metadata = Metadata { media_type, subject: None, listed };
            subject = arguments.take::<String>("subject")?;
            let (source, salt) = committed(&arguments.required::<String>("source")?);
            extra.insert("source".to_owned(), json!({ "commitment": source, "salt": hex::encode(salt) }));
            let storage = arguments.take("storage")?;
            (Medical::Initial { metadata, source, storage }, "is in the catalogue")
        }
        "transferMedical" => {
            let (record, to) = (arguments.required("record")?, arguments.required("to")?);
            (Medical::Transfer { record, to }, "has another owner")
        }
        _ => (Medical::Delete { record: arguments.required("record")? }, "is deleted"),
    };
    arguments.end()?;
    let session = globals.connect()?;
    let call = with_subject(call, subject.as_deref(), &session);
    let done = session.run(session.client.call(Invocation::Medical(call))).map_err(|error| failure::call(&error))?;
    applied(&done)?;
    let record = done.event.record;
    let text = match record {
        Some(record) => format!("{record} {shown}"),
        None => format!("the record {shown}"),
    };
    let mut json = json!({
        "contract": MEDICAL, "function": function, "record": record, "verdict": done.event.outcome.verdict,
        "transaction": done.transaction, "height": done.event.height,
    });
    if let Some(members) = json.as_object_mut() {
        members.extend(extra);
    }
    Ok(Report { text, json, exit: Exit::Ok })
}

/// The call with its patient, whose id takes the owner's key.
fn with_subject(call: Medical, pseudonym: Option<&str>, session: &Session) -> Medical {
    match (call, pseudonym) {
        (Medical::Initial { metadata, source, storage }, Some(pseudonym)) => {
            let metadata = Metadata { subject: Some(session.client.subject(pseudonym)), ..metadata };
            Medical::Initial { metadata, source, storage }
        }
        (call, _) => call,
    }
}

/// A commitment to where something comes from; the words stay here, and the salt lets one show them later.
fn committed(source: &str) -> (NoteCommitment, [u8; 32]) {
    let mut salt = [0; 32];
    os_rng().fill_bytes(&mut salt);
    (NoteCommitment::of(&salt, source), salt)
}

fn query(function: &'static str, mut arguments: Arguments, globals: &Globals) -> Result<Report, Failure> {
    let mut given = Map::new();
    match function {
        "queryByOwner" => given.insert("owner".to_owned(), json!(arguments.required::<PublicKey>("owner")?)),
        _ => given.insert("record".to_owned(), json!(arguments.required::<RecordId>("record")?)),
    };
    if function != "readMedical" {
        let limit = arguments.take::<u64>("limit")?.map(|limit| ("limit".to_owned(), json!(limit)));
        let cursor = arguments.take::<String>("cursor")?.map(|cursor| ("cursor".to_owned(), json!(cursor)));
        given.extend(limit.into_iter().chain(cursor));
    }
    arguments.end()?;
    let question = json!({ "contract": MEDICAL, "function": function, "args": given });
    let session = globals.connect()?;
    let answer = session.run(session.client.gateway().query::<Value>(&question));
    let answer = answer.map_err(|error| failure::gateway(&error))?;
    let text = match answer.get("items").and_then(Value::as_array) {
        Some(items) => {
            let items: Vec<String> = items.iter().map(text::fields).collect();
            text::with_more(items.join("\n\n"), &answer)
        }
        None => text::fields(&answer),
    };
    Ok(Report { text, json: answer, exit: Exit::Ok })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(contract: &str, function: &str, arguments: &[&str]) -> Call {
        let arguments = arguments.iter().map(|text| pair(text).unwrap()).collect();
        Call { contract: contract.to_owned(), function: function.to_owned(), arguments }
    }

    #[test]
    fn a_function_is_found_by_its_name_and_kind() {
        assert!(call("medical", "readMedical", &[]).check(false).is_ok());
        for (call, changes, code) in [
            (call("medical", "readMedical", &[]), true, "unknown_function"),
            (call("medical", "delete", &[]), false, "unknown_function"),
            (call("medical", "readmedical", &[]), false, "unknown_function"),
            (call("access", "request", &[]), true, "unknown_contract"),
            (call("medical", "delete", &["record=1", "record=2"]), true, "bad_argument"),
        ] {
            assert_eq!(call.check(changes).unwrap_err().code, code, "{call:?}");
        }
    }

    #[test]
    fn an_argument_that_nothing_takes_is_refused() {
        let (_, mut arguments) = call("medical", "delete", &["record=abc", "force=yes"]).check(true).unwrap();
        assert_eq!(arguments.required::<String>("record").unwrap(), "abc");
        assert!(arguments.required::<String>("record").unwrap_err().detail.contains("required"));
        assert!(arguments.end().unwrap_err().detail.contains("`force`"));
        assert!(pair("no-value").is_err());
        assert_eq!(pair("source=a=b"), Ok(("source".to_owned(), "a=b".to_owned())));
    }

    #[test]
    fn a_commitment_can_be_shown_by_its_salt_and_by_nothing_else() {
        let (commitment, salt) = committed("ward 3");
        assert_eq!(NoteCommitment::of(&salt, "ward 3"), commitment);
        assert_ne!(committed("ward 3").0, commitment);
    }
}
