//! This node as an endorser.

use super::{Node, lock, message::Refused};
use commonware_runtime::Clock;
use dmdl_audit_ledger::{
    endorse::{self, Refusal},
    store::Store,
};
use dmdl_types::{
    id::NodeId,
    transaction::{Endorsement, Transaction},
};
use rand_core::CryptoRng;

impl<E: Clock + CryptoRng, S: Store> Node<E, S> {
    /// Audits a transaction and signs what was found.
    pub(super) async fn endorse(
        &self,
        transaction: &Transaction,
        passed_over: Vec<NodeId>,
    ) -> Result<Endorsement, Refused> {
        let found = match endorse::payload_of(transaction) {
            Some(payload) => {
                let stored = self.payloads.has(payload.digest, payload.ciphertext_len_bytes).await;
                stored.map_err(|error| Refused::new("vault_unavailable", error))?
            }
            None => false,
        };
        let tip = self.channel.tip().height;
        let id = endorse::audit(self.channel.store(), &self.channel.domain(), tip, transaction, found)
            .map_err(|refusal| refused(&refusal))?;
        // Only who has signed can use up a quota: it is taken after the audit.
        let now = self.channel.now();
        if let Some(author) = transaction.body.authors.first() {
            lock(&self.quota).take(*author, now).map_err(|error| refused(&Refusal::Quota(error)))?;
        }
        Ok(Endorsement::sign(&self.key, &self.channel.domain(), id, tip, passed_over))
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
