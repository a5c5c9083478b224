//! Everything that a network goes through, while people work at it: nodes join and leave, keys are rotated, one node loses
//! its folder and joins by a snapshot, and each is stopped and started again. 50 transactions and 5 openings a second
//! are begun all the time. No opening fails, nothing that was acknowledged is lost, and all nodes have one state.

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

mod change_under_load {
    pub(crate) mod campaign;
    pub(crate) mod load;
}

use change_under_load::campaign::{Campaign, FIRST, LOSES, SECOND};

/// How long the load lasts in each phase, at least, when nobody asks for more.
const SLICE_SECONDS: u64 = 5;

#[test]
fn while_members_change_no_opening_fails_and_nothing_acknowledged_is_lost() {
    let asked = std::env::var("DMDL_LOAD_SECONDS").ok().map(|seconds| seconds.parse().expect("a number"));
    let is_whole = asked.is_some();
    let mut campaign = Campaign::begin(asked.unwrap_or(SLICE_SECONDS));
    campaign.phase("a node joins", FIRST, Campaign::join);
    if is_whole {
        campaign.phase("it leaves", FIRST, Campaign::leave);
    }
    campaign.phase("a key is rotated", FIRST, Campaign::rotate);
    if is_whole {
        campaign.phase("a node is wiped", FIRST, |campaign, at| campaign.wipe(LOSES, at));
    }
    // A client has one gateway, and ends with it: so nobody works at the one that is restarted.
    let others = if is_whole { campaign.all_but(FIRST) } else { vec![SECOND] };
    campaign.phase("the others restart", FIRST, |campaign, at| campaign.restart(&others, at));
    campaign.phase("the first restarts", SECOND, |campaign, at| campaign.restart(&[FIRST], at));
    campaign.end();
}
