//! How the orderers stand, on what counts, and who may propose.

use super::{
    answer::{At, Items, OnChannel, read},
    network::epoch,
    schema::Hex,
};
use crate::gateway::error::ApiError;
use dmdl_audit_ledger::{
    channel::Reading,
    reputation::{Count, Line, Tally, table},
    store::RocksStore,
};
use dmdl_types::{
    genesis::EpochConfig,
    id::{NodeId, OrgId},
    mdca::PerDuty,
};
use serde::Serialize;
use utoipa::ToSchema;

/// How an orderer stands: the standing of its organisation after the last epoch that ended, in parts per million.
#[derive(Serialize, ToSchema)]
pub(super) struct Reputation {
    /// The orderer.
    #[schema(value_type = Hex)]
    node: NodeId,
    /// The organisation, whose conduct it is.
    #[schema(value_type = String)]
    org: OrgId,
    /// In endorsing.
    #[schema(example = 730_000)]
    endorsing: i64,
    /// In committing.
    #[schema(example = 770_000)]
    committing: i64,
    /// In ordering.
    #[schema(example = -400_000)]
    ordering: i64,
    /// Over the duties that the organisation has: the order of turns.
    #[schema(example = 1_100_000)]
    total: i64,
    /// Whether it may propose in this epoch.
    qualified: bool,
    /// Whether it may propose in the next one, which goes by the standing shown.
    qualified_next: bool,
    /// The duties in which the standing shown is below the channel's threshold.
    below: Vec<&'static str>,
    /// What the last epoch showed of the organisation, on which the standing rests.
    ended: Counts,
    /// What this epoch has shown up to now.
    current: Counts,
}

/// How often something went well, and how often not.
#[derive(Serialize, ToSchema)]
struct GoodBad {
    /// How often it went well.
    good: u64,
    /// How often it did not.
    bad: u64,
}

/// What an epoch has shown of an organisation: what others say of it has one voice each.
#[derive(Serialize, ToSchema)]
struct Counts {
    /// Organisations whose transactions mostly have its endorsement when its turn has come.
    endorsement_rate: GoodBad,
    /// Organisations that it hardly ever failed as an endorser.
    endorsement_failures: GoodBad,
    /// KiB of transactions that it endorsed, capped for each organisation.
    endorsed_volume: u64,
    /// Organisations whose blocks have its cosignatures.
    committing_rate: GoodBad,
    /// Events that it cosigned, by sixteens and capped for each organisation.
    committed_volume: u64,
    /// Its turns to propose, taken and missed.
    turns: GoodBad,
    /// Organisations whose blocks have its votes.
    votes: GoodBad,
    /// Proved faults.
    faults: Faults,
}

/// Proved faults, by duty.
#[derive(Serialize, ToSchema)]
struct Faults {
    /// In endorsing.
    endorsing: u64,
    /// In committing.
    committing: u64,
    /// In ordering.
    ordering: u64,
}

/// How the orderers stand, and on what counts.
#[utoipa::path(get, path = "/v1/channels/{c}/reputation", tag = "network", security(()),
    responses((status = 200, description = "The orderers.", body = Items<Reputation>)))]
pub(super) async fn reputation(OnChannel(node): OnChannel) -> Result<At<Items<Reputation>>, ApiError> {
    read(&node, |reading| Ok(Items { items: scores(reading, &epoch(reading)?)? })).await
}

pub(super) fn scores(reading: &Reading<'_, RocksStore>, config: &EpochConfig) -> Result<Vec<Reputation>, ApiError> {
    let next = reading.row::<EpochConfig>(&config.epoch.next())?;
    let of = |line: Line| {
        let Line { place, org, standing, ended, current } = line;
        let below = place.below.zip(PerDuty { endorsing: "endorsing", committing: "committing", ordering: "ordering" });
        let below = below.into_array().into_iter().filter(|(below, _)| *below).map(|(_, duty)| duty).collect();
        Reputation {
            node: place.node,
            org,
            endorsing: standing.endorsing,
            committing: standing.committing,
            ordering: standing.ordering,
            total: place.total,
            qualified: config.qualified.contains(&place.node),
            qualified_next: next.as_ref().is_some_and(|next| next.qualified.contains(&place.node)),
            below,
            ended: ended.into(),
            current: current.into(),
        }
    };
    Ok(table(reading.rows(), config)?.into_iter().map(of).collect())
}

impl From<Count> for GoodBad {
    fn from(count: Count) -> Self {
        Self { good: count.good, bad: count.bad }
    }
}

impl From<Tally> for Counts {
    fn from(tally: Tally) -> Self {
        Self {
            endorsement_rate: tally.endorsement_rate.into(),
            endorsement_failures: tally.endorsement_failures.into(),
            endorsed_volume: tally.endorsed_volume,
            committing_rate: tally.committing_rate.into(),
            committed_volume: tally.committed_volume,
            turns: tally.turns.into(),
            votes: tally.votes.into(),
            faults: Faults {
                endorsing: tally.faults.endorsing,
                committing: tally.faults.committing,
                ordering: tally.faults.ordering,
            },
        }
    }
}
