//! The nouns of DMDL: what the other rooms hand to each other, and what an outside auditor needs
//! to check a receipt. No I/O, no clock, no async; builds for WebAssembly too.
//!
//! Every byte that is hashed or signed goes through [`codec`] and [`sign`]; every label stands in
//! [`label`]. The `verify` functions need nothing but their arguments.

pub mod access;
pub mod backup;
pub mod block;
pub mod bundle;
pub mod certificate;
pub mod charter;
pub mod checkpoint;
pub mod codec;
pub mod context;
pub mod custody;
pub mod custody_proof;
pub mod event;
pub mod evidence;
pub mod genesis;
pub mod governance;
pub mod hash;
pub mod id;
pub mod index_proof;
pub mod invocation;
pub mod label;
pub mod limits;
pub mod lineage;
pub mod mdca;
pub mod merkle;
pub mod note;
pub mod planted;
pub mod receipt;
pub mod secret;
pub mod sign;
pub mod snapshot;
pub mod text;
pub mod title;
pub mod transaction;
