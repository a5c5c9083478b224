//! Proof that a record version is registered, and in custody: what a client believes of it.
//!
//! A registration names everything that matters to whoever opens a record: the sealed payload, the
//! commitments to its key, and the custodians. The proof carries the signed transaction itself, the
//! receipt of its outcome, and the receipts of its custodians' acknowledgements. Enough of them make
//! the version active, whatever a gateway says.
//!
//! # Source
//! docs/spec/receipt.md

use crate::{
    checkpoint::VerifiedCheckpoint,
    codec,
    context::DataContext,
    event::{Action, Event, Verdict},
    id::{Height, NodeId, RecordId, RecordVersion, TransactionId},
    invocation::{Access, Invocation, Registration},
    limits,
    receipt::{Receipt, ReceiptError, VerifiedLeaf},
    sign::{Domain, PublicKey},
    transaction::{Transaction, TransactionError},
};
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
}

/// A registration with the receipts of its outcome and acknowledgements, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustodyProof {
    /// The registering transaction.
    pub registration: Transaction,
    /// The receipt of its outcome.
    pub receipt: Receipt,
    /// Receipts of its custodians' acknowledgements.
    pub acknowledgements: Vec<Receipt>,
}

/// A version that was registered, with what was registered.
///
/// Only [`CustodyProof::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCustody {
    registration: Registration,
    transaction: TransactionId,
    registrant: PublicKey,
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
        let shares = registration.dealing.share_set(&data);
        let custodians: BTreeSet<NodeId> = registration.dealing.shares.iter().map(|s| s.key.custodian).collect();
        if custodians.len() != registration.dealing.shares.len() {
            return Err(CustodyProofError::CustodianTwice);
        }
        let mut checkpoints = Vec::new();
        let mut proved = |receipt: &Receipt, action| {
            let leaf = leaf(receipt)?;
            let event: Event =
                codec::decode(leaf.bytes(), limits::EVENT_BYTES).map_err(|_| CustodyProofError::OtherEvent)?;
            let concerned = event.action == action
                && event.outcome.verdict == Verdict::Applied
                && event.record == Some(record)
                && event.version == Some(version)
                && event.shares == Some(shares);
            checkpoints.push(*leaf.checkpoint());
            if concerned { Ok(event) } else { Err(CustodyProofError::OtherEvent) }
        };
        if proved(&self.receipt, Action::Register)?.transaction != id {
            return Err(CustodyProofError::OtherEvent);
        }
        let mut acknowledged = BTreeSet::new();
        for receipt in &self.acknowledgements {
            let custodian = NodeId::of_key(proved(receipt, Action::Acknowledge)?.actor);
            if !custodians.contains(&custodian) {
                return Err(CustodyProofError::OtherEvent);
            }
            acknowledged.insert(custodian);
        }
        Ok(VerifiedCustody {
            registration: (**registration).clone(),
            transaction: id,
            registrant,
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

    /// Whether enough custodians have acknowledged that they keep its shares.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.acknowledged.len() >= usize::from(self.registration.dealing.min_acks)
    }

    /// The checkpoints that the proof stands on.
    #[must_use]
    pub fn checkpoints(&self) -> &[VerifiedCheckpoint] {
        &self.checkpoints
    }
}
