//! Finality certificates and proofs of consensus faults, checked without the consensus engine.
//!
//! A certificate is what an auditor needs to believe that a committee finalized a block: the
//! proposal that was voted on, and the signatures of a quorum. The engine that makes certificates
//! is one program; this is the second, independent reading of the same bytes.
//!
//! Two nodes may hold different valid certificates of one block, because any quorum will do: never
//! hash a certificate into state.
//!
//! # Source
//! docs/spec/certificate.md

mod fault;
mod reader;
#[cfg(test)]
mod tests;
mod vote;

pub use fault::{Fault, FaultError, FaultKind, FaultProof};
pub use vote::{NotarizeVote, Notarized};

use crate::{
    genesis::quorum,
    id::{BlockDigest, Epoch, View},
    label,
    sign::{Domain, PublicKey, Signature},
};
use reader::{Reader, write_varint};

/// The largest committee whose certificates are read.
pub const COMMITTEE_MAX: usize = 1024;

/// The longest encoding of a certificate, with every signer of the largest committee.
pub const CERTIFICATE_LEN_MAX: usize = 30 + 32 + 8 + COMMITTEE_MAX / 8 + 2 + 64 * COMMITTEE_MAX;

/// The base namespace of a channel's votes; each kind of vote appends its own suffix.
///
/// # Encoding
/// `label VOTE ‖ genesis[32] ‖ channel[32]`
#[must_use]
pub fn vote_namespace(domain: &Domain) -> Vec<u8> {
    [label::VOTE.as_bytes(), domain.network.as_bytes(), domain.channel.as_bytes()].concat()
}

/// Why a certificate does not prove finality.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The bytes are not the one encoding of a certificate.
    #[error("not the encoding of a certificate")]
    Malformed,
    /// The committee is empty, too large, or not in ascending order without repetition.
    #[error("the committee is not an ascending list of 1 to {COMMITTEE_MAX} keys")]
    NotACommittee,
    /// The certificate was made by a committee of another size.
    #[error("the certificate counts {certificate} members, the committee has {committee}")]
    OtherCommittee {
        /// Members that the certificate counts.
        certificate: usize,
        /// Members of the committee.
        committee: usize,
    },
    /// Too few members signed.
    #[error("{got} members signed, {needed} are needed")]
    NoQuorum {
        /// Members who signed.
        got: usize,
        /// Members who must sign.
        needed: usize,
    },
    /// A signature is not its member's over this proposal.
    #[error("the signature of `{signer}` is not valid")]
    BadSignature {
        /// Whose signature it claims to be.
        signer: PublicKey,
    },
}

/// What a committee votes on: a block, and the place it takes in its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) epoch: Epoch,
    pub(crate) view: View,
    pub(crate) parent_view: View,
    pub(crate) digest: BlockDigest,
}

impl Proposal {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            epoch: Epoch::new(reader.varint()?),
            view: View::new(reader.varint()?),
            parent_view: View::new(reader.varint()?),
            digest: BlockDigest::new(reader.array()?),
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(62);
        for number in [self.epoch.get(), self.view.get(), self.parent_view.get()] {
            write_varint(&mut out, number);
        }
        out.extend_from_slice(self.digest.as_bytes());
        out
    }
}

/// A quorum's signatures on a proposal, well-formed but not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalityCertificate {
    proposal: Proposal,
    /// Members of the committee that made it.
    members: usize,
    /// Positions of the signers in the sorted committee, ascending, with their signatures.
    signatures: Vec<(usize, Signature)>,
}

/// A block that a committee finalized: the result of a successful check, and of nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalizedDigest {
    epoch: Epoch,
    view: View,
    digest: BlockDigest,
    signers: Vec<PublicKey>,
}

impl FinalizedDigest {
    /// The epoch whose committee signed.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The view in which the block was finalized; the last block of an epoch may have been proposed
    /// in an earlier one.
    #[must_use]
    pub const fn view(&self) -> View {
        self.view
    }

    /// The block.
    #[must_use]
    pub const fn digest(&self) -> BlockDigest {
        self.digest
    }

    /// Who signed, ascending by key.
    #[must_use]
    pub fn signers(&self) -> &[PublicKey] {
        &self.signers
    }
}

impl FinalityCertificate {
    /// Reads a certificate from its one encoding.
    ///
    /// # Encoding
    /// `epoch varint ‖ view varint ‖ parent view varint ‖ digest[32] ‖ members u64-be ‖
    /// bitmap[ceil(members / 8)] ‖ count varint ‖ signature[64]*`
    ///
    /// # Errors
    /// [`CertificateError::Malformed`] for any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, CertificateError> {
        if bytes.len() > CERTIFICATE_LEN_MAX {
            return Err(CertificateError::Malformed);
        }
        let mut reader = Reader::new(bytes);
        let certificate = Self::read(&mut reader).ok_or(CertificateError::Malformed)?;
        let one_encoding = certificate.encode() == bytes || crate::planted!("padded-number-accepted");
        if !reader.is_empty() || !one_encoding {
            return Err(CertificateError::Malformed);
        }
        Ok(certificate)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let proposal = Proposal::read(reader)?;
        let members = usize::try_from(u64::from_be_bytes(reader.array()?)).ok()?;
        if members == 0 || members > COMMITTEE_MAX {
            return None;
        }
        let bitmap = reader.take(members.div_ceil(8))?;
        let signers: Vec<usize> =
            (0..bitmap.len() * 8).filter(|i| bitmap.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1)).collect();
        // A bit past the last member would be a second encoding of the same signers.
        if signers.last().is_none_or(|last| *last >= members) {
            return None;
        }
        if reader.varint()? != signers.len() as u64 {
            return None;
        }
        let signatures =
            signers.into_iter().map(|i| Some((i, Signature::new(reader.array()?)))).collect::<Option<Vec<_>>>()?;
        Some(Self { proposal, members, signatures })
    }

    /// The certificate's one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bitmap = vec![0u8; self.members.div_ceil(8)];
        for (i, _) in &self.signatures {
            if let Some(byte) = bitmap.get_mut(i / 8) {
                *byte |= 1 << (i % 8);
            }
        }
        let mut out = self.proposal.encode();
        out.extend_from_slice(&(self.members as u64).to_be_bytes());
        out.extend_from_slice(&bitmap);
        write_varint(&mut out, self.signatures.len() as u64);
        for (_, signature) in &self.signatures {
            out.extend_from_slice(signature.as_bytes());
        }
        out
    }

    /// The epoch that the certificate claims: it says which committee to check it against.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.proposal.epoch
    }

    /// The block that the certificate claims to finalize.
    #[must_use]
    pub const fn digest(&self) -> BlockDigest {
        self.proposal.digest
    }

    /// Checks that a quorum of `committee`, ascending by key, finalized the block on this channel.
    ///
    /// The caller makes sure that this was the committee of [`Self::epoch`].
    ///
    /// # Errors
    /// [`CertificateError`] says which demand is not met.
    pub fn verify(&self, domain: &Domain, committee: &[PublicKey]) -> Result<FinalizedDigest, CertificateError> {
        check_committee(committee)?;
        if self.members != committee.len() {
            return Err(CertificateError::OtherCommittee { certificate: self.members, committee: committee.len() });
        }
        let needed = crate::planted!("quorum-of-2f" => quorum(committee.len()) - 1, else quorum(committee.len()));
        if self.signatures.len() < needed {
            return Err(CertificateError::NoQuorum { got: self.signatures.len(), needed });
        }
        let namespace = namespace(domain, FINALIZE);
        let message = self.proposal.encode();
        let mut signers = Vec::with_capacity(self.signatures.len());
        for (i, signature) in &self.signatures {
            let signer = *committee.get(*i).ok_or(CertificateError::Malformed)?;
            if !signer.verify_raw(&namespace, &message, signature) {
                return Err(CertificateError::BadSignature { signer });
            }
            signers.push(signer);
        }
        let Proposal { epoch, view, digest, .. } = self.proposal;
        Ok(FinalizedDigest { epoch, view, digest, signers })
    }
}

const NOTARIZE: &[u8] = b"_NOTARIZE";
const NULLIFY: &[u8] = b"_NULLIFY";
const FINALIZE: &[u8] = b"_FINALIZE";

fn namespace(domain: &Domain, suffix: &[u8]) -> Vec<u8> {
    [&vote_namespace(domain), suffix].concat()
}

/// Positions in a certificate mean nothing unless both sides sort alike.
fn check_committee(committee: &[PublicKey]) -> Result<(), CertificateError> {
    let ascending = committee.iter().zip(committee.iter().skip(1)).all(|(a, b)| a < b);
    if committee.is_empty() || committee.len() > COMMITTEE_MAX || !ascending {
        return Err(CertificateError::NotACommittee);
    }
    Ok(())
}
