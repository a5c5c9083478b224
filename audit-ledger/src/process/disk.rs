//! The files of the engine, watched.
//!
//! The engine answers a fault of the disk with a panic in whichever task met it, and its other tasks go on until that is
//! noticed. So it never gets to see one: a [`Disk`] tells of the fault where it is met, and the engine waits for an
//! answer that does not come. It also notes how long each file of votes is once a vote in it is durable: see
//! [`marks`](super::marks).

use super::marks::Marks;
use crate::{
    fault::{FaultKind, FaultSink, Place, StorageFault},
    mdca::{is_archive, is_of_votes},
};
use commonware_runtime::{
    Blob, BlobVersion, Error, Handle, IoBufs, IoBufsMut, ReadOptions, Storage, WriteOptions, tokio::Context,
};
use dmdl_types::planted;
use futures::{Stream, StreamExt as _};
use std::{
    fmt,
    future::pending,
    io::{self, ErrorKind},
    ops::RangeInclusive,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// A blob of the runtime.
type Inner = <Context as Storage>::Blob;

/// Watches the engine's files. Clones watch together.
#[derive(Clone)]
pub struct Disk(Arc<Watch>);

struct Watch {
    faults: FaultSink,
    marks: Mutex<Marks>,
    before_epochs: OnceLock<Box<BeforeEpochs>>,
}

/// What is done before the first vote of an epoch leaves.
type BeforeEpochs = dyn Fn(&str) -> io::Result<()> + Send + Sync;

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    /// Watches files whose marks are in the file `marks`, and tells `faults`.
    ///
    /// # Errors
    /// When the file of marks cannot be read or written.
    pub fn watch(marks: &Path, faults: FaultSink) -> io::Result<Self> {
        let marks = Mutex::new(Marks::open(marks)?);
        Ok(Self(Arc::new(Watch { faults, marks, before_epochs: OnceLock::new() })))
    }

    /// Has something done in each epoch before the first vote in it leaves, but for an epoch in which a process before this
    /// one has voted; it is told the name of the partition that the votes will be in.
    pub fn before_epochs(&self, act: impl Fn(&str) -> io::Result<()> + Send + Sync + 'static) {
        // Set once, by whoever starts the node.
        let _ = self.0.before_epochs.set(Box::new(act));
    }

    /// The partitions of votes in the engine's folder that lack a vote which was durable once, or may lack one since their
    /// marks are damaged or missing, and what is wrong with each. To be asked before the engine opens any of them, since it
    /// cuts off what it cannot read.
    ///
    /// # Errors
    /// When a file cannot be read, or the marks cannot be written.
    pub fn hurt_votes(&self, engine: &Path) -> io::Result<Vec<(String, String)>> {
        self.marks().hurt(engine)
    }

    /// Forgets what was in a partition of votes that is gone.
    ///
    /// # Errors
    /// When the file of marks cannot be written.
    pub fn forget_votes(&self, partition: &str) -> io::Result<()> {
        self.marks().forget(partition, None)
    }

    pub(super) async fn open(
        &self,
        storage: &Context,
        partition: &str,
        name: &[u8],
        versions: RangeInclusive<BlobVersion>,
    ) -> Result<(WatchedBlob, u64, BlobVersion), Error> {
        let opened = storage.open_versioned(partition, name, versions).await;
        let (inner, len, version) = self.checked(opened, || place(partition, name)).await?;
        let (partition, name) = (partition.to_owned(), name.to_vec());
        let votes = is_of_votes(&partition).then(Mutex::default);
        let file = Arc::new(Watched { disk: self.clone(), partition, name, votes });
        Ok((WatchedBlob { inner, file }, len, version))
    }

    pub(super) async fn remove(&self, storage: &Context, partition: &str, name: Option<&[u8]>) -> Result<(), Error> {
        let removed = storage.remove(partition, name).await;
        self.checked(removed, || place(partition, name.unwrap_or_default())).await?;
        if is_of_votes(partition) {
            let forgotten = self.marks().forget(partition, name);
            self.checked(forgotten.map_err(Error::from), marks).await?;
        }
        Ok(())
    }

    pub(super) async fn scan(&self, storage: &Context, partition: &str) -> Result<Vec<Vec<u8>>, Error> {
        self.checked(storage.scan(partition).await, || place(partition, &[])).await
    }

    /// Gives on what is no fault; of a fault it tells, and does not return.
    async fn checked<T>(&self, result: Result<T, Error>, place: impl FnOnce() -> Place) -> Result<T, Error> {
        match result {
            Err(error) => match kind_of(&error) {
                Some(kind) => {
                    self.0.faults.tell(&StorageFault::new(kind, place(), &error));
                    pending().await
                }
                None => Err(error),
            },
            Ok(value) => Ok(value),
        }
    }

    /// Does what is to be done before the first vote of an epoch.
    async fn begin_epoch(&self, partition: &str) -> Result<(), Error> {
        let Some(act) = self.0.before_epochs.get() else { return Ok(()) };
        let done = act(partition).map_err(Error::from);
        self.checked(done, || Place::Other("what the folder says of itself".to_owned())).await
    }

    // A poisoned lock means that a thread panicked while it held it; the marks are consistent between statements.
    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.0.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the marks themselves are.
fn marks() -> Place {
    Place::Other("the marks of votes".to_owned())
}

/// Where a file of the engine is, or a partition, if it has no name.
fn place(partition: &str, name: &[u8]) -> Place {
    let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    let file = if name.is_empty() { partition.to_owned() } else { format!("{partition}/{name}") };
    if is_of_votes(partition) {
        Place::Votes(file)
    } else if is_archive(partition) {
        Place::Archive(file)
    } else {
        // What was heard goes with the next start.
        Place::Other(format!("engine/{file}"))
    }
}

/// What kind of fault an error is; none for what the engine expects and deals with.
fn kind_of(error: &Error) -> Option<FaultKind> {
    match error {
        Error::Io(source) => of_system(source),
        Error::BlobOpenFailed(_, _, source)
        | Error::BlobResizeFailed(_, _, source)
        | Error::BlobSyncFailed(_, _, source) => of_system(source).or(Some(FaultKind::Failed)),
        Error::WriteFailed | Error::ReadFailed | Error::PartitionCreationFailed(_) | Error::BlobMissing(..) => {
            Some(FaultKind::Failed)
        }
        Error::BlobCorrupt(..)
        | Error::PartitionCorrupt(_)
        | Error::BlobLayoutMismatch { .. }
        | Error::BlobVersionMismatch { .. } => Some(FaultKind::Damaged),
        _ => None,
    }
}

fn of_system(error: &io::Error) -> Option<FaultKind> {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(FaultKind::Full),
        // A file that is shorter than it was: the engine looks for where it ends.
        ErrorKind::UnexpectedEof => None,
        _ => Some(FaultKind::Failed),
    }
}

/// A file of the engine.
pub struct WatchedBlob {
    inner: Inner,
    file: Arc<Watched>,
}

struct Watched {
    disk: Disk,
    partition: String,
    name: Vec<u8>,
    /// Of a file of votes, how much is written.
    votes: Option<Mutex<Written>>,
}

/// How far a file of votes is.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    /// Bytes of votes.
    len: u64,
    /// Whether something was written that no sync covers.
    dirty: bool,
}

impl fmt::Debug for WatchedBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", place(&self.file.partition, &self.file.name))
    }
}

impl Watched {
    async fn checked<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        self.disk.checked(result, || place(&self.partition, &self.name)).await
    }

    fn written(&self) -> Option<MutexGuard<'_, Written>> {
        Some(self.votes.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes notice of what is about to be written, and says how long the file is with it.
    fn writes(&self, offset: u64, bytes: &IoBufs) {
        let Some(mut written) = self.written() else { return };
        written.dirty = true;
        if let Some(len) = super::marks::len_after(offset, bytes.clone().coalesce().as_ref()) {
            written.len = len;
        }
    }

    /// Notes how much of a file of votes is durable.
    async fn durable(&self, upto: Option<Written>) -> Result<(), Error> {
        let Some(upto) = upto.filter(|upto| upto.len > 0) else { return Ok(()) };
        let noted = self.disk.marks().note(&self.partition, &self.name, upto.len);
        let is_first = self.disk.checked(noted.map_err(Error::from), marks).await?;
        if is_first { self.disk.begin_epoch(&self.partition).await } else { Ok(()) }
    }

    /// What a sync that begins now makes durable.
    fn begin_sync(&self) -> Option<Written> {
        let mut written = self.written()?;
        written.dirty = false;
        Some(*written)
    }
}

impl Blob for WatchedBlob {
    async fn read_at_buf(
        &self,
        offset: u64,
        len: usize,
        bufs: impl Into<IoBufsMut> + Send,
        options: ReadOptions,
    ) -> Result<IoBufsMut, Error> {
        self.file.checked(self.inner.read_at_buf(offset, len, bufs, options).await).await
    }

    async fn read_at(&self, offset: u64, len: usize, options: ReadOptions) -> Result<IoBufsMut, Error> {
        self.file.checked(self.inner.read_at(offset, len, options).await).await
    }

    fn read_many(
        &self,
        ranges: &[(u64, usize)],
        options: ReadOptions,
    ) -> impl Stream<Item = Result<(usize, IoBufsMut), Error>> + Send {
        self.inner.read_many(ranges, options).then(|read| self.file.checked(read))
    }

    async fn start_read_many(&self, ranges: &[(u64, usize)], options: ReadOptions) -> Handle<Vec<IoBufsMut>> {
        let (reading, file) = (self.inner.start_read_many(ranges, options).await, Arc::clone(&self.file));
        Handle::from_future(async move { file.checked(reading.await).await })
    }

    async fn write_at(&self, offset: u64, bufs: impl Into<IoBufs> + Send, options: WriteOptions) -> Result<(), Error> {
        let bufs = bufs.into();
        let file = &self.file;
        let was_clean = file.written().is_some_and(|written| !written.dirty);
        file.writes(offset, &bufs);
        let early = planted!("vote-before-it-is-durable") && file.votes.is_some();
        let options = if early { options.without(WriteOptions::SYNC) } else { options };
        file.checked(self.inner.write_at(offset, bufs, options).await).await?;
        // What was written before with no sync after it is not covered by a sync of these bytes alone.
        if options.contains(WriteOptions::SYNC) && was_clean {
            file.durable(file.begin_sync()).await?;
        }
        Ok(())
    }

    async fn resize(&self, len: u64) -> Result<(), Error> {
        if let Some(mut written) = self.file.written() {
            written.dirty = true;
        }
        self.file.checked(self.inner.resize(len).await).await
    }

    async fn sync(&self) -> Result<(), Error> {
        let upto = self.file.begin_sync();
        self.file.checked(self.inner.sync().await).await?;
        self.file.durable(upto).await
    }

    async fn start_sync(&self) -> Handle<()> {
        let (upto, file) = (self.file.begin_sync(), Arc::clone(&self.file));
        let syncing = self.inner.start_sync().await;
        Handle::from_future(async move {
            file.checked(syncing.await).await?;
            file.durable(upto).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_in_what_was_heard_is_none_of_votes_or_archive() {
        assert_eq!(place("dmdl0a-votes-7", &[1]), Place::Votes("dmdl0a-votes-7/01".to_owned()));
        assert_eq!(place("dmdl0a-blocks-keys", &[1]), Place::Archive("dmdl0a-blocks-keys/01".to_owned()));
        assert_eq!(place("dmdl0a-heard-7", &[1]), Place::Other("engine/dmdl0a-heard-7/01".to_owned()));
    }
}
