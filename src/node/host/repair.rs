//! What is damaged, and others can give again, is put aside at the next start and had from them.
//!
//! A fault is noted in the channel's folder before the process ends by it. The next start finds the note, and does one
//! step after the other; each is durable before the next, and a crash in between begins with the one that was not done.
//!
//! - The **archive** of blocks and certificates is put aside. The engine fetches it anew, verified by its digests.
//! - The **ledger** is put aside. The node joins by a snapshot of another member, or executes the blocks again, and takes
//!   over the custodian's rows from what was put aside, if all of them can be read. It votes as one that lost its folder:
//!   how far it had come was in there.
//!
//! Votes are neither: [`Ground`](super::ground::Ground) looks at them at every start.
//!
//! # Source
//! docs/adr/0017-storage-faults.md

use super::{
    aside::{self, exists},
    charters, ground,
};
use dmdl_audit_ledger::{
    fault::{FaultKind, Place, StorageFault},
    process,
};
use dmdl_types::id::ChannelId;
use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

/// Notes that the archive, or the ledger, is damaged.
const ARCHIVE_DAMAGED: &str = "archive.damaged";
const LEDGER_DAMAGED: &str = "ledger.damaged";
/// Says where the ledger was put that is being replaced.
const LEDGER_ASIDE: &str = "ledger.aside";

/// What has to be repaired of a channel.
#[derive(Debug)]
pub(super) struct Repair {
    dir: PathBuf,
    folder: PathBuf,
    channel: ChannelId,
}

/// Notes a fault for the next start, if there is something that it can repair.
pub(super) fn note(dir: &Path, fault: &StorageFault) {
    if fault.kind != FaultKind::Damaged {
        return;
    }
    let noted = match &fault.place {
        Place::Ledger(folder) => folder.parent().map(|channel| write(&channel.join(LEDGER_DAMAGED), "")),
        Place::Archive(partition) => {
            let folder = process::channel_of(partition).map(|channel| charters::channels(dir).join(channel));
            folder.map(|folder| write(&folder.join(ARCHIVE_DAMAGED), ""))
        }
        Place::Votes(_) | Place::Other(_) => None,
    };
    if let Some(Err(error)) = noted {
        tracing::error!(%error, "it cannot be noted what is damaged");
    }
}

impl Repair {
    pub(super) fn of(dir: &Path, channel: ChannelId) -> Self {
        Self { dir: dir.to_owned(), folder: charters::folder(dir, channel), channel }
    }

    /// Notes that the ledger is damaged.
    pub(super) fn note_ledger(&self) -> io::Result<()> {
        write(&self.folder.join(LEDGER_DAMAGED), "")
    }

    /// Puts the ledger aside, if it is damaged. Gives where a ledger lies that is being replaced.
    pub(super) fn put_ledger_aside(&self) -> io::Result<Option<PathBuf>> {
        let (damaged, aside) = (self.folder.join(LEDGER_DAMAGED), self.folder.join(LEDGER_ASIDE));
        if exists(&damaged) {
            let ledger = self.folder.join("ledger");
            // Written down before it is moved: whoever begins again must find it.
            write(&aside, &aside::place_for(&self.dir, &ledger)?.to_string_lossy())?;
            let place = PathBuf::from(fs::read_to_string(&aside)?);
            match exists(&place) {
                false => aside::put_at(&place, &ledger)?,
                // It was moved before; what is there now was to replace it, and is no better.
                true => aside::put(&self.dir, &ledger)?,
            }
            // The folder itself is how a node that has run is told from a new one.
            fs::create_dir_all(&ledger)?;
            File::open(&self.folder)?.sync_all()?;
            remove(&damaged)?;
        }
        match fs::read_to_string(&aside) {
            Ok(place) => Ok(Some(PathBuf::from(place))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Notes that the ledger is replaced.
    pub(super) fn ledger_is_replaced(&self) -> io::Result<()> {
        remove(&self.folder.join(LEDGER_ASIDE))
    }

    /// Whether the archive is damaged.
    pub(super) fn needs_archive(&self) -> bool {
        exists(&self.folder.join(ARCHIVE_DAMAGED))
    }

    /// Puts the archive aside; votes stay where they are.
    pub(super) fn put_archive_aside(&self) -> io::Result<()> {
        let engine = self.dir.join("engine");
        for partition in ground::partitions(&engine, self.channel)? {
            let name = partition?;
            if process::is_archive(&name) {
                aside::put(&self.dir, &engine.join(name))?;
            }
        }
        remove(&self.folder.join(ARCHIVE_DAMAGED))
    }
}

/// Writes a note, for good; one that is there stays.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.error),
    }
    File::open(folder)?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const CHANNEL: ChannelId = ChannelId::new([7; 32]);

    /// A node's folder with a ledger in it.
    fn node() -> (TempDir, Repair, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let repair = Repair::of(dir.path(), CHANNEL);
        let ledger = charters::folder(dir.path(), CHANNEL).join("ledger");
        fs::create_dir_all(&ledger).unwrap();
        fs::write(ledger.join("table"), "damaged").unwrap();
        (dir, repair, ledger)
    }

    fn is_empty(folder: &Path) -> bool {
        fs::read_dir(folder).unwrap().next().is_none()
    }

    #[test]
    fn a_damaged_ledger_is_put_aside_once_and_known_until_it_is_replaced() {
        let (dir, repair, ledger) = node();
        assert_eq!(repair.put_ledger_aside().unwrap(), None, "nothing is damaged");
        note(dir.path(), &StorageFault::new(FaultKind::Damaged, Place::Ledger(ledger.clone()), "a block"));
        let place = repair.put_ledger_aside().unwrap().expect("it is put aside");
        assert_eq!(fs::read(place.join("table")).unwrap(), b"damaged");
        assert!(is_empty(&ledger), "the folder itself stays");
        assert_eq!(repair.put_ledger_aside().unwrap(), Some(place.clone()), "as after a crash");
        repair.ledger_is_replaced().unwrap();
        assert_eq!(repair.put_ledger_aside().unwrap(), None);
        assert!(place.exists(), "whoever wants to look at it can");
    }

    #[test]
    fn what_was_to_replace_a_ledger_and_is_damaged_too_does_not_take_its_place() {
        let (_dir, repair, ledger) = node();
        repair.note_ledger().unwrap();
        let first = repair.put_ledger_aside().unwrap().unwrap();
        fs::write(ledger.join("table"), "half made").unwrap();
        repair.note_ledger().unwrap();
        assert_eq!(repair.put_ledger_aside().unwrap(), Some(first.clone()), "only the first has the custodian's rows");
        assert_eq!(fs::read(first.join("table")).unwrap(), b"damaged");
        assert!(is_empty(&ledger));
    }

    #[test]
    fn a_crash_before_the_ledger_was_moved_moves_it_with_the_next_start() {
        let (dir, repair, ledger) = node();
        repair.note_ledger().unwrap();
        let place = aside::place_for(dir.path(), &ledger).unwrap();
        write(&repair.folder.join(LEDGER_ASIDE), &place.to_string_lossy()).unwrap();
        assert_eq!(repair.put_ledger_aside().unwrap(), Some(place.clone()));
        assert!(place.join("table").exists() && is_empty(&ledger));
    }

    #[test]
    fn an_archive_is_put_aside_without_the_votes() {
        let (dir, repair, _) = node();
        let engine = dir.path().join("engine");
        let own = process::partitions_of(CHANNEL);
        let other = process::partitions_of(ChannelId::new([8; 32]));
        let names = [
            format!("{own}-blocks-values"),
            format!("{own}-marshal-metadata"),
            format!("{own}-votes-3"),
            format!("{other}-blocks-values"),
        ];
        for name in &names {
            fs::create_dir_all(engine.join(name)).unwrap();
        }
        assert!(!repair.needs_archive());
        note(dir.path(), &StorageFault::new(FaultKind::Damaged, Place::Archive(names[0].clone()), "a block"));
        assert!(repair.needs_archive());
        repair.put_archive_aside().unwrap();
        assert_eq!(names.map(|name| engine.join(name).exists()), [false, false, true, true]);
        assert!(!repair.needs_archive());
    }

    #[test]
    fn what_nobody_can_give_again_and_what_is_not_damaged_is_not_noted() {
        let (dir, repair, ledger) = node();
        note(dir.path(), &StorageFault::new(FaultKind::Failed, Place::Ledger(ledger), "no sync"));
        let votes = format!("{}-votes-3", process::partitions_of(CHANNEL));
        note(dir.path(), &StorageFault::new(FaultKind::Damaged, Place::Votes(votes), "a vote"));
        note(dir.path(), &StorageFault::of(FaultKind::Damaged, "the custodian's store", "a row"));
        assert_eq!((repair.put_ledger_aside().unwrap(), repair.needs_archive()), (None, false));
    }
}
