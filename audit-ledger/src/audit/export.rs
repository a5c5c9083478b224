//! Makes receipts and bundles from what this node holds.

use crate::{
    channel::Channel,
    commitment::index,
    execute::Anchor,
    log::{self, LogError},
    mdca::Chain,
    steps,
    store::{Store, StoreError},
};
use dmdl_types::{
    bundle::{Bundle, Content},
    checkpoint::CosignedCheckpoint,
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
/// The first epoch that a step leads to: what founded the channel decides those before.
const FIRST_STEP: Epoch = Epoch::new(2);

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
    if channel.joined_at().is_some_and(|joined| anchor.height <= joined) {
        // This node joined behind it; the next one is on its way.
        return Err(ExportError::NothingFinal);
    }
    let final_header = final_header(chain, anchor.height).await?;
    let epochs = steps_to(channel, final_header.header.epoch)?;
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
pub(crate) async fn final_header(chain: &Chain, height: Height) -> Result<FinalHeader, ExportError> {
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

/// The steps that certify the configurations up to an epoch; what founded the channel decides the first two.
fn steps_to<E, S: Store>(channel: &Channel<E, S>, last: Epoch) -> Result<Vec<EpochStep>, ExportError> {
    let step = |epoch| steps::read(channel.store(), epoch)?.ok_or_else(|| missing(channel, epoch));
    (FIRST_STEP.get()..=last.get()).map(Epoch::new).map(step).collect()
}

/// The first steps that lead on from an epoch's configuration: as many as are shown at once, and none after the last.
///
/// # Errors
/// [`ExportError`] when they cannot be read.
pub fn steps_after<E, S: Store>(channel: &Channel<E, S>, epoch: Epoch) -> Result<Vec<EpochStep>, ExportError> {
    let first = epoch.next().max(FIRST_STEP);
    let steps = steps::read_from(channel.store(), first, limits::EPOCH_STEPS_BYTES)?;
    if steps.is_empty() && first <= channel.current_epoch() {
        // None would say that this is all.
        return Err(missing(channel, first));
    }
    Ok(steps)
}

/// What an epoch is reached by is not here.
fn missing<E, S: Store>(channel: &Channel<E, S>, epoch: Epoch) -> ExportError {
    ExportError::Missing(Height::new((epoch.get() * channel.founding().channel.epoch_blocks).saturating_sub(1)))
}
