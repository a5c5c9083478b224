//! What a client keeps of a channel, in a file each, replaced whole: the newest log that it saw, and the
//! configurations that it verified.
//!
//! The first is the client's only guard against an old log and a fork, so one that cannot be read is an error. The
//! second can be had again: one that is damaged is forgotten, and the steps are walked anew from the pin.

use super::{Seen, Unproved};
use dmdl_types::{genesis::Founding, limits, lineage::Lineage};
use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// Largest file of what was seen.
const SEEN_BYTES: usize = 4096;
/// Largest file of a lineage, with its digest.
const LINEAGE_BYTES: usize = limits::LINEAGE_BYTES + 32;

/// The files of one channel.
#[derive(Debug)]
pub(super) struct Memory {
    seen: PathBuf,
    lineage: PathBuf,
}

impl Memory {
    /// The files of a channel in a client's folder, which need not be there.
    pub(super) fn of(founding: &Founding, folder: &Path) -> Self {
        let folder = folder.join(founding.domain.network.to_string());
        let file = |kind| folder.join(format!("{}.{kind}", founding.channel.name));
        Self { seen: file("seen"), lineage: file("lineage") }
    }

    /// Makes the folder of the files.
    pub(super) fn make_folder(&self) -> Result<(), Unproved> {
        let folder = folder(&self.seen);
        fs::create_dir_all(folder).map_err(failed(folder))
    }

    pub(super) fn seen(&self) -> Result<Option<Seen>, Unproved> {
        let failed = failed(&self.seen);
        let Some(bytes) = read(&self.seen, SEEN_BYTES).map_err(&failed)? else { return Ok(None) };
        toml::from_slice(&bytes).map(Some).map_err(|error| failed(io::Error::other(error)))
    }

    pub(super) fn keep_seen(&self, seen: Seen) -> Result<(), Unproved> {
        let failed = failed(&self.seen);
        let text = toml::to_string(&seen).map_err(|error| failed(io::Error::other(error)))?;
        write(&self.seen, text.as_bytes()).map_err(failed)
    }

    /// The configurations that were verified; those of the pin alone, when there are no others or they are damaged.
    pub(super) fn lineage(&self, founding: &Founding) -> Result<Lineage, Unproved> {
        let Some(bytes) = read(&self.lineage, LINEAGE_BYTES).map_err(failed(&self.lineage))? else {
            return Ok(Lineage::new(founding));
        };
        Ok(Lineage::from_bytes(founding, &bytes).unwrap_or_else(|| {
            tracing::warn!(path = %self.lineage.display(), "the configurations that were verified before are damaged");
            Lineage::new(founding)
        }))
    }

    pub(super) fn keep_lineage(&self, lineage: &Lineage) -> Result<(), Unproved> {
        write(&self.lineage, &lineage.to_bytes()).map_err(failed(&self.lineage))
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Unproved {
    |source| Unproved::Memory { path: path.display().to_string(), source }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file, if there is one. What is beyond the most bytes is left out, so that it does not parse.
fn read(path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder(path))?.sync_all()
}
