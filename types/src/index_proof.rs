//! Proof that an export is complete: heads, and where they stand under an index root.
//!
//! Every leaf of the audit log concerns some records, actors and subjects. For each of them the
//! index keeps a [`Head`]: how many leaves there are, and a hash that rolls over all of them in
//! order. A checkpoint signs the root over all heads, so whoever is given the leaves of one record
//! rolls the hash along them and compares: a leaf left out, added or moved changes the result. A
//! [`HeadProof`] shows the head under the root, or that there is none.
//!
//! # Source
//! docs/spec/index.md; docs/adr/0005-state-hash-and-index-root.md

use crate::{
    hash,
    id::{RecordId, SubjectId},
    label,
    sign::PublicKey,
};
use borsh::{BorshDeserialize, BorshSerialize};

/// The hash of a subtree without heads, and the root of an empty index.
pub const EMPTY: [u8; 32] = [0; 32];

/// How many bits a path has: the greatest depth of a head.
pub const DEPTH_MAX: usize = 256;

/// What a head is kept for.
///
/// # Encoding
/// `kind u8 ‖ key[32]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub enum HeadKey {
    /// All leaves that concern a record.
    Record(RecordId),
    /// All leaves that a key authored.
    Actor(PublicKey),
    /// All leaves that concern a subject.
    Subject(SubjectId),
}

impl HeadKey {
    /// Where the head stands in the tree: its bits, from the most significant of the first byte,
    /// lead from the root, 0 to the left.
    #[must_use]
    pub fn path(&self) -> [u8; 32] {
        let (kind, key) = match self {
            Self::Record(id) => (0, id.as_bytes()),
            Self::Actor(key) => (1, key.as_bytes()),
            Self::Subject(id) => (2, id.as_bytes()),
        };
        hash::labelled(label::INDEX_KEY, &[&[kind], key])
    }
}

/// How many leaves there are for a key, and the hash that rolls over them.
///
/// # Encoding
/// `count u64-le ‖ rolling[32]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Head {
    /// How many leaves.
    pub count: u64,
    /// The hash over all of them, in the order of the log.
    pub rolling: [u8; 32],
}

impl Head {
    /// The head before the first leaf; it never stands in the tree.
    pub const EMPTY: Self = Self { count: 0, rolling: [0; 32] };

    /// The head after one more leaf, at `leaf_index` of the log.
    #[must_use]
    pub fn link(&self, leaf_index: u64, leaf_hash: &[u8; 32]) -> Self {
        let rolling = hash::labelled(label::INDEX_LINK, &[&self.rolling, &leaf_index.to_le_bytes(), leaf_hash]);
        Self { count: self.count.saturating_add(1), rolling }
    }
}

/// The hash of a subtree that holds one head, wherever it stands.
#[must_use]
pub fn leaf_hash(path: &[u8; 32], head: &Head) -> [u8; 32] {
    hash::labelled(label::INDEX_VALUE, &[path, &head.count.to_le_bytes(), &head.rolling])
}

/// The hash of a subtree that holds at least two heads.
#[must_use]
pub fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    hash::labelled(label::INDEX_NODE, &[left, right])
}

/// The bit of `path` that decides at `depth`; beyond the last it is `false`.
#[must_use]
pub fn bit(path: &[u8; 32], depth: usize) -> bool {
    path.get(depth / 8).is_some_and(|byte| byte >> (7 - depth % 8) & 1 == 1)
}

/// Why a proof does not show what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadProofError {
    /// A path has no more bits than that.
    #[error("the proof has {0} siblings; a path has 256 bits")]
    TooDeep(usize),
    /// The head at the end of the proof belongs to a part of the tree that the key is not in.
    #[error("the proof leads past the key")]
    Elsewhere,
    /// The proof leads to another root.
    #[error("the proof does not lead to the root")]
    Root,
}

/// What stands where the path of a key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Terminal {
    /// No head.
    Empty,
    /// The only head of the subtree: the key's own, or one that shows that the key has none.
    Head {
        /// Its path.
        path: [u8; 32],
        /// The head.
        head: Head,
    },
}

/// Shows the head of one key under an index root, or that the key has none.
///
/// # Encoding
/// `count u32-le ‖ sibling[32]* ‖ (0 u8 | 1 u8 ‖ path[32] ‖ head[40])`; siblings from the root down.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct HeadProof {
    /// The hashes beside the way from the root down to the terminal.
    pub siblings: Vec<[u8; 32]>,
    /// Where the way ends.
    pub terminal: Terminal,
}

impl HeadProof {
    /// The longest encoding, for [`crate::codec::decode`].
    pub const LEN_MAX_BYTES: usize = 4 + 32 * DEPTH_MAX + 1 + 32 + 40;

    /// Verifies the proof and returns the head of `key`, or `None` when it shows that there is none.
    ///
    /// # Errors
    /// [`HeadProofError`] when the proof shows neither.
    ///
    /// # Security
    /// Two different answers for one root and key would take a collision of SHA-256: the bits of the
    /// key's path leave one way down, and an empty subtree, a head and a node never share a hash.
    pub fn verify(&self, root: &[u8; 32], key: &HeadKey) -> Result<Option<Head>, HeadProofError> {
        let depth = self.siblings.len();
        if depth > DEPTH_MAX {
            return Err(HeadProofError::TooDeep(depth));
        }
        let path = key.path();
        let (mut hash, found) = match &self.terminal {
            Terminal::Empty => (EMPTY, None),
            Terminal::Head { path: other, head } => {
                if (0..depth).any(|i| bit(other, i) != bit(&path, i)) {
                    return Err(HeadProofError::Elsewhere);
                }
                (leaf_hash(other, head), (*other == path).then_some(*head))
            }
        };
        for (i, sibling) in self.siblings.iter().enumerate().rev() {
            hash = if bit(&path, i) { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) };
        }
        if hash == *root { Ok(found) } else { Err(HeadProofError::Root) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    fn key(n: u8) -> HeadKey {
        HeadKey::Record(RecordId::new([n; 32]))
    }

    fn head(n: u64) -> Head {
        Head { count: n, rolling: [7; 32] }
    }

    /// Two keys whose paths part at the first bit: the left one, then the right one.
    fn left_and_right() -> (HeadKey, HeadKey) {
        let left = (0..).map(key).find(|key| !bit(&key.path(), 0)).unwrap();
        let right = (0..).map(key).find(|key| bit(&key.path(), 0)).unwrap();
        (left, right)
    }

    #[test]
    fn an_empty_index_shows_that_a_key_has_no_head() {
        let proof = HeadProof { siblings: vec![], terminal: Terminal::Empty };
        assert_eq!(proof.verify(&EMPTY, &key(1)), Ok(None));
        assert_eq!(proof.verify(&[1; 32], &key(1)), Err(HeadProofError::Root));
    }

    #[test]
    fn the_only_head_is_present_and_every_other_key_absent() {
        let path = key(1).path();
        let root = leaf_hash(&path, &head(3));
        let proof = HeadProof { siblings: vec![], terminal: Terminal::Head { path, head: head(3) } };
        assert_eq!(proof.verify(&root, &key(1)), Ok(Some(head(3))));
        assert_eq!(proof.verify(&root, &key(2)), Ok(None));
    }

    #[test]
    fn a_head_of_the_other_half_does_not_show_absence() {
        let (left, right) = left_and_right();
        let (left_hash, right_hash) = (leaf_hash(&left.path(), &head(1)), leaf_hash(&right.path(), &head(2)));
        let root = node_hash(&left_hash, &right_hash);
        let of_left =
            HeadProof { siblings: vec![right_hash], terminal: Terminal::Head { path: left.path(), head: head(1) } };
        assert_eq!(of_left.verify(&root, &left), Ok(Some(head(1))));
        assert_eq!(of_left.verify(&root, &right), Err(HeadProofError::Elsewhere));
        let hidden = HeadProof { siblings: vec![left_hash], terminal: Terminal::Empty };
        assert_eq!(hidden.verify(&root, &right), Err(HeadProofError::Root));
    }

    #[test]
    fn a_proof_deeper_than_a_path_is_refused() {
        let proof = HeadProof { siblings: vec![EMPTY; 257], terminal: Terminal::Empty };
        assert_eq!(proof.verify(&EMPTY, &key(1)), Err(HeadProofError::TooDeep(257)));
    }

    #[test]
    fn the_longest_proof_fits_its_limit() {
        let terminal = Terminal::Head { path: [1; 32], head: head(1) };
        let bytes = codec::encode(&HeadProof { siblings: vec![EMPTY; DEPTH_MAX], terminal });
        assert_eq!(bytes.len(), HeadProof::LEN_MAX_BYTES);
        assert!(codec::decode::<HeadProof>(&bytes, HeadProof::LEN_MAX_BYTES).is_ok());
    }

    #[test]
    fn the_kind_of_a_key_is_part_of_its_path() {
        let paths = [
            HeadKey::Record(RecordId::new([5; 32])).path(),
            HeadKey::Actor(PublicKey::new([5; 32])).path(),
            HeadKey::Subject(SubjectId::new([5; 32])).path(),
        ];
        assert!(paths[0] != paths[1] && paths[1] != paths[2] && paths[0] != paths[2]);
    }

    #[test]
    fn a_leaf_left_out_moved_or_renumbered_changes_the_rolling_hash() {
        let (a, b) = ([1; 32], [2; 32]);
        let both = Head::EMPTY.link(4, &a).link(9, &b);
        assert_eq!(both.count, 2);
        assert_ne!(both.rolling, Head::EMPTY.link(9, &b).rolling);
        assert_ne!(both.rolling, Head::EMPTY.link(9, &b).link(4, &a).rolling);
        assert_ne!(both.rolling, Head::EMPTY.link(4, &a).link(8, &b).rolling);
    }
}
