//! The nouns of DMDL: what the other rooms hand to each other, and what an outside auditor needs
//! to check a receipt. No I/O, no clock, no async; builds for WebAssembly too.
//!
//! Every byte that is hashed or signed goes through [`codec`] and [`sign`]; every label stands in
//! [`label`]. The `verify` functions need nothing but their arguments.

pub mod codec;
pub mod context;
pub mod hash;
pub mod id;
pub mod label;
pub mod secret;
pub mod sign;
