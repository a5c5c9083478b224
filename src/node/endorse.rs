//! This node as an endorser.

use super::{Node, lock, message::Refused};
use commonware_runtime::Clock;
use dmdl_audit_ledger::{
    endorse::{self, Refusal},
    store::Store,
};
use dmdl_types::{
    access::ReasonCode,
    event::{Outcome, Verdict},
    id::{Height, NodeId},
    transaction::{Endorsement, Transaction},
};
use rand_core::CryptoRng;
use std::time::{Duration, SystemTime};

/// The code of a refusal: the transaction is executed already.
pub(super) const EXECUTED: &str = "replayed";
/// How long an endorser waits to see what the author has seen.
const CATCH_UP_PATIENCE: Duration = Duration::from_millis(1000);

impl<E: Clock + CryptoRng, S: Store> Node<E, S> {
    /// Audits a transaction and signs what was found.
    pub(super) async fn endorse(
        &self,
        transaction: &Transaction,
        passed_over: Vec<NodeId>,
        seen: Height,
    ) -> Result<Endorsement, Refused> {
        if !self.roles().map_err(|error| refused(&error.into()))?.endorser {
            return Err(Refused::new("not_endorser", "this node endorses nothing in the channel; ask another one"));
        }
        // What the author has seen done must be done here too, or a call that follows from it would look
        // as if it made no sense. A node that is far behind judges by what it has.
        let caught_up = || Ok::<_, std::convert::Infallible>((self.channel.tip().height >= seen).then_some(()));
        let Ok(_) = self.when(CATCH_UP_PATIENCE, caught_up).await;
        let found = match endorse::payload_of(transaction) {
            Some(payload) => {
                let stored = self.payloads.has(payload.digest, payload.ciphertext_len_bytes).await;
                stored.map_err(|error| Refused::new("vault_unavailable", error))?
            }
            None => false,
        };
        let (channel, tip) = (&self.channel, self.channel.tip().height);
        let id = endorse::audit(channel.store(), &channel.domain(), channel.checked(), tip, transaction, found)
            .map_err(|refusal| refused(&refusal))?;
        let outcome = self.channel.rehearse(transaction).map_err(|error| refused(&Refusal::Store(error)))?;
        if let Some(reason) = senseless(&outcome) {
            // Its own effect makes it look so: looked at last, because it may be executed at any moment.
            if self.channel.event_of(id).map_err(|error| refused(&error.into()))?.is_some() {
                return Err(Refused::new(EXECUTED, "the transaction is executed already"));
            }
            let reasons = outcome.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return Err(Refused::new(&code_of(reason), reasons));
        }
        // Only who has signed can use up a quota: it is taken after the audit. Its clock is the process's, which nobody sets.
        let now = self.runtime.current().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if let Some(author) = transaction.body.authors.first() {
            lock(&self.quota).take(*author, now).map_err(|error| refused(&Refusal::Quota(error)))?;
        }
        let signed = transaction.digest();
        let endorsement = Endorsement::sign(&self.key, &self.channel.domain(), signed, tip, passed_over);
        // It comes back with the transaction, and need not be verified then.
        self.channel.checked().signed(&endorsement, signed);
        Ok(endorsement)
    }
}

/// Why a call makes no sense in any state near this one, if that is so. A denial is no such reason: it is
/// evidence, and is ordered.
fn senseless(outcome: &Outcome) -> Option<ReasonCode> {
    let reason = outcome.reasons.first()?.code;
    match outcome.verdict {
        Verdict::Rejected => Some(reason),
        Verdict::Deny => matches!(reason, ReasonCode::BadArgument | ReasonCode::BadOpeningKey).then_some(reason),
        _ => None,
    }
}

/// The code of a call that makes no sense. Its authors have passed the audit: who is unknown or may not act is
/// somebody whom it names.
fn code_of(reason: ReasonCode) -> String {
    match reason {
        ReasonCode::UnknownAuthor => "unknown_person".to_owned(),
        ReasonCode::Suspended | ReasonCode::KeyRevoked => "inactive_person".to_owned(),
        reason => reason.as_str(),
    }
}

fn refused(refusal: &Refusal) -> Refused {
    let code = match refusal {
        Refusal::Transaction(_) => "tx_invalid",
        Refusal::TooLong { .. } => "too_long",
        Refusal::UnknownAuthor(_) => "unknown_author",
        Refusal::Inactive(_) => "key_revoked",
        Refusal::Expiry { .. } => "tx_expiry",
        Refusal::PayloadMissing => "blob_missing",
        Refusal::Quota(_) => "quota",
        _ => "unavailable",
    };
    Refused::new(code, refusal)
}
