//! The custodian of the model: what it keeps, and when it lets a share go.
//!
//! Written from the words of the release rule alone, and on purpose unlike the code that it judges: it
//! finds every clause that is broken where the code stops at the first.
//!
//! # Source
//! docs/spec/custodian.md, "The release rule" (the clauses have its numbers) and "Forgetting"

use super::ledger::{Decryption, Grant, Terms, World, set};
use std::{
    fmt,
    hash::{Hash, Hasher},
};

/// A mistake that a test plants, to see that a property fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// No mistake.
    Nothing,
    /// A clause of the release rule is left out.
    Without(u8),
    /// A decryption that is in a block counts as allowed.
    TrustsInclusion,
    /// The share leaves before its entry is written.
    ReleasesFirst,
    /// An entry is written without the mark that the ledger is to hear.
    ForgetsMark,
    /// A stored answer is given without looking at the rule.
    TrustsStoredAnswer,
    /// Each ask seals anew.
    SealsAnew,
    /// The share is sealed to the first key that the decryption lists.
    TakesFirstKey,
    /// What ended is not deleted.
    KeepsWhatEnded,
    /// What ended is not deleted if a crash came between.
    SkipsRecovery,
    /// A reader counts the shares of all epochs together.
    MixesEpochs,
}

/// A set of clauses of the release rule, by their numbers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Clauses(u32);

impl Clauses {
    fn check(&mut self, clause: u8, holds: bool) {
        if !holds {
            self.0 |= 1 << clause;
        }
    }

    pub(crate) const fn contains(self, clause: u8) -> bool {
        self.0 & (1 << clause) != 0
    }

    /// The clause that alone is broken.
    pub(crate) fn only(self) -> Option<u8> {
        (self.0.count_ones() == 1).then(|| u8::try_from(self.0.trailing_zeros()).unwrap())
    }
}

impl fmt::Debug for Clauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries((0..32).filter(|clause| self.contains(*clause))).finish()
    }
}

/// An answer that the rule allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The epoch of the share.
    pub(crate) epoch: u8,
    /// The custodian for which the one-time key is listed that it is sealed to.
    pub(crate) key: u8,
    /// Whether it was given or at least written before.
    pub(crate) stored: bool,
}

/// A custodian's disk and process. Sets of shares have one bit for a [`slot`], sets of answers one for
/// a [`piece`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Custodian {
    /// The height that its node has executed.
    pub(crate) executed: u8,
    /// Whether the custodian has yet to hear what the last executed block ended.
    pub(crate) unobserved: bool,
    /// The height at which the process began.
    pub(crate) born: u8,
    /// Whether its node saw two conflicting certificates.
    pub(crate) conflict: bool,
    /// Shares.
    pub(crate) held: u8,
    /// Release entries.
    pub(crate) entries: u16,
    /// What the ledger has yet to hear of.
    pub(crate) marks: u16,
    /// What the ledger has heard of.
    pub(crate) settled: u16,
    /// Shares that left: a ghost, which no rule reads.
    pub(crate) left: u16,
}

impl Hash for Custodian {
    /// In one word: exploring is hashing.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self { executed, unobserved, born, conflict, held, entries, marks, settled, left } = *self;
        let sets = [entries, marks, settled, left].map(u128::from).into_iter();
        let small = [executed, u8::from(unobserved), born, u8::from(conflict), held].map(u128::from).into_iter();
        sets.fold(small.fold(0, |word, part| (word << 8) | part), |word, part| (word << 16) | part).hash(hasher);
    }
}

/// The bit of one epoch's share of a record.
pub(crate) const fn slot(record: u8, epoch: u8) -> u8 {
    1 << (record + 2 * epoch)
}

/// All records with all their epochs.
pub(crate) const SLOTS: [(u8, u8); 3] = [(0, 0), (0, 1), (1, 0)];

/// The bit of one epoch's share for a decryption.
pub(crate) const fn piece(decryption: u8, epoch: u8) -> u16 {
    1 << (2 * decryption + epoch)
}

/// The epochs that exist.
pub(crate) const EPOCHS: [u8; 2] = [0, 1];

impl Custodian {
    fn holds(&self, record: u8, epoch: u8) -> bool {
        self.held & slot(record, epoch) != 0
    }

    /// What the release rule says to an ask: the answer, or every clause that does not hold.
    pub(crate) fn answer(
        &self,
        (me, plant): (u8, Plant),
        terms: &Terms,
        world: &World,
        decryption: u8,
        clock: i8,
    ) -> Result<Answer, Clauses> {
        let Decryption { reader, record, grant } = terms.decryptions[usize::from(decryption)];
        // The share of the ledger's epoch; without one, what is held is of another.
        let current = Some(world.epoch(record)).filter(|epoch| self.holds(record, *epoch));
        let held = current.or_else(|| EPOCHS.into_iter().rfind(|epoch| self.holds(record, *epoch)));
        if plant == Plant::TrustsStoredAnswer {
            let stored = EPOCHS.into_iter().rfind(|epoch| self.entries & piece(decryption, *epoch) != 0);
            if let Some(epoch) = stored {
                return Ok(Answer { epoch, key: me, stored: true });
            }
        }
        let included = plant == Plant::TrustsInclusion && world.is_ordered(decryption);
        let mut broken = Clauses::default();
        broken.check(2, !self.conflict);
        broken.check(3, world.allows(decryption) || included);
        broken.check(6, !world.is_key_revoked(reader));
        broken.check(7, !world.is_suspended(reader));
        let ordered = world.ordered[usize::from(decryption)];
        broken.check(12, world.tip <= ordered + terms.limits.window);
        if let Some(grant) = grant {
            let Grant { uses, ends, .. } = terms.grants[usize::from(grant)];
            broken.check(4, included || world.number[usize::from(decryption)] <= uses);
            broken.check(5, !world.is_revoked(grant));
            broken.check(13, world.tip <= ends);
        }
        let member = world.is_custodian(record, me);
        broken.check(8, member);
        broken.check(9, !world.is_erased(record));
        // To somebody who is no custodian, the ledger names no epoch.
        broken.check(10, current.is_some() || (!member && held.is_some()));
        let tip = i8::try_from(world.tip).unwrap();
        broken.check(14, clock >= tip - terms.limits.clock_bound);
        broken.check(15, clock <= tip + terms.limits.staleness);
        broken.check(16, world.lists(decryption, me));
        if let Plant::Without(clause) = plant {
            broken.0 &= !(1 << clause);
        }
        let Some(epoch) = held.filter(|_| broken == Clauses::default()) else { return Err(broken) };
        let first = (0..8).find(|custodian| world.lists(decryption, *custodian));
        let key = if plant == Plant::TakesFirstKey { first.unwrap_or(me) } else { me };
        let stored = self.entries & piece(decryption, epoch) != 0 && plant != Plant::SealsAnew;
        Ok(Answer { epoch, key, stored })
    }

    /// Writes a release entry and its mark, at once.
    pub(crate) fn write(&mut self, plant: Plant, decryption: u8, epoch: u8) {
        self.entries |= piece(decryption, epoch);
        if plant != Plant::ForgetsMark {
            self.marks |= piece(decryption, epoch) & !self.settled;
        }
    }

    /// Deletes what the ledger has ended, as the custodian does when it hears of a block.
    pub(crate) fn observe(&mut self, plant: Plant, terms: &Terms, world: &World) {
        self.unobserved = false;
        if plant != Plant::KeepsWhatEnded {
            self.forget(terms, world);
        }
    }

    /// Begins a new process on the same disk: what an old one did not hear of, it looks up.
    pub(crate) fn restart(&mut self, plant: Plant, terms: &Terms, world: &World) {
        self.unobserved = false;
        if plant != Plant::KeepsWhatEnded && plant != Plant::SkipsRecovery {
            self.forget(terms, world);
        }
    }

    fn forget(&mut self, terms: &Terms, world: &World) {
        for (record, epoch) in SLOTS.into_iter().filter(|(record, epoch)| is_over(world, *record, *epoch)) {
            self.held &= !slot(record, epoch);
        }
        for (number, decryption) in (0..).zip(terms.decryptions) {
            let revoked = decryption.grant.is_some_and(|grant| world.is_revoked(grant));
            for epoch in EPOCHS.into_iter().filter(|epoch| revoked || is_over(world, decryption.record, *epoch)) {
                self.entries &= !piece(number, epoch);
            }
        }
    }

    /// Deletes the answers that nobody may ask for any more; returns how many.
    pub(crate) fn tidy(&mut self, terms: &Terms, world: &World) -> u32 {
        let before = self.entries.count_ones();
        for (number, decryption) in (0..).zip(terms.decryptions) {
            let window = world.ordered[usize::from(number)] + terms.limits.window;
            let until = decryption.grant.map_or(window, |grant| window.min(terms.grants[usize::from(grant)].ends));
            if until < world.tip {
                self.entries &= !(piece(number, 0) | piece(number, 1));
            }
        }
        before - self.entries.count_ones()
    }

    /// Whether a share that arrives is taken in, by what was observed until now.
    pub(crate) fn accept(&mut self, me: u8, observed: &World, record: u8, epoch: u8) -> bool {
        let mine = set(record, epoch) & (1 << me) != 0;
        let accepted = mine && !is_over(observed, record, epoch);
        if accepted {
            self.held |= slot(record, epoch);
        }
        accepted
    }
}

/// Whether shares of this epoch serve nobody any more.
fn is_over(world: &World, record: u8, epoch: u8) -> bool {
    world.is_erased(record) || epoch < world.epoch(record)
}
