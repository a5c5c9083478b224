//! How far a store was, once its last commit was durable.
//!
//! A record at the end of the database's log that cannot be read is taken for one that a power cut tore, and dropped with
//! all that follow. If it was durable, that forgets commits, and nothing tells. This note does: a record that was torn is
//! behind it.
//!
//! What survives a crash of the process: every note. What a power cut takes: the newest ones, which are not synced, since a
//! commit must not wait twice. An older note says less, and is never wrong: the number only grows.

use super::StoreError;
use commonware_cryptography::Crc32;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

/// The file, in the store's folder.
const FILE: &str = "COMMITTED";

/// The note of a store.
///
/// # Encoding
/// `sequence number u64 ‖ its checksum u32`, big-endian. Anything else says nothing.
#[derive(Debug)]
pub(super) struct Committed(File);

impl Committed {
    /// Compares the note in a folder with what the database there has, and goes on from that.
    pub(super) fn open(folder: &Path, found: u64) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(|error| failed(&error))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        if let Some(noted) = is_behind(found, &bytes) {
            return Err(StoreError::Corrupt(format!(
                "the log of the database ends at commit {found}, and {noted} was durable"
            )));
        }
        let committed = Self(file);
        committed.note(found)?;
        Ok(committed)
    }

    /// What was durable in a folder whose database ends before that; none where it has all that is known of.
    pub(super) fn missed(folder: &Path, found: u64) -> Result<Option<u64>, StoreError> {
        match fs::read(folder.join(FILE)) {
            Ok(bytes) => Ok(is_behind(found, &bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Notes that all up to here is durable.
    pub(super) fn note(&self, sequence: u64) -> Result<(), StoreError> {
        self.0.write_all_at(&text(sequence), 0).map_err(|error| failed(&error))
    }
}

fn text(sequence: u64) -> Vec<u8> {
    let number = sequence.to_be_bytes();
    [number.as_slice(), &Crc32::checksum(&number).to_be_bytes()].concat()
}

/// The noted number, if it is beyond what was found.
fn is_behind(found: u64, note: &[u8]) -> Option<u64> {
    read(note).filter(|noted| *noted > found)
}

fn read(bytes: &[u8]) -> Option<u64> {
    let number = *bytes.first_chunk::<8>()?;
    let sequence = u64::from_be_bytes(number);
    (bytes == text(sequence)).then_some(sequence)
}

fn failed(error: &io::Error) -> StoreError {
    let text = format!("`{FILE}`: {error}");
    if error.kind() == ErrorKind::StorageFull { StoreError::Full(text) } else { StoreError::Io(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Folder;

    #[test]
    fn commits_that_are_gone_are_missed_and_those_that_were_not_noted_are_not() {
        let dir = Folder::new();
        Committed::open(dir.path(), 5).unwrap().note(7).unwrap();
        let missed = Committed::open(dir.path(), 6).unwrap_err();
        assert!(matches!(&missed, StoreError::Corrupt(text) if text.contains("ends at commit 6, and 7 was durable")));
        let looked = |found| Committed::missed(dir.path(), found).unwrap();
        assert_eq!([6, 7, 8].map(looked), [Some(7), None, None], "looking changes nothing");
        // As after a power cut: the log has more than was noted.
        Committed::open(dir.path(), 9).unwrap();
        assert!(Committed::open(dir.path(), 8).is_err(), "what was found is noted");
    }

    #[test]
    fn a_note_that_is_damaged_says_nothing() {
        let dir = Folder::new();
        Committed::open(dir.path(), 7).unwrap();
        let whole = std::fs::read(dir.path().join(FILE)).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(dir.path().join(FILE), &flipped).unwrap();
            Committed::open(dir.path(), 6).unwrap();
        }
        std::fs::write(dir.path().join(FILE), &whole[..5]).unwrap();
        Committed::open(dir.path(), 3).unwrap();
    }
}
