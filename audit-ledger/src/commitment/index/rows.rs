//! What of the tree is stored: each head in a row of its own, and the hashes of a page's children.
//!
//! # Encoding
//! In [`Space::Index`], with numbers as [`number`] has them:
//!
//! | key | value |
//! | --- | --- |
//! | `0` | the whole tree: `heads u8 ‖ hash[32]` |
//! | `0 ‖ depth u8 ‖ nibbles ‖ nibble u8` | the child under this nibble of the page at `depth` nibbles, likewise |
//! | `1 ‖ path[32]` | a head, and the position of its first leaf: `rolling[32] ‖ count ‖ first` |
//!
//! `nibbles` are the first `depth` half-bytes of the path, packed and filled up with zeros. A subtree of more than
//! [`HEADS_MAX`](super::tree::HEADS_MAX) heads says [`LARGE`], and is a page; an empty child has no row.

use super::{
    Path, damaged,
    tree::{LARGE, Leaf, Node, Subtree},
};
use crate::store::{Reader, Space, StoreError, number};
use dmdl_types::index_proof::Head;

const NODE: u8 = 0;
const HEAD: u8 = 1;

/// The key of the whole tree.
pub(super) const ROOT_KEY: [u8; 1] = [NODE];

/// A head, and the position of the first leaf that it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) head: Head,
    pub(super) first: u64,
}

/// The whole tree, unread.
pub(super) fn root(reader: &impl Reader) -> Result<Subtree, StoreError> {
    let value = reader.get(Space::Index, &ROOT_KEY)?;
    value.map_or(Ok(Subtree::EMPTY), |value| Ok(Subtree::unread(node(&value)?)))
}

/// The children, unread, of the page at `depth` nibbles that `path` leads through.
pub(super) fn children(reader: &impl Reader, depth: usize, path: &Path) -> Result<[Subtree; 16], StoreError> {
    let mut children = [const { Subtree::EMPTY }; 16];
    for (key, value) in reader.scan(Space::Index, &page_key(depth, path), None, children.len())? {
        let child = key.last().and_then(|nibble| children.get_mut(usize::from(*nibble)));
        *child.ok_or_else(damaged)? = Subtree::unread(node(&value)?);
    }
    Ok(children)
}

/// The first `count` heads, in the order of their paths, whose paths begin with the first `depth` bits of this one.
pub(super) fn leaves(reader: &impl Reader, depth: usize, path: &Path, count: u8) -> Result<Vec<Leaf>, StoreError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let prefix = head_key(path.get(..depth / 8).ok_or_else(damaged)?);
    let before = last_before(path, depth);
    let entries = reader.scan(Space::Index, &prefix, before.as_deref(), usize::from(count))?;
    let leaf = |(key, value): (Vec<u8>, Vec<u8>)| {
        let path = key.get(1..).and_then(|path| path.try_into().ok());
        Ok(Leaf::new(path.ok_or_else(damaged)?, row(&value).ok_or_else(damaged)?))
    };
    entries.into_iter().map(leaf).collect()
}

/// The head at a path.
pub(super) fn head(reader: &impl Reader, path: &Path) -> Result<Option<Row>, StoreError> {
    let value = reader.get(Space::Index, &head_key(path))?;
    value.map(|value| row(&value).ok_or_else(damaged)).transpose()
}

pub(super) fn head_key(path: &[u8]) -> Vec<u8> {
    [&[HEAD], path].concat()
}

pub(super) fn child_key(depth: usize, path: &Path, nibble: u8) -> Vec<u8> {
    let mut key = page_key(depth, path);
    key.push(nibble);
    key
}

pub(super) fn head_value(row: &Row) -> Vec<u8> {
    let mut value = Vec::with_capacity(row.head.rolling.len() + 18);
    value.extend(row.head.rolling);
    number::put(&mut value, row.head.count);
    number::put(&mut value, row.first);
    value
}

pub(super) fn node_value(node: Node) -> Vec<u8> {
    [&[node.heads], &node.hash[..]].concat()
}

pub(super) fn nibble(path: &Path, depth: usize) -> u8 {
    let byte = path.get(depth / 2).copied().unwrap_or_default();
    if depth.is_multiple_of(2) { byte >> 4 } else { byte & 0x0f }
}

fn node(value: &[u8]) -> Result<Node, StoreError> {
    match value.split_first() {
        Some((heads @ 1..=LARGE, hash)) => Ok(Node { heads: *heads, hash: hash.try_into().map_err(|_| damaged())? }),
        _ => Err(damaged()),
    }
}

fn row(value: &[u8]) -> Option<Row> {
    let (rolling, rest) = value.split_first_chunk::<32>()?;
    let (count, rest) = number::take(rest)?;
    let (first, rest) = number::take(rest)?;
    rest.is_empty().then_some(Row { head: Head { count, rolling: *rolling }, first })
}

fn page_key(depth: usize, path: &Path) -> Vec<u8> {
    let mut key = Vec::with_capacity(depth.div_ceil(2) + 3);
    key.extend([NODE, u8::try_from(depth).unwrap_or(u8::MAX)]);
    key.extend(path.iter().take(depth / 2));
    if !depth.is_multiple_of(2) {
        key.push(nibble(path, depth - 1) << 4);
    }
    key
}

/// The last key before those of the paths that begin with the first `depth` bits of this one, if any begins with the
/// same whole bytes.
fn last_before(path: &Path, depth: usize) -> Option<Vec<u8>> {
    let (whole, rest) = path.split_at_checked(depth / 8)?;
    let first = rest.first()? & !(u8::MAX >> (depth % 8));
    let mut before = [u8::MAX; 32];
    before.get_mut(..whole.len())?.copy_from_slice(whole);
    *before.get_mut(whole.len())? = first.checked_sub(1)?;
    Some(head_key(&before))
}
