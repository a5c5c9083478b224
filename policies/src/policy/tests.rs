use super::*;
use crate::text::{IFS, NESTING, OPERATORS, STACK_BYTES};

fn document(rules: impl Into<String>) -> PolicyDocument {
    PolicyDocument { permission: Permission { code: DuoCode::Gru, diseases: vec![] }, rules: rules.into() }
}

fn parse(rules: impl Into<String>) -> Result<ParsedPolicy, PolicyError> {
    ParsedPolicy::parse(&document(rules))
}

fn rule(condition: &str) -> String {
    format!("permit (principal, action, resource) when {{ {condition} }};")
}

/// The deepest rules that the limits let through.
pub(crate) fn deepest() -> Vec<String> {
    let inner = NESTING - 1;
    let wrap = |open: &str, core: &str, close: &str| format!("{}{core}{}", open.repeat(inner), close.repeat(inner));
    let spread = (OPERATORS - 2) / (inner + 1);
    let bushy = (0..inner).fold("true".to_owned(), |e, _| format!("({e}{})", " && true".repeat(spread - 1)));
    vec![
        rule(&vec!["true"; OPERATORS - 1].join(" && ")),
        rule(&vec!["true"; OPERATORS - 1].join(" || ")),
        rule(&format!("{} == 1", vec!["1"; OPERATORS - 3].join(" + "))),
        rule(&format!("{} == 1", vec!["1"; OPERATORS - 3].join(" * "))),
        rule(&vec!["context has country"; OPERATORS / 2 - 1].join(" && ")),
        rule(&wrap("(", "true", ")")),
        rule(&format!("{} == {}", wrap("[", "1", "]"), wrap("[", "1", "]"))),
        rule(&format!("{} == {}", wrap("{a: ", "1", "}"), wrap("{a: ", "1", "}"))),
        rule(&format!("{}true{}", "if true then (".repeat(IFS), ") else false".repeat(IFS))),
        rule(&format!("{}true", "if context.approved then false else ".repeat(IFS))),
        rule(&format!("{}true{}", "if (".repeat(IFS), ") then true else false".repeat(IFS))),
        rule(&format!("{} == 1", wrap("{a: ", "1", "}.a"))),
        rule(&format!("{}.role == Role::\"owner\"", wrap("{a: ", "principal", "}.a"))),
        rule(&wrap("{a: ", "true", "} has a")),
        rule(&wrap("([", "true", "] == [true])").replace("([", "[").replace("])", "]")),
        rule(&wrap("[", "true", "].contains(true)")),
        rule(&wrap("(true == ", "true", ")")),
        rule(&format!(
            "{}principal.org{} == Org::\"a\"",
            "(if context.approved then ".repeat(IFS),
            " else principal.org)".repeat(IFS)
        )),
        rule(&bushy),
        rule(&format!("{}true{}", "!!!!(".repeat(inner), ")".repeat(inner))),
        format!("permit (principal, action, resource) {};", "when { true }".repeat(OPERATORS - 1)),
    ]
}

#[test]
fn the_deepest_rules_are_read_on_half_of_the_ample_stack() {
    let walk = || {
        for rules in deepest() {
            assert_eq!(check(&rules), Ok(()), "{rules}");
            let read = read(&document(rules.clone())).unwrap();
            assert_eq!(check_schema(&read), Ok(()), "{rules}");
        }
    };
    std::thread::Builder::new().stack_size(STACK_BYTES / 2).spawn(walk).unwrap().join().unwrap();
}

#[test]
fn hostile_text_is_refused() {
    let clauses = |n: usize| rule(&vec!["true"; n].join("&&"));
    let nested = |n: usize| rule(&format!("{}true{}", "(".repeat(n), ")".repeat(n)));
    let long = format!("{}//{}", rule("true"), " ".repeat(limits::POLICY_BYTES));
    for (rules, error) in [
        (long.clone(), PolicyError::TooLong(long.len())),
        (clauses(10_000), PolicyError::TooLong(clauses(10_000).len())),
        (clauses(2_000), PolicyError::TooComplex(OPERATORS)),
        (nested(10_000), PolicyError::TooLong(nested(10_000).len())),
        (nested(5_000), PolicyError::TooNested(NESTING)),
        ("(".repeat(limits::POLICY_BYTES), PolicyError::TooNested(NESTING)),
        ("[".repeat(limits::POLICY_BYTES), PolicyError::TooNested(NESTING)),
        ("!".repeat(limits::POLICY_BYTES), PolicyError::TooComplex(OPERATORS)),
        ("if ".repeat(5_000), PolicyError::TooManyIfs(IFS)),
        (rule("ip(\"10.0.0.1\").isLoopback()"), PolicyError::Function("ip".into())),
        (rule("decimal(\"0.1\").lessThan(decimal(\"0.2\"))"), PolicyError::Function("decimal".into())),
        (rule("datetime(\"2026-01-01\") < datetime(\"2027-01-01\")"), PolicyError::Function("datetime".into())),
        ("permit (principal == ?principal, action, resource);".into(), PolicyError::Slot),
        ("permit (principal, action, resource);".repeat(RULES + 1), PolicyError::TooManyRules(RULES + 1)),
        (format!("@id(\"Not a name\") {}", rule("true")), PolicyError::RuleName("Not a name".into())),
        (format!("@id {}", rule("true")), PolicyError::RuleName(String::new())),
        (format!("@id(\"a\") {0} @id(\"a\") {0}", rule("true")), PolicyError::RuleNamedTwice("a".into())),
        (format!("@id(\"rule-2\") {0} {0}", rule("true")), PolicyError::RuleNamedTwice("rule-2".into())),
    ] {
        assert_eq!(parse(&*rules).map(|_| ()), Err(error), "{}", rules.chars().take(80).collect::<String>());
    }
}

#[test]
fn what_is_not_the_language_is_refused() {
    for rules in [
        "permit",
        "permit (principal, action, resource)",
        "permit (principal, action, resource) when { };",
        "permit (principal, action, resource) when { true } };",
        "allow (principal, action, resource);",
        "permit (principal, resource);",
        "permit (principal, action, resource) when { \"unterminated };",
        "permit (principal, action, resource) when { 9223372036854775808 > 0 };",
        "permit (principal, action, resource) when { days = 3 };",
        "permit (principal, action, resource); garbage",
        "{\"effect\": \"permit\"}",
        "\\",
        "\"\\",
        "é",
    ] {
        assert!(matches!(parse(rules), Err(PolicyError::Syntax(_))), "{rules}: {:?}", parse(rules).map(|_| ()));
    }
}

#[test]
fn what_does_not_fit_the_schema_is_refused() {
    for condition in [
        "principal.salary > 3",                           // no such attribute
        "context.reason == \"x\"",                        // no such attribute
        "resource.owner.role == Role::\"owner\"",         // not known of the owner
        "principal in Group::\"x\"",                      // no such type
        "principal == Patient::\"x\"",                    // no such type
        "principal.role == Role::\"reseacher\"",          // no such role
        "principal.role == \"researcher\"",               // a role is not a text
        "context.purpose == Duo::\"DUO:0000042\"",        // the code is `GRU`
        "context.purpose == Duo::\"CC\"",                 // a modifier, not a purpose
        "context.days < \"30\"",                          // a number is not a text
        "context.days",                                   // not a condition
        "context.country == \"CH\"",                      // may be missing
        "context.disease == Disease::\"MONDO:0005148\"",  // may be missing
        "context.days == 1 || context.country == \"CH\"", // may be missing
        "principal.getTag(\"x\") == 1",                   // nothing has tags
        "action == Action::\"erase\"",                    // no such action
        "[].contains(1)",                                 // of no type
        "[1, \"a\"].contains(1)",                         // of two types
        "principal == principal.org",                     // never equal
    ] {
        let read = parse(rule(condition)).map(|_| ());
        assert!(matches!(read, Err(PolicyError::Schema { .. })), "{condition}: {read:?}");
    }
    for never in ["false", "1 == 2", "principal.hasTag(\"x\")", "context.approved && !true"] {
        let read = parse(rule(never)).map(|_| ());
        assert!(matches!(read, Err(PolicyError::Schema { .. })), "{never}: {read:?}");
    }
    for scope in ["action == Action::\"erase\"", "action in [Action::\"request\", Action::\"delete\"]"] {
        let error = parse(format!("permit (principal, {scope}, resource);")).map(|_| ()).unwrap_err();
        assert!(matches!(error, PolicyError::Schema { .. }), "{scope}: {error}");
    }
}

#[test]
fn what_the_schema_offers_is_accepted() {
    for condition in [
        "principal in Org::\"university\" && principal.org != resource.org",
        "principal == Person::\"ab\" || principal == resource.owner",
        "[Role::\"researcher\", Role::\"committee\"].contains(principal.role)",
        "context has disease && context.disease in [Disease::\"MONDO:0005148\", Disease::\"MONDO:0004979\"]",
        "context has disease && resource.diseases.contains(context.disease)",
        "context has country && [\"CH\", \"DE\"].contains(context.country)",
        "context.non_profit && !context.commercial && context.has_ethics && context.has_project",
        "context.days <= 30 && context.uses <= 5 && context.cohort < 100 && context.now_ms < 1800000000000",
        "context.approved && context.uses_so_far < 3 && context.uses_max <= 10 && context.grant_ends_ms > 0",
        "resource.media_type like \"image/*\" && resource.permission != Duo::\"POA\"",
        "if context.commercial then context.days <= 7 else context.days <= 70",
        "resource == Record::\"00\" && context.purpose_permitted && context.has_grant",
    ] {
        assert_eq!(parse(rule(condition)).map(|_| ()), Ok(()), "{condition}");
    }
    assert_eq!(parse("").map(|_| ()), Ok(()));
}

#[test]
fn rules_without_a_name_are_numbered_in_the_order_of_the_text() {
    let policy = parse(format!("{0} @id(\"second\") {0} {0}", rule("true"))).unwrap();
    assert_eq!(policy.rule_names().collect::<Vec<_>>(), ["rule-1", "rule-3", "second"]);
}

#[test]
fn only_disease_research_names_diseases() {
    let of = |code: DuoCode, numbers: &[u32]| {
        let diseases = numbers.iter().filter_map(|n| dmdl_types::access::MondoId::new(*n)).collect();
        let permission = Permission { code, diseases };
        ParsedPolicy::parse(&PolicyDocument { permission, rules: String::new() }).map(|_| ())
    };
    let many: Vec<u32> = (0..65).collect();
    assert_eq!(of(DuoCode::Ds, &many[..64]), Ok(()));
    assert_eq!(of(DuoCode::Ds, &many), Err(PolicyError::Diseases));
    assert_eq!(of(DuoCode::Ds, &[]), Err(PolicyError::Diseases));
    assert_eq!(of(DuoCode::Ds, &[5148, 5148]), Err(PolicyError::Diseases));
    for code in [DuoCode::Nres, DuoCode::Gru, DuoCode::Hmb, DuoCode::Poa] {
        assert_eq!(of(code, &[]), Ok(()));
        assert_eq!(of(code, &[5148]), Err(PolicyError::Diseases));
    }
}

#[test]
fn an_error_is_short_and_always_the_same() {
    let rules: String = (0..40).map(|n| rule(&format!("principal.a{n} == 1"))).collect();
    let first = parse(&*rules).map(|_| ()).unwrap_err();
    assert!(first.to_string().len() < 1000);
    assert!((0..20).all(|_| parse(&*rules).map(|_| ()) == Err(first.clone())));
}

#[test]
fn the_costliest_text_is_read_in_reasonable_time() {
    // The deepest rules, as often as they fit; lists as long as the text; text that is all faults.
    let list = |n: &str, times: usize| format!("[{}]", vec![n; times].join(","));
    let lists = [
        rule(&format!("{}.contains(context.days)", list("1", 8_000))),
        rule(&format!("{}.containsAll({})", list("1", 4_000), list("2", 4_000))),
        rule(&format!("resource.media_type like \"{}b\"", "*a".repeat(8_000))),
    ];
    let faults =
        [";", ")", "x;", "when {};", "permit();", "@"].map(|fault| fault.repeat(limits::POLICY_BYTES / fault.len()));
    for text in deepest().into_iter().chain(lists).chain(faults) {
        let times = (limits::POLICY_BYTES / text.len()).min(RULES);
        let begun = std::time::Instant::now();
        let read = parse(text.repeat(times)).map(|_| ());
        assert!(begun.elapsed().as_secs() < 2, "{:?} for {read:?} of {text:.80}", begun.elapsed());
    }
}

#[test]
fn a_policy_may_be_kept_and_shared() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<ParsedPolicy>();
}
