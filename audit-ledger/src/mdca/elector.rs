//! Who proposes in which view: the schedule that reputation decided, obeyed to the letter.
//!
//! The qualified take turns. The schedule is fixed before its epoch begins and is the same on every
//! node, so everyone knows every leader in advance; the committee still votes in full, so a mistake
//! in reputation can cost fairness or speed, never safety.

use super::keys::engine_key;
use commonware_consensus::{
    simplex::elector::{Config, Elector, Scheduled, Terms},
    types::{Participant, Round},
};
use commonware_cryptography::{certificate::Scheme, ed25519};
use commonware_utils::ordered::{Quorum, Set};
use dmdl_types::id::NodeId;

/// Makes the elector of one epoch from the keys that may propose, in their order.
#[derive(Clone, Debug)]
pub(super) struct ScheduleElector {
    qualified: Vec<NodeId>,
}

impl ScheduleElector {
    pub(super) const fn new(qualified: Vec<NodeId>) -> Self {
        Self { qualified }
    }
}

impl<S: Scheme<PublicKey = ed25519::PublicKey>> Config<S> for ScheduleElector {
    type Elector = Turns;

    fn build(self, participants: &Set<ed25519::PublicKey>) -> Turns {
        let mut turns: Vec<_> = self
            .qualified
            .iter()
            .filter_map(|node| engine_key(&node.key()))
            .filter_map(|key| participants.index(&key))
            .collect();
        if turns.is_empty() {
            // A schedule without members of the committee would stop the channel for ever.
            turns = (0..participants.len()).map(Participant::from_usize).collect();
        }
        Turns { turns }
    }
}

/// The turns of one epoch.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    /// INVARIANT: not empty, as no committee is.
    turns: Vec<Participant>,
}

impl Turns {
    fn leader(&self, view: u64) -> Participant {
        // Views count from 1.
        let turn = view.saturating_sub(1) % self.turns.len().max(1) as u64;
        usize::try_from(turn).ok().and_then(|turn| self.turns.get(turn)).copied().unwrap_or_default()
    }
}

impl<S: Scheme<PublicKey = ed25519::PublicKey>> Elector<S> for Turns {
    type Mode = Scheduled;

    fn terms(&self) -> Terms {
        Terms::rotating()
    }

    fn elect(&self, round: Round, (): ()) -> Participant {
        self.leader(round.view().get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use commonware_cryptography::Signer as _;

    fn participants() -> Set<ed25519::PublicKey> {
        Set::from_iter_dedup((0..4).map(|seed| ed25519::PrivateKey::from_seed(seed).public_key()))
    }

    fn node(key: &ed25519::PublicKey) -> NodeId {
        NodeId::of_key(super::super::keys::ledger_key(key))
    }

    fn build(qualified: Vec<NodeId>) -> Turns {
        type AnyScheme = commonware_consensus::simplex::scheme::ed25519::Scheme;
        Config::<AnyScheme>::build(ScheduleElector::new(qualified), &participants())
    }

    #[test]
    fn the_qualified_take_turns_in_their_order() {
        let all = participants();
        let turns = build(vec![node(&all[2]), node(&all[0]), node(&all[3])]);
        let leaders: Vec<_> = (1..=7).map(|view| turns.leader(view).get()).collect();
        assert_eq!(leaders, [2, 0, 3, 2, 0, 3, 2]);
    }

    #[test]
    fn keys_outside_the_committee_get_no_turn() {
        let all = participants();
        let stranger = node(&ed25519::PrivateKey::from_seed(99).public_key());
        let turns = build(vec![stranger, node(&all[1])]);
        assert_eq!((1..=3).map(|view| turns.leader(view).get()).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn an_empty_schedule_lets_the_whole_committee_propose() {
        let turns = build(Vec::new());
        assert_eq!((1..=5).map(|view| turns.leader(view).get()).collect::<Vec<_>>(), [0, 1, 2, 3, 0]);
    }
}
