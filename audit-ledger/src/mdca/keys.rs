//! The ledger's names for things, and the engine's.

use commonware_codec::{Copying, DecodeExt};
use commonware_cryptography::{ed25519, sha256::Digest};
use dmdl_types::{
    id::BlockDigest,
    sign::{PublicKey, SigningKey},
};

/// The engine's form of a key, or none when the bytes are no point of the curve.
pub(super) fn engine_key(key: &PublicKey) -> Option<ed25519::PublicKey> {
    ed25519::PublicKey::decode(Copying(key.as_bytes())).ok()
}

/// The ledger's form of an engine key.
pub(super) fn ledger_key(key: &ed25519::PublicKey) -> PublicKey {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(key.as_ref());
    PublicKey::new(bytes)
}

/// The engine's form of a node's signing key.
///
/// # Security
/// The engine's key wipes itself on drop.
pub(super) fn engine_signer(key: &SigningKey) -> ed25519::PrivateKey {
    #[expect(clippy::expect_used, reason = "every 32 bytes decode to a signing key")]
    key.seed().expose(|seed| ed25519::PrivateKey::decode(Copying(seed))).expect("32 bytes are a seed")
}

/// The engine's form of a block digest.
pub(super) const fn engine_digest(digest: BlockDigest) -> Digest {
    Digest(*digest.as_bytes())
}

/// The ledger's form of a block digest.
pub(super) const fn ledger_digest(digest: Digest) -> BlockDigest {
    BlockDigest::new(digest.0)
}
