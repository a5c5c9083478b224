//! What nodes tell the ledger: acknowledgements, complaints, releases, evidence.

use super::{
    Call, Judgement, Stop,
    access::share_context,
    erasure, evidence, medical,
    reshare::{self, Which},
};
use crate::{
    store::Reader,
    world::{
        DecryptionRow, HistoryKind, Holders, RecordRow, RecordState, ReshareRow, Sharing, VersionRow, VersionState,
    },
};
use dmdl_types::{
    access::{Reason, ReasonCode},
    context::DataContext,
    custody::{Dealing, SealedBytes, ShareSet},
    event::{Outcome, Verdict},
    id::{DealingId, NodeId, RecordId, RecordVersion, ShareEpoch, TransactionId},
    invocation::SystemItem,
};

pub(super) fn apply<R: Reader>(call: &mut Call<'_, R>, node: NodeId, item: &SystemItem) -> Result<Outcome, Stop> {
    match item {
        SystemItem::Acknowledge { record, version, epoch, dealing } => {
            let which = Which { record: *record, version: *version, epoch: *epoch };
            let next: Option<ReshareRow> = call.world.get(&(*record, *version))?;
            if next.is_some_and(|next| next.epoch == *epoch) {
                return reshare::acknowledge(call, node, which, *dealing);
            }
            acknowledge(call, node, *record, *version, *epoch, *dealing)
        }
        SystemItem::Complaint { record, version, epoch, sealed, dealing_secret } => {
            complain(call, node, *record, *version, *epoch, sealed, dealing_secret)
        }
        SystemItem::Release { decryption, record, version, epoch, share: _ } => {
            release(call, node, *decryption, *record, *version, *epoch)
        }
        SystemItem::Evidence(shown) => evidence::apply(call, node, shown),
        SystemItem::Part { plan, record, version, dealing } => {
            let which = Which { record: *record, version: *version, epoch: dealing.epoch };
            reshare::part(call, node, (*plan, which), dealing)
        }
        SystemItem::PartComplaint { plan, record, version, epoch, dealer, sealed, dealing_secret } => {
            let which = Which { record: *record, version: *version, epoch: *epoch };
            reshare::complain(call, node, (*plan, which), *dealer, sealed, dealing_secret)
        }
        SystemItem::PartMissing { plan, record, version, epoch, dealer } => {
            let which = Which { record: *record, version: *version, epoch: *epoch };
            reshare::miss(call, node, (*plan, which), *dealer)
        }
        SystemItem::PartShown { plan, record, version, epoch, custodian, sealed } => {
            let which = Which { record: *record, version: *version, epoch: *epoch };
            reshare::show(call, node, (*plan, which), *custodian, sealed)
        }
        SystemItem::Destroyed { record, of, generation } => erasure::destroyed(call, node, *record, *of, *generation),
    }
}

/// Says which record an item is about, and which shares of its key.
fn is_about<R: Reader>(
    call: &mut Call<'_, R>,
    record: RecordId,
    version: RecordVersion,
    shares: ShareSet,
) -> Result<(), Stop> {
    call.about.record = Some(record);
    call.about.version = Some(version);
    call.about.shares = Some(shares);
    let row: Option<RecordRow> = call.world.get(&record)?;
    call.about.subject = row.and_then(|row| row.metadata.subject);
    Ok(())
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
    if row.epoch != epoch || row.holders.index_of(node).is_none() {
        return Err(ReasonCode::NotCustodian.into());
    }
    is_about(call, record, version, row.share_set())?;
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
    // What custodians handed on is complained of while it is under way.
    let Holders::Dealt(shares) = &row.holders else { return Err(ReasonCode::UnknownReshare.into()) };
    let domain = call.ctx.domain;
    let data = DataContext { network: domain.network, channel: domain.channel, record, version };
    let context = share_context(&data, &row, node).ok_or(ReasonCode::NotCustodian)?;
    let dealing = Dealing {
        suite: 1,
        epoch: row.epoch,
        commitments: row.commitments.clone(),
        shares: shares.clone(),
        min_acks: row.min_acks,
    };
    match (call.ctx.math.judge)(&context, &dealing, sealed, dealing_secret) {
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

/// How a version's key was shared in an epoch, which may have ended since: what was released before was released. Refused
/// for a node that was no custodian then.
pub(super) fn kept_by<R: Reader>(
    call: &mut Call<'_, R>,
    node: NodeId,
    record: RecordId,
    version: RecordVersion,
    epoch: ShareEpoch,
) -> Result<Sharing, Stop> {
    let ended: Option<Sharing> = call.world.get(&(record, version, epoch))?;
    let Some(ended) = ended else { return Ok(version_of(call, node, record, version, epoch)?.sharing()) };
    if !ended.custodians.contains(&node) {
        (call.about.record, call.about.version) = (Some(record), Some(version));
        return Err(ReasonCode::NotCustodian.into());
    }
    is_about(call, record, version, ended.share_set())?;
    Ok(ended)
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
    kept_by(call, node, record, version, epoch)?;
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
