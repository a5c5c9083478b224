//! The decision.

use crate::{
    duo,
    facts::{Action, Facts, Request},
    house::BASE_POLICY,
    policy::{ParsedPolicy, Rule},
    question::{Question, Unaskable},
    text::with_ample_stack,
};
use cedar_policy::{Authorizer, Decision as Answer};
use dmdl_types::{
    access::{Decision, DuoCode, Reason, ReasonCode, Ruling},
    limits, planted,
};
use std::collections::BTreeSet;

/// Decides whether the requester may do `action`, and says why.
///
/// - [`Action::Request`]: [`Ruling::Allow`] if a rule permits it; [`Ruling::Review`] if none does,
///   none forbids it, and `review` is permitted; otherwise [`Ruling::Deny`].
/// - [`Action::Review`]: whether the owner or the committee may give the grant: allow or deny.
/// - [`Action::Open`]: allow or deny.
///
/// A `forbid` outweighs every `permit`. A rule that can't be evaluated denies, whatever the others
/// say. The reasons are sorted, at least one and at most [`limits::REASONS`].
#[must_use]
pub fn decide(action: Action, request: &Request, facts: &Facts, policy: &ParsedPolicy) -> Decision {
    with_ample_stack(|| ask(action, request, facts, policy))
        .unwrap_or_else(|Unaskable| decision(Ruling::Deny, vec![unaskable()]))
}

fn ask(action: Action, request: &Request, facts: &Facts, policy: &ParsedPolicy) -> Result<Decision, Unaskable> {
    let refused = duo::refusals(&[&facts.permission, policy.permission()], &request.terms.purpose);
    let question = Question::new(request, facts, refused.is_empty())?;
    let findings = |action| Findings::of(&question, action, policy, &refused);
    Ok(match findings(action)? {
        Findings::Silent if action == Action::Request => match findings(Action::Review)? {
            Findings::Permitted(reasons) => decision(Ruling::Review, left_to_review(reasons)),
            other => other.into_decision(policy),
        },
        other => other.into_decision(policy),
    })
}

/// What the rules say of one action.
enum Findings {
    /// At least one permits, none forbids, all could be evaluated.
    Permitted(Vec<Reason>),
    /// At least one forbids or could not be evaluated.
    Refused(Vec<Reason>),
    /// None applies.
    Silent,
}

impl Findings {
    fn of(
        question: &Question,
        action: Action,
        policy: &ParsedPolicy,
        refused: &BTreeSet<DuoCode>,
    ) -> Result<Self, Unaskable> {
        let response = Authorizer::new().is_authorized(&question.about(action)?, policy.set(), question.entities());
        let errors: Vec<Reason> = response
            .diagnostics()
            .errors()
            .map(|cedar_policy::AuthorizationError::PolicyEvaluationError(e)| match policy.rule(e.policy_id()) {
                Some(rule) => named(rule, ReasonCode::PolicyError),
                None => unaskable(),
            })
            .collect();
        let applied = response.diagnostics().reason().map(|key| policy.rule(key));
        let reasons = applied.flat_map(|rule| rule.map_or_else(|| vec![unaskable()], |rule| reasons_of(rule, refused)));

        // INVARIANT: the language skips a rule that fails. A skipped `forbid` would fail open, so
        // nothing is permitted where anything failed.
        Ok(match response.decision() {
            Answer::Allow if errors.is_empty() || planted!("policy-errors-ignored") => {
                Self::Permitted(reasons.collect())
            }
            Answer::Allow => Self::Refused(errors),
            Answer::Deny => {
                let all: Vec<Reason> = errors.into_iter().chain(reasons).collect();
                if all.is_empty() { Self::Silent } else { Self::Refused(all) }
            }
        })
    }

    fn into_decision(self, policy: &ParsedPolicy) -> Decision {
        match self {
            Self::Permitted(reasons) => decision(Ruling::Allow, reasons),
            Self::Refused(reasons) => decision(Ruling::Deny, reasons),
            Self::Silent => {
                let reason = Reason { policy: Some(policy.id()), ..Reason::code(ReasonCode::NoRulePermits) };
                decision(Ruling::Deny, vec![reason])
            }
        }
    }
}

/// A decision with its reasons in the one order they have.
fn decision(ruling: Ruling, mut reasons: Vec<Reason>) -> Decision {
    reasons.sort_by(|a, b| (a.code, a.policy, &a.rule, a.duo).cmp(&(b.code, b.policy, &b.rule, b.duo)));
    reasons.dedup();
    reasons.truncate(limits::REASONS);
    Decision { ruling, reasons }
}

/// The reasons for which a rule applied: for the purpose, one a code that refuses it.
fn reasons_of(rule: &Rule, refused: &BTreeSet<DuoCode>) -> Vec<Reason> {
    let reason = named(rule, rule.code);
    if rule.code == ReasonCode::PurposeNotPermitted {
        refused.iter().map(|code| Reason { duo: Some(*code), ..reason.clone() }).collect()
    } else {
        vec![reason]
    }
}

fn left_to_review(reasons: Vec<Reason>) -> Vec<Reason> {
    reasons.into_iter().map(|reason| Reason { code: ReasonCode::NeedsReview, ..reason }).collect()
}

fn named(rule: &Rule, code: ReasonCode) -> Reason {
    Reason { code, policy: Some(rule.policy), rule: Some(rule.name.clone()), duo: None }
}

fn unaskable() -> Reason {
    Reason { policy: Some(BASE_POLICY), ..Reason::code(ReasonCode::PolicyError) }
}

#[cfg(test)]
mod tests;
