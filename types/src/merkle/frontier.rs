//! The right edge of a tree: all that appending needs.

use super::{Hash, NodeAddress, empty_root, node_hash, plan::complete_subtrees};
use borsh::{BorshDeserialize, BorshSerialize};
use std::io;

/// The largest tree that is read back; appending cannot reach it.
const SIZE_MAX: u64 = 1 << 62;

/// A tree's size and its complete subtrees from left to right, largest first.
///
/// # Encoding
/// `size u64-le ‖ hash[32]*`, as many hashes as `size` has one bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    // INVARIANT: `peaks.len() == size.count_ones()`.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// The frontier that a tree had at `size`, from stored nodes.
    ///
    /// # Errors
    /// Whatever `node` fails with.
    pub fn at_size<E>(size: u64, node: impl FnMut(NodeAddress) -> Result<Hash, E>) -> Result<Self, E> {
        let peaks = complete_subtrees(0..size).map(node).collect::<Result<_, E>>()?;
        Ok(Self { size, peaks })
    }

    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> Hash {
        let from_the_right = self.peaks.iter().rev().copied();
        from_the_right.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }

    /// Appends a leaf by its [`leaf_hash`](super::leaf_hash).
    ///
    /// The result is every subtree that is complete from now on, the leaf itself first: what a
    /// database has to keep. No later append changes any of them.
    pub fn append(&mut self, leaf: Hash) -> Vec<(NodeAddress, Hash)> {
        let mut address = NodeAddress { level: 0, index: self.size };
        let mut hash = leaf;
        let mut completed = vec![(address, hash)];
        // A right child has its left sibling among the peaks: the last one.
        while address.index % 2 == 1
            && let Some(left) = self.peaks.pop()
        {
            hash = node_hash(&left, &hash);
            address = NodeAddress { level: address.level + 1, index: address.index / 2 };
            completed.push((address, hash));
        }
        self.peaks.push(hash);
        self.size += 1;
        completed
    }
}

impl BorshSerialize for Frontier {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        self.size.serialize(writer)?;
        self.peaks.iter().try_for_each(|peak| peak.serialize(writer))
    }
}

impl BorshDeserialize for Frontier {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let size = u64::deserialize_reader(reader)?;
        if size > SIZE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no tree has so many leaves"));
        }
        let peaks = (0..size.count_ones()).map(|_| Hash::deserialize_reader(reader)).collect::<io::Result<_>>()?;
        Ok(Self { size, peaks })
    }
}
