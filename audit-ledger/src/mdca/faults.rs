//! Turns contradicting votes, as the engine sees them, into proofs that anyone can check.
//!
//! Who notices a contradiction is a matter of luck; only what is ordered as evidence counts. So a
//! proof is checked here by the same code that will judge it on the other nodes.

use super::ledger::Ledger;
use commonware_actor::Feedback;
use commonware_codec::Encode as _;
use commonware_consensus::{
    Reporter,
    simplex::{scheme::ed25519::Scheme, types::Activity},
};
use commonware_cryptography::sha256::Digest;
use dmdl_types::{
    certificate::FaultProof,
    sign::{Domain, PublicKey},
};
use std::sync::Arc;

/// Watches one epoch.
#[derive(Clone)]
pub(super) struct FaultReporter<L> {
    ledger: L,
    domain: Domain,
    committee: Arc<[PublicKey]>,
}

impl<L> FaultReporter<L> {
    pub(super) fn new(ledger: L, domain: Domain, committee: Vec<PublicKey>) -> Self {
        Self { ledger, domain, committee: committee.into() }
    }
}

impl<L: Ledger> Reporter for FaultReporter<L> {
    type Activity = Activity<Scheme, Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        let (Activity::ConflictingNotarize(_) | Activity::ConflictingFinalize(_) | Activity::NullifyFinalize(_)) =
            &activity
        else {
            return Feedback::Ok;
        };
        let encoded = activity.encode().to_vec();
        // The engine reports votes before it has checked their signatures.
        match FaultProof::decode(&encoded).and_then(|proof| proof.verify(&self.domain, &self.committee)) {
            Ok(fault) => {
                tracing::warn!(culprit = %fault.culprit(), kind = ?fault.kind(), "a committee member contradicted itself");
                self.ledger.fault(fault, encoded);
            }
            Err(error) => tracing::debug!(%error, "an alleged fault is none"),
        }
        Feedback::Ok
    }
}
