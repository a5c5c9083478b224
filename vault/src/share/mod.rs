//! Pedersen verifiable secret sharing.
