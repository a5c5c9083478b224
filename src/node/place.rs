//! Whether a node's folder is the one that the node left, or a copy of it.
//!
//! A copy lacks the votes that were cast after it was made, and nothing in it says so. But a file system gives each file
//! a number and a time of birth that no copy of the file gets, and so a file in the folder says its own: in a folder that was
//! put back by `tar`, `cp` or `rsync` it is wrong.
//!
//! Whoever puts a copy over the folder that it was made of may leave that very file where it is: `cp` writes into it, and
//! `rsync` passes by what has not changed. So it is another file after each start, and in each epoch before the first vote:
//! what an older one said of itself is wrong of this one.
//!
//! Copies of a whole disk are not noticed, such as snapshots of a machine or a volume; nor is a folder that was moved away
//! and is moved back, nor a copy that is put over the folder before there is another file. Where the file system does not
//! tell when a file was born, a number may come again, and such a copy may be taken for the folder.
//!
//! What survives a crash: everything, at each step. What a caller may repeat: every call.
//!
//! # Source
//! docs/spec/keyfile.md, "A node's place"

use crate::{
    keyfile::{KeyFileError, disk},
    local::random_secret,
};
use dmdl_audit_ledger::channel::Place;
use dmdl_types::planted;
use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The file's first line.
const HEAD: &str = "dmdl-place-v1";
/// The file, in the node's folder.
const FILE: &str = "place";

/// What a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// One that says nothing: it is new, or of before such a file was kept.
    Nothing,
    /// The one that the node left.
    Same(Place),
    /// A copy of this one.
    Copy(Place),
}

/// Looks at a folder.
pub(super) fn look(folder: &Path) -> Result<Found, KeyFileError> {
    let path = file(folder);
    let bytes = match disk::read(&path) {
        Ok(bytes) => bytes,
        Err(KeyFileError::NotFound { .. }) => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let metadata = path.metadata().map_err(|source| KeyFileError::Read { path: path.clone(), source })?;
    let Some(place) = std::str::from_utf8(&bytes).ok().and_then(place_in) else {
        // Damaged: of which folder this is one cannot tell.
        return Ok(Found::Copy(new()));
    };
    let same = bytes.as_slice() == text(place, &metadata).as_bytes() || planted!("copy-taken-for-its-folder");
    Ok(if same { Found::Same(place) } else { Found::Copy(place) })
}

/// A place that no folder has been yet.
pub(super) fn new() -> Place {
    random_secret().expose(|bytes| Place::new(*bytes))
}

/// Makes a folder a place.
pub(super) fn settle(folder: &Path, place: Place) -> Result<(), KeyFileError> {
    disk::replace(&file(folder), |metadata| text(place, metadata).into_bytes())
}

/// Makes a folder that the node is in the same place by another file, so that what was copied before is known for a copy
/// also where it is put over the folder.
///
/// A copy that somebody has put over it meanwhile stays known for one.
pub(super) fn renew(folder: &Path) -> Result<(), KeyFileError> {
    match look(folder)? {
        Found::Same(place) => settle(folder, place),
        Found::Nothing | Found::Copy(_) => Ok(()),
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

fn text(place: Place, metadata: &Metadata) -> String {
    let born = metadata.created().ok().and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
    // Some file systems do not tell.
    let born = born.map_or_else(|| "-".to_owned(), |born| born.as_nanos().to_string());
    format!("{HEAD}\nid {place}\nfile {}\nborn {born}\n", metadata.ino())
}

fn place_in(text: &str) -> Option<Place> {
    let id = text.strip_prefix(HEAD)?.strip_prefix("\nid ")?.split('\n').next()?;
    let bytes: [u8; 32] = hex::decode(id).ok()?.try_into().ok()?;
    Some(Place::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process::Command};

    fn settled() -> (tempfile::TempDir, Place) {
        let (folder, place) = (tempfile::tempdir().unwrap(), new());
        settle(folder.path(), place).unwrap();
        (folder, place)
    }

    #[test]
    fn a_folder_is_known_again_and_may_be_renamed() {
        let (folder, place) = settled();
        assert_eq!(look(folder.path()).unwrap(), Found::Same(place));
        let (home, moved) = (tempfile::tempdir().unwrap(), "moved");
        fs::rename(folder.path(), home.path().join(moved)).unwrap();
        assert_eq!(look(&home.path().join(moved)).unwrap(), Found::Same(place));
    }

    #[test]
    fn a_copy_is_known_for_one_however_it_is_made() {
        let (folder, place) = settled();
        let home = tempfile::tempdir().unwrap();
        let (copy, archive) = (home.path().join("copy"), home.path().join("archive"));
        let run = |program: &str, args: &[&Path]| {
            assert!(Command::new(program).args(args).status().unwrap().success(), "{program}");
        };
        run("cp", &["-a".as_ref(), folder.path(), &copy]);
        assert_eq!(look(&copy).unwrap(), Found::Copy(place));
        // In the place of the folder itself, with all its times.
        run("tar", &["-C".as_ref(), folder.path(), "-cf".as_ref(), &archive, ".".as_ref()]);
        fs::remove_dir_all(folder.path()).unwrap();
        fs::create_dir(folder.path()).unwrap();
        run("tar", &["-C".as_ref(), folder.path(), "-xpf".as_ref(), &archive]);
        assert_eq!(look(folder.path()).unwrap(), Found::Copy(place));
    }

    #[test]
    fn a_copy_that_is_put_over_its_folder_is_known_for_one_if_the_folder_was_renewed_since() {
        let (folder, place) = settled();
        let home = tempfile::tempdir().unwrap();
        let copy = home.path().join("copy");
        let copy_all = |from: &Path, to: &Path| {
            assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
        };
        copy_all(folder.path(), &copy);
        // No file is another one, and none says anything else: this is not noticed.
        copy_all(&copy.join("."), folder.path());
        assert_eq!(look(folder.path()).unwrap(), Found::Same(place));
        renew(folder.path()).unwrap();
        assert_eq!(look(folder.path()).unwrap(), Found::Same(place));
        copy_all(&copy.join("."), folder.path());
        assert_eq!(look(folder.path()).unwrap(), Found::Copy(place));
        renew(folder.path()).unwrap();
        assert_eq!(look(folder.path()).unwrap(), Found::Copy(place), "a node that runs does not make it its own");
    }

    #[test]
    fn a_copy_that_is_settled_is_a_place_like_any_other() {
        let (folder, place) = settled();
        let home = tempfile::tempdir().unwrap();
        fs::copy(file(folder.path()), file(home.path())).unwrap();
        for next in [place, new()] {
            settle(home.path(), next).unwrap();
            assert_eq!(look(home.path()).unwrap(), Found::Same(next));
        }
    }

    #[test]
    fn a_folder_that_says_nothing_is_told_from_one_that_says_something_else() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(look(folder.path()).unwrap(), Found::Nothing);
        disk::write_new(&file(folder.path()), b"dmdl-place-v2\n").unwrap();
        assert!(matches!(look(folder.path()), Ok(Found::Copy(_))));
    }
}
