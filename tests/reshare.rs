//! Keys that custodians hand on, in a network of real nodes, while records are opened.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "reshare/rotation.rs"]
mod rotation;

use common::{
    NODES, PATIENCE, Person, TestNetwork, allowed, code, granted, plaintext, register_among_all, research_policy,
};
use dmdl::{client::OpenError, node::Final};
use dmdl_types::{
    event::{Action, Verdict},
    id::{RecordId, RecordVersion, ShareEpoch},
    invocation::{Access, Authority, Invocation, Reshare},
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

const V1: RecordVersion = RecordVersion::new(1);

/// Has a record handed on to the custodians at these positions.
async fn hand_on(network: &TestNetwork, owner: &Person, record: RecordId, to: &[usize]) -> Final {
    let custodians = to.iter().map(|position| network.node_id(*position)).collect();
    let plan = Reshare { record, version: V1, custodians, threshold: 2, min_acks: 3 };
    let done = owner.call(Invocation::Access(Access::Reshare(Box::new(plan)))).await.unwrap();
    assert_eq!(done.event.outcome.verdict, Verdict::Applied, "{:?}", done.event.outcome);
    done
}

/// Waits until a gateway proves that a share epoch of a record has begun.
async fn begun(person: &Person, record: RecordId, epoch: u32) {
    let since = Instant::now();
    loop {
        let custody = person.custody(record, V1, Duration::ZERO).await.unwrap().expect("it is registered");
        if custody.kept().epoch >= ShareEpoch::new(epoch) {
            assert!(custody.is_active(), "enough of the new custodians acknowledged");
            return;
        }
        assert!(since.elapsed() < PATIENCE, "the epoch does not begin");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Has its owner open a record again and again until it is told to stop, and says how often.
async fn keep_opening(owner: &Person, record: RecordId, bytes: &[u8], over: &AtomicBool) -> u32 {
    let mut opened = 0;
    while !over.load(Ordering::Relaxed) {
        let opening = owner.decrypt(record, V1, Authority::Owner).await.unwrap();
        let mut out = Vec::new();
        owner.open(&opening, &mut out).await.unwrap_or_else(|error| panic!("opening {opened}: {error}"));
        assert_eq!(out, bytes);
        opened += 1;
    }
    opened
}

#[test]
fn custodians_are_replaced_one_by_one_while_a_record_is_opened_all_the_time() {
    let network = TestNetwork::start();
    network.run(async {
        let owner = network.at(0, &network.owner);
        let registered = register_among_all(&network, &owner, b"handed on", Some(research_policy())).await;
        let record = registered.record;
        let over = AtomicBool::new(false);
        let rotate = async {
            // Each of the four leaves once, and comes back with the next.
            for (epoch, to) in (1..).zip([[1, 2, 3], [2, 3, 0], [3, 0, 1], [0, 1, 2]]) {
                hand_on(&network, &owner, record, &to).await;
                begun(&owner, record, epoch).await;
            }
            over.store(true, Ordering::Relaxed);
        };
        let (opened, ()) = futures::join!(keep_opening(&owner, record, b"handed on", &over), rotate);
        assert!(opened > 0, "the record was opened meanwhile");
        network.all_catch_up(0).await;
        // Who left last keeps nothing of it, and who stays keeps the shares of one epoch.
        network.eventually("old shares are gone", |network| {
            (0..NODES).map(|node| network.shares(node, record).len()).eq([1, 1, 1, 0])
        });
        // Each says so of each epoch that has ended: four, three and three of them.
        network.eventually("everybody says that old shares are gone", |network| {
            network
                .events(0, record, Action::Destroy)
                .iter()
                .filter(|event| event.outcome.verdict == Verdict::Applied)
                .count()
                == 4 + 3 * 3
        });
    });
    network.assert_same_ledgers();
}

#[test]
fn a_reshare_goes_on_without_a_custodian_that_is_gone_and_serves_who_asked_before_it() {
    let mut network = TestNetwork::start();
    let (record, before) = network.run(async {
        let owner = network.at(0, &network.owner);
        let registered = register_among_all(&network, &owner, b"three of four", Some(research_policy())).await;
        hand_on(&network, &owner, registered.record, &[0, 1, 2]).await;
        begun(&owner, registered.record, 1).await;
        let researcher = network.at(2, &network.researcher);
        let grant = granted(&researcher, registered.record, 3).await;
        // It lists keys for the custodians of this epoch, and is opened in the next one.
        (registered.record, allowed(&researcher, &registered, Authority::Grant(grant)).await)
    });
    network.nodes.stop(0);
    network.run(async {
        let owner = network.at(1, &network.owner);
        hand_on(&network, &owner, record, &[1, 2, 3]).await;
        begun(&owner, record, 2).await;
        let researcher = network.at(2, &network.researcher);
        assert_eq!(plaintext(&researcher, &before).await.unwrap(), b"three of four");
    });
    // The one that was gone finds out what has become of its share.
    network.nodes.start(0).unwrap();
    network.wait_caught_up(0, 1);
    network.eventually("its share is gone", |network| network.shares(0, record).is_empty());
    network.assert_same_ledgers();
}

#[test]
fn nobody_but_who_decides_about_a_record_has_it_handed_on() {
    let network = TestNetwork::shared();
    network.run(async {
        let owner = network.at(0, &network.owner);
        let registered = register_among_all(&network, &owner, b"not theirs", Some(research_policy())).await;
        let custodians = [1, 2, 3].map(|position| network.node_id(position)).to_vec();
        let plan = Reshare { record: registered.record, version: V1, custodians, threshold: 2, min_acks: 3 };
        for person in [network.at(2, &network.researcher), network.at(1, &network.neighbour)] {
            let refused = person.call(Invocation::Access(Access::Reshare(Box::new(plan.clone())))).await;
            assert_eq!(code(&refused.expect_err("no endorser takes part")), "role");
        }
        let committee = network.at(0, &network.committee);
        hand_on(&network, &committee, registered.record, &[1, 2, 3]).await;
        begun(&owner, registered.record, 1).await;
        let opening = owner.decrypt(registered.record, V1, Authority::Owner).await.unwrap();
        let mut out = Vec::new();
        let opened: Result<_, OpenError> = owner.open(&opening, &mut out).await;
        assert_eq!((opened.unwrap().plaintext_len_bytes, &out[..]), (10, &b"not theirs"[..]));
    });
}
