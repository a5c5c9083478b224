//! Files of one user: read only if nobody else had a hand in them, written whole or not at all.

use super::{KeyFileError, malformed};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::geteuid,
};
use std::{
    fs::{File, Metadata, Permissions},
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// Largest file that is read.
pub(super) const FILE_BYTES: usize = 16 * 1024;

/// Reads a regular file that belongs to this user and that nobody else may reach.
///
/// What is checked is what was opened, so that nothing can be put in its place in between.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let unsafe_to_use = |reason| Err(KeyFileError::Permissions { path: path.to_owned(), reason });
    let unreadable = |source| KeyFileError::Read { path: path.to_owned(), source };
    // Without `NONBLOCK`, opening a pipe would wait for somebody to write to it.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Err(KeyFileError::NotFound { path: path.to_owned() }),
        Err(Errno::LOOP) => return unsafe_to_use("it is a symbolic link"),
        Err(Errno::ACCESS) => return unsafe_to_use("this user may not read it"),
        Err(error) => return Err(unreadable(error.into())),
    };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return unsafe_to_use("it is not a regular file");
    }
    if metadata.uid() != geteuid().as_raw() {
        return unsafe_to_use("it belongs to another user");
    }
    if metadata.mode() & 0o077 != 0 {
        return unsafe_to_use("other users may reach it; its mode must be 0600");
    }
    // One byte more tells a file that is too large. A vector that grows would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES + 1));
    file.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > FILE_BYTES {
        return Err(malformed(path, "it is larger than 16 KiB"));
    }
    Ok(bytes)
}

/// Removes a file; on return it is gone for good.
pub(crate) fn remove(path: &Path) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Write { path: path.to_owned(), source };
    std::fs::remove_file(path).map_err(failed)?;
    File::open(folder(path)).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Writes a file that did not exist, for this user alone. On return it is on disk, whole; after an error it
/// is not there, unless the error came from its folder's sync.
///
/// A process that is killed meanwhile may leave `.dmdl-*.part` in the folder, for this user alone too.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Write { path: path.to_owned(), source };
    let file = written(path, |_| bytes.to_vec()).map_err(failed)?;
    file.persist_noclobber(path).map_err(|error| match error.error.kind() {
        ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
        _ => failed(error.error),
    })?;
    File::open(folder(path)).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Writes a file in the place of one that may be there, for this user alone; what it says may tell of the file itself.
/// On return it is on disk, whole; after an error the one that was there is there still, unless the error came from its
/// folder's sync.
pub(crate) fn replace(path: &Path, content: impl FnOnce(&Metadata) -> Vec<u8>) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Write { path: path.to_owned(), source };
    let file = written(path, content).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    File::open(folder(path)).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// A file that is on disk and has no name yet that anybody looks for.
fn written(path: &Path, content: impl FnOnce(&Metadata) -> Vec<u8>) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".dmdl-")
        .suffix(".part")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder(path))?;
    let content = content(&file.as_file().metadata()?);
    file.write_all(&content)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
