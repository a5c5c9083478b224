//! Which signatures a process has verified: each once, and as many at once as come together.

use super::digests::{Digest, Digests};
use borsh::BorshSerialize;
use dmdl_types::{
    codec::{self, DecodeError},
    hash,
    id::{TransactionDigest, TransactionId},
    label, limits,
    sign::{self, Claim, Domain, KnownKeys},
    transaction::{EndorsedTransaction, Endorsement, SystemTransaction, Transaction, TransactionError},
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Remembers what was verified, so that a process checks each signature once: when it comes in, not again
/// when it comes back in an endorsed transaction or in a block.
#[derive(Debug, Default)]
pub struct Checked {
    recent: Mutex<Digests>,
    keys: KnownKeys,
}

/// Something whose form is right, and whose signatures are still to be verified.
struct Open {
    id: TransactionId,
    key: Digest,
    claims: Vec<Claim>,
}

impl Checked {
    /// Verifies transactions with their endorsements' signatures, apart from what was verified before: all signatures
    /// at once, and those of each only if one of them is not valid.
    pub fn transactions(
        &self,
        batch: &[EndorsedTransaction],
        domain: &Domain,
    ) -> Vec<Result<TransactionId, TransactionError>> {
        let one = |endorsed: &EndorsedTransaction| endorsed.verify(domain);
        self.all(batch, |endorsed| self.open(endorsed, domain), one)
    }

    /// Verifies a transaction with its endorsements' signatures, unless the same bytes were verified before.
    ///
    /// # Errors
    /// [`TransactionError`] when it does not verify, or no block could hold it.
    pub fn transaction(
        &self,
        endorsed: &EndorsedTransaction,
        domain: &Domain,
    ) -> Result<TransactionId, TransactionError> {
        let Open { id, key, claims } = self.open(endorsed, domain)?;
        if !sign::all_hold(&claims, &self.keys) {
            return endorsed.verify(domain);
        }
        self.remember([key]);
        Ok(id)
    }

    /// Verifies transactions without their endorsements, apart from what was verified before: all at once, and each
    /// only if a signature is not valid.
    pub fn authored_all(
        &self,
        batch: &[&Transaction],
        domain: &Domain,
    ) -> Vec<Result<TransactionId, TransactionError>> {
        let one = |transaction: &&Transaction| transaction.verify(domain);
        self.all(batch, |transaction| self.open_authored(transaction, domain), one)
    }

    /// Verifies a transaction without its endorsements, unless the same bytes were verified before.
    ///
    /// # Errors
    /// [`TransactionError`] when it does not verify.
    pub fn authored(&self, transaction: &Transaction, domain: &Domain) -> Result<TransactionId, TransactionError> {
        let Open { id, key, claims } = self.open_authored(transaction, domain)?;
        if !claims.is_empty() {
            transaction.verify(domain)?;
            self.remember([key]);
        }
        Ok(id)
    }

    /// Whether an endorsement of a transaction is its endorser's, verified unless the same one was before.
    pub fn endorsement(&self, endorsement: &Endorsement, transaction: TransactionDigest, domain: &Domain) -> bool {
        let key = endorsement_key(endorsement, transaction);
        if self.knows(&key) {
            return true;
        }
        let valid = endorsement.verify(domain, transaction);
        if valid {
            self.remember([key]);
        }
        valid
    }

    /// Verifies a system transaction, unless the same bytes were verified before.
    ///
    /// # Errors
    /// [`TransactionError`] when it does not verify, or no block could hold it.
    pub fn system(&self, system: &SystemTransaction, domain: &Domain) -> Result<TransactionId, TransactionError> {
        let bytes = fitting(system, limits::SYSTEM_TRANSACTION_BYTES)?;
        let key = hash::labelled(label::SYSTEM_ID, &[b"signed", &bytes]);
        if !self.knows(&key) {
            system.verify(domain)?;
            self.remember([key]);
        }
        Ok(system.id())
    }

    /// Remembers an endorsement that this process has just signed.
    pub fn signed(&self, endorsement: &Endorsement, transaction: TransactionDigest) {
        self.remember([endorsement_key(endorsement, transaction)]);
    }

    fn all<T>(
        &self,
        batch: &[T],
        open: impl Fn(&T) -> Result<Open, TransactionError>,
        one: impl Fn(&T) -> Result<TransactionId, TransactionError>,
    ) -> Vec<Result<TransactionId, TransactionError>> {
        let (mut claims, mut results, mut opened) = (Vec::new(), Vec::with_capacity(batch.len()), Vec::new());
        for item in batch {
            results.push(open(item).map(|Open { id, key, claims: mut own }| {
                if !own.is_empty() {
                    let begin = claims.len();
                    claims.append(&mut own);
                    opened.push((results.len(), key, begin..claims.len()));
                }
                id
            }));
        }
        if sign::all_hold(&claims, &self.keys) {
            self.remember(opened.into_iter().map(|(_, key, _)| key));
            return results;
        }
        // Those of others in the batch cost no more than twice what they would have.
        for (number, key, own) in opened {
            if claims.get(own).is_some_and(|own| sign::all_hold(own, &self.keys)) {
                self.remember([key]);
            } else if let (Some(result), Some(item)) = (results.get_mut(number), batch.get(number)) {
                *result = one(item);
            }
        }
        results
    }

    /// What is still to be verified of a transaction with its endorsements; no claims if nothing is.
    fn open(&self, endorsed: &EndorsedTransaction, domain: &Domain) -> Result<Open, TransactionError> {
        let bytes = fitting(endorsed, limits::TRANSACTION_BYTES)?;
        let key = hash::labelled(label::TRANSACTION_ID, &[b"endorsed", &bytes]);
        let EndorsedTransaction { transaction, endorsements } = endorsed;
        if self.knows(&key) {
            return Ok(Open { id: transaction.body.id(), key, claims: Vec::new() });
        }
        let Open { id, mut claims, .. } = self.open_authored(transaction, domain)?;
        endorsed.check_endorsers()?;
        let signed = transaction.digest();
        let unknown = endorsements.iter().filter(|endorsement| !self.knows(&endorsement_key(endorsement, signed)));
        claims.extend(unknown.map(|endorsement| endorsement.claim(domain, signed)));
        Ok(Open { id, key, claims })
    }

    /// The same of its authors' signatures alone.
    fn open_authored(&self, transaction: &Transaction, domain: &Domain) -> Result<Open, TransactionError> {
        let key = hash::labelled(label::TRANSACTION_ID, &[b"authored", &codec::encode(transaction)]);
        if self.knows(&key) {
            return Ok(Open { id: transaction.body.id(), key, claims: Vec::new() });
        }
        let (id, claims) = transaction.claims(domain)?;
        Ok(Open { id, key, claims })
    }

    fn knows(&self, key: &Digest) -> bool {
        self.recent().contains(key)
    }

    fn remember(&self, keys: impl IntoIterator<Item = Digest>) {
        let mut recent = self.recent();
        keys.into_iter().for_each(|key| recent.insert(key));
    }

    // A poisoned lock only means that another thread died; what it remembers is still true.
    fn recent(&self) -> MutexGuard<'_, Digests> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn endorsement_key(endorsement: &Endorsement, transaction: TransactionDigest) -> Digest {
    hash::labelled(label::ENDORSEMENT, &[transaction.as_bytes(), &codec::encode(endorsement)])
}

/// The encoding, unless it is longer than a block takes: one such transaction in the pools would make
/// every candidate block invalid.
fn fitting(value: &impl BorshSerialize, limit: usize) -> Result<Vec<u8>, DecodeError> {
    let bytes = codec::encode(value);
    if bytes.len() <= limit { Ok(bytes) } else { Err(DecodeError::TooLong { got: bytes.len(), limit }) }
}
