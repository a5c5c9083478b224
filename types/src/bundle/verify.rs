//! Verification of a bundle, step by step from the pin.

use super::{Bundle, Content};
use crate::{
    certificate::CertificateError,
    checkpoint::{Checkpoint, CheckpointError},
    codec::{self, DecodeError},
    event::Event,
    genesis::{EpochConfig, Founding, GenesisError},
    id::{Epoch, NodeId},
    index_proof::{Head, HeadKey, HeadProof, HeadProofError},
    limits,
    lineage::{FinalHeader, LineageError, cosigning_epoch},
    merkle::{Frontier, leaf_hash},
    sign::{Domain, PublicKey},
};

/// Why a bundle proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The pinned genesis breaks a rule itself.
    #[error("the pinned genesis is not valid: {0}")]
    Genesis(#[from] GenesisError),
    /// Not the canonical encoding of a bundle.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// For another network or channel than the pinned one.
    #[error("the bundle is of another network or channel than the pinned one")]
    OtherLedger,
    /// The chain of configurations has a gap or names another one than was announced.
    #[error("the configuration of epoch {0} is not the one that the epoch before announced")]
    Configuration(Epoch),
    /// A certificate does not verify.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The headers do not lead to the certificate.
    #[error("the headers do not lead to the certificate")]
    Links,
    /// The final header carries no checkpoint.
    #[error("the final header carries no checkpoint")]
    NoCheckpoint,
    /// The checkpoint is not to be believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The events are not the ones under the checkpoint, or not all of them.
    #[error("the events are not all the events under the checkpoint: {0}")]
    Events(&'static str),
    /// A leaf is no event.
    #[error("the leaf at position {0} is no event of this format")]
    NotAnEvent(u64),
    /// The proof of completeness does not verify.
    #[error(transparent)]
    Head(#[from] HeadProofError),
}

impl From<LineageError> for BundleError {
    fn from(error: LineageError) -> Self {
        match error {
            LineageError::Configuration(epoch) => Self::Configuration(epoch),
            LineageError::Certificate(error) => Self::Certificate(error),
            LineageError::Links => Self::Links,
        }
    }
}

/// What a bundle proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The checkpoint that covers the events.
    pub checkpoint: Checkpoint,
    /// The events with their positions, in order.
    pub events: Vec<(u64, Event)>,
    /// What they are complete for; none is the whole channel.
    pub filter: Option<HeadKey>,
    /// The committers that cosigned the checkpoint.
    pub cosigners: Vec<NodeId>,
    /// The orderers that signed the finality certificate.
    pub signers: Vec<PublicKey>,
}

/// Verifies a bundle file against what the pinned genesis, or a charter verified from it, decides: needs nothing
/// else, and no network.
///
/// # Errors
/// [`BundleError`] names the first thing that is wrong; any changed byte leads to one.
///
/// # Security
/// Committees of past epochs are believed as their successors certified them. Against orderers that
/// are corrupted *after* their epoch has ended, compare the report's checkpoint with one that was
/// kept elsewhere.
pub fn verify(bytes: &[u8], pinned: &Founding) -> Result<Report, BundleError> {
    pinned.check()?;
    let bundle = Bundle::from_bytes(bytes)?;
    let domain = pinned.domain;
    if bundle.domain != domain {
        return Err(BundleError::OtherLedger);
    }
    let config = config_of_anchor(&bundle, pinned)?;
    let Anchored { checkpoint, cosigners, signers } = verify_anchor(&bundle.anchor, &domain, &config)?;
    let (events, filter) = match &bundle.content {
        Content::All { leaves } => (verify_all(leaves, &checkpoint)?, None),
        Content::Head { key, proof, leaves } => (verify_head(key, proof, leaves, &checkpoint)?, Some(*key)),
    };
    Ok(Report { checkpoint, events, filter, cosigners, signers })
}

/// A checkpoint that a final header carries, and who signed.
pub(crate) struct Anchored {
    pub(crate) checkpoint: Checkpoint,
    cosigners: Vec<NodeId>,
    signers: Vec<PublicKey>,
}

/// Verifies that a header is final under a configuration, and that its committers cosigned the checkpoint it carries.
pub(crate) fn verify_anchor(
    anchor: &FinalHeader,
    domain: &Domain,
    config: &EpochConfig,
) -> Result<Anchored, BundleError> {
    let signers = anchor.verify(domain, config)?;
    let header = &anchor.header;
    let cosigned = header.checkpoint.as_ref().ok_or(BundleError::NoCheckpoint)?;
    let checkpoint = *cosigned.verify(domain, &config.cosigners(), config.cosigners_needed())?.checkpoint();
    let cosigned_later = cosigning_epoch(checkpoint.height, config.channel.epoch_blocks) > config.epoch;
    if checkpoint.height >= header.height || cosigned_later {
        return Err(BundleError::Links);
    }
    let cosigners = cosigned.cosignatures().iter().map(|c| c.node).collect();
    Ok(Anchored { checkpoint, cosigners, signers })
}

/// The configuration of the anchor's epoch, certified step by step from genesis.
fn config_of_anchor(bundle: &Bundle, pinned: &Founding) -> Result<EpochConfig, BundleError> {
    let target = bundle.anchor.header.epoch;
    let mut config = pinned.epoch_config(Epoch::new(target.get().min(1)));
    for step in &bundle.epochs {
        config = step.verify(&pinned.domain, &config)?.clone();
    }
    if config.epoch == target { Ok(config) } else { Err(BundleError::Configuration(target)) }
}

fn verify_all(leaves: &[Vec<u8>], checkpoint: &Checkpoint) -> Result<Vec<(u64, Event)>, BundleError> {
    let mut frontier = Frontier::new();
    let mut events = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        events.push((frontier.size(), parse(frontier.size(), leaf)?));
        frontier.append(leaf_hash(leaf));
    }
    if frontier.size() != checkpoint.size {
        return Err(BundleError::Events("their number differs"));
    }
    if frontier.root() != checkpoint.root {
        return Err(BundleError::Events("their root differs"));
    }
    Ok(events)
}

fn verify_head(
    key: &HeadKey,
    proof: &HeadProof,
    leaves: &[(u64, Vec<u8>)],
    checkpoint: &Checkpoint,
) -> Result<Vec<(u64, Event)>, BundleError> {
    let proved = proof.verify(&checkpoint.index, key)?.unwrap_or(Head::EMPTY);
    let mut head = Head::EMPTY;
    let mut events = Vec::with_capacity(leaves.len());
    for (position, leaf) in leaves {
        events.push((*position, parse(*position, leaf)?));
        head = head.link(*position, &leaf_hash(leaf));
    }
    if head == proved { Ok(events) } else { Err(BundleError::Events("the head of the index differs")) }
}

fn parse(position: u64, leaf: &[u8]) -> Result<Event, BundleError> {
    codec::decode(leaf, limits::EVENT_BYTES).map_err(|_| BundleError::NotAnEvent(position))
}
