//! A store as it was, kept in a folder of its own within the store's: hard links to files that never change.
//!
//! What survives a crash: everything, once [`keep`] returned. What may be left of a crash in between is removed by the
//! next [`keep_only`], for it is under no number that anybody asks for.

use super::{
    CURRENT, Entry, Inner, MemoryBudget, Reader, RocksStore, Space, StoreError, database_options, family_options,
    on_open, on_read,
};
use rocksdb::{ColumnFamilyDescriptor, DB, checkpoint::Checkpoint};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::PoisonError,
};

/// The folder within the store's.
const FOLDER: &str = "kept";

/// A [`RocksStore`] as it was when it was kept.
#[derive(Clone, Debug)]
pub struct RocksKept(RocksStore);

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
    let checkpoint = Checkpoint::new(&store.db).map_err(|e| on_read(&e))?;
    // Made under another name and renamed once it is whole; what it holds is synced, but not the name.
    checkpoint.create_checkpoint(place(store, number)).map_err(|e| on_read(&e))?;
    sync_folder(&folder)
}

pub(super) fn open(store: &Inner, number: u64) -> Result<Option<RocksKept>, StoreError> {
    let mut opened = store.kept.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kept) = opened.get(&number) {
        return Ok(Some(kept.clone()));
    }
    let folder = place(store, number);
    if !folder.join(CURRENT).exists() {
        return Ok(None);
    }
    let kept = RocksKept(read_only(&folder, &store.budget)?);
    opened.insert(number, kept.clone());
    Ok(Some(kept))
}

pub(super) fn keep_only(store: &Inner, numbers: &[u64]) -> Result<(), StoreError> {
    store.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|number, _| numbers.contains(number));
    let folders = match fs::read_dir(store.path.join(FOLDER)) {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unusable(error)),
    };
    let wanted: Vec<PathBuf> = numbers.iter().map(|number| place(store, *number)).collect();
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

fn place(store: &Inner, number: u64) -> PathBuf {
    store.path.join(FOLDER).join(number.to_string())
}

fn read_only(folder: &Path, budget: &MemoryBudget) -> Result<RocksStore, StoreError> {
    let mut options = database_options(budget);
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    let families = Space::ALL.map(|space| ColumnFamilyDescriptor::new(space.name(), family_options(budget)));
    let db = DB::open_cf_descriptors_read_only(&options, folder, families, false).map_err(|e| on_open(&e))?;
    Ok(RocksStore::over(db, folder, budget))
}

fn unusable(error: io::Error) -> StoreError {
    StoreError::Io(error.to_string())
}
