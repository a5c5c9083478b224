//! Disks that fail under real nodes: a sync that fails, no room, a power cut, bits that flip, payloads that are gone.
//!
//! Four nodes are processes of their own, one of them on the bad disk, and people work meanwhile. Whatever happens there,
//! each transaction that a gateway acknowledged is in the trail afterwards, once, and nobody is shown anything else.
//!
//! The default is a slice. `make storage` runs the campaign: `DMDL_SYNC_FAILURES`, `DMDL_FULL_DISKS`, `DMDL_POWER_CUTS`,
//! `DMDL_BIT_FLIPS` and `DMDL_PAYLOADS` say how many, `DMDL_STORAGE_SEED` which. Each prints how many there were.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "cli/harness.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod harness;

#[path = "processes/network.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod network;

mod storage {
    pub(crate) mod again;
    pub(crate) mod full;
    pub(crate) mod hospital;
    pub(crate) mod people;
    pub(crate) mod power;
    pub(crate) mod rot;
    pub(crate) mod sync;
    pub(crate) mod tools;
    pub(crate) mod vault;
}

use storage::{again, full, power, rot, sync, vault};

#[test]
fn a_node_whose_disk_fails_is_gone_at_once_and_comes_back_with_all_that_was_acknowledged() {
    sync::fail_here_and_there();
}

#[test]
fn a_network_makes_no_block_while_too_few_of_its_disks_sync() {
    sync::hang();
}

#[test]
fn a_node_whose_disk_is_full_only_reads_and_goes_on_by_itself_when_there_is_room() {
    full::fill_and_free();
}

#[test]
fn a_disk_that_is_full_at_any_moment_spoils_nothing() {
    full::fill_at_any_moment();
}

#[test]
fn after_a_power_cut_of_all_nodes_everything_that_was_acknowledged_is_there() {
    power::cut_again_and_again();
}

#[test]
fn whatever_bit_flips_on_a_nodes_disk_is_told_or_harmless_and_never_shown() {
    rot::flip_here_and_there();
}

#[test]
fn a_node_that_executes_its_blocks_again_keeps_its_shares_and_starts_whatever_it_has_released() {
    again::begin_a_ledger_anew();
}

#[test]
fn a_node_that_has_joined_by_a_snapshot_has_its_blocks_again_epochs_later() {
    again::begin_an_archive_anew();
}

#[test]
fn a_payload_that_the_vault_has_lost_or_changed_is_told_with_its_record_and_never_opened() {
    vault::lose_and_change();
}
