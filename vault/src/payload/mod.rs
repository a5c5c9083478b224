//! The chunked payload format.
