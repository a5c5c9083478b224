//! Decryptions: the transactions that custodians wait for.

use super::{
    super::{Call, Stop},
    request::rule,
    visible_record,
};
use crate::{
    store::Reader,
    world::{
        CohortRow, DecryptionRow, GrantRow, OpenedBy, PersonRow, RecordRow, ReshareRow, Sharing, VersionRow,
        VersionState,
    },
};
use dmdl_policies::{Action, GrantFacts};
use dmdl_types::{
    access::{Decision, Reason, ReasonCode, Ruling},
    event::{Outcome, Verdict},
    id::{GrantId, NodeId, RecordId, RecordVersion, ShareEpoch, TransactionId, UseNumber},
    invocation::{Authority, OpeningKey},
    planted,
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
    let granted = holds_grant(call, author, record, authority)?;
    let row = visible_record(call, author, record, granted)?;
    let version_row: VersionRow = call.world.get(&(*record, version))?.ok_or(ReasonCode::BadVersion)?;
    call.about.shares = Some(version_row.share_set());
    if version_row.is_expired(call.ctx.time) {
        return Err(ReasonCode::RegistrationExpired.into());
    }
    if version_row.state != VersionState::Active {
        return Err(ReasonCode::RecordPending.into());
    }
    check_keys(call, &version_row, (*record, version), keys, &[])?;
    let (verdict, reasons, grant, use_number) = match authority {
        Authority::Owner if row.owner == author.person.key => {
            (Verdict::Allow, vec![Reason::code(ReasonCode::Owner)], None, Some(UseNumber::new(1)))
        }
        Authority::Owner => return Err(ReasonCode::Role.into()),
        Authority::Grant(id) => match use_grant(call, author, record, &row, *id)? {
            Use::Allowed(reasons, number) => (Verdict::Allow, reasons, Some(*id), Some(number)),
            Use::Denied(decision) => (Verdict::Deny, decision.reasons, Some(*id), None),
        },
    };
    // The row is what custodians release by: only what is allowed has one.
    let released = planted!("custodian-checks-inclusion" => use_number.or(Some(UseNumber::new(1))), else use_number);
    if let Some(use_number) = released {
        let decryption = DecryptionRow {
            record: *record,
            version,
            requester: author.person.key,
            authority: *authority,
            use_number,
            time: planted!("contract-reads-a-clock" => planted::clock(), else call.ctx.time),
            keys: keys.to_vec(),
            releases: Vec::new(),
        };
        call.world.put(&call.ctx.transaction, &decryption);
    }
    Ok(Outcome { verdict, reasons, grant, use_number })
}

/// Whether the author was granted this record, so that it is no secret that the record exists.
fn holds_grant<R: Reader>(
    call: &Call<'_, R>,
    author: &PersonRow,
    record: &RecordId,
    authority: &Authority,
) -> Result<bool, Stop> {
    let Authority::Grant(id) = authority else { return Ok(false) };
    let grant: Option<GrantRow> = call.world.get(id)?;
    Ok(grant.is_some_and(|grant| grant.record == *record && grant.requester == author.person.key))
}

enum Use {
    Allowed(Vec<Reason>, UseNumber),
    Denied(Decision),
}

/// Takes one use of a grant, if the grant, the policy it was given under and the record's policy of
/// today allow it now.
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
    let facts =
        GrantFacts { approved: grant.approved, ends: grant.ends, uses_max: grant.terms.uses, uses_so_far: grant.used };
    if planted!("use-counted-before-the-decision") {
        call.world.put(&id, &GrantRow { used: grant.used + 1, ..grant.clone() });
    }
    let terms = grant.terms.clone();
    // A grant keeps the policy that it was given under. The record's policy of today can only take
    // away: what its owner has tightened since holds at once, what was loosened widens nothing.
    if row.policy != grant.policy {
        let today = rule(call, Action::Open, author, record, row, &terms, row.policy, Some(facts))?;
        if today.ruling != Ruling::Allow {
            return Ok(Use::Denied(today));
        }
    }
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
    let record: Option<RecordRow> = call.world.get(&decryption.record)?;
    call.about.subject = record.and_then(|record| record.metadata.subject);
    let slot = (decryption.record, decryption.version);
    let version: VersionRow = call.world.get(&slot)?.ok_or(ReasonCode::BadVersion)?;
    call.about.shares = Some(version.share_set());
    check_keys(call, &version, slot, keys, &decryption.keys)?;
    decryption.keys.extend_from_slice(keys);
    decryption.keys.sort_by_key(|key| key.custodian);
    call.world.put(&id, &decryption);
    Ok(Outcome::applied())
}

/// One key a custodian, sorted, none of them weak, for custodians of this version that have none yet: also for those of the
/// share epoch before, and for those of the next one, since an epoch may have begun, or begin, while this is on its way.
fn check_keys<R: Reader>(
    call: &Call<'_, R>,
    row: &VersionRow,
    (record, version): (RecordId, RecordVersion),
    keys: &[OpeningKey],
    known: &[OpeningKey],
) -> Result<(), Stop> {
    let fits = !keys.is_empty()
        && keys.is_sorted_by(|a, b| a.custodian < b.custodian)
        && keys.iter().all(|key| !is_weak(&key.key))
        && keys.iter().all(|key| known.iter().all(|k| k.custodian != key.custodian));
    let strangers: Vec<NodeId> =
        keys.iter().map(|key| key.custodian).filter(|node| row.holders.index_of(*node).is_none()).collect();
    if fits && strangers.is_empty() {
        return Ok(());
    }
    let before = match row.epoch.get().checked_sub(1) {
        Some(before) => call.world.get::<Sharing>(&(record, version, ShareEpoch::new(before)))?,
        None => None,
    };
    let next: Option<ReshareRow> = call.world.get(&(record, version))?;
    let near = |node: &NodeId| {
        before.as_ref().is_some_and(|before| before.custodians.contains(node))
            || next.as_ref().is_some_and(|next| next.custodians.contains(node))
    };
    if fits && strangers.iter().all(near) { Ok(()) } else { Err(ReasonCode::BadOpeningKey.into()) }
}

/// Whether an X25519 key has small order: everybody could compute what is sealed to it.
///
/// # Source
/// RFC 7748 section 6.1; libsodium, `x25519_ref10.c`, `has_small_order`
fn is_weak(key: &[u8; 32]) -> bool {
    let mut point = *key;
    // X25519 ignores the topmost bit.
    let [.., last] = &mut point;
    *last &= 0x7f;
    SMALL_ORDER.contains(&point)
}

/// All encodings of the points of small order, without the topmost bit.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    little_endian(1),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    near_the_prime(0xec),
    near_the_prime(0xed),
    near_the_prime(0xee),
];

const fn little_endian(number: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    let [first, ..] = &mut bytes;
    *first = number;
    bytes
}

/// 2^255 - 256 + `lowest`; the field's prime is 2^255 - 19.
const fn near_the_prime(lowest: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    let [first, .., last] = &mut bytes;
    *first = lowest;
    *last = 0x7f;
    bytes
}
