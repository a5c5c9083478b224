//! Cosignatures on their way into a header.

use dmdl_types::{
    checkpoint::{Checkpoint, Cosignature, CosignedCheckpoint},
    genesis::EpochConfig,
    id::{Height, NodeId, OrgId},
    note::SIGNATURES_MAX,
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
    // Cosignatures that came before this node had executed their height, by node: what one node sends
    // ahead takes no place from another's.
    early: BTreeMap<NodeId, BTreeMap<Height, Cosignature>>,
}

#[derive(Debug)]
struct Gathered {
    checkpoint: Checkpoint,
    by: BTreeMap<NodeId, Cosignature>,
}

impl CosignPool {
    /// Opens a checkpoint that this node has come to.
    pub fn open(&mut self, checkpoint: Checkpoint, config: &EpochConfig) {
        let height = checkpoint.height;
        self.gathered.insert(height, Gathered { checkpoint, by: BTreeMap::new() });
        let came: Vec<Cosignature> = self.early.values_mut().filter_map(|ahead| ahead.remove(&height)).collect();
        for cosignature in came {
            self.add(height, cosignature, config);
        }
        while self.gathered.len() > HEIGHTS_MAX {
            self.gathered.pop_first();
        }
        // What is still early below this height can never be opened.
        self.early.retain(|_, ahead| {
            *ahead = ahead.split_off(&height);
            !ahead.is_empty()
        });
    }

    /// Adds a cosignature for a height, if it is valid for what this node has executed there.
    ///
    /// Returns whether it was news. One for a height that is still to come is kept until then, not
    /// yet verified: the caller takes it from nobody but the node that it names.
    pub fn add(&mut self, height: Height, cosignature: Cosignature, config: &EpochConfig) -> bool {
        let node = cosignature.node;
        if !is_committer(config, node) {
            return false;
        }
        let Some(gathered) = self.gathered.get_mut(&height) else {
            let newest = self.gathered.last_key_value().map(|(height, _)| *height);
            let ahead = self.early.entry(node).or_default();
            let room = ahead.len() < HEIGHTS_MAX || ahead.contains_key(&height);
            return newest.is_none_or(|newest| height > newest) && room && ahead.insert(height, cosignature).is_none();
        };
        if gathered.by.contains_key(&node) {
            return false;
        }
        let committer = config.cosigners().into_iter().find(|c| c.node == node);
        if committer.is_none_or(|c| cosignature.verify(&gathered.checkpoint, &c).is_err()) {
            return false;
        }
        gathered.by.insert(node, cosignature);
        true
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
        // A cosignature of somebody who is no committer any more would make the whole invalid.
        let valid = self.by.values().filter(|cosignature| is_committer(config, cosignature.node));
        let cosignatures: Vec<_> = valid.copied().take(SIGNATURES_MAX).collect();
        let orgs: BTreeSet<&OrgId> =
            cosignatures.iter().filter_map(|c| config.member(c.node)).map(|member| &member.org).collect();
        if orgs.len() < config.cosigners_needed() {
            return None;
        }
        CosignedCheckpoint::new(self.checkpoint, cosignatures).ok()
    }
}

fn is_committer(config: &EpochConfig, node: NodeId) -> bool {
    config.member(node).is_some_and(|member| member.roles.committer)
}

#[cfg(test)]
mod tests;
