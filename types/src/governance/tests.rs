//! What becomes of a configuration by changes, and which cannot be made.

use super::*;
use crate::{
    genesis::tests::genesis,
    id::{DisplayName, Epoch},
    secret::Secret32,
    sign::SigningKey,
};

fn key(n: u8) -> PublicKey {
    SigningKey::from_seed(Secret32::new([n; 32])).public()
}

fn node(n: u8) -> NodeId {
    NodeId::of_key(key(n))
}

fn org(n: u8) -> OrgId {
    OrgId::new(format!("org-{n}")).unwrap()
}

fn config() -> EpochConfig {
    genesis().epoch_config(Epoch::new(0))
}

fn member(n: u8, roles: NodeRoles) -> Member {
    Member { node: node(n), cosigning_key: key(100 + n), org: org(n), roles }
}

fn add(member: Member) -> Change {
    Change::AddNode { member, address: "hospital.example:7401".to_owned() }
}

fn admin(n: u8, at: u8) -> Change {
    let name = DisplayName::new("admin").unwrap();
    Change::AddPerson { person: Person { key: key(n), org: org(at), name, role: Role::Admin } }
}

fn changed(changes: &[Change]) -> Result<EpochConfig, ChangeError> {
    apply(&config(), changes, false)
}

#[test]
fn a_hospital_joins_with_its_node_and_its_first_admin() {
    let next = changed(&[add(member(5, NodeRoles::ALL)), admin(200, 5)]).unwrap();
    assert_eq!(next.members.len(), 5);
    assert!(next.members.is_sorted_by(|a, b| a.node < b.node));
    assert_eq!(next.member(node(5)).unwrap().roles, NodeRoles::ALL);
    assert_eq!(next.channel, config().channel);
}

#[test]
fn a_nodes_key_is_rotated_by_replacing_it() {
    let fresh = Member { node: node(50), cosigning_key: key(150), ..member(1, NodeRoles::ALL) };
    let next = changed(&[Change::RemoveNode { node: node(1) }, add(fresh)]).unwrap();
    assert!(next.member(node(1)).is_none());
    assert_eq!(next.member(node(50)).unwrap().org, org(1));
}

#[test]
fn a_hospital_leaves_once_another_one_takes_its_place() {
    let leave = Change::RemoveOrg { org: org(4) };
    assert!(matches!(changed(std::slice::from_ref(&leave)), Err(ChangeError::Rules(_))), "three are too few");
    let next = changed(&[add(member(5, NodeRoles::ALL)), leave]).unwrap();
    assert!(next.members.iter().all(|member| member.org != org(4)));
}

#[test]
fn that_blocks_may_go_changes_nobodys_part_and_is_one_byte() {
    assert_eq!(changed(&[Change::PruneBlocks]).unwrap(), config());
    assert_eq!(crate::codec::encode(&Change::PruneBlocks), [6]);
}

#[test]
fn what_cannot_be_changed_is_refused_with_its_reason() {
    let rules = |change: fn(&mut ChannelConfig)| {
        let mut rules = config().channel;
        change(&mut rules);
        vec![Change::SetRules { rules }]
    };
    let addressed =
        |address: &str| vec![Change::AddNode { member: member(5, NodeRoles::ALL), address: address.to_owned() }];
    let name = DisplayName::new("owner").unwrap();
    let owner = Change::AddPerson { person: Person { key: key(200), org: org(1), name, role: Role::Owner } };
    let custodian = NodeRoles { committer: false, ..NodeRoles::ALL };
    let weak = Member { node: NodeId::new([0; 32]), ..member(5, NodeRoles::ALL) };
    let cases = [
        (vec![], ChangeError::Number),
        (vec![Change::RemoveOrg { org: org(9) }; CHANGES_MAX + 1], ChangeError::Number),
        (vec![add(member(1, NodeRoles::ALL))], ChangeError::Member(node(1))),
        (vec![Change::RemoveNode { node: node(9) }], ChangeError::NotMember(node(9))),
        (vec![Change::SetRoles { node: node(9), roles: NodeRoles::ALL }], ChangeError::NotMember(node(9))),
        (vec![Change::RemoveOrg { org: org(9) }], ChangeError::NoSuchOrg(org(9))),
        (vec![admin(200, 9)], ChangeError::NoSuchOrg(org(9))),
        (vec![owner], ChangeError::NotAdmin(key(200))),
        (vec![add(Member { cosigning_key: key(101), ..member(5, NodeRoles::ALL) })], ChangeError::KeyReuse(key(101))),
        (
            vec![add(weak.clone())],
            ChangeError::Key { key: weak.node.key(), source: weak.node.key().check().unwrap_err() },
        ),
        (rules(|rules| rules.name = "other".parse().unwrap()), ChangeError::Fixed("name")),
        (rules(|rules| rules.epoch_blocks += 1), ChangeError::Fixed("epoch_blocks")),
        (rules(|rules| rules.policy_engine += 1), ChangeError::Fixed("policy_engine")),
        (rules(|rules| rules.endorsements = 1), GenesisError::OutOfRange("endorsements").into()),
        (rules(|rules| rules.mdca.decay = -1), GenesisError::OutOfRange("mdca").into()),
        (
            vec![Change::SetRoles { node: node(1), roles: custodian }],
            GenesisError::CustodianWithoutCommitter(node(1)).into(),
        ),
        (vec![Change::RemoveNode { node: node(1) }], GenesisError::TooFewOrderers(3).into()),
        (addressed("hospital"), ChangeError::Address("hospital".to_owned())),
        (addressed("hospital:0"), ChangeError::Address("hospital:0".to_owned())),
        (addressed("hospital:070"), ChangeError::Address("hospital:070".to_owned())),
        (addressed("a b:1"), ChangeError::Address("a b:1".to_owned())),
        (addressed(":1"), ChangeError::Address(":1".to_owned())),
    ];
    for (changes, error) in cases {
        assert_eq!(changed(&changes), Err(error), "{changes:?}");
    }
}

#[test]
fn the_example_of_the_page_is_a_proposal() {
    let page = include_str!("../../../docs/spec/governance.md");
    let roles = NodeRoles { committer: true, ..NodeRoles::default() };
    let changes = vec![Change::SetRoles { node: NodeId::new([5; 32]), roles }];
    let call = crate::invocation::Invocation::Governance(Governance::Propose { changes });
    let example: String = page
        .split("## Calls")
        .next()
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("    "))
        .flat_map(|line| {
            line.split_whitespace()
                .take_while(|part| part.len() % 2 == 0 && part.bytes().all(|b| b.is_ascii_hexdigit()))
        })
        .collect();
    assert_eq!(hex::encode(crate::codec::encode(&call)), example);
}

#[test]
fn nobody_comes_to_hold_what_the_placement_rule_forbids() {
    let second = Member { org: org(1), ..member(5, NodeRoles::ALL) };
    let error = changed(&[add(second.clone())]).unwrap_err();
    assert!(matches!(error, ChangeError::Rules(GenesisError::Placement { .. })), "{error:?}");
    assert!(apply(&config(), &[add(second)], true).is_ok(), "unless the genesis says so");
}
