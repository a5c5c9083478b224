//! The newest epoch of a channel in which this node has voted, noted apart from the votes.
//!
//! Votes and their marks lie beside each other, so whatever takes both, or puts older ones in their place, takes all that
//! would tell of it. This note lies with the channel. Within one epoch it tells nothing: which votes there should be, only
//! the marks know.
//!
//! What survives a crash: every note of an epoch in which a vote has left. A note that cannot be read says nothing.
//!
//! # Source
//! docs/spec/keyfile.md, "The newest epoch of votes"

use super::{charters, ground};
use crate::keyfile::{KeyFileError, disk};
use dmdl_audit_ledger::process;
use dmdl_types::id::{ChannelId, Epoch};
use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

/// The note, in the channel's folder.
const FILE: &str = "voted";

/// Notes, for good, that this node votes in the epoch whose votes are in this partition.
pub(super) fn note(dir: &Path, partition: &str) -> io::Result<()> {
    let Some((channel, epoch)) = process::channel_of(partition).zip(process::epoch_of(partition)) else {
        return Ok(());
    };
    let path = charters::channels(dir).join(channel).join(FILE);
    disk::replace(&path, |_| format!("{epoch}\n").into_bytes()).map_err(KeyFileError::into_io)
}

/// Whether votes are missing of an epoch in which this node may vote again, since its ledger has reached no later one.
pub(super) fn lacks(dir: &Path, channel: ChannelId, reached: Epoch) -> io::Result<bool> {
    let text = match fs::read_to_string(charters::folder(dir, channel).join(FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        text => text?,
    };
    let Some(voted) = text.strip_suffix('\n').and_then(|epoch| epoch.parse().ok()).map(Epoch::new) else {
        return Ok(false);
    };
    if reached > voted {
        return Ok(false);
    }
    for partition in ground::partitions(&dir.join("engine"), channel)? {
        if process::epoch_of(&partition?).is_some_and(|epoch| epoch >= voted) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_of_an_epoch_that_goes_on_are_missed_and_older_ones_are_not() {
        let (dir, channel) = (tempfile::tempdir().unwrap(), ChannelId::new([7; 32]));
        let votes = |epoch: u64| format!("{}-votes-{epoch}", process::partitions_of(channel));
        let (engine, dir) = (dir.path().join("engine"), dir.path());
        fs::create_dir_all(engine.join(votes(4))).unwrap();
        charters::make_folder(dir, channel).unwrap();
        let lacks = |reached| lacks(dir, channel, Epoch::new(reached)).unwrap();
        assert!(!lacks(0), "nothing is known");
        note(dir, &votes(5)).unwrap();
        assert!(lacks(5) && lacks(4), "an older folder was put in the place of the votes");
        assert!(!lacks(6), "nobody votes in that epoch again");
        fs::create_dir(engine.join(votes(5))).unwrap();
        assert!(!lacks(5));
        fs::remove_dir_all(engine.join(votes(5))).unwrap();
        fs::remove_dir_all(engine.join(votes(4))).unwrap();
        assert!(lacks(5), "all of them are gone");
        fs::write(charters::folder(dir, channel).join(FILE), "5").unwrap();
        assert!(!lacks(5), "a note that is cut off says nothing");
    }
}
