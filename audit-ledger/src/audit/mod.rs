//! Audit evidence: receipts and bundles for whoever asks; verification is in `dmdl_types`.
//!
//! # Source
//! docs/spec/bundle.md; docs/spec/receipt.md

mod export;

pub use export::{ExportError, export, receipt, steps_after};

#[cfg(test)]
mod tests;
