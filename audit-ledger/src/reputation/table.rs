//! The table that people see: who stands where, on what counts, and why somebody is out.

use super::{Place, Tally, schedule, tally};
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
    let mut orgs = BTreeMap::new();
    for member in &config.members {
        if orgs.contains_key(&member.org) {
            continue;
        }
        let current = tally(reader, config.epoch, config, &member.org)?;
        let (standing, ended) = match before {
            None => Default::default(),
            Some(before) => {
                let row: Option<StandingRow> = world::read(reader, &(before, member.org.clone()))?;
                (row.unwrap_or_default().standing, tally(reader, before, config, &member.org)?)
            }
        };
        orgs.insert(member.org.clone(), (standing, ended, current));
    }
    let standings = orgs.iter().map(|(org, (standing, ..))| (org.clone(), *standing)).collect();
    let line = |place: Place| {
        let org = config.member(place.node)?.org.clone();
        let (standing, ended, current) = orgs.get(&org).copied()?;
        Some(Line { place, org, standing, ended, current })
    };
    Ok(schedule(config, &standings).into_iter().filter_map(line).collect())
}
