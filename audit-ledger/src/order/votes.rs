//! Votes that this node has seen: what it says of others when it proposes, and what it can show of a primary.

use crate::mdca::Vote;
use dmdl_types::id::{BlockDigest, Epoch, NodeId, View};
use std::collections::{BTreeMap, BTreeSet};

/// Views whose votes are remembered: the engine listens to few others.
const VIEWS_MAX: usize = 128;

/// The votes of the latest views, as they came: their signatures are not checked here.
#[derive(Debug, Default)]
pub struct VotesSeen {
    views: BTreeMap<(Epoch, View), BTreeMap<BlockDigest, Votes>>,
}

#[derive(Debug, Default)]
struct Votes {
    voters: BTreeSet<NodeId>,
    notarize: BTreeMap<NodeId, Vec<u8>>,
}

impl VotesSeen {
    /// Adds a vote.
    pub fn add(&mut self, vote: Vote) {
        let Vote { voter, epoch, view, block, notarize } = vote;
        let votes = self.views.entry((epoch, view)).or_default().entry(block).or_default();
        votes.voters.insert(voter);
        if let Some(encoded) = notarize {
            votes.notarize.insert(voter, encoded);
        }
        while self.views.len() > VIEWS_MAX {
            self.views.pop_first();
        }
    }

    /// Who of the committee, which is sorted, has voted for a block: one bit each, the first one lowest.
    #[must_use]
    pub fn bitmap(&self, committee: &[NodeId], at: (Epoch, View), block: BlockDigest) -> Vec<u8> {
        let mut bitmap = vec![0u8; committee.len().div_ceil(8)];
        let votes = self.views.get(&at).and_then(|blocks| blocks.get(&block));
        for (position, node) in committee.iter().enumerate() {
            if votes.is_some_and(|votes| votes.voters.contains(node))
                && let Some(byte) = bitmap.get_mut(position / 8)
            {
                *byte |= 1 << (position % 8);
            }
        }
        bitmap
    }

    /// The encoded vote by which a primary proposed a block.
    #[must_use]
    pub fn proposal(&self, at: (Epoch, View), block: BlockDigest, primary: NodeId) -> Option<&[u8]> {
        self.views.get(&at)?.get(&block)?.notarize.get(&primary).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId::new([n; 32])
    }

    fn vote(voter: u8, view: u64, block: u8, notarize: Option<Vec<u8>>) -> Vote {
        let (voter, block) = (node(voter), BlockDigest::new([block; 32]));
        Vote { voter, epoch: Epoch::new(0), view: View::new(view), block, notarize }
    }

    #[test]
    fn a_bitmap_names_who_voted_for_this_block_in_this_view() {
        let mut seen = VotesSeen::default();
        let committee: Vec<NodeId> = (0..10).map(node).collect();
        for (voter, view, block) in [(0, 5, 1), (9, 5, 1), (2, 5, 2), (3, 6, 1), (77, 5, 1)] {
            seen.add(vote(voter, view, block, None));
        }
        let at = (Epoch::new(0), View::new(5));
        assert_eq!(seen.bitmap(&committee, at, BlockDigest::new([1; 32])), [0b0000_0001, 0b0000_0010]);
        assert_eq!(seen.bitmap(&committee, (Epoch::new(1), View::new(5)), BlockDigest::new([1; 32])), [0, 0]);
    }

    #[test]
    fn only_the_latest_views_are_remembered() {
        let mut seen = VotesSeen::default();
        for view in 1..=VIEWS_MAX as u64 + 1 {
            seen.add(vote(1, view, 1, Some(vec![7])));
        }
        let proposal = |view| seen.proposal((Epoch::new(0), View::new(view)), BlockDigest::new([1; 32]), node(1));
        assert_eq!(proposal(1), None);
        assert_eq!(proposal(2), Some(&[7u8][..]));
    }
}
