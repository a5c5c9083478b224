//! What a disk did that it must not, and whom to tell first.
//!
//! A node's word rests on what it has written. So whoever meets a fault tells a [`FaultSink`] before anybody else hears
//! of it, and in a process that sink does not come back: the node is gone before it could say another word.
//!
//! # Source
//! docs/adr/0017-storage-faults.md

use crate::store::StoreError;
use std::{fmt, path::PathBuf, sync::Arc};

/// What kind of fault it is: what an operator does about it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// There is no room. Nothing is known to be wrong with what is there.
    Full,
    /// Something could not be written, synced or read: what is durable is not known.
    Failed,
    /// Bytes are not those that were written, or a file is missing.
    Damaged,
    /// The node itself cannot go on: its state contradicts the chain, or a task of the engine has panicked.
    Halted,
}

/// Where a fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file of votes of the engine.
    Votes(String),
    /// In a file of the engine that others can give again: blocks, certificates, and how far these were handed out.
    Archive(String),
    /// In the folder of a channel's ledger.
    Ledger(PathBuf),
    /// Elsewhere.
    Other(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Votes(file) | Self::Archive(file) => write!(f, "engine/{file}"),
            Self::Ledger(folder) => write!(f, "{}", folder.display()),
            Self::Other(place) => f.write_str(place),
        }
    }
}

/// A fault of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageFault {
    /// Which kind.
    pub kind: FaultKind,
    /// Where.
    pub place: Place,
    /// What the system, or the storage engine, says. It names files, never keys or values.
    pub reason: String,
}

impl StorageFault {
    /// A fault at a place.
    pub fn new(kind: FaultKind, place: Place, reason: impl fmt::Display) -> Self {
        Self { kind, place, reason: reason.to_string() }
    }

    /// A fault of something that has no place of its own here.
    pub fn of(kind: FaultKind, what: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::new(kind, Place::Other(what.into()), reason)
    }
}

impl fmt::Display for StorageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            FaultKind::Full => "the disk is full",
            FaultKind::Failed => "the disk failed",
            FaultKind::Damaged => "something on the disk is damaged",
            FaultKind::Halted => "the node cannot go on",
        };
        write!(f, "{what}: `{}`: {}", self.place, self.reason)
    }
}

impl From<&StoreError> for FaultKind {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Full(_) => Self::Full,
            StoreError::Corrupt(_) | StoreError::Version { .. } => Self::Damaged,
            StoreError::Sync(_) | StoreError::Io(_) | StoreError::Locked(_) => Self::Failed,
        }
    }
}

/// Whom to tell of a fault: nobody by default. Clones tell the same.
#[derive(Clone, Default)]
pub struct FaultSink(Option<Arc<Tell>>);

type Tell = dyn Fn(&StorageFault) + Send + Sync;

impl fmt::Debug for FaultSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultSink")
    }
}

impl FaultSink {
    /// Tells `tell`, on the thread that met the fault, while that does nothing else.
    pub fn new(tell: impl Fn(&StorageFault) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Tells nobody: of a disk that a simulator plays.
    #[must_use]
    pub const fn nobody() -> Self {
        Self(None)
    }

    /// Whether anybody is told: otherwise the disk is one that gives back what was written.
    #[must_use]
    pub const fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// Tells of a fault.
    pub fn tell(&self, fault: &StorageFault) {
        if let Some(tell) = &self.0 {
            tell(fault);
        }
    }
}
