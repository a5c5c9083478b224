//! Tables of forgeries: what is accepted, one change to it a row, and the exact error of each.

use std::{collections::BTreeSet, fmt::Debug};

/// Refuses what is shown to it, or does not.
type Verifier<'a, T, E> = dyn Fn(&T) -> Result<(), E> + 'a;

/// What may be shown to one verifier, beginning with what it accepts.
pub(crate) struct Table<'a, T, E> {
    title: &'static str,
    original: T,
    accepts: Box<Verifier<'a, T, E>>,
    names: BTreeSet<&'static str>,
    wrong: Vec<String>,
}

/// What a table came to.
pub(crate) struct Tally {
    /// Which verifier.
    pub(crate) title: &'static str,
    /// How many variants it was shown.
    pub(crate) count: usize,
    /// Those that were accepted, or refused for another reason.
    pub(crate) wrong: Vec<String>,
}

impl<'a, T: Clone, E: Debug> Table<'a, T, E> {
    /// A table that begins with the original, which must be accepted: or every row would be refused for
    /// what is wrong with all of them.
    pub(crate) fn new(title: &'static str, original: T, accepts: impl Fn(&T) -> Result<(), E> + 'a) -> Self {
        let table = Self { title, original, accepts: Box::new(accepts), names: BTreeSet::new(), wrong: Vec::new() };
        table.also_accepts("the original", |_| ());
        table
    }

    /// Asserts that a change which forges nothing is accepted too.
    pub(crate) fn also_accepts(&self, name: &str, change: impl FnOnce(&mut T)) {
        let mut changed = self.original.clone();
        change(&mut changed);
        if let Err(error) = (self.accepts)(&changed) {
            panic!("{}: {name} is refused: {error:?}", self.title);
        }
    }

    /// One forgery, and what it is refused with.
    pub(crate) fn row(&mut self, name: &'static str, forge: impl FnOnce(&mut T), expected: E) {
        assert!(self.names.insert(name), "{}: `{name}` stands there twice", self.title);
        let mut forged = self.original.clone();
        forge(&mut forged);
        // Not every error can be compared, but each says all of itself.
        let (got, expected) = (format!("{:?}", (self.accepts)(&forged)), format!("Err({expected:?})"));
        if got != expected {
            self.wrong.push(format!("{}: {name}\n    expected {expected}\n    got      {got}", self.title));
        }
    }

    /// What it came to.
    pub(crate) fn tally(self) -> Tally {
        Tally { title: self.title, count: self.names.len(), wrong: self.wrong }
    }
}
