//! Verifying that a leaf is in a tree, and that a tree only grew.

use super::{Hash, node_hash};
use borsh::{BorshDeserialize, BorshSerialize};

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The leaf lies outside the tree.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    NoSuchLeaf {
        /// The leaf's position.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The old tree is empty, or larger than the new one.
    #[error("a tree of {old_size} leaves cannot be shown to have grown to {new_size}")]
    NotGrown {
        /// The old tree's size.
        old_size: u64,
        /// The new tree's size.
        new_size: u64,
    },
    /// The proof has more or fewer hashes than its sizes ask for.
    #[error("the proof has too many or too few hashes: {got}")]
    WrongLength {
        /// How many hashes came.
        got: usize,
    },
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    RootMismatch,
}

/// Proof that a leaf is in a tree.
///
/// # Security
/// A proof binds leaf, index and root; that the root belongs to a tree of `size` leaves is what a
/// checkpoint's signatures say.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct InclusionProof {
    /// The leaf's position, from 0.
    pub index: u64,
    /// How many leaves the tree has.
    pub size: u64,
    /// The siblings on the way to the root, the leaf's own first.
    pub hashes: Vec<Hash>,
}

impl InclusionProof {
    /// Verifies that the leaf with this hash is in the tree with this root.
    ///
    /// # Errors
    /// [`ProofError`] when it does not follow.
    ///
    /// # Source
    /// RFC 9162 section 2.1.3.2
    pub fn verify(&self, leaf: &Hash, root: &Hash) -> Result<(), ProofError> {
        if self.index >= self.size {
            return Err(ProofError::NoSuchLeaf { index: self.index, size: self.size });
        }
        let wrong_length = ProofError::WrongLength { got: self.hashes.len() };
        let mut path = Path { node: self.index, last: self.size - 1 };
        let mut hash = *leaf;
        for sibling in &self.hashes {
            hash = match path.climb().ok_or(wrong_length)? {
                Side::Left => node_hash(sibling, &hash),
                Side::Right => node_hash(&hash, sibling),
            };
        }
        if path.last != 0 {
            return Err(wrong_length);
        }
        if hash == *root { Ok(()) } else { Err(ProofError::RootMismatch) }
    }
}

/// Proof that one tree is the beginning of another.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ConsistencyProof {
    /// How many leaves the old tree has.
    pub old_size: u64,
    /// How many leaves the new tree has.
    pub new_size: u64,
    /// The hashes that both roots follow from; empty for equal sizes.
    pub hashes: Vec<Hash>,
}

impl ConsistencyProof {
    /// Verifies that the tree with `new_root` begins with all leaves of the tree with `old_root`.
    ///
    /// # Errors
    /// [`ProofError`] when it does not follow. An empty old tree is refused: every tree begins with
    /// it, so a proof would say nothing.
    ///
    /// # Source
    /// RFC 9162 section 2.1.4.2
    pub fn verify(&self, old_root: &Hash, new_root: &Hash) -> Result<(), ProofError> {
        let Self { old_size, new_size, hashes } = self;
        if *old_size == 0 || old_size > new_size {
            return Err(ProofError::NotGrown { old_size: *old_size, new_size: *new_size });
        }
        let wrong_length = ProofError::WrongLength { got: hashes.len() };
        if old_size == new_size {
            return match (hashes.is_empty(), old_root == new_root) {
                (false, _) => Err(wrong_length),
                (true, false) => Err(ProofError::RootMismatch),
                (true, true) => Ok(()),
            };
        }
        // The subtree where both climbs begin: the old tree itself when it is complete.
        let (start, siblings) = if old_size.is_power_of_two() {
            (old_root, hashes.as_slice())
        } else {
            hashes.split_first().ok_or(wrong_length)?
        };
        let complete = (old_size - 1).trailing_ones();
        let mut path = Path { node: (old_size - 1) >> complete, last: (new_size - 1) >> complete };
        let (mut old, mut new) = (*start, *start);
        for sibling in siblings {
            match path.climb().ok_or(wrong_length)? {
                Side::Left => {
                    old = node_hash(sibling, &old);
                    new = node_hash(sibling, &new);
                }
                Side::Right => new = node_hash(&new, sibling),
            }
        }
        if path.last != 0 {
            return Err(wrong_length);
        }
        if old == *old_root && new == *new_root { Ok(()) } else { Err(ProofError::RootMismatch) }
    }
}

/// On which side of the path a sibling stands.
enum Side {
    Left,
    Right,
}

/// A climb from a node to the root: the RFC's `fn` and `sn`.
struct Path {
    /// Index of the current node on its level.
    node: u64,
    /// Index of the last node on that level.
    last: u64,
}

impl Path {
    /// Goes on to the parent and says where the sibling stands; `None` at the root.
    fn climb(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let side = if self.node % 2 == 1 || self.node == self.last {
            // The last node of a level may lack a sibling: it then moves up until it has one.
            let lone = if self.node % 2 == 1 { 0 } else { self.node.trailing_zeros() };
            self.shift(lone);
            Side::Left
        } else {
            Side::Right
        };
        self.shift(1);
        Some(side)
    }

    fn shift(&mut self, levels: u32) {
        self.node = self.node.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }
}
