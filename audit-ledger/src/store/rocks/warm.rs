//! Rows that were asked for lately, so that what is asked for again and again is not looked up each time: the people
//! who write, the records that they write, whether a transaction was executed.
//!
//! Whoever writes drops the rows that change before it writes, and puts back those that were here once it has written:
//! meanwhile they are read from the database. A row that was read while something was written is not taken. So a row that
//! is here is what the database has, and who has seen a part of a write there finds no older row here.

use crate::store::{Batch, Space};
use std::{
    hash::{DefaultHasher, Hasher as _},
    iter,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many rows are here at most. Each has one place, by the hash of its key, and whoever comes to it takes it.
const PLACES: usize = 8192;
/// Bytes of one row; longer ones are not worth their room.
const ROW_BYTES_MAX: usize = 2048;

type Value = Option<Vec<u8>>;

/// Rows of the spaces that are asked for by key.
#[derive(Debug)]
pub(super) struct Warm(Mutex<Rows>);

#[derive(Debug)]
struct Rows {
    /// Writes that have begun.
    writes: u64,
    /// Writes that have begun and not ended.
    writing: usize,
    places: Box<[Option<Row>]>,
}

#[derive(Debug)]
struct Row {
    space: Space,
    key: Vec<u8>,
    value: Value,
}

/// How many writes had begun when somebody looked here and found nothing, if all of them had ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missed(Option<u64>);

/// A write on its way.
#[derive(Debug)]
pub(super) struct Writing {
    number: u64,
    is_alone: bool,
    /// What it changes of what was here.
    known: Vec<Row>,
}

impl Default for Warm {
    fn default() -> Self {
        let places = iter::repeat_with(|| None).take(PLACES).collect();
        Self(Mutex::new(Rows { writes: 0, writing: 0, places }))
    }
}

impl Warm {
    /// The value of a key, or that there is none, if that is known here.
    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Value, Missed> {
        let mut rows = self.rows();
        let missed = Missed((rows.writing == 0).then_some(rows.writes));
        if !is_kept(space) {
            return Err(missed);
        }
        let row = rows.place(space, key).and_then(|place| place.as_ref());
        row.filter(|row| row.is_of(space, key)).map(|row| row.value.clone()).ok_or(missed)
    }

    /// Takes what the database said after somebody had found nothing here.
    pub(super) fn read(&self, missed: Missed, space: Space, key: &[u8], value: &Value) {
        let len_bytes = key.len() + value.as_ref().map_or(0, Vec::len);
        if !is_kept(space) || len_bytes > ROW_BYTES_MAX {
            return;
        }
        let row = Row { space, key: key.to_vec(), value: value.clone() };
        let mut rows = self.rows();
        if missed.0 == Some(rows.writes) {
            rows.put(row);
        }
    }

    /// Before a batch is written.
    pub(super) fn begin(&self, batch: &Batch) -> Writing {
        let mut rows = self.rows();
        rows.writes += 1;
        rows.writing += 1;
        let mut known = Vec::new();
        // The last change of a key is the one that counts.
        for change in batch.0.iter().rev().filter(|change| is_kept(change.space)) {
            let Some(place) = rows.place(change.space, &change.key) else { continue };
            if let Some(row) = place.take_if(|row| row.is_of(change.space, &change.key)) {
                known.push(Row { value: change.value.clone(), ..row });
            }
        }
        Writing { number: rows.writes, is_alone: rows.writing == 1, known }
    }

    /// After it was written, or was not.
    pub(super) fn end(&self, Writing { number, is_alone, known }: Writing, is_written: bool) {
        let mut rows = self.rows();
        rows.writing -= 1;
        // Of two writes at a time nobody here knows which came first.
        if is_written && is_alone && rows.writes == number {
            known.into_iter().for_each(|row| rows.put(row));
        }
    }

    // Consistent after every statement.
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn place(&mut self, space: Space, key: &[u8]) -> Option<&mut Option<Row>> {
        let mut hash = DefaultHasher::new();
        hash.write_u8(u8::from(space == Space::Events));
        hash.write(key);
        let number = usize::try_from(hash.finish() % PLACES as u64).ok()?;
        self.places.get_mut(number)
    }

    fn put(&mut self, row: Row) {
        if let Some(place) = self.place(row.space, &row.key) {
            *place = Some(row);
        }
    }
}

impl Row {
    fn is_of(&self, space: Space, key: &[u8]) -> bool {
        self.space == space && self.key == key
    }
}

/// What is asked for by key, again and again. The rest is scanned, or kept in memory by whoever writes it.
const fn is_kept(space: Space) -> bool {
    matches!(space, Space::State | Space::Events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(key: u8, value: u8) -> Batch {
        let mut batch = Batch::new();
        batch.put(Space::State, vec![key], vec![value]);
        batch
    }

    fn missed(warm: &Warm, key: u8) -> Missed {
        warm.get(Space::State, &[key]).unwrap_err()
    }

    /// Has a key looked up, as the database has it.
    fn look_up(warm: &Warm, key: u8, value: &Value) {
        warm.read(missed(warm, key), Space::State, &[key], value);
    }

    #[test]
    fn what_was_looked_up_is_known_until_it_changes_and_then_as_it_is() {
        let warm = Warm::default();
        look_up(&warm, 1, &None);
        assert_eq!(warm.get(Space::State, &[1]).unwrap(), None);
        let writing = warm.begin(&batch(1, 7));
        missed(&warm, 1);
        warm.end(writing, true);
        assert_eq!(warm.get(Space::State, &[1]).unwrap(), Some(vec![7]));
        let writing = warm.begin(&batch(2, 7));
        warm.end(writing, true);
        missed(&warm, 2);
    }

    #[test]
    fn what_was_read_before_or_during_a_write_is_not_taken_after_it() {
        let warm = Warm::default();
        let before = missed(&warm, 1);
        let writing = warm.begin(&batch(1, 7));
        let during = missed(&warm, 1);
        warm.read(during, Space::State, &[1], &None);
        missed(&warm, 1);
        warm.end(writing, true);
        for early in [before, during] {
            warm.read(early, Space::State, &[1], &None);
            missed(&warm, 1);
        }
    }

    #[test]
    fn of_a_batch_that_writes_a_key_twice_the_last_counts() {
        let warm = Warm::default();
        look_up(&warm, 1, &None);
        let mut twice = batch(1, 7);
        twice.put(Space::State, vec![1], vec![8]);
        let writing = warm.begin(&twice);
        warm.end(writing, true);
        assert_eq!(warm.get(Space::State, &[1]).unwrap(), Some(vec![8]));
    }

    #[test]
    fn of_a_write_that_failed_or_was_not_alone_nothing_is_known() {
        let warm = Warm::default();
        look_up(&warm, 1, &None);
        let failed = warm.begin(&batch(1, 7));
        warm.end(failed, false);
        missed(&warm, 1);
        for first_ends_first in [true, false] {
            look_up(&warm, 1, &None);
            let first = warm.begin(&batch(1, 7));
            let second = warm.begin(&batch(1, 8));
            let (one, other) = if first_ends_first { (first, second) } else { (second, first) };
            warm.end(one, true);
            warm.end(other, true);
            missed(&warm, 1);
        }
    }

    #[test]
    fn of_keys_with_one_place_the_last_is_known_and_a_long_row_is_not() {
        let warm = Warm::default();
        let keys: Vec<[u8; 8]> = (0..4 * PLACES as u64).map(u64::to_be_bytes).collect();
        for key in &keys {
            let missed = warm.get(Space::Events, key).unwrap_err();
            warm.read(missed, Space::Events, key, &Some(key.to_vec()));
            assert_eq!(warm.get(Space::Events, key).unwrap().as_deref(), Some(key.as_slice()));
            warm.get(Space::State, key).unwrap_err();
        }
        let known: Vec<Value> = keys.iter().filter_map(|key| warm.get(Space::Events, key).ok()).collect();
        assert!(known.len() > PLACES / 2 && known.len() <= PLACES, "{}", known.len());
        look_up(&warm, 1, &Some(vec![0; ROW_BYTES_MAX]));
        missed(&warm, 1);
    }
}
