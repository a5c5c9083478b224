//! A version's key on its way to other custodians, and who kept it before.

use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{
    context::{DataContext, ShareContext},
    custody::{Dealing, DealtShare, SealedBytes, ShareSet, index_of},
    id::{DealingId, NodeId, RecordId, RecordVersion, ShareEpoch, ShareIndex, TransactionId, UnixMillis},
};
use std::collections::BTreeSet;

/// The custodians of a version, in the order of their indices.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Holders {
    /// Those whom its owner dealt to, with what travelled.
    Dealt(Vec<DealtShare>),
    /// Those whom custodians handed it on to, in the reshare that a transaction began.
    Reshared(TransactionId, Vec<NodeId>),
}

impl Holders {
    /// Who they are.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        match self {
            Self::Dealt(shares) => shares.iter().map(|share| share.key.custodian).collect(),
            Self::Reshared(_, nodes) => nodes.clone(),
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        match self {
            Self::Dealt(shares) => shares.len(),
            Self::Reshared(_, nodes) => nodes.len(),
        }
    }

    /// The index of a custodian's share.
    #[must_use]
    pub fn index_of(&self, node: NodeId) -> Option<ShareIndex> {
        index_of(&self.nodes(), node)
    }
}

/// How a version's key is shared in one epoch: what stays of it when the epoch has ended.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Sharing {
    /// The share epoch.
    pub epoch: ShareEpoch,
    /// The dealing of its shares.
    pub dealing: DealingId,
    /// The dealing's commitments; their number is k.
    pub commitments: Vec<[u8; 32]>,
    /// Its custodians, in the order of their indices.
    pub custodians: Vec<NodeId>,
    /// How many acknowledgements it took.
    pub min_acks: u8,
    /// Who has said, since it ended, that nothing of it is left, sorted by custodian.
    pub destroyed: Vec<Destroyed>,
}

/// A custodian's word that nothing is left with it that opens a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Destroyed {
    /// Whose word.
    pub custodian: NodeId,
    /// The generation of its key store since which that is so.
    pub generation: u64,
}

/// An erased record: who may have had something that opens it, and who says that nothing is left.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ErasureRow {
    /// The call that erased it.
    pub transaction: TransactionId,
    /// Everybody who ever was, or was to be, one of its custodians, sorted.
    pub keepers: Vec<NodeId>,
    /// Who has said that nothing is left, sorted by custodian.
    pub destroyed: Vec<Destroyed>,
}

/// Everybody to whom the key of a record was ever to be handed on, sorted: some have had shares of parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PlannedRow(pub Vec<NodeId>);

impl Sharing {
    /// Names its shares.
    #[must_use]
    pub fn share_set(&self) -> ShareSet {
        ShareSet::of(self.dealing, self.epoch, self.min_acks, self.custodians.iter().copied())
    }

    /// What the share of one of its custodians is bound to.
    #[must_use]
    pub fn context(&self, data: &DataContext, custodian: NodeId) -> Option<ShareContext> {
        Some(ShareContext {
            data: *data,
            epoch: self.epoch,
            custodian,
            index: index_of(&self.custodians, custodian)?,
            k: u8::try_from(self.commitments.len()).ok()?,
            n: u8::try_from(self.custodians.len()).ok()?,
            dealing: self.dealing,
        })
    }
}

/// A custodian that was proved to have released something else than its share, for one decryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct FalseRelease;

/// How often a custodian was proved to have released something else than its shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct FalseReleases(pub u32);

/// What became of a custodian's part in a reshare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum PartState {
    /// Nothing is known against it.
    Good,
    /// Its dealer was proved at fault.
    Struck,
    /// Too many did not get their shares of it.
    PassedOver,
}

/// A reshare under way.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ReshareRow {
    /// The record.
    pub record: RecordId,
    /// Its version.
    pub version: RecordVersion,
    /// The call that began it.
    pub transaction: TransactionId,
    /// The epoch that it leads to.
    pub epoch: ShareEpoch,
    /// The next custodians, in the order of their indices.
    pub custodians: Vec<NodeId>,
    /// How many of their shares open the version.
    pub threshold: u8,
    /// How many of their acknowledgements begin the epoch.
    pub min_acks: u8,
    /// The parts that were dealt, in the ledger's order.
    pub parts: Vec<PartEntry>,
    /// What the first good ones add up to, once there are enough.
    pub merged: Option<MergedDealing>,
    /// Who acknowledged that, sorted.
    pub acks: Vec<NodeId>,
}

/// A part in the order of parts.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PartEntry {
    /// Whose it is.
    pub dealer: NodeId,
    /// The index of the share that it deals.
    pub from: ShareIndex,
    /// What became of it.
    pub state: PartState,
    /// Who gets nothing of it, for want of a key, in the order of their indices.
    pub keyless: Vec<NodeId>,
    /// Who has said that its share does not come, sorted by custodian.
    pub missing: Vec<Missing>,
}

/// A custodian's word that its share of a part does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Missing {
    /// Whose word.
    pub custodian: NodeId,
    /// The block's time.
    pub since: UnixMillis,
    /// Whether the dealer has shown the share since.
    pub is_shown: bool,
}

/// A dealing that nobody dealt: what parts add up to.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct MergedDealing {
    /// Its id.
    pub dealing: DealingId,
    /// Its commitments; their number is the next threshold.
    pub commitments: Vec<[u8; 32]>,
}

impl ReshareRow {
    /// How many of the next custodians may be without a share.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.custodians.len().saturating_sub(usize::from(self.min_acks))
    }

    /// The parts that count: the first `needed` good ones, in the ledger's order, that leave enough of the next custodians with
    /// a share of each; none while there are too few.
    #[must_use]
    pub fn chosen(&self, needed: usize) -> Option<Vec<&PartEntry>> {
        let good: Vec<_> = self.parts.iter().filter(|part| part.state == PartState::Good).collect();
        // Whoever says falsely that many gave no key is passed over as the first, and those who come after it fit together.
        (0..good.len()).find_map(|first| self.fitting(good.get(first..).unwrap_or_default(), needed))
    }

    /// The first of these parts, and those after it that leave enough with a share of each.
    fn fitting<'a>(&self, parts: &[&'a PartEntry], needed: usize) -> Option<Vec<&'a PartEntry>> {
        let (mut chosen, mut without) = (Vec::with_capacity(needed), BTreeSet::new());
        for part in parts {
            let with_it: BTreeSet<NodeId> = without.iter().chain(&part.keyless).copied().collect();
            if with_it.len() <= self.spare() {
                without = with_it;
                chosen.push(*part);
            }
            if chosen.len() == needed {
                return Some(chosen);
            }
        }
        None
    }
}

/// A custodian's part in a reshare, as it was dealt.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PartRow {
    /// The system transaction that it came in.
    pub transaction: TransactionId,
    /// The dealing; whoever gave no key, or one that was used before, has none in it.
    pub dealing: Dealing,
    /// Shares of it that its dealer has shown, with whose they are.
    pub shown: Vec<(NodeId, SealedBytes)>,
}
