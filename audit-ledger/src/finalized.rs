//! Finality as a type.

use dmdl_types::{
    block::{Block, Header},
    certificate::{CertificateError, FinalityCertificate},
    id::{BlockDigest, NodeId},
    sign::{Domain, PublicKey},
};
use std::iter;

/// A value that is final: only a verified certificate, of a block or of a descendant with the links
/// between, builds one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finalized<T>(T);

/// Why a certificate does not make a block final.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinalityError {
    /// The certificate does not verify.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The chain of headers does not lead from the block to the certificate.
    #[error("the headers do not lead from the block to the certificate")]
    Links,
    /// The block's body is not the one that its header names.
    #[error("the body is not the one that the block's header names")]
    Body,
    /// The block, or a header after it, is of another epoch than the committee that signed.
    #[error("the certificate is of another epoch than the block or a header after it")]
    Epoch,
}

impl<T> Finalized<T> {
    /// The value.
    #[must_use]
    pub const fn get(&self) -> &T {
        &self.0
    }

    /// Takes the value out.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl Finalized<Block> {
    /// A block that the engine has delivered as final: it has verified the certificate, and the links
    /// from a descendant where the block has none of its own.
    pub(crate) const fn delivered(block: Block) -> Self {
        Self(block)
    }

    /// A block that this certificate makes final, through the headers that follow it.
    ///
    /// `committee` is that of the epoch that the block's header names.
    ///
    /// # Errors
    /// [`FinalityError`] when the certificate is not valid or does not reach the block.
    pub fn by_certificate(
        block: Block,
        links: &[Header],
        certificate: &FinalityCertificate,
        domain: &Domain,
        committee: &[NodeId],
    ) -> Result<Self, FinalityError> {
        let keys: Vec<PublicKey> = committee.iter().map(NodeId::key).collect();
        let finalized = certificate.verify(domain, &keys)?;
        if follow(block.digest(), links) != Some(finalized.digest()) {
            return Err(FinalityError::Links);
        }
        // A committee settles blocks of its own epoch only, from the first header to the last.
        let mut epochs = iter::once(&block.header).chain(links).map(|header| header.epoch);
        if epochs.any(|epoch| epoch != finalized.epoch()) {
            return Err(FinalityError::Epoch);
        }
        // What was followed is the header; the body is final because the header names it.
        if block.body.digest() == block.header.body { Ok(Self(block)) } else { Err(FinalityError::Body) }
    }
}

/// The digest that a chain of headers leads to.
fn follow(start: BlockDigest, links: &[Header]) -> Option<BlockDigest> {
    links.iter().try_fold(start, |parent, header| (header.parent == parent).then(|| header.digest()))
}

#[cfg(test)]
mod tests;
