//! The schema and the rules of the house, compiled in.

use crate::policy::Rule;
use cedar_policy::{PolicySet, Schema, ValidationMode, ValidationResult, Validator};
use dmdl_types::{access::ReasonCode, id::PolicyId};
use std::sync::LazyLock;

/// The version of the policy engine: of the language, the schema and the rules of the house.
///
/// A channel's configuration names the version that decides in it. A node that has another one
/// stops, because the same request could be decided otherwise.
pub const POLICY_ENGINE: u16 = 1;

/// The id under which reasons name the rules of the house.
///
/// # Encoding
/// `labelled(policy-id, schema, rules)`: two parts, so it is never the id of a document.
pub const BASE_POLICY: PolicyId = PolicyId::new([
    0xc3, 0x47, 0x4d, 0x41, 0xbd, 0x00, 0x93, 0xca, 0xef, 0x94, 0xdf, 0xb1, 0x3e, 0x38, 0x5b, 0x46, 0x20, 0x68, 0x76,
    0x20, 0xe3, 0x80, 0x31, 0xe2, 0xbd, 0x7b, 0x38, 0x91, 0xd7, 0x3e, 0x76, 0x46,
]);

/// The schema that every rule fits.
#[must_use]
pub const fn schema_text() -> &'static str {
    include_str!("../cedar/dmdl.cedarschema")
}

/// The rules that hold with every policy.
#[must_use]
pub const fn base_rules() -> &'static str {
    include_str!("../cedar/base.cedar")
}

/// The schema, ready to check requests and rules with.
pub(crate) struct House {
    pub(crate) schema: Schema,
    validator: Validator,
    /// The rules of [`base_rules`], under their names.
    pub(crate) rules: Vec<Rule>,
}

/// The one house there is.
pub(crate) static HOUSE: LazyLock<House> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "compiled in, and the tests read it")]
    House::new().expect("the schema and the rules of the house are valid")
});

impl House {
    fn new() -> Option<Self> {
        let (schema, _warnings) = Schema::from_cedarschema_str(schema_text()).ok()?;
        Some(Self { validator: Validator::new(schema.clone()), schema, rules: read(base_rules())? })
    }

    /// Checks rules against the schema, strictly.
    ///
    /// A rule reads the attributes of requester, record and request, and nothing through them: of
    /// the record's owner, for instance, no role is known.
    pub(crate) fn validate(&self, rules: &PolicySet) -> ValidationResult {
        self.validator.validate_with_level(rules, ValidationMode::Strict, 1)
    }
}

/// Reads rules of the house: each has a name that means something.
pub(crate) fn read(text: &str) -> Option<Vec<Rule>> {
    let set: PolicySet = text.parse().ok()?;
    let named = crate::policy::in_order(&set).into_iter().map(|rule| {
        let name = rule.annotation("id")?.to_owned();
        let code = code_of(&name)?;
        Some(Rule { policy: BASE_POLICY, name, code, cedar: rule.clone() })
    });
    named.collect()
}

/// What a rule of the house means as a reason.
fn code_of(name: &str) -> Option<ReasonCode> {
    Some(match name {
        "owner" => ReasonCode::Owner,
        "granted" => ReasonCode::PolicyPermits,
        "approved" => ReasonCode::Approved,
        "suspended" => ReasonCode::Suspended,
        "purpose" => ReasonCode::PurposeNotPermitted,
        "no-grant" => ReasonCode::UnknownGrant,
        "grant-expired" => ReasonCode::GrantExpired,
        "grant-used-up" => ReasonCode::GrantUsedUp,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmdl_types::{hash, label};

    const CHANGED: &str = "decisions may differ: raise POLICY_ENGINE, keep the old version, then pin this again";

    #[test]
    fn the_rules_of_the_house_fit_the_schema() {
        let set = PolicySet::from_policies(HOUSE.rules.iter().map(|rule| rule.cedar.clone())).unwrap();
        let checked = HOUSE.validate(&set);
        assert!(checked.validation_passed_without_warnings(), "{checked:?}");
        assert_eq!(HOUSE.rules.len(), 8);
    }

    #[test]
    fn the_rules_of_the_house_do_not_change_within_a_version() {
        let hash = hash::labelled(label::POLICY_ID, &[schema_text().as_bytes(), base_rules().as_bytes()]);
        assert_eq!(PolicyId::new(hash), BASE_POLICY, "{CHANGED}");
    }

    #[test]
    fn the_language_does_not_change_within_a_version() {
        assert_eq!(cedar_policy::get_sdk_version().to_string(), "4.14.1", "{CHANGED}");
        assert_eq!(cedar_policy::get_lang_version().to_string(), "4.6.0", "{CHANGED}");
    }
}
