//! Whom a host connects to: everybody whom its channels have to do with, each where it is found.
//!
//! Both ends of a connection must list each other, so each node lists whom its own ledger has decided on. Who joins is
//! let in by the others from the end of the epoch on in which it was accepted, one epoch before its first; who leaves
//! is cut off [`EPOCHS_BEHIND`] epochs after its last. Where others are, this node's operator knows best, and the
//! ledger next. A node that the ledger says nothing of is listed on the operator's word alone: for a node that joins,
//! or that was away for long, these are those who came meanwhile, and before it has a ledger everybody.

use super::HostedNode;
use crate::address::Address;
use dmdl_audit_ledger::{
    mdca::{EPOCHS_BEHIND, Peer, PeerError, Peers},
    store::StoreError,
};
use dmdl_types::id::{ChannelId, Epoch, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// The list of those whom a host connects to, and what it follows from.
pub(super) struct Neighbours {
    me: NodeId,
    /// Where others are, as the operator says.
    told: BTreeMap<NodeId, Peer>,
    peers: Peers,
    /// How far each channel was when it was looked at last.
    reached: Vec<(ChannelId, Epoch)>,
    rolls: BTreeMap<ChannelId, Roll>,
    list: List,
    /// What could not be done as the list has it: said once.
    failed: Vec<PeerError>,
    lists: u64,
}

/// Whether this node is a member of a channel, as far as it has the channel's ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Membership {
    /// It never was one.
    #[default]
    Waits,
    /// It is one, or will be in the next epoch.
    Member,
    /// It was one.
    Left,
}

/// What a channel's ledger says of nodes.
#[derive(Debug, Default)]
struct Roll {
    me: Membership,
    /// Members of this epoch and the next.
    present: BTreeSet<NodeId>,
    /// Those of the epochs before.
    past: BTreeSet<NodeId>,
    /// Others of whom the operator says where they are, and who were members long before.
    left: BTreeSet<NodeId>,
    /// Where members are, if they came after the channel was founded.
    addresses: BTreeMap<NodeId, String>,
}

impl Roll {
    fn newcomers(&self) -> impl Iterator<Item = NodeId> {
        self.present.difference(&self.past).copied()
    }
}

/// Whom to dial, and whom to let in although nobody says where they are. Who matters most comes first, should there be
/// no room for all.
#[derive(Debug, Default, PartialEq, Eq)]
struct List {
    dialled: Vec<Peer>,
    awaited: Vec<NodeId>,
}

impl Neighbours {
    /// Lists those whom the operator names: before it has a ledger, a node knows of nobody else.
    pub(super) fn new(me: NodeId, told: Vec<Peer>, peers: Peers) -> Self {
        let mut neighbours = Self {
            me,
            told: told.into_iter().map(|peer| (peer.node, peer)).collect(),
            peers,
            reached: Vec::new(),
            rolls: BTreeMap::new(),
            list: List::default(),
            failed: Vec::new(),
            lists: 0,
        };
        neighbours.set(List::of(me, &neighbours.told, &[]));
        neighbours
    }

    /// Everybody on the list.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.list.dialled.iter().map(|peer| peer.node).chain(self.list.awaited.iter().copied())
    }

    /// Whether a channel's ledger has decided that a node is a member, in this epoch or the next.
    pub(super) fn has(&self, channel: ChannelId, node: NodeId) -> bool {
        self.rolls.get(&channel).is_some_and(|roll| roll.present.contains(&node))
    }

    /// Who is a member of a channel, in this epoch or the next, and was none in those before.
    pub(super) fn newcomers(&self, channel: ChannelId) -> impl Iterator<Item = NodeId> {
        self.rolls.get(&channel).into_iter().flat_map(Roll::newcomers)
    }

    /// Makes the list anew if a channel has entered another epoch, or there is another channel; whether it did.
    pub(super) fn follow(&mut self, nodes: &[HostedNode]) -> bool {
        let channels = nodes.iter().map(|node| node.channel());
        let reached: Vec<_> = channels.map(|channel| (channel.domain().channel, channel.current_epoch())).collect();
        if reached == self.reached {
            return false;
        }
        self.reached = reached;
        match nodes.iter().map(|node| self.roll(node)).collect::<Result<Vec<_>, _>>() {
            Ok(rolls) => {
                self.set(List::of(self.me, &self.told, &rolls));
                for (node, roll) in nodes.iter().zip(rolls) {
                    self.note(node.channel().domain().channel, roll);
                }
                true
            }
            Err(error) => {
                tracing::error!(%error, "the members of a channel cannot be read: connections stay as they are");
                false
            }
        }
    }

    fn roll(&self, node: &HostedNode) -> Result<Roll, StoreError> {
        let (channel, mut roll) = (node.channel(), Roll::default());
        let members = |epoch: Epoch| -> Result<Vec<NodeId>, StoreError> {
            let config = channel.epoch_config(epoch)?;
            Ok(config.iter().flat_map(|config| &config.members).map(|member| member.node).collect())
        };
        let current = channel.current_epoch();
        roll.present.extend(members(current)?);
        roll.present.extend(members(current.next())?);
        for epoch in (1..=EPOCHS_BEHIND).filter_map(|back| current.get().checked_sub(back)) {
            roll.past.extend(members(Epoch::new(epoch))?);
        }
        for node in roll.present.union(&roll.past) {
            roll.addresses.extend(channel.address(*node)?.map(|address| (*node, address)));
        }
        let was_member = |node: NodeId| -> Result<bool, StoreError> {
            let founded = channel.founding().members.iter().any(|member| member.node == node);
            Ok(founded || channel.address(node)?.is_some())
        };
        for node in self.told.keys().filter(|node| !roll.present.contains(node) && !roll.past.contains(node)) {
            if was_member(*node)? {
                roll.left.insert(*node);
            }
        }
        roll.me = match roll.present.contains(&self.me) {
            true => Membership::Member,
            false if was_member(self.me)? => Membership::Left,
            false => Membership::Waits,
        };
        Ok(roll)
    }

    /// Notes who the members of a channel are, and says how this node stands there when that has changed.
    fn note(&mut self, channel: ChannelId, roll: Roll) {
        let now = roll.me;
        if self.rolls.insert(channel, roll).is_some_and(|before| before.me == now) {
            return;
        }
        match now {
            Membership::Waits => tracing::warn!(
                %channel,
                "this node is no member, as far as it has the ledger: it waits for the others to let it in, which they \
                 do once a proposal that adds it is accepted"
            ),
            Membership::Member => tracing::info!(%channel, "this node is a member"),
            Membership::Left => tracing::warn!(
                %channel,
                "this node is a member no more: it takes no part, and the others cut it off"
            ),
        }
    }

    fn set(&mut self, list: List) {
        if list == self.list {
            return;
        }
        let failed = self.peers.set(self.lists, &list.dialled, &list.awaited);
        self.lists += 1;
        for error in failed.iter().filter(|error| !self.failed.contains(error)) {
            tracing::warn!(%error, "a node is not dialled");
        }
        for node in list.awaited.iter().filter(|node| !self.list.awaited.contains(node)) {
            tracing::warn!(%node, "nobody says where this node is: it is let in when it dials, or add a `[[peer]]`");
        }
        tracing::info!(dialled = list.dialled.len(), awaited = list.awaited.len(), "the list of peers has changed");
        (self.list, self.failed) = (list, failed);
    }
}

impl List {
    /// The members of all channels, and those whom the operator names and no ledger knows.
    fn of(me: NodeId, told: &BTreeMap<NodeId, Peer>, rolls: &[Roll]) -> Self {
        let all =
            |of: fn(&Roll) -> &BTreeSet<NodeId>| -> BTreeSet<NodeId> { rolls.iter().flat_map(of).copied().collect() };
        let (present, past, left) = (all(|roll| &roll.present), all(|roll| &roll.past), all(|roll| &roll.left));
        let known = |node: &NodeId| present.contains(node) || past.contains(node) || left.contains(node);
        let strangers = told.keys().filter(|node| !known(node));
        let on_ledger = |node: &NodeId| {
            let address = rolls.iter().find_map(|roll| roll.addresses.get(node))?;
            Address::try_from(address.clone()).ok().map(|address| address.peer(*node))
        };
        let mut list = Self::default();
        for node in present.iter().chain(past.difference(&present)).chain(strangers).filter(|node| **node != me) {
            match told.get(node).cloned().or_else(|| on_ledger(node)) {
                Some(peer) => list.dialled.push(peer),
                None => list.awaited.push(*node),
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seed: u8) -> NodeId {
        NodeId::new([seed; 32])
    }

    fn at(seed: u8, host: &str) -> Peer {
        Peer { node: id(seed), host: host.to_owned(), port: 7401 }
    }

    fn told(peers: &[(u8, &str)]) -> BTreeMap<NodeId, Peer> {
        peers.iter().map(|(seed, host)| (id(*seed), at(*seed, host))).collect()
    }

    fn roll(present: &[u8], past: &[u8], addresses: &[(u8, &str)]) -> Roll {
        let ids = |seeds: &[u8]| seeds.iter().map(|seed| id(*seed)).collect();
        let addresses = addresses.iter().map(|(seed, address)| (id(*seed), (*address).to_owned())).collect();
        Roll { present: ids(present), past: ids(past), addresses, ..Roll::default() }
    }

    fn list(told: &BTreeMap<NodeId, Peer>, rolls: &[Roll]) -> List {
        List::of(id(1), told, rolls)
    }

    #[test]
    fn members_of_all_channels_are_dialled_and_this_node_is_not() {
        let told = told(&[(2, "two"), (3, "three"), (4, "four")]);
        let rolls = [roll(&[1, 2, 3], &[1, 2], &[]), roll(&[1, 4], &[], &[])];
        assert_eq!(list(&told, &rolls).dialled, [at(2, "two"), at(3, "three"), at(4, "four")]);
    }

    #[test]
    fn the_operator_is_believed_before_the_ledger_and_the_first_channel_before_the_next() {
        let told = told(&[(2, "here")]);
        let ledger = [(2, "there:7401"), (3, "three:7401")];
        let rolls = [roll(&[2, 3, 4], &[], &ledger), roll(&[3, 4], &[], &[(3, "other:7401"), (4, "four:7401")])];
        assert_eq!(list(&told, &rolls).dialled, [at(2, "here"), at(3, "three"), at(4, "four")]);
    }

    #[test]
    fn who_left_is_listed_while_the_past_counts_and_after_those_who_are_there() {
        let told = told(&[(2, "two"), (3, "three")]);
        assert_eq!(list(&told, &[roll(&[3], &[2, 3], &[])]).dialled, [at(3, "three"), at(2, "two")]);
        let gone = Roll { left: BTreeSet::from([id(2)]), ..roll(&[3], &[3], &[]) };
        assert_eq!(list(&told, &[gone]).dialled, [at(3, "three")]);
        // On another channel it may still be a member.
        let gone = Roll { left: BTreeSet::from([id(2)]), ..roll(&[3], &[3], &[]) };
        assert_eq!(list(&told, &[gone, roll(&[2], &[], &[])]).dialled, [at(2, "two"), at(3, "three")]);
    }

    #[test]
    fn whom_no_ledger_knows_is_listed_on_the_operators_word() {
        let told = told(&[(9, "nine"), (2, "two")]);
        assert_eq!(list(&told, &[roll(&[2], &[], &[])]).dialled, [at(2, "two"), at(9, "nine")]);
    }

    #[test]
    fn who_comes_is_a_newcomer_before_its_first_epoch_and_in_it() {
        let newcomers = |present: &[u8], past: &[u8]| roll(present, past, &[]).newcomers().collect::<Vec<_>>();
        assert_eq!(newcomers(&[1, 2, 3], &[1, 2]), [id(3)]);
        assert!(newcomers(&[1, 2, 3], &[1, 2, 3]).is_empty());
        assert!(newcomers(&[1, 2], &[1, 2, 3]).is_empty(), "who leaves comes no more");
    }

    #[test]
    fn who_cannot_be_dialled_is_awaited() {
        let rolls = [roll(&[2, 3], &[4], &[(3, "no host:7401"), (4, "[::1]:7401")])];
        let List { dialled, awaited } = list(&BTreeMap::new(), &rolls);
        assert_eq!((dialled, awaited), (vec![at(4, "::1")], vec![id(2), id(3)]));
    }
}
