//! What a seed has beside faults of machines and links: a liar, a node that loses everything, or a change of members;
//! never two of them, because one faulty node is as many as there may be.

use super::{
    liar::Lie,
    plan::{Draw, Episode},
};
use std::{fmt, time::Duration};

/// How the members change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// A fifth organisation joins with a node.
    Joins,
    /// A node goes, and another one of the same organisation comes.
    Replaces(usize),
    /// A fifth organisation joins, and a node goes.
    Swaps(usize),
}

impl Move {
    /// Who goes.
    pub(crate) const fn leaves(self) -> Option<usize> {
        match self {
            Self::Joins => None,
            Self::Replaces(node) | Self::Swaps(node) => Some(node),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Twist {
    None,
    /// A node breaks the rules for a while.
    Liar(usize, Episode<Lie>),
    /// A node loses all that it has kept, and comes back.
    Wiped(Episode<usize>),
    /// The same, and it comes back with a backup of long before. No seed draws it.
    Restored(Episode<usize>),
    /// A bit of a node's blocks or certificates turns while it is down: it mends it from the others, or it stops and is
    /// given an empty disk.
    Rots(Episode<usize>),
    /// The members change, once everybody has a record.
    Change(Duration, Move),
}

impl Twist {
    /// The classes of seeds.
    pub(crate) const KINDS: [&str; 5] = ["faults", "liar", "wiped", "rots", "change"];

    pub(crate) fn draw(nodes: usize, draw: &mut Draw<impl FnMut(u64) -> u64>) -> Self {
        let (kind, node) = (draw.below(8), draw.index(nodes));
        // From the first moment on, or while everybody works.
        let later = if draw.below(2) == 0 { Duration::ZERO } else { draw.millis(0..8_000) };
        let lasts = draw.millis(6_000..30_000);
        match kind {
            0..4 => Self::Liar(node, Episode { after: later, fault: Lie::draw(draw), lasts }),
            4 => {
                Self::Wiped(Episode { after: draw.millis(2_000..15_000), fault: node, lasts: draw.millis(100..8_000) })
            }
            5 | 6 => {
                let moves = [Move::Joins, Move::Joins, Move::Replaces(node), Move::Swaps(node)];
                Self::Change(later, moves[draw.index(moves.len())])
            }
            _ => Self::None,
        }
    }

    /// Of the nodes that lose everything, some lose a bit instead.
    pub(crate) fn or_rots(self, disks: &mut Draw<impl FnMut(u64) -> u64>) -> Self {
        match self {
            Self::Wiped(episode) if disks.below(2) == 0 => Self::Rots(episode),
            twist => twist,
        }
    }

    pub(crate) fn with_plain_disks(self) -> Self {
        match self {
            Self::Rots(episode) => Self::Wiped(episode),
            twist => twist,
        }
    }

    /// The class of seeds that it makes one of.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::None => "faults",
            Self::Liar(..) => "liar",
            Self::Wiped(_) | Self::Restored(_) => "wiped",
            Self::Rots(_) => "rots",
            Self::Change(..) => "change",
        }
    }

    /// The node of the genesis document that it happens to.
    pub(crate) const fn node(&self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Liar(node, _) => Some(*node),
            Self::Wiped(episode) | Self::Restored(episode) | Self::Rots(episode) => Some(episode.fault),
            Self::Change(_, what) => what.leaves(),
        }
    }

    /// Whether no other node may be faulty beside it: nobody may lie or forget while somebody else is away, and who
    /// comes is as good as away until it votes.
    pub(crate) const fn stands_alone(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// A node of which faults can be proved.
    pub(crate) fn culprit(&self) -> Option<usize> {
        match self {
            Self::Liar(node, episode) if episode.fault.can_be_proved() => Some(*node),
            _ => None,
        }
    }
}

impl fmt::Display for Twist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Liar(node, Episode { after, fault, lasts }) => {
                write!(f, "; after {after:?} node {node} {fault} for {lasts:?}")
            }
            Self::Wiped(Episode { after, fault: node, lasts }) => {
                write!(f, "; after {after:?} node {node} loses everything, and is down for {lasts:?}")
            }
            Self::Restored(Episode { after, fault: node, lasts }) => {
                write!(f, "; after {after:?} node {node} loses all but an old backup, and is down for {lasts:?}")
            }
            Self::Rots(Episode { after, fault: node, lasts }) => {
                write!(f, "; after {after:?} a bit of node {node} turns while it is down for {lasts:?}")
            }
            Self::Change(after, Move::Joins) => write!(f, "; after {after:?} a fifth organisation joins"),
            Self::Change(after, Move::Replaces(node)) => write!(f, "; after {after:?} node {node} gets new keys"),
            Self::Change(after, Move::Swaps(node)) => {
                write!(f, "; after {after:?} a fifth organisation joins and node {node} goes")
            }
        }
    }
}
