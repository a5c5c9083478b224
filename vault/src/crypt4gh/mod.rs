//! Crypt4GH: the format in which genome archives exchange files, read and written in constant memory.
//!
//! A file is a header that tells its readers a key, each in a packet of their own, and segments of 64 KiB under that key.
//! Nothing says how many segments there are or in what order, and nobody signs: where a record leaves this network in such
//! a file, its length and what it was are on the ledger and not in the file.
//!
//! # Source
//! [GA4GH File Encryption Standard](https://samtools.github.io/hts-specs/crypt4gh.pdf), version 1

mod edits;
mod packet;
mod read;
mod write;

pub use read::{Decryptor, OpenError};
pub use write::{Encryptor, StartError};

/// How a file begins.
pub const MAGIC: [u8; 8] = *b"crypt4gh";
/// Plaintext of a whole segment.
pub const SEGMENT_LEN: usize = 1 << 16;

const VERSION: u32 = 1;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// A whole segment, sealed.
const SEALED_LEN: usize = NONCE_LEN + SEGMENT_LEN + TAG_LEN;

#[cfg(test)]
mod tests;
