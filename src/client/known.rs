//! The charters that a client has verified: what it believes of a channel by its name, for ever after.
//!
//! What is kept is the charter itself, and it is verified anew each time, so a trail can be verified without a
//! network, and no gateway can put another channel in the place of one that was known before.

use super::Unproved;
use dmdl_types::{
    charter::SignedCharter,
    codec,
    genesis::{Founding, Genesis},
    id::ChannelName,
    limits,
};
use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// The channel that is known by a name, in this client's folder.
///
/// # Errors
/// [`Unproved`] when what is kept cannot be read, or founds nothing.
pub fn known(home: &Path, genesis: &Genesis, name: &ChannelName) -> Result<Option<Founding>, Unproved> {
    match read(home, genesis, name)? {
        Some(charter) => Ok(Some(charter.verify(genesis)?)),
        None => Ok(None),
    }
}

/// Verifies a charter that a gateway shows for a name, and keeps it.
///
/// # Errors
/// [`Unproved`] when it founds nothing, founds a channel of another name, or is not the one that was known before.
pub fn learn(home: &Path, genesis: &Genesis, name: &ChannelName, shown: &SignedCharter) -> Result<Founding, Unproved> {
    let founding = shown.verify(genesis)?;
    let other = || Unproved::OtherCharter(name.clone());
    if founding.channel.name != *name {
        return Err(other());
    }
    match read(home, genesis, name)? {
        Some(known) if known.charter == shown.charter => Ok(founding),
        Some(_) => Err(other()),
        None => {
            let path = path(home, genesis, name);
            let failed = |source| Unproved::Memory { path: path.display().to_string(), source };
            write(&path, &codec::encode(shown)).map_err(failed)?;
            Ok(founding)
        }
    }
}

fn path(home: &Path, genesis: &Genesis, name: &ChannelName) -> PathBuf {
    home.join(genesis.id().to_string()).join(format!("{name}.charter"))
}

fn read(home: &Path, genesis: &Genesis, name: &ChannelName) -> Result<Option<SignedCharter>, Unproved> {
    let path = path(home, genesis, name);
    let failed = |source| Unproved::Memory { path: path.display().to_string(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(limits::CHARTER_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    codec::decode(&bytes, limits::CHARTER_BYTES).map(Some).map_err(|error| failed(io::Error::other(error)))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}
