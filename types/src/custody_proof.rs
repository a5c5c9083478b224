//! Proof that a record version is registered, and in custody: what a client believes of it.
//!
//! A registration names everything that matters to whoever opens a record: the sealed payload, the
//! commitments to its key, and the custodians. The proof carries the signed transaction itself, the
//! receipt of its outcome, and the receipts of its custodians' acknowledgements. Enough of them make
//! the version active, whatever a gateway says. Where custodians have handed the key on, the proof says to whom, and carries the
//! acknowledgements of the present ones: what they share is the key that was registered, since it has the same commitment.
//!
//! # Source
//! docs/spec/receipt.md

use crate::{
    checkpoint::VerifiedCheckpoint,
    codec,
    context::DataContext,
    custody::{Dealing, ShareSet},
    event::{Action, Event, Verdict},
    id::{DealingId, Height, NodeId, RecordId, RecordVersion, ShareEpoch, TransactionId},
    invocation::{Access, Invocation, Registration},
    limits,
    receipt::{Receipt, ReceiptError, VerifiedLeaf},
    sign::{Domain, PublicKey},
    transaction::{Transaction, TransactionError},
};
use borsh::{BorshDeserialize, BorshSerialize};
use std::collections::BTreeSet;

/// Why a registration is not proved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CustodyProofError {
    /// The transaction is not a signed one of this network and channel.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// It registers something else.
    #[error("the transaction does not register version {version} of record `{record}`")]
    OtherCall {
        /// The record that was asked for.
        record: RecordId,
        /// The version that was asked for.
        version: RecordVersion,
    },
    /// A receipt proves nothing.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// A receipt proves something else.
    #[error("a receipt is of another event")]
    OtherEvent,
    /// The record's id does not commit to this registration.
    #[error("the record's id does not commit to this registrant and dealing")]
    OtherRecord,
    /// A custodian stands twice in the dealing.
    #[error("a custodian stands twice in the dealing")]
    CustodianTwice,
    /// Too few acknowledgements for custodians to whom the key was handed on: a share epoch begins with enough of them.
    #[error("share epoch {0} has not begun: too few of its custodians are shown to have acknowledged")]
    NotBegun(ShareEpoch),
    /// What the present custodians share is another key than was registered.
    #[error("the custodians of share epoch {0} do not share the key that was registered")]
    OtherKey(ShareEpoch),
}

/// A registration with the receipts of its outcome and acknowledgements, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustodyProof {
    /// The registering transaction.
    pub registration: Transaction,
    /// The receipt of its outcome.
    pub receipt: Receipt,
    /// Who keeps its key now, if its first custodians have handed it on.
    pub reshared: Option<Kept>,
    /// Receipts of the present custodians' acknowledgements.
    pub acknowledgements: Vec<Receipt>,
}

/// Who keeps the key of a version in a share epoch, and how.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Kept {
    /// The share epoch.
    pub epoch: ShareEpoch,
    /// Commitments to the key's sharing; their number is the threshold.
    pub commitments: Vec<[u8; 32]>,
    /// The custodians, in the order of their indices.
    pub custodians: Vec<NodeId>,
    /// How many acknowledgements it took.
    pub min_acks: u8,
}

impl Kept {
    fn of(dealing: &Dealing) -> Self {
        Self {
            epoch: dealing.epoch,
            commitments: dealing.commitments.clone(),
            custodians: dealing.shares.iter().map(|share| share.key.custodian).collect(),
            min_acks: dealing.min_acks,
        }
    }

    fn share_set(&self, data: &DataContext) -> ShareSet {
        let dealing = DealingId::derive(data, self.epoch, &self.commitments);
        ShareSet::of(dealing, self.epoch, self.min_acks, self.custodians.iter().copied())
    }
}

/// A version that was registered, with what was registered.
///
/// Only [`CustodyProof::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCustody {
    registration: Registration,
    transaction: TransactionId,
    registrant: PublicKey,
    kept: Kept,
    acknowledged: BTreeSet<NodeId>,
    checkpoints: Vec<VerifiedCheckpoint>,
}

impl CustodyProof {
    /// The height of the newest checkpoint under one of its receipts, as yet unverified.
    #[must_use]
    pub fn height(&self) -> Height {
        let later = self.acknowledgements.iter().map(|receipt| receipt.checkpoint.checkpoint().height);
        later.fold(self.receipt.checkpoint.checkpoint().height, Height::max)
    }

    /// Verifies that a version of a record was registered, and who acknowledged its shares.
    ///
    /// # Errors
    /// [`CustodyProofError`] says what is not proved.
    ///
    /// # Security
    /// `leaf` verifies one receipt, by committers that come from a pinned genesis, as for [`Receipt::verify`], and may
    /// cosign at the height of [`CustodyProof::height`].
    pub fn verify(
        &self,
        (record, version): (RecordId, RecordVersion),
        expected: &Domain,
        leaf: impl Fn(&Receipt) -> Result<VerifiedLeaf, ReceiptError>,
    ) -> Result<VerifiedCustody, CustodyProofError> {
        let id = self.registration.verify(expected)?;
        let body = &self.registration.body;
        let registration = match &body.invocation {
            Invocation::Access(Access::Register(call)) if call.record == record && call.version == version => call,
            _ => return Err(CustodyProofError::OtherCall { record, version }),
        };
        let Some(registrant) = body.authors.first().copied() else { return Err(TransactionError::Authors.into()) };
        if version == RecordVersion::new(1) {
            let derived =
                RecordId::derive(expected.network, expected.channel, registrant, &registration.dealing.commitments);
            if derived != record {
                return Err(CustodyProofError::OtherRecord);
            }
        }
        let data = DataContext { network: expected.network, channel: expected.channel, record, version };
        let dealt = Kept::of(&registration.dealing);
        let kept = self.reshared.clone().unwrap_or_else(|| dealt.clone());
        if kept.commitments.first() != dealt.commitments.first() {
            return Err(CustodyProofError::OtherKey(kept.epoch));
        }
        let custodians: BTreeSet<NodeId> = kept.custodians.iter().copied().collect();
        if custodians.len() != kept.custodians.len() {
            return Err(CustodyProofError::CustodianTwice);
        }
        let mut checkpoints = Vec::new();
        let mut proved = |receipt: &Receipt, action, shares: &ShareSet| {
            let leaf = leaf(receipt)?;
            let event: Event =
                codec::decode(leaf.bytes(), limits::EVENT_BYTES).map_err(|_| CustodyProofError::OtherEvent)?;
            let concerned = event.action == action
                && event.outcome.verdict == Verdict::Applied
                && event.record == Some(record)
                && event.version == Some(version)
                && event.shares.as_ref() == Some(shares);
            checkpoints.push(*leaf.checkpoint());
            if concerned { Ok(event) } else { Err(CustodyProofError::OtherEvent) }
        };
        if proved(&self.receipt, Action::Register, &dealt.share_set(&data))?.transaction != id {
            return Err(CustodyProofError::OtherEvent);
        }
        let (shares, mut acknowledged) = (kept.share_set(&data), BTreeSet::new());
        for receipt in &self.acknowledgements {
            let custodian = NodeId::of_key(proved(receipt, Action::Acknowledge, &shares)?.actor);
            if !custodians.contains(&custodian) {
                return Err(CustodyProofError::OtherEvent);
            }
            acknowledged.insert(custodian);
        }
        // What was registered may be pending; a share epoch that was handed on to has begun with enough of these, or not at all.
        let needed = usize::from(kept.min_acks).max((2 * kept.commitments.len()).saturating_sub(1));
        if self.reshared.is_some() && acknowledged.len() < needed {
            return Err(CustodyProofError::NotBegun(kept.epoch));
        }
        Ok(VerifiedCustody {
            registration: (**registration).clone(),
            transaction: id,
            registrant,
            kept,
            acknowledged,
            checkpoints,
        })
    }
}

impl VerifiedCustody {
    /// What was registered.
    #[must_use]
    pub const fn registration(&self) -> &Registration {
        &self.registration
    }

    /// Who keeps its key now.
    #[must_use]
    pub const fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The registering transaction.
    #[must_use]
    pub const fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// Who registered it.
    #[must_use]
    pub const fn registrant(&self) -> PublicKey {
        self.registrant
    }

    /// How many of its custodians are shown to keep their shares.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Whether enough custodians have acknowledged that they keep its shares.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.acknowledged.len() >= usize::from(self.kept.min_acks)
    }

    /// The checkpoints that the proof stands on.
    #[must_use]
    pub fn checkpoints(&self) -> &[VerifiedCheckpoint] {
        &self.checkpoints
    }
}
