//! The store on disk: RocksDB.
//!
//! One write-ahead log serves all spaces and is synced before a commit returns, so a commit is
//! atomic over spaces. At start, a last record that a power cut tore is dropped, because its commit
//! never returned; damage anywhere before it refuses to open. A checksum guards every block that is
//! read.
//!
//! Every call blocks the thread that makes it.
//!
//! # Source
//! docs/adr/0007-rocksdb-build.md

mod committed;
mod kept;
mod warm;

pub use kept::RocksKept;

use super::{Batch, Entry, Reader, Space, Store, StoreError, check_format, prefix_end, settle_format};
use crate::fault::{FaultKind, FaultSink, Place, StorageFault};
use committed::Committed;
use dmdl_types::planted;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, Direction, ErrorKind, IteratorMode, LogLevel, Options, ReadOptions, Snapshot, WriteBatch,
    WriteBufferManager, WriteOptions, properties,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};
use warm::Warm;

const MIB: usize = 1024 * 1024;
/// Entries that are copied with one commit.
const COPIED_AT_A_TIME: usize = 1024;

/// The memory that stores may use, together, for cached blocks and unflushed writes.
///
/// Stores that are opened with clones of one budget share it.
#[derive(Clone)]
pub struct MemoryBudget {
    cache: Cache,
    buffers: WriteBufferManager,
}

impl MemoryBudget {
    /// A budget of this many bytes for cached blocks (with indexes and filters), and for writes.
    #[must_use]
    pub fn new(cache_len_bytes: usize, buffers_len_bytes: usize) -> Self {
        Self {
            cache: Cache::new_lru_cache(cache_len_bytes),
            // Over budget a flush begins; writers are not stalled, for a vote may wait on them.
            buffers: WriteBufferManager::new_write_buffer_manager(buffers_len_bytes, false),
        }
    }
}

impl Default for MemoryBudget {
    /// 16 MiB each: four nodes fit into one small machine.
    fn default() -> Self {
        Self::new(16 * MIB, 16 * MIB)
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("cached_bytes", &self.cache.get_usage())
            .field("unflushed_bytes", &self.buffers.get_usage())
            .finish()
    }
}

/// A store in a folder of its own, which no other process has open.
#[derive(Clone)]
pub struct RocksStore {
    inner: Arc<Inner>,
}

struct Inner {
    db: DB,
    path: PathBuf,
    budget: MemoryBudget,
    /// What is kept and was asked for.
    kept: Mutex<BTreeMap<u64, RocksKept>>,
    // The first failure of a commit. Later ones answer the same: RocksDB would resume by itself
    // after some errors, but what a failed sync left on disk is not known.
    failed: OnceLock<StoreError>,
    faults: OnceLock<FaultSink>,
    /// None of a store that is only read.
    committed: Option<Committed>,
    warm: Warm,
}

impl RocksStore {
    /// Opens the store in `folder`, creating it if there is none.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when it is open elsewhere, [`StoreError::Version`] when another version
    /// of the program wrote it, [`StoreError::Corrupt`] when files are missing or damaged.
    pub fn open(folder: &Path, budget: &MemoryBudget) -> Result<Self, StoreError> {
        refuse_ruins(folder)?;
        let options = database_options(budget);
        // A newer version may have more spaces; all must be opened to read which version it is.
        let mut names: BTreeSet<String> = Space::ALL.iter().map(|space| space.name().to_owned()).collect();
        if Self::is_in(folder) {
            names.extend(DB::list_cf(&options, folder).map_err(|e| on_open(&e))?);
        }
        let foreign = names.len() > Space::ALL.len() + usize::from(names.contains(DEFAULT_FAMILY));
        let families = names.into_iter().map(|name| ColumnFamilyDescriptor::new(name, family_options(budget)));
        let db = DB::open_cf_descriptors(&options, folder, families).map_err(|e| on_open(&e))?;
        let committed = Committed::open(folder, db.latest_sequence_number())?;
        let store = Self::over(db, folder, budget, Some(committed));
        settle_format(&store)?;
        if foreign {
            return Err(StoreError::Corrupt("a key space that this version does not have".into()));
        }
        Ok(store)
    }

    /// Whether there is a store in a folder.
    #[must_use]
    pub fn is_in(folder: &Path) -> bool {
        folder.join(CURRENT).exists()
    }

    /// Closes the store and moves it to another folder of the same file system, for good. One that is there may
    /// only be empty.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while something else uses this store; [`StoreError::Io`].
    pub fn move_to(self, folder: &Path) -> Result<(), StoreError> {
        let in_use = || StoreError::Locked(folder.display().to_string());
        let Inner { path, db, .. } = Arc::into_inner(self.inner).ok_or_else(in_use)?;
        drop(db);
        kept::sync_folder(&path)?;
        fs::rename(&path, folder).map_err(|e| StoreError::Io(e.to_string()))?;
        if planted!("renamed-and-not-synced") {
            return Ok(());
        }
        // Without this the name is what a power cut takes back, and with it a ledger that others rely on.
        folder.parent().map_or(Ok(()), kept::sync_folder)
    }

    fn over(db: DB, folder: &Path, budget: &MemoryBudget, committed: Option<Committed>) -> Self {
        let (path, budget, kept) = (folder.to_owned(), budget.clone(), Mutex::default());
        let (failed, faults, warm) = (OnceLock::new(), OnceLock::new(), Warm::default());
        let inner = Inner { db, path, budget, kept, failed, faults, committed, warm };
        Self { inner: Arc::new(inner) }
    }

    /// Copies a key space out of the folder of a store that is damaged, all of it or nothing; what the database there has
    /// lost of its newest commits shows nowhere else.
    ///
    /// # Errors
    /// [`CopyError`] when it cannot be read as it was written, or not be kept here.
    pub fn copy_from(&self, damaged: &Path, space: Space) -> Result<Copied, CopyError> {
        let from = kept::read_only(damaged, &self.inner.budget, kept::OPEN_FILES).map_err(CopyError::Damaged)?;
        let lacks_newest = Committed::missed(damaged, from.inner.db.latest_sequence_number());
        let lacks_newest = lacks_newest.map_err(CopyError::Damaged)?.is_some();
        let pages = |take: &mut dyn FnMut(Vec<Entry>) -> Result<(), StoreError>| {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page = from.scan(space, &[], after.as_deref(), COPIED_AT_A_TIME).map_err(CopyError::Damaged)?;
                let Some((last, _)) = page.last() else { return Ok(()) };
                after = Some(last.clone());
                take(page).map_err(CopyError::Here)?;
            }
        };
        let mut rows = 0;
        pages(&mut |page| {
            rows += page.len() as u64;
            Ok(())
        })?;
        pages(&mut |page| {
            let mut batch = Batch::new();
            page.into_iter().for_each(|(key, value)| batch.put(space, key, value));
            self.commit(batch)
        })?;
        Ok(Copied { rows, lacks_newest })
    }

    /// Tells of faults from now on, before whoever asked gets the error.
    pub fn tell_faults(&self, faults: FaultSink) {
        // Set once, by whoever opened it.
        let _ = self.inner.faults.set(faults);
    }

    /// Looks whether something failed that the database does by itself, and tells of it: it would show only with the
    /// next commit.
    pub fn look_for_faults(&self) {
        if let Ok(Some(1..)) = self.inner.db.property_int_value(properties::BACKGROUND_ERRORS) {
            // Nothing is written, but what stopped the database is given as the reason.
            let why = self.inner.db.write(WriteBatch::default()).map_err(|error| on_commit(&error));
            let (kind, why) = match &why {
                Err(error) => (FaultKind::from(error), error.to_string()),
                Ok(()) => (FaultKind::Failed, "the file `LOG` there says why".to_owned()),
            };
            self.tell(kind, format_args!("a flush or compaction failed: {why}"));
        }
    }

    /// Tells of an error after which nothing here can be relied upon.
    fn met(&self, error: StoreError) -> StoreError {
        if error.is_fatal() {
            self.tell(FaultKind::from(&error), &error);
        }
        error
    }

    fn tell(&self, kind: FaultKind, reason: impl fmt::Display) {
        if let Some(faults) = self.inner.faults.get() {
            faults.tell(&StorageFault::new(kind, Place::Ledger(self.inner.path.clone()), reason));
        }
    }

    fn family(&self, space: Space) -> Result<&ColumnFamily, StoreError> {
        let missing = || StoreError::Corrupt(format!("no key space `{}`", space.name()));
        self.inner.db.cf_handle(space.name()).ok_or_else(missing)
    }
}

impl fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RocksStore({})", self.inner.path.display())
    }
}

impl Reader for RocksStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let missed = match self.inner.warm.get(space, key) {
            Ok(value) => return Ok(value),
            Err(missed) => missed,
        };
        let value = self.inner.db.get_cf(self.family(space)?, key).map_err(|e| self.met(on_read(&e)))?;
        self.inner.warm.read(missed, space, key, &value);
        Ok(value)
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let start = scan_start(prefix, after);
        let mode = IteratorMode::From(&start, Direction::Forward);
        let entries = self.inner.db.iterator_cf_opt(self.family(space)?, scan_options(prefix), mode);
        page(entries, limit).map_err(|error| self.met(error))
    }
}

impl Store for RocksStore {
    type Snapshot<'a> = RocksSnapshot<'a>;
    type Kept = RocksKept;

    fn snapshot(&self) -> RocksSnapshot<'_> {
        RocksSnapshot { store: self, snapshot: self.inner.db.snapshot() }
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        if let Some(error) = self.inner.failed.get() {
            return Err(error.clone());
        }
        let mut write = WriteBatch::default();
        for change in &batch.0 {
            let family = self.family(change.space)?;
            match &change.value {
                Some(value) => write.put_cf(family, &change.key, value),
                None => write.delete_cf(family, &change.key),
            }
        }
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        let writing = self.inner.warm.begin(&batch);
        let written = self.inner.db.write_opt(write, &synced);
        self.inner.warm.end(writing, written.is_ok());
        written.map_err(|error| {
            let error = on_commit(&error);
            let error = self.inner.failed.get_or_init(|| error).clone();
            // Here a full disk is as bad: the store takes nothing more.
            self.tell(FaultKind::from(&error), &error);
            error
        })?;
        match &self.inner.committed {
            Some(committed) => committed.note(self.inner.db.latest_sequence_number()).map_err(|error| self.met(error)),
            None => Ok(()),
        }
    }

    fn keep(&self, number: u64) -> Result<(), StoreError> {
        kept::keep(&self.inner, number).map_err(|error| self.met(error))
    }

    fn kept(&self, number: u64) -> Result<Option<RocksKept>, StoreError> {
        kept::open(&self.inner, number)
    }

    fn prove(&self, number: u64, proof: &[u8]) -> Result<(), StoreError> {
        kept::prove(&self.inner, number, proof).map_err(|error| self.met(error))
    }

    fn proof(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        kept::proof(&kept::place(&self.inner.path, number))
    }

    fn keep_only(&self, numbers: &[u64]) -> Result<(), StoreError> {
        kept::keep_only(&self.inner, numbers).map_err(|error| self.met(error))
    }
}

/// Why nothing was copied out of a damaged store.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It cannot be read as it was written.
    #[error(transparent)]
    Damaged(StoreError),
    /// It cannot be kept here.
    #[error(transparent)]
    Here(StoreError),
}

/// What was copied out of a damaged store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How many entries there were.
    pub rows: u64,
    /// Whether commits were lost there that had been durable: what they put is not among the entries.
    pub lacks_newest: bool,
}

/// A [`RocksStore`] at one moment.
///
/// It keeps what was overwritten since from being compacted away: a view for one answer, not for
/// hours.
pub struct RocksSnapshot<'a> {
    store: &'a RocksStore,
    snapshot: Snapshot<'a>,
}

impl fmt::Debug for RocksSnapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RocksSnapshot({})", self.store.inner.path.display())
    }
}

impl Reader for RocksSnapshot<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.snapshot.get_cf(self.store.family(space)?, key).map_err(|e| self.store.met(on_read(&e)))
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let start = scan_start(prefix, after);
        let mode = IteratorMode::From(&start, Direction::Forward);
        let entries = self.snapshot.iterator_cf_opt(self.store.family(space)?, scan_options(prefix), mode);
        page(entries, limit).map_err(|error| self.store.met(error))
    }
}

/// The file that says which manifest is a database's.
const CURRENT: &str = "CURRENT";
/// RocksDB creates this column family by itself; it stays empty.
const DEFAULT_FAMILY: &str = "default";

fn database_options(budget: &MemoryBudget) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // Not point-in-time: that would answer damage in the middle of the log by silently going back
    // to before it. Not absolute consistency: that would refuse every start after a power cut.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // A closed log that is missing or shorter than it was is damage, not a torn tail.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_write_buffer_manager(&budget.buffers);
    // Bounds what a start must replay.
    options.set_max_total_wal_size(64 * MIB as u64);
    options.set_max_open_files(256);
    // An idle node is idle: no periodic statistics.
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(MIB);
    options.set_keep_log_file_num(2);
    options
}

fn family_options(budget: &MemoryBudget) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&budget.cache);
    // Most reads ask for one key, and many of them for a key that does not exist.
    blocks.set_bloom_filter(10.0, false);
    // Otherwise indexes and filters would grow with the ledger, outside the budget.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // Whole, that of a large file does not fit into a shard of the cache: it would be read again for each key.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_pin_top_level_index_and_filter(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(4 * MIB);
    options.set_max_write_buffer_number(3);
    // For what is not in a table and not on the disk either.
    options.set_memtable_prefix_bloom_ratio(0.05);
    options.set_memtable_whole_key_filtering(true);
    options
}

/// Refuses a folder that holds parts of a store but not its beginning: RocksDB would start afresh
/// over them, and what was lost would look like a new node.
fn refuse_ruins(folder: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::Io(error.to_string())),
    };
    if RocksStore::is_in(folder) {
        return Ok(());
    }
    for entry in entries {
        let name = entry.map_err(|e| StoreError::Io(e.to_string()))?.file_name();
        let name = name.to_string_lossy();
        // A manifest alone is a creation that a crash cut short.
        if name.ends_with(".sst") || name.ends_with(".log") {
            return Err(StoreError::Corrupt(format!("`{name}` exists, but `CURRENT` does not")));
        }
    }
    Ok(())
}

fn scan_start(prefix: &[u8], after: Option<&[u8]>) -> Vec<u8> {
    match after {
        // The least key greater than `after`.
        Some(after) if after >= prefix => [after, &[0]].concat(),
        _ => prefix.to_vec(),
    }
}

fn scan_options(prefix: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    if let Some(end) = prefix_end(prefix) {
        options.set_iterate_upper_bound(end);
    }
    options
}

fn page(
    entries: impl Iterator<Item = Result<(Box<[u8]>, Box<[u8]>), rocksdb::Error>>,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    entries
        .take(limit)
        .map(|entry| entry.map(|(key, value)| (key.into_vec(), value.into_vec())).map_err(|e| on_read(&e)))
        .collect()
}

fn on_open(error: &rocksdb::Error) -> StoreError {
    let text = error.as_ref();
    // "While lock file" by another process, "lock hold by current process" by this one.
    if error.kind() == ErrorKind::IOError && text.contains("LOCK") && text.contains("lock ") {
        return StoreError::Locked(text.to_owned());
    }
    on_read(error)
}

fn on_read(error: &rocksdb::Error) -> StoreError {
    let text = error.as_ref().to_owned();
    match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt(text),
        ErrorKind::IOError if is_full(&text) => StoreError::Full(text),
        // A table file that the manifest names is not there.
        ErrorKind::IOError if text.contains("No such file") => StoreError::Corrupt(text),
        _ => StoreError::Io(text),
    }
}

fn on_commit(error: &rocksdb::Error) -> StoreError {
    let text = error.as_ref().to_owned();
    match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt(text),
        ErrorKind::IOError if is_full(&text) => StoreError::Full(text),
        _ => StoreError::Sync(text),
    }
}

fn is_full(text: &str) -> bool {
    text.contains("No space left on device")
}
