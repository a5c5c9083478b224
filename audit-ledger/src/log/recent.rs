//! Nodes of the audit tree that were read lately.
//!
//! Receipts of neighbouring leaves have most of their nodes in common, and a node that stands in the log never changes:
//! what is kept here is true for ever.

use crate::store::{Entry, Reader, Space, StoreError};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many are kept: those of some hundreds of blocks, about 2 MB.
const KEPT_MAX: usize = 16_384;

/// The nodes that were read lately.
#[derive(Debug, Default)]
pub struct RecentNodes(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_key: BTreeMap<Vec<u8>, Vec<u8>>,
    order: VecDeque<Vec<u8>>,
}

impl RecentNodes {
    /// The same store, with these nodes before it.
    pub const fn before<R>(&self, reader: R) -> ThroughRecent<'_, R> {
        ThroughRecent { nodes: self, reader }
    }

    // A poisoned lock only means that another thread died; what it kept is still true.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store that reads nodes of the audit tree once.
#[derive(Debug)]
pub struct ThroughRecent<'a, R> {
    nodes: &'a RecentNodes,
    reader: R,
}

impl<R: Reader> Reader for ThroughRecent<'_, R> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if space != Space::Log {
            return self.reader.get(space, key);
        }
        if let Some(node) = self.nodes.kept().by_key.get(key) {
            return Ok(Some(node.clone()));
        }
        // One that is not there yet may come.
        let Some(node) = self.reader.get(space, key)? else { return Ok(None) };
        let mut kept = self.nodes.kept();
        if kept.by_key.insert(key.to_vec(), node.clone()).is_none() {
            kept.order.push_back(key.to_vec());
            if kept.order.len() > KEPT_MAX
                && let Some(oldest) = kept.order.pop_front()
            {
                kept.by_key.remove(&oldest);
            }
        }
        Ok(Some(node))
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.reader.scan(space, prefix, after, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, MemoryStore, Store as _};

    #[test]
    fn a_node_is_read_once_and_one_that_is_not_there_is_looked_for_again() {
        let (store, nodes) = (MemoryStore::new(), RecentNodes::default());
        let read = || nodes.before(&store).get(Space::Log, b"node").unwrap();
        let put = |value: &[u8]| {
            let mut batch = Batch::new();
            batch.put(Space::Log, b"node", value);
            store.commit(batch).unwrap();
        };
        assert_eq!(read(), None);
        put(b"1");
        assert_eq!(read(), Some(b"1".to_vec()));
        // Nothing in the product does this: it shows who was asked.
        put(b"2");
        assert_eq!(read(), Some(b"1".to_vec()));
    }

    #[test]
    fn the_oldest_makes_room() {
        let (store, nodes) = (MemoryStore::new(), RecentNodes::default());
        let mut batch = Batch::new();
        for number in 0..=KEPT_MAX as u64 {
            batch.put(Space::Log, number.to_be_bytes(), [0]);
        }
        store.commit(batch).unwrap();
        for number in 0..=KEPT_MAX as u64 {
            assert!(nodes.before(&store).get(Space::Log, &number.to_be_bytes()).unwrap().is_some());
        }
        let kept = nodes.kept();
        assert_eq!((kept.by_key.len(), kept.order.len()), (KEPT_MAX, KEPT_MAX));
        assert!(!kept.by_key.contains_key(0u64.to_be_bytes().as_slice()));
    }
}
