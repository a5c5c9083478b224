//! The network file: the pinned genesis, and where gateways are, as people keep it.
//!
//! # Source
//! docs/spec/genesis.md

use crate::text_file::{self, TextFile, TextFileError};
use dmdl_types::{
    genesis::{Genesis, GenesisError},
    id::NetworkId,
};
use serde::{Deserialize, Serialize};
use std::{io, path::Path};

/// Largest network file.
const FILE_BYTES: u64 = 10 * 1024 * 1024;

/// Why a network file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkFileError {
    /// It cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is no network file.
    #[error("`{path}` is not a network file: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// Where and why.
        reason: String,
    },
    /// The document does not have the hash that the file pins.
    #[error("the genesis document hashes to `{actual}`, but the file pins `{pinned}`")]
    GenesisMismatch {
        /// What the file says.
        pinned: NetworkId,
        /// What the document hashes to.
        actual: NetworkId,
    },
    /// The genesis document breaks a rule.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
}

impl From<TextFileError> for NetworkFileError {
    fn from(error: TextFileError) -> Self {
        match error {
            TextFileError::Read { path, source } => Self::Read { path: path.display().to_string(), source },
            TextFileError::Flaw { path, line, reason } => {
                Self::Malformed { path: path.display().to_string(), reason: format!("line {line}: {reason}") }
            }
        }
    }
}

/// Where a gateway is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Its address: `https://HOST:PORT`, or `http://` on the loopback address.
    pub url: String,
    /// Its certificate, which is then the only one that is taken: the system's authorities are never
    /// asked. None for plain HTTP on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_sha256: Option<CertificateDigest>,
}

impl Endpoint {
    /// The address, and the SHA-256 of the certificate.
    #[must_use]
    pub fn address(&self) -> (String, Option<[u8; 32]>) {
        (self.url.clone(), self.certificate_sha256.map(|digest| digest.0))
    }
}

/// SHA-256 of a certificate, as hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CertificateDigest(#[serde(with = "hex::serde")] pub [u8; 32]);

/// A network file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// The network's identity.
    pub network: NetworkId,
    /// The document behind it.
    pub genesis: Genesis,
    /// Gateways, the first one to be asked first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<Endpoint>,
}

impl NetworkFile {
    /// The file that pins a genesis document.
    #[must_use]
    pub fn of(genesis: Genesis) -> Self {
        Self { network: genesis.id(), genesis, gateways: Vec::new() }
    }

    /// The same file with a gateway.
    #[must_use]
    pub fn with_gateway(mut self, gateway: Endpoint) -> Self {
        self.gateways.push(gateway);
        self
    }

    /// The file's text.
    ///
    /// # Errors
    /// Never for a document that passes its own check.
    pub fn to_text(&self) -> Result<String, toml::ser::Error> {
        let head = "# Pins a DMDL network: everything that a gateway says is checked against this document.\n";
        Ok(format!("{head}{}", toml::to_string(self)?))
    }

    /// Writes the file, in the place of one that is there; on return it is on disk, whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        text_file::replace(path, &self.to_text().map_err(io::Error::other)?)
    }

    /// Reads a network file and checks that the document is the pinned one and keeps the rules.
    ///
    /// # Errors
    /// [`NetworkFileError`].
    pub fn read(path: &Path) -> Result<Self, NetworkFileError> {
        let file: Self = TextFile::read(path, FILE_BYTES)?.parse()?;
        let actual = file.genesis.id();
        if actual != file.network {
            return Err(NetworkFileError::GenesisMismatch { pinned: file.network, actual });
        }
        file.genesis.check()?;
        Ok(file)
    }
}
