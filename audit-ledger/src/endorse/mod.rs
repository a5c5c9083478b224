//! Endorsement: the audit of a transaction before it is ordered.
//!
//! An endorser refuses what breaks a rule that holds in any state: encoding, context, signatures,
//! unknown or revoked authors, size, expiry, a payload that is not there. It does not judge whether
//! a policy will allow a request: a well-formed request that will be denied is endorsed and ordered,
//! because denials are evidence.
//!
//! # Source
//! docs/spec/transaction.md

mod quota;

pub use quota::{Quota, QuotaExceeded};

use crate::{
    order::Checked,
    store::{Reader, StoreError},
    world::{self, PersonRow, PersonStatus},
};
use dmdl_types::{
    codec,
    genesis::EpochConfig,
    hash,
    id::{Epoch, Height, NodeId, OrgId, TransactionId},
    invocation::{Access, Invocation, PayloadInfo},
    label, limits,
    sign::{Domain, PublicKey},
    transaction::{Endorsement, Transaction, TransactionError},
};
use std::collections::BTreeSet;

/// Longest transaction that is endorsed: endorsements come on top, and a block takes both together.
pub const TRANSACTION_BYTES_MAX: usize = limits::TRANSACTION_BYTES - ENDORSEMENTS_BYTES;
const ENDORSEMENTS_BYTES: usize = 8 * 1024;

/// Why an endorser refuses a transaction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is malformed, or a signature is not valid.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// It is longer than a transaction may be.
    #[error("the transaction has {got} bytes; at most {TRANSACTION_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// An author is not enrolled in the channel.
    #[error("author `{0}` is not enrolled in this channel")]
    UnknownAuthor(PublicKey),
    /// An author's key is revoked, or the author is suspended.
    #[error("author `{0}` may not act: the key is revoked or suspended")]
    Inactive(PublicKey),
    /// It expires too early or too late.
    #[error("expiry height {expires} is not within {tip} and {latest}")]
    Expiry {
        /// Its expiry.
        expires: Height,
        /// The endorser's tip.
        tip: Height,
        /// The latest expiry it would accept.
        latest: Height,
    },
    /// The payload that it registers is not in the vault, or not as long as it says.
    #[error("the payload is not in the vault: upload it before registering")]
    PayloadMissing,
    /// The author has asked for too much in too short a time.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The payload that a transaction registers: an endorser looks whether it is there.
#[must_use]
pub const fn payload_of(transaction: &Transaction) -> Option<&PayloadInfo> {
    match &transaction.body.invocation {
        Invocation::Access(Access::Register(registration)) => Some(&registration.payload),
        _ => None,
    }
}

/// Checks the rules of a transaction that hold in any state, for an endorser whose tip this is.
///
/// Who endorses what breaks one of them is at fault, and the endorsement proves it.
///
/// # Errors
/// [`Refusal`] says what is wrong.
pub fn check_form(
    domain: &Domain,
    checked: &Checked,
    tip: Height,
    transaction: &Transaction,
) -> Result<TransactionId, Refusal> {
    let id = check_authored(domain, checked, transaction)?;
    check_expiry(tip, transaction)?;
    Ok(id)
}

/// The part of [`check_form`] that is the same at every tip, and costs signatures.
///
/// # Errors
/// [`Refusal`] says what is wrong.
pub(crate) fn check_authored(
    domain: &Domain,
    checked: &Checked,
    transaction: &Transaction,
) -> Result<TransactionId, Refusal> {
    let got = codec::encode(transaction).len();
    if got > TRANSACTION_BYTES_MAX {
        return Err(Refusal::TooLong { got });
    }
    Ok(checked.authored(transaction, domain)?)
}

/// The other part.
///
/// # Errors
/// [`Refusal::Expiry`].
pub(crate) fn check_expiry(tip: Height, transaction: &Transaction) -> Result<(), Refusal> {
    let expires = transaction.body.expires;
    let latest = Height::new(tip.get().saturating_add(limits::EXPIRY_BLOCKS));
    if expires <= tip || expires > latest {
        return Err(Refusal::Expiry { expires, tip, latest });
    }
    Ok(())
}

/// Audits a transaction against the rules that hold in any state, at the endorser's own tip.
///
/// `checked` knows which signatures this process has verified already. `payload_found` is what the vault
/// says of [`payload_of`]; it is not looked at for others.
///
/// # Errors
/// [`Refusal`] says what is wrong; the transaction must not be ordered.
pub fn audit(
    reader: &impl Reader,
    domain: &Domain,
    checked: &Checked,
    tip: Height,
    transaction: &Transaction,
    payload_found: bool,
) -> Result<TransactionId, Refusal> {
    let id = check_form(domain, checked, tip, transaction)?;
    for author in &transaction.body.authors {
        match world::read::<PersonRow>(reader, author)? {
            None => return Err(Refusal::UnknownAuthor(*author)),
            Some(row) if row.status != PersonStatus::Active => return Err(Refusal::Inactive(*author)),
            Some(_) => {}
        }
    }
    if payload_of(transaction).is_some() && !payload_found {
        return Err(Refusal::PayloadMissing);
    }
    Ok(id)
}

/// The endorsers of a transaction in the order in which they are asked: nobody chooses them.
#[must_use]
pub fn panel(config: &EpochConfig, transaction: TransactionId, epoch: Epoch) -> Vec<NodeId> {
    let epoch = epoch.get().to_le_bytes();
    let place =
        |node: &NodeId| hash::labelled(label::ENDORSER_PANEL, &[transaction.as_bytes(), &epoch, node.as_bytes()]);
    let mut nodes: Vec<NodeId> = config.endorsers().map(|m| m.node).collect();
    nodes.sort_by_cached_key(place);
    nodes
}

/// Whether these endorsements satisfy the channel's rule: enough different organisations, members all.
#[must_use]
pub fn satisfied(config: &EpochConfig, endorsements: &[Endorsement]) -> bool {
    let mut orgs: BTreeSet<&OrgId> = BTreeSet::new();
    for endorsement in endorsements {
        match config.member(endorsement.endorser) {
            Some(member) if member.roles.endorser => orgs.insert(&member.org),
            _ => return false,
        };
    }
    orgs.len() >= usize::from(config.channel.endorsements)
}

#[cfg(test)]
mod tests;
