//! Evidence: what one node shows of another's fault, so that everyone can judge.
//!
//! Nothing here is believed of whoever shows it: each kind holds the accused node's own signatures.
//!
//! # Source
//! docs/spec/mdca.md

use crate::{
    checkpoint::{Checkpoint, Cosignature},
    transaction::{Endorsement, Transaction},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// What shows that a node broke a rule that holds in any state.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Evidence {
    /// Two votes of an orderer that contradict each other.
    Votes {
        /// As [`FaultProof::decode`](crate::certificate::FaultProof::decode) reads them.
        proof: Vec<u8>,
    },
    /// A block that its primary voted for and that breaks a rule.
    Proposal {
        /// The primary's vote, as [`NotarizeVote::decode`](crate::certificate::NotarizeVote::decode) reads it.
        vote: Vec<u8>,
        /// The encoded block.
        block: Vec<u8>,
    },
    /// An endorsement of a transaction that breaks a rule.
    Endorsement {
        /// The transaction.
        transaction: Box<Transaction>,
        /// What the endorser signed.
        endorsement: Endorsement,
    },
    /// A cosignature of a checkpoint that contradicts the agreed one.
    Cosignature {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// What the committer signed.
        cosignature: Cosignature,
    },
}
