//! Keys and rows of a custodian's store: what lies where.
//!
//! A key is one letter and fixed-length fields, numbers big-endian, so that the rows of a record, of
//! a version or of a grant lie together.
//!
//! # Source
//! docs/spec/custodian.md, "Rows"

use super::store::{ReleaseKey, Slot, StoreError};
use crate::share::WrappedShare;
use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{
    context::ShareContext,
    custody::SealedBytes,
    id::{DealingId, GrantId, RecordId, RecordVersion, ShareEpoch, TransactionId, UnixMillis},
    invocation::SystemItem,
};

/// A one-time dealing key whose public part was handed out; its secret is in the key store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct KeyRow {
    /// When, by this node's clock.
    pub(super) minted: UnixMillis,
    pub(super) state: KeyState,
}

/// What a dealing key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) enum KeyState {
    /// It waits for its share.
    Waits,
    /// Its share has arrived: the secret must go, or is gone.
    Spent,
    /// It opens a share of a part, which is kept as it came until parts are added up.
    Opens,
}

/// This custodian's part in a reshare.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct OwnPartRow {
    /// The part, as the ledger is told of it.
    pub(super) item: SystemItem,
    /// The next custodians' shares of it, in the order of their indices.
    pub(super) sealed: Vec<SealedBytes>,
}

impl OwnPartRow {
    /// The reshare that it is a part of, and the epoch that this leads to.
    pub(super) fn leads_to(&self) -> Option<(TransactionId, ShareEpoch)> {
        let SystemItem::Part { plan, dealing, .. } = &self.item else { return None };
        Some((*plan, dealing.epoch))
    }
}

/// This custodian's share of somebody's part, as it came.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct PartShareRow {
    /// The transaction that began the reshare.
    pub(super) plan: TransactionId,
    pub(super) context: ShareContext,
    pub(super) dealing_key: [u8; 32],
    pub(super) sealed: SealedBytes,
}

/// A share that this custodian acknowledges.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct ShareRow {
    pub(super) context: ShareContext,
    pub(super) wrapped: WrappedShare,
}

impl ShareRow {
    pub(super) fn acknowledgement(&self) -> SystemItem {
        let ShareContext { data, epoch, dealing, .. } = self.context;
        SystemItem::Acknowledge { record: data.record, version: data.version, epoch, dealing }
    }
}

/// A complaint that this custodian makes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct ComplaintRow {
    pub(super) context: ShareContext,
    pub(super) item: SystemItem,
}

/// The key of a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    Minted([u8; 32]),
    Share(Slot),
    Complaint(Slot),
    Release(ReleaseKey),
    /// Finds the releases of a grant.
    ReleaseOfGrant(GrantId, ReleaseKey),
    /// Nothing of this record is accepted any more.
    Erased(RecordId),
    /// No share of this epoch or an earlier one is accepted any more.
    Ended(RecordId, RecordVersion),
    /// This custodian's own part in the reshare to this epoch that a transaction began.
    OwnPart(Slot, TransactionId),
    /// This custodian's share of the part of that dealing, in the reshare that a transaction began.
    PartShare(Slot, TransactionId, DealingId),
}

const DEALING_KEY: u8 = b'k';
const SHARE: u8 = b's';
const COMPLAINT: u8 = b'c';
const RELEASE: u8 = b'r';
const GRANT: u8 = b'g';
const PENDING: u8 = b'p';
const ERASED: u8 = b'x';
const ENDED: u8 = b'e';
const OWN_PART: u8 = b'q';
const PART_SHARE: u8 = b'd';
const PART_MISSING: u8 = b'm';
const PART_SHOWN: u8 = b'w';

impl Key {
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Minted(key) => of(DEALING_KEY, &[key]),
            Self::Share(slot) => of(SHARE, &[&slot_bytes(slot)]),
            Self::Complaint(slot) => of(COMPLAINT, &[&slot_bytes(slot)]),
            Self::Release(key) => of(RELEASE, &[&release_bytes(key)]),
            Self::ReleaseOfGrant(grant, key) => of(GRANT, &[grant.as_bytes(), &release_bytes(key)]),
            Self::Erased(record) => of(ERASED, &[record.as_bytes()]),
            Self::Ended(record, version) => of(ENDED, &[&version_bytes(*record, Some(*version))]),
            Self::OwnPart(slot, plan) => of(OWN_PART, &[&slot_bytes(slot), plan.as_bytes()]),
            Self::PartShare(slot, plan, dealing) => {
                of(PART_SHARE, &[&slot_bytes(slot), plan.as_bytes(), dealing.as_bytes()])
            }
        }
    }

    pub(super) fn dealing_keys() -> Vec<u8> {
        of(DEALING_KEY, &[])
    }

    pub(super) fn all_shares() -> Vec<u8> {
        of(SHARE, &[])
    }

    pub(super) fn shares_of(record: RecordId, version: Option<RecordVersion>) -> Vec<u8> {
        of(SHARE, &[&version_bytes(record, version)])
    }

    pub(super) fn complaints_of(record: RecordId, version: Option<RecordVersion>) -> Vec<u8> {
        of(COMPLAINT, &[&version_bytes(record, version)])
    }

    pub(super) fn own_parts_of(record: RecordId, version: Option<RecordVersion>) -> Vec<u8> {
        of(OWN_PART, &[&version_bytes(record, version)])
    }

    pub(super) fn part_shares_of(record: RecordId, version: Option<RecordVersion>) -> Vec<u8> {
        of(PART_SHARE, &[&version_bytes(record, version)])
    }

    pub(super) fn all_part_shares() -> Vec<u8> {
        of(PART_SHARE, &[])
    }

    pub(super) fn all_releases() -> Vec<u8> {
        of(RELEASE, &[])
    }

    pub(super) fn releases_of(record: RecordId, version: Option<RecordVersion>) -> Vec<u8> {
        of(RELEASE, &[&version_bytes(record, version)])
    }

    pub(super) fn all_grants() -> Vec<u8> {
        of(GRANT, &[])
    }

    pub(super) fn releases_under(grant: GrantId) -> Vec<u8> {
        of(GRANT, &[grant.as_bytes()])
    }

    pub(super) fn all_erased() -> Vec<u8> {
        of(ERASED, &[])
    }

    pub(super) fn all_ended() -> Vec<u8> {
        of(ENDED, &[])
    }

    pub(super) fn all_pending() -> Vec<u8> {
        of(PENDING, &[])
    }

    /// The grant that a row of the index is about.
    pub(super) fn grant_of_index(key: &[u8]) -> Result<GrantId, StoreError> {
        let grant = key.get(1..33).and_then(|bytes| bytes.first_chunk::<32>());
        grant.map(|bytes| GrantId::new(*bytes)).ok_or(StoreError::Corrupt { what: "a key of the grants' index" })
    }

    /// The release that a row of the grants' index points to.
    pub(super) fn release_of_index(key: &[u8]) -> Result<Self, StoreError> {
        let fields = key.get(33..).and_then(|rest| {
            let (record, rest) = rest.split_first_chunk::<32>()?;
            let (version, rest) = rest.split_first_chunk::<4>()?;
            let (epoch, transaction) = rest.split_first_chunk::<4>()?;
            let slot = Slot {
                record: RecordId::new(*record),
                version: RecordVersion::new(u32::from_be_bytes(*version)),
                epoch: ShareEpoch::new(u32::from_be_bytes(*epoch)),
            };
            let transaction = TransactionId::new(transaction.try_into().ok()?);
            Some(Self::Release(ReleaseKey { slot, transaction }))
        });
        fields.ok_or(StoreError::Corrupt { what: "a key of the grants' index" })
    }
}

/// The key under which an item waits for the ledger; evidence is not the custodian's.
pub(super) fn pending_key(item: &SystemItem) -> Option<Vec<u8>> {
    let slot = |record: &RecordId, version: &RecordVersion, epoch: &ShareEpoch| {
        slot_bytes(&Slot { record: *record, version: *version, epoch: *epoch })
    };
    match item {
        SystemItem::Acknowledge { record, version, epoch, .. } => {
            Some(of(PENDING, &[&[SHARE], &slot(record, version, epoch)]))
        }
        SystemItem::Complaint { record, version, epoch, .. } => {
            Some(of(PENDING, &[&[COMPLAINT], &slot(record, version, epoch)]))
        }
        SystemItem::Release { decryption, record, version, epoch, .. } => {
            Some(of(PENDING, &[&[RELEASE], &slot(record, version, epoch), decryption.as_bytes()]))
        }
        SystemItem::Part { plan, record, version, dealing } => {
            Some(of(PENDING, &[&[OWN_PART], &slot(record, version, &dealing.epoch), plan.as_bytes()]))
        }
        SystemItem::PartComplaint { plan, record, version, epoch, dealer, .. } => {
            Some(of(PENDING, &[&[PART_SHARE], &slot(record, version, epoch), plan.as_bytes(), dealer.as_bytes()]))
        }
        SystemItem::PartMissing { plan, record, version, epoch, dealer } => {
            Some(of(PENDING, &[&[PART_MISSING], &slot(record, version, epoch), plan.as_bytes(), dealer.as_bytes()]))
        }
        SystemItem::PartShown { plan, record, version, epoch, custodian, .. } => {
            Some(of(PENDING, &[&[PART_SHOWN], &slot(record, version, epoch), plan.as_bytes(), custodian.as_bytes()]))
        }
        SystemItem::Destroyed { record, of: None, .. } => Some(of(PENDING, &[&[ERASED], record.as_bytes()])),
        SystemItem::Destroyed { record, of: Some((version, epoch)), .. } => {
            Some(of(PENDING, &[&[ENDED], &slot(record, version, epoch)]))
        }
        SystemItem::Evidence(_) => None,
    }
}

fn of(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![kind];
    for field in fields {
        key.extend_from_slice(field);
    }
    key
}

fn version_bytes(record: RecordId, version: Option<RecordVersion>) -> Vec<u8> {
    let mut bytes = record.as_bytes().to_vec();
    bytes.extend(version.iter().flat_map(|version| version.get().to_be_bytes()));
    bytes
}

fn slot_bytes(slot: &Slot) -> Vec<u8> {
    let mut bytes = version_bytes(slot.record, Some(slot.version));
    bytes.extend_from_slice(&slot.epoch.get().to_be_bytes());
    bytes
}

fn release_bytes(key: &ReleaseKey) -> Vec<u8> {
    let mut bytes = slot_bytes(&key.slot);
    bytes.extend_from_slice(key.transaction.as_bytes());
    bytes
}
