//! What a node keeps beside the ledger: remarks and titles, one file each, which go when they are told to.
//!
//! A database that keeps old versions of its files never forgets; these are files of their own, replaced or
//! unlinked. A title is text in clear; a remark is sealed, and nobody here can read it.
//!
//! What survives a crash: everything whose `keep_*` returned `Ok`. What a caller may repeat: every call.
//!
//! # Source
//! docs/spec/remark.md; docs/adr/0009-remarks.md

use super::{FULL, lock, message::Refused};
use dmdl_audit_ledger::fault::{FaultKind, FaultSink, StorageFault};
use dmdl_types::{
    codec,
    id::{RecordId, TransactionId},
    limits,
    sign::{Domain, PublicKey},
    title::{SignedTitle, Title},
};
use dmdl_vault::remark::{REMARK_BYTES_MAX, Remark, SignedRemark};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    ops::Bound,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// Largest encoded title.
const TITLE_BYTES_MAX: usize = 32 + 32 + 8 + 4 + limits::TITLE_BYTES + 64;

/// A node's remarks and titles.
#[derive(Debug)]
pub struct Beside {
    remarks: Files,
    titles: Files,
    /// All titles: the catalogue is searched by them.
    known: Mutex<BTreeMap<RecordId, SignedTitle>>,
    /// One change at a time: what is kept decides what may replace it.
    turn: Mutex<()>,
    faults: FaultSink,
}

impl Beside {
    /// Opens the folder, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn in_folder(folder: &Path, domain: &Domain, faults: FaultSink) -> io::Result<Self> {
        let (remarks, titles) = (folder.join("remarks"), folder.join("titles"));
        fs::create_dir_all(&remarks)?;
        fs::create_dir_all(&titles)?;
        File::open(folder)?.sync_all()?;
        File::open(folder.parent().unwrap_or(folder))?.sync_all()?;
        let (remarks, titles) = (Files::Folder(remarks), Files::Folder(titles));
        remarks.sweep()?;
        titles.sweep()?;
        let mut known = BTreeMap::new();
        for bytes in titles.all()? {
            match title_in(&bytes, domain) {
                Some(title) => drop(known.insert(title.record(), title)),
                None => tracing::warn!("a title beside the ledger is damaged"),
            }
        }
        Ok(Self { remarks, titles, known: Mutex::new(known), turn: Mutex::default(), faults })
    }

    /// Keeps everything in memory, for simulations.
    #[must_use]
    pub fn in_memory() -> Self {
        let (remarks, titles) = (Files::Memory(Mutex::default()), Files::Memory(Mutex::default()));
        Self { remarks, titles, known: Mutex::default(), turn: Mutex::default(), faults: FaultSink::nobody() }
    }

    /// The remark on a transaction; one that is damaged is like none.
    pub(super) fn remark(&self, id: TransactionId, domain: &Domain) -> Result<Option<SignedRemark>, Refused> {
        let Some(bytes) = self.remarks.get(id.as_bytes()).map_err(|error| self.failed(&error))? else {
            return Ok(None);
        };
        let remark = remark_in(&bytes, domain).filter(|remark| remark.transaction() == id);
        if remark.is_none() {
            tracing::warn!(transaction = %id, "a remark beside the ledger is damaged");
        }
        Ok(remark)
    }

    /// Keeps a remark: the first one of a transaction, until its author takes it back for ever.
    pub(super) fn keep_remark(&self, remark: &SignedRemark, domain: &Domain) -> Result<(), Refused> {
        let _turn = lock(&self.turn);
        match self.remark(remark.transaction(), domain)? {
            Some(kept) if kept == *remark || (kept.is_withdrawn() && remark.is_withdrawn()) => return Ok(()),
            Some(kept) if kept.is_withdrawn() => {
                return Err(Refused::new("remark_withdrawn", "the remark was taken back, and does not come again"));
            }
            Some(_) if !remark.is_withdrawn() => {
                return Err(Refused::new("remark_exists", "there is another remark on this transaction"));
            }
            _ => {}
        }
        let bytes = codec::encode(remark.remark());
        self.remarks.put(remark.transaction().as_bytes(), &bytes).map_err(|error| self.failed(&error))
    }

    /// Forgets all remarks but that some were taken back: of a folder from before, nobody knows which were taken back since.
    pub(super) fn forget_texts(&self, domain: &Domain) -> io::Result<()> {
        let _turn = lock(&self.turn);
        self.remarks.retain(|bytes| remark_in(bytes, domain).is_some_and(|remark| remark.is_withdrawn()))
    }

    /// The title that somebody gave to a record last, or that they took it back.
    pub(super) fn title(&self, record: RecordId, author: PublicKey) -> Option<SignedTitle> {
        lock(&self.known).get(&record).filter(|title| title.author() == author).cloned()
    }

    /// Keeps a title unless the one that is there counts more, and gives the one that is kept then.
    pub(super) fn keep_title(&self, title: SignedTitle) -> Result<SignedTitle, Refused> {
        let _turn = lock(&self.turn);
        let kept = lock(&self.known).get(&title.record()).cloned();
        if let Some(kept) = kept.filter(|kept| kept.author() == title.author() && !title.supersedes(kept)) {
            return Ok(kept);
        }
        let bytes = codec::encode(title.title());
        self.titles.put(title.record().as_bytes(), &bytes).map_err(|error| self.failed(&error))?;
        lock(&self.known).insert(title.record(), title.clone());
        Ok(title)
    }

    /// The records that have a title.
    pub(super) fn titled(&self) -> Vec<RecordId> {
        lock(&self.known).keys().copied().collect()
    }

    /// At most `limit` titles, taken back or not, by rising record after one.
    pub(super) fn titles_after(&self, after: Option<RecordId>, limit: usize) -> Vec<SignedTitle> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        lock(&self.known).range((first, Bound::Unbounded)).take(limit).map(|(_, title)| title.clone()).collect()
    }

    /// Forgets the title of a record, unless it is by somebody who may give it one.
    pub(super) fn forget_title(&self, record: RecordId, may: impl FnOnce(PublicKey) -> bool) {
        let _turn = lock(&self.turn);
        let author = lock(&self.known).get(&record).map(SignedTitle::author);
        if author.is_some_and(may) {
            return;
        }
        lock(&self.known).remove(&record);
        // A damaged one is not known, and goes all the same.
        if let Err(error) = self.titles.remove(record.as_bytes()) {
            // It is not shown any more; the next start finds it again and tries once more.
            self.failed(&error);
        }
    }

    /// What is written here is a whole file or none, so a full disk spoils nothing; any other error is one of the disk
    /// that the votes are on.
    fn failed(&self, error: &io::Error) -> Refused {
        tracing::error!(%error, "what is beside the ledger cannot be read or kept");
        if error.kind() == io::ErrorKind::StorageFull {
            return Refused::new("storage_full", FULL);
        }
        self.faults.tell(&StorageFault::of(FaultKind::Failed, "remarks and titles", error));
        Refused::new("unavailable", "the node cannot keep or read it at the moment; try again")
    }
}

/// The remark in a file, unless that is damaged.
fn remark_in(bytes: &[u8], domain: &Domain) -> Option<SignedRemark> {
    codec::decode::<Remark>(bytes, REMARK_BYTES_MAX).ok()?.verify(domain).ok()
}

/// The title in a file, unless that is damaged.
fn title_in(bytes: &[u8], domain: &Domain) -> Option<SignedTitle> {
    codec::decode::<Title>(bytes, TITLE_BYTES_MAX).ok()?.verify(domain).ok()
}

/// Small files by 32-byte names.
#[derive(Debug)]
enum Files {
    Folder(PathBuf),
    Memory(Mutex<BTreeMap<[u8; 32], Vec<u8>>>),
}

impl Files {
    fn get(&self, name: &[u8; 32]) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Memory(files) => Ok(lock(files).get(name).cloned()),
            Self::Folder(folder) => match fs::read(path(folder, name)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    fn put(&self, name: &[u8; 32], bytes: &[u8]) -> io::Result<()> {
        let folder = match self {
            Self::Memory(files) => {
                lock(files).insert(*name, bytes.to_vec());
                return Ok(());
            }
            Self::Folder(folder) => folder,
        };
        let path = path(folder, name);
        let shelf = path.parent().unwrap_or(folder);
        fs::create_dir_all(shelf)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        File::open(shelf)?.sync_all()?;
        File::open(folder)?.sync_all()
    }

    fn remove(&self, name: &[u8; 32]) -> io::Result<()> {
        match self {
            Self::Memory(files) => {
                lock(files).remove(name);
                Ok(())
            }
            Self::Folder(folder) => {
                let path = path(folder, name);
                match fs::remove_file(&path) {
                    Ok(()) => File::open(path.parent().unwrap_or(folder))?.sync_all(),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Removes those whose contents are not to stay.
    fn retain(&self, stays: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        let folder = match self {
            Self::Memory(files) => {
                lock(files).retain(|_, bytes| stays(bytes));
                return Ok(());
            }
            Self::Folder(folder) => folder,
        };
        for shelf in fs::read_dir(folder)? {
            let shelf = shelf?.path();
            for file in fs::read_dir(&shelf)? {
                let file = file?.path();
                if !stays(&fs::read(&file)?) {
                    fs::remove_file(file)?;
                }
            }
            File::open(shelf)?.sync_all()?;
        }
        Ok(())
    }

    /// Removes what a crash left of files that were not yet kept.
    fn sweep(&self) -> io::Result<()> {
        let Self::Folder(folder) = self else { return Ok(()) };
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// The contents of all files.
    fn all(&self) -> io::Result<Vec<Vec<u8>>> {
        let folder = match self {
            Self::Memory(files) => return Ok(lock(files).values().cloned().collect()),
            Self::Folder(folder) => folder,
        };
        let mut all = Vec::new();
        for shelf in fs::read_dir(folder)? {
            for file in fs::read_dir(shelf?.path())? {
                all.push(fs::read(file?.path())?);
            }
        }
        Ok(all)
    }
}

/// One shelf for each first byte, so that no folder grows too long.
fn path(folder: &Path, name: &[u8; 32]) -> PathBuf {
    let name = hex::encode(name);
    folder.join(name.get(..2).unwrap_or_default()).join(name)
}

#[cfg(test)]
mod tests;
