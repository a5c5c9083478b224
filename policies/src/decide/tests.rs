use super::*;
use crate::{facts::GrantFacts, house, policy, templates::Template, text::STACK_BYTES};
use dmdl_types::{
    access::{Permission, PolicyDocument, Purpose, Terms},
    genesis::Role,
    id::{OrgId, RecordId, UnixMillis},
    sign::PublicKey,
};

const NOW: u64 = 1_795_000_000_000;

/// One row of `table.txt`, and a line number to find it by.
struct Row {
    line: usize,
    action: Action,
    request: Request,
    facts: Facts,
    rules: &'static str,
    expected: &'static str,
}

fn table() -> Vec<Row> {
    let lines = include_str!("table.txt").lines().zip(1..);
    lines
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, number)| row(line, number))
        .collect()
}

fn row(line: &'static str, number: usize) -> Row {
    let columns: Vec<&str> = line.split('|').map(str::trim).collect();
    let [action, who, policy, permission, purpose, state, expected] = columns[..] else { panic!("line {number}") };
    let mut row = Row {
        line: number,
        action: Action::ALL.into_iter().find(|a| a.as_str() == action).unwrap(),
        request: request(),
        facts: facts(),
        rules: match policy {
            "none" => "",
            "all" => "@id(\"all\") permit (principal, action, resource);",
            name => Template::named(name).unwrap().rules(),
        },
        expected,
    };
    row.request.requester_role = match who {
        "self" | "peer" => Role::Owner,
        role => serde_json::from_str(&format!("\"{role}\"")).unwrap(),
    };
    if who == "self" {
        row.facts.owner = row.request.requester;
    }
    let (code, diseases) = permission.split_once(' ').unwrap_or((permission, ""));
    let diseases = diseases.split_whitespace().map(|d| d.parse().unwrap()).collect();
    row.facts.permission = Permission { code: code.parse().unwrap(), diseases };
    let (code, disease) = purpose.split_once(' ').unwrap_or((purpose, ""));
    row.request.terms.purpose = Purpose { code: code.parse().unwrap(), disease: disease.parse().ok() };
    for word in state.split_whitespace() {
        change(&mut row, word);
    }
    row
}

fn change(row: &mut Row, word: &str) {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let grant = &mut row.facts.grant;
    match name {
        "days" => row.request.terms.days = value.parse().unwrap(),
        "uses" => row.request.terms.uses = value.parse().unwrap(),
        "suspended" => row.facts.suspended = true,
        "grant" => {
            let (so_far, max) = value.split_once('/').unwrap();
            let (uses_so_far, uses_max) = (so_far.parse().unwrap(), max.parse().unwrap());
            *grant = Some(GrantFacts { approved: false, ends: UnixMillis::new(NOW), uses_max, uses_so_far });
        }
        "ends" => {
            let ends = NOW.checked_add_signed(value.parse().unwrap()).unwrap();
            grant.as_mut().unwrap().ends = UnixMillis::new(ends);
        }
        "approved" => grant.as_mut().unwrap().approved = true,
        other => panic!("line {}: {other}", row.line),
    }
}

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
            country: None,
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
        now: UnixMillis::new(NOW),
        suspended: false,
        grant: None,
        cohort: 0,
    }
}

fn document(rules: &str) -> PolicyDocument {
    PolicyDocument { permission: Permission { code: DuoCode::Gru, diseases: vec![] }, rules: rules.into() }
}

/// A policy as the engine would take it without our checks, with other rules of the house.
fn unchecked(rules: &str, base: &str) -> ParsedPolicy {
    let document = document(rules);
    let owner = policy::read(&document).unwrap();
    ParsedPolicy::assemble(&document, house::read(base).unwrap().into_iter().chain(owner)).unwrap()
}

fn show(decision: &Decision) -> String {
    let reason = |reason: &Reason| {
        let duo = reason.duo.map(|code| format!("[{code}]")).unwrap_or_default();
        let rule = reason.rule.as_ref().map(|rule| format!("/{rule}")).unwrap_or_default();
        format!("{}{duo}{rule}", reason.code.as_str())
    };
    let reasons: Vec<String> = decision.reasons.iter().map(reason).collect();
    format!("{} {}", format!("{:?}", decision.ruling).to_lowercase(), reasons.join(", "))
}

fn decided(rules: &str) -> String {
    let policy = unchecked(rules, house::base_rules());
    show(&decide(Action::Request, &request(), &facts(), &policy))
}

#[test]
fn the_table_holds() {
    let table = table();
    assert!(table.len() >= 60, "{} rows", table.len());
    for row in table {
        let policy = ParsedPolicy::parse(&document(row.rules)).unwrap();
        let decision = decide(row.action, &row.request, &row.facts, &policy);
        assert_eq!(show(&decision), row.expected, "table.txt:{}", row.line);
    }
}

/// Whether the table notices that the rules of the house are these.
fn table_notices(base: &str) -> bool {
    table().iter().any(|row| {
        let decision = decide(row.action, &row.request, &row.facts, &unchecked(row.rules, base));
        show(&decision) != row.expected
    })
}

#[test]
fn every_rule_of_the_house_is_needed() {
    let rules: Vec<&str> = house::base_rules().split_inclusive(';').filter(|r| r.contains("@id")).collect();
    assert_eq!(rules.len(), 8);
    for dropped in 0..rules.len() {
        let kept: String = rules.iter().enumerate().filter(|(i, _)| *i != dropped).map(|(_, rule)| *rule).collect();
        assert!(table_notices(&kept), "nobody misses {}", rules[dropped]);
    }
    assert!(!table_notices(&rules.concat()));
}

#[test]
fn every_operator_of_the_house_is_needed() {
    let base = house::base_rules();
    let changes = [
        ("when {", "unless {"),
        ("unless {", "when {"),
        ("permit (", "forbid ("),
        ("forbid (", "permit ("),
        ("&&", "||"),
        ("||", "&&"),
        (" >= ", " > "),
        (" >= ", " == "),
        (" > ", " >= "),
        (" > ", " < "),
        ("principal == resource.owner", "principal != resource.owner"),
        ("principal == resource.owner", "false"),
        ("Action::\"open\"", "Action::\"request\""),
        ("Action::\"request\"", "Action::\"review\""),
        ("action == Action::\"open\"", "action"),
        ("action == Action::\"request\"", "action"),
        ("context.has_grant &&", "true &&"),
        ("context.purpose_permitted", "false"),
        ("principal.suspended", "!principal.suspended"),
    ];
    assert!(!table_notices(base));
    let mut mutants = 0;
    for (from, to) in changes {
        for (at, _) in base.match_indices(from) {
            let mutant = format!("{}{to}{}", &base[..at], &base[at + from.len()..]);
            assert!(table_notices(&mutant), "nobody notices `{to}` for `{from}` at byte {at}:\n{mutant}");
            mutants += 1;
        }
    }
    assert!(mutants >= 40, "{mutants} mutants");
}

#[test]
fn a_forbid_that_fails_denies() {
    let permit = "@id(\"yes\") permit (principal, action, resource);";
    let overflow = "@id(\"sum\") forbid (principal, action, resource) when { context.days + 9223372036854775807 < 0 };";
    assert_eq!(decided(permit), "allow policy_permits/yes");
    assert_eq!(decided(&format!("{permit}{overflow}")), "deny policy_error/sum");
}

#[test]
fn a_missing_attribute_denies() {
    // The schema refuses such rules; this is what would happen if it did not.
    let permit = "@id(\"yes\") permit (principal, action, resource);";
    for effect in ["permit", "forbid"] {
        let missing =
            format!("@id(\"missing\") {effect} (principal, action, resource) when {{ context.country == \"CH\" }};");
        assert!(ParsedPolicy::parse(&document(&missing)).is_err());
        assert_eq!(decided(&format!("{permit}{missing}")), "deny policy_error/missing");
        assert_eq!(decided(&missing), "deny policy_error/missing");
    }
}

#[test]
fn an_error_in_a_review_rule_denies() {
    let rules = "@id(\"r\") permit (principal, action == Action::\"review\", resource);
        @id(\"sum\") forbid (principal, action == Action::\"review\", resource) when { context.days - 9223372036854775807 - 100 < 0 };";
    assert_eq!(decided(rules), "deny policy_error/sum");
}

#[test]
fn an_error_does_not_hide_what_forbids() {
    let rules = "@id(\"no\") forbid (principal, action, resource);
        @id(\"sum\") permit (principal, action, resource) when { context.days + 9223372036854775807 < 0 };";
    assert_eq!(decided(rules), "deny policy_forbids/no, policy_error/sum");
}

#[test]
fn a_forbidden_request_is_not_left_to_review() {
    let rules = "@id(\"r\") permit (principal, action == Action::\"review\", resource);
        @id(\"no\") forbid (principal, action == Action::\"request\", resource);";
    assert_eq!(decided(rules), "deny policy_forbids/no");
    let rules = "@id(\"r\") permit (principal, action == Action::\"review\", resource);
        @id(\"no\") forbid (principal, action == Action::\"review\", resource);";
    assert_eq!(decided(rules), "deny policy_forbids/no");
}

#[test]
fn facts_that_no_rule_can_be_asked_about_deny() {
    let policy = ParsedPolicy::parse(&document("permit (principal, action, resource);")).unwrap();
    let late = Facts { now: UnixMillis::new(u64::MAX), ..facts() };
    assert_eq!(show(&decide(Action::Request, &request(), &late, &policy)), "deny policy_error");
    for country in [*b"ch", [0xff, 0xfe], *b"C\n"] {
        let mut request = request();
        request.terms.country = Some(country);
        assert_eq!(show(&decide(Action::Request, &request, &facts(), &policy)), "deny policy_error");
    }
}

#[test]
fn reasons_are_sorted_and_bounded() {
    let rule = |n: usize| format!("@id(\"r{n}\") permit (principal, action, resource);");
    let (up, down): (String, String) = ((10..74).map(rule).collect(), (10..74).rev().map(rule).collect());
    let [up, down] = [up, down].map(|rules| {
        let policy = ParsedPolicy::parse(&document(&rules)).unwrap();
        decide(Action::Request, &request(), &facts(), &policy).reasons
    });
    let names = |reasons: &[Reason]| reasons.iter().filter_map(|r| r.rule.clone()).collect::<Vec<_>>();
    assert_eq!(names(&up), (10..42).map(|n| format!("r{n}")).collect::<Vec<_>>());
    assert_eq!(names(&up), names(&down));
    assert_eq!(up.len(), limits::REASONS);
}

#[test]
fn a_reason_names_the_policy_that_it_comes_from() {
    let owners = document("@id(\"purpose\") forbid (principal, action, resource);");
    let policy = ParsedPolicy::parse(&owners).unwrap();
    let mut request = request();
    request.terms.purpose.code = DuoCode::Nres;
    let decision = decide(Action::Request, &request, &facts(), &policy);
    let named: Vec<_> = decision.reasons.iter().map(|r| (r.code, r.policy, r.rule.as_deref())).collect();
    assert_eq!(
        named,
        [
            (ReasonCode::PurposeNotPermitted, Some(BASE_POLICY), Some("purpose")),
            (ReasonCode::PolicyForbids, Some(owners.id()), Some("purpose")),
        ]
    );
}

#[test]
fn the_permissions_of_record_and_policy_both_bind() {
    let diabetes = Permission { code: DuoCode::Ds, diseases: vec!["MONDO:0005148".parse().unwrap()] };
    let rules = Template::ResearchAuto.rules().to_owned();
    let strict = ParsedPolicy::parse(&PolicyDocument { permission: diabetes.clone(), rules }).unwrap();
    let general = ParsedPolicy::parse(&document(Template::ResearchAuto.rules())).unwrap();
    let strict_record = Facts { permission: diabetes, ..facts() };
    let expected = "deny purpose_not_permitted[DS]/purpose";
    assert_eq!(show(&decide(Action::Request, &request(), &facts(), &strict)), expected);
    assert_eq!(show(&decide(Action::Request, &request(), &strict_record, &general)), expected);
    assert_eq!(show(&decide(Action::Request, &request(), &strict_record, &strict)), expected);
    assert_eq!(show(&decide(Action::Request, &request(), &facts(), &general)), "allow policy_permits/research");
}

#[test]
fn what_is_put_to_the_rules_fits_the_schema() {
    let mut request = request();
    request.terms.country = Some(*b"CH");
    request.terms.purpose = Purpose { code: DuoCode::Ds, disease: "MONDO:0005148".parse().ok() };
    let diabetes = Permission { code: DuoCode::Ds, diseases: vec!["MONDO:0005148".parse().unwrap()] };
    let facts = Facts { permission: diabetes, ..facts() };
    let question = Question::new(&request, &facts, true).unwrap();
    let entities = question.entities().iter().cloned();
    assert!(cedar_policy::Entities::from_entities(entities, Some(&house::HOUSE.schema)).is_ok());
    assert!(Action::ALL.into_iter().all(|action| question.about(action).is_ok()));
}

#[test]
fn the_deepest_rules_are_evaluated_on_half_of_the_ample_stack() {
    let policies: Vec<_> =
        policy::tests::deepest().iter().map(|rules| ParsedPolicy::parse(&document(rules)).unwrap()).collect();
    let walk = move || {
        for policy in &policies {
            let decision = ask(Action::Request, &request(), &facts(), policy).unwrap();
            assert!(decision.reasons.iter().all(|reason| reason.code != ReasonCode::PolicyError), "{policy:?}");
        }
    };
    std::thread::Builder::new().stack_size(STACK_BYTES / 2).spawn(walk).unwrap().join().unwrap();
}

#[test]
fn a_decision_does_not_depend_on_the_stack_of_the_caller() {
    let policies: Vec<_> =
        policy::tests::deepest().iter().map(|rules| ParsedPolicy::parse(&document(rules)).unwrap()).collect();
    let all = move || policies.iter().map(|p| decide(Action::Request, &request(), &facts(), p)).collect::<Vec<_>>();
    let [small, large] = [128 << 10, 64 << 20]
        .map(|bytes| std::thread::Builder::new().stack_size(bytes).spawn(all.clone()).unwrap().join().unwrap());
    assert_eq!(small, large);
}
