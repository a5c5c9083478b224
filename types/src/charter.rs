//! The charter, which founds a further channel: known to its members, and to nobody else of the network.
//!
//! An admin of each organisation that takes part approves it. Who these are says the network's genesis, so whoever
//! pins that needs to believe nobody about the channel.
//!
//! # Source
//! docs/spec/charter.md

use crate::{
    codec,
    genesis::{ChannelConfig, Founding, Genesis, GenesisError, Member, Person, Role},
    hash,
    id::{ChannelId, ChannelName, NetworkId, NodeId, OrgId, UnixMillis},
    label,
    sign::{Domain, Meaning, PublicKey, Signature, SigningKey},
};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const APPROVAL: Meaning = Meaning::v1(label::CHARTER_SIGNATURE);

/// The document whose hash is a channel's identity.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charter {
    /// Version of this format: 1.
    pub version: u16,
    /// The network that the channel is of.
    pub network: NetworkId,
    /// Random, so that two channels with the same members differ, and nobody can guess the id.
    pub seed: [u8; 32],
    /// Block time of height 0.
    pub time: UnixMillis,
    /// The nodes, sorted by key: nodes of the network, with their roles in this channel.
    pub members: Vec<Member>,
    /// The first people, sorted by key.
    pub people: Vec<Person>,
    /// How the channel works.
    pub channel: ChannelConfig,
}

/// An admin's word that their organisation takes part.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The admin.
    pub key: PublicKey,
    /// Over the charter.
    pub signature: Signature,
}

/// A charter with the approvals that it has so far.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCharter {
    /// The charter.
    pub charter: Charter,
    /// Sorted by key.
    pub approvals: Vec<Approval>,
}

/// Why a charter founds no channel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CharterError {
    /// For another network.
    #[error("the charter is of network `{0}`, not of this one")]
    OtherNetwork(NetworkId),
    /// The network's first channel has this name.
    #[error("the network's first channel is called `{0}`: choose another name")]
    Name(ChannelName),
    /// A member that is no node of the network.
    #[error("the network has no node `{0}` with this cosigning key and organisation")]
    UnknownNode(NodeId),
    /// A rule that every channel keeps.
    #[error(transparent)]
    Rule(#[from] GenesisError),
    /// Approvals are unsorted or doubled.
    #[error("approvals must be sorted by key without doubles")]
    Unsorted,
    /// An approval by somebody who has no say.
    #[error("`{0}` is no admin of an organisation of this channel in the network's genesis")]
    NotAdmin(PublicKey),
    /// An approval that does not verify.
    #[error("the approval by `{0}` does not verify")]
    Signature(PublicKey),
    /// An organisation that has not said that it takes part.
    #[error("no admin of `{0}` has approved the charter yet")]
    Unapproved(OrgId),
}

impl Charter {
    /// The channel's identity.
    #[must_use]
    pub fn id(&self) -> ChannelId {
        ChannelId::new(hash::labelled(label::CHARTER, &[&codec::encode(self)]))
    }

    /// Where signatures of the channel are valid, approvals of its charter among them.
    #[must_use]
    pub fn domain(&self) -> Domain {
        Domain { network: self.network, channel: self.id() }
    }

    /// Whether a node is a member.
    #[must_use]
    pub fn has(&self, node: NodeId) -> bool {
        self.members.iter().any(|member| member.node == node)
    }

    /// The organisations that take part.
    #[must_use]
    pub fn orgs(&self) -> BTreeSet<&OrgId> {
        self.members.iter().map(|member| &member.org).collect()
    }

    /// Checks everything but who approves, and says what the charter decides.
    ///
    /// # Errors
    /// [`CharterError`].
    pub fn check(&self, genesis: &Genesis) -> Result<Founding, CharterError> {
        if self.network != genesis.id() {
            return Err(CharterError::OtherNetwork(self.network));
        }
        if self.channel.name == genesis.channel.name {
            return Err(CharterError::Name(self.channel.name.clone()));
        }
        let is = |one: &Member, other: &Member| {
            (one.node, one.cosigning_key, &one.org) == (other.node, other.cosigning_key, &other.org)
        };
        if let Some(unknown) = self.members.iter().find(|member| !genesis.members.iter().any(|m| is(m, member))) {
            return Err(CharterError::UnknownNode(unknown.node));
        }
        let founding = Founding {
            version: self.version,
            domain: self.domain(),
            time: self.time,
            single_org_demo: genesis.single_org_demo,
            members: self.members.clone(),
            people: self.people.clone(),
            channel: self.channel.clone(),
        };
        founding.check()?;
        Ok(founding)
    }

    /// The organisation that an admin speaks for, if it takes part.
    fn org_of_admin<'a>(&self, key: PublicKey, genesis: &'a Genesis) -> Option<&'a OrgId> {
        let person = genesis.people.iter().find(|person| person.key == key && person.role == Role::Admin)?;
        self.orgs().contains(&person.org).then_some(&person.org)
    }
}

impl SignedCharter {
    /// A charter that nobody has approved.
    #[must_use]
    pub const fn new(charter: Charter) -> Self {
        Self { charter, approvals: Vec::new() }
    }

    /// Adds an admin's approval; a second one by the same admin changes nothing.
    pub fn approve(&mut self, key: &SigningKey) {
        let signature = key.sign(&self.charter.domain(), APPROVAL, &codec::encode(&self.charter));
        let approval = Approval { key: key.public(), signature };
        match self.approvals.binary_search_by_key(&approval.key, |known| known.key) {
            Ok(_) => {}
            Err(at) => self.approvals.insert(at, approval),
        }
    }

    /// Checks the charter and the approvals that are there, and names the organisations that have not approved.
    ///
    /// # Errors
    /// [`CharterError`], but never [`CharterError::Unapproved`].
    pub fn missing(&self, genesis: &Genesis) -> Result<(Founding, Vec<OrgId>), CharterError> {
        let founding = self.charter.check(genesis)?;
        if !self.approvals.is_sorted_by(|a, b| a.key < b.key) {
            return Err(CharterError::Unsorted);
        }
        let (domain, body) = (founding.domain, codec::encode(&self.charter));
        let mut missing = self.charter.orgs();
        for Approval { key, signature } in &self.approvals {
            let org = self.charter.org_of_admin(*key, genesis).ok_or(CharterError::NotAdmin(*key))?;
            if !key.verify(&domain, APPROVAL, &body, signature) {
                return Err(CharterError::Signature(*key));
            }
            missing.remove(org);
        }
        Ok((founding, missing.into_iter().cloned().collect()))
    }

    /// What the charter decides, once every organisation that takes part has approved it.
    ///
    /// # Errors
    /// [`CharterError`].
    pub fn verify(&self, genesis: &Genesis) -> Result<Founding, CharterError> {
        let (founding, missing) = self.missing(genesis)?;
        match missing.into_iter().next() {
            Some(org) => Err(CharterError::Unapproved(org)),
            None => Ok(founding),
        }
    }
}

#[cfg(test)]
mod tests;
