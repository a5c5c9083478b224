//! Cosignatures on their way into a header.

use dmdl_types::{
    checkpoint::{Checkpoint, Cosignature, CosignedCheckpoint},
    genesis::EpochConfig,
    id::{Height, NodeId, OrgId},
    note::SIGNATURES_MAX,
    sign::PublicKey,
};
use std::collections::{BTreeMap, BTreeSet};

/// Heights whose cosignatures are gathered at a time, and heights ahead that one node is heard of.
const HEIGHTS_MAX: usize = 128;

/// Gathers the cosignatures of what this node has itself executed.
///
/// A cosignature of anything else is no use: this node could not tell whether it is true.
#[derive(Debug, Default)]
pub struct CosignPool {
    gathered: BTreeMap<Height, Gathered>,
    // What came before this node had executed its height, by node: what one node sends ahead takes no
    // place from another's.
    early: BTreeMap<NodeId, BTreeMap<Height, (Checkpoint, Cosignature)>>,
}

#[derive(Debug)]
struct Gathered {
    checkpoint: Checkpoint,
    // With the keys that they were verified by: a node may have another one in the next epoch.
    by: BTreeMap<NodeId, (PublicKey, Cosignature)>,
}

/// What became of a cosignature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cosigned {
    /// It was news.
    News,
    /// It was no use: known, too old, invalid, or nobody's who may cosign.
    NoUse,
    /// Its committer signed something else than what this node has executed.
    Contradicts,
}

impl CosignPool {
    /// Opens a checkpoint that this node has come to; returns what came early and contradicts it.
    pub fn open(&mut self, checkpoint: Checkpoint, config: &EpochConfig) -> Vec<(Checkpoint, Cosignature)> {
        let height = checkpoint.height;
        self.gathered.insert(height, Gathered { checkpoint, by: BTreeMap::new() });
        let mut came: Vec<_> = self.early.values_mut().filter_map(|ahead| ahead.remove(&height)).collect();
        came.retain(|(checkpoint, cosignature)| self.add(checkpoint, *cosignature, config) == Cosigned::Contradicts);
        while self.gathered.len() > HEIGHTS_MAX {
            self.gathered.pop_first();
        }
        // What is still early below this height can never be opened.
        self.early.retain(|_, ahead| {
            *ahead = ahead.split_off(&height);
            !ahead.is_empty()
        });
        came
    }

    /// Adds a cosignature of a checkpoint, if that is what this node has executed at its height.
    ///
    /// One for a height that is still to come is kept until then, not yet verified: the caller takes it
    /// from nobody but the node that it names.
    pub fn add(&mut self, checkpoint: &Checkpoint, cosignature: Cosignature, config: &EpochConfig) -> Cosigned {
        let (node, height) = (cosignature.node, checkpoint.height);
        let Some(committer) = config.cosigners().into_iter().find(|committer| committer.node == node) else {
            return Cosigned::NoUse;
        };
        let Some(gathered) = self.gathered.get_mut(&height) else {
            let newest = self.gathered.last_key_value().map(|(height, _)| *height);
            let ahead = self.early.entry(node).or_default();
            let room = ahead.len() < HEIGHTS_MAX || ahead.contains_key(&height);
            let news = newest.is_none_or(|newest| height > newest)
                && room
                && ahead.insert(height, (*checkpoint, cosignature)).is_none();
            return if news { Cosigned::News } else { Cosigned::NoUse };
        };
        let known = gathered.by.get(&node).is_some_and(|(key, _)| *key == committer.cosigning_key);
        if known && gathered.checkpoint == *checkpoint {
            return Cosigned::NoUse;
        }
        if cosignature.verify(checkpoint, &committer).is_err() {
            return Cosigned::NoUse;
        }
        if gathered.checkpoint != *checkpoint {
            return Cosigned::Contradicts;
        }
        gathered.by.insert(node, (committer.cosigning_key, cosignature));
        Cosigned::News
    }

    /// The checkpoint to carry in a block: of those that cover more than `size` leaves the one that most
    /// organisations have cosigned, and of these the newest.
    #[must_use]
    pub fn to_carry(&self, size: Option<u64>, config: &EpochConfig) -> Option<CosignedCheckpoint> {
        let news = self.gathered.values().filter(|gathered| Some(gathered.checkpoint.size) > size);
        let best = news.max_by_key(|gathered| gathered.orgs(config).len())?;
        best.cosigned(config)
    }

    /// The newest checkpoint that enough organisations have cosigned.
    #[must_use]
    pub fn newest(&self, config: &EpochConfig) -> Option<CosignedCheckpoint> {
        self.gathered.values().rev().find_map(|gathered| gathered.cosigned(config))
    }

    /// The newest checkpoint that enough organisations have cosigned, if it covers `size` leaves.
    #[must_use]
    pub fn at_least(&self, size: u64, config: &EpochConfig) -> Option<CosignedCheckpoint> {
        self.newest(config).filter(|cosigned| cosigned.checkpoint().size >= size)
    }

    /// Forgets what is older than a checkpoint that a final header carries.
    pub fn settle(&mut self, height: Height) {
        // The settled one itself stays: a proposer whose view fails may need it again.
        self.gathered = self.gathered.split_off(&height);
    }
}

impl Gathered {
    /// The checkpoint with its cosignatures, once it has enough by this configuration.
    fn cosigned(&self, config: &EpochConfig) -> Option<CosignedCheckpoint> {
        if self.orgs(config).len() < config.cosigners_needed() {
            return None;
        }
        CosignedCheckpoint::new(self.checkpoint, self.valid(config).copied().collect()).ok()
    }

    fn orgs<'a>(&'a self, config: &'a EpochConfig) -> BTreeSet<&'a OrgId> {
        self.valid(config).filter_map(|c| config.member(c.node)).map(|member| &member.org).collect()
    }

    /// A cosignature of somebody who is no committer any more, or is one by another key, would make the whole invalid.
    fn valid<'a>(&'a self, config: &'a EpochConfig) -> impl Iterator<Item = &'a Cosignature> {
        let counts = move |(key, cosignature): &&(PublicKey, Cosignature)| {
            let member = config.member(cosignature.node);
            member.is_some_and(|member| member.roles.committer && member.cosigning_key == *key)
        };
        self.by.values().filter(counts).map(|(_, cosignature)| cosignature).take(SIGNATURES_MAX)
    }
}

#[cfg(test)]
mod tests;
