//! What an auditor downloads from a real network: valid as it is, and refused with any byte changed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{PATIENCE, TestNetwork, granted, open, register_open};
use dmdl_types::{
    bundle::{self, Bundle, BundleError, Content},
    event::{Action, Event},
    genesis::{EpochConfig, Genesis},
    id::{Epoch, RecordId},
    index_proof::{HeadKey, bit},
    invocation::Authority,
    receipt::Receipt,
};

/// A record that was registered, requested and opened, and the bundle about it or about everything.
fn opened_record(network: &TestNetwork) -> RecordId {
    network.run(async {
        let registered = register_open(&network.at(0, &network.owner), b"audited").await;
        let researcher = network.at(2, &network.researcher);
        let grant = granted(&researcher, registered.record, 1).await;
        assert_eq!(open(&researcher, &registered, Authority::Grant(grant)).await, b"audited");
        registered.record
    })
}

fn export(network: &TestNetwork, filter: Option<HeadKey>) -> Bundle {
    // What the researcher has been told at another node may not have come to this one yet.
    let size = network.node(2).node().log_size();
    network.run(network.node(3).node().export(filter, size, PATIENCE)).unwrap()
}

fn assert_every_byte_counts(bytes: &[u8], masks: &[u8], accepts: impl Fn(&[u8]) -> bool) {
    assert!(accepts(bytes), "it is valid as it is");
    let mut changed = bytes.to_vec();
    for position in 0..bytes.len() {
        for mask in masks {
            changed[position] ^= mask;
            assert!(!accepts(&changed), "accepted with byte {position} of {} xor {mask:#04x}", bytes.len());
            changed[position] ^= mask;
        }
    }
    for len in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        assert!(!accepts(&bytes[..len]), "accepted when cut to {len} bytes");
    }
    changed.push(0);
    assert!(!accepts(&changed), "accepted with a byte more");
}

#[test]
fn a_bundle_of_a_record_covers_all_of_its_events_and_every_byte_counts() {
    let network = TestNetwork::shared();
    let record = opened_record(&network);
    let bundle = export(&network, Some(HeadKey::Record(record)));
    let genesis = network.nodes.genesis();
    let report = bundle::verify(&bundle.to_bytes(), &genesis.founding()).unwrap();
    assert_eq!(report.filter, Some(HeadKey::Record(record)));
    assert!(report.events.iter().all(|(_, event)| event.record == Some(record)));
    let actions: Vec<Action> = report.events.iter().map(|(_, event)| event.action).collect();
    for action in [Action::Register, Action::Acknowledge, Action::Request, Action::Decrypt] {
        assert!(actions.contains(&action), "{actions:?}");
    }
    assert_every_byte_counts(&bundle.to_bytes(), &[0x01, 0x80], |bytes| {
        bundle::verify(bytes, &genesis.founding()).is_ok()
    });
}

#[test]
fn every_byte_of_the_whole_trail_counts() {
    let network = TestNetwork::shared();
    opened_record(&network);
    let genesis = network.nodes.genesis();
    let bytes = export(&network, None).to_bytes();
    assert_every_byte_counts(&bytes, &[0x01], |bytes| bundle::verify(bytes, &genesis.founding()).is_ok());
}

/// Every way to leave an event out, to say one twice, and to swap two neighbours.
fn rearranged<T: Clone + PartialEq>(leaves: &[T]) -> Vec<Vec<T>> {
    let mut all = Vec::new();
    for at in 0..leaves.len() {
        let mut less = leaves.to_vec();
        less.remove(at);
        all.push(less);
        let mut more = leaves.to_vec();
        more.insert(at, leaves[at].clone());
        all.push(more);
        if at + 1 < leaves.len() && leaves[at] != leaves[at + 1] {
            let mut swapped = leaves.to_vec();
            swapped.swap(at, at + 1);
            all.push(swapped);
        }
    }
    all
}

fn refusal(bundle: &Bundle, genesis: &Genesis) -> BundleError {
    bundle::verify(&bundle.to_bytes(), &genesis.founding()).expect_err("the bundle proves nothing")
}

#[test]
fn events_left_out_added_or_swapped_are_refused() {
    let network = TestNetwork::shared();
    let record = opened_record(&network);
    let genesis = network.nodes.genesis();

    let whole = export(&network, None);
    let Content::All { leaves } = &whole.content else { panic!("the whole trail was asked for") };
    for leaves in rearranged(leaves) {
        let content = Content::All { leaves };
        assert!(matches!(refusal(&Bundle { content, ..whole.clone() }, genesis), BundleError::Events(_)));
    }

    let about = export(&network, Some(HeadKey::Record(record)));
    let Content::Head { key, proof, leaves: own } = &about.content else { panic!("one record was asked for") };
    let head = |leaves| Bundle { content: Content::Head { key: *key, proof: proof.clone(), leaves }, ..about.clone() };
    for leaves in rearranged(own) {
        assert!(matches!(refusal(&head(leaves), genesis), BundleError::Events(_)));
    }
    // An event of the same log that is about something else.
    let other = (0_u64..).zip(leaves).find(|(position, _)| own.iter().all(|(own, _)| own != position)).unwrap();
    let mut more = own.clone();
    more.push((other.0, other.1.clone()));
    more.sort();
    assert!(matches!(refusal(&head(more), genesis), BundleError::Events(_)));
    // The right events at positions that they do not have.
    let moved = own.iter().map(|(position, leaf)| (position + 1, leaf.clone())).collect();
    assert!(matches!(refusal(&head(moved), genesis), BundleError::Events(_)));
    // A proof of a head in one half of the tree says nothing of a record in the other half.
    let far = (0..=u8::MAX).map(|n| HeadKey::Record(RecordId::new([n; 32])));
    let far = far.into_iter().find(|far| bit(&far.path(), 0) != bit(&key.path(), 0)).unwrap();
    let none = Content::Head { key: far, proof: proof.clone(), leaves: Vec::new() };
    assert!(matches!(refusal(&Bundle { content: none, ..about.clone() }, genesis), BundleError::Head(_)));
}

#[test]
fn a_bundle_without_events_proves_that_a_record_has_none() {
    let network = TestNetwork::shared();
    opened_record(&network);
    let unknown = HeadKey::Record(RecordId::new([7; 32]));
    let bundle = export(&network, Some(unknown));
    let report = bundle::verify(&bundle.to_bytes(), &network.nodes.genesis().founding()).unwrap();
    assert_eq!((report.filter, report.events.len()), (Some(unknown), 0));
}

#[test]
fn a_bundle_of_another_network_is_refused() {
    let network = TestNetwork::shared();
    opened_record(&network);
    let mut bundle = export(&network, None);
    // The same members, people and channel, of another seed: another network.
    let mut other = network.nodes.genesis().clone();
    other.seed[0] ^= 1;
    assert_eq!(refusal(&bundle, &other), BundleError::OtherLedger);
    bundle.domain = other.domain();
    assert_eq!(refusal(&bundle, &other), BundleError::Links, "its headers still speak of their own network");
}

#[test]
fn a_receipt_proves_an_outcome_and_every_byte_counts() {
    let network = TestNetwork::shared();
    let genesis = network.nodes.genesis();
    let (domain, config): (_, EpochConfig) = (genesis.domain(), genesis.epoch_config(Epoch::new(0)));
    let record = opened_record(&network);
    let gateway = network.node(1).node();
    let (done, receipt) = network.run(async {
        let owner = network.at(1, &network.owner);
        let done = owner.set_policy(record, common::research_policy()).await.unwrap();
        let receipt = gateway.receipt(&done, PATIENCE).await.unwrap();
        (done, receipt)
    });
    let leaf = receipt.verify(&domain, &config.cosigners(), config.cosigners_needed()).unwrap();
    assert_eq!(leaf.index(), done.position);
    let event: Event = dmdl_types::codec::decode(leaf.bytes(), dmdl_types::limits::EVENT_BYTES).unwrap();
    assert_eq!(event, done.event);
    assert_every_byte_counts(receipt.to_text().as_bytes(), &[0x01], |text| {
        let parsed = Receipt::parse(text);
        parsed.is_ok_and(|receipt| receipt.verify(&domain, &config.cosigners(), config.cosigners_needed()).is_ok())
    });
}
