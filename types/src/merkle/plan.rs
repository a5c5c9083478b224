//! Which stored nodes a proof is made of.

use super::{ConsistencyProof, Hash, InclusionProof, ProofError, node_hash};
use borsh::{BorshDeserialize, BorshSerialize};
use std::ops::Range;

/// Where a complete subtree stands: it has `2^level` leaves and begins at leaf `index * 2^level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct NodeAddress {
    /// Height above the leaves; a leaf's is 0.
    pub level: u8,
    /// Position among the subtrees of this level, from the left.
    pub index: u64,
}

/// The hashes of a proof, each as the range of leaves that it covers.
///
/// Made without any node at hand: [`ProofPlan::nodes`] lists what to read, [`ProofPlan::hashes`]
/// folds what was read. All nodes are complete subtrees, so they are the same in every later tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofPlan {
    covered: Vec<Range<u64>>,
}

impl ProofPlan {
    /// What proves that leaf `index` is in the tree of `size` leaves.
    ///
    /// # Errors
    /// [`ProofError::NoSuchLeaf`] when it is not.
    ///
    /// # Source
    /// RFC 9162 section 2.1.3.1
    pub fn inclusion(index: u64, size: u64) -> Result<Self, ProofError> {
        if index >= size {
            return Err(ProofError::NoSuchLeaf { index, size });
        }
        // From the root down to the leaf, the other half at each fork.
        let (mut start, mut end) = (0, size);
        let mut covered = Vec::new();
        while end - start > 1 {
            let fork = fork(start, end);
            if index < fork {
                covered.push(fork..end);
                end = fork;
            } else {
                covered.push(start..fork);
                start = fork;
            }
        }
        covered.reverse();
        Ok(Self { covered })
    }

    /// What proves that the tree of `new_size` leaves begins with that of `old_size`.
    ///
    /// # Errors
    /// [`ProofError::NotGrown`] when `old_size` is 0 or exceeds `new_size`.
    ///
    /// # Source
    /// RFC 9162 section 2.1.4.1
    pub fn consistency(old_size: u64, new_size: u64) -> Result<Self, ProofError> {
        if old_size == 0 || old_size > new_size {
            return Err(ProofError::NotGrown { old_size, new_size });
        }
        // From the root down to the last subtree that is whole in the old tree.
        let (mut start, mut end) = (0, new_size);
        let mut covered = Vec::new();
        while old_size < end {
            let fork = fork(start, end);
            if old_size <= fork {
                covered.push(fork..end);
                end = fork;
            } else {
                covered.push(start..fork);
                start = fork;
            }
        }
        // When that subtree is the old tree itself, the verifier has its hash: the old root.
        if start != 0 {
            covered.push(start..end);
        }
        covered.reverse();
        Ok(Self { covered })
    }

    /// The stored nodes that the proof needs.
    pub fn nodes(&self) -> impl Iterator<Item = NodeAddress> + '_ {
        self.covered.iter().cloned().flat_map(complete_subtrees)
    }

    /// The proof's hashes, from the nodes that `node` reads.
    ///
    /// # Errors
    /// Whatever `node` fails with.
    pub fn hashes<E>(&self, mut node: impl FnMut(NodeAddress) -> Result<Hash, E>) -> Result<Vec<Hash>, E> {
        let mut hashes = Vec::with_capacity(self.covered.len());
        for range in &self.covered {
            let complete = complete_subtrees(range.clone()).map(&mut node).collect::<Result<Vec<_>, E>>()?;
            hashes.extend(complete.into_iter().rev().reduce(|right, left| node_hash(&left, &right)));
        }
        Ok(hashes)
    }
}

impl InclusionProof {
    /// Makes the proof that leaf `index` is in the tree of `size` leaves, from stored nodes.
    ///
    /// # Errors
    /// [`ProofError::NoSuchLeaf`], or whatever `node` fails with.
    pub fn build<E: From<ProofError>>(
        index: u64,
        size: u64,
        node: impl FnMut(NodeAddress) -> Result<Hash, E>,
    ) -> Result<Self, E> {
        let hashes = ProofPlan::inclusion(index, size)?.hashes(node)?;
        Ok(Self { index, size, hashes })
    }
}

impl ConsistencyProof {
    /// Makes the proof that the tree of `old_size` leaves grew to one of `new_size`, from stored nodes.
    ///
    /// # Errors
    /// [`ProofError::NotGrown`], or whatever `node` fails with.
    pub fn build<E: From<ProofError>>(
        old_size: u64,
        new_size: u64,
        node: impl FnMut(NodeAddress) -> Result<Hash, E>,
    ) -> Result<Self, E> {
        let hashes = ProofPlan::consistency(old_size, new_size)?.hashes(node)?;
        Ok(Self { old_size, new_size, hashes })
    }
}

/// Where a tree over two leaves or more forks: its left half is the largest complete one.
const fn fork(start: u64, end: u64) -> u64 {
    start + (1 << (end - start - 1).ilog2())
}

/// The complete subtrees that make up a range, from left to right.
///
/// The range starts where a subtree at least as large as itself may start, as every range does that
/// forking a tree gives.
pub(super) fn complete_subtrees(range: Range<u64>) -> impl Iterator<Item = NodeAddress> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let largest = (range.end - start).checked_ilog2()?;
        let address = NodeAddress { level: u8::try_from(largest).ok()?, index: start >> largest };
        start += 1 << largest;
        Some(address)
    })
}
