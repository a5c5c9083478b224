//! A request and its facts in the words of the schema.

#![expect(clippy::disallowed_types, reason = "the policy engine asks for these, and never shows their order")]

use crate::{
    facts::{Action, Facts, Request},
    house::HOUSE,
};
use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request as CedarRequest,
    RestrictedExpression as Value,
};
use dmdl_types::{
    access::{DuoCode, MondoId},
    genesis::Role,
    id::OrgId,
    sign::PublicKey,
};
use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    sync::LazyLock,
};

/// A request, ready to be asked about each action.
pub(crate) struct Question {
    requester: EntityUid,
    record: EntityUid,
    context: Context,
    entities: Entities,
}

/// The request or its facts do not fit the schema, so no rule can be asked.
#[derive(Debug)]
pub(crate) struct Unaskable;

impl Question {
    /// Puts the question; `purpose_permitted` is the answer of [`crate::duo`].
    pub(crate) fn new(request: &Request, facts: &Facts, purpose_permitted: bool) -> Result<Self, Unaskable> {
        let requester = person(request.requester);
        let record = uid(&TYPES.record, facts.record);
        let entities = [requester_entity(requester.clone(), request, facts)?, record_entity(record.clone(), facts)?];
        Ok(Self {
            requester,
            record,
            context: context(request, facts, purpose_permitted)?,
            entities: Entities::from_entities(entities, None).map_err(|_| Unaskable)?,
        })
    }

    /// The question whether `action` is permitted, checked against the schema.
    pub(crate) fn about(&self, action: Action) -> Result<CedarRequest, Unaskable> {
        let action = uid(&TYPES.action, action.as_str());
        let (requester, record) = (self.requester.clone(), self.record.clone());
        CedarRequest::new(requester, action, record, self.context.clone(), Some(&HOUSE.schema)).map_err(|_| Unaskable)
    }

    /// The requester and the record, with what is known of them.
    pub(crate) const fn entities(&self) -> &Entities {
        &self.entities
    }
}

fn requester_entity(uid: EntityUid, request: &Request, facts: &Facts) -> Result<Entity, Unaskable> {
    let org = org(&request.requester_org);
    let attributes = [
        ("role", Value::new_entity_uid(role(request.requester_role))),
        ("org", Value::new_entity_uid(org.clone())),
        ("suspended", Value::new_bool(facts.suspended)),
    ];
    entity(uid, attributes, HashSet::from([org]))
}

fn record_entity(uid: EntityUid, facts: &Facts) -> Result<Entity, Unaskable> {
    let diseases = facts.permission.diseases.iter().map(|d| Value::new_entity_uid(disease(*d)));
    let attributes = [
        ("owner", Value::new_entity_uid(person(facts.owner))),
        ("org", Value::new_entity_uid(org(&facts.owner_org))),
        ("permission", Value::new_entity_uid(duo(facts.permission.code))),
        ("diseases", Value::new_set(diseases)),
        ("media_type", Value::new_string(facts.media_type.clone())),
    ];
    entity(uid, attributes, HashSet::new())
}

fn context(request: &Request, facts: &Facts, purpose_permitted: bool) -> Result<Context, Unaskable> {
    let terms = &request.terms;
    let mut pairs = vec![
        ("purpose", Value::new_entity_uid(duo(terms.purpose.code))),
        ("purpose_permitted", Value::new_bool(purpose_permitted)),
        ("days", Value::new_long(terms.days.into())),
        ("uses", Value::new_long(terms.uses.into())),
        ("non_profit", Value::new_bool(terms.non_profit)),
        ("commercial", Value::new_bool(terms.commercial)),
        ("has_ethics", Value::new_bool(terms.ethics.is_some())),
        ("has_project", Value::new_bool(terms.project.is_some())),
        ("now_ms", long(facts.now.get())?),
        ("cohort", Value::new_long(facts.cohort.into())),
        ("has_grant", Value::new_bool(facts.grant.is_some())),
        // Without a grant these say the least: not approved, over, used up.
        ("approved", Value::new_bool(facts.grant.is_some_and(|g| g.approved))),
        ("grant_ends_ms", long(facts.grant.map_or(0, |g| g.ends.get()))?),
        ("uses_max", Value::new_long(facts.grant.map_or(0, |g| g.uses_max).into())),
        ("uses_so_far", Value::new_long(facts.grant.map_or(0, |g| g.uses_so_far).into())),
    ];
    if let Some(studied) = terms.purpose.disease {
        pairs.push(("disease", Value::new_entity_uid(disease(studied))));
    }
    if let Some(country) = terms.country {
        pairs.push(("country", Value::new_string(country_code(country)?)));
    }
    Context::from_pairs(pairs.into_iter().map(|(name, value)| (name.to_owned(), value))).map_err(|_| Unaskable)
}

fn entity<const N: usize>(
    uid: EntityUid,
    attributes: [(&str, Value); N],
    parents: HashSet<EntityUid>,
) -> Result<Entity, Unaskable> {
    let attributes: HashMap<String, Value> = attributes.into_iter().map(|(name, v)| (name.to_owned(), v)).collect();
    Entity::new(uid, attributes, parents).map_err(|_| Unaskable)
}

/// The language counts in signed numbers; a time beyond them is not cut off but refused.
fn long(ms: u64) -> Result<Value, Unaskable> {
    i64::try_from(ms).map(Value::new_long).map_err(|_| Unaskable)
}

fn country_code(code: [u8; 2]) -> Result<String, Unaskable> {
    if code.iter().all(u8::is_ascii_uppercase) {
        Ok(code.iter().copied().map(char::from).collect())
    } else {
        Err(Unaskable)
    }
}

fn person(key: PublicKey) -> EntityUid {
    uid(&TYPES.person, key)
}

fn org(id: &OrgId) -> EntityUid {
    uid(&TYPES.org, id)
}

fn disease(id: MondoId) -> EntityUid {
    uid(&TYPES.disease, id)
}

fn duo(code: DuoCode) -> EntityUid {
    uid(&TYPES.duo, code)
}

fn role(role: Role) -> EntityUid {
    let name = match role {
        Role::Owner => "owner",
        Role::Researcher => "researcher",
        Role::Committee => "committee",
        Role::Officer => "officer",
        Role::Admin => "admin",
    };
    uid(&TYPES.role, name)
}

fn uid(kind: &EntityTypeName, id: impl Display) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id.to_string()))
}

/// The names of the schema's types, parsed once.
struct Types {
    action: EntityTypeName,
    disease: EntityTypeName,
    duo: EntityTypeName,
    org: EntityTypeName,
    person: EntityTypeName,
    record: EntityTypeName,
    role: EntityTypeName,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "compiled in, and the tests use each of them")]
    let name = |text: &str| text.parse().expect("the name of a type");
    Types {
        action: name("Action"),
        disease: name("Disease"),
        duo: name("Duo"),
        org: name("Org"),
        person: name("Person"),
        record: name("Record"),
        role: name("Role"),
    }
});
