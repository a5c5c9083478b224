//! Clocks that are wrong: each node reads one of its own, and only the simulator knows the right time.

use super::cluster::Runtime;
use commonware_runtime::Clock as _;
use dmdl_audit_ledger::clock::WallClock;
use dmdl_types::id::UnixMillis;
use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

/// What is wrong with a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is ahead.
    Ahead(Duration),
    /// It is behind.
    Behind(Duration),
    /// It stands still.
    Stopped,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead(by) => write!(f, "{by:?} ahead"),
            Self::Behind(by) => write!(f, "{by:?} behind"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// The clock on the wall of one node; it outlives the node's crashes.
pub(crate) struct SimClock {
    right: Runtime,
    face: Mutex<Face>,
}

#[derive(Clone, Copy, Debug)]
struct Face {
    fault: Option<Fault>,
    /// When the fault began, by this clock.
    since: SystemTime,
    /// The latest time that it has shown before its last change.
    latest: SystemTime,
    changes: u64,
}

impl Face {
    fn shows(&self, right: SystemTime) -> SystemTime {
        match self.fault {
            None => right,
            Some(Fault::Ahead(by)) => right + by,
            Some(Fault::Behind(by)) => right - by,
            Some(Fault::Stopped) => self.since,
        }
    }
}

impl SimClock {
    pub(crate) fn new(right: Runtime) -> Self {
        let now = right.current();
        Self { right, face: Mutex::new(Face { fault: None, since: now, latest: now, changes: 0 }) }
    }

    fn face(&self) -> Face {
        *self.face.lock().unwrap()
    }

    /// The clock, as a node reads it.
    pub(crate) fn wall(self: &Arc<Self>) -> WallClock {
        let clock = Arc::clone(self);
        WallClock::new(move || clock.now())
    }

    /// What it shows.
    pub(crate) fn now(&self) -> SystemTime {
        self.face().shows(self.right.current())
    }

    /// Breaks it, or sets it right.
    pub(crate) fn set(&self, fault: Option<Fault>) {
        let since = self.now();
        let Face { latest, changes, .. } = self.face();
        *self.face.lock().unwrap() = Face { fault, since, latest: latest.max(since), changes: changes + 1 };
    }

    /// How often it was set: while that stays the same, it does not run backwards.
    pub(crate) fn changes(&self) -> u64 {
        self.face().changes
    }

    /// The latest time that it has ever shown.
    pub(crate) fn latest(&self) -> UnixMillis {
        millis(self.face().latest.max(self.now()))
    }
}

pub(crate) fn millis(time: SystemTime) -> UnixMillis {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap())
}
