//! The audit log: one leaf for each executed transaction, its tree, and the lists to find leaves by.
//!
//! Everything is appended within the batch of the block that executed the transactions, so the log,
//! the state and the tip are never of different heights.
//!
//! # Source
//! docs/spec/log.md; docs/spec/index.md

use crate::{
    commitment::index::{self, Link},
    store::{Overlay, Reader, Space, StoreError},
};
use dmdl_types::{
    codec,
    event::Event,
    id::TransactionId,
    index_proof::HeadKey,
    limits,
    merkle::{self, ConsistencyProof, Frontier, InclusionProof, NodeAddress, ProofError},
};

/// First byte of the keys in [`Space::Events`]: what is listed under the rest.
mod tag {
    /// Leaf bytes by index.
    pub(super) const LEAF: u8 = 0;
    /// Leaf index by transaction and item.
    pub(super) const TRANSACTION: u8 = 1;
    /// Leaf indices by head key.
    pub(super) const HEAD: u8 = 2;
}

/// What an append leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The tree's new root.
    pub root: [u8; 32],
    /// The index's new root.
    pub index: [u8; 32],
}

/// Appends the events of a block.
///
/// # Errors
/// [`StoreError`] when the log cannot be read.
pub fn append<R: Reader>(
    block: &mut Overlay<R>,
    frontier: &mut Frontier,
    events: &[Event],
) -> Result<Appended, StoreError> {
    let mut links = Vec::with_capacity(events.len() * 3);
    for event in events {
        let position = frontier.size();
        let leaf = event.to_leaf();
        let leaf_hash = merkle::leaf_hash(&leaf);
        for (address, hash) in frontier.append(leaf_hash) {
            block.put(Space::Log, node_key(address), hash);
        }
        block.put(Space::Events, leaf_key(position), leaf);
        block.put(Space::Events, transaction_key(event.transaction, event.item), position.to_be_bytes());
        for key in head_keys(event) {
            block.put(Space::Events, listed_key(&key, Some(position)), []);
            links.push(Link { key, leaf_index: position, leaf_hash });
        }
    }
    Ok(Appended { root: frontier.root(), index: index::append(block, &links)? })
}

/// The heads that an event is counted under: its record, its actor, its subject.
pub fn head_keys(event: &Event) -> impl Iterator<Item = HeadKey> + use<> {
    let (record, subject) = (event.record, event.subject);
    record.map(HeadKey::Record).into_iter().chain([HeadKey::Actor(event.actor)]).chain(subject.map(HeadKey::Subject))
}

/// The frontier of the tree of `size` leaves.
///
/// # Errors
/// [`StoreError`] when a node of the tree is missing.
pub fn frontier(reader: &impl Reader, size: u64) -> Result<Frontier, StoreError> {
    Frontier::at_size(size, |address| node(reader, address))
}

/// The leaf at a position.
///
/// # Errors
/// [`StoreError`] when it cannot be read.
pub fn leaf(reader: &impl Reader, position: u64) -> Result<Option<Vec<u8>>, StoreError> {
    reader.get(Space::Events, &leaf_key(position))
}

/// The event at a position.
///
/// # Errors
/// [`StoreError`] when it cannot be read, or is none.
pub fn event(reader: &impl Reader, position: u64) -> Result<Option<Event>, StoreError> {
    leaf(reader, position)?.map(|bytes| parse(&bytes)).transpose()
}

/// At most `limit` leaves from a position on.
///
/// # Errors
/// [`StoreError`] when one cannot be read.
pub fn leaves(reader: &impl Reader, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
    let after = from.checked_sub(1).map(leaf_key);
    let entries = reader.scan(Space::Events, &[tag::LEAF], after.as_deref(), limit)?;
    Ok(entries.into_iter().map(|(_, leaf)| leaf).collect())
}

/// Where a transaction's leaf stands; items of a system transaction count from 0.
///
/// # Errors
/// [`StoreError`] when it cannot be read.
pub fn position(reader: &impl Reader, transaction: TransactionId, item: u32) -> Result<Option<u64>, StoreError> {
    let found = reader.get(Space::Events, &transaction_key(transaction, item))?;
    found.map(|bytes| number(&bytes)).transpose()
}

/// The positions of at most `limit` leaves under a head, after a position.
///
/// # Errors
/// [`StoreError`] when they cannot be read.
pub fn positions(
    reader: &impl Reader,
    key: &HeadKey,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<u64>, StoreError> {
    let prefix = listed_key(key, None);
    let after = after.map(|position| listed_key(key, Some(position)));
    let entries = reader.scan(Space::Events, &prefix, after.as_deref(), limit)?;
    entries.into_iter().map(|(key, _)| number(key.get(prefix.len()..).unwrap_or_default())).collect()
}

/// Proves that the leaf at `position` is in the tree of `size` leaves.
///
/// # Errors
/// [`LogError::Proof`] when there is no such leaf.
pub fn prove_inclusion(reader: &impl Reader, position: u64, size: u64) -> Result<InclusionProof, LogError> {
    InclusionProof::build(position, size, |address| node(reader, address).map_err(LogError::from))
}

/// Proves that the tree of `old` leaves grew to the one of `new` leaves.
///
/// # Errors
/// [`LogError::Proof`] when `old` is larger than `new`.
pub fn prove_consistency(reader: &impl Reader, old: u64, new: u64) -> Result<ConsistencyProof, LogError> {
    ConsistencyProof::build(old, new, |address| node(reader, address).map_err(LogError::from))
}

/// Why a proof cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// There is no such proof.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn parse(bytes: &[u8]) -> Result<Event, StoreError> {
    codec::decode(bytes, limits::EVENT_BYTES).map_err(|e| StoreError::Corrupt(format!("an event: {e}")))
}

fn node(reader: &impl Reader, address: NodeAddress) -> Result<[u8; 32], StoreError> {
    let bytes = reader.get(Space::Log, &node_key(address))?;
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| StoreError::Corrupt("a node of the audit tree is missing".into()))
}

fn number(bytes: &[u8]) -> Result<u64, StoreError> {
    let bytes = bytes.try_into().map_err(|_| StoreError::Corrupt("a position is not eight bytes".into()))?;
    Ok(u64::from_be_bytes(bytes))
}

fn node_key(address: NodeAddress) -> Vec<u8> {
    let mut key = vec![address.level];
    key.extend(address.index.to_be_bytes());
    key
}

fn leaf_key(position: u64) -> Vec<u8> {
    let mut key = vec![tag::LEAF];
    key.extend(position.to_be_bytes());
    key
}

fn transaction_key(transaction: TransactionId, item: u32) -> Vec<u8> {
    let mut key = vec![tag::TRANSACTION];
    key.extend(transaction.as_bytes());
    key.extend(item.to_be_bytes());
    key
}

fn listed_key(head: &HeadKey, position: Option<u64>) -> Vec<u8> {
    let mut key = vec![tag::HEAD];
    key.extend(codec::encode(head));
    key.extend(position.map(u64::to_be_bytes).into_iter().flatten());
    key
}
