//! What a process receives: every message that the simulated network delivers to the fifth node, as it is after
//! decryption, is kept and looked through.

use super::cluster::{Cluster, MAIN_MEDIA, Tape, register};
use crate::{OUTSIDER, PATIENT_MEDIA, is_told_of_it, policy};
use commonware_runtime::{Clock as _, Runner as _, deterministic};
use std::time::{Duration, SystemTime};

/// When simulated time begins.
const BEGIN: Duration = Duration::from_secs(1_800_000_000);

/// Whether a node received these bytes.
fn heard(tape: &Tape, what: &str) -> bool {
    tape.messages().iter().any(|message| message.windows(what.len()).any(|window| window == what.as_bytes()))
}

#[test]
fn a_process_that_is_no_member_receives_no_byte_of_a_channel() {
    let config = deterministic::Config::new().with_seed(7).with_start_time(SystemTime::UNIX_EPOCH + BEGIN);
    deterministic::Runner::new(config).start(|runtime| async move {
        let cluster = Cluster::start(runtime).await;
        register(&cluster.client(0, false), MAIN_MEDIA, None).await;
        register(&cluster.client(1, true), PATIENT_MEDIA, Some(policy())).await;
        // Blocks, votes, checkpoints and what is asked again go on for a while.
        cluster.runtime().sleep(Duration::from_secs(20)).await;
        let members_only = cluster.charter().id().to_string();
        for (position, tape) in cluster.tapes().iter().enumerate() {
            assert!(heard(tape, MAIN_MEDIA), "node {position} is on the first channel, and hears of it");
            let of_it = tape.messages().iter().find_map(|message| is_told_of_it(message));
            if position == OUTSIDER {
                assert_eq!(of_it, None, "of {} messages", tape.messages().len());
                let id = cluster.charter().id();
                let has_id = |message: &Vec<u8>| message.windows(32).any(|window| window == id.as_bytes());
                assert!(!tape.messages().iter().any(has_id), "not even the id of {members_only}");
            } else {
                assert!(of_it.is_some(), "node {position} is a member, and hears of it");
            }
        }
    });
}
