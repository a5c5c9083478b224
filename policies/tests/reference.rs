//! The engine against a second evaluator, written from docs/spec/policy.md and sharing no code with it.
//!
//! `DMDL_POLICY_CASES` runs more cases than are run at each change, and `PROPTEST_RNG_SEED` chooses them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a case that can't be made fails its test")]

use dmdl_policies::{Action, Facts, GrantFacts, ParsedPolicy, Request, decide, templates::Template};
use dmdl_types::{
    access::{Decision, DuoCode, MondoId, Permission, PolicyDocument, Purpose, ReasonCode, Ruling, Terms},
    genesis::Role,
    id::{OrgId, RecordId, UnixMillis},
    sign::PublicKey,
};
use proptest::{prelude::*, test_runner::TestRunner};
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rules {
    None,
    PermitAll,
    ForbidAll,
    ForbidOpening,
    PermitUnapprovedOpening,
    Library(Template),
}

impl Rules {
    const ALL: [Self; 8] = [
        Self::None,
        Self::PermitAll,
        Self::ForbidAll,
        Self::ForbidOpening,
        Self::PermitUnapprovedOpening,
        Self::Library(Template::ReviewOnly),
        Self::Library(Template::ResearchAuto),
        Self::Library(Template::Closed),
    ];

    const fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::PermitAll => "permit (principal, action, resource);",
            Self::ForbidAll => "permit (principal, action, resource); forbid (principal, action, resource);",
            Self::ForbidOpening => "forbid (principal, action == Action::\"open\", resource);",
            Self::PermitUnapprovedOpening => {
                "permit (principal, action == Action::\"open\", resource) unless { context.approved };"
            }
            Self::Library(template) => template.rules(),
        }
    }
}

#[derive(Clone, Debug)]
struct Case {
    action: Action,
    request: Request,
    facts: Facts,
    policy: PolicyDocument,
    rules: Rules,
}

/// What the specification says, in its own order: first what forbids, then what permits.
fn reference(case: &Case) -> (Ruling, BTreeSet<ReasonCode>) {
    let Case { action, request, facts, .. } = case;
    let own = request.requester == facts.owner;
    let terms = &request.terms;
    let mut against = BTreeSet::new();
    if facts.suspended {
        against.insert(ReasonCode::Suspended);
    }
    let within = |p: &Permission| purpose_is_within(p, terms.purpose);
    let within_both = within(&facts.permission) && within(&case.policy.permission);
    if !(own || within_both) {
        against.insert(ReasonCode::PurposeNotPermitted);
    }
    if *action == Action::Open {
        match facts.grant {
            None => _ = against.insert(ReasonCode::UnknownGrant),
            Some(grant) => {
                if grant.ends < facts.now {
                    against.insert(ReasonCode::GrantExpired);
                }
                if grant.uses_so_far >= grant.uses_max {
                    against.insert(ReasonCode::GrantUsedUp);
                }
            }
        }
    }
    let owner_forbids = match case.rules {
        Rules::ForbidAll => true,
        Rules::ForbidOpening => *action == Action::Open,
        Rules::Library(Template::Closed) => !own,
        _ => false,
    };
    if owner_forbids {
        against.insert(ReasonCode::PolicyForbids);
    }
    if !against.is_empty() {
        return (Ruling::Deny, against);
    }

    let mut allowed = owner_permits(case, *action);
    let approved = facts.grant.is_some_and(|grant| grant.approved);
    match action {
        Action::Open if approved => _ = allowed.insert(ReasonCode::Approved),
        Action::Open => _ = allowed.insert(ReasonCode::PolicyPermits),
        Action::Request if own => _ = allowed.insert(ReasonCode::Owner),
        Action::Request | Action::Review => {}
    }
    if !allowed.is_empty() {
        return (Ruling::Allow, allowed);
    }
    if *action == Action::Request && !owner_permits(case, Action::Review).is_empty() {
        return (Ruling::Review, BTreeSet::from([ReasonCode::NeedsReview]));
    }
    (Ruling::Deny, BTreeSet::from([ReasonCode::NoRulePermits]))
}

fn owner_permits(case: &Case, action: Action) -> BTreeSet<ReasonCode> {
    let researcher = case.request.requester_role == Role::Researcher;
    let modest = case.request.terms.days <= 90 && case.request.terms.uses <= 10;
    let approved = case.facts.grant.is_some_and(|grant| grant.approved);
    let permits = match (case.rules, action) {
        (Rules::PermitAll | Rules::ForbidAll, _) => true,
        (Rules::PermitUnapprovedOpening, Action::Open) => !approved,
        (Rules::Library(Template::ResearchAuto), Action::Request) => researcher && modest,
        (Rules::Library(Template::ReviewOnly | Template::ResearchAuto), Action::Review) => researcher,
        _ => false,
    };
    if permits { BTreeSet::from([ReasonCode::PolicyPermits]) } else { BTreeSet::new() }
}

/// The table of the specification as a list of what is within what.
fn purpose_is_within(permission: &Permission, purpose: Purpose) -> bool {
    let list: &[&str] = match permission.code.as_str() {
        "NRES" | "GRU" => &["GRU", "HMB", "DS", "POA"],
        "HMB" => &["HMB", "DS"],
        "DS" => &["DS"],
        "POA" => &["POA"],
        _ => &[],
    };
    let disease = match (purpose.code.as_str(), purpose.disease) {
        ("DS", None) => return false,
        ("DS", Some(disease)) => Some(disease),
        _ => None,
    };
    let listed = permission.code.as_str() != "DS" || disease.is_some_and(|d| permission.diseases.contains(&d));
    list.contains(&purpose.code.as_str()) && listed
}

fn code() -> impl Strategy<Value = DuoCode> {
    prop::sample::select(DuoCode::ALL.to_vec())
}

fn disease() -> impl Strategy<Value = MondoId> {
    (5_146u32..5_150).prop_map(|n| MondoId::new(n).unwrap())
}

fn permission() -> impl Strategy<Value = Permission> {
    (code(), prop::collection::btree_set(disease(), 1..4)).prop_map(|(code, diseases)| Permission {
        code,
        diseases: if code == DuoCode::Ds { diseases.into_iter().collect() } else { vec![] },
    })
}

fn terms() -> impl Strategy<Value = Terms> {
    let limits = (88u16..93, prop_oneof![Just(0u32), 8u32..13, Just(u32::MAX)]);
    (code(), prop::option::of(disease()), limits, any::<(bool, bool)>(), prop::option::of(Just(*b"CH"))).prop_map(
        |(code, disease, (days, uses), (non_profit, commercial), country)| Terms {
            purpose: Purpose { code, disease },
            days,
            uses,
            non_profit,
            commercial,
            country,
            project: None,
            ethics: None,
        },
    )
}

fn facts() -> impl Strategy<Value = Facts> {
    let grant = (any::<bool>(), 998u64..1003, 0u32..4, 0u32..4).prop_map(|(approved, ends, uses_max, uses_so_far)| {
        GrantFacts { approved, ends: UnixMillis::new(ends), uses_max, uses_so_far }
    });
    let suspended = prop::bool::weighted(0.1);
    (0u8..3, permission(), suspended, prop::option::weighted(0.8, grant), any::<u32>()).prop_map(
        |(owner, permission, suspended, grant, cohort)| Facts {
            record: RecordId::new([9; 32]),
            owner: PublicKey::new([owner; 32]),
            owner_org: OrgId::new("st-mary").unwrap(),
            media_type: "text/plain".into(),
            permission,
            now: UnixMillis::new(1000),
            suspended,
            grant,
            cohort,
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let roles = vec![Role::Owner, Role::Researcher, Role::Researcher, Role::Committee, Role::Officer, Role::Admin];
    let who = (0u8..3, prop::sample::select(roles));
    let what = (prop::sample::select(Action::ALL.to_vec()), prop::sample::select(Rules::ALL.to_vec()));
    (what, who, terms(), facts(), permission()).prop_map(|((action, rules), (key, role), terms, facts, permission)| {
        Case {
            action,
            request: Request {
                requester: PublicKey::new([key; 32]),
                requester_org: OrgId::new("university").unwrap(),
                requester_role: role,
                terms,
            },
            facts,
            policy: PolicyDocument { permission, rules: rules.text().into() },
            rules,
        }
    })
}

fn codes(decision: &Decision) -> BTreeSet<ReasonCode> {
    decision.reasons.iter().map(|reason| reason.code).collect()
}

/// What a campaign asks for; something else than a number there is an error, not a default.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().expect("a number"))
}

#[test]
fn the_engine_and_the_reference_agree() {
    let cases = number("DMDL_POLICY_CASES").map_or(20_000, |cases| u32::try_from(cases).expect("a small number"));
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let agree = |case: Case| {
        let policy = ParsedPolicy::parse(&case.policy).unwrap();
        let decision = decide(case.action, &case.request, &case.facts, &policy);
        prop_assert_eq!((decision.ruling, codes(&decision)), reference(&case));
        prop_assert!(!decision.reasons.is_empty());
        prop_assert_eq!(decide(case.action, &case.request, &case.facts, &policy), decision);
        Ok(())
    };
    if let Err(error) = TestRunner::new(config).run(&case(), agree) {
        panic!("{error}");
    }
    eprintln!("{cases} cases: 0 disagreements");
}
