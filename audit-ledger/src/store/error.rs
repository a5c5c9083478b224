//! Why a store refuses.

/// Why a store cannot be opened, read or written.
///
/// The texts within come from the storage engine: they name files, never keys or values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another part of this one, has the store open.
    #[error("the store is in use: `{0}`")]
    Locked(String),
    /// The layout belongs to another version of the program.
    #[error("the store has format version {found}; this program knows version {known}")]
    Version {
        /// The store's version.
        found: u32,
        /// The version of this program.
        known: u32,
    },
    /// Bytes on disk are not those that were written, or a file of the store is missing.
    #[error("the store is damaged: `{0}`")]
    Corrupt(String),
    /// The disk is full: reads go on, commits do not until the store is opened again.
    #[error("the disk is full: `{0}`")]
    Full(String),
    /// A write or its sync failed: what is durable is unknown.
    #[error("a write could not be made durable: `{0}`")]
    Sync(String),
    /// The folder or a file in it cannot be opened or read.
    #[error("the store cannot be read: `{0}`")]
    Io(String),
}

impl StoreError {
    /// Whether the process must stop speaking for this node.
    ///
    /// A failed sync must never be tried again: the kernel may have dropped the pages and report
    /// success the next time. Damage means that the node's word rests on wrong bytes.
    ///
    /// # Source
    /// docs/adr/0007-rocksdb-build.md
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Sync(_) | Self::Corrupt(_) | Self::Io(_))
    }
}
