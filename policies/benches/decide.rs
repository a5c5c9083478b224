//! What a decision costs, and what reading a policy costs before.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what is measured is valid")]

use criterion::{Criterion, criterion_group, criterion_main};
use dmdl_policies::{Action, Facts, GrantFacts, ParsedPolicy, Request, decide, templates::Template};
use dmdl_types::{
    access::{DuoCode, Permission, PolicyDocument, Purpose, Terms},
    genesis::Role,
    id::{OrgId, RecordId, UnixMillis},
    sign::PublicKey,
};
use std::hint::black_box;

fn request() -> Request {
    Request {
        requester: PublicKey::new([2; 32]),
        requester_org: OrgId::new("university").unwrap(),
        requester_role: Role::Researcher,
        terms: Terms {
            purpose: Purpose { code: DuoCode::Gru, disease: None },
            days: 30,
            uses: 5,
            non_profit: true,
            commercial: false,
            country: Some(*b"CH"),
            project: None,
            ethics: None,
        },
    }
}

fn facts() -> Facts {
    Facts {
        record: RecordId::new([1; 32]),
        owner: PublicKey::new([3; 32]),
        owner_org: OrgId::new("st-mary").unwrap(),
        media_type: "application/dicom".into(),
        permission: Permission { code: DuoCode::Gru, diseases: vec![] },
        now: UnixMillis::new(1_795_000_000_000),
        suspended: false,
        grant: Some(GrantFacts {
            approved: true,
            ends: UnixMillis::new(1_796_000_000_000),
            uses_max: 5,
            uses_so_far: 1,
        }),
        cohort: 3,
    }
}

fn document(rules: String) -> PolicyDocument {
    PolicyDocument { permission: Permission { code: DuoCode::Gru, diseases: vec![] }, rules }
}

/// As many rules as a policy may have.
fn full() -> PolicyDocument {
    let rule = |n| {
        format!(
            "@id(\"r{n}\") forbid (principal, action, resource) when {{ context.cohort > {n}00 && context has country && [\"US\", \"CN\"].contains(context.country) }};"
        )
    };
    document((1..=64).map(rule).collect())
}

fn benches(c: &mut Criterion) {
    let (request, facts) = (request(), facts());
    for (name, document) in [("default", Template::ReviewOnly.document(facts.permission.clone())), ("64-rules", full())]
    {
        let policy = ParsedPolicy::parse(&document).unwrap();
        for action in [Action::Request, Action::Open] {
            c.bench_function(&format!("decide/{name}/{}", action.as_str()), |b| {
                b.iter(|| decide(action, black_box(&request), black_box(&facts), black_box(&policy)));
            });
        }
        c.bench_function(&format!("parse/{name}"), |b| b.iter(|| ParsedPolicy::parse(black_box(&document))));
    }
}

criterion_group!(group, benches);
criterion_main!(group);
