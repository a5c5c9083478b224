//! From standing to turns: who may propose, and in which order.

use dmdl_types::{
    genesis::{EpochConfig, Member},
    id::{NodeId, OrgId},
    mdca::PerDuty,
};
use std::{cmp::Reverse, collections::BTreeMap};

/// Where an orderer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The orderer.
    pub node: NodeId,
    /// `R`: the standing of its organisation, over the duties that it has.
    pub total: i64,
    /// The duties whose threshold its organisation misses.
    pub below: PerDuty<bool>,
    /// Whether it may propose: it misses none, or too few others do.
    pub qualified: bool,
}

/// The orderers in the order of their turns, the qualified first (rules 11 to 13).
#[must_use]
pub fn schedule(config: &EpochConfig, standing: &BTreeMap<OrgId, PerDuty<i64>>) -> Vec<Place> {
    let place = |member: &Member| {
        let held = duties(config, &member.org);
        let own = standing.get(&member.org).copied().unwrap_or_default();
        let below = own.zip(config.channel.mdca.thresholds).zip(held).map(|((s, least), held)| held && s < least);
        let total = own.zip(held).map(|(s, held)| if held { s } else { 0 }).into_array().into_iter().sum();
        Place { node: member.node, total, below, qualified: !below.into_array().contains(&true) }
    };
    let mut places: Vec<Place> = config.members.iter().filter(|m| m.roles.orderer).map(place).collect();
    places.sort_by_key(|place| (!place.qualified, Reverse(place.total), place.node));
    // A set of the faulty alone would never end its epoch: the best of the others fill it up.
    for place in places.iter_mut().take(config.proposers_needed()) {
        place.qualified = true;
    }
    places
}

/// The duties that an organisation has in the channel, over all of its nodes.
fn duties(config: &EpochConfig, org: &OrgId) -> PerDuty<bool> {
    let any = |role: fn(&Member) -> bool| config.members.iter().any(|member| member.org == *org && role(member));
    PerDuty {
        endorsing: any(|member| member.roles.endorser),
        committing: any(|member| member.roles.committer),
        ordering: any(|member| member.roles.orderer),
    }
}
