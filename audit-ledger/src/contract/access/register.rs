//! Registration: what a dealing must look like before custodians are asked to keep its shares.

use super::{
    super::{Call, Stop, medical},
    store_policy,
};
use crate::{
    store::Reader,
    world::{DealingKeyUsed, HistoryKind, Holders, Owned, PersonRow, RecordRow, RecordState, VersionRow, VersionState},
};
use dmdl_types::{
    access::ReasonCode,
    context::{DataContext, ShareContext},
    custody::{Assignment, CustodyEvent, Dealing},
    event::Outcome,
    genesis::Role,
    id::{DealingId, NodeId, OrgId, RecordId, RecordVersion, ShareEpoch, UnixMillis},
    invocation::{PayloadInfo, Registration},
    limits,
};
use std::collections::{BTreeMap, BTreeSet};

/// The payload format of this version: C2SP chunked encryption.
const PAYLOAD_SUITE: u8 = 1;
/// Header and last chunk's tag: no sealed payload is shorter.
const CIPHERTEXT_BYTES_MIN: u64 = 56 + 16;
/// How shares are sealed in this version.
const SHARE_SUITE: u8 = 1;

pub(super) fn register<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    registration: &Registration,
) -> Result<Outcome, Stop> {
    call.require(author, &[Role::Owner])?;
    call.about.record = Some(registration.record);
    call.about.version = Some(registration.version);
    call.about.subject = registration.metadata.subject;
    medical::check_metadata(&registration.metadata)?;
    check_payload(&registration.payload)?;
    check_dealing(call, author, &registration.dealing)?;
    let mut row = record_of(call, author, registration)?;
    row.last_version = registration.version;
    row.metadata = registration.metadata.clone();
    if let Some(policy) = &registration.policy {
        row.policy = Some(store_policy(call, policy)?);
    }
    medical::record_history(call, &registration.record, &mut row, HistoryKind::Registration);
    call.world.put(&registration.record, &row);
    call.world.put(&(row.owner, registration.record), &Owned);
    assign(call, registration);
    Ok(Outcome::applied())
}

/// The record that a version is added to: a new one, or the author's own.
fn record_of<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    registration: &Registration,
) -> Result<RecordRow, Stop> {
    if registration.version == RecordVersion::new(1) {
        let domain = call.ctx.domain;
        let commitments = &registration.dealing.commitments;
        let id = RecordId::derive(domain.network, domain.channel, author.person.key, commitments);
        if id != registration.record {
            return Err(ReasonCode::BadArgument.into());
        }
        if call.world.has::<RecordRow>(&id)? {
            return Err(ReasonCode::IdReuse.into());
        }
        let mut row = medical::new_record(call, author, &registration.metadata, RecordState::Pending);
        medical::record_history(call, &id, &mut row, HistoryKind::Source);
        return Ok(row);
    }
    let row = medical::owned_record(call, author, &registration.record)?;
    if row.last_version.next() != registration.version || row.state == RecordState::Catalogued {
        return Err(ReasonCode::BadVersion.into());
    }
    Ok(row)
}

fn check_payload(payload: &PayloadInfo) -> Result<(), Stop> {
    let fits =
        payload.suite == PAYLOAD_SUITE && payload.padding == 0 && payload.ciphertext_len_bytes >= CIPHERTEXT_BYTES_MIN;
    if fits { Ok(()) } else { Err(ReasonCode::BadArgument.into()) }
}

/// Checks all of a dealing that can be seen without a share.
fn check_dealing<R: Reader>(call: &mut Call<'_, R>, author: &PersonRow, dealing: &Dealing) -> Result<(), Stop> {
    let k = dealing.commitments.len();
    check_threshold(call, k, dealing.shares.len(), dealing.min_acks)?;
    if dealing.suite != SHARE_SUITE || dealing.epoch != ShareEpoch::new(0) {
        return Err(ReasonCode::BadDealing.into());
    }
    check_custodians(call, dealing.shares.iter().map(|share| share.key.custodian), k)?;
    for share in &dealing.shares {
        let slot = (share.key.custodian, share.key.key);
        if !share.key.verify(&call.ctx.domain, author.person.key) || call.world.has::<DealingKeyUsed>(&slot)? {
            return Err(ReasonCode::BadDealing.into());
        }
        call.world.put(&slot, &DealingKeyUsed);
    }
    Ok(())
}

/// Enough custodians for the threshold, a threshold that the channel allows, and enough acknowledgements for both.
pub(crate) fn check_threshold<R>(call: &Call<'_, R>, k: usize, n: usize, min_acks: u8) -> Result<(), Stop> {
    let (least_acks, acks) = ((2 * k).saturating_sub(1), usize::from(min_acks));
    let least_k = usize::from(call.ctx.config.channel.custody_threshold).max(2);
    let fits = k >= least_k && n <= 255 && acks >= least_acks && acks <= n;
    if fits { Ok(()) } else { Err(ReasonCode::BadThreshold.into()) }
}

/// Every custodian is one, once, and no organisation holds a threshold of them.
pub(crate) fn check_custodians<R: Reader>(
    call: &Call<'_, R>,
    custodians: impl Iterator<Item = NodeId>,
    k: usize,
) -> Result<(), Stop> {
    let mut seen: BTreeSet<NodeId> = BTreeSet::new();
    let mut by_org: BTreeMap<&OrgId, usize> = BTreeMap::new();
    for custodian in custodians {
        let member = call.ctx.config.member(custodian).filter(|m| m.roles.custodian);
        let member = member.ok_or(ReasonCode::BadThreshold)?;
        let held = by_org.entry(&member.org).or_default();
        *held += 1;
        if !seen.insert(member.node) || (*held >= k && !call.ctx.single_org_demo) {
            return Err(ReasonCode::BadThreshold.into());
        }
    }
    Ok(())
}

/// Writes the version down and tells every custodian of its share.
fn assign<R: Reader>(call: &mut Call<'_, R>, registration: &Registration) {
    let dealing = &registration.dealing;
    let data = DataContext {
        network: call.ctx.domain.network,
        channel: call.ctx.domain.channel,
        record: registration.record,
        version: registration.version,
    };
    let version = VersionRow {
        state: VersionState::Pending,
        payload: registration.payload.clone(),
        epoch: dealing.epoch,
        dealing: DealingId::derive(&data, dealing.epoch, &dealing.commitments),
        commitments: dealing.commitments.clone(),
        holders: Holders::Dealt(dealing.shares.clone()),
        min_acks: dealing.min_acks,
        expires: UnixMillis::new(call.ctx.time.get().saturating_add(limits::REGISTRATION_MS)),
        acks: Vec::new(),
        height: call.ctx.height,
        transaction: call.ctx.transaction,
    };
    call.about.shares = Some(version.share_set());
    for share in &dealing.shares {
        if let Some(assignment) = assignment(&data, &version, share.key.custodian) {
            call.custody.push(CustodyEvent::Assigned(Box::new(assignment)));
        }
    }
    call.world.put(&(registration.record, registration.version), &version);
}

/// What a custodian of a version keeps, recomputed from the ledger.
#[must_use]
pub fn share_context(data: &DataContext, version: &VersionRow, custodian: NodeId) -> Option<ShareContext> {
    version.sharing().context(data, custodian)
}

/// A custodian's task for a version that its owner dealt, recomputed from the ledger; none once others handed it on.
#[must_use]
pub fn assignment(data: &DataContext, version: &VersionRow, custodian: NodeId) -> Option<Assignment> {
    let Holders::Dealt(shares) = &version.holders else { return None };
    let share = share_context(data, version, custodian)?;
    let dealt = shares.get(usize::from(share.index.get()).checked_sub(1)?)?;
    Some(Assignment {
        share,
        commitments: version.commitments.clone(),
        dealing_key: dealt.key.key,
        sealed_digest: dealt.digest,
        height: version.height,
    })
}
