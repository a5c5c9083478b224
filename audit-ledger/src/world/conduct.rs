//! The rows that reputation is made of: what one epoch's blocks say of each node.

use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{id::NodeId, mdca::PerDuty};

/// Turns to propose in one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct TurnCounters {
    /// Turns given.
    pub given: u64,
    /// Turns that became final blocks.
    pub taken: u64,
}

/// What one organisation's blocks and transactions say of every node in one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct VoiceRow {
    /// Final blocks that it proposed and that could name votes on their parent.
    pub blocks: u64,
    /// Checkpoints that those of its blocks carried.
    pub checkpoints: u64,
    /// The nodes, sorted.
    pub nodes: Vec<NodeVoice>,
}

/// What one organisation's blocks and transactions say of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct NodeVoice {
    /// The node.
    pub node: NodeId,
    /// Transactions of the organisation that carry its endorsement.
    pub endorsed: u64,
    /// The bytes of those transactions.
    pub endorsed_bytes: u64,
    /// Transactions of the organisation whose panel had it before the last endorser, and that lack its
    /// endorsement.
    pub passed_over: u64,
    /// Checkpoints in the organisation's blocks that it had cosigned.
    pub cosigned: u64,
    /// The events that those checkpoints covered for the first time.
    pub cosigned_events: u64,
    /// Blocks of the organisation that name its vote on their parent.
    pub votes: u64,
}

impl VoiceRow {
    /// What is said of a node, to be added to.
    pub(crate) fn of(&mut self, node: NodeId) -> &mut NodeVoice {
        let place = match self.nodes.binary_search_by_key(&node, |voice| voice.node) {
            Ok(place) => place,
            Err(place) => {
                self.nodes.insert(place, NodeVoice::silent(node));
                place
            }
        };
        // INVARIANT: the place was found or filled just above.
        #[expect(clippy::indexing_slicing, reason = "the place was found or filled just above")]
        &mut self.nodes[place]
    }

    /// What is said of a node.
    #[must_use]
    pub fn about(&self, node: NodeId) -> NodeVoice {
        let found = self.nodes.binary_search_by_key(&node, |voice| voice.node).ok();
        found.and_then(|place| self.nodes.get(place)).copied().unwrap_or(NodeVoice::silent(node))
    }
}

impl NodeVoice {
    const fn silent(node: NodeId) -> Self {
        Self { node, endorsed: 0, endorsed_bytes: 0, passed_over: 0, cosigned: 0, cosigned_events: 0, votes: 0 }
    }
}

/// Faults of a node that were proved in one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct FaultsRow {
    /// How many, by the duty that was betrayed.
    pub faults: PerDuty<u64>,
    /// The bytes of what was signed falsely.
    pub bytes: PerDuty<u64>,
}

/// A fault that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct FaultSeen;

/// How much evidence a node has shown in one epoch, true or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ReportsRow(pub u32);

/// What an organisation's conduct up to an epoch comes to, in parts per million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StandingRow {
    /// `S(j)`: the standing in each duty.
    pub standing: PerDuty<i64>,
}
