//! What this node has proposed, and how much of it was executed: by it a read is shown to be no older than its question.
//! And how many turns of others came to nothing.
//!
//! A block that somebody begins to make now is no ancestor of a block that is final already, because it is not in it: so
//! it comes after all of those. Who has executed a block of their own making, begun after a question came, has executed
//! everything that was final when it came. Nobody's word is needed for this, and no clock.

use super::Channel;
use crate::store::{Store, StoreError};
use dmdl_types::id::{BlockDigest, Height, View};
use std::collections::BTreeMap;

/// How many blocks this node had begun to make: a moment that others can be compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// The blocks that this node has made.
#[derive(Debug, Default)]
pub(super) struct Turns {
    begun: Moment,
    /// Those that may still become final, with their heights and when they were begun.
    open: BTreeMap<BlockDigest, (Height, Moment)>,
    /// When the newest of those that were executed was begun.
    executed: Moment,
    /// Turns that came to nothing, as the blocks that were executed since this node started tell.
    lost: u64,
}

impl Turns {
    /// Begins a block: nobody can know its digest yet.
    pub(super) const fn begin(&mut self) -> Moment {
        self.begun.0 += 1;
        self.begun
    }

    /// Takes note of the block that was begun. The same one made again is as old as the first.
    pub(super) fn made(&mut self, begun: Moment, block: BlockDigest, height: Height) {
        self.open.entry(block).or_insert((height, begun));
    }

    /// Takes note that a block was executed, whoever made it.
    pub(super) fn executed(&mut self, block: BlockDigest, height: Height) {
        if let Some((_, begun)) = self.open.remove(&block) {
            self.executed = self.executed.max(begun);
        }
        self.open.retain(|_, (open, _)| *open > height);
    }

    /// Counts the turns between a final block and its parent, which came to nothing.
    pub(super) const fn count_lost(&mut self, parent: View, view: View) {
        let between = view.get().saturating_sub(parent.get()).saturating_sub(1);
        self.lost = self.lost.saturating_add(between);
    }
}

impl<E, S: Store> Channel<E, S> {
    /// Whether this node proposes in the epoch of the next block: its turns come, and it may vote.
    ///
    /// # Errors
    /// [`StoreError`] when the configuration cannot be read.
    pub fn proposes(&self) -> Result<bool, StoreError> {
        Ok(!self.follows() && self.config()?.qualified.contains(&self.shared.me))
    }

    /// This moment, for [`Channel::has_caught_up_with`].
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.turns().begun
    }

    /// Turns to propose that came to nothing, in the blocks that were executed here since the start: somebody was
    /// waited for in vain.
    #[must_use]
    pub fn turns_lost(&self) -> u64 {
        self.turns().lost
    }

    /// Whether everything that was final anywhere at a moment is executed here.
    ///
    /// It comes about when a block that this node proposed after the moment is executed, and never on a node that does
    /// not propose.
    #[must_use]
    pub fn has_caught_up_with(&self, moment: Moment) -> bool {
        self.turns().executed > moment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn block(number: u8) -> BlockDigest {
        BlockDigest::new([number; 32])
    }

    #[test]
    fn only_a_block_that_was_begun_after_a_moment_shows_that_it_is_past() {
        let mut turns = Turns::default();
        let first = turns.begin();
        turns.made(first, block(1), Height::new(5));
        let moment = turns.begun;
        turns.executed(block(1), Height::new(5));
        assert!(turns.executed <= moment, "it was begun before");
        let second = turns.begin();
        turns.executed(block(7), Height::new(6));
        assert!(turns.executed <= moment, "somebody else's shows nothing");
        turns.made(second, block(2), Height::new(7));
        let later = turns.begun;
        let again = turns.begin();
        turns.made(again, block(2), Height::new(7));
        turns.executed(block(2), Height::new(7));
        assert!(turns.executed > moment);
        assert!(turns.executed <= later, "made again, it is the same block");
    }

    #[test]
    fn turns_between_a_block_and_its_parent_are_lost() {
        let mut turns = Turns::default();
        for (parent, view, lost) in [(0, 1, 0), (1, 2, 0), (2, 5, 2), (5, 6, 2), (0, 2, 3)] {
            turns.count_lost(View::new(parent), View::new(view));
            assert_eq!(turns.lost, lost);
        }
    }

    #[test]
    fn blocks_that_came_to_nothing_are_forgotten() {
        let mut turns = Turns::default();
        for height in 1..=100 {
            let begun = turns.begin();
            turns.made(begun, block(height), Height::new(u64::from(height)));
        }
        turns.executed(block(0), Height::new(98));
        assert_eq!(turns.open.len(), 2);
        assert_eq!(turns.executed, Moment::default());
    }
}
