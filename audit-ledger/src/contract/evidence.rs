//! Evidence of faults: what is shown of a node, judged alike by every executor and counted once.
//!
//! # Source
//! docs/spec/mdca.md

use super::{Call, Context, Stop};
use crate::{
    endorse,
    execute::primary,
    order::{self, Checked},
    store::{Reader, StoreError},
    world::{FaultSeen, FaultsRow, ReportsRow, World},
};
use dmdl_types::{
    access::ReasonCode,
    block::Block,
    certificate::{FaultProof, NotarizeVote},
    checkpoint::{Checkpoint, Cosignature},
    codec,
    event::Outcome,
    evidence::Evidence,
    genesis::EpochConfig,
    hash,
    id::{Epoch, FaultId, Height, NodeId},
    label, limits,
    lineage::cosigning_epoch,
    mdca::PerDuty,
    sign::PublicKey,
    transaction::{Endorsement, Transaction},
};

/// A fault that the evidence proves.
struct Proved {
    culprit: NodeId,
    epoch: Epoch,
    id: FaultId,
    /// The bytes that were signed falsely, under the duty that was betrayed.
    bytes: PerDuty<Option<u64>>,
}

/// Counts evidence against its sender's quota; false when that is used up, and the evidence is not looked at.
///
/// # Errors
/// [`StoreError`] when world state cannot be read.
pub fn admit<R: Reader>(world: &mut World<R>, ctx: &Context<'_>, node: NodeId) -> Result<bool, StoreError> {
    let slot = (ctx.config.epoch, node);
    let ReportsRow(sent) = world.get(&slot)?.unwrap_or_default();
    let admitted = sent < limits::EVIDENCE_PER_EPOCH;
    if admitted {
        world.put(&slot, &ReportsRow(sent + 1));
    }
    Ok(admitted)
}

/// Judges evidence and counts the fault (rules 14 to 19).
pub(super) fn apply<R: Reader>(call: &mut Call<'_, R>, node: NodeId, evidence: &Evidence) -> Result<Outcome, Stop> {
    // Only members are believed to have a quota at all.
    call.ctx.config.member(node).ok_or(ReasonCode::Role)?;
    let proved = match evidence {
        Evidence::Votes { proof } => votes(call, proof),
        Evidence::Proposal { vote, block } => proposal(call, vote, block),
        Evidence::Endorsement { transaction, endorsement } => endorsed(call, transaction, endorsement),
        Evidence::Cosignature { checkpoint, cosignature } => cosigned(call, checkpoint, cosignature),
    }?;
    let seen = (proved.epoch, proved.id);
    if call.world.has::<FaultSeen>(&seen)? {
        return Err(ReasonCode::Duplicate.into());
    }
    call.world.put(&seen, &FaultSeen);
    // It counts in the epoch that hears of it: an earlier one is closed.
    let slot = (call.ctx.config.epoch, proved.culprit);
    let mut row: FaultsRow = call.world.get(&slot)?.unwrap_or_default();
    row.faults = row.faults.zip(proved.bytes).map(|(n, bytes)| n + u64::from(bytes.is_some()));
    row.bytes = row.bytes.zip(proved.bytes).map(|(n, bytes)| n.saturating_add(bytes.unwrap_or_default()));
    call.world.put(&slot, &row);
    Ok(Outcome::applied())
}

const REFUTED: Stop = Stop::Refused(dmdl_types::access::Reason::code(ReasonCode::EvidenceRefuted));

/// Two votes that no orderer casts together (rule 15).
fn votes<R: Reader>(call: &Call<'_, R>, proof: &[u8]) -> Result<Proved, Stop> {
    let proof = FaultProof::decode(proof).map_err(|_| REFUTED)?;
    let config = config_of(call, proof.epoch())?;
    let fault = proof.verify(&call.ctx.domain, &committee(&config)).map_err(|_| REFUTED)?;
    let culprit = NodeId::of_key(fault.culprit());
    let (view, kind) = (fault.view().get().to_le_bytes(), [fault.kind() as u8]);
    Ok(Proved {
        culprit,
        epoch: config.epoch,
        id: fault_id(0, culprit, &[&codec::encode(&config.epoch), &view, &kind]),
        bytes: PerDuty { ordering: Some(0), ..PerDuty::default() },
    })
}

/// A block that its own primary voted for in its turn, and that breaks a rule of blocks (rule 16).
fn proposal<R: Reader>(call: &Call<'_, R>, vote: &[u8], block: &[u8]) -> Result<Proved, Stop> {
    let vote = NotarizeVote::decode(vote).ok_or(REFUTED)?;
    let config = config_of(call, vote.epoch())?;
    let next: EpochConfig = call.world.get(&config.epoch.next())?.ok_or(REFUTED)?;
    let voted = vote.verify(&call.ctx.domain, &committee(&config)).ok_or(REFUTED)?;
    let len = block.len() as u64;
    let block = Block::decode(block).map_err(|_| REFUTED)?;
    let (header, culprit) = (&block.header, NodeId::of_key(voted.signer));
    // Others vote for a block before they know whether it keeps the rules: only its author answers for it.
    let own = primary(&config, voted.view) == Some(culprit)
        && (header.primary, header.epoch, header.view) == (culprit, voted.epoch, voted.view)
        && block.digest() == voted.digest;
    if !own || order::check(&block, &call.ctx.domain, &config, next.digest(), &Checked::default()).is_ok() {
        return Err(REFUTED);
    }
    Ok(Proved {
        culprit,
        epoch: config.epoch,
        id: fault_id(1, culprit, &[&codec::encode(&(voted.epoch, voted.view))]),
        bytes: PerDuty { ordering: Some(len), ..PerDuty::default() },
    })
}

/// An endorsement of a transaction that breaks a rule which holds in any state (rule 17).
fn endorsed<R: Reader>(
    call: &Call<'_, R>,
    transaction: &Transaction,
    endorsement: &Endorsement,
) -> Result<Proved, Stop> {
    let config = config_of(call, epoch_of(call, endorsement.height))?;
    let culprit = endorsement.endorser;
    let is_endorser = config.member(culprit).is_some_and(|member| member.roles.endorser);
    let digest = transaction.digest();
    let domain = &call.ctx.domain;
    if !is_endorser
        || !endorsement.verify(domain, digest)
        || endorse::check_form(domain, &Checked::default(), endorsement.height, transaction).is_ok()
    {
        return Err(REFUTED);
    }
    Ok(Proved {
        culprit,
        epoch: config.epoch,
        id: fault_id(2, culprit, &[digest.as_bytes()]),
        bytes: PerDuty { endorsing: Some(codec::encode(transaction).len() as u64), ..PerDuty::default() },
    })
}

/// A cosignature of another checkpoint than the one that is agreed at its height (rule 18).
fn cosigned<R: Reader>(call: &Call<'_, R>, checkpoint: &Checkpoint, cosignature: &Cosignature) -> Result<Proved, Stop> {
    let config = config_of(call, cosigning_epoch(checkpoint.height, call.ctx.config.channel.epoch_blocks))?;
    let culprit = cosignature.node;
    let committer = config.cosigners().into_iter().find(|committer| committer.node == culprit).ok_or(REFUTED)?;
    let agreed: Checkpoint = call.world.get(&checkpoint.height)?.ok_or(REFUTED)?;
    if checkpoint.domain() != call.ctx.domain
        || *checkpoint == agreed
        || cosignature.verify(checkpoint, &committer).is_err()
    {
        return Err(REFUTED);
    }
    Ok(Proved {
        culprit,
        epoch: config.epoch,
        id: fault_id(3, culprit, &[&codec::encode(&checkpoint.height)]),
        bytes: PerDuty { committing: Some(codec::encode(checkpoint).len() as u64), ..PerDuty::default() },
    })
}

/// The configuration of an epoch whose faults still count: this one and the one before.
fn config_of<R: Reader>(call: &Call<'_, R>, epoch: Epoch) -> Result<EpochConfig, Stop> {
    let current = call.ctx.config.epoch;
    if epoch != current && epoch.next() != current {
        return Err(REFUTED);
    }
    call.world.get(&epoch)?.ok_or(REFUTED)
}

fn epoch_of<R: Reader>(call: &Call<'_, R>, height: Height) -> Epoch {
    Epoch::new(height.get() / call.ctx.config.channel.epoch_blocks.max(1))
}

fn committee(config: &EpochConfig) -> Vec<PublicKey> {
    config.orderers().iter().map(NodeId::key).collect()
}

fn fault_id(kind: u8, culprit: NodeId, what: &[&[u8]]) -> FaultId {
    let mut parts: Vec<&[u8]> = vec![std::slice::from_ref(&kind), culprit.as_bytes()];
    parts.extend(what);
    FaultId::new(hash::labelled(label::FAULT, &parts))
}
