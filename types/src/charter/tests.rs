use super::*;
use crate::{genesis::NodeRoles, id::DisplayName, mdca::MdcaConfig, secret::Secret32};

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([n; 32]))
}

fn org(n: u8) -> OrgId {
    OrgId::new(format!("org-{n}")).unwrap()
}

fn person(n: u8, of: u8, role: Role) -> Person {
    Person { key: key(n).public(), org: org(of), name: DisplayName::new("somebody").unwrap(), role }
}

fn channel(name: &str) -> ChannelConfig {
    ChannelConfig {
        name: ChannelName::new(name).unwrap(),
        epoch_blocks: 1000,
        endorsements: 2,
        custody_threshold: 2,
        policy_engine: 1,
        mdca: MdcaConfig::default(),
    }
}

/// Five organisations with a node and an admin each, whose keys are theirs plus 200; the owner of the first is 210.
fn genesis() -> Genesis {
    let mut members: Vec<Member> = (1..=5)
        .map(|n| Member {
            node: NodeId::of_key(key(n).public()),
            cosigning_key: key(100 + n).public(),
            org: org(n),
            roles: NodeRoles::ALL,
        })
        .collect();
    members.sort();
    let mut people: Vec<Person> = (1..=5).map(|n| person(200 + n, n, Role::Admin)).collect();
    people.push(person(210, 1, Role::Owner));
    people.sort_by_key(|person| person.key);
    Genesis {
        version: 1,
        seed: [7; 32],
        time: UnixMillis::new(1),
        single_org_demo: false,
        members,
        people,
        channel: channel("main"),
    }
}

/// A channel of the first four organisations.
fn charter() -> Charter {
    let genesis = genesis();
    let takes_part = |member: &Member| member.org != org(5);
    Charter {
        version: 1,
        network: genesis.id(),
        seed: [8; 32],
        time: UnixMillis::new(2),
        members: genesis.members.iter().filter(|member| takes_part(member)).cloned().collect(),
        people: vec![person(220, 1, Role::Owner)],
        channel: channel("trial"),
    }
}

fn approved_by(charter: Charter, admins: &[u8]) -> SignedCharter {
    let mut signed = SignedCharter::new(charter);
    admins.iter().for_each(|admin| signed.approve(&key(*admin)));
    signed
}

const ALL: [u8; 4] = [201, 202, 203, 204];

#[test]
fn a_charter_that_every_organisation_approved_founds_its_channel() {
    let founding = approved_by(charter(), &ALL).verify(&genesis()).unwrap();
    assert_eq!(founding.domain, Domain { network: genesis().id(), channel: charter().id() });
    assert_eq!((founding.members, founding.people), (charter().members, charter().people));
}

#[test]
fn a_charter_is_named_by_every_byte_of_it() {
    let other = Charter { seed: [9; 32], ..charter() };
    assert_ne!(other.id(), charter().id());
    assert_ne!(charter().id(), genesis().channel_id());
}

#[test]
fn who_has_not_approved_is_told() {
    let (_, missing) = approved_by(charter(), &[201, 203]).missing(&genesis()).unwrap();
    assert_eq!(missing, [org(2), org(4)]);
    let incomplete = approved_by(charter(), &[201, 203]).verify(&genesis());
    assert_eq!(incomplete, Err(CharterError::Unapproved(org(2))));
}

#[test]
fn approving_twice_changes_nothing() {
    assert_eq!(approved_by(charter(), &[201, 201]), approved_by(charter(), &[201]));
}

#[test]
fn roles_may_differ_from_those_in_the_first_channel() {
    let mut charter = charter();
    charter.members[0].roles.custodian = false;
    assert!(approved_by(charter, &ALL).verify(&genesis()).is_ok());
}

#[test]
fn a_charter_that_breaks_a_rule_is_refused() {
    type Row = (&'static str, fn(&mut Charter), fn(&CharterError) -> bool);
    let rows: [Row; 8] = [
        ("version", |c| c.version = 2, |e| matches!(e, CharterError::Rule(GenesisError::Version(2)))),
        ("network", |c| c.network = NetworkId::new([1; 32]), |e| matches!(e, CharterError::OtherNetwork(_))),
        ("name", |c| c.channel.name = ChannelName::new("main").unwrap(), |e| matches!(e, CharterError::Name(_))),
        (
            "a stranger",
            |c| c.members[0].node = NodeId::of_key(key(50).public()),
            |e| matches!(e, CharterError::UnknownNode(_)),
        ),
        (
            "another cosigning key",
            |c| c.members[0].cosigning_key = key(50).public(),
            |e| matches!(e, CharterError::UnknownNode(_)),
        ),
        ("another organisation", |c| c.members[0].org = org(5), |e| matches!(e, CharterError::UnknownNode(_))),
        (
            "three orderers",
            |c| c.members[0].roles.orderer = false,
            |e| matches!(e, CharterError::Rule(GenesisError::TooFewOrderers(3))),
        ),
        ("unsorted", |c| c.members.reverse(), |e| matches!(e, CharterError::Rule(GenesisError::Unsorted("members")))),
    ];
    for (what, change, expected) in rows {
        let mut changed = charter();
        change(&mut changed);
        let error = approved_by(changed, &ALL).verify(&genesis()).unwrap_err();
        assert!(expected(&error), "{what}: {error}");
    }
}

#[test]
fn an_approval_that_does_not_count_is_refused() {
    type Row = (&'static str, fn(&mut SignedCharter), fn(&CharterError) -> bool);
    let rows: [Row; 6] = [
        ("an owner", |s| s.approve(&key(210)), |e| matches!(e, CharterError::NotAdmin(_))),
        ("an admin of another organisation", |s| s.approve(&key(205)), |e| matches!(e, CharterError::NotAdmin(_))),
        ("nobody of the network", |s| s.approve(&key(230)), |e| matches!(e, CharterError::NotAdmin(_))),
        (
            "another charter",
            |s| s.approvals = approved_by(Charter { seed: [9; 32], ..charter() }, &ALL).approvals,
            |e| matches!(e, CharterError::Signature(_)),
        ),
        ("unsorted", |s| s.approvals.reverse(), |e| matches!(e, CharterError::Unsorted)),
        ("twice", |s| s.approvals.insert(0, s.approvals[0].clone()), |e| matches!(e, CharterError::Unsorted)),
    ];
    for (what, change, expected) in rows {
        let mut changed = approved_by(charter(), &ALL);
        change(&mut changed);
        let error = changed.verify(&genesis()).unwrap_err();
        assert!(expected(&error), "{what}: {error}");
    }
}

#[test]
fn a_charter_survives_its_encoding() {
    let signed = approved_by(charter(), &ALL);
    let bytes = codec::encode(&signed);
    assert_eq!(codec::decode(&bytes, crate::limits::CHARTER_BYTES), Ok(signed));
}

#[test]
fn the_example_of_the_page_is_a_charter_of_the_genesis_of_its_page() {
    let page = include_str!("../../../docs/spec/charter.md");
    let genesis = crate::genesis::tests::genesis();
    let charter = Charter {
        version: 1,
        network: genesis.id(),
        seed: [3; 32],
        time: UnixMillis::new(1),
        members: genesis.members.clone(),
        people: Vec::new(),
        channel: ChannelConfig { name: ChannelName::new("trial").unwrap(), ..genesis.channel.clone() },
    };
    assert!(charter.check(&genesis).is_ok());
    for told in [format!("{} bytes:", codec::encode(&charter).len()), format!("channel  {}", charter.id())] {
        assert!(page.contains(&told), "{told}");
    }
}
