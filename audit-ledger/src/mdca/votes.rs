//! Tells the ledger of votes as the engine sees them, and turns contradicting ones into proofs.
//!
//! Who notices a contradiction is a matter of luck; only what is ordered as evidence counts. So a
//! proof is checked here by the same code that will judge it on the other nodes.

use super::{
    keys::ledger_digest,
    ledger::{Ledger, Vote},
};
use commonware_actor::Feedback;
use commonware_codec::Encode as _;
use commonware_consensus::{
    Reporter,
    simplex::{
        scheme::ed25519::Scheme,
        types::{Activity, Attributable as _, Proposal},
    },
};
use commonware_cryptography::sha256::Digest;
use dmdl_types::{
    certificate::FaultProof,
    id::{Epoch, NodeId, View},
    sign::{Domain, PublicKey},
};
use std::sync::Arc;

/// Watches one epoch.
#[derive(Clone)]
pub(super) struct VoteReporter<L> {
    ledger: L,
    domain: Domain,
    committee: Arc<[PublicKey]>,
}

impl<L> VoteReporter<L> {
    pub(super) fn new(ledger: L, domain: Domain, committee: Vec<PublicKey>) -> Self {
        Self { ledger, domain, committee: committee.into() }
    }
}

impl<L: Ledger> VoteReporter<L> {
    fn tell(&mut self, signer: u32, proposal: &Proposal<Digest>, notarize: Option<Vec<u8>>) {
        let Some(voter) = usize::try_from(signer).ok().and_then(|signer| self.committee.get(signer)) else { return };
        self.ledger.vote(Vote {
            voter: NodeId::of_key(*voter),
            epoch: Epoch::new(proposal.round.epoch().get()),
            view: View::new(proposal.round.view().get()),
            block: ledger_digest(proposal.payload),
            notarize,
        });
    }
}

impl<L: Ledger> Reporter for VoteReporter<L> {
    type Activity = Activity<Scheme, Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        match &activity {
            Activity::Notarize(vote) => {
                self.tell(vote.signer().get(), &vote.proposal, Some(vote.encode().to_vec()));
                return Feedback::Ok;
            }
            Activity::Finalize(vote) => {
                self.tell(vote.signer().get(), &vote.proposal, None);
                return Feedback::Ok;
            }
            Activity::ConflictingNotarize(_) | Activity::ConflictingFinalize(_) | Activity::NullifyFinalize(_) => {}
            _ => return Feedback::Ok,
        }
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
