//! `dmdl policy who`: who could get a record under its policy, person by person.

use super::{
    super::{
        Report,
        id::role_name,
        session::{Globals, Session},
        text,
    },
    grid::{self, Cell},
    judge::{Judge, Known, Record, nonsense},
    pages,
};
use crate::exit::{Exit, Failure};
use dmdl_policies::Request;
use dmdl_types::{
    access::{Purpose, Ruling},
    genesis::{Person, Role},
    id::RecordId,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const EXAMPLES: &str =
    "Only owners and researchers ask for access, so only they are listed. A name under AT ONCE is a purpose
for which some request of the grid is allowed without review.

Example:
  dmdl policy who RECORD";

/// Most people that are looked at, half of them owners and half of them researchers.
const PEOPLE_MAX: usize = 2000;

pub(super) fn run(record: RecordId, globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let about = Record::of(&session, record)?;
    let policy = super::shown(&session, record)?;
    let judge = Judge::of(policy.as_ref())?;
    let (people, complete) = askers(&session)?;
    let purposes = grid::purposes(&[judge.permission()]);
    let cells = grid::cells(&purposes);
    let known = Known::plain();
    let (mut rows, mut items) = (Vec::new(), Vec::new());
    // Who is alike to the rules is asked about once, unless they name people.
    let personal = policy.as_ref().is_some_and(|policy| policy.rules.contains("Person"));
    let mut alike: BTreeMap<_, Vec<(String, Ruling)>> = BTreeMap::new();
    for Asker { person, suspended } in &people {
        let known = Known { suspended: *suspended, ..known };
        let all = || {
            let ruled = |purpose: &Purpose| {
                let tried = cells.iter().filter(|cell| cell.purpose == *purpose);
                (grid::name(purpose), best(&judge, &about, person, known, tried))
            };
            purposes.iter().map(ruled).collect()
        };
        let named = (personal || person.key == about.owner).then_some(person.key);
        let rulings = alike.entry((person.org.clone(), person.role, *suspended, named)).or_insert_with(all);
        let of = |wanted: Ruling| {
            let found = rulings.iter().filter(|(_, ruling)| *ruling == wanted).map(|(purpose, _)| purpose.clone());
            found.collect::<Vec<_>>()
        };
        let (at_once, reviewed) = (of(Ruling::Allow), of(Ruling::Review));
        let (name, org, role) = (person.name.to_string(), person.org.to_string(), role_name(person.role));
        let cell = |purposes: &[String]| if purposes.is_empty() { "-".to_owned() } else { purposes.join(", ") };
        rows.push(vec![name.clone(), org.clone(), role.clone(), cell(&at_once), cell(&reviewed)]);
        items.push(json!({
            "key": person.key, "name": name, "org": org, "role": role, "suspended": suspended,
            "owns": person.key == about.owner, "at_once": at_once, "after_review": reviewed,
        }));
    }
    let mut shown = text::table(&["NAME", "ORGANISATION", "ROLE", "AT ONCE", "AFTER REVIEW"], rows);
    let grid = grid::said(&purposes);
    shown.push_str(&format!("\n\nTried for each: {grid}; as if nobody had opened a record yet."));
    if !complete {
        let looked = people.len();
        shown.push_str(&format!("\nThe channel has more people; {looked} were looked at."));
    }
    let json = json!({
        "record": record, "policy": policy.as_ref().map(dmdl_types::access::PolicyDocument::id), "grid": grid,
        "complete": complete, "items": items,
    });
    Ok(Report { text: shown, json, exit: Exit::Ok })
}

/// The most that a policy gives somebody for any of these requests.
fn best<'a>(
    judge: &Judge,
    record: &Record,
    person: &Person,
    known: Known,
    cells: impl Iterator<Item = &'a Cell>,
) -> Ruling {
    let mut best = Ruling::Deny;
    for cell in cells {
        let request = Request {
            requester: person.key,
            requester_org: person.org.clone(),
            requester_role: person.role,
            terms: cell.terms(),
        };
        match judge.rule(record, &request, known).ruling {
            Ruling::Allow => return Ruling::Allow,
            Ruling::Review => best = Ruling::Review,
            Ruling::Deny => {}
        }
    }
    best
}

/// Somebody who may ask for access.
struct Asker {
    person: Person,
    suspended: bool,
}

/// The people who may ask, and whether they are all.
fn askers(session: &Session) -> Result<(Vec<Asker>, bool), Failure> {
    let take = |item: &Value| {
        let status = item.get("status").and_then(Value::as_str).unwrap_or_default();
        let asker = asker(item, status == "SUSPENDED").ok_or_else(|| nonsense("a person is none"))?;
        Ok(Some(asker).filter(|_| status != "REVOKED"))
    };
    let of = |role| pages::all(session, "persons", &[("role", role_name(role))], PEOPLE_MAX / 2, take);
    let ((mut people, all_owners), (researchers, all_researchers)) = (of(Role::Owner)?, of(Role::Researcher)?);
    people.extend(researchers);
    people.sort_by(|a, b| (&a.person.org, &a.person.name).cmp(&(&b.person.org, &b.person.name)));
    Ok((people, all_owners && all_researchers))
}

fn asker(item: &Value, suspended: bool) -> Option<Asker> {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    let role = super::super::id::role(text("role")?).ok()?;
    let person = Person {
        key: text("key")?.parse().ok()?,
        org: text("org")?.parse().ok()?,
        name: text("name")?.parse().ok()?,
        role,
    };
    Some(Asker { person, suspended })
}
