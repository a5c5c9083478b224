//! What people do: owners register, researchers ask and open, committees review, officers export.
//!
//! Everything secret happens here, on the person's own machine: sealing, dealing, and opening. The
//! gateway gets ciphertext, sealed shares and signed transactions.

mod open;
mod register;

pub use open::{OpenError, Opened, Opening, Prepared};
pub use register::{Draft, RegisterError, Registered};

use crate::node::{Final, GatewayError, SharedNode};
use commonware_runtime::Clock;
use dmdl_audit_ledger::store::Store;
use dmdl_types::{
    access::{PolicyDocument, Reason, Terms},
    codec,
    event::Event,
    genesis::Genesis,
    id::{Epoch, GrantId, Height, NoteCommitment, RecordId, TransactionId},
    invocation::{Access, Invocation},
    limits,
    sign::{PublicKey, SigningKey},
    transaction::{Transaction, TransactionBody},
};
use rand_core::CryptoRng;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Blocks after which a transaction that was not ordered is void.
const EXPIRES_AFTER: u64 = 200;

/// A person at a gateway of the pinned network.
pub struct Client<E, S: Store, R> {
    genesis: Genesis,
    key: SigningKey,
    gateway: SharedNode<E, S>,
    rng: Mutex<R>,
    patience: Duration,
}

impl<E, S: Store, R> std::fmt::Debug for Client<E, S, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.key.public())
    }
}

impl<E: Clock + CryptoRng, S: Store, R: CryptoRng> Client<E, S, R> {
    /// A person with this key, who trusts the pinned genesis and nothing that the gateway says of it.
    ///
    /// # Security
    /// `rng` draws every secret: it must be the operating system's, or a test's.
    pub const fn new(genesis: Genesis, key: SigningKey, gateway: SharedNode<E, S>, rng: R, patience: Duration) -> Self {
        Self { genesis, key, gateway, rng: Mutex::new(rng), patience }
    }

    /// The person's key.
    #[must_use]
    pub fn id(&self) -> PublicKey {
        self.key.public()
    }

    /// The gateway.
    #[must_use]
    pub const fn gateway(&self) -> &SharedNode<E, S> {
        &self.gateway
    }

    /// Signs a call, has it ordered, and waits for its outcome.
    ///
    /// # Errors
    /// [`GatewayError`] when the gateway could not help.
    pub async fn call(&self, invocation: Invocation) -> Result<Final, GatewayError> {
        self.submit(self.body(invocation).sign(&[&self.key])).await
    }

    /// Has a transaction ordered, and believes its outcome only with a receipt that committers of the
    /// pinned network have cosigned.
    async fn submit(&self, transaction: Transaction) -> Result<Final, GatewayError> {
        let id = transaction.body.id();
        let done = self.gateway.submit(transaction, self.patience).await?;
        let receipt = self.gateway.receipt(&done, self.patience).await?;
        let config = self.genesis.epoch_config(Epoch::new(0));
        let unproved = |what: &dyn std::fmt::Display| GatewayError::Unproved(what.to_string());
        let leaf = receipt
            .verify(&self.genesis.domain(), &config.cosigners(), config.cosigners_needed())
            .map_err(|error| unproved(&error))?;
        let event: Event = codec::decode(leaf.bytes(), limits::EVENT_BYTES).map_err(|error| unproved(&error))?;
        if event.transaction == id && event == done.event && leaf.index() == done.position {
            Ok(done)
        } else {
            Err(unproved(&"the receipt is of another event"))
        }
    }

    /// Asks for a grant.
    ///
    /// # Errors
    /// [`GatewayError`] when the gateway could not help; a denial is an outcome, no error.
    pub async fn request(&self, record: RecordId, terms: Terms, reason: &str) -> Result<Final, GatewayError> {
        let mut salt = [0; 32];
        self.random(|rng| rng.fill_bytes(&mut salt));
        let reason = NoteCommitment::of(&salt, reason);
        self.call(Invocation::Access(Access::Request { record, terms, reason })).await
    }

    /// Approves or denies a request that a policy left to review.
    ///
    /// # Errors
    /// [`GatewayError`] when the gateway could not help.
    pub async fn review(&self, request: TransactionId, approve: bool) -> Result<Final, GatewayError> {
        let call = if approve { Access::Approve { request } } else { Access::Deny { request } };
        self.call(Invocation::Access(call)).await
    }

    /// Ends a grant.
    ///
    /// # Errors
    /// [`GatewayError`] when the gateway could not help.
    pub async fn revoke(&self, grant: GrantId) -> Result<Final, GatewayError> {
        self.call(Invocation::Access(Access::Revoke { grant })).await
    }

    /// Sets the policy of a record.
    ///
    /// # Errors
    /// [`GatewayError`] when the gateway could not help.
    pub async fn set_policy(&self, record: RecordId, policy: PolicyDocument) -> Result<Final, GatewayError> {
        self.call(Invocation::Access(Access::SetPolicy { record, policy })).await
    }

    /// A transaction of this person.
    fn body(&self, invocation: Invocation) -> TransactionBody {
        let mut nonce = [0; 16];
        self.random(|rng| rng.fill_bytes(&mut nonce));
        TransactionBody {
            domain: self.genesis.domain(),
            authors: vec![self.key.public()],
            nonce,
            expires: Height::new(self.gateway.channel().tip().height.get().saturating_add(EXPIRES_AFTER)),
            invocation,
        }
    }

    fn random<T>(&self, draw: impl FnOnce(&mut R) -> T) -> T {
        draw(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The reasons of an outcome, as one line.
#[must_use]
pub fn reasons(reasons: &[Reason]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
