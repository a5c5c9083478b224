use super::*;
use crate::{secret::Secret32, sign::SigningKey};

fn key(n: u8) -> PublicKey {
    SigningKey::from_seed(Secret32::new([n; 32])).public()
}

pub(crate) fn genesis() -> Genesis {
    let mut members: Vec<Member> = (1..=4)
        .map(|n| Member {
            node: NodeId::of_key(key(n)),
            cosigning_key: key(100 + n),
            org: OrgId::new(format!("org-{n}")).unwrap(),
            roles: NodeRoles::ALL,
        })
        .collect();
    members.sort();
    Genesis {
        version: 1,
        seed: [7; 32],
        time: UnixMillis::new(1),
        single_org_demo: false,
        members,
        people: vec![],
        channel: ChannelConfig {
            name: ChannelName::new("main").unwrap(),
            epoch_blocks: 1000,
            endorsements: 2,
            custody_threshold: 2,
            policy_engine: 1,
            mdca: MdcaConfig::default(),
        },
    }
}

#[test]
fn four_organisations_pass() {
    assert_eq!(genesis().check(), Ok(()));
}

#[test]
fn one_organisation_cannot_hold_a_threshold_of_custodians() {
    let mut g = genesis();
    g.members[1].org = g.members[0].org.clone();
    assert!(matches!(g.check(), Err(GenesisError::Placement { count: 2, .. })));
    g.single_org_demo = true;
    assert_eq!(g.check(), Ok(()));
}

#[test]
fn a_key_has_one_use() {
    let mut g = genesis();
    g.members[0].cosigning_key = g.members[1].node.key();
    assert!(matches!(g.check(), Err(GenesisError::KeyReuse(_))));
}

#[test]
fn a_threshold_that_too_few_custodians_could_acknowledge_is_refused() {
    let mut g = genesis();
    for (k, ok) in [(1, false), (2, true), (3, false)] {
        g.channel.custody_threshold = k;
        assert_eq!(g.check().is_ok(), ok, "k = {k}");
    }
}

#[test]
fn a_network_is_named_by_every_byte_of_its_document() {
    let mut other = genesis();
    other.seed[31] ^= 1;
    assert_ne!(other.id(), genesis().id());
    assert_ne!(other.channel_id(), genesis().channel_id());
}

#[test]
fn quorums_intersect_in_an_honest_node() {
    for n in 4..100 {
        assert!(2 * quorum(n) - n > faults(n), "n = {n}");
    }
}

#[test]
fn the_example_of_the_pages_is_this_genesis() {
    let page = include_str!("../../../docs/spec/genesis.md");
    let example = genesis();
    let told = [
        format!("network  {}", example.id()),
        format!("channel  {}", example.channel_id()),
        format!("epoch 0  {}", example.epoch_config(Epoch::new(0)).digest()),
        format!("epoch 1  {}", example.epoch_config(Epoch::new(1)).digest()),
    ];
    for line in told {
        assert!(page.contains(&line), "{line}");
    }
    assert!(page.contains(&format!("{} bytes:", crate::codec::encode(&example).len())));
    let digest = format!("digest  {}", crate::block::Block::genesis(&example.founding()).digest());
    assert!(include_str!("../../../docs/spec/block.md").contains(&digest), "{digest}");
}
