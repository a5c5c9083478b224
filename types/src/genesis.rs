//! The genesis document, which pins a network, and the configuration of its epochs.
//!
//! # Source
//! docs/spec/genesis.md

use crate::{
    checkpoint::Committer,
    codec, hash,
    id::{ChannelId, ChannelName, ConfigDigest, DisplayName, Epoch, NetworkId, NodeId, OrgId, UnixMillis},
    label, limits,
    mdca::MdcaConfig,
    sign::{Domain, PublicKey},
};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a person may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Registers records and decides about them.
    Owner,
    /// Asks for access.
    Researcher,
    /// Approves and denies what a policy leaves to review.
    Committee,
    /// Reads and exports the audit trail.
    Officer,
    /// Enrols and suspends people of their organisation.
    Admin,
}

/// A person: an identity of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The key that the person signs with.
    pub key: PublicKey,
    /// The organisation.
    pub org: OrgId,
    /// What the organisation calls the person: a staff name, never a patient's.
    pub name: DisplayName,
    /// What the person may do.
    pub role: Role,
}

/// The roles of a node in a channel: the mapping rho of the model.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct NodeRoles {
    /// Audits transactions before they are ordered (EN).
    pub endorser: bool,
    /// Takes part in consensus (ON).
    pub orderer: bool,
    /// Executes final blocks and cosigns checkpoints (CN).
    pub committer: bool,
    /// Keeps shares; needs `committer`.
    pub custodian: bool,
}

impl NodeRoles {
    /// Every role.
    pub const ALL: Self = Self { endorser: true, orderer: true, committer: true, custodian: true };

    /// What the roles are called, in every text.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let Self { endorser, orderer, committer, custodian } = self;
        let all = [(endorser, "endorser"), (orderer, "orderer"), (committer, "committer"), (custodian, "custodian")];
        all.into_iter().filter_map(|(has, name)| has.then_some(name))
    }
}

/// A node of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The node, by the key of its network connections and votes.
    pub node: NodeId,
    /// The key of its checkpoint cosignatures, which have another signing format.
    pub cosigning_key: PublicKey,
    /// Whose node.
    pub org: OrgId,
    /// Its roles in the channel.
    pub roles: NodeRoles,
}

/// How a channel works, for all of its epochs until it is changed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// What people call the channel.
    pub name: ChannelName,
    /// Blocks an epoch, at least 2.
    pub epoch_blocks: u64,
    /// How many organisations must endorse a transaction.
    pub endorsements: u8,
    /// How many shares open a record, unless its owner asks for more.
    pub custody_threshold: u8,
    /// The version of the policy engine that decides: a node without it stops.
    pub policy_engine: u16,
    /// How reputation decides who proposes.
    pub mdca: MdcaConfig,
}

/// The document whose hash is the network's identity.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Version of this format: 1.
    pub version: u16,
    /// Random, so that two networks with the same members differ.
    pub seed: [u8; 32],
    /// Block time of height 0.
    pub time: UnixMillis,
    /// Whether one organisation may hold what the placement rule forbids; every screen then says so.
    pub single_org_demo: bool,
    /// The nodes, sorted by key.
    pub members: Vec<Member>,
    /// The first people, sorted by key.
    pub people: Vec<Person>,
    /// The first channel.
    pub channel: ChannelConfig,
}

/// Why a genesis document, or a charter, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// A version that this program does not know.
    #[error("version {0} of the document is not known here; this program reads version 1")]
    Version(u16),
    /// Members or people are unsorted or doubled.
    #[error("`{0}` must be sorted by key without doubles")]
    Unsorted(&'static str),
    /// A key that enrolment refuses.
    #[error("key `{key}` is refused: {source}")]
    Key {
        /// The key.
        key: PublicKey,
        /// Why.
        source: crate::sign::KeyError,
    },
    /// Two uses of one key.
    #[error("key `{0}` is used twice")]
    KeyReuse(PublicKey),
    /// Fewer than four orderers tolerate no fault.
    #[error("{0} orderers tolerate no fault; at least 4 are needed")]
    TooFewOrderers(usize),
    /// One organisation could stop or fork the ledger, or open records alone.
    #[error("organisation `{org}` would run {count} {what} of {total}; the placement rule allows {allowed}")]
    Placement {
        /// The organisation.
        org: OrgId,
        /// How many it would run.
        count: usize,
        /// Of what.
        what: &'static str,
        /// Of how many.
        total: usize,
        /// How many it may run.
        allowed: usize,
    },
    /// A custodian that does not execute could not know what it may release.
    #[error("node `{0}` is a custodian but no committer")]
    CustodianWithoutCommitter(NodeId),
    /// A number outside its limits.
    #[error("`{0}` is outside its limits")]
    OutOfRange(&'static str),
}

impl Genesis {
    /// The network's identity.
    #[must_use]
    pub fn id(&self) -> NetworkId {
        NetworkId::new(hash::labelled(label::GENESIS, &[&codec::encode(self)]))
    }

    /// The first channel's identity.
    #[must_use]
    pub fn channel_id(&self) -> ChannelId {
        ChannelId::of_genesis(self.id(), &self.channel.name)
    }

    /// Where signatures of the first channel are valid.
    #[must_use]
    pub fn domain(&self) -> Domain {
        let network = self.id();
        Domain { network, channel: ChannelId::of_genesis(network, &self.channel.name) }
    }

    /// What the document decides for the first channel.
    #[must_use]
    pub fn founding(&self) -> Founding {
        Founding {
            version: self.version,
            domain: self.domain(),
            time: self.time,
            single_org_demo: self.single_org_demo,
            members: self.members.clone(),
            people: self.people.clone(),
            channel: self.channel.clone(),
        }
    }

    /// The configuration of the epochs that genesis itself decides: the first two.
    #[must_use]
    pub fn epoch_config(&self, epoch: Epoch) -> EpochConfig {
        self.founding().epoch_config(epoch)
    }

    /// Checks the rules that a network must keep.
    ///
    /// # Errors
    /// [`GenesisError`] names the first rule that is broken.
    pub fn check(&self) -> Result<(), GenesisError> {
        self.founding().check()
    }
}

/// What a channel begins with, whichever document founds it: a genesis or a [charter](crate::charter).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// Version of the document's format: 1.
    pub version: u16,
    /// The network and the channel.
    pub domain: Domain,
    /// Block time of height 0.
    pub time: UnixMillis,
    /// Whether one organisation may hold what the placement rule forbids.
    pub single_org_demo: bool,
    /// The nodes, sorted by key.
    pub members: Vec<Member>,
    /// The first people, sorted by key.
    pub people: Vec<Person>,
    /// How the channel works.
    pub channel: ChannelConfig,
}

impl Founding {
    /// The configuration of the epochs that the document itself decides: the first two.
    #[must_use]
    pub fn epoch_config(&self, epoch: Epoch) -> EpochConfig {
        let mut config =
            EpochConfig { epoch, members: self.members.clone(), channel: self.channel.clone(), qualified: Vec::new() };
        config.qualified = config.orderers();
        config
    }

    /// Checks the rules that a channel must keep.
    ///
    /// # Errors
    /// [`GenesisError`] names the first rule that is broken.
    pub fn check(&self) -> Result<(), GenesisError> {
        if self.version != 1 {
            return Err(GenesisError::Version(self.version));
        }
        if !self.members.is_sorted_by(|a, b| a.node < b.node) {
            return Err(GenesisError::Unsorted("members"));
        }
        if !self.people.is_sorted_by(|a, b| a.key < b.key) {
            return Err(GenesisError::Unsorted("people"));
        }
        let mut seen = BTreeSet::new();
        let keys = self.members.iter().flat_map(|m| [m.node.key(), m.cosigning_key]);
        for key in keys.chain(self.people.iter().map(|p| p.key)) {
            key.check().map_err(|source| GenesisError::Key { key, source })?;
            if !seen.insert(key) {
                return Err(GenesisError::KeyReuse(key));
            }
        }
        let config = self.epoch_config(Epoch::new(0));
        config.check()?;
        if self.single_org_demo { Ok(()) } else { config.check_placement() }
    }
}

/// Who does what in one epoch of a channel. Its digest is in the headers of its own epoch and of the
/// one before, so each committee is certified by its predecessor.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct EpochConfig {
    /// The epoch.
    pub epoch: Epoch,
    /// The nodes, sorted by key.
    pub members: Vec<Member>,
    /// How the channel works.
    pub channel: ChannelConfig,
    /// The orderers that may propose, in the order of their turns.
    pub qualified: Vec<NodeId>,
}

impl EpochConfig {
    /// The digest that headers carry.
    #[must_use]
    pub fn digest(&self) -> ConfigDigest {
        ConfigDigest::new(hash::labelled(label::CONFIGURATION, &[&codec::encode(self)]))
    }

    /// The orderers, sorted by key: the committee.
    #[must_use]
    pub fn orderers(&self) -> Vec<NodeId> {
        self.with(|roles| roles.orderer).map(|m| m.node).collect()
    }

    /// The endorsers, sorted by key.
    pub fn endorsers(&self) -> impl Iterator<Item = &Member> {
        self.with(|roles| roles.endorser)
    }

    /// The committers, sorted by key.
    pub fn committers(&self) -> impl Iterator<Item = &Member> {
        self.with(|roles| roles.committer)
    }

    /// Who may cosign checkpoints.
    #[must_use]
    pub fn cosigners(&self) -> Vec<Committer> {
        let of = |m: &Member| Committer { node: m.node, cosigning_key: m.cosigning_key, org: m.org.clone() };
        self.committers().map(of).collect()
    }

    /// The custodians, sorted by key.
    pub fn custodians(&self) -> impl Iterator<Item = &Member> {
        self.with(|roles| roles.custodian)
    }

    /// The node with this key.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.binary_search_by_key(&node, |m| m.node).ok().and_then(|i| self.members.get(i))
    }

    /// How many different organisations must cosign a checkpoint: one more than may lie.
    #[must_use]
    pub fn cosigners_needed(&self) -> usize {
        self.liars().saturating_add(1)
    }

    /// The fewest orderers that may take turns: with as many, one of them is not faulty.
    #[must_use]
    pub fn proposers_needed(&self) -> usize {
        let orderers = self.orderers().len();
        faults(orderers).saturating_mul(2).saturating_add(1).min(orderers)
    }

    /// How many organisations must approve a change of the channel: a quorum of those that run a node.
    #[must_use]
    pub fn approvals_needed(&self) -> usize {
        quorum(self.members.iter().map(|m| &m.org).collect::<BTreeSet<_>>().len())
    }

    /// How many organisations may lie: as many as the orderers or the committers tolerate, whichever
    /// is more.
    fn liars(&self) -> usize {
        faults(self.orderers().len()).max(faults(self.committing_orgs()))
    }

    fn committing_orgs(&self) -> usize {
        self.committers().map(|m| &m.org).collect::<BTreeSet<_>>().len()
    }

    fn with(&self, has: impl Fn(NodeRoles) -> bool) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |m| has(m.roles))
    }

    /// Checks the rules that hold in every epoch, but for placement.
    ///
    /// # Errors
    /// [`GenesisError`] names the first rule that is broken.
    pub fn check(&self) -> Result<(), GenesisError> {
        if let Some(member) = self.members.iter().find(|m| m.roles.custodian && !m.roles.committer) {
            return Err(GenesisError::CustodianWithoutCommitter(member.node));
        }
        let orderers = self.orderers().len();
        if orderers < 4 {
            return Err(GenesisError::TooFewOrderers(orderers));
        }
        let (k, n) = (usize::from(self.channel.custody_threshold), self.custodians().count());
        if k < 2 || n > 255 || n < 2 * k - 1 {
            return Err(GenesisError::OutOfRange("custody_threshold"));
        }
        let endorsing: BTreeSet<&OrgId> = self.endorsers().map(|m| &m.org).collect();
        if usize::from(self.channel.endorsements) > limits::ENDORSEMENTS
            || usize::from(self.channel.endorsements) > endorsing.len()
        {
            return Err(GenesisError::OutOfRange("endorsements"));
        }
        // Fewer could be outvoted by liars, or silenced by those who are only absent.
        if self.committing_orgs() < 2 * self.liars() + 1 {
            return Err(GenesisError::OutOfRange("committers"));
        }
        // Whoever may lie must not endorse alone.
        if usize::from(self.channel.endorsements) <= faults(endorsing.len()) {
            return Err(GenesisError::OutOfRange("endorsements"));
        }
        if self.channel.epoch_blocks < 2 {
            return Err(GenesisError::OutOfRange("epoch_blocks"));
        }
        if !self.channel.mdca.is_valid() {
            return Err(GenesisError::OutOfRange("mdca"));
        }
        Ok(())
    }

    /// Checks that no organisation runs more than `f` orderers, or `k` or more custodians.
    ///
    /// # Errors
    /// [`GenesisError::Placement`] names the organisation.
    pub fn check_placement(&self) -> Result<(), GenesisError> {
        let orderers: Vec<&Member> = self.with(|roles| roles.orderer).collect();
        let custodians: Vec<&Member> = self.custodians().collect();
        check_share_of(&orderers, "orderers", faults(orderers.len()))?;
        check_share_of(&custodians, "custodians", usize::from(self.channel.custody_threshold).saturating_sub(1))
    }
}

/// How many of `n` may be faulty.
#[must_use]
pub const fn faults(n: usize) -> usize {
    n.saturating_sub(1) / 3
}

/// How many of `n` make a quorum.
#[must_use]
pub const fn quorum(n: usize) -> usize {
    n - faults(n)
}

fn check_share_of(members: &[&Member], what: &'static str, allowed: usize) -> Result<(), GenesisError> {
    for member in members {
        let count = members.iter().filter(|m| m.org == member.org).count();
        if count > allowed {
            return Err(GenesisError::Placement {
                org: member.org.clone(),
                count,
                what,
                total: members.len(),
                allowed,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
