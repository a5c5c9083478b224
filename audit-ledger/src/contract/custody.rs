//! What nodes tell the ledger: acknowledgements, complaints, releases, evidence.

use super::{Call, Judgement, Stop, access::share_context, evidence, medical};
use crate::{
    store::Reader,
    world::{DecryptionRow, HistoryKind, RecordRow, RecordState, VersionRow, VersionState},
};
use dmdl_types::{
    access::{Reason, ReasonCode},
    context::DataContext,
    custody::{Dealing, SealedBytes},
    event::{Outcome, Verdict},
    id::{DealingId, NodeId, RecordId, RecordVersion, ShareEpoch, TransactionId},
    invocation::SystemItem,
};

pub(super) fn apply<R: Reader>(call: &mut Call<'_, R>, node: NodeId, item: &SystemItem) -> Result<Outcome, Stop> {
    match item {
        SystemItem::Acknowledge { record, version, epoch, dealing } => {
            acknowledge(call, node, *record, *version, *epoch, *dealing)
        }
        SystemItem::Complaint { record, version, epoch, sealed, dealing_secret } => {
            complain(call, node, *record, *version, *epoch, sealed, dealing_secret)
        }
        SystemItem::Release { decryption, record, version, epoch, share: _ } => {
            release(call, node, *decryption, *record, *version, *epoch)
        }
        SystemItem::Evidence(shown) => evidence::apply(call, node, shown),
    }
}

/// The version that an item is about, if the node is one of its custodians in this share epoch.
fn version_of<R: Reader>(
    call: &mut Call<'_, R>,
    node: NodeId,
    record: RecordId,
    version: RecordVersion,
    epoch: ShareEpoch,
) -> Result<VersionRow, Stop> {
    call.about.record = Some(record);
    call.about.version = Some(version);
    let row: VersionRow = call.world.get(&(record, version))?.ok_or(ReasonCode::UnknownRecord)?;
    if row.epoch != epoch || !row.shares.iter().any(|share| share.key.custodian == node) {
        return Err(ReasonCode::NotCustodian.into());
    }
    call.about.shares = Some(row.share_set());
    let record: Option<RecordRow> = call.world.get(&record)?;
    call.about.subject = record.and_then(|record| record.metadata.subject);
    Ok(row)
}

/// Nothing begins on a record that has ended. A release may still be marked: it took place before.
fn refuse_erased<R: Reader>(call: &Call<'_, R>, record: &RecordId) -> Result<(), Stop> {
    let row: RecordRow = call.world.get(record)?.ok_or(ReasonCode::UnknownRecord)?;
    if row.state == RecordState::Erased { Err(ReasonCode::RecordErased.into()) } else { Ok(()) }
}

/// Counts an acknowledgement; enough of them make the version active.
fn acknowledge<R: Reader>(
    call: &mut Call<'_, R>,
    node: NodeId,
    record: RecordId,
    version: RecordVersion,
    epoch: ShareEpoch,
    dealing: DealingId,
) -> Result<Outcome, Stop> {
    let mut row = version_of(call, node, record, version, epoch)?;
    refuse_erased(call, &record)?;
    if row.is_expired(call.ctx.time) {
        return Err(ReasonCode::RegistrationExpired.into());
    }
    if row.dealing != dealing {
        return Err(ReasonCode::BadDealing.into());
    }
    let Err(slot) = row.acks.binary_search(&node) else { return Err(ReasonCode::Duplicate.into()) };
    row.acks.insert(slot, node);
    if row.state == VersionState::Pending && row.acks.len() >= usize::from(row.min_acks) {
        row.state = VersionState::Active;
        activate(call, record, version)?;
    }
    call.world.put(&(record, version), &row);
    Ok(Outcome::applied())
}

fn activate<R: Reader>(call: &mut Call<'_, R>, id: RecordId, version: RecordVersion) -> Result<(), Stop> {
    let mut record: RecordRow = call.world.get(&id)?.ok_or(ReasonCode::UnknownRecord)?;
    record.active_version = record.active_version.max(version);
    if record.state == RecordState::Pending {
        record.state = RecordState::Active;
    }
    medical::record_history(call, &id, &mut record, HistoryKind::Storage);
    call.world.put(&id, &record);
    Ok(())
}

/// Judges a complaint: everyone comes to the same finding from the revealed one-time secret.
fn complain<R: Reader>(
    call: &mut Call<'_, R>,
    node: NodeId,
    record: RecordId,
    version: RecordVersion,
    epoch: ShareEpoch,
    sealed: &SealedBytes,
    dealing_secret: &[u8; 32],
) -> Result<Outcome, Stop> {
    let mut row = version_of(call, node, record, version, epoch)?;
    refuse_erased(call, &record)?;
    if row.state == VersionState::Failed || row.acks.binary_search(&node).is_ok() {
        return Err(ReasonCode::Duplicate.into());
    }
    let domain = call.ctx.domain;
    let data = DataContext { network: domain.network, channel: domain.channel, record, version };
    let context = share_context(&data, &row, node).ok_or(ReasonCode::NotCustodian)?;
    let dealing = Dealing {
        suite: 1,
        epoch: row.epoch,
        commitments: row.commitments.clone(),
        shares: row.shares.clone(),
        min_acks: row.min_acks,
    };
    match (call.ctx.judge)(&context, &dealing, sealed, dealing_secret) {
        Judgement::Refuted => Err(ReasonCode::ComplaintRefuted.into()),
        Judgement::DealerFault => {
            // A version that was acknowledged by enough stays open: k honest shares exist.
            if row.state == VersionState::Pending {
                row.state = VersionState::Failed;
            }
            call.world.put(&(record, version), &row);
            Ok(Outcome::of(Verdict::Applied, Reason::code(ReasonCode::DealerFault)))
        }
    }
}

/// Marks a release.
fn release<R: Reader>(
    call: &mut Call<'_, R>,
    node: NodeId,
    id: TransactionId,
    record: RecordId,
    version: RecordVersion,
    epoch: ShareEpoch,
) -> Result<Outcome, Stop> {
    call.about.refers_to = Some(id);
    version_of(call, node, record, version, epoch)?;
    let mut decryption: DecryptionRow = call.world.get(&id)?.ok_or(ReasonCode::UnknownDecryption)?;
    if (decryption.record, decryption.version) != (record, version) {
        return Err(ReasonCode::UnknownDecryption.into());
    }
    let entry = (node, epoch);
    let Err(slot) = decryption.releases.binary_search(&entry) else { return Err(ReasonCode::Duplicate.into()) };
    decryption.releases.insert(slot, entry);
    call.world.put(&id, &decryption);
    Ok(Outcome::applied())
}
