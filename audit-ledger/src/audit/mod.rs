//! Audit evidence: receipts and bundles for whoever asks; verification is in `dmdl_types`.
//!
//! # Source
//! docs/spec/bundle.md; docs/spec/receipt.md

mod export;

pub(crate) use export::final_header;
pub use export::{ExportError, export, receipt, steps_after};

#[cfg(test)]
mod tests;
