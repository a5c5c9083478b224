//! Room on a node's disk: while there is too little, the node reads and says nothing.
//!
//! A node that waits until a write fails has stopped in the middle of something. So it stops before: below a mark of
//! free space its engines neither send nor hear, which is to the others as if it were cut off, its custodian takes and
//! gives nothing, and its gateway answers what it can from what is there. What is under way meanwhile fits into the rest.
//! When there is room again, it goes on by itself.
//!
//! # Source
//! docs/adr/0017-storage-faults.md

use super::message::Refused;
use dmdl_audit_ledger::fault::{FaultKind, FaultSink, StorageFault};
use rustix::fs::StatVfs;
use std::{
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often the disk is looked at. As much as is written meanwhile must fit into what is kept free.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Kept free unless the node's file says otherwise: what a node writes before it stops, several times over.
pub const KEPT_FREE_MIB: u32 = 128;
/// Files and folders that must be possible: what is under way makes some.
const KEPT_FREE_FILES: u64 = 256;

/// What is known of the room on a node's disk. Clones know the same.
#[derive(Clone, Debug, Default)]
pub struct Space(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    is_full: AtomicBool,
    free_bytes: AtomicU64,
}

impl Space {
    /// Whether there is too little room to go on.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.is_full.load(Relaxed)
    }

    /// How many bytes are free, when it was looked at last.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.0.free_bytes.load(Relaxed)
    }

    /// Refuses what would have to be written.
    pub(super) fn check(&self) -> Result<(), Refused> {
        if self.is_full() { Err(Refused::new("storage_full", FULL)) } else { Ok(()) }
    }

    /// Looks at the disk of a folder once, and says whether it has become full or has room again.
    fn look(&self, stat: &StatVfs, kept_free_bytes: u64) -> Option<bool> {
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        self.0.free_bytes.store(free, Relaxed);
        let was_full = self.is_full();
        // Somewhat more to come back than to go: it is not to change with every look.
        let wanted = if was_full { kept_free_bytes.saturating_add(kept_free_bytes / 4) } else { kept_free_bytes };
        // Some file systems have no such limit, and say 0 of all.
        let lacks_files = stat.f_files > 0 && stat.f_favail < KEPT_FREE_FILES;
        let is_full = free < wanted || lacks_files;
        self.0.is_full.store(is_full, Relaxed);
        (is_full != was_full).then_some(is_full)
    }
}

/// What a node does about the disk that it keeps its own things on; by default nothing, of a disk that is played.
#[derive(Clone, Debug, Default)]
pub struct OwnDisk {
    /// The room on it.
    pub space: Space,
    /// Who is told of its faults.
    pub faults: FaultSink,
}

/// What people are told while there is no room.
pub(crate) const FULL: &str = "the disk of this node is full: it only reads until there is room; try another gateway";

/// What is done about the disk of a folder.
pub(super) struct Watch<H> {
    /// The folder.
    pub(super) dir: PathBuf,
    /// How much must be free.
    pub(super) kept_free_bytes: u64,
    /// Who is told of faults.
    pub(super) faults: FaultSink,
    /// What is watched along with it, as long as it is there.
    pub(super) host: Weak<H>,
    /// Is called with every look.
    pub(super) looked: fn(&H),
    /// Is told when the disk becomes full, and when it has room again.
    pub(super) changed: Box<dyn Fn(bool) + Send>,
}

impl<H: Send + Sync + 'static> Watch<H> {
    /// Looks at the disk until the value goes, on a thread of its own: a disk that hangs holds up whoever asks it.
    pub(super) fn begin(self, space: Space) -> Watching {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let Some(host) = self.host.upgrade() else { break };
                self.look(&space);
                (self.looked)(&host);
            }
        });
        Watching { stop: Some(stop), thread: Some(thread) }
    }

    /// Looks once, and tells what has changed.
    pub(super) fn look(&self, space: &Space) {
        match rustix::fs::statvfs(&self.dir) {
            Ok(stat) => match space.look(&stat, self.kept_free_bytes) {
                Some(true) => {
                    let (free, kept) = (space.free_bytes(), self.kept_free_bytes);
                    tracing::error!(
                        dir = %self.dir.display(), free_bytes = free, kept_free_bytes = kept,
                        "the disk is full: this node only reads, and takes no part, until there is room; make room",
                    );
                    (self.changed)(true);
                }
                Some(false) => {
                    tracing::warn!(dir = %self.dir.display(), "there is room on the disk again: this node goes on");
                    (self.changed)(false);
                }
                None => {}
            },
            Err(error) => {
                self.faults.tell(&StorageFault::of(FaultKind::Failed, self.dir.display().to_string(), error));
            }
        }
    }
}

/// A disk that is being watched. Once this is gone, nothing of it holds on to the host.
#[derive(Debug)]
pub(super) struct Watching {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it was printed where it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// What a file system with so much room says.
    fn stat(free_bytes: u64, free_files: u64) -> StatVfs {
        let mut stat = rustix::fs::statvfs("/").unwrap();
        (stat.f_frsize, stat.f_bavail) = (4096, free_bytes / 4096);
        (stat.f_files, stat.f_favail) = (1_000_000, free_files);
        stat
    }

    #[test]
    fn a_disk_is_full_before_nothing_is_left_and_has_room_again_a_bit_above() {
        let space = Space::default();
        assert_eq!(space.look(&stat(100 * MIB, 9999), 100 * MIB), None);
        assert_eq!(space.look(&stat(99 * MIB, 9999), 100 * MIB), Some(true));
        assert_eq!(space.check().unwrap_err().code, "storage_full");
        assert_eq!(space.look(&stat(124 * MIB, 9999), 100 * MIB), None, "not with every file that goes");
        assert!(space.is_full());
        assert_eq!(space.look(&stat(125 * MIB, 9999), 100 * MIB), Some(false));
        assert!(space.check().is_ok());
    }

    #[test]
    fn a_disk_without_room_for_another_file_is_full_too() {
        let space = Space::default();
        assert_eq!(space.look(&stat(500 * MIB, 10), 100 * MIB), Some(true));
        let mut unlimited = stat(500 * MIB, 0);
        unlimited.f_files = 0;
        assert_eq!(space.look(&unlimited, 100 * MIB), Some(false), "it has no such limit");
    }
}
