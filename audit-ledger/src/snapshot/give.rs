//! The source's side: answers to a node that joins.

use crate::{
    audit,
    channel::Channel,
    log,
    mdca::Chain,
    steps,
    store::{Entry, Reader, Space, Store, StoreError},
};
use dmdl_types::snapshot::{Offer, Part, Question};

/// What one answer holds, unless a single row is longer.
pub(super) const PART_BYTES: usize = 128 * 1024;
/// Rows that are read together.
pub(super) const ROWS: usize = 256;

/// Answers a question about the channel's snapshots.
///
/// # Errors
/// [`StoreError`] when something cannot be read.
pub async fn answer<E: Send + Sync, S: Store>(
    channel: &Channel<E, S>,
    chain: &Chain,
    question: &Question,
) -> Result<Part, StoreError> {
    match question {
        Question::Newest => Ok(Part::Newest(offer(channel, chain).await.map(Box::new))),
        _ => part(channel.store(), question),
    }
}

/// The newest snapshot, with what shows that it is certified.
pub(super) async fn offer<E: Send + Sync, S: Store>(channel: &Channel<E, S>, chain: &Chain) -> Option<Offer> {
    let (height, anchor) = channel.newest_snapshot()?;
    let header = chain.block(height).await?.header().clone();
    let certificate = chain.certificate(height).await?;
    // Its certificate may be a few blocks behind.
    let anchor = audit::final_header(chain, anchor).await.ok()?;
    Some(Offer { header, certificate, anchor })
}

/// A piece of what a snapshot holds.
pub(super) fn part<S: Store>(store: &S, question: &Question) -> Result<Part, StoreError> {
    match question {
        Question::Newest => Ok(Part::Newest(None)),
        Question::Steps(from) => steps::read_from(store, *from, PART_BYTES).map(Part::Steps),
        Question::Leaves(height, from) => {
            let Some(kept) = store.kept(height.get())? else { return Ok(Part::Gone) };
            leaves(&kept, *from).map(Part::Leaves)
        }
        Question::State(height, after) => {
            let Some(kept) = store.kept(height.get())? else { return Ok(Part::Gone) };
            state(&kept, after).map(Part::State)
        }
    }
}

/// Leaves from a position on, as many as one answer holds.
pub(super) fn leaves(kept: &impl Reader, from: u64) -> Result<Vec<Vec<u8>>, StoreError> {
    Ok(fitting(log::leaves(kept, from, ROWS)?, Vec::len))
}

/// Entries of world state after a key, as many as one answer holds.
pub(super) fn state(kept: &impl Reader, after: &[u8]) -> Result<Vec<Entry>, StoreError> {
    let after = (!after.is_empty()).then_some(after);
    Ok(fitting(kept.scan(Space::State, &[], after, ROWS)?, |(key, value)| key.len() + value.len()))
}

/// As many rows from the first on as fit; at least one, if there is one.
pub(super) fn fitting<T>(rows: Vec<T>, len: impl Fn(&T) -> usize) -> Vec<T> {
    let mut bytes = 0;
    let mut fitting = Vec::new();
    for row in rows {
        bytes += len(&row);
        if bytes > PART_BYTES && !fitting.is_empty() {
            break;
        }
        fitting.push(row);
    }
    fitting
}
