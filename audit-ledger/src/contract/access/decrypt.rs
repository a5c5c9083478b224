//! Decryptions: the transactions that custodians wait for.

use super::{super::{Call, Stop}, request::rule, visible_record};
use crate::{
    store::Reader,
    world::{CohortRow, DecryptionRow, GrantRow, OpenedBy, PersonRow, RecordRow, VersionRow, VersionState},
};
use dmdl_policies::{Action, GrantFacts};
use dmdl_types::{
    access::{Decision, Reason, ReasonCode, Ruling},
    event::{Outcome, Verdict},
    id::{GrantId, NodeId, RecordId, RecordVersion, TransactionId, UseNumber},
    invocation::{Authority, OpeningKey},
};

/// Allows one decryption, and counts it.
pub(super) fn decrypt<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    record: &RecordId,
    version: RecordVersion,
    authority: &Authority,
    keys: &[OpeningKey],
) -> Result<Outcome, Stop> {
    call.about.version = Some(version);
    let row = visible_record(call, author, record)?;
    let version_row: VersionRow = call.world.get(&(*record, version))?.ok_or(ReasonCode::BadVersion)?;
    if version_row.state != VersionState::Active {
        return Err(ReasonCode::RecordPending.into());
    }
    check_keys(&version_row, keys, &[])?;
    let (reasons, grant, use_number) = match authority {
        Authority::Owner if row.owner == author.person.key => {
            (vec![Reason::code(ReasonCode::Owner)], None, UseNumber::new(1))
        }
        Authority::Owner => return Err(ReasonCode::Role.into()),
        Authority::Grant(id) => match use_grant(call, author, record, &row, *id)? {
            Use::Allowed(reasons, number) => (reasons, Some(*id), number),
            Use::Denied(decision) => {
                return Ok(Outcome { verdict: Verdict::Deny, reasons: decision.reasons, grant: Some(*id), use_number: None });
            }
        },
    };
    let decryption = DecryptionRow {
        record: *record,
        version,
        requester: author.person.key,
        authority: *authority,
        use_number,
        time: call.ctx.time,
        keys: keys.to_vec(),
        releases: Vec::new(),
    };
    call.world.put(&call.ctx.transaction, &decryption);
    Ok(Outcome { verdict: Verdict::Allow, reasons, grant, use_number: Some(use_number) })
}

enum Use {
    Allowed(Vec<Reason>, UseNumber),
    Denied(Decision),
}

/// Takes one use of a grant, if the grant and the policy it was given under allow it now.
fn use_grant<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    record: &RecordId,
    row: &RecordRow,
    id: GrantId,
) -> Result<Use, Stop> {
    let mut grant: GrantRow = call.world.get(&id)?.ok_or(ReasonCode::UnknownGrant)?;
    call.about.refers_to = Some(grant.request);
    call.about.purpose = Some(grant.terms.purpose);
    if grant.record != *record || grant.requester != author.person.key {
        return Err(ReasonCode::GrantMismatch.into());
    }
    // These three are the ledger's own rules. A policy may be stricter, never looser.
    if grant.revoked {
        return Err(ReasonCode::GrantRevoked.into());
    }
    if call.ctx.time > grant.ends {
        return Err(ReasonCode::GrantExpired.into());
    }
    if grant.used >= grant.terms.uses {
        return Err(ReasonCode::GrantUsedUp.into());
    }
    let facts = GrantFacts {
        approved: grant.approved,
        ends: grant.ends,
        uses_max: grant.terms.uses,
        uses_so_far: grant.used,
    };
    let terms = grant.terms.clone();
    let decision = rule(call, Action::Open, author, record, row, &terms, grant.policy, Some(facts))?;
    if decision.ruling != Ruling::Allow {
        return Ok(Use::Denied(decision));
    }
    grant.used += 1;
    call.world.put(&id, &grant);
    count_cohort(call, author, record)?;
    Ok(Use::Allowed(decision.reasons, UseNumber::new(grant.used)))
}

/// Counts how many different records somebody has opened.
fn count_cohort<R: Reader>(call: &mut Call<'_, R>, author: &PersonRow, record: &RecordId) -> Result<(), Stop> {
    let slot = (author.person.key, *record);
    if !call.world.has::<OpenedBy>(&slot)? {
        call.world.put(&slot, &OpenedBy);
        let cohort: CohortRow = call.world.get(&author.person.key)?.unwrap_or_default();
        call.world.put(&author.person.key, &CohortRow(cohort.0.saturating_add(1)));
    }
    Ok(())
}

/// Adds one-time keys for custodians that the decryption did not list: the same use, no new one.
pub(super) fn rekey<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    id: TransactionId,
    keys: &[OpeningKey],
) -> Result<Outcome, Stop> {
    call.about.refers_to = Some(id);
    let mut decryption: DecryptionRow = call.world.get(&id)?.ok_or(ReasonCode::UnknownDecryption)?;
    if decryption.requester != author.person.key {
        return Err(ReasonCode::UnknownDecryption.into());
    }
    call.about.record = Some(decryption.record);
    call.about.version = Some(decryption.version);
    let slot = (decryption.record, decryption.version);
    let version: VersionRow = call.world.get(&slot)?.ok_or(ReasonCode::BadVersion)?;
    check_keys(&version, keys, &decryption.keys)?;
    decryption.keys.extend_from_slice(keys);
    decryption.keys.sort_by_key(|key| key.custodian);
    call.world.put(&id, &decryption);
    Ok(Outcome::applied())
}

/// One key a custodian, sorted, for custodians of this version that have none yet.
fn check_keys(version: &VersionRow, keys: &[OpeningKey], known: &[OpeningKey]) -> Result<(), Stop> {
    let custodian = |node: NodeId| version.shares.iter().any(|share| share.key.custodian == node);
    let fits = !keys.is_empty()
        && keys.is_sorted_by(|a, b| a.custodian < b.custodian)
        && keys.iter().all(|key| custodian(key.custodian))
        && keys.iter().all(|key| known.iter().all(|k| k.custodian != key.custodian));
    if fits { Ok(()) } else { Err(ReasonCode::BadOpeningKey.into()) }
}
