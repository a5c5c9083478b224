//! Seven nodes of four organisations, each a process on a host of its own, on two channels with different members:
//! the main job is done on both, and nothing of a channel is found with a process that is no member of it.
//!
//! Hosts are network namespaces, which only root can make. The links of nodes are encrypted, so what a process was told
//! is looked for where it would be after decryption: in its memory while it runs, in all of its files, and in its log.
//! That every message stays with its addressees, `channels` looks at in a simulated network.

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
mod namespaces {
    pub(crate) mod canaries;
    pub(crate) mod hospitals;
    pub(crate) mod job;
    #[allow(dead_code, reason = "each test program uses a part of it")]
    pub(crate) mod lan;
    pub(crate) mod tape;
    mod walk;
}

use namespaces::{
    canaries::Canaries,
    hospitals::{Channel, Hospitals, SEATS},
    job::Job,
    lan::Lan,
};
use std::collections::{BTreeMap, BTreeSet};

/// What some member of a channel has in its files, so that the look would find it with others.
const KEPT: [&str; 11] = [
    "the channel's name",
    "the channel's id",
    "the owner's key",
    "the researcher's name",
    "a record",
    "a payload",
    "a subject",
    "a title",
    "a media type",
    "a policy",
    "a request",
];

#[test]
fn hosts_do_the_main_job_on_two_channels_and_who_is_no_member_of_one_has_no_byte_of_it() {
    let Some(lan) = Lan::new() else { return };
    let (mut hospitals, mut channels) = Hospitals::start(lan);
    let (mut secrets, mut sign) = (Canaries::new(), Canaries::new());
    hospitals.mark_wires(sign.add_word("a sign in clear").as_bytes());
    for channel in &mut channels {
        Job::run(&hospitals, channel, &mut secrets);
        hospitals.check_insiders(channel, &secrets);
    }
    channels.iter().for_each(|channel| hospitals.check_outsiders(channel));
    hospitals.stop();

    let nothing = BTreeMap::new();
    for (host, ..) in SEATS {
        let (wire, folder, log) = (hospitals.wire(host), hospitals.folder(host), hospitals.log(host));
        assert!(!sign.in_files(&wire).is_empty(), "what is said to {host} in clear is on its tape");
        for path in [&wire, &folder, &log] {
            assert_eq!(secrets.in_files(path), nothing);
        }
        for channel in &channels {
            assert_eq!(channel.canaries.in_files(&wire), nothing, "it is encrypted, to a member too");
            if channel.plan.outsiders.contains(&host) {
                assert_eq!(channel.canaries.in_files(&folder), nothing);
                assert_eq!(channel.canaries.in_files(&log), nothing);
            }
        }
    }
    assert_eq!(secrets.in_files(&hospitals.path("vault")), nothing);
    channels.iter().for_each(|channel| assert_kept(&hospitals, channel));
}

/// Fails unless the members of a channel keep what others must not have.
fn assert_kept(hospitals: &Hospitals, channel: &Channel) {
    let mut kept = BTreeSet::new();
    for (host, ..) in SEATS.iter().filter(|(host, ..)| !channel.plan.outsiders.contains(host)) {
        let folder = hospitals.folder(host);
        let own: BTreeSet<&str> = channel.canaries.in_files(&folder).into_keys().collect();
        assert!(own.contains("the channel's name"), "{host} is a member, and keeps {own:?}");
        kept.extend(own);
    }
    assert!(KEPT.iter().all(|what| kept.contains(what)), "of what the members keep, only {kept:?} is found");
}
