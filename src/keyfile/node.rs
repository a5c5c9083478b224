//! The secrets of a node, in two files.

use super::{KeyFileError, read_secret, write_secret};
use crate::local::random_secret;
use dmdl_types::{
    checkpoint::CosigningKey,
    id::NodeId,
    secret::Secret32,
    sign::{PublicKey, SigningKey},
};
use std::path::Path;

/// What a node signs with.
pub(crate) struct NodeSecrets {
    key: Secret32,
    cosigning: Secret32,
}

impl NodeSecrets {
    /// The files' names, in the folder of a node that has them to itself.
    pub(crate) const KEY_FILE: &str = "node.key";
    pub(crate) const COSIGNING_FILE: &str = "cosigning.key";

    /// New secrets.
    pub(crate) fn new() -> Self {
        Self { key: random_secret(), cosigning: random_secret() }
    }

    /// Keeps them in a folder where there are none yet.
    pub(crate) fn keep(&self, folder: &Path) -> Result<(), KeyFileError> {
        write_secret(&folder.join(Self::KEY_FILE), &self.key)?;
        write_secret(&folder.join(Self::COSIGNING_FILE), &self.cosigning)
    }

    /// Finds them again.
    pub(crate) fn find(folder: &Path) -> Result<Self, KeyFileError> {
        Self::read(&folder.join(Self::KEY_FILE), &folder.join(Self::COSIGNING_FILE))
    }

    /// Reads them from these files.
    pub(crate) fn read(key: &Path, cosigning: &Path) -> Result<Self, KeyFileError> {
        Ok(Self { key: read_secret(key)?, cosigning: read_secret(cosigning)? })
    }

    /// The node.
    pub(crate) fn node(&self) -> NodeId {
        NodeId::of_key(self.signing_key().public())
    }

    /// The public half of what it cosigns checkpoints with.
    pub(crate) fn cosigning_public(&self) -> PublicKey {
        self.cosigning_key().public()
    }

    /// The key of its connections and votes.
    pub(crate) fn signing_key(&self) -> SigningKey {
        SigningKey::from_seed(copy(&self.key))
    }

    /// The key of its checkpoint cosignatures.
    pub(crate) fn cosigning_key(&self) -> CosigningKey {
        CosigningKey::from_seed(copy(&self.cosigning))
    }
}

fn copy(secret: &Secret32) -> Secret32 {
    secret.expose(|bytes| Secret32::new(*bytes))
}
