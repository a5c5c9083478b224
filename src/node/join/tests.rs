//! Whom a node asks that joins, and when it stops.

use super::*;
use commonware_runtime::{Runner as _, Spawner as _, Supervisor as _, deterministic};
use dmdl_audit_ledger::store::MemoryStore;
use dmdl_types::{
    block::Block,
    genesis::{ChannelConfig, Member, NodeRoles},
    id::{ChannelId, ChannelName, NetworkId, OrgId, UnixMillis},
    lineage::FinalHeader,
    mdca::MdcaConfig,
    sign::{Domain, PublicKey},
};
use std::time::Duration;
use tokio::sync::mpsc;

/// What another member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Silent,
    HasNone,
    /// Offers what is no snapshot.
    Cheats,
}

fn node(position: u8) -> NodeId {
    NodeId::new([position; 32])
}

fn founding() -> Founding {
    let member = |position| Member {
        node: node(position),
        cosigning_key: PublicKey::new([position; 32]),
        org: OrgId::new(format!("org-{position}")).unwrap(),
        roles: NodeRoles::ALL,
    };
    Founding {
        version: 1,
        domain: Domain { network: NetworkId::new([1; 32]), channel: ChannelId::new([2; 32]) },
        time: UnixMillis::new(1),
        single_org_demo: false,
        members: (0..4).map(member).collect(),
        people: Vec::new(),
        channel: ChannelConfig {
            name: ChannelName::new("main").unwrap(),
            epoch_blocks: 4,
            endorsements: 2,
            custody_threshold: 2,
            policy_engine: 1,
            mdca: MdcaConfig::default(),
        },
    }
}

/// The answer of a member to the question for its newest snapshot.
fn says(manner: Manner) -> Option<Part> {
    let header = Block::genesis(&founding()).header;
    let anchor = FinalHeader { header: header.clone(), links: Vec::new(), certificate: Vec::new() };
    match manner {
        Manner::Silent => None,
        Manner::HasNone => Some(Part::Newest(None)),
        Manner::Cheats => Some(Part::Newest(Some(Box::new(Offer { header, certificate: Vec::new(), anchor })))),
    }
}

/// How many snapshots a node tries among three others, how long it takes, and whether all agree that there is none; it never
/// joins here.
fn tries(manners: [Manner; 3]) -> (usize, Duration, bool) {
    deterministic::Runner::default().start(|context| async move {
        let (outgoing, mut asked) = mpsc::channel::<(Vec<NodeId>, Vec<u8>)>(64);
        let (answers, incoming) = mpsc::channel(64);
        context.child("members").spawn(move |_| async move {
            while let Some((nodes, bytes)) = asked.recv().await {
                let Ok(Message::Ask(number, ask)) = Message::decode(&bytes) else { panic!("a question") };
                assert_eq!(*ask, Ask::Snapshot(Question::Newest));
                for (other, manner) in (1..).map(node).zip(manners) {
                    if let Some(part) = says(manner).filter(|_| nodes.contains(&other)) {
                        let answer = Message::Answer(number, Box::new(Answer::Snapshot(Box::new(part))));
                        // Who has heard enough does not listen any more.
                        let _ = answers.send((other, vec![answer.encode()])).await;
                    }
                }
            }
        });
        let mut tried = 0;
        let empty = || {
            tried += 1;
            Ok(MemoryStore::new())
        };
        let begun = context.current();
        let mut requests = Post { outgoing, incoming };
        let mut own = context.child("join");
        let others = [1, 2, 3].map(node);
        let joined = join(&mut own, &founding(), &others, &mut requests, empty).await.unwrap();
        let nobody_has = match joined {
            Joined::By(_) => panic!("nobody has one"),
            Joined::FromTheFirstBlock => true,
            Joined::Unanswered => false,
        };
        (tried, context.current().duration_since(begun).unwrap(), nobody_has)
    })
}

#[test]
fn who_hears_of_enough_others_that_they_have_none_does_not_wait_for_the_rest() {
    let (tried, took, nobody_has) = tries([Manner::HasNone, Manner::Silent, Manner::HasNone]);
    assert_eq!((tried, nobody_has), (0, true));
    assert!(took < AGAIN_AFTER, "{took:?}");
}

#[test]
fn who_hears_of_too_few_waits_for_more_and_not_for_ever() {
    for manners in [[Manner::Silent; 3], [Manner::HasNone, Manner::Silent, Manner::Silent]] {
        let (tried, took, nobody_has) = tries(manners);
        assert_eq!((tried, nobody_has), (0, false), "{manners:?}: somebody else may have one");
        assert!(took >= OFFERS_PATIENCE, "{manners:?}: {took:?}");
    }
}

#[test]
fn what_does_not_verify_is_refused_and_the_next_one_tried() {
    for (manners, expected) in
        [([Manner::Cheats, Manner::Cheats, Manner::Silent], 2), ([Manner::Cheats, Manner::HasNone, Manner::Silent], 1)]
    {
        let (tried, _, nobody_has) = tries(manners);
        assert_eq!((tried, nobody_has), (expected, false), "{manners:?}: who cheats says nothing of the others");
    }
}
