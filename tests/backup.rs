//! A node loses its disk, and is brought back from a backup that is older than much of what happened, or from an old copy
//! of its folder: nothing that was undone since is done again, and it contradicts none of its votes.
//!
//! One loss is a test. `DMDL_RESTORES=20` makes as many, one after the other in one network, with ever older backups and
//! copies, and says how it went.

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

mod backup {
    pub(crate) mod campaign;
}

use backup::campaign::{Campaign, Loss};

#[test]
fn a_node_that_is_brought_back_from_an_old_backup_undoes_nothing_and_votes_once_that_is_safe() {
    let asked = std::env::var("DMDL_RESTORES").ok().map(|count| count.parse::<usize>().expect("a number"));
    let mut campaign = Campaign::begin();
    for number in 0..asked.unwrap_or(1) {
        campaign.lose(if number % 2 == 1 { Loss::OldCopy } else { Loss::Backup });
    }
    campaign.end();
}
