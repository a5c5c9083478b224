//! `dmdl policy explain`: the decision of a policy, made here as every node would make it.

use super::{
    super::{Report, id::role, session::Globals},
    judge::{Judge, Known, Record, word},
};
use crate::exit::{Exit, Failure};
use dmdl_policies::Request;
use dmdl_types::{
    access::{DuoCode, MondoId, PolicyDocument, Purpose, Ruling, Terms},
    genesis::Role,
    id::{NoteCommitment, OrgId, RecordId, UnixMillis},
    sign::PublicKey,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, str::FromStr};

pub(super) const EXAMPLES: &str = "Facts, with what holds if they are not given:
  purpose=CODE (required), disease=MONDO, days=30, uses=1, country=CC, non-profit, commercial, ethics, project
  role=researcher, org=(that of whoever acts), key=(nobody's), cohort=0, suspended

Example:
  dmdl policy explain RECORD --as-if role=researcher,org=university-clinic,purpose=DS,disease=MONDO:0005148,days=90";

/// A question that nobody has asked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AsIf {
    key: PublicKey,
    org: OrgId,
    role: Role,
    terms: Terms,
    suspended: bool,
    cohort: u32,
}

impl AsIf {
    /// Reads facts; whatever is not among them is as [`EXAMPLES`] says.
    fn parse(facts: &[String], org: OrgId) -> Result<Self, Failure> {
        let mut asked = Self {
            // The key of nobody: with one's own, an owner would ask about their own record.
            key: PublicKey::new([0; 32]),
            org,
            role: Role::Researcher,
            terms: Terms {
                purpose: Purpose { code: DuoCode::Nres, disease: None },
                days: 30,
                uses: 1,
                non_profit: false,
                commercial: false,
                country: None,
                project: None,
                ethics: None,
            },
            suspended: false,
            cohort: 0,
        };
        let mut given = BTreeSet::new();
        for fact in facts {
            let (name, value) = fact.split_once('=').unwrap_or((fact, "true"));
            if !given.insert(name) {
                return Err(bad(name, "it is given twice"));
            }
            asked.set(name, value)?;
        }
        if given.contains("purpose") { Ok(asked) } else { Err(bad("purpose", "it is required")) }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        // A commitment to no document in particular.
        let committed = |given: bool| given.then_some(NoteCommitment::new([0; 32]));
        match name {
            "purpose" => self.terms.purpose.code = read::<DuoCode>(name, value)?,
            "disease" => self.terms.purpose.disease = Some(read::<MondoId>(name, value)?),
            "days" => self.terms.days = read(name, value)?,
            "uses" => self.terms.uses = read(name, value)?,
            "country" => {
                let code = <[u8; 2]>::try_from(value.as_bytes()).ok();
                let code = code.filter(|code| code.iter().all(u8::is_ascii_uppercase));
                self.terms.country = Some(code.ok_or_else(|| bad(name, "write two capital letters, as in `CH`"))?);
            }
            "non-profit" => self.terms.non_profit = read(name, value)?,
            "commercial" => self.terms.commercial = read(name, value)?,
            "ethics" => self.terms.ethics = committed(read(name, value)?),
            "project" => self.terms.project = committed(read(name, value)?),
            "role" => self.role = role(value).map_err(|error| bad(name, error))?,
            "org" => self.org = read(name, value)?,
            "key" => self.key = read(name, value)?,
            "cohort" => self.cohort = read(name, value)?,
            "suspended" => self.suspended = read(name, value)?,
            _ => return Err(bad(name, "it is no fact that a request has; see `dmdl policy explain --help`")),
        }
        Ok(())
    }
}

fn read<T: FromStr<Err: std::fmt::Display>>(name: &str, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|error| bad(name, error))
}

fn bad(name: &str, why: impl std::fmt::Display) -> Failure {
    let name = super::super::session::short_echo(name);
    Failure::new(Exit::Usage, "bad_fact", format!("--as-if `{name}`: {why}"))
}

pub(super) fn run(id: RecordId, facts: &[String], globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let asked = AsIf::parse(facts, session.person.org.clone())?;
    let record = Record::of(&session, id)?;
    answer(&asked, &record, super::shown(&session, id)?.as_ref(), Known::plain().now)
}

fn answer(asked: &AsIf, record: &Record, policy: Option<&PolicyDocument>, now: UnixMillis) -> Result<Report, Failure> {
    let AsIf { key, org, role, terms, suspended, cohort } = asked.clone();
    let request = Request { requester: key, requester_org: org, requester_role: role, terms };
    let decision = Judge::of(policy)?.rule(record, &request, Known { now, suspended, cohort });
    let then = if decision.ruling == Ruling::Review { ": the owner or the committee decides" } else { "" };
    let word = word(decision.ruling);
    let Terms { purpose, days, uses, .. } = request.terms;
    let mut text = format!(
        "{word}{then}\n  as if a {} of {} asked for {purpose}, days {days}, uses {uses}",
        json!(role).as_str().unwrap_or_default(),
        request.requester_org,
    );
    for reason in &decision.reasons {
        text.push_str(&format!("\n  {reason}"));
    }
    let reasons: Vec<Value> =
        decision.reasons.iter().map(|reason| json!({ "code": reason.code, "detail": reason.to_string() })).collect();
    let json = json!({
        "record": record.id,
        "policy": policy.map(PolicyDocument::id),
        "decision": decision.ruling,
        "reasons": reasons,
        "as_if": {
            "role": role, "org": request.requester_org, "key": key, "purpose": purpose, "days": days, "uses": uses,
        },
    });
    Ok(Report { text, json, exit: Exit::Ok })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmdl_policies::templates::Template;
    use dmdl_types::access::Permission;

    fn asked(facts: &str) -> Result<AsIf, Failure> {
        let facts: Vec<String> = facts.split(',').map(str::to_owned).collect();
        AsIf::parse(&facts, "city-hospital".parse().unwrap())
    }

    fn decided(facts: &str, policy: Option<Template>) -> Value {
        let record = Record {
            id: RecordId::new([1; 32]),
            owner: PublicKey::new([2; 32]),
            org: "city-hospital".parse().unwrap(),
            media_type: "application/dicom".to_owned(),
        };
        let permission = Permission { code: DuoCode::Hmb, diseases: Vec::new() };
        let document = policy.map(|template| template.document(permission));
        answer(&asked(facts).unwrap(), &record, document.as_ref(), UnixMillis::new(1)).unwrap().json
    }

    #[test]
    fn the_same_request_is_allowed_reviewed_or_denied_by_its_facts() {
        let auto = Some(Template::ResearchAuto);
        assert_eq!(decided("purpose=HMB", auto)["decision"], "allow");
        assert_eq!(decided("purpose=HMB,days=91", auto)["decision"], "review");
        let other_purpose = decided("purpose=POA", auto);
        assert_eq!(other_purpose["decision"], "deny");
        assert_eq!(other_purpose["reasons"][0]["code"], "purpose_not_permitted");
        assert_eq!(decided("purpose=HMB,role=officer", auto)["decision"], "deny");
        assert_eq!(decided("purpose=HMB,suspended", auto)["reasons"][0]["code"], "suspended");
        assert_eq!(decided("purpose=HMB", Some(Template::Closed))["decision"], "deny");
    }

    #[test]
    fn a_record_without_a_policy_leaves_all_to_review() {
        let decided = decided("purpose=POA", None);
        assert_eq!((&decided["decision"], &decided["policy"]), (&json!("review"), &Value::Null));
    }

    #[test]
    fn an_owner_is_only_asked_about_when_their_key_is_named() {
        let owner = format!("purpose=HMB,role=owner,key={}", PublicKey::new([2; 32]));
        assert_eq!(decided(&owner, Some(Template::Closed))["decision"], "allow");
        assert_eq!(decided("purpose=HMB,role=owner", Some(Template::Closed))["decision"], "deny");
    }

    #[test]
    fn facts_that_no_request_has_are_refused() {
        for bad in [
            "days=30",
            "purpose=XYZ",
            "purpose=HMB,purpose=HMB",
            "purpose=HMB,days=-1",
            "purpose=HMB,days=70000",
            "purpose=HMB,country=ch",
            "purpose=HMB,disease=diabetes",
            "purpose=HMB,role=root",
            "purpose=HMB,org=A B",
            "purpose=HMB,key=00",
            "purpose=HMB,non-profit=maybe",
            "purpose=HMB,colour=blue",
            "",
        ] {
            let refused = asked(bad).unwrap_err();
            assert_eq!((refused.exit, refused.code.as_ref()), (Exit::Usage, "bad_fact"), "{bad}");
        }
    }
}
