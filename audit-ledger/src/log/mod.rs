//! The audit log: one leaf for each executed transaction, its tree, and the lists to find leaves by.
//!
//! Everything is appended within the batch of the block that executed the transactions, so the log,
//! the state and the tip are never of different heights.
//!
//! # Source
//! docs/spec/log.md; docs/spec/index.md

mod recent;

pub use recent::{RecentNodes, ThroughRecent};

use crate::{
    commitment::index::{self, Index, Link},
    store::{Changes, Overlay, Reader, Space, StoreError, number},
};
use dmdl_types::{
    codec,
    event::Event,
    id::TransactionId,
    index_proof::HeadKey,
    limits,
    merkle::{self, ConsistencyProof, Frontier, InclusionProof, NodeAddress, ProofError},
};

#[cfg(test)]
mod tests;

/// First byte of the keys in [`Space::Events`]: what is listed under the rest.
mod tag {
    /// Leaf bytes by position.
    pub(super) const LEAF: u8 = 0;
    /// Positions of the first leaves of transactions whose ids begin alike.
    pub(super) const TRANSACTION: u8 = 1;
    /// Nothing, by the head that a leaf is counted under, and by its position.
    pub(super) const HEAD: u8 = 2;
}

/// Hashes of this level of the tree and above are stored; one below follows from a leaf or two.
const STORED_LEVEL: u8 = 2;

/// How much of a transaction's id is in the key that it is found by. Ids that begin alike stand under one key, and
/// the leaf tells them apart.
const ID_LEN_BYTES: usize = 8;

/// What an append leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The tree's new root.
    pub root: [u8; 32],
    /// The index's new root.
    pub index: [u8; 32],
    /// What leads back to the index before.
    pub undo: Changes,
}

/// Appends the events of a block.
///
/// # Errors
/// [`StoreError`] when the log cannot be read.
pub fn append<R: Reader>(
    block: &mut Overlay<R>,
    frontier: &mut Frontier,
    index: &mut Index,
    events: &[Event],
) -> Result<Appended, StoreError> {
    let mut links = Vec::with_capacity(events.len() * 3);
    for event in events {
        let position = frontier.size();
        let leaf = event.to_leaf();
        let leaf_hash = merkle::leaf_hash(&leaf);
        for (address, hash) in frontier.append(leaf_hash) {
            if address.level >= STORED_LEVEL {
                block.put(Space::Log, node_key(address), hash);
            }
        }
        block.put(Space::Events, leaf_key(position), leaf);
        // Items of a system transaction are next to each other.
        if event.item == 0 {
            let key = transaction_key(event.transaction);
            let mut positions = block.get(Space::Events, &key)?.unwrap_or_default();
            number::put(&mut positions, position);
            block.put(Space::Events, key, positions);
        }
        links.extend(head_keys(event).map(|key| Link { key, leaf_index: position, leaf_hash }));
    }
    let linked = index.append(block, &links)?;
    for (link, first) in links.iter().zip(linked.first) {
        block.put(Space::Events, List::new(&link.key, first).key(link.leaf_index), []);
    }
    Ok(Appended { root: frontier.root(), index: linked.root, undo: linked.undo })
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

/// A transaction's event with its position; items of a system transaction count from 0.
///
/// # Errors
/// [`StoreError`] when it cannot be read.
pub fn find(reader: &impl Reader, transaction: TransactionId, item: u32) -> Result<Option<(u64, Event)>, StoreError> {
    let positions = reader.get(Space::Events, &transaction_key(transaction))?.unwrap_or_default();
    let (mut rest, mut found) = (positions.as_slice(), None);
    while !rest.is_empty() {
        let (first, after) = number::take(rest).ok_or_else(not_a_position)?;
        let position = first.saturating_add(u64::from(item));
        let is_it = |event: &Event| event.transaction == transaction && event.item == item;
        found = event(reader, position)?.filter(is_it).map(|event| (position, event)).or(found);
        rest = after;
    }
    Ok(found)
}

/// Where the leaf of a transaction stands, as [`find`] says.
///
/// # Errors
/// [`StoreError`] when it cannot be read.
pub fn position(reader: &impl Reader, transaction: TransactionId, item: u32) -> Result<Option<u64>, StoreError> {
    Ok(find(reader, transaction, item)?.map(|(position, _)| position))
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
    List::of(reader, key)?.map_or_else(|| Ok(Vec::new()), |list| list.positions(reader, after, limit))
}

/// The leaves under one head.
///
/// # Encoding
/// Each is a key `2 ‖ first ‖ kind u8 ‖ position`, where `first` is the position of the first of them: no other leaf
/// is the first one under a head of this kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    prefix: Vec<u8>,
}

impl List {
    /// The list of a head; `None` when no leaf is under it.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn of(reader: &impl Reader, key: &HeadKey) -> Result<Option<Self>, StoreError> {
        Ok(index::first(reader, key)?.map(|first| Self::new(key, first)))
    }

    /// The positions of at most `limit` of its leaves, after a position.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub fn positions(&self, reader: &impl Reader, after: Option<u64>, limit: usize) -> Result<Vec<u64>, StoreError> {
        let after = after.map(|position| self.key(position));
        let entries = reader.scan(Space::Events, &self.prefix, after.as_deref(), limit)?;
        let position = |key: &[u8]| match number::take(key.get(self.prefix.len()..)?)? {
            (position, []) => Some(position),
            _ => None,
        };
        entries.iter().map(|(key, _)| position(key).ok_or_else(not_a_position)).collect()
    }

    fn new(key: &HeadKey, first: u64) -> Self {
        let mut prefix = vec![tag::HEAD];
        number::put(&mut prefix, first);
        prefix.push(match key {
            HeadKey::Record(_) => 0,
            HeadKey::Actor(_) => 1,
            HeadKey::Subject(_) => 2,
        });
        Self { prefix }
    }

    fn key(&self, position: u64) -> Vec<u8> {
        let mut key = self.prefix.clone();
        number::put(&mut key, position);
        key
    }
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
    let missing = || StoreError::Corrupt("a node of the audit tree is missing".into());
    if address.level >= STORED_LEVEL {
        let bytes = reader.get(Space::Log, &node_key(address))?;
        return bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(missing);
    }
    let mut tree = Frontier::new();
    for position in (address.index << address.level..).take(1 << address.level) {
        tree.append(merkle::leaf_hash(&leaf(reader, position)?.ok_or_else(missing)?));
    }
    Ok(tree.root())
}

fn not_a_position() -> StoreError {
    StoreError::Corrupt("a list of positions".into())
}

fn node_key(address: NodeAddress) -> Vec<u8> {
    let mut key = vec![address.level];
    number::put(&mut key, address.index);
    key
}

fn leaf_key(position: u64) -> Vec<u8> {
    let mut key = vec![tag::LEAF];
    number::put(&mut key, position);
    key
}

fn transaction_key(transaction: TransactionId) -> Vec<u8> {
    let mut key = vec![tag::TRANSACTION];
    key.extend(transaction.as_bytes().iter().take(ID_LEN_BYTES));
    key
}
