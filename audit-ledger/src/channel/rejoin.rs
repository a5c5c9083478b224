//! When a node that lost what it knows of its own votes may vote again.
//!
//! It cannot have voted in an epoch that begins later than all that it could have reached before. In which epoch
//! the others are, they show by their votes; no clock says so. Let M be the last epoch in which this node may have
//! voted: the last block of M - 1 was final before, by votes of a quorum. Of any N - f - 1 others at least one is
//! honest and among that quorum, as long as this node is counted with the f that are faulty, and whatever it votes
//! in now is M - 1 or later. So once so many others are heard to vote in no later epoch than this node has reached
//! by executing, the one after the next is safe.
//!
//! The others that count are the orderers of today: a node that begins with a backup also executes through epochs of
//! long ago, whose orderers may have left, and whose keys may be anybody's by now. So nothing is concluded before the last
//! executed block is of this moment.

use crate::store::{Batch, Reader, Space, Store, StoreError};
use dmdl_types::{
    genesis::{EpochConfig, Founding, quorum},
    id::{Epoch, NodeId, UnixMillis},
    planted,
};
use std::collections::BTreeMap;

/// The place of the node's folder when the node rejoined, and the ledger's time then: from then on its votes are there.
const REJOINED_KEY: &[u8] = b"rejoined";
/// There while votes that were in its folder are lost.
const LOST_KEY: &[u8] = b"votes-lost";

/// Names the folder that a node keeps its votes in. A copy of the folder, or another one, is another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place([u8; 32]);

impl Place {
    /// The place with this name.
    #[must_use]
    pub const fn new(name: [u8; 32]) -> Self {
        Self(name)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whether a node knows what it has voted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has its votes, or has never cast one.
    Votes,
    /// It may have voted and lost what it knows of it: it follows, until others show which epochs it cannot have
    /// voted in. From then on its votes are at this place.
    Rejoins(Place),
}

/// What a node that rejoins has heard.
#[derive(Debug)]
pub(super) struct Rejoin {
    /// Where its votes will be, if that is another place than before.
    pub(super) place: Option<Place>,
    /// The epoch in which each orderer was heard to vote last.
    heard: BTreeMap<NodeId, Epoch>,
    /// The first epoch in which this node may vote.
    from: Option<Epoch>,
}

impl Rejoin {
    pub(super) const fn new(place: Option<Place>) -> Self {
        Self { place, heard: BTreeMap::new(), from: None }
    }

    /// Takes notice of a vote; `config` is the epoch that this node has reached, and `me` is not listened to. Unless what it
    /// has reached is of now, nothing follows from that yet.
    pub(super) fn hear(&mut self, me: NodeId, voter: NodeId, epoch: Epoch, config: &EpochConfig, is_of_now: bool) {
        let orderers = config.orderers();
        if voter == me || !orderers.contains(&voter) || self.from.is_some() {
            return;
        }
        self.heard.insert(voter, epoch);
        let reached = self.heard.iter().filter(|(node, epoch)| **epoch <= config.epoch && orderers.contains(node));
        if is_of_now && reached.count() >= quorum(orderers.len()).saturating_sub(1) {
            self.from = Some(config.epoch.next().next());
        }
    }

    /// Whether the node may vote in an epoch.
    pub(super) fn may_vote(&self, epoch: Epoch) -> bool {
        self.from.is_some_and(|from| epoch >= from) || planted!("votes-again-at-once")
    }
}

/// Whether the channel's votes are in the folder at this place although the node once began without them.
pub(super) fn has_rejoined(reader: &impl Reader, place: Place) -> Result<bool, StoreError> {
    Ok(reader.get(Space::Meta, REJOINED_KEY)?.is_some_and(|noted| noted.starts_with(&place.0)))
}

/// The ledger's time when the node rejoined at this place; none if it did not, or a program of before noted it.
pub(super) fn rejoined_at(reader: &impl Reader, place: Place) -> Result<Option<UnixMillis>, StoreError> {
    let noted = reader.get(Space::Meta, REJOINED_KEY)?.filter(|noted| noted.starts_with(&place.0));
    let time = noted.as_deref().and_then(|noted| noted.get(place.0.len()..)?.first_chunk::<8>().copied());
    Ok(time.map(u64::from_be_bytes).map(UnixMillis::new))
}

/// Notes, durably, that from now on the channel's votes are in the folder, and at which place and time if it has another
/// one.
pub(super) fn note_rejoined(store: &impl Store, place: Option<Place>, time: UnixMillis) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    if let Some(place) = place {
        batch.put(Space::Meta, REJOINED_KEY, [place.0.as_slice(), &time.get().to_be_bytes()].concat());
    }
    batch.delete(Space::Meta, LOST_KEY);
    store.commit(batch)
}

/// Notes, durably, that all votes on a channel that begins are in the folder at this place, since none was ever cast: the
/// channel is younger than what the node has kept there since it rejoined on another one.
///
/// # Errors
/// [`StoreError`] when that cannot be noted; then the node follows there.
pub fn note_first_votes(store: &impl Store, place: Place, founding: &Founding) -> Result<(), StoreError> {
    note_rejoined(store, Some(place), founding.time)
}

/// Whether votes that were in this folder are lost.
pub(super) fn has_lost(reader: &impl Reader) -> Result<bool, StoreError> {
    Ok(reader.get(Space::Meta, LOST_KEY)?.is_some())
}

/// Notes, durably, that votes which were in this folder are lost: whoever opens the channel follows, as a node that
/// lost its folder, until it is safe to vote again.
///
/// # Errors
/// [`StoreError`] when that cannot be noted; then the channel must not be opened.
pub fn note_votes_lost(store: &impl Store) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.put(Space::Meta, LOST_KEY, []);
    store.commit(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{store::MemoryStore, testing::*};

    fn reached(epoch: u64) -> EpochConfig {
        genesis().epoch_config(Epoch::new(epoch))
    }

    fn heard(epochs: &[(u8, u64)], at: u64) -> Rejoin {
        let mut rejoin = Rejoin::new(Some(Place::new([1; 32])));
        for (org, epoch) in epochs {
            rejoin.hear(node_id(1), node_id(*org), Epoch::new(*epoch), &reached(at), true);
        }
        rejoin
    }

    #[test]
    fn that_a_node_has_rejoined_is_true_of_the_place_where_it_did() {
        let (store, here, elsewhere) = (MemoryStore::new(), Place::new([1; 32]), Place::new([2; 32]));
        let looked = |place| (has_rejoined(&store, place).unwrap(), rejoined_at(&store, place).unwrap());
        assert_eq!(looked(here), (false, None));
        note_rejoined(&store, Some(here), BEGIN).unwrap();
        assert_eq!((looked(here), looked(elsewhere)), ((true, Some(BEGIN)), (false, None)));
        note_rejoined(&store, Some(elsewhere), BEGIN.plus_ms(1)).unwrap();
        assert_eq!((looked(here), looked(elsewhere)), ((false, None), (true, Some(BEGIN.plus_ms(1)))));
    }

    #[test]
    fn who_has_heard_enough_others_in_its_epoch_votes_from_the_one_after_the_next() {
        let rejoin = heard(&[(2, 5), (3, 5)], 5);
        assert_eq!([6, 7, 8].map(|epoch| rejoin.may_vote(Epoch::new(epoch))), [false, true, true]);
    }

    #[test]
    fn who_is_behind_the_others_waits_however_many_are_heard() {
        assert_eq!(heard(&[(2, 6), (3, 6), (4, 6)], 5).from, None);
        // Reached since: what was heard before counts with the next vote.
        let mut rejoin = heard(&[(2, 6), (3, 6)], 5);
        rejoin.hear(node_id(1), node_id(3), Epoch::new(6), &reached(6), true);
        assert_eq!(rejoin.from, Some(Epoch::new(8)));
    }

    #[test]
    fn orderers_of_long_ago_let_nobody_vote() {
        let mut rejoin = Rejoin::new(Some(Place::new([1; 32])));
        let mut hear = |org, config: &EpochConfig, is_of_now| {
            rejoin.hear(node_id(1), node_id(org), config.epoch, config, is_of_now);
            rejoin.from
        };
        let past = reached(5);
        for org in [2, 3, 4] {
            assert_eq!(hear(org, &past, false), None, "the committee may be gone, and its keys anybody's");
        }
        // Two of the four have left since, and two have come.
        let mut today = EpochConfig { members: genesis_of(8).members, ..reached(90) };
        today.members.retain(|member| [1, 2, 7, 8].map(node_id).contains(&member.node));
        assert_eq!(hear(2, &today, true), None, "nobody who has left counts");
        assert_eq!(hear(7, &today, true), Some(Epoch::new(92)));
    }

    #[test]
    fn a_liar_neither_suffices_nor_keeps_anybody_out() {
        assert_eq!(heard(&[(2, 0), (2, 1), (2, 5)], 5).from, None, "one voice, however often");
        assert_eq!(heard(&[(2, u64::MAX), (3, 5), (4, 5)], 5).from, Some(Epoch::new(7)));
    }

    #[test]
    fn neither_its_own_voice_nor_a_strangers_counts() {
        assert_eq!(heard(&[(1, 5), (2, 5), (9, 5)], 5).from, None);
    }
}
