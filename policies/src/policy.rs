//! A policy that was read, checked and is ready to decide.

use crate::{
    error::PolicyError,
    house::HOUSE,
    templates::Template,
    text::{check, with_ample_stack},
};
use cedar_policy::{Policy, PolicySet, ValidationWarning};
use dmdl_types::{
    access::{DuoCode, Permission, PolicyDocument, ReasonCode},
    id::{DisplayName, PolicyId},
    limits,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many rules a policy may have.
pub(crate) const RULES: usize = 64;

/// The name of the annotation that names a rule.
const NAME: &str = "id";

/// How much of the engine's message an error repeats.
const MESSAGE_CHARS: usize = 400;

/// A valid policy: an owner's permission and rules, with the rules of the house.
///
/// Holding one proves that its document is valid. Reading is the costly part (up to milliseconds), so keep
/// it and decide with it as often as needed.
#[derive(Clone, Debug)]
pub struct ParsedPolicy {
    id: PolicyId,
    permission: Permission,
    /// All rules, under their keys.
    set: PolicySet,
    /// What the keys stand for.
    rules: BTreeMap<String, Rule>,
}

/// One rule, and how reasons name it.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// The policy that the rule is part of.
    pub(crate) policy: PolicyId,
    /// Its name in that policy.
    pub(crate) name: String,
    /// What it means that the rule applied.
    pub(crate) code: ReasonCode,
    /// The rule itself.
    pub(crate) cedar: Policy,
}

impl ParsedPolicy {
    /// Reads a document and checks all of it.
    ///
    /// # Errors
    /// [`PolicyError`] says what is wrong; with several faults, always the same one.
    pub fn parse(document: &PolicyDocument) -> Result<Self, PolicyError> {
        check_permission(&document.permission)?;
        check(&document.rules)?;
        with_ample_stack(|| {
            let rules = read(document)?;
            check_schema(&rules)?;
            Self::assemble(document, HOUSE.rules.iter().cloned().chain(rules))
        })
    }

    /// The policy of a record that was registered without one: [`Template::ReviewOnly`].
    ///
    /// Nobody but those whom the owner or the committee approves.
    #[must_use]
    pub fn default_for_channel() -> Self {
        let permission = Permission { code: DuoCode::Gru, diseases: Vec::new() };
        #[expect(clippy::expect_used, reason = "compiled in, and the tests read it")]
        Self::parse(&Template::ReviewOnly.document(permission)).expect("the default policy is valid")
    }

    /// The policy's id: that of its document.
    #[must_use]
    pub const fn id(&self) -> PolicyId {
        self.id
    }

    /// What the data may be used for.
    #[must_use]
    pub const fn permission(&self) -> &Permission {
        &self.permission
    }

    /// The names of the owner's rules, sorted.
    pub fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.rules.values().filter(|rule| rule.policy == self.id).map(|rule| rule.name.as_str())
    }

    /// Puts rules together, as they are.
    pub(crate) fn assemble(document: &PolicyDocument, rules: impl Iterator<Item = Rule>) -> Result<Self, PolicyError> {
        let id = document.id();
        let rules: BTreeMap<String, Rule> = rules.map(|rule| (key(&rule, id), rule)).collect();
        let keyed = rules.iter().map(|(key, rule)| rule.cedar.new_id(cedar_policy::PolicyId::new(key)));
        let set = PolicySet::from_policies(keyed).map_err(|e| PolicyError::Syntax(message(&e)))?;
        Ok(Self { id, permission: document.permission.clone(), set, rules })
    }

    pub(crate) const fn set(&self) -> &PolicySet {
        &self.set
    }

    pub(crate) fn rule(&self, key: &cedar_policy::PolicyId) -> Option<&Rule> {
        let key: &str = key.as_ref();
        self.rules.get(key)
    }
}

/// The rules of a set in the order of their text.
pub(crate) fn in_order(set: &PolicySet) -> Vec<&Policy> {
    let mut rules: Vec<&Policy> = set.policies().collect();
    // The parser numbers them: `policy0`, `policy1`, ...
    rules.sort_by_key(|rule| {
        let id: &str = rule.id().as_ref();
        id.strip_prefix("policy").and_then(|n| n.parse::<usize>().ok())
    });
    rules
}

/// An owner may name a rule like one of the house: the key tells them apart.
fn key(rule: &Rule, owner: PolicyId) -> String {
    format!("{}/{}", if rule.policy == owner { "owner" } else { "house" }, rule.name)
}

fn check_permission(permission: &Permission) -> Result<(), PolicyError> {
    let distinct: BTreeSet<_> = permission.diseases.iter().collect();
    let allowed = if permission.code == DuoCode::Ds { 1..=limits::DISEASES } else { 0..=0 };
    if distinct.len() == permission.diseases.len() && allowed.contains(&distinct.len()) {
        Ok(())
    } else {
        Err(PolicyError::Diseases)
    }
}

/// The owner's rules with their names, in the order of the text.
pub(crate) fn read(document: &PolicyDocument) -> Result<Vec<Rule>, PolicyError> {
    let set: PolicySet = document.rules.parse().map_err(|e| PolicyError::Syntax(message(&e)))?;
    if set.templates().next().is_some() {
        return Err(PolicyError::Slot);
    }
    let rules = in_order(&set);
    if rules.len() > RULES {
        return Err(PolicyError::TooManyRules(rules.len()));
    }
    let mut names = BTreeSet::new();
    let policy = document.id();
    rules
        .into_iter()
        .zip(1usize..)
        .map(|(rule, number)| {
            let name = match rule.annotation(NAME) {
                Some(name) => DisplayName::new(name).map(|n| n.to_string()).map_err(|_| bad_name(name))?,
                None => format!("rule-{number}"),
            };
            if !names.insert(name.clone()) {
                return Err(PolicyError::RuleNamedTwice(name));
            }
            let code = match rule.effect() {
                cedar_policy::Effect::Permit => ReasonCode::PolicyPermits,
                cedar_policy::Effect::Forbid => ReasonCode::PolicyForbids,
            };
            let cedar = rule.new_id(cedar_policy::PolicyId::new(&name));
            Ok(Rule { policy, name, code, cedar })
        })
        .collect()
}

fn bad_name(name: &str) -> PolicyError {
    PolicyError::RuleName(name.chars().take(64).collect())
}

fn check_schema(rules: &[Rule]) -> Result<(), PolicyError> {
    let set = PolicySet::from_policies(rules.iter().map(|rule| rule.cedar.clone()));
    let checked = HOUSE.validate(&set.map_err(|e| PolicyError::Syntax(message(&e)))?);
    let errors = checked.validation_errors().map(|e| (e.policy_id(), message(e)));
    // A `forbid` that can never apply protects nothing, whatever its author believes. Warnings about
    // scripts are left out: they follow tables that change with the Unicode standard.
    let never = checked.validation_warnings().filter(|w| {
        matches!(w, ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_))
    });
    // The validator reports in no fixed order; the least is the same everywhere.
    match errors.chain(never.map(|w| (w.policy_id(), message(w)))).min() {
        Some((rule, problem)) => Err(PolicyError::Schema { rule: rule.to_string(), problem }),
        None if checked.validation_passed() => Ok(()),
        None => Err(PolicyError::Schema { rule: String::new(), problem: "it can't be checked".into() }),
    }
}

fn message(error: &impl std::fmt::Display) -> String {
    error.to_string().chars().take(MESSAGE_CHARS).collect()
}

#[cfg(test)]
pub(crate) mod tests;
