//! What is damaged is put aside, where nothing reads it and somebody can look at it.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// The folder, in the node's own.
const FOLDER: &str = "damaged";

/// A place that is free for a file or folder, in the node's folder.
pub(super) fn place_for(dir: &Path, what: &Path) -> io::Result<PathBuf> {
    let folder = dir.join(FOLDER);
    fs::create_dir_all(&folder)?;
    File::open(dir)?.sync_all()?;
    let name = what.file_name().unwrap_or_default().to_string_lossy();
    let mut places = (1_u32..).map(|number| folder.join(format!("{name}.{number}")));
    places.find(|place| !exists(place)).ok_or_else(|| ErrorKind::AlreadyExists.into())
}

/// Moves a file or folder to such a place, for good; nothing happens if it is not there.
pub(super) fn put_at(place: &Path, what: &Path) -> io::Result<()> {
    if !exists(what) {
        return Ok(());
    }
    fs::rename(what, place)?;
    for folder in [place, what].into_iter().filter_map(Path::parent) {
        File::open(folder)?.sync_all()?;
    }
    tracing::warn!(was = %what.display(), now = %place.display(), "put aside");
    Ok(())
}

/// Moves a file or folder out of the way, for good.
pub(super) fn put(dir: &Path, what: &Path) -> io::Result<()> {
    put_at(&place_for(dir, what)?, what)
}

/// Whether something has this name.
pub(super) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
