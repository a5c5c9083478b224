//! Cosignatures on their way into a header.

use dmdl_types::{
    checkpoint::{Checkpoint, CosignedCheckpoint, Cosignature},
    genesis::EpochConfig,
    id::{Height, NodeId, OrgId},
};
use std::collections::{BTreeMap, BTreeSet};

/// Heights whose cosignatures are gathered at a time.
const HEIGHTS_MAX: usize = 128;

/// Gathers the cosignatures of what this node has itself executed.
///
/// A cosignature of anything else is no use: this node could not tell whether it is true.
#[derive(Debug, Default)]
pub struct CosignPool {
    gathered: BTreeMap<Height, Gathered>,
    // Cosignatures that came before this node had executed their height.
    early: BTreeMap<Height, BTreeMap<NodeId, Cosignature>>,
}

#[derive(Debug)]
struct Gathered {
    checkpoint: Checkpoint,
    by: BTreeMap<NodeId, Cosignature>,
}

impl CosignPool {
    /// Opens a checkpoint that this node has come to.
    pub fn open(&mut self, checkpoint: Checkpoint, config: &EpochConfig) {
        self.gathered.insert(checkpoint.height, Gathered { checkpoint, by: BTreeMap::new() });
        for (_, cosignature) in self.early.remove(&checkpoint.height).unwrap_or_default() {
            self.add(checkpoint.height, cosignature, config);
        }
        while self.gathered.len() > HEIGHTS_MAX {
            self.gathered.pop_first();
        }
        // What is still early below this height can never be opened.
        self.early = self.early.split_off(&checkpoint.height);
    }

    /// Adds a cosignature for a height, if it is valid for what this node has executed there.
    ///
    /// Returns whether it was news. One for a height that is still to come is kept until then.
    pub fn add(&mut self, height: Height, cosignature: Cosignature, config: &EpochConfig) -> bool {
        let Some(member) = config.member(cosignature.node).filter(|m| m.roles.committer) else { return false };
        let Some(gathered) = self.gathered.get_mut(&height) else {
            let newest = self.gathered.last_key_value().map(|(height, _)| *height);
            let near = newest.is_none_or(|newest| height > newest);
            if near && (self.early.len() < HEIGHTS_MAX || self.early.contains_key(&height)) {
                return self.early.entry(height).or_default().insert(cosignature.node, cosignature).is_none();
            }
            return false;
        };
        if gathered.by.contains_key(&cosignature.node) {
            return false;
        }
        let committer = config.cosigners().into_iter().find(|c| c.node == member.node);
        if !committer.is_some_and(|c| cosignature.verify(&gathered.checkpoint, &c).is_ok()) {
            return false;
        }
        gathered.by.insert(cosignature.node, cosignature);
        true
    }

    /// The newest checkpoint that enough organisations have cosigned.
    #[must_use]
    pub fn newest(&self, config: &EpochConfig) -> Option<CosignedCheckpoint> {
        let enough = |g: &&Gathered| {
            let orgs: BTreeSet<&OrgId> = g.by.keys().filter_map(|node| config.member(*node)).map(|m| &m.org).collect();
            orgs.len() >= config.cosigners_needed()
        };
        let found = self.gathered.values().rev().find(enough)?;
        CosignedCheckpoint::new(found.checkpoint, found.by.values().copied().collect()).ok()
    }

    /// The cosignatures of one height, once enough organisations have cosigned it.
    #[must_use]
    pub fn at_least(&self, size: u64, config: &EpochConfig) -> Option<CosignedCheckpoint> {
        self.newest(config).filter(|cosigned| cosigned.checkpoint().size >= size)
    }

    /// Forgets what is not newer than a checkpoint that a final header carries.
    pub fn settle(&mut self, height: Height) {
        // The settled one itself stays: a proposer whose view fails may need it again.
        self.gathered = self.gathered.split_off(&height);
    }
}
