//! The table that people see: who stands where, on what counts, and why somebody is out.

use super::{Place, Tally, schedule, tallies};
use crate::{
    store::{Reader, StoreError},
    world::{self, StandingRow},
};
use dmdl_types::{
    genesis::EpochConfig,
    id::{Epoch, OrgId},
    mdca::PerDuty,
};
use std::collections::BTreeMap;

/// One orderer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where the standing of its organisation puts it: what the epoch after this one goes by.
    pub place: Place,
    /// The organisation.
    pub org: OrgId,
    /// The organisation's standing after the last epoch that ended.
    pub standing: PerDuty<i64>,
    /// What that epoch showed.
    pub ended: Tally,
    /// What this epoch has shown up to now.
    pub current: Tally,
}

/// The orderers of an epoch in the order of their standing.
///
/// # Errors
/// [`StoreError`] when a row cannot be read.
pub fn table(reader: &impl Reader, config: &EpochConfig) -> Result<Vec<Line>, StoreError> {
    let before = config.epoch.get().checked_sub(1).map(Epoch::new);
    let current = tallies(reader, config.epoch, config)?;
    let (mut ended, mut standings) = (BTreeMap::new(), BTreeMap::new());
    if let Some(before) = before {
        ended = tallies(reader, before, config)?;
        for org in current.keys() {
            let row: Option<StandingRow> = world::read(reader, &(before, org.clone()))?;
            standings.insert(org.clone(), row.unwrap_or_default().standing);
        }
    }
    let line = |place: Place| {
        let org = config.member(place.node)?.org.clone();
        let standing = standings.get(&org).copied().unwrap_or_default();
        let ended = ended.get(&org).copied().unwrap_or_default();
        let current = *current.get(&org)?;
        Some(Line { place, org, standing, ended, current })
    };
    Ok(schedule(config, &standings).into_iter().filter_map(line).collect())
}
