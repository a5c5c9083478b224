//! Release entries: what must be on disk before a share leaves, and what leaves then.
//!
//! The order is in the types. Sealing gives a [`ReleaseEntry`], which nobody outside can read. Only
//! the custodian's store turns it into a [`Durable`] one, when it is on disk, and only that answers.
//!
//! # Source
//! docs/spec/custodian.md, "What is durable when"

use crate::seal::ReleasedShare;
use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{
    codec,
    context::ReleaseContext,
    id::{GrantId, UnixMillis},
    invocation::SystemItem,
};
use std::fmt;

/// A release as it is noted before it happens.
#[must_use]
pub struct ReleaseEntry(pub(super) ReleaseRow);

impl fmt::Debug for ReleaseEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReleaseEntry(for {:?})", self.0.context.transaction)
    }
}

/// The entry as it is stored.
///
/// # Encoding
/// `ReleaseContext[267] ‖ grant (0 | 1 ‖ [32]) ‖ until u64 ‖ sealed[114] ‖ signature[64]`
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct ReleaseRow {
    pub(super) context: ReleaseContext,
    pub(super) grant: Option<GrantId>,
    /// The last ledger time at which it is answered.
    pub(super) until: UnixMillis,
    pub(super) released: ReleasedShare,
}

impl ReleaseRow {
    /// What the ledger is told of this release.
    pub(super) fn mark(&self) -> SystemItem {
        let ReleaseContext { share, transaction, .. } = &self.context;
        SystemItem::Release {
            decryption: *transaction,
            record: share.data.record,
            version: share.data.version,
            epoch: share.epoch,
            share: self.released.sealed.digest(),
        }
    }
}

/// A release whose entry is on disk: made by the custodian's store alone, after the write returned or
/// out of what it read.
#[must_use]
pub struct Durable<T>(T);

impl<T> Durable<T> {
    /// Only the store calls this.
    pub(super) const fn written(value: T) -> Self {
        Self(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Durable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Durable").field(&self.0).finish()
    }
}

impl Durable<ReleaseEntry> {
    /// The bytes that leave for the requester: an encoded [`ReleasedShare`].
    #[must_use]
    pub fn answer(&self) -> Vec<u8> {
        codec::encode(&self.row().released)
    }

    /// The share that leaves, sealed and signed.
    #[must_use]
    pub const fn released(&self) -> &ReleasedShare {
        &self.row().released
    }

    /// What the release is bound to.
    #[must_use]
    pub const fn context(&self) -> &ReleaseContext {
        &self.row().context
    }

    /// The mark that follows on the ledger.
    #[must_use]
    pub fn mark(&self) -> SystemItem {
        self.row().mark()
    }

    const fn row(&self) -> &ReleaseRow {
        &self.0.0
    }
}
