//! Charters on disk, and what hosts say to each other about them.

use crate::{
    keyfile::{KeyFileError, disk},
    node::message::MESSAGE_BYTES,
};
use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{
    charter::SignedCharter,
    codec::{self, DecodeError},
    id::{ChannelId, Epoch},
    limits,
    lineage::EpochStep,
};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// The file of a charter, in its channel's folder.
const FILE: &str = "charter";

/// How a message with steps begins.
const STEPS: u8 = 3;

/// What one host says to another.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub(super) enum Message {
    /// Which channels that we share have I not heard of?
    WhichNameMe,
    /// A channel that we share.
    Charter(Box<SignedCharter>),
    /// How do the configurations of a channel follow on each other, from the one of this epoch on?
    StepsFrom(ChannelId, Epoch),
    /// That is how: the first ones, and none after the last.
    Steps(ChannelId, Vec<EpochStep>),
}

impl Message {
    pub(super) fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        // Steps may fill a message between nodes; nothing else is longer than a charter.
        let long = if bytes.first() == Some(&STEPS) { MESSAGE_BYTES } else { limits::CHARTER_BYTES + 1 };
        codec::decode(bytes, long)
    }
}

/// The folder of a channel, in that of its node.
pub(super) fn folder(dir: &Path, channel: ChannelId) -> PathBuf {
    channels(dir).join(channel.to_string())
}

/// The folder of the channels' folders, in that of their node.
pub(super) fn channels(dir: &Path) -> PathBuf {
    dir.join("channels")
}

/// Makes the folder of a channel, for good.
pub(super) fn make_folder(dir: &Path, channel: ChannelId) -> io::Result<PathBuf> {
    let (channels, folder) = (channels(dir), folder(dir, channel));
    fs::create_dir_all(&folder)?;
    File::open(&channels)?.sync_all()?;
    File::open(dir)?.sync_all()?;
    Ok(folder)
}

/// Keeps a charter, for good. A channel's ledger folder is there before: one that is missing later was lost.
pub(super) fn keep(dir: &Path, charter: &SignedCharter) -> io::Result<()> {
    let folder = make_folder(dir, charter.charter.id())?;
    fs::create_dir_all(folder.join("ledger"))?;
    File::open(&folder)?.sync_all()?;
    match disk::write_new(&folder.join(FILE), &codec::encode(charter)) {
        // The folder is named by the charter: it is this one, approved.
        Ok(()) | Err(KeyFileError::Exists { .. }) => Ok(()),
        Err(error) => Err(error.into_io()),
    }
}

/// The charters that are kept.
pub(super) fn kept(dir: &Path) -> io::Result<Vec<SignedCharter>> {
    let mut charters = Vec::new();
    for folder in fs::read_dir(channels(dir))? {
        let path = folder?.path().join(FILE);
        let bytes = match fs::metadata(&path) {
            Ok(file) if file.len() <= limits::CHARTER_BYTES as u64 => fs::read(&path)?,
            Ok(_) => return Err(damaged(&path)),
            // The first channel has none, and neither has one that a crash came before.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        charters.push(codec::decode(&bytes, limits::CHARTER_BYTES).map_err(|_| damaged(&path))?);
    }
    Ok(charters)
}

fn damaged(path: &Path) -> io::Error {
    io::Error::other(format!("`{}` is damaged: restore it from another member", path.display()))
}

#[cfg(test)]
mod tests;
