//! Transactions: what people ask of the ledger, what endorsers say of it, what nodes add.
//!
//! # Source
//! docs/spec/transaction.md

use crate::{
    codec::{self, DecodeError},
    hash,
    id::{Height, NodeId, TransactionDigest, TransactionId},
    invocation::{Invocation, SystemItem},
    label, limits,
    sign::{Claim, Domain, Meaning, PublicKey, Signature, SigningKey},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// Why a transaction or an endorsement does not verify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The bytes are not a canonical transaction.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It names another network or channel.
    #[error("the transaction is for another network or channel")]
    WrongContext,
    /// It has no author, too many, or one twice.
    #[error("a transaction has 1 to {} different authors and a signature of each", limits::AUTHORS)]
    Authors,
    /// A signature is not its author's.
    #[error("the signature of author `{0}` is not valid")]
    Signature(PublicKey),
    /// An endorsement is not its endorser's, or for another transaction.
    #[error("the endorsement of `{0}` is not valid")]
    Endorsement(NodeId),
    /// A list is longer than its limit.
    #[error("`{0}` has too many entries")]
    TooMany(&'static str),
}

/// What an author signs.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct TransactionBody {
    /// The network and channel it is for.
    pub domain: Domain,
    /// Who acts: the first pays quotas, all must sign.
    pub authors: Vec<PublicKey>,
    /// Random: two equal calls are two transactions.
    pub nonce: [u8; 16],
    /// The last height at which it may be executed.
    pub expires: Height,
    /// The call.
    pub invocation: Invocation,
}

impl TransactionBody {
    /// The transaction's id: the hash of its body, so that signatures cannot change it.
    #[must_use]
    pub fn id(&self) -> TransactionId {
        TransactionId::new(hash::labelled(label::TRANSACTION_ID, &[&codec::encode(self)]))
    }

    /// Signs the body as its authors, in their order.
    #[must_use]
    pub fn sign(self, signers: &[&SigningKey]) -> Transaction {
        let id = self.id();
        let signatures =
            signers.iter().map(|signer| signer.sign(&self.domain, Transaction::MEANING, id.as_bytes())).collect();
        Transaction { body: self, signatures }
    }
}

/// A signed call to a contract.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Transaction {
    /// What was signed.
    pub body: TransactionBody,
    /// One signature an author, in the authors' order, over the id.
    pub signatures: Vec<Signature>,
}

impl Transaction {
    const MEANING: Meaning = Meaning::v1(label::TRANSACTION_SIGNATURE);

    /// The digest of the transaction as it was signed.
    ///
    /// Unlike the id it covers the signatures: an endorser answers for all that it has seen.
    #[must_use]
    pub fn digest(&self) -> TransactionDigest {
        TransactionDigest::new(hash::labelled(label::SIGNED_TRANSACTION, &[&codec::encode(self)]))
    }

    /// Checks the context, the authors and their signatures.
    ///
    /// # Errors
    /// [`TransactionError`] says what fails; nothing of the channel's state is looked at.
    pub fn verify(&self, domain: &Domain) -> Result<TransactionId, TransactionError> {
        let (id, claims) = self.claims(domain)?;
        match self.body.authors.iter().zip(&claims).find(|(_, claim)| !claim.holds()) {
            Some((author, _)) => Err(TransactionError::Signature(*author)),
            None => Ok(id),
        }
    }

    /// Checks the context and the authors, and gives back their signatures, one an author, still to be verified.
    ///
    /// # Errors
    /// [`TransactionError`] says what fails.
    pub fn claims(&self, domain: &Domain) -> Result<(TransactionId, Vec<Claim>), TransactionError> {
        if self.body.domain != *domain {
            return Err(TransactionError::WrongContext);
        }
        let authors = &self.body.authors;
        let unique: std::collections::BTreeSet<_> = authors.iter().collect();
        if authors.is_empty()
            || authors.len() > limits::AUTHORS
            || authors.len() != self.signatures.len()
            || unique.len() != authors.len()
        {
            return Err(TransactionError::Authors);
        }
        let id = self.body.id();
        let claim = |(author, signature): (&PublicKey, &Signature)| {
            Claim::new(*author, domain, Self::MEANING, id.as_bytes(), *signature)
        };
        Ok((id, authors.iter().zip(&self.signatures).map(claim).collect()))
    }
}

/// An endorser's signed audit of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Endorsement {
    /// Who audited it.
    pub endorser: NodeId,
    /// The height of the state that the endorser looked at.
    pub height: Height,
    /// The endorsers that were asked before this one and did not answer.
    pub passed_over: Vec<NodeId>,
    /// The endorser's signature.
    pub signature: Signature,
}

impl Endorsement {
    const MEANING: Meaning = Meaning::v1(label::ENDORSEMENT);

    /// Endorses a transaction.
    #[must_use]
    pub fn sign(
        signer: &SigningKey,
        domain: &Domain,
        transaction: TransactionDigest,
        height: Height,
        passed_over: Vec<NodeId>,
    ) -> Self {
        let body = Self::body(transaction, height, &passed_over);
        let signature = signer.sign(domain, Self::MEANING, &body);
        Self { endorser: NodeId::of_key(signer.public()), height, passed_over, signature }
    }

    /// Whether the endorser signed this audit of this transaction.
    #[must_use]
    pub fn verify(&self, domain: &Domain, transaction: TransactionDigest) -> bool {
        self.claim(domain, transaction).holds()
    }

    /// That the endorser signed this audit of this transaction, still to be verified.
    #[must_use]
    pub fn claim(&self, domain: &Domain, transaction: TransactionDigest) -> Claim {
        let body = Self::body(transaction, self.height, &self.passed_over);
        Claim::new(self.endorser.key(), domain, Self::MEANING, &body, self.signature)
    }

    fn body(transaction: TransactionDigest, height: Height, passed_over: &Vec<NodeId>) -> Vec<u8> {
        codec::encode(&(transaction, height, passed_over))
    }
}

/// A transaction with the audits that the channel's rule demands: what is ordered.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct EndorsedTransaction {
    /// The transaction.
    pub transaction: Transaction,
    /// Its endorsements, sorted by endorser.
    pub endorsements: Vec<Endorsement>,
}

impl EndorsedTransaction {
    /// Checks the transaction and that every endorsement is valid, sorted and single.
    ///
    /// Whether the endorsers are members, and enough, is the channel's rule and not looked at here.
    ///
    /// # Errors
    /// [`TransactionError`] says what fails.
    pub fn verify(&self, domain: &Domain) -> Result<TransactionId, TransactionError> {
        let id = self.transaction.verify(domain)?;
        self.check_endorsers()?;
        let signed = self.transaction.digest();
        match self.endorsements.iter().find(|endorsement| !endorsement.verify(domain, signed)) {
            Some(bad) => Err(TransactionError::Endorsement(bad.endorser)),
            None => Ok(id),
        }
    }

    /// Checks that no endorser is there twice, nor more of them than may be.
    ///
    /// # Errors
    /// [`TransactionError`] says what fails.
    pub fn check_endorsers(&self) -> Result<(), TransactionError> {
        if self.endorsements.len() > limits::ENDORSEMENTS {
            return Err(TransactionError::TooMany("endorsements"));
        }
        if !self.endorsements.is_sorted_by(|a, b| a.endorser < b.endorser) {
            return Err(TransactionError::TooMany("endorsements of one endorser"));
        }
        Ok(())
    }
}

/// What a node signs when it tells the ledger something by itself.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SystemBody {
    /// The network and channel it is for.
    pub domain: Domain,
    /// The node.
    pub node: NodeId,
    /// Random: two equal bodies are two transactions.
    pub nonce: [u8; 16],
    /// The last height at which it may be executed.
    pub expires: Height,
    /// What the node has to say, at most [`limits::SYSTEM_ITEMS`].
    pub items: Vec<SystemItem>,
}

/// A signed batch of what a node tells the ledger.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SystemTransaction {
    /// What was signed.
    pub body: SystemBody,
    /// The node's signature over the id.
    pub signature: Signature,
}

impl SystemTransaction {
    const MEANING: Meaning = Meaning::v1(label::SYSTEM_SIGNATURE);

    /// Signs a batch as its node.
    #[must_use]
    pub fn sign(body: SystemBody, signer: &SigningKey) -> Self {
        let signature = signer.sign(&body.domain, Self::MEANING, Self::id_of(&body).as_bytes());
        Self { body, signature }
    }

    /// The batch's id.
    #[must_use]
    pub fn id(&self) -> TransactionId {
        Self::id_of(&self.body)
    }

    /// Checks context, size and signature.
    ///
    /// # Errors
    /// [`TransactionError`] says what fails.
    pub fn verify(&self, domain: &Domain) -> Result<TransactionId, TransactionError> {
        if self.body.domain != *domain {
            return Err(TransactionError::WrongContext);
        }
        if self.body.items.is_empty() || self.body.items.len() > limits::SYSTEM_ITEMS {
            return Err(TransactionError::TooMany("items"));
        }
        let id = self.id();
        if !self.body.node.key().verify(domain, Self::MEANING, id.as_bytes(), &self.signature) {
            return Err(TransactionError::Signature(self.body.node.key()));
        }
        Ok(id)
    }

    fn id_of(body: &SystemBody) -> TransactionId {
        TransactionId::new(hash::labelled(label::SYSTEM_ID, &[&codec::encode(body)]))
    }
}

#[cfg(test)]
mod tests;
