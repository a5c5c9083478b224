//! The pool: endorsed transactions that wait for a block.
//!
//! Bounded in number and bytes; when it is full it says so at once instead of growing. Candidate
//! blocks are remembered until they are final or useless, so that a transaction is not ordered again
//! while the block that has it is still on its way.

use super::rules::may_be_at;
use crate::endorse;
use dmdl_types::{
    block::{Block, Body},
    codec,
    genesis::EpochConfig,
    id::{BlockDigest, Height, NodeId, TransactionId},
    limits,
    transaction::{EndorsedTransaction, SystemTransaction},
};
use std::collections::{BTreeMap, BTreeSet};

/// Most transactions that wait.
const TRANSACTIONS_MAX: usize = 20_000;
/// Most bytes that wait.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most system transactions of one node that wait.
const SYSTEM_PER_NODE_MAX: usize = 64;
/// Candidate blocks that are remembered.
const CANDIDATES_MAX: usize = 512;
/// When a full pool may be asked again.
const RETRY_AFTER_MS: u64 = 500;

/// The pool is full: nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many transactions wait to be ordered; try again in {retry_after_ms} ms")]
pub struct Busy {
    /// When to try again.
    pub retry_after_ms: u64,
}

/// Transactions that wait for a block.
#[derive(Debug, Default)]
pub struct Pool {
    waiting: BTreeMap<TransactionId, Waiting>,
    by_arrival: BTreeMap<u64, TransactionId>,
    arrivals: u64,
    bytes: usize,
    system: BTreeMap<(NodeId, u64), (TransactionId, SystemTransaction)>,
    system_ids: BTreeSet<TransactionId>,
    candidates: BTreeMap<BlockDigest, Candidate>,
}

#[derive(Debug)]
struct Waiting {
    arrival: u64,
    len: usize,
    endorsed: EndorsedTransaction,
}

impl Waiting {
    /// Whether a block of this height and configuration may hold it: one that may not would make the block invalid.
    fn may_be_at(&self, height: Height, config: &EpochConfig) -> bool {
        may_be_at(self.endorsed.transaction.body.expires, height)
            && endorse::satisfied(config, &self.endorsed.endorsements)
    }
}

#[derive(Debug)]
struct Candidate {
    parent: BlockDigest,
    height: Height,
    ids: Vec<TransactionId>,
}

impl Pool {
    /// Takes in a verified transaction; `false` when it was there already.
    ///
    /// # Errors
    /// [`Busy`] when the pool is full.
    pub fn insert(&mut self, id: TransactionId, endorsed: EndorsedTransaction) -> Result<bool, Busy> {
        if self.waiting.contains_key(&id) {
            return Ok(false);
        }
        let len = codec::encode(&endorsed).len();
        if !self.has_room_for(len) {
            return Err(Busy { retry_after_ms: RETRY_AFTER_MS });
        }
        let arrival = self.next_arrival();
        self.bytes += len;
        self.by_arrival.insert(arrival, id);
        self.waiting.insert(id, Waiting { arrival, len, endorsed });
        Ok(true)
    }

    /// Takes in a verified system transaction; `false` when it was there already or its node has too
    /// many waiting.
    pub fn insert_system(&mut self, id: TransactionId, system: SystemTransaction) -> bool {
        let node = system.body.node;
        let of_node = self.system.range((node, 0)..=(node, u64::MAX)).count();
        if of_node >= SYSTEM_PER_NODE_MAX || !self.system_ids.insert(id) {
            return false;
        }
        let arrival = self.next_arrival();
        self.system.insert((node, arrival), (id, system));
        true
    }

    /// Whether a person's transaction waits that no candidate after `parent` has.
    ///
    /// System transactions do not count: they wait for the next block and never cause one.
    #[must_use]
    pub fn is_ready(&self, parent: BlockDigest, executed: Height, config: &EpochConfig) -> bool {
        let taken = self.on_the_way(parent, executed);
        let height = self.candidates.get(&parent).map_or(executed, |parent| parent.height.max(executed)).next();
        self.waiting.iter().any(|(id, waiting)| !taken.contains(id) && waiting.may_be_at(height, config))
    }

    /// What a block of an epoch, after `parent`, is made of: the oldest that fit, without what is on its way.
    #[must_use]
    pub fn body(&self, parent: BlockDigest, height: Height, executed: Height, config: &EpochConfig) -> Body {
        let taken = self.on_the_way(parent, executed);
        let mut body = Body::default();
        let mut left = limits::BLOCK_TRANSACTIONS_BYTES - 4;
        for id in self.by_arrival.values().filter(|id| !taken.contains(id)) {
            let Some(waiting) = self.waiting.get(id) else { continue };
            if !waiting.may_be_at(height, config) {
                continue;
            }
            let Some(rest) = left.checked_sub(waiting.len) else { break };
            left = rest;
            body.transactions.push(waiting.endorsed.clone());
        }
        let mut left = limits::BLOCK_SYSTEM_BYTES - 4;
        let mut nodes = BTreeSet::new();
        for ((node, _), (id, system)) in &self.system {
            let may_be_there = config.member(*node).is_some() && may_be_at(system.body.expires, height);
            if taken.contains(id) || nodes.contains(node) || !may_be_there {
                continue;
            }
            let Some(rest) = left.checked_sub(codec::encode(system).len()) else { continue };
            left = rest;
            nodes.insert(*node);
            body.system.push(system.clone());
        }
        body
    }

    /// Lets go of what no block of an epoch that begins may hold: its endorsers or its node have left. Whoever
    /// ordered it has it endorsed anew.
    pub fn begin(&mut self, config: &EpochConfig) {
        let outdated = |w: &Waiting| !endorse::satisfied(config, &w.endorsed.endorsements);
        self.drop_waiting(outdated);
        self.drop_system(|system| config.member(system.body.node).is_none());
    }

    /// Remembers a candidate block that this node proposed or verified.
    pub fn observe(&mut self, digest: BlockDigest, block: &Block) {
        if self.candidates.len() >= CANDIDATES_MAX {
            let lowest = self.candidates.iter().min_by_key(|(_, c)| c.height).map(|(digest, _)| *digest);
            lowest.map(|digest| self.candidates.remove(&digest));
        }
        let ids = ids_of(block);
        self.candidates.insert(digest, Candidate { parent: block.header.parent, height: block.header.height, ids });
    }

    /// Lets go of what a final block has executed, and of what has expired.
    pub fn settle(&mut self, block: &Block) {
        for id in ids_of(block) {
            self.remove(id);
        }
        let height = block.header.height;
        self.candidates.retain(|_, candidate| candidate.height > height);
        self.drop_waiting(|w| w.endorsed.transaction.body.expires <= height);
        self.drop_system(|system| system.body.expires <= height);
    }

    /// Whether a large transaction would be refused for want of room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.has_room_for(limits::TRANSACTION_BYTES)
    }

    fn has_room_for(&self, len: usize) -> bool {
        self.waiting.len() < TRANSACTIONS_MAX && self.bytes + len <= BYTES_MAX
    }

    /// How many of people's transactions wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The transactions of `parent` and its ancestors that are not executed yet.
    fn on_the_way(&self, parent: BlockDigest, executed: Height) -> BTreeSet<TransactionId> {
        let mut ids = BTreeSet::new();
        let mut digest = parent;
        while let Some(candidate) = self.candidates.get(&digest).filter(|c| c.height > executed) {
            ids.extend(candidate.ids.iter().copied());
            digest = candidate.parent;
        }
        ids
    }

    fn drop_waiting(&mut self, goes: impl Fn(&Waiting) -> bool) {
        let gone: Vec<TransactionId> = self.waiting.iter().filter(|(_, w)| goes(w)).map(|(id, _)| *id).collect();
        for id in gone {
            self.remove(id);
        }
    }

    /// Drops system transactions, and those whose ids were removed.
    fn drop_system(&mut self, goes: impl Fn(&SystemTransaction) -> bool) {
        let Self { system, system_ids, .. } = self;
        system.retain(|_, (id, system)| {
            let stays = !goes(system) && system_ids.contains(id);
            if !stays {
                system_ids.remove(id);
            }
            stays
        });
    }

    fn remove(&mut self, id: TransactionId) {
        if let Some(waiting) = self.waiting.remove(&id) {
            self.by_arrival.remove(&waiting.arrival);
            self.bytes -= waiting.len;
        }
        self.system_ids.remove(&id);
    }

    const fn next_arrival(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }
}

fn ids_of(block: &Block) -> Vec<TransactionId> {
    let people = block.body.transactions.iter().map(|endorsed| endorsed.transaction.body.id());
    people.chain(block.body.system.iter().map(SystemTransaction::id)).collect()
}
