//! The tip, and the newest checkpoint that this node has come to.

use crate::store::{Batch, Overlay, Reader, Space, Store, StoreError};
use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{
    checkpoint::Checkpoint,
    codec,
    id::{BlockDigest, Epoch, Height, UnixMillis},
    sign::Domain,
};

const TIP_KEY: &[u8] = b"tip";
const TIP_BYTES: usize = 1024;
/// There once a contradiction was seen; nothing takes it away but a new folder.
const ALARM_KEY: &[u8] = b"alarm";
/// The checkpoint of the last block that had events; those before it are in world state.
const NEWEST_CHECKPOINT_KEY: &[u8] = b"newest-checkpoint";

/// The last executed block, and how far the audit log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Tip {
    /// The network and channel.
    pub domain: Domain,
    /// The block's height.
    pub height: Height,
    /// Its digest.
    pub block: BlockDigest,
    /// Its time.
    pub time: UnixMillis,
    /// Its epoch.
    pub epoch: Epoch,
    /// How many leaves the audit log has.
    pub size: u64,
    /// The newest checkpoint that a final header carries.
    pub anchor: Option<Anchor>,
}

/// A checkpoint that is final: a final header carries it with enough cosignatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Anchor {
    /// The height of the header.
    pub height: Height,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
}

impl Tip {
    pub(crate) fn load(reader: &impl Reader) -> Result<Option<Self>, StoreError> {
        let damaged = |e| StoreError::Corrupt(format!("the tip: {e}"));
        reader.get(Space::Meta, TIP_KEY)?.map(|bytes| codec::decode(&bytes, TIP_BYTES).map_err(damaged)).transpose()
    }

    pub(super) fn store<R: Reader>(&self, block: &mut Overlay<R>) {
        block.put(Space::Meta, TIP_KEY, codec::encode(self));
    }
}

/// Begins a ledger whose state was not executed here: at this tip, which the checkpoint is of.
pub(crate) fn begin_at<R: Reader>(block: &mut Overlay<R>, tip: &Tip, checkpoint: &Checkpoint) {
    tip.store(block);
    remember_checkpoint(block, checkpoint);
}

pub(super) fn remember_checkpoint<R: Reader>(block: &mut Overlay<R>, checkpoint: &Checkpoint) {
    block.put(Space::Meta, NEWEST_CHECKPOINT_KEY, codec::encode(checkpoint));
}

/// The checkpoint of the last block that had events.
pub(super) fn newest_checkpoint(reader: &impl Reader) -> Result<Option<Checkpoint>, StoreError> {
    let damaged = |e| StoreError::Corrupt(format!("the newest checkpoint: {e}"));
    let bytes = reader.get(Space::Meta, NEWEST_CHECKPOINT_KEY)?;
    bytes.map(|bytes| codec::decode(&bytes, TIP_BYTES).map_err(damaged)).transpose()
}

pub(super) fn raise_alarm(store: &impl Store) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.put(Space::Meta, ALARM_KEY, []);
    store.commit(batch)
}

pub(super) fn alarm_raised(reader: &impl Reader) -> Result<bool, StoreError> {
    Ok(reader.get(Space::Meta, ALARM_KEY)?.is_some())
}
