//! Epochs: who had a turn, and who takes part in the epoch after the next.

use super::ExecuteError;
use crate::{
    store::{Reader, StoreError},
    world::{TurnCounters, World},
};
use dmdl_types::{
    block::Header,
    genesis::EpochConfig,
    id::{NodeId, View},
};

/// The orderer whose turn a view is.
///
/// # Source
/// docs/spec/mdca.md
fn primary(config: &EpochConfig, view: View) -> Option<NodeId> {
    let qualified = u64::try_from(config.qualified.len()).ok()?;
    let turn = view.get().checked_sub(1)?.checked_rem(qualified)?;
    config.qualified.get(usize::try_from(turn).ok()?).copied()
}

/// Counts the turns since the parent: the views between were missed, this one was taken.
///
/// Only what blocks themselves say counts, so every committer counts alike.
pub(super) fn count_turns<R: Reader>(
    world: &mut World<R>,
    config: &EpochConfig,
    header: &Header,
) -> Result<(), StoreError> {
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
    world.put(&decided.epoch, &decided);
    Ok(())
}
