//! The steps from epoch to epoch: the last header of each epoch, with its certificate.
//!
//! They are kept when an epoch ends, before its last block is executed: whoever has reached an epoch has the steps that
//! lead to it. They are kept apart from the chain, because a node that joined has no blocks of earlier epochs, and apart
//! from world state, because nodes hold different valid certificates.

use crate::{
    store::{Batch, Reader, Space, StoreError},
    world,
};
use dmdl_types::{
    codec,
    genesis::EpochConfig,
    id::Epoch,
    limits,
    lineage::{EpochStep, FinalHeader},
};

/// Before the number of the epoch that a step leads to, most significant byte first.
const PREFIX: &[u8] = b"step/";

/// Keeps what announced the configuration of an epoch.
pub(crate) fn keep(batch: &mut Batch, epoch: Epoch, announced: &FinalHeader) {
    batch.put(Space::Meta, key(epoch), codec::encode(announced));
}

/// The step to an epoch; none before the epoch has begun.
///
/// # Errors
/// [`StoreError`] when it cannot be read.
pub(crate) fn read(reader: &impl Reader, epoch: Epoch) -> Result<Option<EpochStep>, StoreError> {
    let Some(bytes) = reader.get(Space::Meta, &key(epoch))? else { return Ok(None) };
    let damaged = |error| StoreError::Corrupt(format!("the step to epoch {epoch}: {error}"));
    let announced = codec::decode(&bytes, limits::BLOCK_BYTES).map_err(damaged)?;
    let missing = || StoreError::Corrupt(format!("the configuration of epoch {epoch} is missing"));
    let config: EpochConfig = world::read(reader, &epoch)?.ok_or_else(missing)?;
    Ok(Some(EpochStep { announced, config }))
}

/// The step to an epoch and those after it: as many as are shown at once within so many bytes, but at least one if there
/// is one.
///
/// # Errors
/// [`StoreError`] when one cannot be read.
pub(crate) fn read_from(reader: &impl Reader, first: Epoch, bytes_max: usize) -> Result<Vec<EpochStep>, StoreError> {
    let (mut steps, mut bytes, mut epoch) = (Vec::new(), 0, first);
    while steps.len() < limits::EPOCH_STEPS
        && let Some(step) = read(reader, epoch)?
    {
        bytes += codec::encode(&step).len();
        if bytes > bytes_max && !steps.is_empty() {
            break;
        }
        steps.push(step);
        epoch = epoch.next();
    }
    Ok(steps)
}

fn key(epoch: Epoch) -> Vec<u8> {
    [PREFIX, &epoch.get().to_be_bytes()].concat()
}
