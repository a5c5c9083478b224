//! Edit lists: which bytes of the plaintext a file's reader gets.

use std::{collections::VecDeque, ops::Range};

/// What is left of an edit list, as the plaintext goes by: how many bytes to leave out, then to keep, and so on by turns.
#[derive(Debug)]
pub(super) struct Edits {
    lengths: VecDeque<u64>,
    keeps: bool,
    /// After the last length: an odd list keeps the rest, an even one leaves it out.
    keeps_rest: bool,
}

impl Edits {
    /// A file without an edit list is kept whole.
    pub(super) fn of(lengths: Option<Vec<u64>>) -> Self {
        let lengths = VecDeque::from(lengths.unwrap_or_else(|| vec![0]));
        Self { keeps_rest: lengths.len() % 2 == 1, lengths, keeps: false }
    }

    /// Whether nothing that comes is kept any more.
    pub(super) fn is_over(&self) -> bool {
        !self.keeps_rest && self.lengths.iter().skip(usize::from(!self.keeps)).step_by(2).all(|kept| *kept == 0)
    }

    /// Of the next `len` bytes, those that are kept first; and how many bytes are dealt with up to their end.
    pub(super) fn next(&mut self, len: usize) -> (Range<usize>, usize) {
        let mut at = 0;
        while at < len {
            let keeps = self.keeps;
            let whole = u64::try_from(len - at).unwrap_or(u64::MAX);
            let taken = match self.lengths.front_mut() {
                Some(left) => {
                    let taken = whole.min(*left);
                    *left -= taken;
                    if *left == 0 {
                        self.lengths.pop_front();
                        self.keeps = !keeps;
                    }
                    taken
                }
                None => {
                    self.keeps = self.keeps_rest;
                    if !self.keeps_rest {
                        return (len..len, len);
                    }
                    return (at..len, len);
                }
            };
            let end = at + usize::try_from(taken).unwrap_or(len);
            if keeps && taken > 0 {
                return (at..end, end);
            }
            at = end;
        }
        (len..len, len)
    }
}
