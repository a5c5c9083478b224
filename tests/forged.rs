//! Forged and stale blocks, certificates, proofs and transactions: each is refused, and for its own reason.
//!
//! A real network tells a story; then everything that it can show is changed, one thing at a time, and
//! shown to whoever verifies it. Each table begins with the original, which is accepted.
//!
//! # Source
//! docs/spec/block.md, certificate.md, checkpoint.md, receipt.md, lineage.md, bundle.md, log.md,
//! index.md

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "each table leaves a line")]

mod common;

mod forged {
    pub(crate) mod bundles;
    pub(crate) mod candidate;
    pub(crate) mod checkpoints;
    pub(crate) mod custodians;
    pub(crate) mod custody;
    pub(crate) mod executor;
    pub(crate) mod follower;
    pub(crate) mod network;
    pub(crate) mod receipts;
    pub(crate) mod scene;
    pub(crate) mod story;
    pub(crate) mod table;
    pub(crate) mod transactions;
    pub(crate) mod trust;
    pub(crate) mod votes;
}

use forged::{
    bundles, candidate, checkpoints, custodians, custody, executor, follower, receipts, scene::Scene, transactions,
    trust,
};

/// Fewer would leave one of the rules without a forgery against it.
const VARIANTS_MIN: usize = 60;

#[test]
fn every_forged_or_stale_variant_is_refused_for_its_own_reason() {
    let scene = Scene::new();
    let mut tables = follower::tables(&scene);
    tables.extend([executor::table(&scene), candidate::table(&scene), checkpoints::table(&scene)]);
    tables.extend(receipts::tables(&scene));
    tables.extend(bundles::tables(&scene));
    tables.extend([custody::table(&scene), trust::table(&scene), trust::lineages(&scene), trust::kept(&scene)]);
    tables.push(custodians::table(&scene));
    // Last, because what they accept changes the ledger.
    tables.extend(transactions::tables(&scene));

    tables.iter().for_each(|table| println!("{:4}  {}", table.count, table.title));
    let count: usize = tables.iter().map(|table| table.count).sum();
    println!("{count:4}  forged or stale variants");
    let wrong: Vec<String> = tables.into_iter().flat_map(|table| table.wrong).collect();
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= VARIANTS_MIN, "{count}");
}
