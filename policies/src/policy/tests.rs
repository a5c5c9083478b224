use super::*;
use crate::text::{NESTING, OPERATORS, STACK_BYTES};

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
fn deepest() -> Vec<String> {
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
        rule(&format!("{}true{}", "if true then (".repeat(inner), ") else false".repeat(inner))),
        rule(&format!("{}true", "if context.approved then false else ".repeat(NESTING))),
        rule(&format!("{}true{}", "if (".repeat(inner), ") then true else false".repeat(inner))),
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
