//! The lineage of a channel: its configurations, each certified by the committee of the epoch before.
//!
//! A final header of an epoch carries the digest of the next epoch's configuration. So whoever pins what
//! founded a channel can follow its committees step by step, and believes in each epoch the committers that its
//! configuration names, and no others. Bundles carry the [steps](EpochStep) that lead to their checkpoint; a
//! client asks a gateway for them, and keeps a [`Lineage`] of what it verified.
//!
//! # Source
//! docs/spec/lineage.md

#[cfg(test)]
mod tests;

use crate::{
    block::Header,
    certificate::{CertificateError, FinalityCertificate},
    checkpoint::Committer,
    codec,
    genesis::{EpochConfig, Founding},
    hash,
    id::{Epoch, Height, NodeId},
    label, limits,
    sign::{Domain, PublicKey},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// Why a step is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineageError {
    /// A step is missing, doubled or out of order, or has another configuration than was announced.
    #[error("the configuration of epoch {0} is not the one that the epoch before announced")]
    Configuration(Epoch),
    /// A certificate does not verify.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The headers do not lead to the certificate.
    #[error("the headers are of another channel or epoch, or do not lead to the certificate")]
    Links,
}

/// A header with the certificate that makes it final: its own, or that of a descendant in the same
/// epoch with the headers between.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct FinalHeader {
    /// The header.
    pub header: Header,
    /// The headers after it, up to the one that the certificate names.
    pub links: Vec<Header>,
    /// The certificate, in the engine's encoding.
    pub certificate: Vec<u8>,
}

impl FinalHeader {
    /// Verifies that the header is one of the configuration's epoch and final, and returns who signed.
    ///
    /// # Errors
    /// [`LineageError::Links`] or [`LineageError::Certificate`].
    pub fn verify(&self, domain: &Domain, config: &EpochConfig) -> Result<Vec<PublicKey>, LineageError> {
        let mut last = &self.header;
        for next in std::iter::once(last).chain(&self.links) {
            let follows = std::ptr::eq(next, last) || next.parent == last.digest();
            if !follows || next.domain != *domain || next.epoch != config.epoch || next.config != config.digest() {
                return Err(LineageError::Links);
            }
            last = next;
        }
        let certificate = FinalityCertificate::decode(&self.certificate)?;
        let of_epoch = certificate.epoch() == config.epoch || crate::planted!("certificate-of-another-epoch");
        if !of_epoch || certificate.digest() != last.digest() {
            return Err(LineageError::Links);
        }
        let committee: Vec<PublicKey> = config.orderers().iter().map(NodeId::key).collect();
        Ok(certificate.verify(domain, &committee)?.signers().to_vec())
    }
}

/// One step from an epoch to the next: a final header of the epoch before, and the configuration
/// that it announces.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct EpochStep {
    /// A final header of the epoch before.
    pub announced: FinalHeader,
    /// The configuration whose digest it carries as the next one.
    pub config: EpochConfig,
}

impl EpochStep {
    /// Verifies that the configuration follows on another one, and returns it.
    ///
    /// # Errors
    /// [`LineageError`] says what is wrong.
    pub fn verify(&self, domain: &Domain, before: &EpochConfig) -> Result<&EpochConfig, LineageError> {
        let expected = before.epoch.next();
        if self.config.epoch != expected || self.announced.header.next_config != self.config.digest() {
            return Err(LineageError::Configuration(expected));
        }
        self.announced.verify(domain, before)?;
        Ok(&self.config)
    }
}

/// The epoch whose committers are the first that may cosign a checkpoint of this height: that of the block after it,
/// on a channel of so many blocks an epoch. Those of later epochs may as well.
#[must_use]
pub fn cosigning_epoch(checkpoint: Height, epoch_blocks: u64) -> Epoch {
    Epoch::new(checkpoint.next().get() / epoch_blocks.max(1))
}

/// Why something is not believed on the word of committers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VouchError<E> {
    /// It is of an epoch whose configuration is not known yet.
    #[error("the configuration of epoch {0} is not known")]
    Unknown(Epoch),
    /// It does not verify under the committers that may vouch for it, as far as they are known.
    #[error(transparent)]
    Refused(E),
}

/// The configurations of a channel that were verified, up to some epoch.
///
/// Holds the newest one whole, and of those before what tells who may cosign: the first configuration of each
/// set of committers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    domain: Domain,
    // INVARIANT: begins with epoch 0; epochs rise, and who may cosign differs from one to the next.
    turns: Vec<EpochConfig>,
    // INVARIANT: who may cosign is as in the last turn.
    newest: EpochConfig,
}

impl Lineage {
    /// What the founding document itself decides: the first two epochs.
    #[must_use]
    pub fn new(founding: &Founding) -> Self {
        Self {
            domain: founding.domain,
            turns: vec![founding.epoch_config(Epoch::new(0))],
            newest: founding.epoch_config(Epoch::new(1)),
        }
    }

    /// The configuration of the last epoch that is known.
    #[must_use]
    pub const fn newest(&self) -> &EpochConfig {
        &self.newest
    }

    /// Follows steps, the first of which must lead on from the newest configuration.
    ///
    /// # Errors
    /// [`LineageError`] of the first step that is not believed; those before it are followed.
    pub fn follow(&mut self, steps: &[EpochStep]) -> Result<(), LineageError> {
        for step in steps {
            let next = step.verify(&self.domain, &self.newest)?;
            if !same_cosigners(next, &self.newest) {
                self.turns.push(next.clone());
            }
            self.newest = next.clone();
        }
        Ok(())
    }

    /// Verifies something under each set of committers that may cosign a checkpoint of this height, until one
    /// will do: those of its [`cosigning_epoch`], and those of later epochs that are known.
    ///
    /// # Errors
    /// [`VouchError`], with what the earliest of these committers were refused for.
    ///
    /// # Security
    /// Committers vouch for their own epochs and for what was before. That those of an epoch that has ended cannot
    /// vouch for what came later, whatever becomes of their keys, is decided here.
    pub fn vouch<T, E>(
        &self,
        checkpoint: Height,
        verify: impl Fn(&[Committer], usize) -> Result<T, E>,
    ) -> Result<T, VouchError<E>> {
        let epoch = cosigning_epoch(checkpoint, self.newest.channel.epoch_blocks);
        if epoch > self.newest.epoch {
            return Err(VouchError::Unknown(epoch));
        }
        let ended = self.turns.partition_point(|turn| turn.epoch <= epoch).saturating_sub(1);
        let mut refused = None;
        for turn in self.turns.iter().skip(ended) {
            match verify(&turn.cosigners(), turn.cosigners_needed()) {
                Ok(verified) => return Ok(verified),
                Err(error) => _ = refused.get_or_insert(error),
            }
        }
        Err(refused.map_or(VouchError::Unknown(epoch), VouchError::Refused))
    }

    /// The lineage as a file that its owner keeps.
    ///
    /// # Encoding
    /// `digest[32] ‖ turns ‖ newest`, the digest a labelled hash of the rest.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let kept = codec::encode(&(&self.turns, &self.newest));
        [&digest(&kept)[..], &kept].concat()
    }

    /// Reads what [`Lineage::to_bytes`] made of a lineage of the same channel; none when it is damaged, or of
    /// another one.
    ///
    /// # Security
    /// Nothing in it is verified anew: the file must be its owner's alone to write, like what is pinned.
    #[must_use]
    pub fn from_bytes(founding: &Founding, bytes: &[u8]) -> Option<Self> {
        let (kept_digest, kept) = bytes.split_first_chunk::<32>()?;
        if digest(kept) != *kept_digest {
            return None;
        }
        let (turns, newest): (Vec<EpochConfig>, EpochConfig) = codec::decode(kept, limits::LINEAGE_BYTES).ok()?;
        let founded = turns.first() == Some(&founding.epoch_config(Epoch::new(0)));
        let last = turns.last()?;
        let holds = turns.is_sorted_by(|a, b| a.epoch < b.epoch)
            && last.epoch <= newest.epoch
            && newest.epoch > Epoch::new(0)
            && newest.channel.epoch_blocks == founding.channel.epoch_blocks
            && same_cosigners(last, &newest);
        (founded && holds).then_some(Self { domain: founding.domain, turns, newest })
    }
}

fn same_cosigners(a: &EpochConfig, b: &EpochConfig) -> bool {
    a.cosigners() == b.cosigners() && a.cosigners_needed() == b.cosigners_needed()
}

fn digest(kept: &[u8]) -> [u8; 32] {
    hash::labelled(label::LINEAGE, &[kept])
}
