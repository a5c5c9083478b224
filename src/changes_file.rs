//! Files of changes: what people write of how a channel is to change.
//!
//! # Source
//! docs/spec/governance.md

use crate::{
    spec::{RoleName, channel_roles},
    text_file::{TextFile, TextFileError},
};
use dmdl_types::{
    genesis::{ChannelConfig, Member, NodeRoles, Person},
    governance::Change,
    id::{NodeId, OrgId},
    mdca::{MdcaConfig, PerDuty, Scenario},
    sign::PublicKey,
};
use serde::Deserialize;
use std::{collections::BTreeSet, path::Path};
use toml::Spanned;

/// Largest such file: a proposal is a transaction, and text is longer.
const FILE_BYTES: u64 = 256 * 1024;

/// Changes as they are described, in their order.
#[derive(Debug)]
pub(crate) struct ChangesFile(Vec<Described>);

/// One change: rules are described by what becomes of those that there are.
#[derive(Debug)]
enum Described {
    Whole(Change),
    Rules(RawRules),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    change: Vec<Spanned<RawChange>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawChange {
    AddNode(RawNode),
    RemoveNode(NodeId),
    SetRoles(RawRoles),
    SetRules(RawRules),
    AddPerson(Person),
    RemoveOrg(OrgId),
    PruneBlocks(Nothing),
}

/// `{}`: the change has nothing to say but its name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    node: NodeId,
    cosigning_key: PublicKey,
    org: OrgId,
    /// All, if nothing is said.
    roles: Option<BTreeSet<RoleName>>,
    address: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoles {
    node: NodeId,
    roles: BTreeSet<RoleName>,
}

/// Rules that change; what is not said stays.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRules {
    endorsements: Option<u8>,
    custody_threshold: Option<u8>,
    scenario: Option<Scenario>,
    mdca: RawMdca,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawMdca {
    computing: Option<PerDuty<i64>>,
    trust: Option<PerDuty<i64>>,
    rate: Option<PerDuty<i64>>,
    numbers: Option<PerDuty<i64>>,
    thresholds: Option<PerDuty<i64>>,
    decay: Option<i64>,
}

impl ChangesFile {
    /// Reads what people wrote.
    pub(crate) fn read(path: &Path) -> Result<Self, TextFileError> {
        let file = TextFile::read(path, FILE_BYTES)?;
        let Raw { change } = file.parse()?;
        if change.is_empty() {
            return Err(file.flaw(0..0, "it describes no change: write a `[[change]]` for each"));
        }
        let described = |raw: Spanned<RawChange>| {
            let span = raw.span();
            raw.into_inner().described().map_err(|reason| file.flaw(span, reason))
        };
        change.into_iter().map(described).collect::<Result<_, _>>().map(Self)
    }

    /// The changes, where these rules hold before them.
    pub(crate) fn upon(&self, rules: &ChannelConfig) -> Vec<Change> {
        let mut rules = rules.clone();
        let change = |described: &Described| match described {
            Described::Whole(change) => change.clone(),
            Described::Rules(raw) => {
                rules = raw.upon(&rules);
                Change::SetRules { rules: rules.clone() }
            }
        };
        self.0.iter().map(change).collect()
    }
}

impl RawChange {
    fn described(self) -> Result<Described, &'static str> {
        Ok(Described::Whole(match self {
            Self::AddNode(RawNode { node, cosigning_key, org, roles, address }) => {
                let roles = roles.as_ref().map_or(Ok(NodeRoles::ALL), some_roles)?;
                Change::AddNode { member: Member { node, cosigning_key, org, roles }, address }
            }
            Self::RemoveNode(node) => Change::RemoveNode { node },
            Self::SetRoles(RawRoles { node, roles }) => Change::SetRoles { node, roles: some_roles(&roles)? },
            Self::SetRules(raw) if raw == RawRules::default() => {
                return Err("`set-rules` names no rule that changes");
            }
            Self::SetRules(raw) => return Ok(Described::Rules(raw)),
            Self::AddPerson(person) => Change::AddPerson { person },
            Self::RemoveOrg(org) => Change::RemoveOrg { org },
            Self::PruneBlocks(Nothing {}) => Change::PruneBlocks,
        }))
    }
}

fn some_roles(roles: &BTreeSet<RoleName>) -> Result<NodeRoles, &'static str> {
    if roles.is_empty() {
        return Err("a node has at least one role; `remove-node` takes it out of the channel");
    }
    channel_roles(roles)
}

impl RawRules {
    fn upon(&self, rules: &ChannelConfig) -> ChannelConfig {
        let Self { endorsements, custody_threshold, scenario, mdca } = self;
        ChannelConfig {
            endorsements: endorsements.unwrap_or(rules.endorsements),
            custody_threshold: custody_threshold.unwrap_or(rules.custody_threshold),
            mdca: mdca.upon(scenario.map_or(rules.mdca, Scenario::config)),
            ..rules.clone()
        }
    }
}

impl RawMdca {
    fn upon(&self, mdca: MdcaConfig) -> MdcaConfig {
        MdcaConfig {
            computing: self.computing.unwrap_or(mdca.computing),
            trust: self.trust.unwrap_or(mdca.trust),
            rate: self.rate.unwrap_or(mdca.rate),
            numbers: self.numbers.unwrap_or(mdca.numbers),
            thresholds: self.thresholds.unwrap_or(mdca.thresholds),
            decay: self.decay.unwrap_or(mdca.decay),
        }
    }
}

#[cfg(test)]
mod tests;
