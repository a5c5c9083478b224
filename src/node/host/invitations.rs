//! Invitations: charters that do not name this node, of channels that may have let it in since.
//!
//! Nobody is believed who says that a channel has: one that could be pressed on nodes would cost them memory and time.
//! So a node keeps and starts a channel only once it has followed its configurations, from the charter on, to one that
//! names the node; each is certified by the committee of the one before ([lineage](dmdl_types::lineage)). Until then it
//! has the charter and the last proved configuration in memory. Steps prove themselves, so it does not matter which of
//! the founders shows them, and none of these can keep the others from it.
//!
//! # Source
//! docs/spec/charter.md, "Among nodes"

use super::{CHANNELS_MAX, FoundError, charters::Message};
use dmdl_types::{
    charter::SignedCharter,
    genesis::{EpochConfig, Founding, Genesis},
    id::{ChannelId, Epoch, NodeId},
    lineage::{EpochStep, LineageError},
};
use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

/// The invitations of a node that are not proved yet.
pub(super) struct Invitations {
    me: NodeId,
    open: BTreeMap<ChannelId, Invitation>,
}

/// A channel that may have let this node in.
struct Invitation {
    charter: SignedCharter,
    founding: Founding,
    /// The last configuration that is proved.
    newest: EpochConfig,
    /// Founders that were asked for steps and have not answered.
    asked: BTreeSet<NodeId>,
    /// Founders that answered with steps that are none.
    liars: BTreeSet<NodeId>,
}

/// A channel that has let this node in: holding it is the proof.
#[derive(Debug)]
pub(super) struct Admission {
    charter: SignedCharter,
    founding: Founding,
    others: Vec<NodeId>,
}

/// What becomes of an invitation.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nothing, until somebody tells of it again.
    Waits,
    /// This is to be asked of whoever showed the last steps.
    More(Message),
    /// The channel has let this node in.
    LetIn(Box<Admission>),
}

impl Admission {
    /// The charter, what it founds, and who can be asked for the ledger: the founders, and those who are members with
    /// this node.
    pub(super) fn into_parts(self) -> (SignedCharter, Founding, Vec<NodeId>) {
        (self.charter, self.founding, self.others)
    }
}

impl Invitations {
    pub(super) const fn new(me: NodeId) -> Self {
        Self { me, open: BTreeMap::new() }
    }

    /// Takes a charter that does not name this node from one of its founders, and gives what to ask of that one.
    ///
    /// # Errors
    /// [`FoundError::Charter`] when it founds nothing, [`FoundError::TooMany`] when as many others wait to be proved as
    /// a process may have channels.
    pub(super) fn hear(
        &mut self,
        from: NodeId,
        charter: SignedCharter,
        genesis: &Genesis,
    ) -> Result<Option<Message>, FoundError> {
        let channel = charter.charter.id();
        let is_full = self.open.len() >= CHANNELS_MAX;
        let invitation = match self.open.entry(channel) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if is_full => return Err(FoundError::TooMany),
            Entry::Vacant(new) => {
                let founding = charter.verify(genesis)?;
                new.insert(Invitation::new(charter, founding))
            }
        };
        Ok(invitation.ask(from))
    }

    /// Follows the steps that a founder shows; what nobody asked it for is dropped.
    ///
    /// # Errors
    /// [`LineageError`] when a step does not verify: that founder is not asked again.
    pub(super) fn follow(
        &mut self,
        from: NodeId,
        channel: ChannelId,
        steps: &[EpochStep],
    ) -> Result<Progress, LineageError> {
        let Entry::Occupied(mut open) = self.open.entry(channel) else { return Ok(Progress::Waits) };
        let invitation = open.get_mut();
        if !invitation.asked.remove(&from) {
            return Ok(Progress::Waits);
        }
        let before = invitation.newest.epoch;
        match invitation.follow(self.me, steps) {
            Ok(true) => Ok(Progress::LetIn(Box::new(open.remove().admission(self.me)))),
            Ok(false) if invitation.newest.epoch > before => {
                Ok(invitation.ask(from).map_or(Progress::Waits, Progress::More))
            }
            Ok(false) => Ok(Progress::Waits),
            Err(error) => {
                invitation.liars.insert(from);
                Err(error)
            }
        }
    }
}

impl Invitation {
    fn new(charter: SignedCharter, founding: Founding) -> Self {
        // What the charter itself decides: the first two epochs.
        let newest = founding.epoch_config(Epoch::new(1));
        Self { charter, founding, newest, asked: BTreeSet::new(), liars: BTreeSet::new() }
    }

    /// What to ask of a founder, unless it has lied.
    fn ask(&mut self, founder: NodeId) -> Option<Message> {
        if self.liars.contains(&founder) {
            return None;
        }
        self.asked.insert(founder);
        Some(Message::StepsFrom(self.founding.domain.channel, self.newest.epoch.next()))
    }

    /// Follows steps up to the first configuration that names a node; whether there is one.
    fn follow(&mut self, node: NodeId, steps: &[EpochStep]) -> Result<bool, LineageError> {
        let known = self.newest.epoch;
        // Another founder may have shown some of them meanwhile.
        for step in steps.iter().skip_while(|step| step.config.epoch <= known) {
            self.newest = step.verify(&self.founding.domain, &self.newest)?.clone();
            if self.newest.member(node).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn admission(self, me: NodeId) -> Admission {
        let members = self.founding.members.iter().chain(&self.newest.members).map(|member| member.node);
        let others: BTreeSet<NodeId> = members.filter(|node| *node != me).collect();
        Admission { charter: self.charter, founding: self.founding, others: others.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests;
