//! `dmdl audit`: verification without a network.

use super::Report;
use crate::{
    exit::{Exit, Failure},
    network_file::{NetworkFile, NetworkFileError},
};
use clap::Subcommand;
use dmdl_types::{bundle, index_proof::HeadKey, limits};
use serde_json::json;
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Verifies an exported bundle offline: needs the pinned network and nothing else.
    ///
    /// Ends with 0 when every event is proved, with 5 when anything is not as it should be.
    #[command(after_help = "Example:\n  dmdl audit verify trail.bundle --network network.toml")]
    Verify {
        /// The bundle.
        file: PathBuf,
    },
}

pub(super) fn run(command: &Command, pin: Option<&Path>) -> Result<Report, Failure> {
    match command {
        Command::Verify { file } => verify(file, pin),
    }
}

fn verify(file: &Path, pin: Option<&Path>) -> Result<Report, Failure> {
    let pin = pin.ok_or_else(|| {
        let hint = "a bundle is verified against a pinned network: give its file with --network or DMDL_NETWORK";
        Failure::new(Exit::Configuration, "no_pin", hint)
    })?;
    let genesis = NetworkFile::read(pin).map_err(|error| {
        let code = match error {
            NetworkFileError::GenesisMismatch { .. } => "genesis_mismatch",
            _ => "bad_network_file",
        };
        Failure::new(Exit::Configuration, code, error)
    })?;
    let bytes = read(file)?;
    Ok(match bundle::verify(&bytes, &genesis) {
        Ok(report) => accepted(&report),
        Err(error) => refused(&error),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: std::io::Error| {
        let (exit, code) = match error.kind() {
            std::io::ErrorKind::NotFound => (Exit::NotFound, "not_found"),
            _ => (Exit::Usage, "unreadable"),
        };
        Failure::new(exit, code, format!("cannot read `{}`: {error}", path.display()))
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(limits::BUNDLE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn accepted(report: &bundle::Report) -> Report {
    let scope = match report.filter {
        None => "every event of the channel".to_owned(),
        Some(HeadKey::Record(id)) => format!("every event of record {id}"),
        Some(HeadKey::Actor(key)) => format!("every event by {key}"),
        Some(HeadKey::Subject(id)) => format!("every event of subject {id}"),
    };
    let root = hex::encode(report.checkpoint.root);
    let text = format!(
        "valid: {scope}, {} in all\nheight {}, root {root}\nfinalized by {} orderers, cosigned by {} committers",
        report.events.len(),
        report.checkpoint.height,
        report.signers.len(),
        report.cosigners.len(),
    );
    let json = json!({
        "valid": true,
        "events": report.events.len(),
        "complete": true,
        "height": report.checkpoint.height,
        "root": root,
        "signers": report.signers,
        "cosigners": report.cosigners,
        "problems": [],
    });
    Report { text, json, exit: Exit::Ok }
}

fn refused(error: &bundle::BundleError) -> Report {
    let json = json!({
        "valid": false,
        "events": 0,
        "complete": null,
        "root": null,
        "signers": [],
        "problems": [{ "code": "bundle_invalid", "detail": error.to_string() }],
    });
    Report { text: format!("INVALID: {error}"), json, exit: Exit::Integrity }
}
