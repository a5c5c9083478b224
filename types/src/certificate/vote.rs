//! One member's vote, as the engine sends it.

use super::{FINALIZE, NOTARIZE, NULLIFY, Proposal, check_committee, namespace, reader::Reader, reader::write_varint};
use crate::{
    id::{BlockDigest, Epoch, View},
    sign::{Domain, PublicKey, Signature},
};

/// The longest encoding of a vote to notarize.
const NOTARIZE_LEN_MAX: usize = 62 + 5 + 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Notarize(Proposal),
    Nullify { epoch: Epoch, view: View },
    Finalize(Proposal),
}

impl Subject {
    pub(super) const fn round(&self) -> (Epoch, View) {
        match self {
            Self::Notarize(p) | Self::Finalize(p) => (p.epoch, p.view),
            Self::Nullify { epoch, view } => (*epoch, *view),
        }
    }

    const fn suffix(&self) -> &'static [u8] {
        match self {
            Self::Notarize(_) => NOTARIZE,
            Self::Nullify { .. } => NULLIFY,
            Self::Finalize(_) => FINALIZE,
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Notarize(p) | Self::Finalize(p) => p.encode(),
            Self::Nullify { epoch, view } => {
                let mut out = Vec::with_capacity(20);
                write_varint(&mut out, epoch.get());
                write_varint(&mut out, view.get());
                out
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vote {
    pub(super) subject: Subject,
    pub(super) signer: u32,
    signature: Signature,
}

impl Vote {
    pub(super) fn read(reader: &mut Reader<'_>, subject: Subject) -> Option<Self> {
        let signer = u32::try_from(reader.varint()?).ok()?;
        Some(Self { subject, signer, signature: Signature::new(reader.array()?) })
    }

    pub(super) fn is_signed_by(&self, domain: &Domain, signer: &PublicKey) -> bool {
        signer.verify_raw(&namespace(domain, self.subject.suffix()), &self.subject.encode(), &self.signature)
    }
}

/// A vote to notarize a block, well-formed but not yet checked. A primary's own is its proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotarizeVote {
    vote: Vote,
    proposal: Proposal,
}

/// What a member voted for: the result of a successful check, and of nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notarized {
    /// The epoch of the vote.
    pub epoch: Epoch,
    /// The view of the vote.
    pub view: View,
    /// The block.
    pub digest: BlockDigest,
    /// Who voted.
    pub signer: PublicKey,
}

impl NotarizeVote {
    /// Reads a vote from its one encoding; none for any other bytes.
    ///
    /// # Encoding
    /// `epoch varint ‖ view varint ‖ parent view varint ‖ digest[32] ‖ position varint ‖ signature[64]`
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > NOTARIZE_LEN_MAX {
            return None;
        }
        let mut reader = Reader::new(bytes);
        let proposal = Proposal::read(&mut reader)?;
        let vote = Vote::read(&mut reader, Subject::Notarize(proposal))?;
        reader.is_empty().then_some(Self { vote, proposal })
    }

    /// The epoch that the vote claims: it says which committee to check it against.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.proposal.epoch
    }

    /// Checks that a member of `committee`, ascending by key, cast the vote on this channel; none otherwise.
    #[must_use]
    pub fn verify(&self, domain: &Domain, committee: &[PublicKey]) -> Option<Notarized> {
        check_committee(committee).ok()?;
        let signer = *committee.get(usize::try_from(self.vote.signer).ok()?)?;
        let Proposal { epoch, view, digest, .. } = self.proposal;
        self.vote.is_signed_by(domain, &signer).then_some(Notarized { epoch, view, digest, signer })
    }
}
