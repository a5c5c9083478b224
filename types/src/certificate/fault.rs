//! Proof that a committee member broke the voting rules.

use super::{
    Proposal, check_committee,
    reader::Reader,
    vote::{Subject, Vote},
};
use crate::{
    id::{Epoch, View},
    sign::{Domain, PublicKey},
};

/// The longest encoding of a proof: two votes of the widest numbers.
const FAULT_LEN_MAX: usize = 1 + 2 * (62 + 5 + 64);

/// Which rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// Two notarize votes for different proposals in one view.
    ConflictingNotarize,
    /// Two finalize votes for different proposals in one view.
    ConflictingFinalize,
    /// A vote to skip a view, and one to finalize a block in it.
    NullifyFinalize,
}

/// A fault of a named member: the result of a successful check, and of nothing else.
///
/// A member may repeat itself; count a fault once a member, epoch, view and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    epoch: Epoch,
    view: View,
    kind: FaultKind,
    culprit: PublicKey,
}

impl Fault {
    /// The epoch of both votes.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The view of both votes.
    #[must_use]
    pub const fn view(&self) -> View {
        self.view
    }

    /// Which rule was broken.
    #[must_use]
    pub const fn kind(&self) -> FaultKind {
        self.kind
    }

    /// Who broke it.
    #[must_use]
    pub const fn culprit(&self) -> PublicKey {
        self.culprit
    }
}

/// Why bytes do not prove a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// The bytes are not the one encoding of a proof.
    #[error("not the encoding of a fault proof")]
    Malformed,
    /// The two votes do not contradict each other.
    #[error("the two votes do not contradict each other")]
    NoContradiction,
    /// The votes' signer is not in the committee.
    #[error("no member has position {0} in the committee")]
    UnknownSigner(u32),
    /// A signature is not the signer's over its vote.
    #[error("a vote's signature is not valid")]
    BadSignature,
}

/// Two signed votes that no honest member casts together, well-formed but not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultProof {
    kind: FaultKind,
    first: Vote,
    second: Vote,
}

impl FaultProof {
    /// Reads a proof from its one encoding.
    ///
    /// # Encoding
    /// `tag u8 ‖ vote ‖ vote`, a vote being `subject ‖ position varint ‖ signature[64]`. Tags: 7 two
    /// notarize votes, 8 two finalize votes, 9 a nullify and a finalize vote. The subject of a
    /// nullify vote is `epoch varint ‖ view varint`, of the others the proposal.
    ///
    /// # Errors
    /// [`FaultError::Malformed`] for any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, FaultError> {
        if bytes.len() > FAULT_LEN_MAX {
            return Err(FaultError::Malformed);
        }
        let mut reader = Reader::new(bytes);
        match Self::read(&mut reader) {
            // Every part has one encoding, so nothing left over means nothing ambiguous.
            Some(proof) if reader.is_empty() => Ok(proof),
            _ => Err(FaultError::Malformed),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let [tag] = reader.array()?;
        let kind = match tag {
            7 => FaultKind::ConflictingNotarize,
            8 => FaultKind::ConflictingFinalize,
            9 => FaultKind::NullifyFinalize,
            _ => return None,
        };
        let first = match kind {
            FaultKind::ConflictingNotarize => Subject::Notarize(Proposal::read(reader)?),
            FaultKind::ConflictingFinalize => Subject::Finalize(Proposal::read(reader)?),
            FaultKind::NullifyFinalize => {
                Subject::Nullify { epoch: Epoch::new(reader.varint()?), view: View::new(reader.varint()?) }
            }
        };
        let first = Vote::read(reader, first)?;
        let second = Proposal::read(reader)?;
        let second = match kind {
            FaultKind::ConflictingNotarize => Subject::Notarize(second),
            FaultKind::ConflictingFinalize | FaultKind::NullifyFinalize => Subject::Finalize(second),
        };
        Some(Self { kind, first, second: Vote::read(reader, second)? })
    }

    /// The epoch that the proof claims: it says which committee to check it against.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.first.subject.round().0
    }

    /// Checks that a member of `committee`, ascending by key, cast both votes on this channel.
    ///
    /// The caller makes sure that this was the committee of [`Self::epoch`].
    ///
    /// # Errors
    /// [`FaultError`] says which demand is not met.
    pub fn verify(&self, domain: &Domain, committee: &[PublicKey]) -> Result<Fault, FaultError> {
        check_committee(committee).map_err(|_| FaultError::UnknownSigner(self.first.signer))?;
        let Self { kind, first, second } = self;
        if first.signer != second.signer
            || first.subject.round() != second.subject.round()
            || first.subject == second.subject
        {
            return Err(FaultError::NoContradiction);
        }
        let culprit = usize::try_from(first.signer)
            .ok()
            .and_then(|i| committee.get(i))
            .copied()
            .ok_or(FaultError::UnknownSigner(first.signer))?;
        if !first.is_signed_by(domain, &culprit) || !second.is_signed_by(domain, &culprit) {
            return Err(FaultError::BadSignature);
        }
        let (epoch, view) = first.subject.round();
        Ok(Fault { epoch, view, kind: *kind, culprit })
    }
}
