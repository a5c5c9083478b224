//! Proposals: what somebody is asked to approve, from the transaction itself and not from what a gateway says of it.

use super::{CallError, Client, HttpGateway};
use dmdl_types::{
    event::Verdict,
    governance::{Change, Governance},
    id::TransactionId,
    invocation::Invocation,
};

impl<R> Client<HttpGateway, R> {
    /// What a proposal changes, proved to be what its author signed and the ledger took; none when the gateway shows
    /// no such proposal.
    ///
    /// # Errors
    /// [`CallError`] when nothing can be believed of it.
    pub async fn proposal(&self, id: TransactionId) -> Result<Option<Vec<Change>>, CallError> {
        let Some(shown) = self.gateway.transaction(id).await? else { return Ok(None) };
        let (_, event) = self.trust.deed(id, &shown, &self.gateway).await?;
        match shown.transaction.body.invocation {
            Invocation::Governance(Governance::Propose { changes }) if event.outcome.verdict == Verdict::Applied => {
                Ok(Some(changes))
            }
            _ => Ok(None),
        }
    }
}
