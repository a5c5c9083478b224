//! Where payloads lie: sealed bytes by their digest.
//!
//! A store is not trusted with anything: it holds ciphertext, and what it gives back is compared
//! with the digest that was asked for. Every `object_store` can be one: a folder, memory, S3.
//!
//! What survives a crash: every payload whose [`PayloadStore::put`] returned `Ok`. A put that did not
//! return leaves no payload; of a folder, it may leave a staged file, which
//! [`PayloadStore::sweep`] removes.
//!
//! # Source
//! docs/spec/payload.md, "Stores"

// A browser seals and opens; it stores nothing.
#![cfg(not(target_arch = "wasm32"))]

mod put;
mod sweep;
#[cfg(test)]
mod tests;

pub use put::PutError;
pub use sweep::Swept;

use bytes::Bytes;
use dmdl_types::id::PayloadDigest;
use futures_util::{StreamExt as _, stream};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, memory::InMemory, path::Path,
};
use std::{io, ops::Range, path::PathBuf, sync::Arc};

/// A stream of a payload's bytes.
pub type PayloadStream = stream::BoxStream<'static, Result<Bytes, GetError>>;

/// How much is read from a store at a time.
const WINDOW_LEN_BYTES: u64 = 4 << 20;

/// Why a payload did not come out of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// The store does not hold the payload.
    #[error("payload `{digest}` is missing")]
    Missing {
        /// What was asked for.
        digest: PayloadDigest,
    },
    /// The store holds other bytes under the payload's name.
    #[error("payload `{digest}` is corrupt")]
    Corrupt {
        /// What was asked for.
        digest: PayloadDigest,
    },
    /// The asked range reaches past the payload's end, or ends before it begins.
    #[error("no bytes {start}..{end} in a payload of {len_bytes}")]
    NoSuchRange {
        /// The first byte asked for.
        start: u64,
        /// The first byte not asked for.
        end: u64,
        /// How many bytes the store holds.
        len_bytes: u64,
    },
    /// The store could not be asked; the payload may well be there.
    #[error("the payload store failed")]
    Io(#[source] object_store::Error),
}

impl GetError {
    fn of(digest: PayloadDigest, error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::Missing { digest },
            other => Self::Io(other),
        }
    }
}

/// Why a payload could not be removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// The store failed; the payload may still be there.
    #[error("the payload store failed")]
    Io(#[source] object_store::Error),
    /// The folder failed; the payload may come back after a crash.
    #[error("the payload folder failed")]
    Folder(#[source] io::Error),
}

/// Payloads by digest.
///
/// # Encoding
/// The payload with digest `abcdef…` (64 hexadecimal digits) lies at `ab/cd/abcdef…`.
#[derive(Clone, Debug)]
pub struct PayloadStore {
    objects: Arc<dyn ObjectStore>,
    /// Set when the objects are files in this folder.
    folder: Option<PathBuf>,
}

impl PayloadStore {
    /// A store in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn in_folder(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder)?;
        // `with_fsync`: a put syncs the staged file, renames it, and syncs the folder. Without it the
        // store only renames, and a power cut may leave an empty file under a payload's name.
        let files = LocalFileSystem::new_with_prefix(&folder).map_err(io::Error::other)?.with_fsync(true);
        Ok(Self { objects: Arc::new(files), folder: Some(folder) })
    }

    /// A store in memory, for tests and simulations.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }

    /// A store over any object store whose puts are atomic and durable, such as S3.
    #[must_use]
    pub fn over(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, folder: None }
    }

    /// How many bytes the store holds under a digest, if any. The bytes are not read.
    ///
    /// # Errors
    /// [`GetError::Io`].
    pub async fn head(&self, digest: PayloadDigest) -> Result<Option<u64>, GetError> {
        match self.objects.head(&location(digest)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(GetError::Io(error)),
        }
    }

    /// Whether the store holds a payload of this digest and length. The bytes are not read.
    ///
    /// # Errors
    /// [`GetError::Io`].
    pub async fn has(&self, digest: PayloadDigest, len_bytes: u64) -> Result<bool, GetError> {
        Ok(self.head(digest).await? == Some(len_bytes))
    }

    /// The payload's length and its bytes, hashed as they pass.
    ///
    /// A stream that ends without an error was the payload. One whose last item is
    /// [`GetError::Corrupt`] was not, and what came before is worthless as a whole.
    ///
    /// # Errors
    /// [`GetError::Missing`] or [`GetError::Io`].
    pub async fn get(&self, digest: PayloadDigest) -> Result<(u64, PayloadStream), GetError> {
        let len_bytes = self.head(digest).await?.ok_or(GetError::Missing { digest })?;
        let reading = Reading { store: self.clone(), digest, len_bytes, offset: 0, hasher: blake3::Hasher::new() };
        let stream = stream::unfold(Some(reading), |reading| async {
            match reading?.next().await {
                Ok(Some((bytes, rest))) => Some((Ok(bytes), Some(rest))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok((len_bytes, stream.boxed()))
    }

    /// Some bytes of a payload, as the store holds them.
    ///
    /// # Errors
    /// [`GetError::Missing`], [`GetError::NoSuchRange`] or [`GetError::Io`].
    ///
    /// # Security
    /// Not verified: a digest speaks of the whole. Whoever opens the range checks its chunks' tags.
    pub async fn get_range(&self, digest: PayloadDigest, range: Range<u64>) -> Result<Bytes, GetError> {
        let Range { start, end } = range;
        if start >= end {
            let len_bytes = self.head(digest).await?.ok_or(GetError::Missing { digest })?;
            return if start == end && end <= len_bytes {
                Ok(Bytes::new())
            } else {
                Err(GetError::NoSuchRange { start, end, len_bytes })
            };
        }
        let options = GetOptions { range: Some(GetRange::Bounded(start..end)), ..GetOptions::default() };
        let result = match self.objects.get_opts(&location(digest), options).await {
            Ok(result) => result,
            // A range that begins past the end has no error of its own in `object_store`.
            Err(error) => match self.head(digest).await? {
                Some(len_bytes) if start >= len_bytes => return Err(GetError::NoSuchRange { start, end, len_bytes }),
                _ => return Err(GetError::of(digest, error)),
            },
        };
        let len_bytes = result.meta.size;
        if end > len_bytes {
            return Err(GetError::NoSuchRange { start, end, len_bytes });
        }
        let bytes = result.bytes().await.map_err(|error| GetError::of(digest, error))?;
        if bytes.len() as u64 == end - start { Ok(bytes) } else { Err(GetError::Corrupt { digest }) }
    }

    /// Reads a payload whole and returns its length, if the store holds it unharmed.
    ///
    /// # Errors
    /// [`GetError::Missing`], [`GetError::Corrupt`] or [`GetError::Io`].
    pub async fn check(&self, digest: PayloadDigest) -> Result<u64, GetError> {
        let (len_bytes, mut bytes) = self.get(digest).await?;
        while let Some(item) = bytes.next().await {
            item?;
        }
        Ok(len_bytes)
    }

    /// Removes a payload; removing one that is not there succeeds.
    ///
    /// # Errors
    /// [`DeleteError`]; removing may be tried again.
    pub async fn delete(&self, digest: PayloadDigest) -> Result<(), DeleteError> {
        let location = location(digest);
        match self.objects.delete(&location).await {
            Ok(()) => {}
            Err(object_store::Error::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(DeleteError::Io(error)),
        }
        // `object_store` does not sync a removal: after a power cut the payload could be back.
        let Some(file) = self.folder.as_ref().map(|folder| folder.join(location.as_ref())) else { return Ok(()) };
        run_blocking(move || file.parent().map_or(Ok(()), crate::payload::file::sync_folder))
            .await
            .map_err(DeleteError::Folder)
    }
}

/// Where a payload lies.
fn location(digest: PayloadDigest) -> Path {
    let name = digest.to_string();
    let (first, rest) = name.split_at_checked(2).unwrap_or_default();
    let (second, _) = rest.split_at_checked(2).unwrap_or_default();
    Path::from_iter([first, second, &name])
}

/// Runs file operations where they do not hold up the executor.
async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// A payload on its way out.
struct Reading {
    store: PayloadStore,
    digest: PayloadDigest,
    len_bytes: u64,
    offset: u64,
    hasher: blake3::Hasher,
}

impl Reading {
    /// The next bytes and what is left, or nothing after the last; an error when they do not hash to
    /// the digest.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, GetError> {
        if self.offset == self.len_bytes {
            return if self.hasher.finalize() == *self.digest.as_bytes() {
                Ok(None)
            } else {
                Err(GetError::Corrupt { digest: self.digest })
            };
        }
        let end = self.len_bytes.min(self.offset.saturating_add(WINDOW_LEN_BYTES));
        let bytes = match self.store.get_range(self.digest, self.offset..end).await {
            // Shorter than it was a moment ago.
            Err(GetError::NoSuchRange { .. }) => return Err(GetError::Corrupt { digest: self.digest }),
            other => other?,
        };
        self.hasher.update(&bytes);
        self.offset = end;
        Ok(Some((bytes, self)))
    }
}
