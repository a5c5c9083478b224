//! Requests, their review, and the grants that they lead to.

use super::{
    super::{Call, Stop},
    decides, load_policy, visible_record,
};
use crate::{
    store::Reader,
    world::{CohortRow, GrantRow, PersonRow, RecordRow, RequestRow, RequestState},
};
use dmdl_policies::{Action, Facts, GrantFacts, Request, decide};
use dmdl_types::{
    access::{Decision, DuoCode, Permission, PolicyDocument, Reason, ReasonCode, Ruling, Terms},
    custody::CustodyEvent,
    event::{Outcome, Verdict},
    genesis::Role,
    id::{GrantId, PolicyId, RecordId, TransactionId},
};

const MS_PER_DAY: u64 = 86_400_000;
/// Longest grant.
const DAYS_MAX: u16 = 3_650;
/// Most uses of one grant.
const USES_MAX: u32 = 100_000;

/// Asks for a grant: the record's policy decides, or leaves it to review.
pub(super) fn request<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    record: &RecordId,
    terms: &Terms,
) -> Result<Outcome, Stop> {
    call.about.purpose = Some(terms.purpose);
    let row = visible_record(call, author, record, false)?;
    call.require(author, &[Role::Researcher, Role::Owner])?;
    if !(1..=DAYS_MAX).contains(&terms.days) || !(1..=USES_MAX).contains(&terms.uses) {
        return Err(ReasonCode::BadArgument.into());
    }
    let decision = rule(call, Action::Request, author, record, &row, terms, row.policy, None)?;
    let id = call.ctx.transaction;
    let state = match decision.ruling {
        Ruling::Allow => RequestState::Allowed,
        Ruling::Deny => RequestState::Denied,
        Ruling::Review => RequestState::Pending,
    };
    let request = RequestRow { record: *record, requester: author.person.key, terms: terms.clone(), state };
    call.world.put(&id, &request);
    let mut outcome = Outcome {
        verdict: match decision.ruling {
            Ruling::Allow => Verdict::Allow,
            Ruling::Deny => Verdict::Deny,
            Ruling::Review => Verdict::Pending,
        },
        reasons: decision.reasons,
        grant: None,
        use_number: None,
    };
    if state == RequestState::Allowed {
        outcome.grant = Some(grant(call, id, &request, row.policy, false));
    }
    Ok(outcome)
}

/// Approves or denies what a policy left to review. What the policy forbids by now, nobody approves.
pub(super) fn review<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    id: TransactionId,
    approve: bool,
) -> Result<Outcome, Stop> {
    call.about.refers_to = Some(id);
    let mut request: RequestRow = call.world.get(&id)?.ok_or(ReasonCode::UnknownRequest)?;
    call.about.purpose = Some(request.terms.purpose);
    let row = visible_record(call, author, &request.record, false)?;
    if !decides(author, &row) {
        return Err(ReasonCode::Role.into());
    }
    // Nobody approves their own request.
    if request.requester == author.person.key {
        return Err(ReasonCode::Role.into());
    }
    if request.state != RequestState::Pending {
        return Err(ReasonCode::AlreadyDecided.into());
    }
    if approve {
        let requester = call.person(&request.requester)?;
        let record = request.record;
        let decision = rule(call, Action::Review, &requester, &record, &row, &request.terms, row.policy, None)?;
        if decision.ruling != Ruling::Allow {
            return Ok(Outcome { verdict: Verdict::Rejected, reasons: decision.reasons, ..Outcome::applied() });
        }
    }
    request.state = if approve { RequestState::Allowed } else { RequestState::Denied };
    call.world.put(&id, &request);
    let code = if approve { ReasonCode::Approved } else { ReasonCode::ReviewDenied };
    let mut outcome = Outcome::of(Verdict::Applied, Reason::code(code));
    if approve {
        outcome.grant = Some(grant(call, id, &request, row.policy, true));
    }
    Ok(outcome)
}

/// Ends a grant; ending it again changes nothing.
pub(super) fn revoke<R: Reader>(call: &mut Call<'_, R>, author: &PersonRow, id: GrantId) -> Result<Outcome, Stop> {
    let mut grant: GrantRow = call.world.get(&id)?.ok_or(ReasonCode::UnknownGrant)?;
    call.about.refers_to = Some(grant.request);
    call.about.record = Some(grant.record);
    let row: RecordRow = call.world.get(&grant.record)?.ok_or(ReasonCode::UnknownRecord)?;
    if !decides(author, &row) {
        return Err(ReasonCode::Role.into());
    }
    call.about.subject = row.metadata.subject;
    let mut outcome = Outcome { grant: Some(id), ..Outcome::applied() };
    if grant.revoked {
        outcome.reasons.push(Reason::code(ReasonCode::Duplicate));
        return Ok(outcome);
    }
    grant.revoked = true;
    call.world.put(&id, &grant);
    call.custody.push(CustodyEvent::GrantRevoked(id));
    Ok(outcome)
}

fn grant<R: Reader>(
    call: &mut Call<'_, R>,
    id: TransactionId,
    request: &RequestRow,
    policy: Option<PolicyId>,
    approved: bool,
) -> GrantId {
    let grant = GrantRow {
        request: id,
        record: request.record,
        requester: request.requester,
        terms: request.terms.clone(),
        ends: call.ctx.time.plus_ms(u64::from(request.terms.days) * MS_PER_DAY),
        used: 0,
        revoked: false,
        approved,
        policy,
    };
    let id = GrantId::of_request(id);
    call.world.put(&id, &grant);
    id
}

/// Lets a policy decide, on facts from world state and the block's time alone.
#[expect(clippy::too_many_arguments, reason = "each is a different fact, and there is one caller for each action")]
pub(super) fn rule<R: Reader>(
    call: &mut Call<'_, R>,
    action: Action,
    author: &PersonRow,
    record: &RecordId,
    row: &RecordRow,
    terms: &Terms,
    policy: Option<PolicyId>,
    grant: Option<GrantFacts>,
) -> Result<Decision, Stop> {
    call.about.policy = policy;
    let parsed = load_policy(call, policy)?;
    let owner: Option<PersonRow> = call.world.get(&row.owner)?;
    let request = Request {
        requester: author.person.key,
        requester_org: author.person.org.clone(),
        requester_role: author.person.role,
        terms: terms.clone(),
    };
    let facts = Facts {
        record: *record,
        owner: row.owner,
        owner_org: owner.map_or_else(|| row.org.clone(), |o| o.person.org),
        media_type: row.metadata.media_type.clone(),
        permission: permission(call, policy)?,
        now: call.ctx.time,
        suspended: false,
        grant,
        cohort: call.world.get::<CohortRow>(&author.person.key)?.unwrap_or_default().0,
    };
    Ok(decide(action, &request, &facts, &parsed))
}

/// What the data may be used for; without a policy, a person decides and nothing is excluded.
fn permission<R: Reader>(call: &Call<'_, R>, policy: Option<PolicyId>) -> Result<Permission, Stop> {
    let Some(id) = policy else { return Ok(Permission { code: DuoCode::Nres, diseases: Vec::new() }) };
    let document: PolicyDocument = call.world.get(&id)?.ok_or(ReasonCode::PolicyError)?;
    Ok(document.permission)
}
