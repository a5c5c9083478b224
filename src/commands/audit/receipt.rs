//! Receipts as files: fetched, and verified without a network.

use super::{
    super::{Report, failure, output, session::Globals, text},
    refused,
};
use crate::{
    client::{CallError, Gateway as _, Unproved},
    exit::{Exit, Failure},
};
use dmdl_types::{
    id::TransactionId,
    receipt::{HEADER, Receipt},
};
use serde_json::json;
use std::path::Path;

/// Fetches a receipt, and writes it to a file once it is verified.
pub(super) fn fetch(id: TransactionId, out: &Path, globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let file = output::NewFile::create(out)?;
    let (client, gateway) = (&session.client, session.client.gateway());
    let proved = session.run(async {
        let Some(receipt) = gateway.receipt(id, session.patience).await? else { return Ok(None) };
        let (position, event) = client.trust().event_of(id, &receipt, gateway).await?;
        Ok::<_, CallError>(Some((receipt, position, event)))
    });
    let (receipt, position, event) = proved.map_err(|error| failure::call(&error))?.ok_or_else(|| {
        Failure::new(Exit::NotFound, "unknown_transaction", format!("there is no transaction {id}, or not yet"))
    })?;
    file.whole(receipt.to_text().as_bytes())?;
    let root = hex::encode(receipt.checkpoint.checkpoint().root);
    let verdict = json!(event.outcome.verdict);
    let text = format!(
        "{}: {} at position {position} of the trail, {}",
        text::path(out),
        json!(event.action).as_str().unwrap_or_default(),
        verdict.as_str().unwrap_or_default(),
    );
    let json = json!({
        "file": out.to_string_lossy(), "transaction": id, "position": position, "height": event.height, "verdict": verdict,
        "size": receipt.checkpoint.checkpoint().size, "root": root,
    });
    Ok(Report { text, json, exit: Exit::Ok })
}

/// Whether a file is meant to be a receipt.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(HEADER.as_bytes())
}

/// Verifies a receipt by what this client knows of the channel's committers.
pub(super) fn verify(bytes: &[u8], globals: &Globals) -> Result<Report, Failure> {
    let trust = globals.recalled()?;
    let receipt = match Receipt::parse(bytes) {
        Ok(receipt) => receipt,
        Err(error) => return Ok(refused("receipt_invalid", &error)),
    };
    let (position, event) = match trust.event_offline(&receipt) {
        Ok(proved) => proved,
        // Nothing speaks against it.
        Err(error @ Unproved::NotKnown(_)) => return Err(failure::unproved(&error)),
        Err(error) => {
            // Committers of epochs after that could have cosigned it.
            let detail = format_args!("{error}; the channel's members are known up to epoch {}", trust.known().epoch);
            return Ok(refused("receipt_invalid", &detail));
        }
    };
    let checkpoint = receipt.checkpoint.checkpoint();
    let cosigners: Vec<_> = receipt.checkpoint.cosignatures().iter().map(|cosignature| cosignature.node).collect();
    let (action, verdict, root) = (json!(event.action), json!(event.outcome.verdict), hex::encode(checkpoint.root));
    let text = format!(
        "valid: {} at position {position} of the trail, {}\ntransaction {}\nheight {}, root {root}\ncosigned by {} \
         committers",
        action.as_str().unwrap_or_default(),
        verdict.as_str().unwrap_or_default(),
        event.transaction,
        checkpoint.height,
        cosigners.len(),
    );
    let json = json!({
        "valid": true,
        "events": 1,
        "complete": null,
        "transaction": event.transaction,
        "position": position,
        "verdict": verdict,
        "height": checkpoint.height,
        "root": root,
        "signers": [],
        "cosigners": cosigners,
        "problems": [],
    });
    Ok(Report { text, json, exit: Exit::Ok })
}
