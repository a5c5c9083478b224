//! Makes receipts and bundles from what this node holds.

use crate::{
    channel::Channel,
    commitment::index,
    execute::Anchor,
    log::{self, LogError},
    mdca::Chain,
    store::{Store, StoreError},
};
use dmdl_types::{
    bundle::{Bundle, Content},
    checkpoint::CosignedCheckpoint,
    codec,
    id::{Epoch, Height},
    index_proof::HeadKey,
    limits,
    lineage::{EpochStep, FinalHeader},
    receipt::Receipt,
};

/// Leaves that are read at a time.
const PAGE: usize = 1024;
/// How far ahead the next certificate is looked for; consensus leaves no longer gap.
const LINKS_MAX: u64 = 1024;

/// Why there is no bundle or receipt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// No final header carries a checkpoint yet.
    #[error("no checkpoint is final yet; try again after the next block")]
    NothingFinal,
    /// This node restarted since the newest checkpoint and cannot prove completeness before the next one.
    #[error("this node cannot prove completeness before the next checkpoint; try again, or ask another node")]
    NoHistory,
    /// The chain lacks a block or a certificate that it should have.
    #[error("the chain lacks height {0}")]
    Missing(Height),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the receipt of the leaf at `position` under a checkpoint that covers it.
///
/// # Errors
/// [`ExportError::Log`] when the checkpoint does not cover the leaf.
pub fn receipt(
    reader: &impl crate::store::Reader,
    position: u64,
    checkpoint: CosignedCheckpoint,
) -> Result<Receipt, ExportError> {
    let proof = log::prove_inclusion(reader, position, checkpoint.checkpoint().size)?;
    let missing = || StoreError::Corrupt("a leaf of the audit log is missing".into());
    let leaf = log::leaf(reader, position)?.ok_or_else(missing)?;
    Ok(Receipt { leaf, index: position, hashes: proof.hashes, checkpoint })
}

/// Makes a bundle of everything, or of everything that concerns one record, actor or subject, under
/// the newest final checkpoint.
///
/// # Errors
/// [`ExportError`] when there is no such checkpoint yet, or something cannot be read.
pub async fn export<E: Send + Sync, S: Store>(
    channel: &Channel<E, S>,
    chain: &Chain,
    filter: Option<HeadKey>,
) -> Result<Bundle, ExportError> {
    let (anchor, content) = content(channel, filter)?;
    let final_header = final_header(chain, anchor.height).await?;
    let epochs = epochs(channel, chain, final_header.header.epoch).await?;
    Ok(Bundle { domain: channel.domain(), epochs, anchor: final_header, content })
}

/// The events under the newest final checkpoint.
pub(super) fn content<E, S: Store>(
    channel: &Channel<E, S>,
    filter: Option<HeadKey>,
) -> Result<(Anchor, Content), ExportError> {
    let Some(key) = filter else {
        let anchor = channel.tip().anchor.ok_or(ExportError::NothingFinal)?;
        let leaves = all_leaves(channel, anchor.checkpoint.size)?;
        return Ok((anchor, Content::All { leaves }));
    };
    let (anchor, proof) = channel.with_anchored_index(|anchor, view| Ok((anchor, index::prove(view, &key)?)))?;
    let store = channel.store();
    let mut leaves = Vec::new();
    let mut after = None;
    loop {
        let page = log::positions(store, &key, after, PAGE)?;
        let full = page.len() == PAGE;
        after = page.last().copied();
        for position in page.into_iter().filter(|position| *position < anchor.checkpoint.size) {
            let leaf = log::leaf(store, position)?;
            leaves.push((position, leaf.ok_or_else(|| StoreError::Corrupt("a listed leaf is missing".into()))?));
        }
        if !full {
            return Ok((anchor, Content::Head { key, proof, leaves }));
        }
    }
}

fn all_leaves<E, S: Store>(channel: &Channel<E, S>, size: u64) -> Result<Vec<Vec<u8>>, StoreError> {
    let size = usize::try_from(size).map_err(|_| StoreError::Corrupt("the log is longer than memory".into()))?;
    let mut leaves: Vec<Vec<u8>> = Vec::with_capacity(size);
    while leaves.len() < size {
        let page = log::leaves(channel.store(), leaves.len() as u64, PAGE.min(size - leaves.len()))?;
        if page.is_empty() {
            return Err(StoreError::Corrupt("the log is shorter than its checkpoint".into()));
        }
        leaves.extend(page);
    }
    Ok(leaves)
}

/// A header with the nearest certificate that makes it final.
async fn final_header(chain: &Chain, height: Height) -> Result<FinalHeader, ExportError> {
    let header = chain.block(height).await.ok_or(ExportError::Missing(height))?.header().clone();
    let mut links = Vec::new();
    let mut at = height;
    loop {
        if let Some(certificate) = chain.certificate(at).await {
            return Ok(FinalHeader { header, links, certificate });
        }
        at = at.next();
        if at.get() - height.get() > LINKS_MAX {
            return Err(ExportError::Missing(height));
        }
        let next = chain.block(at).await.ok_or(ExportError::NothingFinal)?;
        links.push(next.header().clone());
    }
}

/// The steps that certify the configurations up to an epoch; genesis itself decides the first two.
async fn epochs<E: Send + Sync, S: Store>(
    channel: &Channel<E, S>,
    chain: &Chain,
    last: Epoch,
) -> Result<Vec<EpochStep>, ExportError> {
    let mut steps = Vec::new();
    for epoch in 2..=last.get() {
        steps.push(step(channel, chain, Epoch::new(epoch)).await?);
    }
    Ok(steps)
}

/// The first steps that lead on from an epoch's configuration, up to that of the next block: as many as are shown at
/// once, and none after the last.
///
/// # Errors
/// [`ExportError`] when the chain or the state cannot be read.
pub async fn steps_after<E: Send + Sync, S: Store>(
    channel: &Channel<E, S>,
    chain: &Chain,
    epoch: Epoch,
) -> Result<Vec<EpochStep>, ExportError> {
    let newest = channel.config()?.epoch;
    let (mut steps, mut bytes, mut at) = (Vec::new(), 0, epoch);
    while at < newest && steps.len() < limits::EPOCH_STEPS {
        at = at.next();
        let step = step(channel, chain, at).await?;
        bytes += codec::encode(&step).len();
        if bytes > limits::EPOCH_STEPS_BYTES && !steps.is_empty() {
            break;
        }
        steps.push(step);
    }
    Ok(steps)
}

/// The step to an epoch's configuration.
async fn step<E: Send + Sync, S: Store>(
    channel: &Channel<E, S>,
    chain: &Chain,
    epoch: Epoch,
) -> Result<EpochStep, ExportError> {
    let blocks = channel.founding().channel.epoch_blocks;
    // The last block of the epoch before: it has a certificate of its own.
    let announced = final_header(chain, Height::new((epoch.get() * blocks).saturating_sub(1))).await?;
    let config = channel.epoch_config(epoch)?;
    let missing = || StoreError::Corrupt("the configuration of an epoch is missing".into());
    Ok(EpochStep { announced, config: config.ok_or_else(missing)? })
}
