//! Where errors of a client meet exit codes.

use crate::{
    client::{AskGatewayError, CallError, OpenError, RegisterError, Unproved},
    exit::{Exit, Failure},
    keyfile::KeyFileError,
    problem::Problem,
    text_file::TextFileError,
};
use dmdl_types::title::TitleError;
use dmdl_vault::{payload, remark::TextError};

/// A key file that cannot be used.
pub(super) fn key_file(error: &KeyFileError) -> Failure {
    let (exit, code) = match error {
        KeyFileError::NotFound { .. } => (Exit::NotFound, "not_found"),
        KeyFileError::Permissions { .. } => (Exit::Configuration, "key_permissions"),
        KeyFileError::WrongPassphrase { .. } => (Exit::Denied, "passphrase"),
        KeyFileError::Exists { .. } => (Exit::Usage, "exists"),
        KeyFileError::EmptyPassphrase => (Exit::Usage, "passphrase"),
        KeyFileError::Write { .. } => (Exit::Storage, "storage"),
        _ => (Exit::Configuration, "key_file"),
    };
    Failure::new(exit, code, error)
}

/// A gateway that did not help.
pub(super) fn gateway(error: &AskGatewayError) -> Failure {
    match error {
        AskGatewayError::Problem(problem) => told(problem),
        AskGatewayError::Unreachable(_) => {
            let detail = format!("{error}; see that it runs, or name another one with --gateway");
            Failure::new(Exit::Unavailable, "unreachable", detail)
        }
        AskGatewayError::Certificate(_) => Failure::new(Exit::Unavailable, "tls", error),
        AskGatewayError::Source(_) => Failure::new(Exit::Usage, "unreadable", error),
        _ => Failure::new(Exit::Integrity, "gateway_answer", error),
    }
}

/// What a gateway told.
pub(super) fn told(problem: &Problem) -> Failure {
    let exit = match problem.status {
        // Nothing that somebody typed: the gateway's height or store is not what it said.
        422 if matches!(problem.code.as_ref(), "tx_expiry" | "blob_missing") => Exit::Unavailable,
        401 | 403 => Exit::Denied,
        404 | 410 => Exit::NotFound,
        502 => Exit::Integrity,
        408 | 425 | 429 | 500.. => Exit::Unavailable,
        _ => Exit::Usage,
    };
    Failure::new(exit, problem.code.clone(), &problem.detail)
}

/// What is not believed.
pub(super) fn unproved(error: &Unproved) -> Failure {
    let (exit, code) = match error {
        Unproved::Fork { .. } => (Exit::Integrity, "fork"),
        Unproved::Behind { .. } => (Exit::Unavailable, "gateway_behind"),
        Unproved::NotKnown(_) => (Exit::NotFound, "unknown_configuration"),
        Unproved::Memory { .. } => (Exit::Storage, "storage"),
        _ => (Exit::Integrity, "unproved"),
    };
    Failure::new(exit, code, error)
}

/// A file that people wrote and that cannot be used; a flaw in it has a code of its own.
pub(super) fn text_file(error: &TextFileError, flaw: &'static str) -> Failure {
    match error {
        TextFileError::Read { .. } => Failure::new(Exit::NotFound, "unreadable", error),
        TextFileError::Flaw { .. } => Failure::new(Exit::Configuration, flaw, error),
    }
}

/// A call that came to nothing.
pub(super) fn call(error: &CallError) -> Failure {
    match error {
        CallError::Gateway(error) => gateway(error),
        CallError::Unproved(error) => unproved(error),
        CallError::Text(error) => {
            let code = match error {
                TextError::Empty => "no_text",
                TextError::TooLong => "too_long",
                _ => "bad_text",
            };
            Failure::new(Exit::Usage, code, error)
        }
        CallError::Title(TitleError::TooLong) => Failure::new(Exit::Usage, "too_long", TitleError::TooLong),
        CallError::Title(error) => Failure::new(Exit::Usage, "bad_text", error),
        CallError::SealRemark(error) => Failure::new(Exit::Integrity, "not_sealed", error),
    }
}

/// A registration that came to nothing.
pub(super) fn register(error: &RegisterError) -> Failure {
    let (exit, code) = match error {
        RegisterError::Call(error) => return call(error),
        RegisterError::TooFewCustodians { .. } => (Exit::Unavailable, "custodians_unavailable"),
        RegisterError::ForgedKeys { .. } => (Exit::Integrity, "forged_keys"),
        RegisterError::UnknownCustodian(_) => (Exit::NotFound, "unknown_custodian"),
        RegisterError::Threshold(_) => (Exit::Usage, "bad_threshold"),
        RegisterError::Seal(payload::SealError::Read(_)) => (Exit::Usage, "unreadable"),
        RegisterError::Seal(_) | RegisterError::Spool(_) => (Exit::Storage, "storage"),
        RegisterError::Rejected(_) => (Exit::Denied, "rejected"),
        _ => (Exit::Internal, "internal"),
    };
    Failure::new(exit, code, error)
}

/// A record that was not opened.
pub(super) fn open(error: &OpenError) -> Failure {
    let (exit, code) = match error {
        OpenError::Call(error) => return call(error),
        OpenError::NoRecord => (Exit::NotFound, "unknown_record"),
        OpenError::Denied(_) => (Exit::Denied, "denied"),
        OpenError::TooFewShares { .. } => (Exit::Unavailable, "custodians_unavailable"),
        OpenError::BadShares { .. } => (Exit::Integrity, "bad_shares"),
        OpenError::Payload(payload::OpenError::Write(_)) => (Exit::Storage, "storage"),
        OpenError::Payload(payload::OpenError::NoSuchRange { .. }) => (Exit::Usage, "range"),
        OpenError::PayloadLost { .. } => (Exit::Integrity, "blob_lost"),
        OpenError::PayloadDamaged { .. } => (Exit::Integrity, "blob_corrupt"),
        _ => (Exit::Integrity, "integrity"),
    };
    Failure::new(exit, code, error)
}
