//! Uploads on their way: what has come of a payload until all of it has.
//!
//! A stage is a file of one uploader and one payload; its length is how far the upload is. Parts are
//! appended as they come. The last one never reaches the file: it goes into the vault together with what
//! is staged, and the vault takes nothing that does not have the digest.
//!
//! What survives a crash: every part that was answered. A part that was not may be there in pieces; the
//! digest of the whole tells. What a caller may repeat: the last part, until it is answered.

use crate::{gateway::error::ApiError, problem::Problem};
use bytes::Bytes;
use dmdl_types::{id::PayloadDigest, sign::PublicKey};
use dmdl_vault::store::{PayloadStore, PutError};
use futures::stream;
use http::{HeaderName, HeaderValue};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// How far an upload is.
pub(super) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// Bytes of a stage that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// What uploads are bounded by.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Uploads of one person at a time.
    count: usize,
    /// Bytes of one person's uploads.
    bytes: u64,
    /// Uploads of all people at a time.
    count_in_all: usize,
    /// How long an upload is kept without a part. Less than the ten minutes that are promised, so that what
    /// is swept every half minute is gone by then.
    kept: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { count: 16, bytes: 64 << 30, count_in_all: 1024, kept: Duration::from_secs(9 * 60 + 15) }
    }
}

/// Whose upload of what.
type Name = (PublicKey, PayloadDigest);

/// The uploads that are not complete.
#[derive(Debug)]
pub(crate) struct Uploads {
    folder: PathBuf,
    bounds: Bounds,
    stages: Mutex<BTreeMap<Name, Arc<Stage>>>,
}

/// An upload: its parts come one after the other.
#[derive(Debug)]
struct Stage {
    turn: tokio::sync::Mutex<()>,
    far: Mutex<Far>,
}

#[derive(Clone, Copy, Debug)]
struct Far {
    /// How many bytes are staged.
    len: u64,
    /// How many more are being written.
    coming: u64,
    touched: SystemTime,
    /// It is no longer among the stages.
    gone: bool,
}

/// A part of a payload.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) from: u64,
    pub(super) total: u64,
    pub(super) bytes: Bytes,
}

/// How far an upload is after a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More is to come, from here on.
    Staged(u64),
    /// It is in the vault.
    Stored,
}

impl Uploads {
    /// Finds the uploads in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        Self::within(folder, Bounds::default())
    }

    fn within(folder: &Path, bounds: Bounds) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut stages = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            let name = entry.file_name().to_str().and_then(parse_name);
            let Some(name) = name.filter(|_| meta.is_file()) else {
                tracing::warn!(folder = %folder.display(), "the folder of uploads holds something that is none");
                continue;
            };
            stages.insert(name, Arc::new(Stage::new(meta.len(), meta.modified()?)));
        }
        Ok(Self { folder: folder.to_owned(), bounds, stages: Mutex::new(stages) })
    }

    /// How many bytes are staged, in all.
    pub(crate) fn staged_bytes(&self) -> u64 {
        self.stages().values().map(|stage| stage.far().len).sum()
    }

    /// Removes uploads that nobody has continued for a while.
    pub(crate) fn sweep(&self) {
        self.sweep_at(SystemTime::now());
    }

    fn sweep_at(&self, now: SystemTime) {
        let idle = |stage: &Stage| {
            // A clock that went back counts as a long time: an upload can begin again.
            now.duration_since(stage.far().touched).map_or(true, |idle| idle >= self.bounds.kept)
        };
        let old: Vec<_> = self.stages().iter().filter(|(_, stage)| idle(stage)).map(|(n, s)| (*n, s.clone())).collect();
        for (name, stage) in old {
            // One that is being written to is not idle, whatever its time says.
            if let Ok(_turn) = stage.turn.try_lock() {
                self.drop_stage(name, &stage);
            }
        }
    }

    /// How far an upload is; 0 when there is none.
    pub(super) fn offset(&self, name: Name) -> u64 {
        self.stages().get(&name).map_or(0, |stage| stage.far().len)
    }

    /// Takes a part in; the last one puts the payload into the vault.
    ///
    /// Must run to its end once begun: it is not to be dropped with a connection.
    ///
    /// # Errors
    /// 409 with the offset when the part is not the next one, 507 when there is no room, 422 when the whole
    /// is not what the digest names.
    pub(super) async fn take(&self, name: Name, part: Part, vault: &PayloadStore) -> Result<Progress, ApiError> {
        if part.total > self.bounds.bytes {
            return Err(self.no_room());
        }
        let stage = self.enter(name, part.from)?;
        let _turn = stage.turn.lock().await;
        let far = *stage.far();
        if far.gone {
            // It was completed, swept or dropped while this part waited for its turn.
            let stored = vault.has(name.1, part.total).await.map_err(Problem::from)?;
            return if stored { Ok(Progress::Stored) } else { Err(wrong_offset(0)) };
        }
        if far.len != part.from {
            return Err(wrong_offset(far.len));
        }
        let end = part.from + part.bytes.len() as u64;
        if end == part.total {
            return self.complete(name, &stage, part, vault).await.map(|()| Progress::Stored);
        }
        self.reserve(name, &stage, part.bytes.len() as u64)?;
        let (path, bytes) = (self.path(name), part.bytes);
        let written = tokio::task::spawn_blocking(move || append(&path, part.from, &bytes)).await;
        let mut far = stage.far();
        (far.coming, far.touched) = (0, SystemTime::now());
        match written.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => {
                far.len = end;
                Ok(Progress::Staged(end))
            }
            Err(error) => {
                tracing::error!(%error, "a part of an upload cannot be kept");
                Err(ApiError::new(507, "vault_unavailable", "the part cannot be kept at the moment; try again later"))
            }
        }
    }

    /// The stage of an upload: a new one for its first part.
    fn enter(&self, name: Name, from: u64) -> Result<Arc<Stage>, ApiError> {
        let mut stages = self.stages();
        if let Some(stage) = stages.get(&name) {
            return Ok(Arc::clone(stage));
        }
        if from != 0 {
            return Err(wrong_offset(0));
        }
        let own = stages.range(range_of(name.0)).count();
        if own >= self.bounds.count || stages.len() >= self.bounds.count_in_all {
            return Err(ApiError::new(
                507,
                "upload_quota",
                "too many uploads are not complete; finish one, or try later",
            ));
        }
        let stage = Arc::new(Stage::new(0, SystemTime::now()));
        stages.insert(name, Arc::clone(&stage));
        Ok(stage)
    }

    /// Makes room for a part among the bytes of its uploader.
    fn reserve(&self, name: Name, stage: &Stage, len: u64) -> Result<(), ApiError> {
        let stages = self.stages();
        let used = stages.range(range_of(name.0)).map(|(_, stage)| stage.far().used()).fold(0, u64::saturating_add);
        if used.saturating_add(len) > self.bounds.bytes {
            return Err(self.no_room());
        }
        stage.far().coming = len;
        Ok(())
    }

    /// Puts a payload into the vault: what is staged, and the last part after it.
    async fn complete(&self, name: Name, stage: &Stage, last: Part, vault: &PayloadStore) -> Result<(), ApiError> {
        let staged = if last.from == 0 { None } else { Some(self.path(name)) };
        let source =
            stream::unfold(Source { staged, file: None, left: last.from, last: Some(last.bytes) }, Source::next);
        match vault.put(name.1, last.total, source).await {
            Ok(()) => {
                self.drop_stage(name, stage);
                Ok(())
            }
            Err(error @ (PutError::DigestMismatch { .. } | PutError::LengthMismatch { .. })) => {
                self.drop_stage(name, stage);
                Err(Problem::from(error).into())
            }
            Err(error) => {
                stage.far().touched = SystemTime::now();
                Err(Problem::from(error).into())
            }
        }
    }

    fn drop_stage(&self, name: Name, stage: &Stage) {
        let mut stages = self.stages();
        stage.far().gone = true;
        stages.remove(&name);
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!(%error, "a staged upload cannot be removed");
            }
            _ => {}
        }
    }

    fn path(&self, (uploader, digest): Name) -> PathBuf {
        self.folder.join(format!("{uploader}-{digest}"))
    }

    fn no_room(&self) -> ApiError {
        let detail =
            format_args!("one person's uploads have at most {} bytes until they are complete", self.bounds.bytes);
        ApiError::new(507, "upload_quota", detail)
    }

    // Consistent after every statement.
    fn stages(&self) -> MutexGuard<'_, BTreeMap<Name, Arc<Stage>>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage {
    fn new(len: u64, touched: SystemTime) -> Self {
        Self { turn: tokio::sync::Mutex::default(), far: Mutex::new(Far { len, coming: 0, touched, gone: false }) }
    }

    fn far(&self) -> MutexGuard<'_, Far> {
        self.far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Far {
    const fn used(&self) -> u64 {
        self.len.saturating_add(self.coming)
    }
}

/// What a payload is put together from.
struct Source {
    staged: Option<PathBuf>,
    file: Option<File>,
    left: u64,
    last: Option<Bytes>,
}

impl Source {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        if self.left == 0 {
            let last = self.last.take()?;
            return Some((Ok(last), self));
        }
        let read = tokio::task::spawn_blocking(move || {
            let bytes = self.read();
            (bytes, self)
        });
        match read.await {
            Ok(read) => Some(read),
            Err(error) => {
                let ended = Self { staged: None, file: None, left: 0, last: None };
                Some((Err(io::Error::other(error)), ended))
            }
        }
    }

    fn read(&mut self) -> io::Result<Bytes> {
        if let Some(path) = self.staged.take() {
            self.file = Some(File::open(path)?);
        }
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let len = usize::try_from(self.left).unwrap_or(READ_BYTES).min(READ_BYTES);
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes)?;
        self.left -= len as u64;
        Ok(bytes.into())
    }
}

/// Writes a part where the file ends; what a part that broke off has left there goes.
fn append(path: &Path, from: u64, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.set_len(from)?;
    file.seek(SeekFrom::Start(from))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    if written.is_err() {
        // The next part begins where this one did; a length that stays too long is cut then.
        let _ = file.set_len(from);
    }
    written
}

fn parse_name(text: &str) -> Option<Name> {
    let (uploader, digest) = text.split_once('-')?;
    Some((uploader.parse().ok()?, digest.parse().ok()?))
}

/// All uploads of one person.
fn range_of(uploader: PublicKey) -> std::ops::RangeInclusive<Name> {
    (uploader, PayloadDigest::new([0; 32]))..=(uploader, PayloadDigest::new([u8::MAX; 32]))
}

fn wrong_offset(offset: u64) -> ApiError {
    ApiError::new(409, "upload_offset", format_args!("the next part of this upload begins at byte {offset}"))
        .with_header(UPLOAD_OFFSET, HeaderValue::from(offset))
}

#[cfg(test)]
mod tests;
