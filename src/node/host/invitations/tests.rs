//! A channel of four organisations that lets a fifth one in with epoch 3, and what else is said to be one.

use super::*;
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_cryptography::{Signer as _, ed25519};
use dmdl_types::{
    block::Header,
    certificate::vote_namespace,
    charter::Charter,
    genesis::{ChannelConfig, Member, NodeRoles, Person, Role},
    governance::{Change, apply},
    id::{BlockDigest, ChannelName, DisplayName, Height, OrgId, UnixMillis, View},
    lineage::FinalHeader,
    mdca::MdcaConfig,
    secret::Secret32,
    sign::SigningKey,
};

/// The organisation that comes, and the epoch that it comes with.
const COMES: u8 = 5;
const WITH: u64 = 3;

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([n; 32]))
}

fn node(n: u8) -> NodeId {
    NodeId::of_key(key(n).public())
}

fn org(n: u8) -> OrgId {
    OrgId::new(format!("org-{n}")).unwrap()
}

fn member(n: u8) -> Member {
    Member { node: node(n), cosigning_key: key(100 + n).public(), org: org(n), roles: NodeRoles::ALL }
}

fn channel(name: &str) -> ChannelConfig {
    ChannelConfig {
        name: ChannelName::new(name).unwrap(),
        epoch_blocks: 10,
        endorsements: 2,
        custody_threshold: 2,
        policy_engine: 1,
        mdca: MdcaConfig::default(),
    }
}

/// Five organisations with a node and an admin each, whose keys are theirs plus 200.
fn genesis() -> Genesis {
    let admin = |n| Person {
        key: key(200 + n).public(),
        org: org(n),
        name: DisplayName::new("admin").unwrap(),
        role: Role::Admin,
    };
    let mut members: Vec<Member> = (1..=5).map(member).collect();
    members.sort();
    let mut people: Vec<Person> = (1..=5).map(admin).collect();
    people.sort_by_key(|person| person.key);
    let time = UnixMillis::new(1);
    Genesis { version: 1, seed: [7; 32], time, single_org_demo: false, members, people, channel: channel("main") }
}

/// The charter of a channel of the first four, approved by the admins of the first so many.
fn charter(seed: u8, approved: u8) -> SignedCharter {
    let genesis = genesis();
    let mut charter = SignedCharter::new(Charter {
        version: 1,
        network: genesis.id(),
        seed: [seed; 32],
        time: UnixMillis::new(2),
        members: genesis.members.into_iter().filter(|member| member.org != org(COMES)).collect(),
        people: Vec::new(),
        channel: channel("trial"),
    });
    (1..=approved).for_each(|n| charter.approve(&key(200 + n)));
    charter
}

fn founding() -> Founding {
    charter(1, 4).verify(&genesis()).unwrap()
}

/// The step from a configuration to the next, with the votes of these organisations' nodes.
fn step(before: &EpochConfig, config: &EpochConfig, by: &[u8]) -> EpochStep {
    let domain = founding().domain;
    let header = Header {
        domain,
        height: Height::new(config.epoch.get() * 10 - 1),
        epoch: before.epoch,
        view: View::new(9),
        primary: before.orderers()[0],
        parent_view: View::new(8),
        parent: BlockDigest::new([7; 32]),
        parent_signers: Vec::new(),
        time: UnixMillis::new(3),
        config: before.digest(),
        next_config: config.digest(),
        body: [0; 32],
        checkpoint: None,
    };
    // What the engine writes: numbers below 128 are one byte.
    let small = |number: u64| u8::try_from(number).unwrap();
    let numbers = [small(before.epoch.get()), 9, 8];
    let proposal = [&numbers[..], header.digest().as_bytes()].concat();
    let orderers = before.orderers();
    let mut votes: Vec<(usize, u8)> =
        by.iter().map(|n| (orderers.iter().position(|orderer| *orderer == node(*n)).unwrap(), *n)).collect();
    votes.sort_unstable();
    let mut certificate = [&proposal[..], &(orderers.len() as u64).to_be_bytes()].concat();
    certificate.push(votes.iter().fold(0, |bits, (position, _)| bits | 1 << position));
    certificate.push(small(votes.len() as u64));
    let namespace = [&vote_namespace(&domain)[..], b"_FINALIZE"].concat();
    for (_, n) in votes {
        let key = ed25519::PrivateKey::decode(Copying(&[n; 32])).unwrap();
        certificate.extend(key.sign(&namespace, &proposal).encode());
    }
    EpochStep { announced: FinalHeader { header, links: Vec::new(), certificate }, config: config.clone() }
}

/// The steps to the epochs from 2 to this one, with the votes of these.
fn steps(last: u64, by: &[u8]) -> Vec<EpochStep> {
    let mut before = founding().epoch_config(Epoch::new(1));
    let mut steps = Vec::new();
    for epoch in 2..=last {
        let mut config = before.clone();
        if epoch == WITH {
            let change = Change::AddNode { member: member(COMES), address: "five.example:7401".to_owned() };
            config = apply(&before, &[change], false).unwrap();
        }
        config.epoch = Epoch::new(epoch);
        config.qualified = config.orderers();
        steps.push(step(&before, &config, by));
        before = config;
    }
    steps
}

/// Founders who are a quorum of four.
const QUORUM: [u8; 3] = [1, 2, 3];

/// The fifth node, which the first one has told of the channel.
fn invited() -> Invitations {
    let mut invitations = Invitations::new(node(COMES));
    assert_eq!(asked_from(invitations.hear(node(1), charter(1, 4), &genesis()).unwrap()), Some(2));
    invitations
}

/// The epoch from which on steps are asked for.
fn asked_from(question: Option<Message>) -> Option<u64> {
    match question? {
        Message::StepsFrom(channel, epoch) if channel == founding().domain.channel => Some(epoch.get()),
        other => panic!("{other:?}"),
    }
}

fn show(invitations: &mut Invitations, from: u8, steps: &[EpochStep]) -> Result<Progress, LineageError> {
    invitations.follow(node(from), founding().domain.channel, steps)
}

#[test]
fn a_node_that_a_verified_configuration_names_is_let_in_and_asks_all_of_its_members() {
    let mut invitations = invited();
    let Ok(Progress::LetIn(admission)) = show(&mut invitations, 1, &steps(3, &QUORUM)) else { panic!("it is named") };
    let (shown, founds, mut others) = admission.into_parts();
    assert_eq!((shown, founds), (charter(1, 4), founding()));
    let mut founders: Vec<NodeId> = (1..=4).map(node).collect();
    founders.sort();
    others.sort();
    assert_eq!(others, founders, "and not itself");
    assert!(invitations.open.is_empty());
}

#[test]
fn steps_may_come_in_pieces_and_from_several_founders() {
    let mut invitations = invited();
    let Ok(Progress::More(question)) = show(&mut invitations, 1, &steps(2, &QUORUM)) else { panic!("one step more") };
    assert_eq!(asked_from(Some(question)), Some(3));
    // That is all so far.
    assert!(matches!(show(&mut invitations, 1, &[]), Ok(Progress::Waits)));
    assert_eq!(asked_from(invitations.hear(node(4), charter(1, 4), &genesis()).unwrap()), Some(3));
    assert!(matches!(show(&mut invitations, 4, &steps(3, &QUORUM)), Ok(Progress::LetIn(_))));
}

#[test]
fn a_node_that_no_configuration_names_waits_for_ever() {
    let mut invitations = Invitations::new(node(9));
    invitations.hear(node(1), charter(1, 4), &genesis()).unwrap();
    assert!(matches!(show(&mut invitations, 1, &steps(5, &[1, 2, 3, 4])), Ok(Progress::More(_))));
    assert!(matches!(show(&mut invitations, 1, &[]), Ok(Progress::Waits)));
    assert_eq!(invitations.open.len(), 1);
}

#[test]
fn forged_steps_let_nobody_in_and_who_shows_them_is_not_asked_again() {
    let good = steps(3, &QUORUM);
    let unsigned = steps(3, &[1, 2]);
    let mut named = good.clone();
    named[0].config.members = good[1].config.members.clone();
    let skipped = good[1..].to_vec();
    for forged in [unsigned, named, skipped] {
        let mut invitations = invited();
        show(&mut invitations, 1, &forged).unwrap_err();
        assert!(invitations.hear(node(1), charter(1, 4), &genesis()).unwrap().is_none());
        // Another founder tells the truth.
        assert_eq!(asked_from(invitations.hear(node(2), charter(1, 4), &genesis()).unwrap()), Some(2));
        assert!(matches!(show(&mut invitations, 2, &good), Ok(Progress::LetIn(_))));
    }
}

#[test]
fn what_nobody_was_asked_for_is_dropped() {
    let mut invitations = invited();
    assert!(matches!(show(&mut invitations, 2, &steps(3, &QUORUM)), Ok(Progress::Waits)));
    let other = ChannelId::new([9; 32]);
    assert!(matches!(invitations.follow(node(1), other, &steps(3, &QUORUM)), Ok(Progress::Waits)));
    assert_eq!(invitations.open.len(), 1);
}

#[test]
fn a_charter_that_founds_nothing_is_no_invitation() {
    let mut invitations = Invitations::new(node(COMES));
    let mut foreign = charter(1, 0);
    foreign.charter.network = dmdl_types::id::NetworkId::new([1; 32]);
    (1..=4).for_each(|n| foreign.approve(&key(200 + n)));
    for bad in [charter(1, 3), foreign] {
        let error = invitations.hear(node(1), bad, &genesis()).unwrap_err();
        assert!(matches!(error, FoundError::Charter(_)), "{error}");
    }
    assert!(invitations.open.is_empty());
}

#[test]
fn no_more_invitations_are_kept_than_there_may_be_channels() {
    let mut invitations = Invitations::new(node(COMES));
    for seed in 0..CHANNELS_MAX {
        invitations.hear(node(1), charter(u8::try_from(seed).unwrap(), 4), &genesis()).unwrap();
    }
    let error = invitations.hear(node(1), charter(200, 4), &genesis()).unwrap_err();
    assert!(matches!(error, FoundError::TooMany), "{error}");
    // Those that are there go on.
    assert!(invitations.hear(node(2), charter(1, 4), &genesis()).unwrap().is_some());
}
