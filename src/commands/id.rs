//! `dmdl id` and `dmdl whoami`: key files, and their life on the ledger.

use super::{
    Report, failure, output,
    record::{applied, changed},
    session::Globals,
    text,
};
use crate::{
    exit::{Exit, Failure},
    keyfile,
    local::{Identity, os_rng},
};
use clap::{
    Args as ClapArgs, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use dmdl_types::{
    genesis::{Person, Role},
    id::{DisplayName, OrgId},
    invocation::{Invocation, Membership},
    sign::PublicKey,
};
use serde::{Deserialize as _, de::value::StrDeserializer};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Largest file that names a person.
const CARD_BYTES: usize = 16 * 1024;
/// How a key stands that nobody has enrolled.
const UNKNOWN: &str = "UNKNOWN";
/// The names of the roles.
const ROLES: [&str; 5] = ["owner", "researcher", "committee", "officer", "admin"];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Makes a key and writes it to a new key file, mode 0600.
    ///
    /// Nobody knows the new key before an admin of its organisation has enrolled it.
    #[command(after_help = "Example:
  dmdl id new --out dana.key --org city-hospital --name dr-dana --role owner
  dmdl id show dana.key > dana.pub         # for the admin: the public part")]
    New(New),
    /// Shows whose key a key file holds; never the key itself.
    #[command(after_help = "Example:\n  dmdl id show dana.key > dana.pub")]
    Show {
        /// The key file, or what `id show` printed of one.
        file: PathBuf,
    },
    /// Enrols a person of one's organisation: from then on the ledger knows their key and role.
    #[command(after_help = "Example:\n  dmdl id enroll dana.pub --by admin.key")]
    Enroll {
        /// What `id show` printed of the new key file, or the key file itself.
        file: PathBuf,
        /// The key file of an admin of the same organisation; --as otherwise.
        #[arg(long, value_name = "ADMINKEY")]
        by: Option<PathBuf>,
    },
    /// Revokes a key for ever: nothing it signs is executed, and no share is released to it.
    #[command(after_help = "Example:\n  dmdl --as admin.key id revoke \
        8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c")]
    Revoke {
        /// The public key.
        id: PublicKey,
    },
}

#[derive(Debug, ClapArgs)]
pub(super) struct New {
    /// The new key file; nothing is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The organisation.
    #[arg(long)]
    org: OrgId,
    /// What the organisation calls the person, on the ledger too: a staff name, never a patient's.
    #[arg(long)]
    name: DisplayName,
    /// What the person may do.
    #[arg(long, value_parser = PossibleValuesParser::new(ROLES).try_map(|name| role(&name)))]
    role: Role,
    /// Keep the key without a passphrase.
    #[arg(long)]
    no_passphrase: bool,
}

pub(super) fn run(command: &Command, globals: &Globals) -> Result<Report, Failure> {
    match command {
        Command::New(args) => new(args, globals),
        Command::Show { file } => show(file),
        Command::Enroll { file, by } => enroll(file, by.as_deref(), globals),
        Command::Revoke { id } => {
            let call = Invocation::Membership(Membership::Revoke { key: *id });
            changed(globals, call, &format!("key {id} is revoked"), json!({ "key": id, "status": "revoked" }))
        }
    }
}

/// Whose key is used, and what the ledger says of it where a network is given.
pub(super) fn whoami(globals: &Globals) -> Result<Report, Failure> {
    if globals.network.is_none() {
        let person = globals.identity()?.person;
        return Ok(Report { text: card(&person), json: public(&person), exit: Exit::Ok });
    }
    let session = globals.connect()?;
    let person = &session.person;
    let mut json = public(person);
    let told = match session.run(session.client.gateway().get(&format!("persons/{}", person.key))) {
        Ok(told) => told,
        Err(error) => {
            let failure = failure::gateway(&error);
            // A key that may not ask is the answer to the question.
            match failure.code.as_ref() {
                "key_unknown" => json!({ "status": UNKNOWN }),
                "key_revoked" => json!({ "status": "REVOKED_OR_SUSPENDED" }),
                _ => return Err(failure),
            }
        }
    };
    let status = text::clean(told.get("status"));
    let mut shown = format!("{}\nledger {status}", card(person));
    if status == UNKNOWN {
        shown.push_str(&format!("; an admin of {} can enrol it: dmdl id enroll", person.org));
    }
    // What the file claims gives no right: where the ledger says otherwise, it is the ledger that counts.
    for (name, claimed) in [("org", person.org.to_string()), ("role", role_name(person.role))] {
        match told.get(name).and_then(Value::as_str) {
            Some(counts) if counts != claimed => {
                shown.push_str(&format!("\nledger {name} {}, whatever the file says", text::line(counts)));
            }
            _ => {}
        }
    }
    if let Some(members) = json.as_object_mut() {
        members.insert("network".to_owned(), json!(session.client.trust().founding().domain.network));
        members.insert("ledger".to_owned(), told);
    }
    Ok(Report { text: shown, json, exit: Exit::Ok })
}

fn new(args: &New, globals: &Globals) -> Result<Report, Failure> {
    let New { out, org, name, role, no_passphrase } = args;
    let passphrase = if *no_passphrase { None } else { Some(globals.new_passphrase()?) };
    let identity = Identity::new(org.as_str(), name.as_str(), *role)
        .map_err(|error| Failure::new(Exit::Usage, "bad_name", error))?;
    let wrapped = passphrase.as_deref().map(String::as_bytes);
    keyfile::write(out, &identity, wrapped, &mut os_rng()).map_err(|error| failure::key_file(&error))?;
    let file = text::path(out);
    let text = format!(
        "{}\n\nThe key is in {file}. No ledger knows it yet. Give its public part to an admin of {org}:\n  \
         dmdl id show {file} > {name}.pub\nwho enrols it:\n  dmdl id enroll {name}.pub --by ADMINKEY",
        card(&identity.person),
    );
    let text = if globals.quiet { identity.person.key.to_string() } else { text };
    let mut json = public(&identity.person);
    if let Some(members) = json.as_object_mut() {
        members.insert("file".to_owned(), json!(out.to_string_lossy()));
        members.insert("passphrase".to_owned(), json!(!no_passphrase));
        members.insert("enrolled".to_owned(), json!(false));
    }
    Ok(Report { text, json, exit: Exit::Ok })
}

fn show(file: &Path) -> Result<Report, Failure> {
    let person = person_of(file)?;
    Ok(Report { text: card(&person), json: public(&person), exit: Exit::Ok })
}

fn enroll(file: &Path, by: Option<&Path>, globals: &Globals) -> Result<Report, Failure> {
    let person = person_of(file)?;
    let admin = match by {
        Some(file) => globals.unlock(file)?,
        None => globals.identity()?,
    };
    let session = globals.connect_as(admin)?;
    let call = Invocation::Membership(Membership::Enrol { person: person.clone() });
    let done = session.run(session.client.call(call)).map_err(|error| failure::call(&error))?;
    applied(&done).map_err(|failure| refused(failure, &person))?;
    let mut json = public(&person);
    if let Some(members) = json.as_object_mut() {
        members.insert("enrolled".to_owned(), json!(true));
        members.insert("transaction".to_owned(), json!(done.transaction));
        members.insert("height".to_owned(), json!(done.event.height));
    }
    let Person { key, org, name, .. } = &person;
    let text = format!("{name} is enrolled as {} of {org}, key {key}", role_name(person.role));
    Ok(Report { text, json, exit: Exit::Ok })
}

/// Why somebody was not enrolled, in the words of whoever tried.
fn refused(failure: Failure, person: &Person) -> Failure {
    let Person { key, org, .. } = person;
    match failure.code.as_ref() {
        "role" => Failure { detail: format!("only an admin of {org} enrols its people"), ..failure },
        "id_reuse" => Failure { detail: format!("key {key} is known already"), ..failure },
        _ => failure,
    }
}

/// The person that a file names: a key file, or the lines that [`card`] prints.
fn person_of(file: &Path) -> Result<Person, Failure> {
    // What cannot be read is told as it is of a key file.
    let lines = output::read(file, CARD_BYTES).ok().filter(|lines| !lines.starts_with(b"dmdl-key-v1\n"));
    let Some(lines) = lines else {
        let locked = keyfile::read(file).map_err(|error| failure::key_file(&error))?;
        return Ok(locked.person().clone());
    };
    let person = str::from_utf8(&lines).ok().and_then(parse_card);
    person.ok_or_else(|| {
        let detail = format!("`{}` is neither a key file nor what `dmdl id show` prints of one", file.display());
        Failure::new(Exit::Configuration, "key_file", detail)
    })
}

/// What anybody may know of a key file, in its own words.
fn card(person: &Person) -> String {
    let Person { key, org, name, role } = person;
    format!("key {key}\norg {org}\nname {name}\nrole {}", role_name(*role))
}

fn parse_card(text: &str) -> Option<Person> {
    let mut lines = text.lines();
    let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    let (key, org) = (value("key")?.parse().ok()?, value("org")?.parse().ok()?);
    let (name, role) = (value("name")?.parse().ok()?, role(value("role")?).ok()?);
    lines.next().is_none().then_some(Person { key, org, name, role })
}

fn public(person: &Person) -> Value {
    let Person { key, org, name, role } = person;
    json!({ "key": key, "org": org, "name": name, "role": role })
}

/// A role by the name that it has in every text.
pub(super) fn role(name: &str) -> Result<Role, serde::de::value::Error> {
    Role::deserialize(StrDeserializer::new(name))
}

pub(super) fn role_name(role: Role) -> String {
    serde_json::to_value(role).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_key_file_names_its_person_and_not_its_secret() {
        let identity = Identity::new("city-hospital", "dr-dana", Role::Committee).unwrap();
        let shown = card(&identity.person);
        assert_eq!(parse_card(&shown), Some(identity.person.clone()));
        assert_eq!(parse_card(&format!("{shown}\n")), Some(identity.person.clone()));
        let secret = identity.key.seed().expose(|seed| hex::encode(seed));
        assert!(!shown.contains(&secret) && !public(&identity.person).to_string().contains(&secret));
        for bad in [format!("{shown}\nsecret {secret}"), shown.replace("role", "rule"), shown.to_uppercase()] {
            assert_eq!(parse_card(&bad), None, "{bad}");
        }
    }

    #[test]
    fn every_role_is_known_by_its_name() {
        for name in ROLES {
            assert_eq!(role_name(role(name).unwrap()), name);
        }
        assert!(role("root").is_err());
    }
}
