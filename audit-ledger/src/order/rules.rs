//! When a candidate block is valid: a pure function of the block and its epoch's configuration.
//!
//! Every orderer comes to the same answer, for ever: no clock, no state of its own. The place of the
//! block in the chain, its view and its primary are the engine's business.
//!
//! # Source
//! docs/spec/block.md

use super::Checked;
use crate::endorse;
use dmdl_types::{
    block::{Block, Header},
    checkpoint::CheckpointError,
    codec,
    genesis::EpochConfig,
    id::{ConfigDigest, Height, TransactionId, View},
    limits,
    sign::Domain,
    transaction::TransactionError,
};
use std::collections::BTreeSet;

/// Why a candidate block is not valid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockFault {
    /// It is for another network or channel.
    #[error("the block is for another network or channel")]
    WrongContext,
    /// It names another configuration than its epoch has, or the next one will have.
    #[error("the block names another configuration")]
    Configuration,
    /// It does not say of each orderer, and of nobody else, whether its vote on the parent was seen.
    #[error("`parent_signers` is not a bitmap over the committee that voted on the parent")]
    ParentSigners,
    /// It is larger than allowed.
    #[error("`{0}` is larger than allowed")]
    TooLarge(&'static str),
    /// A transaction does not verify.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// A transaction lacks endorsements.
    #[error("transaction `{0}` is not endorsed by enough organisations")]
    NotEndorsed(TransactionId),
    /// A transaction is there twice.
    #[error("transaction `{0}` is there twice")]
    Doubled(TransactionId),
    /// A transaction has expired, or expires too late.
    #[error("transaction `{0}` expires outside of the allowed heights")]
    Expiry(TransactionId),
    /// A system transaction is not by a member, or not the member's only one.
    #[error("system transaction `{0}` is not the only one of a member")]
    NotMember(TransactionId),
    /// The checkpoint does not verify.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint is not of an earlier height.
    #[error("the checkpoint is not of an earlier height")]
    CheckpointHeight,
}

/// Checks a candidate block.
///
/// # Errors
/// [`BlockFault`] names the first rule that it breaks.
pub fn check(
    block: &Block,
    domain: &Domain,
    config: &EpochConfig,
    next_config: ConfigDigest,
    checked: &Checked,
) -> Result<(), BlockFault> {
    let Block { header, body } = block;
    if header.domain != *domain {
        return Err(BlockFault::WrongContext);
    }
    if header.config != config.digest() || header.next_config != next_config {
        return Err(BlockFault::Configuration);
    }
    check_parent_signers(header, config)?;
    check_sizes(block)?;
    check_checkpoint(header, domain, config)?;
    let mut ids = BTreeSet::new();
    let verified = checked.transactions(&body.transactions, domain);
    for (endorsed, id) in body.transactions.iter().zip(verified) {
        let id = id?;
        if !endorse::satisfied(config, &endorsed.endorsements) {
            return Err(BlockFault::NotEndorsed(id));
        }
        check_once(&mut ids, id, endorsed.transaction.body.expires, header.height)?;
    }
    let mut nodes = BTreeSet::new();
    for system in &body.system {
        let id = checked.system(system, domain)?;
        if config.member(system.body.node).is_none() || !nodes.insert(system.body.node) {
            return Err(BlockFault::NotMember(id));
        }
        check_once(&mut ids, id, system.body.expires, header.height)?;
    }
    Ok(())
}

/// The parent of an epoch's first block was voted on by another committee, or by nobody.
fn check_parent_signers(header: &Header, config: &EpochConfig) -> Result<(), BlockFault> {
    let orderers = config.orderers().len();
    let wanted = if header.parent_view == View::new(0) { 0 } else { orderers.div_ceil(8) };
    let outside = (orderers..wanted * 8).any(|position| header.has_signer(position));
    if header.parent_signers.len() == wanted && !outside { Ok(()) } else { Err(BlockFault::ParentSigners) }
}

fn check_sizes(block: &Block) -> Result<(), BlockFault> {
    let fits = |name, bytes: Vec<u8>, limit| {
        if bytes.len() <= limit { Ok(()) } else { Err(BlockFault::TooLarge(name)) }
    };
    fits("header", codec::encode(&block.header), limits::HEADER_BYTES)?;
    for endorsed in &block.body.transactions {
        fits("transaction", codec::encode(endorsed), limits::TRANSACTION_BYTES)?;
    }
    for system in &block.body.system {
        fits("system transaction", codec::encode(system), limits::SYSTEM_TRANSACTION_BYTES)?;
    }
    fits("transactions", codec::encode(&block.body.transactions), limits::BLOCK_TRANSACTIONS_BYTES)?;
    fits("system", codec::encode(&block.body.system), limits::BLOCK_SYSTEM_BYTES)
}

fn check_checkpoint(header: &Header, domain: &Domain, config: &EpochConfig) -> Result<(), BlockFault> {
    let Some(cosigned) = &header.checkpoint else { return Ok(()) };
    if cosigned.checkpoint().height >= header.height {
        return Err(BlockFault::CheckpointHeight);
    }
    cosigned.verify(domain, &config.cosigners(), config.cosigners_needed())?;
    Ok(())
}

fn check_once(
    ids: &mut BTreeSet<TransactionId>,
    id: TransactionId,
    expires: Height,
    height: Height,
) -> Result<(), BlockFault> {
    if !ids.insert(id) {
        return Err(BlockFault::Doubled(id));
    }
    if may_be_at(expires, height) { Ok(()) } else { Err(BlockFault::Expiry(id)) }
}

/// Whether a block of this height may hold a transaction with this expiry: neither one that has
/// expired, nor one whose id would have to be remembered for too long.
pub(crate) const fn may_be_at(expires: Height, height: Height) -> bool {
    expires.get() >= height.get() && expires.get() - height.get() <= limits::EXPIRY_BLOCKS
}
