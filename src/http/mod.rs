//! What a gateway and its clients both know of HTTP: who sends a request, proved by RFC 9421 in one fixed,
//! strict profile, and the height that an answer is true at.
//!
//! [`signature`] makes and checks signatures and remembers nothing; [`nonces`] refuses one that comes
//! twice; [`target`] is where a request goes, as both sides write it. Whether a key is enrolled, and what
//! it may do, is the caller's question, to be asked between the two.
//!
//! # Source
//! docs/spec/http-signature.md; RFC 9421, RFC 9530

mod field;
pub mod nonces;
pub mod signature;
pub mod target;

use ::http::HeaderName;

/// The height that an answer is true at.
pub const HEIGHT: HeaderName = HeaderName::from_static("dmdl-height");

#[cfg(test)]
mod tests;
