//! Backups of a node: what it keeps of its channels and nothing that may be taken back, in one file.
//!
//! The ledger in a backup is the newest certified snapshot of each channel, in the pieces that another node would be
//! answered, and is believed as little: by the pinned genesis alone. What would make a node vote, release or show something
//! again is not in it: journals, shares and their keys, remarks, titles. So a folder that was restored, however old the
//! backup is, is that of a node that joins: it follows, and has everything since from the others.
//!
//! # Source
//! docs/spec/backup.md; docs/adr/0016-backups.md

mod reading;
mod trail;
mod writing;

#[cfg(test)]
mod tests;

pub use reading::{RestoreError, Restored, check_backup, restore};
pub use trail::trail;
pub use writing::{BackUpError, back_up};

use dmdl_types::id::{ChannelId, ChannelName, Height, UnixMillis};

/// What a backup has of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contained {
    /// What people call the channel.
    pub name: ChannelName,
    /// Which it is.
    pub channel: ChannelId,
    /// How far its ledger goes; none where there was no certified snapshot yet.
    pub ledger: Option<Extent>,
}

/// How far a ledger goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its last block.
    pub height: Height,
    /// When that was made.
    pub time: UnixMillis,
    /// How many events its log has.
    pub events: u64,
}
