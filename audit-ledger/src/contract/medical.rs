//! `medical`: the catalogue of medical data, its owners and its history, with the functions that the
//! source paper names.

use super::{Call, Stop, erasure};
use crate::{
    store::Reader,
    world::{BigEndian, HistoryKind, HistoryRow, Owned, PersonRow, RecordRow, RecordState},
};
use dmdl_types::{
    access::ReasonCode,
    custody::CustodyEvent,
    event::Outcome,
    genesis::Role,
    id::{RecordId, RecordVersion},
    invocation::{Medical, Metadata},
    limits,
    sign::PublicKey,
};

pub(super) fn invoke<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    invocation: &Medical,
) -> Result<Outcome, Stop> {
    match invocation {
        Medical::Initial { metadata, source: _, storage } => initial(call, author, metadata, storage.is_some()),
        Medical::Transfer { record, to } => transfer(call, author, record, to),
        Medical::Delete { record } => delete(call, author, record),
    }
}

fn initial<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    metadata: &Metadata,
    stored: bool,
) -> Result<Outcome, Stop> {
    call.require(author, &[Role::Owner])?;
    check_metadata(metadata)?;
    let ctx = call.ctx;
    // A record in custody has at least two commitments, so one hash never names both kinds.
    let seed = [*ctx.transaction.as_bytes()];
    let id = RecordId::derive(ctx.domain.network, ctx.domain.channel, author.person.key, &seed);
    call.about.record = Some(id);
    call.about.subject = metadata.subject;
    let mut row = new_record(call, author, metadata, RecordState::Catalogued);
    let begun = [HistoryKind::Source, HistoryKind::Registration];
    for kind in begun.into_iter().chain(stored.then_some(HistoryKind::Storage)) {
        record_history(call, &id, &mut row, kind);
    }
    call.world.put(&id, &row);
    call.world.put(&(row.owner, id), &Owned);
    Ok(Outcome::applied())
}

fn transfer<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    id: &RecordId,
    to: &PublicKey,
) -> Result<Outcome, Stop> {
    let mut row = owned_record(call, author, id)?;
    let heir = call.person(to)?;
    call.require(&heir, &[Role::Owner])?;
    if row.owner == *to {
        return Err(ReasonCode::Duplicate.into());
    }
    call.world.remove::<Owned>(&(row.owner, *id));
    row.owner = *to;
    row.org = heir.person.org;
    record_history(call, id, &mut row, HistoryKind::Transfer);
    call.world.put(id, &row);
    call.world.put(&(row.owner, *id), &Owned);
    Ok(Outcome::applied())
}

/// Ends a record: `delete`, and `Erase` of the contract `access`.
pub(super) fn delete<R: Reader>(call: &mut Call<'_, R>, author: &PersonRow, id: &RecordId) -> Result<Outcome, Stop> {
    let mut row = owned_record(call, author, id)?;
    row.state = RecordState::Erased;
    record_history(call, id, &mut row, HistoryKind::Deletion);
    erasure::begin(call, id, &row)?;
    call.world.put(id, &row);
    call.custody.push(CustodyEvent::RecordErased(*id));
    Ok(Outcome::applied())
}

/// The record, if the author owns it and it was not erased.
pub(super) fn owned_record<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    id: &RecordId,
) -> Result<RecordRow, Stop> {
    call.about.record = Some(*id);
    let row: RecordRow = call.world.get(id)?.ok_or(ReasonCode::UnknownRecord)?;
    if row.owner != author.person.key && !row.metadata.listed {
        // Whether an unlisted record exists is not for others to learn, nor whom it concerns.
        return Err(ReasonCode::UnknownRecord.into());
    }
    call.about.subject = row.metadata.subject;
    if row.owner != author.person.key {
        return Err(ReasonCode::Role.into());
    }
    if row.state == RecordState::Erased {
        return Err(ReasonCode::RecordErased.into());
    }
    Ok(row)
}

/// A record as it begins.
pub(super) fn new_record<R: Reader>(
    call: &Call<'_, R>,
    author: &PersonRow,
    metadata: &Metadata,
    state: RecordState,
) -> RecordRow {
    RecordRow {
        owner: author.person.key,
        org: author.person.org.clone(),
        metadata: metadata.clone(),
        state,
        policy: None,
        last_version: RecordVersion::new(0),
        active_version: RecordVersion::new(0),
        registered: call.ctx.time,
        history_len: 0,
    }
}

/// Adds an entry to a record's history; the caller puts the row.
pub(super) fn record_history<R: Reader>(call: &mut Call<'_, R>, id: &RecordId, row: &mut RecordRow, kind: HistoryKind) {
    let entry = HistoryRow { kind, transaction: call.ctx.transaction, time: call.ctx.time, owner: row.owner };
    call.world.put(&(*id, BigEndian::new(row.history_len)), &entry);
    row.history_len = row.history_len.saturating_add(1);
}

/// Media types are printable ASCII with one slash: nothing that could carry a name.
pub(super) fn check_metadata(metadata: &Metadata) -> Result<(), Stop> {
    let text = &metadata.media_type;
    let fits = (3..=limits::MEDIA_TYPE_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/.+-_".contains(&b))
        && text.split('/').count() == 2
        && !text.starts_with('/')
        && !text.ends_with('/');
    if fits { Ok(()) } else { Err(ReasonCode::BadArgument.into()) }
}
