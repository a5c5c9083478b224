//! The source's side: answers to a node that joins.

use crate::{
    audit,
    channel::Channel,
    log,
    mdca::Chain,
    steps,
    store::{Reader as _, Space, Store, StoreError},
};
use dmdl_types::snapshot::{Offer, Part, Question};

/// What one answer holds, unless a single row is longer.
const PART_BYTES: usize = 128 * 1024;
/// Rows that are read together.
const ROWS: usize = 256;

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
async fn offer<E: Send + Sync, S: Store>(channel: &Channel<E, S>, chain: &Chain) -> Option<Offer> {
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
            let leaves = log::leaves(&kept, *from, ROWS)?;
            Ok(Part::Leaves(fitting(leaves, Vec::len)))
        }
        Question::State(height, after) => {
            let Some(kept) = store.kept(height.get())? else { return Ok(Part::Gone) };
            let after = (!after.is_empty()).then_some(after.as_slice());
            let rows = kept.scan(Space::State, &[], after, ROWS)?;
            Ok(Part::State(fitting(rows, |(key, value)| key.len() + value.len())))
        }
    }
}

/// As many rows from the first on as fit; at least one, if there is one.
fn fitting<T>(rows: Vec<T>, len: impl Fn(&T) -> usize) -> Vec<T> {
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
