//! What people do: owners register, researchers ask and open, committees review, officers export.
//!
//! A client seals and opens on its own machine, and signs what it asks of the ledger. What the gateway
//! says is checked against the pinned genesis wherever it decides something.

mod gateway;
mod gather;
mod http;
mod known;
mod open;
mod proposals;
mod register;
mod remarks;
mod trust;

pub use gateway::{AskGatewayError, Ciphertext, Gateway};
pub use http::{HttpGateway, PinError, Shown, look};
pub use known::{known, learn};
pub(crate) use open::list;
pub use open::{OpenError, Opened, Opening, Prepared};
pub use register::{Draft, Progress, RegisterError, Registered};
pub use remarks::{Remarked, Said, Told};
pub use trust::{BelieveError, Trust, Unproved};

use crate::{node::Final, problem::Problem};
use dmdl_types::{
    access::{PolicyDocument, Reason, Terms},
    custody_proof::VerifiedCustody,
    event::{Action, Verdict},
    genesis::Founding,
    hash,
    id::{GrantId, Height, RecordId, RecordVersion, SubjectId, TransactionId},
    invocation::{Access, Invocation},
    label, limits,
    sign::{PublicKey, SigningKey},
    title::TitleError,
    transaction::{Transaction, TransactionBody},
};
use dmdl_vault::remark::{SealError, TextError};
use gather::Hedge;
use rand_core::CryptoRng;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use zeroize::Zeroizing;

/// Blocks that a busy channel makes in a second, and some more.
const BLOCKS_PER_SECOND: u64 = 50;
/// A transaction may be ordered for so many times as long as its author waits for it: who hears nothing hands it in again,
/// and elsewhere.
const WAITS: u64 = 2;
/// The least blocks after which a transaction that was not ordered is void. More is as good: what an orderer has heard of
/// is ordered at once, and what none has heard of has no effect.
const EXPIRES_AFTER_MIN: u64 = 1_000;
/// The most: half of what endorsers let pass, because one may be behind the gateway that names the height.
const EXPIRES_AFTER_MAX: u64 = limits::EXPIRY_BLOCKS / 2;

/// Why a call came to nothing that can be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The gateway refuses, cannot, or does not answer.
    #[error(transparent)]
    Gateway(#[from] AskGatewayError),
    /// What the gateway shows is not proved, so it is not believed.
    #[error(transparent)]
    Unproved(#[from] Unproved),
    /// The text is no remark.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The remark cannot be sealed.
    #[error(transparent)]
    SealRemark(#[from] SealError),
    /// The text is no title.
    #[error(transparent)]
    Title(#[from] TitleError),
}

impl From<BelieveError> for CallError {
    fn from(error: BelieveError) -> Self {
        match error {
            BelieveError::Unproved(error) => Self::Unproved(error),
            BelieveError::Gateway(error) => Self::Gateway(error),
        }
    }
}

impl CallError {
    /// The gateway's problem, if that is what it is.
    #[must_use]
    pub const fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Gateway(AskGatewayError::Problem(problem)) => Some(problem),
            _ => None,
        }
    }
}

/// A person at a gateway of the pinned network.
pub struct Client<G, R> {
    trust: Arc<Trust>,
    key: SigningKey,
    gateway: G,
    rng: Mutex<R>,
    patience: Duration,
    hedge: Hedge,
}

impl<G, R> std::fmt::Debug for Client<G, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.key.public())
    }
}

impl<G: Gateway, R: CryptoRng + Send> Client<G, R> {
    /// A person with this key, who trusts what is pinned and nothing that the gateway says of it. What was verified
    /// may be shared with others at the same gateway.
    ///
    /// # Security
    /// `rng` draws every secret: it must be the operating system's, or a test's.
    pub fn new(trust: impl Into<Arc<Trust>>, key: SigningKey, gateway: G, rng: R, patience: Duration) -> Self {
        Self { trust: trust.into(), key, gateway, rng: Mutex::new(rng), patience, hedge: Hedge::default() }
    }

    /// The person's key.
    #[must_use]
    pub fn id(&self) -> PublicKey {
        self.key.public()
    }

    /// The gateway.
    #[must_use]
    pub const fn gateway(&self) -> &G {
        &self.gateway
    }

    /// What the person believes.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The id under which this owner's patient with a pseudonym appears on the ledger.
    ///
    /// # Security
    /// Derived under a secret of the owner's key, so that nobody else can confirm a guess.
    pub fn subject(&self, pseudonym: &str) -> SubjectId {
        let secret = self.key.seed().expose(|seed| hash::labelled(label::SUBJECT_SECRET, &[seed]));
        SubjectId::derive(&Zeroizing::new(secret), pseudonym)
    }

    fn founding(&self) -> &Founding {
        self.trust.founding()
    }

    /// Signs a call, has it ordered, and waits for its outcome.
    ///
    /// # Errors
    /// [`CallError`] when nothing can be believed of it.
    pub async fn call(&self, invocation: Invocation) -> Result<Final, CallError> {
        self.submit(self.sign(invocation).await?).await
    }

    /// Signs a call; nobody else knows of it yet.
    ///
    /// # Errors
    /// [`CallError`] when the gateway does not say how far the channel is.
    pub async fn sign(&self, invocation: Invocation) -> Result<Transaction, CallError> {
        Ok(self.body(invocation).await?.sign(&[&self.key]))
    }

    /// Has a transaction ordered, and believes its outcome only with a receipt that committers of the
    /// pinned network have cosigned.
    ///
    /// May be called again with the same transaction, here or at another gateway: it has its effect once.
    ///
    /// # Errors
    /// [`CallError`] when nothing can be believed of it.
    pub async fn submit(&self, transaction: Transaction) -> Result<Final, CallError> {
        let id = transaction.body.id();
        let receipt = self.gateway.submit(transaction, self.patience).await?;
        let (position, event) = self.trust.event_of(id, &receipt, &self.gateway).await?;
        Ok(Final { transaction: id, position, event })
    }

    /// What became of a transaction, proved; none when it is not executed in time.
    ///
    /// # Errors
    /// [`CallError`] when nothing can be believed of it.
    pub async fn outcome(&self, id: TransactionId, patience: Duration) -> Result<Option<Final>, CallError> {
        let Some(receipt) = self.gateway.receipt(id, patience).await? else { return Ok(None) };
        let (position, event) = self.trust.event_of(id, &receipt, &self.gateway).await?;
        Ok(Some(Final { transaction: id, position, event }))
    }

    /// The decision of a request that was left to review, proved; none when it is not decided in time.
    ///
    /// # Errors
    /// [`CallError`] when nothing can be believed of it.
    pub async fn decision(&self, request: TransactionId, patience: Duration) -> Result<Option<Final>, CallError> {
        let Some(receipt) = self.gateway.decision(request, patience).await? else { return Ok(None) };
        let (position, event) = self.trust.event(&receipt, &self.gateway).await?;
        let decides = matches!(event.action, Action::Approve | Action::DenyRequest)
            && event.outcome.verdict == Verdict::Applied
            && event.refers_to == Some(request);
        if decides {
            Ok(Some(Final { transaction: event.transaction, position, event }))
        } else {
            Err(Unproved::OtherEvent.into())
        }
    }

    /// The registration of a version, proved, after waiting for it to become active no longer than
    /// `patience`; none when the gateway shows no such version.
    ///
    /// # Errors
    /// [`CallError`] when nothing can be believed of it.
    pub async fn custody(
        &self,
        record: RecordId,
        version: RecordVersion,
        patience: Duration,
    ) -> Result<Option<VerifiedCustody>, CallError> {
        let Some(proof) = self.gateway.custody(record, version, patience).await? else { return Ok(None) };
        Ok(Some(self.trust.custody((record, version), &proof, &self.gateway).await?))
    }

    /// Asks for a grant, and keeps the reason for the parties if that can be done.
    ///
    /// # Errors
    /// [`CallError`]; a denial is an outcome, no error.
    pub async fn request(&self, record: RecordId, terms: Terms, reason: &str) -> Result<Final, CallError> {
        let Remarked { done, kept } = self.ask(record, terms, reason).await?;
        if let Err(error) = kept {
            tracing::warn!(%error, "the reason of a request is not kept");
        }
        Ok(done)
    }

    /// Approves or denies a request that a policy left to review.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn review(&self, request: TransactionId, approve: bool) -> Result<Final, CallError> {
        let call = if approve { Access::Approve { request } } else { Access::Deny { request } };
        self.call(Invocation::Access(call)).await
    }

    /// Ends a grant.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn revoke(&self, grant: GrantId) -> Result<Final, CallError> {
        self.call(Invocation::Access(Access::Revoke { grant })).await
    }

    /// Sets the policy of a record.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_policy(&self, record: RecordId, policy: PolicyDocument) -> Result<Final, CallError> {
        self.call(Invocation::Access(Access::SetPolicy { record, policy })).await
    }

    /// A transaction of this person.
    async fn body(&self, invocation: Invocation) -> Result<TransactionBody, CallError> {
        let mut nonce = [0; 16];
        self.random(|rng| rng.fill_bytes(&mut nonce));
        let height = self.gateway.height().await?;
        Ok(TransactionBody {
            domain: self.founding().domain,
            authors: vec![self.key.public()],
            nonce,
            expires: Height::new(height.get().saturating_add(expires_after(self.patience))),
            invocation,
        })
    }

    fn random<T>(&self, draw: impl FnOnce(&mut R) -> T) -> T {
        draw(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Blocks after which a transaction is void that was not ordered, and whose author waits for so long.
fn expires_after(patience: Duration) -> u64 {
    let waited = patience.as_secs().saturating_mul(WAITS).saturating_mul(BLOCKS_PER_SECOND);
    waited.clamp(EXPIRES_AFTER_MIN, EXPIRES_AFTER_MAX)
}

/// The reasons of an outcome, as one line.
#[must_use]
pub fn reasons(reasons: &[Reason]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_outlives_the_patience_of_its_author_as_far_as_endorsers_let_it() {
        let after = |seconds| expires_after(Duration::from_secs(seconds));
        assert_eq!(after(30), 3_000, "a minute of a busy channel");
        assert_eq!(after(0), EXPIRES_AFTER_MIN);
        assert_eq!(after(86_400), EXPIRES_AFTER_MAX);
        assert_eq!(expires_after(Duration::MAX), EXPIRES_AFTER_MAX);
    }
}
