use super::*;
use dmdl_types::{
    genesis::{ChannelConfig, Member, NodeRoles},
    id::Epoch,
    mdca::MdcaConfig,
};

fn id(seed: u8) -> NodeId {
    NodeId::new([seed; 32])
}

/// An epoch in which so many nodes order.
fn config(orderers: u8) -> EpochConfig {
    let member = |seed| Member {
        node: id(seed),
        cosigning_key: PublicKey::new([seed; 32]),
        org: "org".parse().unwrap(),
        roles: NodeRoles::ALL,
    };
    let channel = ChannelConfig {
        name: "main".parse().unwrap(),
        epoch_blocks: 2,
        endorsements: 1,
        custody_threshold: 2,
        policy_engine: 1,
        mdca: MdcaConfig::default(),
    };
    EpochConfig { epoch: Epoch::new(0), members: (1..=orderers).map(member).collect(), channel, qualified: Vec::new() }
}

#[test]
fn the_age_of_a_tip_goes_by_the_orderers_of_the_epoch() {
    let timing = Timing::default();
    let at_most = |faults: u32| {
        let age = timing.heartbeat + timing.certification * (faults + 1);
        u64::try_from(age.as_millis()).unwrap()
    };
    assert_eq!(limits(&config(13)).staleness_ms, at_most(4));
    assert_eq!(limits(&config(16)).staleness_ms, at_most(5));
}

#[test]
fn who_leaves_with_the_epoch_releases_no_more_in_it() {
    let (four, five) = (config(4), config(5));
    assert!(stays(id(5), &five, Some(&five)));
    assert!(!stays(id(5), &five, Some(&four)), "its mark might come too late");
    assert!(!stays(id(5), &four, Some(&five)), "nobody takes its word yet");
    assert!(!stays(id(5), &five, None));
}
