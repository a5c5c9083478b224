//! What a block says of nodes: turns, votes, cosignatures, endorsements.
//!
//! Only what blocks themselves say counts, so every committer counts alike. What a primary or an
//! author says of others is kept under their organisation's name, and weighed when the epoch ends.
//!
//! # Source
//! docs/spec/mdca.md

use crate::{
    endorse,
    store::{Reader, StoreError},
    world::{TurnCounters, VoiceRow, World},
};
use dmdl_types::{
    block::{Block, Header},
    codec,
    event::Event,
    genesis::EpochConfig,
    id::{Epoch, NodeId, OrgId, TransactionId, View},
    planted,
    transaction::EndorsedTransaction,
};
use std::collections::{BTreeMap, BTreeSet};

/// Adds up what an executed block says; `anchored` is how many events the newest checkpoint covered before.
pub(super) fn count<R: Reader>(
    world: &mut World<R>,
    config: &EpochConfig,
    block: &Block,
    events: &[Event],
    anchored: u64,
) -> Result<(), StoreError> {
    let header = &block.header;
    count_turns(world, config, header)?;
    let orgs: BTreeSet<&OrgId> = config.members.iter().map(|member| &member.org).collect();
    let mut voices = Voices { epoch: config.epoch, rows: BTreeMap::new() };
    if let Some(primary) = config.member(header.primary) {
        hear_primary(voices.of(world, &primary.org)?, config, header, anchored);
    }
    // What was executed before has no event, and counts no second time.
    let authors: BTreeMap<TransactionId, &OrgId> =
        events.iter().filter_map(|event| Some((event.transaction, event.org.as_ref()?))).collect();
    for endorsed in &block.body.transactions {
        let id = endorsed.transaction.body.id();
        if let Some(org) = authors.get(&id).filter(|org| orgs.contains(*org)) {
            hear_author(voices.of(world, org)?, config, id, endorsed);
        }
    }
    voices.save(world);
    Ok(())
}

/// The orderer whose turn a view is.
pub(crate) fn primary(config: &EpochConfig, view: View) -> Option<NodeId> {
    let qualified = u64::try_from(config.qualified.len()).ok()?;
    let turn = view.get().checked_sub(1)?.checked_rem(qualified)?;
    config.qualified.get(usize::try_from(turn).ok()?).copied()
}

/// Counts the turns since the parent: the views between were missed, this one was taken (rule 1).
fn count_turns<R: Reader>(world: &mut World<R>, config: &EpochConfig, header: &Header) -> Result<(), StoreError> {
    // An epoch has at most as many missed turns in a row as consensus lets pass; the bound only
    // keeps a hostile header from costing time.
    const MISSED_MAX: u64 = 4096;
    let first = header.parent_view.get().saturating_add(1).max(header.view.get().saturating_sub(MISSED_MAX));
    for view in first..=header.view.get() {
        let Some(node) = primary(config, View::new(view)) else { continue };
        let slot = (config.epoch, node);
        let mut counters: TurnCounters = world.get(&slot)?.unwrap_or_default();
        counters.given += 1;
        counters.taken += u64::from(view == header.view.get());
        world.put(&slot, &counters);
    }
    Ok(())
}

/// The voices that a block adds to.
struct Voices {
    epoch: Epoch,
    rows: BTreeMap<OrgId, VoiceRow>,
}

impl Voices {
    fn of<R: Reader>(&mut self, world: &World<R>, org: &OrgId) -> Result<&mut VoiceRow, StoreError> {
        if !self.rows.contains_key(org) {
            let row = world.get(&(self.epoch, org.clone()))?.unwrap_or_default();
            self.rows.insert(org.clone(), row);
        }
        Ok(self.rows.entry(org.clone()).or_default())
    }

    fn save<R: Reader>(self, world: &mut World<R>) {
        for (org, row) in self.rows {
            world.put(&(self.epoch, org), &row);
        }
    }
}

/// What a primary says: whose votes it saw, and who cosigned what it carries (rules 2 and 3).
fn hear_primary(voice: &mut VoiceRow, config: &EpochConfig, header: &Header, anchored: u64) {
    if !header.parent_signers.is_empty() {
        voice.blocks += 1;
        for (position, node) in config.orderers().into_iter().enumerate() {
            if header.has_signer(position) {
                let seen = planted!("reputation-reads-a-clock" => dmdl_types::planted::clock().get() % 1000, else 1);
                voice.of(node).votes += seen;
            }
        }
    }
    if let Some(carried) = &header.checkpoint {
        voice.checkpoints += 1;
        let events = carried.checkpoint().size.saturating_sub(anchored);
        for cosignature in carried.cosignatures() {
            let said = voice.of(cosignature.node);
            said.cosigned += 1;
            said.cosigned_events = said.cosigned_events.saturating_add(events);
        }
    }
}

/// What an author's transaction says: who of its panel endorsed it, and who was passed over (rule 4).
fn hear_author(voice: &mut VoiceRow, config: &EpochConfig, id: TransactionId, endorsed: &EndorsedTransaction) {
    let by: BTreeSet<NodeId> = endorsed.endorsements.iter().map(|endorsement| endorsement.endorser).collect();
    let panel = endorse::panel(config, id, config.epoch);
    let asked = panel.iter().rposition(|node| by.contains(node)).map_or(0, |last| last + 1);
    let bytes = codec::encode(endorsed).len() as u64;
    for node in panel.iter().take(asked) {
        let said = voice.of(*node);
        if by.contains(node) {
            said.endorsed += 1;
            said.endorsed_bytes = said.endorsed_bytes.saturating_add(bytes);
        } else {
            said.passed_over += 1;
        }
    }
}
