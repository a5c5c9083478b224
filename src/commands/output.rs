//! Files that commands read and write: bounded, whole or not at all, and never over something else.

use crate::exit::{Exit, Failure};
use std::{
    fs::{self, File, Permissions, TryLockError},
    io::{self, ErrorKind, Read as _, Write},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// A file that is there once it is finished, whole; dropped before, it leaves nothing.
///
/// It is for this user alone: what it holds may be a patient's. A process that is killed meanwhile may leave
/// `.dmdl-*.part` in the folder.
#[derive(Debug)]
pub(super) struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// Begins a file at a path where nothing is yet, not even a link to nowhere.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        // A folder is looked for now, so that nothing is asked of the network for a file that cannot be.
        match fs::symlink_metadata(path) {
            Ok(_) => return Err(exists(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(unwritten(path, &error)),
        }
        if path.file_name().is_none() {
            return Err(unwritten(path, &ErrorKind::IsADirectory.into()));
        }
        let file = tempfile::Builder::new()
            .prefix(".dmdl-")
            .suffix(".part")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder(path));
        Ok(Self { file: file.map_err(|error| unwritten(path, &error))?, path: path.to_owned() })
    }

    /// Writes all that it holds, and gives the file its name.
    pub(super) fn whole(mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.write_all(bytes).map_err(|error| unwritten(&self.path, &error))?;
        self.finish()
    }

    /// Gives the file its name. On return it is on disk, whole.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Self { file, path } = self;
        let failed = |error: io::Error| unwritten(&path, &error);
        file.as_file().sync_all().map_err(failed)?;
        file.persist_noclobber(&path).map_err(|error| failed(error.error))?;
        File::open(folder(&path)).and_then(|folder| folder.sync_all()).map_err(failed)
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

/// Whether a folder may be made at a path: nothing is there, or a folder with nothing in it.
pub(super) fn is_free(dir: &Path) -> Result<bool, Failure> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(storage(dir, &error)),
    }
}

/// Makes a folder for this user alone: `fill` fills it under another name, and it gets its own when it is whole, so
/// that neither a failure nor a crash leaves something that could be taken for it.
pub(super) fn new_folder(dir: &Path, fill: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    let parent = folder(dir);
    fs::create_dir_all(parent).map_err(|error| storage(parent, &error))?;
    let made = tempfile::Builder::new()
        .prefix(".dmdl-network-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(|error| storage(parent, &error))?;
    fill(made.path())?;
    File::open(made.path()).and_then(|folder| folder.sync_all()).map_err(|error| storage(made.path(), &error))?;
    fs::rename(made.path(), dir).map_err(|error| storage(dir, &error))?;
    // It has another name now: there is nothing left to clean up.
    let _ = made.keep();
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(|error| storage(parent, &error))
}

/// Makes a folder for this user alone inside of another one.
pub(super) fn subfolder(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new().mode(0o700).create(path).map_err(|error| storage(path, &error))
}

/// Keeps other processes from running what is in a folder, as long as the value lives.
pub(super) fn lock(dir: &Path) -> Result<File, Failure> {
    let path = dir.join(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| storage(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let detail = format!("another process runs what is in `{}`", dir.display());
            Err(Failure::new(Exit::Configuration, "locked", detail))
        }
        Err(TryLockError::Error(error)) => Err(storage(&path, &error)),
    }
}

/// Says a line now, in a command that goes on.
pub(super) fn say(line: &str) {
    // Whoever started it may have closed the pipe; the command goes on.
    let _ = writeln!(io::stdout(), "{line}");
    let _ = io::stdout().flush();
}

/// A path at which the disk fails.
pub(super) fn storage(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Storage, "storage", format!("`{}`: {error}", path.display()))
}

/// Reads a file of at most so many bytes; `-` is the standard input.
pub(super) fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    // One byte more tells a file that is too long.
    let limit = (bytes_max as u64).saturating_add(1);
    let read = if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        let (file, _) = open(path)?;
        file.take(limit).read_to_end(&mut bytes)
    };
    read.map_err(|error| unreadable(path, &error))?;
    if bytes.len() > bytes_max {
        let detail = format!("`{}` is longer than {bytes_max} bytes", path.display());
        return Err(Failure::new(Exit::Usage, "too_long", detail));
    }
    Ok(bytes)
}

/// Opens a file to read, and says how long it is. A pipe or a device has no end that anyone could wait for.
pub(super) fn open(path: &Path) -> Result<(File, u64), Failure> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() {
        let detail = format!("`{}` is not a regular file; use `-` for standard input", path.display());
        return Err(Failure::new(Exit::Usage, "not_a_file", detail));
    }
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    Ok((file, metadata.len()))
}

/// A file that cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let (exit, code) = match error.kind() {
        ErrorKind::NotFound => (Exit::NotFound, "not_found"),
        _ => (Exit::Usage, "unreadable"),
    };
    Failure::new(exit, code, format!("cannot read `{}`: {error}", path.display()))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn exists(path: &Path) -> Failure {
    Failure::new(Exit::Usage, "exists", format!("`{}` exists already and is not replaced", path.display()))
}

/// A file that cannot be written.
pub(super) fn unwritten(path: &Path, error: &io::Error) -> Failure {
    let (exit, code) = match error.kind() {
        ErrorKind::AlreadyExists => return exists(path),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::InvalidFilename => {
            (Exit::Usage, "no_such_folder")
        }
        _ => (Exit::Storage, "storage"),
    };
    Failure::new(exit, code, format!("cannot write `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn entries(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut file = NewFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!path.exists(), "nothing has its name before it is whole");
        drop(file);
        assert_eq!(entries(dir.path()), [""; 0], "and nothing is left of it");
        NewFile::create(&path).unwrap().whole(b"whole").unwrap();
        assert_eq!(entries(dir.path()), ["out"]);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn nothing_is_replaced_and_no_link_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, target) = (dir.path().join("file"), dir.path().join("link"), dir.path().join("target"));
        fs::write(&file, b"mine").unwrap();
        symlink(&target, &link).unwrap();
        for path in [&file, &link, dir.path()] {
            let refused = NewFile::create(path).unwrap_err();
            assert_eq!((refused.exit, refused.code.as_ref()), (Exit::Usage, "exists"), "{}", path.display());
        }
        assert_eq!(fs::read(&file).unwrap(), b"mine");
        assert!(!target.exists());
    }

    #[test]
    fn what_comes_to_the_path_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut file = NewFile::create(&path).unwrap();
        file.write_all(b"ours").unwrap();
        fs::write(&path, b"theirs").unwrap();
        assert_eq!(file.finish().unwrap_err().code, "exists");
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        assert_eq!(entries(dir.path()), ["out"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_said_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let refused = NewFile::create(&dir.path().join("none/out")).unwrap_err();
        assert_eq!((refused.exit, refused.code.as_ref()), (Exit::Usage, "no_such_folder"));
    }

    #[test]
    fn no_more_is_read_than_was_allowed_and_no_device() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in");
        fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap().len(), 10);
        assert_eq!(read(&path, 9).unwrap_err().code, "too_long");
        assert_eq!(read(&dir.path().join("none"), 9).unwrap_err().exit, Exit::NotFound);
        assert_eq!(read(Path::new("/dev/zero"), 9).unwrap_err().code, "not_a_file");
        assert_eq!(read(dir.path(), 9).unwrap_err().code, "not_a_file");
    }
}
