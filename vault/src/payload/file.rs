//! Files that appear whole or not at all.
//!
//! # Source
//! docs/spec/payload.md, "Opening to a file"

use super::{
    PayloadEntry,
    open::{OpenError, open},
};
use dmdl_types::{context::DataContext, secret::Secret32};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// Why a payload did not become a file of plaintext.
///
/// Paths are left out: file names of clinical data name patients.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenToFileError {
    /// Something is at the path already: a file, a folder, a link, even a dangling one.
    #[error("the output path exists already")]
    Exists,
    /// The payload did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file could not be made.
    #[error("cannot make the output file")]
    File(#[source] io::Error),
}

/// Opens a payload into a new file at `path` and returns the plaintext's length.
///
/// The file appears after the last chunk, complete and on disk; after an error, nothing of it is left.
///
/// # Errors
/// [`OpenToFileError`].
pub fn open_to_file(
    payload: impl Read,
    path: &Path,
    input_key: &Secret32,
    context: &DataContext,
    entry: &PayloadEntry,
) -> Result<u64, OpenToFileError> {
    let mut file = NewFile::create(path)?;
    let len_bytes = open(payload, &mut file, input_key, context, entry)?;
    file.publish()?;
    Ok(len_bytes)
}

/// A file under another name, until it is whole.
///
/// Dropped before [`NewFile::publish`], it vanishes. A process that is killed leaves a file named
/// `.dmdl-*.part` in the same folder, readable by its owner alone.
#[derive(Debug)]
pub struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// Begins a file that will be at `path`, where nothing may be yet.
    ///
    /// # Errors
    /// [`OpenToFileError::Exists`] when something is at the path, [`OpenToFileError::File`] when its
    /// folder does not take a file.
    pub fn create(path: &Path) -> Result<Self, OpenToFileError> {
        // Of a link, not of what it points to.
        match fs::symlink_metadata(path) {
            Ok(_) => return Err(OpenToFileError::Exists),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(OpenToFileError::File(error)),
        }
        let file = tempfile::Builder::new()
            .prefix(".dmdl-")
            .suffix(".part")
            .tempfile_in(folder_of(path))
            .map_err(OpenToFileError::File)?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Puts the file's bytes on disk, then gives it its name, without replacing anything.
    ///
    /// # Errors
    /// [`OpenToFileError::Exists`] when something came to be at the path meanwhile,
    /// [`OpenToFileError::File`] when the disk fails.
    pub fn publish(self) -> Result<(), OpenToFileError> {
        let Self { file, path } = self;
        file.as_file().sync_all().map_err(OpenToFileError::File)?;
        file.persist_noclobber(&path).map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => OpenToFileError::Exists,
            _ => OpenToFileError::File(e.error),
        })?;
        sync_folder(folder_of(&path)).map_err(OpenToFileError::File)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The folder that a path names a file in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Puts a folder's names on disk, where the system can.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
