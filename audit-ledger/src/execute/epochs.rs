//! The end of an epoch: what its conduct comes to, and who may propose in the epoch after the next.
//!
//! # Source
//! docs/spec/mdca.md

use super::ExecuteError;
use crate::{
    reputation::{schedule, score, standing, tallies},
    store::{Reader, Space, StoreError},
    world::{FaultSeen, FaultsRow, PendingRow, ReportsRow, Row, StandingRow, TurnCounters, VoiceRow, World},
};
use dmdl_types::{
    block::Header,
    codec,
    genesis::EpochConfig,
    id::{Epoch, OrgId},
    mdca::PerDuty,
};
use std::collections::BTreeMap;

/// Epochs whose counters stay readable after they ended.
const COUNTERS_KEPT: u64 = 2;
/// Epochs whose standing stays readable.
const STANDINGS_KEPT: u64 = 8;

/// At the last block of an epoch, decides the configuration of the epoch after the next.
pub(super) fn close<R: Reader>(
    world: &mut World<R>,
    config: &EpochConfig,
    header: &Header,
) -> Result<(), ExecuteError> {
    let last = config.epoch.get().saturating_add(1).saturating_mul(config.channel.epoch_blocks).saturating_sub(1);
    if header.height.get() != last {
        return Ok(());
    }
    let next = config.epoch.next();
    let mut decided: EpochConfig = world.get(&next)?.ok_or(ExecuteError::NoConfiguration(next))?;
    decided.epoch = next.next();
    if let Some(pending) = world.get::<PendingRow>(&())? {
        decided = pending.onto(decided);
        world.remove::<PendingRow>(&());
    }
    let standing = weigh(world, config)?;
    decided.qualified =
        schedule(&decided, &standing).into_iter().filter(|place| place.qualified).map(|place| place.node).collect();
    world.put(&decided.epoch, &decided);
    forget(world, config.epoch)?;
    Ok(())
}

/// The standing of each organisation after an epoch (rule 10), kept for the next one.
fn weigh<R: Reader>(world: &mut World<R>, config: &EpochConfig) -> Result<BTreeMap<OrgId, PerDuty<i64>>, StoreError> {
    let before = config.epoch.get().checked_sub(1).map(Epoch::new);
    let mut all = BTreeMap::new();
    for (org, tally) in tallies(world.overlay(), config.epoch, config)? {
        let scores = score(&tally, &config.channel.mdca);
        let earlier: StandingRow = match before {
            Some(before) => world.get(&(before, org.clone()))?.unwrap_or_default(),
            None => StandingRow::default(),
        };
        let decay = config.channel.mdca.decay;
        let standing = earlier.standing.zip(scores).map(|(before, score)| standing(before, &score, decay));
        world.put(&(config.epoch, org.clone()), &StandingRow { standing });
        all.insert(org, standing);
    }
    Ok(all)
}

/// Forgets what no later epoch reads.
fn forget<R: Reader>(world: &mut World<R>, ended: Epoch) -> Result<(), StoreError> {
    let counters = [TurnCounters::TABLE, VoiceRow::TABLE, FaultsRow::TABLE, ReportsRow::TABLE];
    let due = counters.into_iter().map(|table| (table, COUNTERS_KEPT)).chain([
        // Evidence of an epoch is taken until the end of the next.
        (FaultSeen::TABLE, 1),
        (StandingRow::TABLE, STANDINGS_KEPT),
    ]);
    for (table, kept) in due {
        let Some(epoch) = ended.get().checked_sub(kept) else { continue };
        let prefix = [vec![table], codec::encode(&Epoch::new(epoch))].concat();
        world.remove_all(Space::State, &prefix)?;
    }
    Ok(())
}
