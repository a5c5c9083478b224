//! A store as it was, kept in a folder of its own within the store's: hard links to files that never change.
//!
//! What survives a crash: everything, once [`keep`] returned. What may be left of a crash in between is removed by the
//! next [`keep_only`], for it is under no number that anybody asks for.
//!
//! Nothing in such a folder changes, so that another process may read it beside the one that has the store open; RocksDB
//! writes nothing and takes no lock where it only reads.

use super::{
    CURRENT, Entry, Inner, MemoryBudget, Reader, RocksStore, Space, StoreError, check_format, database_options,
    family_options, on_open, on_read,
};
use rocksdb::{ColumnFamilyDescriptor, DB, checkpoint::Checkpoint};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::PoisonError,
};

/// The folder within the store's.
const FOLDER: &str = "kept";
/// The file of a proof, beside those of the database that it is of.
const PROOF: &str = "proof";
/// A proof under its first name, until it is whole.
const PROOF_PART: &str = "proof.part";
/// Table files that are open at a time, unless all are.
pub(super) const OPEN_FILES: i32 = 256;

/// A [`RocksStore`] as it was when it was kept.
#[derive(Clone, Debug)]
pub struct RocksKept(RocksStore);

impl RocksKept {
    /// The newest of what the store in `folder` keeps and has a proof of, with the proof.
    ///
    /// The store may be open elsewhere, and let go of it meanwhile: what was opened stays readable.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read, or is of another version of the program.
    pub fn newest_proved(folder: &Path) -> Result<Option<(Self, Vec<u8>)>, StoreError> {
        let mut passed = Vec::new();
        loop {
            let newest = numbers(folder)?.into_iter().filter(|number| !passed.contains(number)).max();
            let Some(number) = newest else { return Ok(None) };
            passed.push(number);
            let folder = place(folder, number);
            let Some(proof) = proof(&folder)? else { continue };
            match Self::open(&folder, -1) {
                Ok(kept) if check_format(&kept)? => return Ok(Some((kept, proof))),
                Ok(_) => return Err(StoreError::Corrupt("data without a format marker".into())),
                // It was let go of while it was opened.
                Err(_) if !folder.join(CURRENT).exists() => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn open(folder: &Path, open_files: i32) -> Result<Self, StoreError> {
        read_only(folder, &MemoryBudget::default(), open_files).map(Self)
    }
}

impl Reader for RocksKept {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(space, key)
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.0.scan(space, prefix, after, limit)
    }
}

pub(super) fn keep(store: &Inner, number: u64) -> Result<(), StoreError> {
    let folder = store.path.join(FOLDER);
    fs::create_dir_all(&folder).map_err(unusable)?;
    sync_folder(&store.path)?;
    let checkpoint = Checkpoint::new(&store.db).map_err(|e| on_read(&e))?;
    // Made under another name and renamed once it is whole; what it holds is synced, but not the name.
    checkpoint.create_checkpoint(place(&store.path, number)).map_err(|e| on_read(&e))?;
    sync_folder(&folder)
}

pub(super) fn open(store: &Inner, number: u64) -> Result<Option<RocksKept>, StoreError> {
    let mut opened = store.kept.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kept) = opened.get(&number) {
        return Ok(Some(kept.clone()));
    }
    let folder = place(&store.path, number);
    if !folder.join(CURRENT).exists() {
        return Ok(None);
    }
    let kept = RocksKept(read_only(&folder, &store.budget, OPEN_FILES)?);
    opened.insert(number, kept.clone());
    Ok(Some(kept))
}

pub(super) fn prove(store: &Inner, number: u64, proof: &[u8]) -> Result<(), StoreError> {
    let folder = place(&store.path, number);
    if !folder.join(CURRENT).exists() {
        return Ok(());
    }
    let part = folder.join(PROOF_PART);
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(proof)?;
        file.sync_all()?;
        fs::rename(&part, folder.join(PROOF))?;
        File::open(&folder)?.sync_all()
    };
    match write() {
        // It was let go of meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        written => written.map_err(unusable),
    }
}

pub(super) fn proof(folder: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(folder.join(PROOF)) {
        Ok(proof) => Ok(Some(proof)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(error)),
    }
}

pub(super) fn keep_only(store: &Inner, numbers: &[u64]) -> Result<(), StoreError> {
    store.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|number, _| numbers.contains(number));
    let folders = match fs::read_dir(store.path.join(FOLDER)) {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unusable(error)),
    };
    let wanted: Vec<PathBuf> = numbers.iter().map(|number| place(&store.path, *number)).collect();
    for folder in folders {
        let folder = folder.map_err(unusable)?.path();
        if !wanted.contains(&folder) {
            fs::remove_dir_all(folder).map_err(unusable)?;
        }
    }
    Ok(())
}

/// Makes the names in a folder last.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unusable)
}

pub(super) fn place(store: &Path, number: u64) -> PathBuf {
    store.join(FOLDER).join(number.to_string())
}

/// What the store in a folder keeps.
fn numbers(store: &Path) -> Result<Vec<u64>, StoreError> {
    let folders = match fs::read_dir(store.join(FOLDER)) {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unusable(error)),
    };
    let mut numbers = Vec::new();
    for folder in folders {
        let name = folder.map_err(unusable)?.file_name();
        // What a crash left half made has another name.
        numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    Ok(numbers)
}

pub(super) fn read_only(folder: &Path, budget: &MemoryBudget, open_files: i32) -> Result<RocksStore, StoreError> {
    let mut options = database_options(budget);
    // All of them, where they may lose their names meanwhile.
    options.set_max_open_files(open_files);
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    let families = Space::ALL.map(|space| ColumnFamilyDescriptor::new(space.name(), family_options(budget)));
    let db = DB::open_cf_descriptors_read_only(&options, folder, families, false).map_err(|e| on_open(&e))?;
    Ok(RocksStore::over(db, folder, budget, None))
}

fn unusable(error: io::Error) -> StoreError {
    let text = error.to_string();
    if error.kind() == io::ErrorKind::StorageFull { StoreError::Full(text) } else { StoreError::Io(text) }
}
