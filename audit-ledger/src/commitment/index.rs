//! The index: an authenticated map from records, actors and subjects to their heads.
//!
//! A sparse Merkle tree over the paths of the keys: an empty subtree hashes to zeros, a subtree with
//! one head to that head's leaf hash, every other to the hash of its halves. The root depends on the
//! heads alone, not on the order in which they came nor on how the tree is stored.
//!
//! It is stored as few, small values: a subtree of up to [`BUCKET_LEN_MAX`] heads is one value, a
//! greater one a page of sixteen hashes, four levels of the tree, with a value for each child. The
//! store keeps the tip; [`crate::store::History`] leads back to the checkpoint that a proof is for.
//!
//! # Source
//! docs/spec/index.md; docs/adr/0005-state-hash-and-index-root.md

use crate::store::{Overlay, Reader, Space, StoreError};
use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{
    codec,
    index_proof::{self, Head, HeadKey, HeadProof, Terminal, bit, leaf_hash, node_hash},
};
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// First byte of the tree's keys in [`Space::Index`]; no other key there begins with it.
pub const KEY_TAG: u8 = 0;

/// How many heads a subtree may have before it is stored as a page and its children.
const BUCKET_LEN_MAX: usize = 16;

/// Longest value of a node: a page of sixteen hashes, or a full bucket of heads.
const NODE_LEN_MAX_BYTES: usize = 2048;

const NIBBLES: usize = 64;

type Path = [u8; 32];

type HeadRef<'a> = (&'a Path, &'a Head);

/// One leaf of the audit log that concerns a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whom or what it concerns.
    pub key: HeadKey,
    /// Its position in the log.
    pub leaf_index: u64,
    /// Its hash in the log.
    pub leaf_hash: [u8; 32],
}

/// Rolls the heads along these links, in their order, and returns the new root.
///
/// # Errors
/// [`StoreError`] when the tree cannot be read.
pub fn append<R: Reader>(block: &mut Overlay<R>, links: &[Link]) -> Result<[u8; 32], StoreError> {
    let mut by_path: BTreeMap<Path, Vec<&Link>> = BTreeMap::new();
    for link in links {
        by_path.entry(link.key.path()).or_default().push(link);
    }
    let items: Vec<(Path, Vec<&Link>)> = by_path.into_iter().collect();
    if items.is_empty() {
        return root(block);
    }
    Ok(update(block, 0, &items)?.hash())
}

/// The root over all heads.
///
/// # Errors
/// [`StoreError`] when the tree cannot be read.
pub fn root(reader: &impl Reader) -> Result<[u8; 32], StoreError> {
    Ok(load(reader, 0, &[0; 32])?.unwrap_or_default().subtree(0).hash())
}

/// The head of `key`; `None` when no leaf concerns it.
///
/// # Errors
/// [`StoreError`] when the tree cannot be read.
pub fn head(reader: &impl Reader, key: &HeadKey) -> Result<Option<Head>, StoreError> {
    let path = key.path();
    for depth in 0..=NIBBLES {
        match load(reader, depth, &path)? {
            Some(Node::Page(slots)) if slots.get(nibble(&path, depth)) != Some(&Subtree::Empty) => {}
            Some(Node::Bucket(heads)) => return Ok(heads.get(&path).copied()),
            Some(Node::Page(_)) | None => return Ok(None),
        }
    }
    Err(damaged())
}

/// Proves the head of `key`, or that it has none, under the [`root`] of the same reader.
///
/// # Errors
/// [`StoreError`] when the tree cannot be read.
pub fn prove(reader: &impl Reader, key: &HeadKey) -> Result<HeadProof, StoreError> {
    prove_path(reader, &key.path())
}

/// What a subtree hashes to, and whether a single head makes it move up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
enum Subtree {
    #[default]
    Empty,
    /// Exactly one head: its leaf hash.
    One([u8; 32]),
    /// At least two heads: the hash of the two halves.
    Many([u8; 32]),
}

impl Subtree {
    const fn hash(self) -> [u8; 32] {
        match self {
            Self::Empty => index_proof::EMPTY,
            Self::One(hash) | Self::Many(hash) => hash,
        }
    }

    fn join(left: Self, right: Self) -> Self {
        match (left, right) {
            (only, Self::Empty) | (Self::Empty, only) if !matches!(only, Self::Many(_)) => only,
            _ => Self::Many(node_hash(&left.hash(), &right.hash())),
        }
    }

    /// The subtree at `depth` bits over these heads, which are in the order of their paths.
    fn of_heads(heads: &[HeadRef<'_>], depth: usize) -> Self {
        match heads {
            [] => Self::Empty,
            [(path, head)] => Self::One(leaf_hash(path, head)),
            _ => {
                let (left, right) = halves(heads, depth);
                Self::join(Self::of_heads(left, depth + 1), Self::of_heads(right, depth + 1))
            }
        }
    }

    /// The subtree over these children of one page: 16, 8, 4, 2 or 1 of them.
    fn of_slots(slots: &[Self]) -> Self {
        match slots {
            [] => Self::Empty,
            [one] => *one,
            _ => {
                let (left, right) = slots.split_at(slots.len() / 2);
                Self::join(Self::of_slots(left), Self::of_slots(right))
            }
        }
    }
}

/// A stored part of the tree.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
enum Node {
    /// A whole subtree.
    Bucket(BTreeMap<Path, Head>),
    /// Four levels of a subtree that is too large for one value; each child that is not empty is a
    /// node of its own.
    Page(Box<[Subtree; 16]>),
}

impl Default for Node {
    fn default() -> Self {
        Self::Bucket(BTreeMap::new())
    }
}

impl Node {
    fn subtree(&self, depth: usize) -> Subtree {
        match self {
            Self::Bucket(heads) => Subtree::of_heads(&heads.iter().collect::<Vec<_>>(), depth * 4),
            Self::Page(slots) => Subtree::of_slots(slots.as_slice()),
        }
    }
}

/// Updates the node at `depth` nibbles that all `items` lie under; they are in order, and not empty.
fn update<R: Reader>(
    block: &mut Overlay<R>,
    depth: usize,
    items: &[(Path, Vec<&Link>)],
) -> Result<Subtree, StoreError> {
    let Some((first, _)) = items.first() else { return Err(damaged()) };
    let node = match load(block, depth, first)?.unwrap_or_default() {
        Node::Bucket(mut heads) => {
            for (path, links) in items {
                let head = heads.entry(*path).or_insert(Head::EMPTY);
                *head = links.iter().fold(*head, |head, link| head.link(link.leaf_index, &link.leaf_hash));
            }
            return build(block, depth, heads);
        }
        Node::Page(mut slots) => {
            for group in items.chunk_by(|(a, _), (b, _)| nibble(a, depth) == nibble(b, depth)) {
                let Some((path, _)) = group.first() else { continue };
                let child = update(block, depth + 1, group)?;
                set(&mut slots, nibble(path, depth), child);
            }
            Node::Page(slots)
        }
    };
    Ok(save(block, depth, first, &node))
}

/// Stores a subtree: as one value if it is small, else as a page and its children.
fn build<R: Reader>(block: &mut Overlay<R>, depth: usize, heads: BTreeMap<Path, Head>) -> Result<Subtree, StoreError> {
    let Some(first) = heads.keys().next().copied() else { return Err(damaged()) };
    if heads.len() <= BUCKET_LEN_MAX || depth == NIBBLES {
        return Ok(save(block, depth, &first, &Node::Bucket(heads)));
    }
    let mut children: BTreeMap<usize, BTreeMap<Path, Head>> = BTreeMap::new();
    for (path, head) in heads {
        children.entry(nibble(&path, depth)).or_default().insert(path, head);
    }
    let mut slots = Box::new([Subtree::Empty; 16]);
    for (slot, heads) in children {
        let child = build(block, depth + 1, heads)?;
        set(&mut slots, slot, child);
    }
    Ok(save(block, depth, &first, &Node::Page(slots)))
}

fn prove_path(reader: &impl Reader, path: &Path) -> Result<HeadProof, StoreError> {
    let mut siblings = Vec::new();
    for depth in 0..=NIBBLES {
        let slots = match load(reader, depth, path)?.unwrap_or_default() {
            Node::Bucket(heads) => {
                let heads: Vec<_> = heads.iter().collect();
                let terminal = descend(&heads, depth * 4, path, &mut siblings);
                return Ok(HeadProof { siblings, terminal });
            }
            Node::Page(slots) => slots,
        };
        let mut half = slots.as_slice();
        let mut first = 0;
        loop {
            match Subtree::of_slots(half) {
                Subtree::Empty => return Ok(HeadProof { siblings, terminal: Terminal::Empty }),
                Subtree::One(_) => {
                    let only = half.iter().position(|slot| *slot != Subtree::Empty).ok_or_else(damaged)?;
                    let terminal = only_head(reader, depth + 1, &with_nibble(path, depth, first + only))?;
                    return Ok(HeadProof { siblings, terminal });
                }
                Subtree::Many(_) if half.len() == 1 => break,
                Subtree::Many(_) => {
                    let (left, right) = half.split_at(half.len() / 2);
                    let (own, other) = if nibble(path, depth) < first + left.len() {
                        (left, right)
                    } else {
                        first += left.len();
                        (right, left)
                    };
                    siblings.push(Subtree::of_slots(other).hash());
                    half = own;
                }
            }
        }
    }
    Err(damaged())
}

/// Follows `path` among heads from `depth` bits down to where at most one is left.
fn descend(heads: &[HeadRef<'_>], depth: usize, path: &Path, siblings: &mut Vec<[u8; 32]>) -> Terminal {
    match heads {
        [] => Terminal::Empty,
        [(path, head)] => Terminal::Head { path: **path, head: **head },
        _ => {
            let (left, right) = halves(heads, depth);
            let (own, other) = if bit(path, depth) { (right, left) } else { (left, right) };
            siblings.push(Subtree::of_heads(other, depth + 1).hash());
            descend(own, depth + 1, path, siblings)
        }
    }
}

/// The head of a stored subtree that has exactly one.
fn only_head(reader: &impl Reader, depth: usize, prefix: &Path) -> Result<Terminal, StoreError> {
    match load(reader, depth, prefix)? {
        Some(Node::Bucket(heads)) if heads.len() == 1 => {
            let (path, head) = heads.into_iter().next().ok_or_else(damaged)?;
            Ok(Terminal::Head { path, head })
        }
        _ => Err(damaged()),
    }
}

/// Heads in the order of their paths, cut where the bit at `depth` turns from 0 to 1.
fn halves<'a, 'b>(heads: &'a [HeadRef<'b>], depth: usize) -> (&'a [HeadRef<'b>], &'a [HeadRef<'b>]) {
    heads.split_at(heads.partition_point(|(path, _)| !bit(path, depth)))
}

fn load(reader: &impl Reader, depth: usize, path: &Path) -> Result<Option<Node>, StoreError> {
    let bytes = reader.get(Space::Index, &node_key(depth, path))?;
    bytes.map(|bytes| codec::decode(&bytes, NODE_LEN_MAX_BYTES).map_err(|_| damaged())).transpose()
}

fn save<R: Reader>(block: &mut Overlay<R>, depth: usize, path: &Path, node: &Node) -> Subtree {
    block.put(Space::Index, node_key(depth, path), codec::encode(node));
    node.subtree(depth)
}

/// `tag ‖ depth in nibbles ‖ the path's nibbles above that depth, filled up with zeros`.
fn node_key(depth: usize, path: &Path) -> Vec<u8> {
    let mut key = vec![KEY_TAG, u8::try_from(depth).unwrap_or(u8::MAX)];
    for (i, byte) in path.iter().take(depth.div_ceil(2)).enumerate() {
        key.push(if 2 * i + 1 == depth { byte & 0xf0 } else { *byte });
    }
    key
}

fn nibble(path: &Path, depth: usize) -> usize {
    let byte = path.get(depth / 2).copied().unwrap_or_default();
    usize::from(if depth.is_multiple_of(2) { byte >> 4 } else { byte & 0x0f })
}

fn with_nibble(path: &Path, depth: usize, value: usize) -> Path {
    let mut path = *path;
    let value = u8::try_from(value & 0x0f).unwrap_or_default();
    if let Some(byte) = path.get_mut(depth / 2) {
        *byte = if depth.is_multiple_of(2) { *byte & 0x0f | value << 4 } else { *byte & 0xf0 | value };
    }
    path
}

fn set(slots: &mut [Subtree; 16], at: usize, child: Subtree) {
    if let Some(slot) = slots.get_mut(at) {
        *slot = child;
    }
}

fn damaged() -> StoreError {
    StoreError::Corrupt("the index tree".into())
}
