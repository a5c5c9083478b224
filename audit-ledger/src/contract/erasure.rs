//! Erasure: who may have had something that opens a record, and who says that nothing is left.
//!
//! That a node has destroyed something, nobody can check; its word on the ledger is what it answers for. What can be checked
//! is whose word is missing.

use super::{Call, Stop, reshare};
use crate::{
    store::Reader,
    world::{Destroyed, ErasureRow, PlannedRow, RecordRow, ReshareRow, Sharing, VersionRow},
};
use dmdl_types::{
    access::{Reason, ReasonCode},
    event::{Outcome, Verdict},
    id::{NodeId, RecordId, RecordVersion, ShareEpoch},
};
use std::collections::BTreeSet;

/// Notes who will have to say that nothing is left of a record, and ends what is under way with it.
pub(super) fn begin<R: Reader>(call: &mut Call<'_, R>, id: &RecordId, record: &RecordRow) -> Result<(), Stop> {
    let mut keepers: BTreeSet<NodeId> = BTreeSet::new();
    for number in 1..=record.last_version.get() {
        let slot = (*id, RecordVersion::new(number));
        let Some(version) = call.world.get::<VersionRow>(&slot)? else { continue };
        keepers.extend(version.holders.nodes());
        for epoch in (0..version.epoch.get()).map(ShareEpoch::new) {
            let ended: Option<Sharing> = call.world.get(&(slot.0, slot.1, epoch))?;
            keepers.extend(ended.into_iter().flat_map(|sharing| sharing.custodians));
        }
        if let Some(reshare) = call.world.get::<ReshareRow>(&slot)? {
            reshare::forget(call, slot, &reshare);
        }
    }
    let planned: Option<PlannedRow> = call.world.get(id)?;
    keepers.extend(planned.unwrap_or_default().0);
    if !keepers.is_empty() {
        let keepers = keepers.into_iter().collect();
        let row = ErasureRow { transaction: call.ctx.transaction, keepers, destroyed: Vec::new() };
        call.world.put(id, &row);
    }
    Ok(())
}

/// Takes a custodian's word.
pub(super) fn destroyed<R: Reader>(
    call: &mut Call<'_, R>,
    node: NodeId,
    record: RecordId,
    of: Option<(RecordVersion, ShareEpoch)>,
    generation: u64,
) -> Result<Outcome, Stop> {
    call.about.record = Some(record);
    call.about.version = of.map(|(version, _)| version);
    let row: RecordRow = call.world.get(&record)?.ok_or(ReasonCode::UnknownRecord)?;
    call.about.subject = row.metadata.subject;
    let word = Destroyed { custodian: node, generation };
    match of {
        None => {
            let mut row: ErasureRow = call.world.get(&record)?.ok_or(ReasonCode::NotEnded)?;
            call.about.refers_to = Some(row.transaction);
            note(&mut row.destroyed, word, &row.keepers)?;
            call.world.put(&record, &row);
        }
        Some((version, epoch)) => {
            let slot = (record, version, epoch);
            let mut row: Sharing = call.world.get(&slot)?.ok_or(ReasonCode::NotEnded)?;
            call.about.shares = Some(row.share_set());
            note(&mut row.destroyed, word, &row.custodians)?;
            call.world.put(&slot, &row);
        }
    }
    let mut reason = Reason::code(ReasonCode::SharesDestroyed);
    reason.rule = Some(format!("generation-{generation}"));
    Ok(Outcome::of(Verdict::Applied, reason))
}

fn note(words: &mut Vec<Destroyed>, word: Destroyed, keepers: &[NodeId]) -> Result<(), Stop> {
    if !keepers.contains(&word.custodian) {
        return Err(ReasonCode::NotCustodian.into());
    }
    match words.binary_search_by_key(&word.custodian, |known| known.custodian) {
        Ok(_) => Err(ReasonCode::Duplicate.into()),
        Err(slot) => {
            words.insert(slot, word);
            Ok(())
        }
    }
}
