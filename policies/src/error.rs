//! Why a policy is refused.

/// Why a policy document is not a valid policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The rules are longer than [`dmdl_types::limits::POLICY_BYTES`].
    #[error("the rules have {0} bytes; at most {max} are allowed", max = dmdl_types::limits::POLICY_BYTES)]
    TooLong(usize),
    /// A character that a reader can't see, or that changes the order in which text is shown.
    #[error("the rules hold the invisible character U+{0:04X}")]
    Invisible(u32),
    /// Brackets are nested too deeply.
    #[error("brackets are nested deeper than {0} levels")]
    TooNested(usize),
    /// A rule has too many `if`s.
    #[error("a rule has more than {0} `if`s; several rules read better")]
    TooManyIfs(usize),
    /// A rule has too many operators.
    #[error("a rule has more than {0} operators")]
    TooComplex(usize),
    /// Too many rules.
    #[error("the policy has {0} rules; at most {max} are allowed", max = crate::policy::RULES)]
    TooManyRules(usize),
    /// A function of the policy language that is not available here.
    #[error("the function `{0}` is not available")]
    Function(String),
    /// A rule with a slot to fill in.
    #[error("a rule with the slot `?principal` or `?resource` is not complete")]
    Slot,
    /// Not the policy language.
    #[error("the rules can't be read: {0}")]
    Syntax(String),
    /// A rule does not fit the schema.
    #[error("rule `{rule}` does not fit: {problem}")]
    Schema {
        /// The rule.
        rule: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A rule's `@id` is not a short name.
    #[error("`{0}` is not a rule's name: it has 1 to 64 characters of `a-z`, `0-9`, `-`, and begins with a letter")]
    RuleName(String),
    /// Two rules have one name.
    #[error("two rules are named `{0}`")]
    RuleNamedTwice(String),
    /// `DS` without diseases, too many of them, one twice, or diseases with another permission.
    #[error("the permission `DS` names 1 to {max} different diseases, every other permission none", max = dmdl_types::limits::DISEASES)]
    Diseases,
}
