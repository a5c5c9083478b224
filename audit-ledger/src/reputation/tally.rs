//! From an epoch's rows to counts of good and bad, for each metric of the paper's Table 1.

use crate::{
    store::{Reader, StoreError},
    world::{self, FaultsRow, NodeVoice, TurnCounters, VoiceRow},
};
use dmdl_types::{
    genesis::{EpochConfig, Member},
    id::{Epoch, OrgId},
    mdca::PerDuty,
};
use std::collections::BTreeMap;

/// An organisation sees another's vote in at least one of so many of its blocks, or says that it was silent.
/// A quorum's certificate lacks up to a third of the votes each time; a node that is well is not missed in three
/// of four.
const SEEN_ONE_IN: u64 = 4;
/// An endorser fails an organisation when it is passed over in more than one of so many of its transactions.
const FAILS_ONE_IN: u64 = 20;
/// Most kibibytes, or events by the sixteen, that one organisation can add to another's volume.
const VOLUME_CAP: u64 = 64;
/// Events that weigh as much as a kibibyte of endorsed transactions.
const EVENTS_PER_UNIT: u64 = 16;

/// How often something went well, and how often not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How often it went well.
    pub good: u64,
    /// How often it did not.
    pub bad: u64,
}

/// What an epoch has shown of an organisation in one duty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conduct {
    /// The metrics of computing power.
    pub computing: [Count; 2],
    /// The metrics of trust.
    pub trust: [Count; 2],
    /// Faults that were proved.
    pub faults: u64,
}

/// What an epoch has shown of an organisation: the cells of the paper's Table 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Endorsement rate: organisations whose transactions mostly have its endorsement when its turn on the
    /// panel had come, and those whose transactions mostly lack it.
    pub endorsement_rate: Count,
    /// Failure frequency: organisations that it hardly ever failed, and others.
    pub endorsement_failures: Count,
    /// Kibibytes of transactions that it endorsed.
    pub endorsed_volume: u64,
    /// Committing rate: organisations whose blocks' checkpoints have its cosignatures, and others.
    pub committing_rate: Count,
    /// Volume of the events whose checkpoints it cosigned.
    pub committed_volume: u64,
    /// Ordering rate: turns that became final blocks, and turns that did not.
    pub turns: Count,
    /// Organisations whose blocks name its votes, and others.
    pub votes: Count,
    /// Faults that were proved.
    pub faults: PerDuty<u64>,
}

impl Tally {
    /// The metrics, by duty.
    #[must_use]
    pub fn conduct(&self) -> PerDuty<Conduct> {
        let none = Count::default();
        let PerDuty { endorsing, committing, ordering } = self.faults;
        let (endorsements, cosignatures) = (self.endorsement_rate.good, self.committing_rate.good);
        PerDuty {
            endorsing: Conduct {
                computing: [self.endorsement_rate, self.endorsement_failures],
                trust: [Count { good: endorsements, bad: endorsing }, Count { good: self.endorsed_volume, bad: 0 }],
                faults: endorsing,
            },
            committing: Conduct {
                computing: [self.committing_rate, Count { good: cosignatures, bad: committing }],
                trust: [Count { good: cosignatures, bad: committing }, Count { good: self.committed_volume, bad: 0 }],
                faults: committing,
            },
            ordering: Conduct {
                computing: [self.turns, self.votes],
                trust: [Count { good: self.turns.good + self.votes.good, bad: ordering }, none],
                faults: ordering,
            },
        }
    }
}

/// Counts what an epoch's rows say of each organisation (rules 3 to 6).
///
/// # Errors
/// [`StoreError`] when a row cannot be read.
pub fn tallies(reader: &impl Reader, epoch: Epoch, config: &EpochConfig) -> Result<BTreeMap<OrgId, Tally>, StoreError> {
    let mut voices: BTreeMap<&OrgId, VoiceRow> = BTreeMap::new();
    for member in &config.members {
        if !voices.contains_key(&member.org) {
            voices.insert(&member.org, world::read(reader, &(epoch, member.org.clone()))?.unwrap_or_default());
        }
    }
    voices.keys().map(|org| Ok(((*org).clone(), tally(reader, epoch, config, org, &voices)?))).collect()
}

/// Counts for one organisation what its own rows and the voices of the others say.
fn tally(
    reader: &impl Reader,
    epoch: Epoch,
    config: &EpochConfig,
    org: &OrgId,
    voices: &BTreeMap<&OrgId, VoiceRow>,
) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    let nodes: Vec<&Member> = config.members.iter().filter(|member| member.org == *org).collect();
    for member in &nodes {
        let turns: TurnCounters = world::read(reader, &(epoch, member.node))?.unwrap_or_default();
        tally.turns.good += turns.taken;
        tally.turns.bad += turns.given.saturating_sub(turns.taken);
        let proved: FaultsRow = world::read(reader, &(epoch, member.node))?.unwrap_or_default();
        tally.faults = tally.faults.zip(proved.faults).map(|(a, b)| a.saturating_add(b));
    }
    // Nobody speaks for themselves.
    voices.iter().filter(|(other, _)| **other != org).for_each(|(_, voice)| tally.hear(voice, &nodes));
    let believed = u64::try_from(config.cosigners_needed()).unwrap_or(u64::MAX);
    for count in
        [&mut tally.endorsement_rate, &mut tally.endorsement_failures, &mut tally.committing_rate, &mut tally.votes]
    {
        count.believe(believed);
    }
    Ok(tally)
}

impl Tally {
    /// Adds one other organisation's voice.
    fn hear(&mut self, voice: &VoiceRow, nodes: &[&Member]) {
        let said: Vec<NodeVoice> = nodes.iter().map(|member| voice.about(member.node)).collect();
        let sum = |of: fn(&NodeVoice) -> u64| said.iter().map(of).fold(0, u64::saturating_add);

        let (endorsed, passed_over) = (sum(|v| v.endorsed), sum(|v| v.passed_over));
        let asked = endorsed.saturating_add(passed_over);
        if asked > 0 {
            self.endorsement_rate.add(endorsed > passed_over);
            self.endorsement_failures.add(passed_over.saturating_mul(FAILS_ONE_IN) <= asked);
        }
        self.endorsed_volume += (sum(|v| v.endorsed_bytes) / 1024).min(VOLUME_CAP);

        // Of several nodes, the one that is seen most stands for the organisation.
        let has = |role: fn(&Member) -> bool| nodes.iter().any(|member| role(member));
        let most = |of: fn(&NodeVoice) -> u64| said.iter().map(of).max().unwrap_or_default();
        if voice.checkpoints > 0 && has(|member| member.roles.committer) {
            self.committing_rate.add(most(|v| v.cosigned).saturating_mul(SEEN_ONE_IN) >= voice.checkpoints);
        }
        self.committed_volume += (most(|v| v.cosigned_events) / EVENTS_PER_UNIT).min(VOLUME_CAP);
        if voice.blocks > 0 && has(|member| member.roles.orderer) {
            self.votes.add(most(|v| v.votes).saturating_mul(SEEN_ONE_IN) >= voice.blocks);
        }
    }
}

impl Count {
    const fn add(&mut self, good: bool) {
        if good {
            self.good += 1;
        } else {
            self.bad += 1;
        }
    }

    /// What fewer organisations say against somebody than may lie is not believed.
    const fn believe(&mut self, needed: u64) {
        if self.bad < needed {
            self.bad = 0;
        }
    }
}
