//! The main job on a whole network: records go in, and come out for those who may, and only for them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    TestNetwork, allowed, assert_no_release, code, denial, denied, done, granted, open, plaintext, random_bytes,
    register, register_among_all, register_open, research_policy, samples::samples, terms,
};
use dmdl::client::OpenError;
use dmdl_types::{
    access::{DuoCode, ReasonCode},
    custody::SealedBytes,
    event::{Action, Verdict},
    id::{RecordId, RecordVersion, UseNumber},
    invocation::Authority,
};
use futures::future::join_all;
use std::time::Instant;

/// Registers all at once, then has each opened by a researcher at another gateway.
fn all_open_byte_for_byte(records: &[(String, Vec<u8>)]) {
    let network = TestNetwork::shared();
    network.run(async {
        let owner = network.at(0, &network.owner);
        let researcher = network.at(2, &network.researcher);
        let registered = join_all(records.iter().map(|(_, bytes)| register_open(&owner, bytes))).await;
        let opened = join_all(registered.iter().map(|registered| async {
            let grant = granted(&researcher, registered.record, 1).await;
            open(&researcher, registered, Authority::Grant(grant)).await
        }));
        for ((name, bytes), opened) in records.iter().zip(opened.await) {
            assert!(opened == *bytes, "`{name}` opened to other bytes");
        }
    });
}

#[test]
fn medical_files_of_every_kind_open_byte_for_byte() {
    let samples = samples();
    if !samples.is_empty() {
        all_open_byte_for_byte(&samples);
    }
}

#[test]
fn payloads_around_the_edges_of_chunks_open_byte_for_byte() {
    let lengths = [0, 1, 16_383, 16_384, 16_385, 1 << 20];
    let records: Vec<_> = lengths.into_iter().map(|len| (format!("{len} bytes"), random_bytes(len))).collect();
    all_open_byte_for_byte(&records);
}

#[test]
fn a_purpose_outside_the_permission_is_denied_with_its_reason_on_every_ledger() {
    let network = TestNetwork::shared();
    let (record, asked) = network.run(async {
        let registered = register_open(&network.at(0, &network.owner), b"for biomedical research").await;
        let researcher = network.at(2, &network.researcher);
        let asked = researcher.request(registered.record, terms(DuoCode::Poa, 1), "ancestry study").await.unwrap();
        (registered.record, asked)
    });
    assert_eq!(denial(&asked.event.outcome), ReasonCode::PurposeNotPermitted);
    assert_eq!(asked.event.outcome.grant, None);
    assert_eq!(asked.event.policy, Some(research_policy().id()));
    network.eventually("all nodes execute the denial", |network| {
        (0..common::NODES).all(|position| network.events(position, record, Action::Request) == [asked.event.clone()])
    });
}

#[test]
fn without_a_policy_the_committee_decides() {
    let network = TestNetwork::shared();
    network.run(async {
        let registered = register(&network.at(0, &network.owner), b"by review only", None).await;
        let researcher = network.at(2, &network.researcher);
        let committee = network.at(0, &network.committee);
        let ask = || async {
            let asked = researcher.request(registered.record, terms(DuoCode::Hmb, 1), "study").await.unwrap();
            assert_eq!(asked.event.outcome.verdict, Verdict::Pending);
            assert_eq!(asked.event.outcome.grant, None, "who waits holds nothing");
            asked.transaction
        };

        let refused = ask().await;
        let own = researcher.review(refused, true).await.unwrap_err();
        assert_eq!(code(&own), "role", "nobody approves their own request");
        let denied = done(committee.review(refused, false).await.unwrap());
        assert_eq!(denied.event.outcome.grant, None);
        let late = committee.review(refused, true).await.unwrap_err();
        assert_eq!(code(&late), "already_decided", "a decision is not taken twice");

        let approved = done(committee.review(ask().await, true).await.unwrap());
        let grant = approved.event.outcome.grant.expect("an approval gives a grant");
        assert_eq!(open(&researcher, &registered, Authority::Grant(grant)).await, b"by review only");
    });
}

#[test]
fn a_revoked_grant_opens_nothing_not_even_what_was_ordered_before() {
    let network = TestNetwork::shared();
    network.run(async {
        let owner = network.at(0, &network.owner);
        let researcher = network.at(2, &network.researcher);
        let registered = register_among_all(&network, &owner, b"revoked", Some(research_policy())).await;
        let grant = granted(&researcher, registered.record, 5).await;
        let opening = allowed(&researcher, &registered, Authority::Grant(grant)).await;
        assert_eq!(plaintext(&researcher, &opening).await.unwrap(), b"revoked");

        let stranger = network.at(1, &network.neighbour);
        let not_theirs = stranger.revoke(grant).await.unwrap_err();
        assert_eq!(code(&not_theirs), "role", "only the owner's side revokes");
        let revoked = done(owner.revoke(grant).await.unwrap());
        let everywhere = |network: &TestNetwork| {
            (0..common::NODES).all(|position| network.tip(position).height >= revoked.event.height)
        };
        network.eventually("all nodes execute the revocation", everywhere);

        let authority = Authority::Grant(grant);
        assert_eq!(denied(&network, &researcher, &registered, authority).await, ReasonCode::GrantRevoked);
        match plaintext(&researcher, &opening).await {
            Err(OpenError::TooFewShares { got, missing, .. }) => {
                assert_eq!((got, missing.len()), (0, common::NODES));
            }
            other => panic!("no custodian releases under a revoked grant: {other:?}"),
        }
        assert_eq!(network.uses(2, grant), 1);
    });
}

#[test]
fn a_grant_of_two_uses_opens_twice_and_not_three_times() {
    let network = TestNetwork::shared();
    network.run(async {
        let registered = register_open(&network.at(0, &network.owner), b"twice").await;
        let researcher = network.at(2, &network.researcher);
        let grant = granted(&researcher, registered.record, 2).await;
        for number in [1, 2] {
            let opening = allowed(&researcher, &registered, Authority::Grant(grant)).await;
            assert_eq!(opening.done.event.outcome.use_number, Some(UseNumber::new(number)));
            assert_eq!(plaintext(&researcher, &opening).await.unwrap(), b"twice");
            assert_eq!(plaintext(&researcher, &opening).await.unwrap(), b"twice", "the same use opens again");
            assert_eq!(network.uses(2, grant), number);
        }
        let authority = Authority::Grant(grant);
        assert_eq!(denied(&network, &researcher, &registered, authority).await, ReasonCode::GrantUsedUp);
        assert_eq!(network.uses(2, grant), 2);
    });
}

#[test]
fn decryptions_ordered_at_the_same_time_take_no_more_uses_than_there_are() {
    let network = TestNetwork::shared();
    network.run(async {
        let registered = register_open(&network.at(0, &network.owner), b"three of eight").await;
        let researcher = network.at(2, &network.researcher);
        let grant = granted(&researcher, registered.record, 3).await;
        // Every gateway knows of the record and the grant.
        network.all_catch_up(2).await;
        let gateways: Vec<_> = (0..8).map(|n| network.at(n % common::NODES, &network.researcher)).collect();
        let decrypt =
            |person| common::Person::decrypt(person, registered.record, registered.version, Authority::Grant(grant));
        let (mut numbers, mut denials) = (Vec::new(), 0);
        for result in join_all(gateways.iter().map(decrypt)).await {
            match result {
                Ok(opening) => numbers.extend(opening.done.event.outcome.use_number),
                Err(OpenError::Denied(reason)) if reason.contains("grant_used_up") => denials += 1,
                Err(error) => panic!("{error}"),
            }
        }
        numbers.sort();
        assert_eq!(numbers, [1, 2, 3].map(UseNumber::new));
        assert_eq!(denials, 5);
        for position in 0..common::NODES {
            network.all_catch_up(position).await;
        }
        assert_eq!(network.uses(2, grant), 3);
    });
}

#[test]
fn an_owner_opens_their_own_record_without_a_grant_and_nobody_else_does() {
    let network = TestNetwork::shared();
    network.run(async {
        let owner = network.at(0, &network.owner);
        let registered = register(&owner, b"mine", None).await;
        let opening = allowed(&owner, &registered, Authority::Owner).await;
        assert_eq!(opening.done.event.outcome.grant, None);
        assert_eq!(plaintext(&owner, &opening).await.unwrap(), b"mine");

        for stranger in [&network.neighbour, &network.committee, &network.researcher] {
            let person = network.at(1, stranger);
            assert_eq!(denied(&network, &person, &registered, Authority::Owner).await, ReasonCode::Role);
        }
    });
}

#[test]
fn a_grant_serves_its_holder_and_its_record_only() {
    let network = TestNetwork::shared();
    network.run(async {
        let owner = network.at(0, &network.owner);
        let researcher = network.at(2, &network.researcher);
        let (first, second) = futures::join!(register_open(&owner, b"first"), register_open(&owner, b"second"));
        let grant = granted(&researcher, first.record, 5).await;
        let authority = Authority::Grant(grant);
        let colleague = network.at(2, &network.colleague);
        assert_eq!(denied(&network, &colleague, &first, authority).await, ReasonCode::GrantMismatch);
        assert_eq!(denied(&network, &researcher, &second, authority).await, ReasonCode::GrantMismatch);
        assert_eq!(network.uses(2, grant), 0);

        // Shares that leave are sealed to whoever ordered the decryption: others cannot use its id.
        let opening = allowed(&researcher, &first, authority).await;
        let bytes = colleague.gateway().release(network.node_id(0), opening.done.transaction).await.unwrap();
        assert_eq!(plaintext(&researcher, &opening).await.unwrap(), b"first");
        let again = colleague.gateway().release(network.node_id(0), opening.done.transaction).await.unwrap();
        assert_eq!(again, bytes, "asked again, a custodian answers with the same bytes");
    });
}

#[test]
fn a_transaction_that_decrypts_nothing_releases_nothing() {
    let network = TestNetwork::shared();
    network.run(async {
        let owner = network.at(0, &network.owner);
        let registered = register_open(&owner, b"not by this").await;
        let researcher = network.at(2, &network.researcher);
        let asked = done(researcher.request(registered.record, terms(DuoCode::Hmb, 1), "study").await.unwrap());
        assert_no_release(&network, asked.transaction).await;
        assert_no_release(&network, registered.done.transaction).await;
    });
}

#[test]
fn a_custodian_that_waits_for_a_registration_answers_others_meanwhile() {
    let network = TestNetwork::shared();
    network.run(async {
        let registered = register_open(&network.at(0, &network.owner), b"not held up").await;
        let researcher = network.at(2, &network.researcher);
        let grant = granted(&researcher, registered.record, 1).await;
        let opening = allowed(&researcher, &registered, Authority::Grant(grant)).await;
        network.all_catch_up(2).await;

        // A member hands out shares of records that nobody has registered.
        let member = network.node(3).node();
        // Of those that keep the record: on a busy machine one may have missed the dealing.
        let custodian = *registered.custodians.iter().find(|node| **node != member.id()).unwrap();
        let nonsense = (0..32).map(|number| {
            member.deliver(custodian, RecordId::new([number; 32]), RecordVersion::new(1), SealedBytes(vec![number]))
        });
        let nonsense = async { (join_all(nonsense).await, Instant::now()) };
        let released = async {
            researcher.gateway().release(custodian, opening.done.transaction).await.unwrap();
            Instant::now()
        };
        let ((refused, gave_up), released) = futures::join!(nonsense, released);
        assert!(refused.iter().all(Result::is_err), "a share of no record is not kept");
        assert!(released < gave_up, "the release waited for a registration");
    });
}
