//! The index: an authenticated map from records, actors and subjects to their heads.
//!
//! A sparse Merkle tree over the paths of the keys: an empty subtree hashes to zeros, a subtree with
//! one head to that head's leaf hash, every other to the hash of its halves. The root depends on the
//! heads alone, not on the order in which they came nor on how the tree is stored.
//!
//! It is stored so that a block writes little more than the heads that it changes: each head is a
//! row, and of the hashes above only every fourth level is stored, where a subtree has more than
//! [`HEADS_MAX`](tree::HEADS_MAX) heads. The rest follows from these. What was read lately stays in
//! memory, as an [`Index`]. The store keeps the tip; [`crate::store::History`] leads back to the
//! checkpoint that a proof is for.
//!
//! # Source
//! docs/spec/index.md; docs/adr/0005-state-hash-and-index-root.md

mod rows;
#[cfg(test)]
mod tests;
mod tree;

use crate::store::{Changes, Overlay, Reader, Space, StoreError};
use dmdl_types::index_proof::{Head, HeadKey, HeadProof, Terminal, bit};
use rows::{Row, nibble};
use tree::{Below, HEADS_MAX, Leaf, Node, Page, Size, Subtree, by_nibble, halves};

/// How much of the tree stays in memory between blocks: all pages of a million heads.
const KEPT_LEN_BYTES_MAX: usize = 8 * 1024 * 1024;

type Path = [u8; 32];

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

impl Link {
    fn path(&self) -> Path {
        self.key.path()
    }
}

/// What an append leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// The new root.
    pub root: [u8; 32],
    /// For each link, the position of the first leaf under its head.
    pub first: Vec<u64>,
    /// What leads back.
    pub undo: Changes,
}

/// What is in memory of the index of a store: the part of the tree that appends have touched lately.
///
/// It is ahead of the store from an append until the changes of that append are committed. Where they are not, it is
/// dropped: a new one begins with what the store has.
#[derive(Clone, Debug, Default)]
pub struct Index {
    // None before the first append.
    tree: Option<Subtree>,
    size: Size,
}

impl Index {
    /// Rolls the heads along these links, in their order.
    ///
    /// # Errors
    /// [`StoreError`] when the tree cannot be read; then this index begins again with what the store has.
    pub fn append<R: Reader>(&mut self, block: &mut Overlay<R>, links: &[Link]) -> Result<Linked, StoreError> {
        let item = |(at, link): (usize, _)| Item { path: Link::path(link), at, link };
        self.link(block, links.iter().enumerate().map(item).collect())
    }

    fn link<R: Reader>(&mut self, block: &mut Overlay<R>, mut items: Vec<Item<'_>>) -> Result<Linked, StoreError> {
        let Self { tree, mut size } = std::mem::take(self);
        let mut tree = tree.map_or_else(|| rows::root(block), Ok)?;
        items.sort_unstable_by_key(|item| (item.path, item.at));
        let first = vec![0; items.len()];
        let mut linking = Linking { block, first, undo: Changes::default(), read: Size::default() };
        if !items.is_empty() {
            let before = tree.node;
            linking.subtree(&mut tree, 0, &items)?;
            linking.put_node(rows::ROOT_KEY.into(), before, tree.node);
        }
        let Linking { first, undo, read, .. } = linking;
        size.add(read);
        if size.len_bytes() > KEPT_LEN_BYTES_MAX {
            // To less than it may be, so that this is not done for each block.
            tree.forget(KEPT_LEN_BYTES_MAX / 8 * 7);
            size = tree.size();
        }
        let root = tree.node.hash;
        *self = Self { tree: Some(tree), size };
        Ok(Linked { root, first, undo })
    }
}

/// The root over all heads.
///
/// # Errors
/// [`StoreError`] when the tree cannot be read.
pub fn root(reader: &impl Reader) -> Result<[u8; 32], StoreError> {
    Ok(rows::root(reader)?.node.hash)
}

/// The head of `key`; `None` when no leaf concerns it.
///
/// # Errors
/// [`StoreError`] when it cannot be read.
pub fn head(reader: &impl Reader, key: &HeadKey) -> Result<Option<Head>, StoreError> {
    Ok(rows::head(reader, &key.path())?.map(|row| row.head))
}

/// The position of the first leaf that concerns `key`.
///
/// # Errors
/// [`StoreError`] when it cannot be read.
pub fn first(reader: &impl Reader, key: &HeadKey) -> Result<Option<u64>, StoreError> {
    Ok(rows::head(reader, &key.path())?.map(|row| row.first))
}

/// Proves the head of `key`, or that it has none, under the [`root`] of the same reader.
///
/// # Errors
/// [`StoreError`] when the tree cannot be read.
pub fn prove(reader: &impl Reader, key: &HeadKey) -> Result<HeadProof, StoreError> {
    prove_path(reader, &key.path())
}

fn prove_path(reader: &impl Reader, path: &Path) -> Result<HeadProof, StoreError> {
    let mut siblings = Vec::new();
    let mut tree = rows::root(reader)?;
    for depth in 0.. {
        tree.read(reader, depth, path)?;
        let page = match tree.below {
            Below::Page(page) => page,
            Below::Leaves(leaves) => {
                return Ok(HeadProof { terminal: descend(&leaves, path, &mut siblings), siblings });
            }
            Below::Unread => break,
        };
        let mut place = 1;
        while place < 16 {
            if page.at(place).heads <= 1 {
                let leaves = rows::leaves(reader, siblings.len(), path, page.at(place).heads)?;
                return Ok(HeadProof { terminal: descend(&leaves, path, &mut siblings), siblings });
            }
            place = 2 * place + usize::from(bit(path, siblings.len()));
            siblings.push(page.at(place ^ 1).hash);
        }
        tree = page.into_child(nibble(path, depth)).ok_or_else(damaged)?;
    }
    Err(damaged())
}

/// Follows `path` among the leaves under as many bits as there are siblings, down to where at most one is left.
fn descend(leaves: &[Leaf], path: &Path, siblings: &mut Vec<[u8; 32]>) -> Terminal {
    match leaves {
        [] => Terminal::Empty,
        [leaf] => Terminal::Head { path: leaf.path, head: leaf.row.head },
        _ => {
            let depth = siblings.len();
            let (left, right) = halves(leaves, depth);
            let (own, other) = if bit(path, depth) { (right, left) } else { (left, right) };
            siblings.push(Node::of(other, depth + 1).hash);
            descend(own, path, siblings)
        }
    }
}

/// A link on its way to its head.
struct Item<'a> {
    path: Path,
    /// Its place among the links.
    at: usize,
    link: &'a Link,
}

/// An append on its way through the tree.
struct Linking<'a, R> {
    block: &'a mut Overlay<R>,
    /// For each link, the position of the first leaf under its head.
    first: Vec<u64>,
    undo: Changes,
    /// What has come into memory.
    read: Size,
}

impl<R: Reader> Linking<'_, R> {
    /// Rolls the heads under the subtree at `depth` nibbles along these items: one or more, by path, and those of one
    /// path in the order of the log.
    fn subtree(&mut self, tree: &mut Subtree, depth: usize, items: &[Item<'_>]) -> Result<(), StoreError> {
        let Some(Item { path, .. }) = items.first() else { return Ok(()) };
        self.read.add(tree.read(self.block, depth, path)?);
        match &mut tree.below {
            Below::Page(page) => {
                let mut changed = 0;
                for items in items.chunk_by(|a, b| nibble(&a.path, depth) == nibble(&b.path, depth)) {
                    let nibble = items.first().map_or(0, |item| nibble(&item.path, depth));
                    let child = page.child_mut(nibble).ok_or_else(damaged)?;
                    let before = child.node;
                    self.subtree(child, depth + 1, items)?;
                    self.put_node(rows::child_key(depth, path, nibble), before, child.node);
                    changed |= 1 << nibble;
                }
                page.refresh(changed);
                tree.node = page.node();
            }
            Below::Leaves(leaves) => {
                let new =
                    items.chunk_by(|a, b| a.path == b.path).filter_map(|items| self.head(leaves, items)).collect();
                let leaves = merged(std::mem::take(leaves), new);
                *tree = self.grown(leaves, depth);
            }
            Below::Unread => return Err(damaged()),
        }
        Ok(())
    }

    /// Rolls one head along all of these items, and stores it; gives it back if it is none of these leaves.
    fn head(&mut self, leaves: &mut [Leaf], items: &[Item<'_>]) -> Option<Leaf> {
        let Item { path, link, .. } = items.first()?;
        let place = leaves.binary_search_by(|leaf| leaf.path.cmp(path)).ok();
        let known = place.and_then(|place| leaves.get_mut(place));
        let before = known.as_ref().map(|leaf| leaf.row);
        let mut row = before.unwrap_or(Row { head: Head::EMPTY, first: link.leaf_index });
        for Item { at, link, .. } in items {
            row.head = row.head.link(link.leaf_index, &link.leaf_hash);
            if let Some(first) = self.first.get_mut(*at) {
                *first = row.first;
            }
        }
        self.put(rows::head_key(path), before.as_ref().map(rows::head_value), rows::head_value(&row));
        let leaf = Leaf::new(*path, row);
        match known {
            Some(known) => {
                *known = leaf;
                None
            }
            None => {
                self.read.leaves += 1;
                Some(leaf)
            }
        }
    }

    /// The subtree at `depth` nibbles that has these heads from now on. If it is a page, it is a new one: its children
    /// are stored.
    fn grown(&mut self, leaves: Vec<Leaf>, depth: usize) -> Subtree {
        if leaves.len() <= usize::from(HEADS_MAX) {
            return Subtree::of_leaves(leaves, depth);
        }
        let path = leaves.first().map_or([0; 32], |leaf| leaf.path);
        let mut nibble = 0;
        let page = Page::new(by_nibble(leaves, depth).map(|leaves| {
            let child = self.grown(leaves, depth + 1);
            if child.node.heads > 0 {
                self.put_node(rows::child_key(depth, &path, nibble), Node::EMPTY, child.node);
            }
            nibble += 1;
            child
        }));
        self.read.pages += 1;
        Subtree::of_page(page)
    }

    fn put_node(&mut self, key: Vec<u8>, before: Node, after: Node) {
        self.put(key, (before.heads > 0).then(|| rows::node_value(before)), rows::node_value(after));
    }

    fn put(&mut self, key: Vec<u8>, before: Option<Vec<u8>>, after: Vec<u8>) {
        self.undo.set(Space::Index, key.clone(), before);
        self.block.put(Space::Index, key, after);
    }
}

/// Leaves with others, in the order of their paths.
fn merged(mut leaves: Vec<Leaf>, more: Vec<Leaf>) -> Vec<Leaf> {
    leaves.extend(more);
    leaves.sort_by_key(|leaf| leaf.path);
    leaves
}

fn damaged() -> StoreError {
    StoreError::Corrupt("the index tree".into())
}
