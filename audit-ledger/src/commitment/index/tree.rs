//! The tree in memory, as far as it was read: what a block changes, and what stands beside it.

use super::{
    Path, damaged,
    rows::{self, Row, nibble},
};
use crate::store::{Reader, StoreError};
use dmdl_types::index_proof::{EMPTY, bit, leaf_hash, node_hash};

/// How many heads a subtree may have whose hash is computed from its heads each time. One of more is a page: the
/// hashes of its sixteen children, four levels further down, are stored.
pub(super) const HEADS_MAX: u8 = 16;

/// Stands for any greater number of heads.
pub(super) const LARGE: u8 = HEADS_MAX + 1;

/// How far down pages are told apart when memory is full; none go deeper before there are 2^36 heads.
const DEPTHS: usize = 8;

/// What a part of the tree hashes to, and how many heads it has, up to [`LARGE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) heads: u8,
    pub(super) hash: [u8; 32],
}

impl Node {
    pub(super) const EMPTY: Self = Self { heads: 0, hash: EMPTY };

    fn join(left: Self, right: Self) -> Self {
        match (left.heads, right.heads) {
            (0 | 1, 0) => left,
            (0, 1) => right,
            _ => Self {
                heads: left.heads.saturating_add(right.heads).min(LARGE),
                hash: node_hash(&left.hash, &right.hash),
            },
        }
    }

    /// The subtree at `depth` bits over these heads.
    pub(super) fn of(leaves: &[Leaf], depth: usize) -> Self {
        match leaves {
            [] => Self::EMPTY,
            [leaf] => Self { heads: 1, hash: leaf.hash },
            _ => {
                let (left, right) = halves(leaves, depth);
                Self::join(Self::of(left, depth + 1), Self::of(right, depth + 1))
            }
        }
    }
}

/// A head where it stands in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) path: Path,
    pub(super) row: Row,
    hash: [u8; 32],
}

impl Leaf {
    pub(super) fn new(path: Path, row: Row) -> Self {
        Self { path, row, hash: leaf_hash(&path, &row.head) }
    }
}

/// Leaves in the order of their paths, cut where the bit at `depth` turns from 0 to 1.
pub(super) fn halves(leaves: &[Leaf], depth: usize) -> (&[Leaf], &[Leaf]) {
    leaves.split_at(leaves.partition_point(|leaf| !bit(&leaf.path, depth)))
}

/// A part of the tree that may be stored.
#[derive(Clone, Debug)]
pub(super) struct Subtree {
    pub(super) node: Node,
    pub(super) below: Below,
}

/// What of a subtree is in memory.
#[derive(Clone, Debug)]
pub(super) enum Below {
    Unread,
    /// All of its heads, in the order of their paths; [`HEADS_MAX`] at most.
    Leaves(Vec<Leaf>),
    Page(Box<Page>),
}

/// Four levels of the tree.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// The nodes above the children: that at 1 is the page's own, and those below one at `n` are at `2n` and `2n + 1`.
    above: [Node; 16],
    children: [Subtree; 16],
}

impl Subtree {
    pub(super) const EMPTY: Self = Self::unread(Node::EMPTY);

    pub(super) const fn unread(node: Node) -> Self {
        Self { node, below: Below::Unread }
    }

    /// A subtree at `depth` nibbles of few heads.
    pub(super) fn of_leaves(leaves: Vec<Leaf>, depth: usize) -> Self {
        Self { node: Node::of(&leaves, 4 * depth), below: Below::Leaves(leaves) }
    }

    pub(super) fn of_page(page: Page) -> Self {
        Self { node: page.node(), below: Below::Page(Box::new(page)) }
    }

    /// Reads what is under this subtree, at `depth` nibbles on the way along `path`, unless it was read before. What
    /// was read must hash to what is known, so nothing that is damaged goes into a new root.
    pub(super) fn read(&mut self, reader: &impl Reader, depth: usize, path: &Path) -> Result<Size, StoreError> {
        let read = match (&self.below, self.node.heads) {
            (Below::Unread, LARGE) => Self::of_page(Page::new(rows::children(reader, depth, path)?)),
            (Below::Unread, heads) => Self::of_leaves(rows::leaves(reader, 4 * depth, path, heads)?, depth),
            _ => return Ok(Size::default()),
        };
        if read.node != self.node {
            return Err(damaged());
        }
        *self = read;
        Ok(self.size())
    }

    /// How much of it is in memory.
    pub(super) fn size(&self) -> Size {
        let mut size = Size::default();
        match &self.below {
            Below::Unread => {}
            Below::Leaves(leaves) => size.leaves = leaves.len(),
            Below::Page(page) => {
                size.pages = 1;
                page.children.iter().for_each(|child| size.add(child.size()));
            }
        }
        size
    }

    /// Lets go of all heads, and of the lowest pages until no more is left than `len_bytes`.
    pub(super) fn forget(&mut self, len_bytes: usize) {
        let mut pages = [0; DEPTHS];
        self.count_pages(0, &mut pages);
        let mut left = Size::default();
        let fits = |pages: &&usize| {
            left.pages += **pages;
            left.len_bytes() <= len_bytes
        };
        let depth = pages.iter().take_while(fits).count();
        self.forget_from(0, depth);
    }

    fn count_pages(&self, depth: usize, pages: &mut [usize; DEPTHS]) {
        let Below::Page(page) = &self.below else { return };
        if let Some(pages) = pages.get_mut(depth) {
            *pages += 1;
        }
        page.children.iter().for_each(|child| child.count_pages(depth + 1, pages));
    }

    /// Lets go of all heads, and of pages this many levels down.
    pub(super) fn forget_from(&mut self, depth: usize, pages_from: usize) {
        match &mut self.below {
            Below::Page(page) if depth < pages_from => {
                page.children.iter_mut().for_each(|child| child.forget_from(depth + 1, pages_from));
            }
            _ => self.below = Below::Unread,
        }
    }
}

impl Page {
    pub(super) fn new(children: [Subtree; 16]) -> Self {
        let mut page = Self { above: [Node::EMPTY; 16], children };
        page.refresh(u16::MAX);
        page
    }

    /// The page as a whole.
    pub(super) fn node(&self) -> Node {
        self.at(1)
    }

    /// The node at a place: 1 is the whole page, those below `n` are `2n` and `2n + 1`, and children begin at 16.
    pub(super) fn at(&self, place: usize) -> Node {
        let child = || Some(self.children.get(place.checked_sub(16)?)?.node);
        self.above.get(place).copied().or_else(child).unwrap_or(Node::EMPTY)
    }

    pub(super) fn child_mut(&mut self, nibble: u8) -> Option<&mut Subtree> {
        self.children.get_mut(usize::from(nibble))
    }

    pub(super) fn into_child(self, nibble: u8) -> Option<Subtree> {
        self.children.into_iter().nth(usize::from(nibble))
    }

    /// Follows the children whose bits are set, by their nibbles.
    pub(super) fn refresh(&mut self, changed: u16) {
        let mut changed = u32::from(changed) << 16;
        for place in (1..16).rev() {
            if changed >> (2 * place) & 0b11 != 0 {
                let node = Node::join(self.at(2 * place), self.at(2 * place + 1));
                if let Some(above) = self.above.get_mut(place) {
                    *above = node;
                }
                changed |= 1 << place;
            }
        }
    }
}

/// How much of a tree is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) pages: usize,
    pub(super) leaves: usize,
}

impl Size {
    pub(super) const fn len_bytes(self) -> usize {
        self.pages * size_of::<Page>() + self.leaves * size_of::<Leaf>()
    }

    pub(super) const fn add(&mut self, more: Self) {
        self.pages += more.pages;
        self.leaves += more.leaves;
    }
}

/// Heads by the nibble of their paths at `depth`.
pub(super) fn by_nibble(leaves: Vec<Leaf>, depth: usize) -> [Vec<Leaf>; 16] {
    let mut parts: [Vec<Leaf>; 16] = Default::default();
    for leaf in leaves {
        if let Some(part) = parts.get_mut(usize::from(nibble(&leaf.path, depth))) {
            part.push(leaf);
        }
    }
    parts
}
