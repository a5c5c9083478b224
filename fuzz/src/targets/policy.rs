//! Policies: what is accepted decides, always alike, and errors and fewer permits never allow more.
//!
//! An input is the text of a policy's rules.

use super::{Seeds, ledger};
use cedar_policy::{Effect, Policy, PolicySet};
use dmdl_policies::{Action, Facts, GrantFacts, ParsedPolicy, PolicyError, Request, decide};
use dmdl_types::{
    access::{Decision, DuoCode, MondoId, Permission, PolicyDocument, Purpose, ReasonCode, Ruling, Terms},
    genesis::Role,
    id::{OrgId, RecordId, UnixMillis},
    limits,
    sign::PublicKey,
};
use std::collections::BTreeSet;

/// More would only cost time: removing any one of them is alike.
const REMOVED: usize = 3;
/// Fits the schema, and overflows in every case below.
const FAILING: &str = "permit (principal, action, resource) when { context.days * 9223372036854775807 > 0 };";
const FORBIDDING: &str = "forbid (principal, action, resource);";

pub(super) fn run(data: &[u8]) {
    let Ok(rules) = str::from_utf8(data) else { return };
    let parsed = ParsedPolicy::parse(&document(rules.to_owned()));
    let again = ParsedPolicy::parse(&document(rules.to_owned()));
    assert_eq!(parsed.as_ref().map(ParsedPolicy::id), again.as_ref().map(ParsedPolicy::id), "read in two ways");
    let Ok(policy) = parsed else { return };
    assert!(rules.len() <= limits::POLICY_BYTES);

    let set: PolicySet = rules.parse().expect("an accepted policy is Cedar");
    let texts = in_order(&set);
    assert_eq!(policy.rule_names().count(), texts.len(), "a rule is lost");

    let cases = cases();
    let decisions: Vec<Decision> = cases.iter().map(|case| case.decided(&policy)).collect();
    for (case, decision) in cases.iter().zip(&decisions) {
        assert_eq!(&case.decided(&policy), decision, "decided in two ways");
        check(case, decision);
    }
    printed(&texts, &cases, &decisions);
    without(&texts, &cases, &decisions);
    with(rules, &cases);
}

fn check(case: &Case, decision: &Decision) {
    let Decision { ruling, reasons } = decision;
    assert!((1..=limits::REASONS).contains(&reasons.len()), "{} reasons", reasons.len());
    if *ruling == Ruling::Allow {
        assert!(reasons.iter().all(|reason| reason.code != ReasonCode::PolicyError), "allowed in spite of an error");
        assert!(!case.facts.suspended, "a suspended person is allowed");
        assert!(case.action != Action::Open || case.facts.grant.is_some(), "opened without a grant");
    }
    assert!(*ruling != Ruling::Review || case.action == Action::Request, "only requests are left to review");
}

/// What the language prints is the same policy.
fn printed(rules: &[&Policy], cases: &[Case], decisions: &[Decision]) {
    let Some(policy) = reread(rules) else { return };
    for (case, decision) in cases.iter().zip(decisions) {
        let other = case.decided(&policy);
        assert_eq!(other.ruling, decision.ruling, "printed, it decides otherwise");
        // Reasons are in the order of the policies' ids, and the text has another id.
        let names = |decision: &Decision| -> BTreeSet<_> {
            decision.reasons.iter().map(|reason| (reason.code, reason.rule.clone())).collect()
        };
        let all = decision.reasons.len() < limits::REASONS;
        assert!(!all || names(&other) == names(decision), "printed, it has other reasons: {other:?} {decision:?}");
    }
}

/// A permit less never gives more, but where it failed.
fn without(rules: &[&Policy], cases: &[Case], decisions: &[Decision]) {
    let permits = (0..rules.len()).filter(|position| rules[*position].effect() == Effect::Permit);
    for position in permits.take(REMOVED) {
        let mut rest = rules.to_vec();
        rest.remove(position);
        let Some(policy) = reread(&rest) else { continue };
        for (case, decision) in cases.iter().zip(decisions) {
            let failed = decision.reasons.iter().any(|reason| reason.code == ReasonCode::PolicyError)
                || decision.reasons.len() == limits::REASONS;
            let less = case.decided(&policy);
            assert!(failed || gives(&less) <= gives(decision), "a permit less gives more: {less:?}");
        }
    }
}

/// A rule that fails denies, and so does one that forbids everything, whatever the others say.
fn with(rules: &str, cases: &[Case]) {
    for (more, code) in [(FAILING, ReasonCode::PolicyError), (FORBIDDING, ReasonCode::PolicyForbids)] {
        let Ok(policy) = ParsedPolicy::parse(&document(format!("{rules}\n{more}"))) else { continue };
        for case in cases {
            let Decision { ruling, reasons } = case.decided(&policy);
            assert_eq!(ruling, Ruling::Deny, "`{more}` does not deny");
            let said = reasons.len() == limits::REASONS || reasons.iter().any(|reason| reason.code == code);
            assert!(said, "`{more}` is no reason");
        }
    }
}

fn gives(decision: &Decision) -> u8 {
    match decision.ruling {
        Ruling::Deny => 0,
        Ruling::Review => 1,
        Ruling::Allow => 2,
    }
}

/// The policy of these rules as the language prints them; none where brackets that it adds pass a limit, or
/// a rule without a name gets the number that another one has for a name.
fn reread(rules: &[&Policy]) -> Option<ParsedPolicy> {
    let text: Vec<String> = rules.iter().map(|rule| rule.to_cedar().expect("a rule prints")).collect();
    match ParsedPolicy::parse(&document(text.join("\n"))) {
        Ok(policy) => Some(policy),
        Err(
            PolicyError::TooLong(_)
            | PolicyError::TooNested(_)
            | PolicyError::TooComplex(_)
            | PolicyError::RuleNamedTwice(_),
        ) => None,
        Err(error) => panic!("what is printed is refused: {error}\n{}", text.join("\n")),
    }
}

fn in_order(set: &PolicySet) -> Vec<&Policy> {
    let mut rules: Vec<&Policy> = set.policies().collect();
    rules.sort_by_key(|rule| {
        let id: &str = rule.id().as_ref();
        id.trim_start_matches("policy").parse::<usize>().expect("the parser numbers the rules")
    });
    rules
}

fn document(rules: String) -> PolicyDocument {
    let permission = Permission { code: DuoCode::Hmb, diseases: Vec::new() };
    PolicyDocument { permission, rules }
}

/// Somebody who asks for something.
struct Case {
    action: Action,
    request: Request,
    facts: Facts,
}

impl Case {
    fn decided(&self, policy: &ParsedPolicy) -> Decision {
        decide(self.action, &self.request, &self.facts, policy)
    }
}

fn cases() -> Vec<Case> {
    let org = |name: &str| name.parse::<OrgId>().expect("a name");
    let (owner, other) = (PublicKey::new([1; 32]), PublicKey::new([2; 32]));
    let grant = GrantFacts { approved: false, ends: UnixMillis::new(2000), uses_max: 3, uses_so_far: 1 };
    let request = Request {
        requester: other,
        requester_org: org("university"),
        requester_role: Role::Researcher,
        terms: Terms { purpose: Purpose { code: DuoCode::Hmb, disease: None }, ..ledger::terms() },
    };
    let facts = Facts {
        record: RecordId::new([3; 32]),
        owner,
        owner_org: org("hospital"),
        media_type: "application/dicom".to_owned(),
        permission: Permission { code: DuoCode::Hmb, diseases: Vec::new() },
        now: UnixMillis::new(1000),
        suspended: false,
        grant: Some(grant),
        cohort: 5,
    };
    let case = |action, change: &dyn Fn(&mut Request, &mut Facts)| {
        let (mut request, mut facts) = (request.clone(), facts.clone());
        change(&mut request, &mut facts);
        Case { action, request, facts }
    };
    let mut cases: Vec<Case> = Action::ALL.map(|action| case(action, &|_, _| ())).into();
    cases.extend([
        case(Action::Request, &|request, _| request.requester = owner),
        case(Action::Request, &|request, _| request.requester_role = Role::Officer),
        case(Action::Request, &|request, _| (request.terms.days, request.terms.uses) = (400, 1_000)),
        case(Action::Request, &|request, _| request.terms.purpose.code = DuoCode::Poa),
        case(Action::Request, &|request, _| {
            request.terms.purpose = Purpose { code: DuoCode::Ds, disease: MondoId::new(5148) };
            (request.terms.country, request.terms.ethics) = (None, request.terms.project);
        }),
        case(Action::Request, &|_, facts| (facts.suspended, facts.cohort) = (true, 200)),
        case(Action::Review, &|request, _| (request.terms.commercial, request.terms.non_profit) = (true, false)),
        case(Action::Open, &|_, facts| facts.grant = None),
        case(Action::Open, &|_, facts| facts.grant = Some(GrantFacts { approved: true, ..grant })),
        case(Action::Open, &|_, facts| facts.grant = Some(GrantFacts { uses_so_far: 3, ..grant })),
        case(Action::Open, &|_, facts| facts.now = UnixMillis::new(3000)),
    ]);
    cases
}

pub(super) fn seeds() -> Seeds {
    const TEXTS: [(&str, &str); 9] = [
        ("closed", include_str!("../../../policies/cedar/templates/closed.cedar")),
        ("research-auto", include_str!("../../../policies/cedar/templates/research-auto.cedar")),
        ("review-only", include_str!("../../../policies/cedar/templates/review-only.cedar")),
        ("ethics", include_str!("../../../policies/sandboxes/ethics-and-project/policy.cedar")),
        ("region", include_str!("../../../policies/sandboxes/region-and-institution/policy.cedar")),
        ("cohorts", include_str!("../../../policies/sandboxes/small-cohorts/policy.cedar")),
        ("failing", FAILING),
        (
            "permits",
            "permit (principal, action, resource);\npermit (principal, action, resource) when { !context.approved };",
        ),
        (
            "named-twice",
            "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);",
        ),
    ];
    TEXTS.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into()
}
