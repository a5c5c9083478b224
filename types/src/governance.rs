//! Governance: changes of a channel's members and rules, which organisations propose and approve.
//!
//! A change says what becomes of the configuration of a later epoch. Whether it may, is a pure function
//! of that configuration: every executor comes to the same, and so does whoever prepares a proposal.
//!
//! # Source
//! docs/spec/governance.md

use crate::{
    genesis::{ChannelConfig, EpochConfig, GenesisError, Member, NodeRoles, Person, Role},
    id::{NodeId, OrgId, TransactionId},
    sign::{KeyError, PublicKey},
};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most changes of one proposal.
pub const CHANGES_MAX: usize = 64;
/// Most nodes of a channel.
pub const MEMBERS_MAX: usize = 512;
/// Longest address of a node.
pub const ADDRESS_BYTES: usize = 255;

/// Calls to the contract `governance`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Governance {
    /// Proposes changes that take effect together; the author's organisation approves with it.
    Propose {
        /// What is to change, at most [`CHANGES_MAX`].
        changes: Vec<Change>,
    },
    /// Approves a proposal for the author's organisation.
    Approve {
        /// The transaction that proposed it.
        proposal: TransactionId,
    },
    /// Takes a proposal of the author's organisation back.
    Withdraw {
        /// The transaction that proposed it.
        proposal: TransactionId,
    },
}

/// One change of a channel.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// A node becomes a member.
    AddNode {
        /// The node.
        member: Member,
        /// Where the others dial it, `HOST:PORT`.
        address: String,
    },
    /// A node is no member any more.
    RemoveNode {
        /// The node.
        node: NodeId,
    },
    /// A node gets other roles.
    SetRoles {
        /// The node.
        node: NodeId,
        /// Its roles.
        roles: NodeRoles,
    },
    /// The channel works by other rules; its name and the length of its epochs stay.
    SetRules {
        /// The rules.
        rules: ChannelConfig,
    },
    /// An admin is enrolled at once: an organisation's first one has nobody else to do it.
    AddPerson {
        /// Who.
        person: Person,
    },
    /// An organisation leaves: its nodes in their time, and its people at once and for ever.
    RemoveOrg {
        /// The organisation.
        org: OrgId,
    },
    /// From now on nodes let blocks go that lie far enough behind a certified snapshot. Nothing takes that back.
    PruneBlocks,
}

/// Why changes cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// None, or too many.
    #[error("a proposal has 1 to {CHANGES_MAX} changes")]
    Number,
    /// The node is a member already.
    #[error("node `{0}` is a member already")]
    Member(NodeId),
    /// The node is no member.
    #[error("node `{0}` is no member")]
    NotMember(NodeId),
    /// The organisation has no node in the channel.
    #[error("organisation `{0}` has no node in the channel")]
    NoSuchOrg(OrgId),
    /// A person who is no admin.
    #[error("`{0}` would be no admin: a proposal adds admins alone, and these enrol the people of their organisation")]
    NotAdmin(PublicKey),
    /// A key is used already.
    #[error("key `{0}` is used already")]
    KeyReuse(PublicKey),
    /// A key is not accepted.
    #[error("key `{key}` is refused: {source}")]
    Key {
        /// The key.
        key: PublicKey,
        /// Why.
        source: KeyError,
    },
    /// The address is no `HOST:PORT`.
    #[error("`{0}` is no address; it has the form HOST:PORT")]
    Address(String),
    /// Too many nodes.
    #[error("a channel has at most {MEMBERS_MAX} nodes")]
    TooMany,
    /// Name, epoch length or policy engine would change.
    #[error("a channel's `{0}` cannot be changed")]
    Fixed(&'static str),
    /// What comes out breaks a rule of configurations.
    #[error(transparent)]
    Rules(#[from] GenesisError),
}

/// What becomes of a configuration by changes that are made together.
///
/// # Errors
/// [`ChangeError`] names the first change that cannot be made, or the rule that the outcome breaks.
pub fn apply(config: &EpochConfig, changes: &[Change], single_org_demo: bool) -> Result<EpochConfig, ChangeError> {
    if changes.is_empty() || changes.len() > CHANGES_MAX {
        return Err(ChangeError::Number);
    }
    let mut next = config.clone();
    for change in changes {
        make(&mut next, change)?;
    }
    next.members.sort();
    if next.members.len() > MEMBERS_MAX {
        return Err(ChangeError::TooMany);
    }
    let mut seen = BTreeSet::new();
    for key in next.members.iter().flat_map(|member| [member.node.key(), member.cosigning_key]) {
        if !seen.insert(key) {
            return Err(ChangeError::KeyReuse(key));
        }
    }
    next.check()?;
    if !single_org_demo {
        next.check_placement()?;
    }
    Ok(next)
}

fn make(config: &mut EpochConfig, change: &Change) -> Result<(), ChangeError> {
    match change {
        Change::AddNode { member, address } => {
            if config.members.iter().any(|known| known.node == member.node) {
                return Err(ChangeError::Member(member.node));
            }
            for key in [member.node.key(), member.cosigning_key] {
                key.check().map_err(|source| ChangeError::Key { key, source })?;
            }
            check_address(address)?;
            config.members.push(member.clone());
        }
        Change::RemoveNode { node } => {
            let before = config.members.len();
            config.members.retain(|member| member.node != *node);
            if config.members.len() == before {
                return Err(ChangeError::NotMember(*node));
            }
        }
        Change::SetRoles { node, roles } => {
            let member = config.members.iter_mut().find(|member| member.node == *node);
            member.ok_or(ChangeError::NotMember(*node))?.roles = *roles;
        }
        Change::SetRules { rules } => {
            let fixed = [
                ("name", rules.name != config.channel.name),
                ("epoch_blocks", rules.epoch_blocks != config.channel.epoch_blocks),
                ("policy_engine", rules.policy_engine != config.channel.policy_engine),
            ];
            if let Some((name, _)) = fixed.into_iter().find(|(_, changes)| *changes) {
                return Err(ChangeError::Fixed(name));
            }
            config.channel = rules.clone();
        }
        Change::AddPerson { person } => {
            if person.role != Role::Admin {
                return Err(ChangeError::NotAdmin(person.key));
            }
            person.key.check().map_err(|source| ChangeError::Key { key: person.key, source })?;
            // Who would belong to nobody could not be judged by anybody.
            if !config.members.iter().any(|member| member.org == person.org) {
                return Err(ChangeError::NoSuchOrg(person.org.clone()));
            }
        }
        Change::RemoveOrg { org } => {
            let before = config.members.len();
            config.members.retain(|member| member.org != *org);
            if config.members.len() == before {
                return Err(ChangeError::NoSuchOrg(org.clone()));
            }
        }
        // What nodes keep is no part of who does what.
        Change::PruneBlocks => {}
    }
    Ok(())
}

/// A host and a port, in no more than is needed to dial; whether anybody is there shows later.
fn check_address(address: &str) -> Result<(), ChangeError> {
    let wrong = || ChangeError::Address(address.chars().take(64).filter(|c| !c.is_control()).collect());
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    let port_is_one = port.parse::<u16>().is_ok_and(|port| port > 0) && !port.starts_with(['0', '+']);
    if address.len() > ADDRESS_BYTES || host.is_empty() || !host.chars().all(is_host) || !port_is_one {
        return Err(wrong());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
