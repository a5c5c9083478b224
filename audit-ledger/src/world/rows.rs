//! The tables of world state.

use super::{
    ErasureRow, FalseRelease, FalseReleases, FaultSeen, FaultsRow, Holders, PartRow, PlannedRow, ReportsRow,
    ReshareRow, Row, Sharing, StandingRow, TurnCounters, VoiceRow,
};
use crate::execute::Anchor;
use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{
    access::{PolicyDocument, Terms},
    checkpoint::Checkpoint,
    custody::ShareSet,
    genesis::{ChannelConfig, EpochConfig, Member, Person},
    governance::Change,
    id::{
        DealingId, Epoch, FaultId, GrantId, Height, NodeId, OrgId, PolicyId, RecordId, RecordVersion, ShareEpoch,
        TransactionId, UnixMillis, UseNumber,
    },
    invocation::{Authority, Metadata, OpeningKey, PayloadInfo},
    sign::PublicKey,
};

macro_rules! tables {
    ($($number:literal $row:ty, by $key:ty;)*) => {$(
        impl Row for $row {
            const TABLE: u8 = $number;
            type Key = $key;
        }
    )*};
}

tables! {
    1 PersonRow, by PublicKey;
    2 RecordRow, by RecordId;
    3 VersionRow, by (RecordId, RecordVersion);
    4 PolicyDocument, by PolicyId;
    5 RequestRow, by TransactionId;
    6 GrantRow, by GrantId;
    7 DecryptionRow, by TransactionId;
    9 DealingKeyUsed, by (NodeId, [u8; 32]);
    10 HistoryRow, by (RecordId, BigEndian);
    11 Owned, by (PublicKey, RecordId);
    12 EpochConfig, by Epoch;
    13 TurnCounters, by (Epoch, NodeId);
    14 OpenedBy, by (PublicKey, RecordId);
    15 CohortRow, by PublicKey;
    16 VoiceRow, by (Epoch, OrgId);
    17 FaultsRow, by (Epoch, NodeId);
    18 FaultSeen, by (Epoch, FaultId);
    19 ReportsRow, by (Epoch, NodeId);
    20 StandingRow, by (Epoch, OrgId);
    21 ProposalRow, by TransactionId;
    22 PendingRow, by ();
    23 AddressRow, by NodeId;
    24 Checkpoint, by Height;
    25 Anchor, by ();
    26 PrunesBlocks, by ();
    27 Sharing, by (RecordId, RecordVersion, ShareEpoch);
    28 ReshareRow, by (RecordId, RecordVersion);
    29 PartRow, by (RecordId, RecordVersion, NodeId);
    30 FalseRelease, by (TransactionId, NodeId);
    31 FalseReleases, by NodeId;
    32 ErasureRow, by RecordId;
    33 PlannedRow, by RecordId;
}

/// A number in keys that are read in order: most significant byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BigEndian([u8; 8]);

impl BigEndian {
    /// The key part of a number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number.to_be_bytes())
    }
}

/// Whether a person may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum PersonStatus {
    /// May act.
    Active,
    /// May not act until reinstated.
    Suspended,
    /// May never act again.
    Revoked,
}

/// A person and what became of them.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PersonRow {
    /// Who.
    pub person: Person,
    /// Whether they may act.
    pub status: PersonStatus,
    /// The call by which an admin enrolled them; none for people of the genesis document or of a proposal.
    pub enrolled_by: Option<TransactionId>,
}

/// Where a record is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum RecordState {
    /// In the catalogue, with nothing in custody.
    Catalogued,
    /// Registered, and not enough acknowledgements yet.
    Pending,
    /// At least one version can be opened.
    Active,
    /// Erased: nothing of it will ever be released again.
    Erased,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RecordRow {
    /// Who owns it now.
    pub owner: PublicKey,
    /// The owner's organisation.
    pub org: OrgId,
    /// What it is.
    pub metadata: Metadata,
    /// Where it is in its life.
    pub state: RecordState,
    /// Its policy; none is the channel's default.
    pub policy: Option<PolicyId>,
    /// The last version registered; 0 for none.
    pub last_version: RecordVersion,
    /// The last version that became active; 0 for none.
    pub active_version: RecordVersion,
    /// When it was registered.
    pub registered: UnixMillis,
    /// How many entries its history has.
    pub history_len: u64,
}

impl RecordRow {
    /// Whether nothing of it will ever be released again.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.state == RecordState::Erased
    }
}

/// Where a version is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum VersionState {
    /// Waits for acknowledgements.
    Pending,
    /// Enough custodians keep its shares.
    Active,
    /// Its dealer was proved at fault.
    Failed,
}

/// A version of a record, and how its key is shared.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct VersionRow {
    /// Where it is in its life.
    pub state: VersionState,
    /// The sealed payload.
    pub payload: PayloadInfo,
    /// The current share epoch.
    pub epoch: ShareEpoch,
    /// The dealing of that epoch.
    pub dealing: DealingId,
    /// Its commitments; their number is k.
    pub commitments: Vec<[u8; 32]>,
    /// Its custodians; their number is n.
    pub holders: Holders,
    /// How many acknowledgements make it active.
    pub min_acks: u8,
    /// Until when they may: a version that is not active by then never is.
    pub expires: UnixMillis,
    /// Who acknowledged, sorted.
    pub acks: Vec<NodeId>,
    /// Where it was ordered.
    pub height: Height,
    /// The registering transaction.
    pub transaction: TransactionId,
}

impl VersionRow {
    /// Whether too few custodians had acknowledged it in time, at a block's time.
    #[must_use]
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.state == VersionState::Pending && now > self.expires
    }

    /// How its key is shared now.
    #[must_use]
    pub fn sharing(&self) -> Sharing {
        Sharing {
            epoch: self.epoch,
            dealing: self.dealing,
            commitments: self.commitments.clone(),
            custodians: self.holders.nodes(),
            min_acks: self.min_acks,
            destroyed: Vec::new(),
        }
    }

    /// Names the shares of the current epoch.
    #[must_use]
    pub fn share_set(&self) -> ShareSet {
        ShareSet::of(self.dealing, self.epoch, self.min_acks, self.holders.nodes().into_iter())
    }
}

/// Where a request is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum RequestState {
    /// Waits for review.
    Pending,
    /// Allowed, at once or in review.
    Allowed,
    /// Denied, at once or in review.
    Denied,
}

/// A request for access.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RequestRow {
    /// The record.
    pub record: RecordId,
    /// Who asks.
    pub requester: PublicKey,
    /// What for, for how long and how often.
    pub terms: Terms,
    /// Where it is in its life.
    pub state: RequestState,
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct GrantRow {
    /// The request that it answers.
    pub request: TransactionId,
    /// The record.
    pub record: RecordId,
    /// Who holds it.
    pub requester: PublicKey,
    /// On what terms.
    pub terms: Terms,
    /// The last instant at which a decryption is allowed.
    pub ends: UnixMillis,
    /// How many uses were made.
    pub used: u32,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Whether a person approved it, rather than a policy alone.
    pub approved: bool,
    /// The policy that it was given under, which stays with it.
    pub policy: Option<PolicyId>,
}

/// A decryption that was allowed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DecryptionRow {
    /// The record.
    pub record: RecordId,
    /// Its version.
    pub version: RecordVersion,
    /// Who asked.
    pub requester: PublicKey,
    /// By what right.
    pub authority: Authority,
    /// Which use of the grant it is.
    pub use_number: UseNumber,
    /// The block time it was executed at.
    pub time: UnixMillis,
    /// One-time keys, sorted by custodian.
    pub keys: Vec<OpeningKey>,
    /// Who told the ledger of its release, sorted, with the share epoch.
    pub releases: Vec<(NodeId, ShareEpoch)>,
}

/// A one-time dealing key that a registration has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DealingKeyUsed;

/// What happened to a medical item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum HistoryKind {
    /// Where it comes from was committed to.
    Source,
    /// It was registered.
    Registration,
    /// Its bytes are stored, and custodians keep its key.
    Storage,
    /// It changed its owner.
    Transfer,
    /// It ended.
    Deletion,
}

/// One entry of a medical item's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct HistoryRow {
    /// What happened.
    pub kind: HistoryKind,
    /// By which transaction.
    pub transaction: TransactionId,
    /// When.
    pub time: UnixMillis,
    /// Who owns the item since.
    pub owner: PublicKey,
}

/// An item that somebody owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Owned;

/// A record that somebody has decrypted under a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OpenedBy;

/// How many different records somebody has decrypted under grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CohortRow(pub u32);

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ProposalState {
    /// It waits for approvals.
    Open,
    /// Enough organisations approved.
    Accepted {
        /// The first epoch in which the changes hold.
        from: Epoch,
    },
    /// Its organisation took it back.
    Withdrawn,
}

/// A proposal to change the channel.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ProposalRow {
    /// What is to change.
    pub changes: Vec<Change>,
    /// The organisation that proposed it.
    pub proposer: OrgId,
    /// When.
    pub proposed: UnixMillis,
    /// The organisations that approved, sorted.
    pub approvals: Vec<OrgId>,
    /// What became of it.
    pub state: ProposalState,
}

/// What was accepted in this epoch and begins with the one after the next.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PendingRow {
    /// The nodes, sorted by key.
    pub members: Vec<Member>,
    /// How the channel will work.
    pub channel: ChannelConfig,
}

impl PendingRow {
    /// What becomes of a configuration with it.
    #[must_use]
    pub fn onto(self, config: EpochConfig) -> EpochConfig {
        EpochConfig { members: self.members, channel: self.channel, ..config }
    }
}

/// There once the channel's nodes let old blocks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PrunesBlocks;

/// Where a node is dialled that came after the channel was founded, `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AddressRow(pub String);
