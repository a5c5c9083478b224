//! Bundles and receipts, made from an executed chain and verified as a stranger would.

use super::{ExportError, export, receipt, steps_after};
use crate::{commitment::index, log, testing::*};
use dmdl_policies::templates::Template;
use dmdl_types::{
    block::Header,
    bundle::{Bundle, BundleError, Content, MAGIC, Report, verify},
    certificate::CertificateError,
    checkpoint::{Checkpoint, CheckpointError},
    genesis::Genesis,
    id::{Epoch, RecordId, SubjectId},
    index_proof::HeadKey,
    invocation::{Access, Authority},
    lineage::{EpochStep, FinalHeader},
};

/// A ledger with some events, whose last header but one carries a checkpoint of all of them.
struct Audited {
    ledger: Ledger,
    record: RecordId,
}

const SUBJECT: SubjectId = SubjectId::new([6; 32]);

fn short_epochs() -> Genesis {
    let mut genesis = genesis();
    genesis.channel.epoch_blocks = 3;
    genesis
}

fn audited_of(genesis: Genesis) -> Audited {
    let mut ledger = Ledger::of(genesis);
    let mut deal = Deal { policy: Some(policy(Template::ResearchAuto)), ..Deal::default() };
    deal.metadata.subject = Some(SUBJECT);
    let record = ledger.active_record(&owner(1), &deal);
    let grant = ledger.granted(&researcher(2), record, terms(30, 2));
    ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    let newest = newest(&mut ledger);
    ledger.carry(newest);
    Audited { ledger, record }
}

fn audited() -> Audited {
    audited_of(genesis())
}

/// The least ledger: one event, so that every byte of its bundles can be tried.
fn smallest() -> Ledger {
    let mut ledger = Ledger::new();
    let newest = newest(&mut ledger);
    ledger.carry(newest);
    ledger
}

/// The checkpoint of one more event.
fn newest(ledger: &mut Ledger) -> Checkpoint {
    let call = Access::Erase { record: RecordId::new([1; 32]) };
    let transaction = ledger.transaction(&owner(1), dmdl_types::invocation::Invocation::Access(call));
    ledger.execute(vec![transaction], vec![]).checkpoint.unwrap()
}

fn header(ledger: &Ledger, height: u64) -> Header {
    ledger.blocks[usize::try_from(height).unwrap()].header.clone()
}

/// A header with its own certificate.
fn sealed(header: Header) -> FinalHeader {
    let certificate = certificate(&header);
    FinalHeader { header, links: vec![], certificate }
}

fn leaves(ledger: &Ledger, size: u64) -> Vec<Vec<u8>> {
    log::leaves(&ledger.store, 0, size.try_into().unwrap()).unwrap()
}

fn bundle(ledger: &Ledger, filter: Option<HeadKey>) -> Bundle {
    let anchor = ledger.executor.tip().anchor.unwrap();
    let content = match filter {
        None => Content::All { leaves: leaves(ledger, anchor.checkpoint.size) },
        Some(key) => {
            let proof = index::prove(&ledger.executor.anchored_index().unwrap(), &key).unwrap();
            let positions = log::positions(&ledger.store, &key, None, 1000).unwrap();
            let under = positions.into_iter().filter(|position| *position < anchor.checkpoint.size);
            let leaves = under.map(|at| (at, log::leaf(&ledger.store, at).unwrap().unwrap())).collect();
            Content::Head { key, proof, leaves }
        }
    };
    let header = header(ledger, anchor.height.get());
    let blocks = ledger.executor.founding().channel.epoch_blocks;
    let epochs = (2..=header.epoch.get()).map(|epoch| EpochStep {
        announced: sealed(self::header(ledger, epoch * blocks - 1)),
        config: ledger.executor.epoch_config(Epoch::new(epoch)).unwrap().unwrap(),
    });
    Bundle { domain: ledger.domain(), epochs: epochs.collect(), anchor: sealed(header), content }
}

fn check(ledger: &Ledger, bundle: &Bundle) -> Result<Report, BundleError> {
    verify(&bundle.to_bytes(), ledger.executor.founding())
}

#[test]
fn a_bundle_of_everything_verifies_from_the_genesis_alone() {
    let Audited { ledger, .. } = audited();
    let report = check(&ledger, &bundle(&ledger, None)).unwrap();
    let size = ledger.executor.tip().size;
    assert_eq!((report.events.len() as u64, report.checkpoint.size), (size, size));
    assert_eq!(Some(report.checkpoint), ledger.executor.tip().anchor.map(|anchor| anchor.checkpoint));
    for (position, event) in &report.events {
        assert_eq!(log::event(&ledger.store, *position).unwrap().as_ref(), Some(event));
    }
    let mut cosigners = [node_id(1), node_id(2)];
    cosigners.sort();
    assert_eq!((report.filter, report.cosigners, report.signers.len()), (None, cosigners.to_vec(), 3));
}

#[test]
fn a_bundle_of_one_record_actor_or_subject_is_complete() {
    let Audited { ledger, record } = audited();
    let keys = [
        (HeadKey::Record(record), 6),
        (HeadKey::Subject(SUBJECT), 6),
        (HeadKey::Actor(researcher(2).public()), 2),
        (HeadKey::Actor(node(3).public()), 1),
        (HeadKey::Record(RecordId::new([1; 32])), 1),
        (HeadKey::Actor(signer(99).public()), 0),
    ];
    for (key, count) in keys {
        let report = check(&ledger, &bundle(&ledger, Some(key))).unwrap();
        assert_eq!((report.events.len(), report.filter), (count, Some(key)), "{key:?}");
    }
}

#[test]
fn what_happened_after_the_checkpoint_is_not_in_its_bundle() {
    let Audited { mut ledger, record } = audited();
    let key = Some(HeadKey::Record(record));
    let before = (bundle(&ledger, None), bundle(&ledger, key));
    ledger.access(&owner(1), Access::Erase { record });
    assert_eq!((bundle(&ledger, None), bundle(&ledger, key)), before);
    assert!(check(&ledger, &before.1).is_ok());
}

#[test]
fn no_byte_of_a_bundle_can_change() {
    let ledger = smallest();
    let mut all = bundle(&ledger, None);
    let head = bundle(&ledger, Some(HeadKey::Actor(owner(1).public())));
    // The header's own certificate in one, that of a descendant in the other.
    let mut ledger = ledger;
    ledger.empty();
    let next = header(&ledger, 3);
    all.anchor = FinalHeader { certificate: certificate(&next), links: vec![next], ..all.anchor };
    for bundle in [all, head] {
        let bytes = bundle.to_bytes();
        check(&ledger, &bundle).unwrap();
        for at in 0..bytes.len() {
            for flip in [1, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                assert!(verify(&changed, &genesis().founding()).is_err(), "byte {at} of {}, {flip}", bytes.len());
            }
        }
        for cut in 0..bytes.len() {
            assert!(verify(&bytes[..cut], &genesis().founding()).is_err());
        }
        assert!(verify(&[&bytes[..], &[0]].concat(), &genesis().founding()).is_err());
    }
}

#[test]
fn a_bundle_is_of_the_pinned_network_and_no_other() {
    let Audited { ledger, .. } = audited();
    let mut other = genesis();
    other.seed = [8; 32];
    let own = bundle(&ledger, None);
    assert_eq!(verify(&own.to_bytes(), &other.founding()), Err(BundleError::OtherLedger));
    let renamed = Bundle { domain: other.domain(), ..own.clone() };
    assert_eq!(verify(&renamed.to_bytes(), &other.founding()), Err(BundleError::Links));
    let mut bad = genesis();
    bad.version = 2;
    assert!(matches!(verify(&own.to_bytes(), &bad.founding()), Err(BundleError::Genesis(_))));
    assert!(matches!(verify(MAGIC, &genesis().founding()), Err(BundleError::Decode(_))));
}

#[test]
fn events_left_out_added_moved_or_altered_are_noticed() {
    let Audited { ledger, .. } = audited();
    let (number, root) = (BundleError::Events("their number differs"), BundleError::Events("their root differs"));
    type Change = fn(&mut Vec<Vec<u8>>);
    let rows: [(&str, Change, BundleError); 8] = [
        ("the last left out", |l| drop(l.pop()), number.clone()),
        ("the first left out", |l| drop(l.remove(0)), number.clone()),
        ("all left out", Vec::clear, number.clone()),
        ("one twice", |l| l.push(l[0].clone()), number),
        ("two exchanged", |l| l.swap(1, 2), root.clone()),
        ("one in the place of another", |l| l[1] = l[2].clone(), root.clone()),
        ("one altered", |l| l[0][0] ^= 1, root),
        ("one that is no event", |l| l[3].push(0), BundleError::NotAnEvent(3)),
    ];
    for (name, change, error) in rows {
        let mut altered = bundle(&ledger, None);
        let Content::All { leaves } = &mut altered.content else { panic!() };
        change(leaves);
        assert_eq!(check(&ledger, &altered), Err(error), "{name}");
    }
}

#[test]
fn an_export_of_one_record_cannot_hide_or_invent_an_event() {
    let Audited { ledger, record } = audited();
    let key = HeadKey::Record(record);
    let incomplete = BundleError::Events("the head of the index differs");
    type Change = fn(&mut Vec<(u64, Vec<u8>)>);
    let rows: [(&str, Change); 7] = [
        ("the last left out", |l| drop(l.pop())),
        ("the first left out", |l| drop(l.remove(0))),
        ("all left out", Vec::clear),
        ("one twice", |l| l.push(l[0].clone())),
        ("two exchanged", |l| l.swap(1, 2)),
        ("another position", |l| l[0].0 += 1),
        ("an altered event", |l| l[0].1[0] ^= 1),
    ];
    for (name, change) in rows {
        let mut altered = bundle(&ledger, Some(key));
        let Content::Head { leaves, .. } = &mut altered.content else { panic!() };
        change(leaves);
        assert_eq!(check(&ledger, &altered), Err(incomplete.clone()), "{name}");
    }
    // The head of another key proves nothing about this one, and absence cannot be claimed.
    let mut altered = bundle(&ledger, Some(HeadKey::Actor(owner(1).public())));
    let Content::Head { key: claimed, .. } = &mut altered.content else { panic!() };
    *claimed = key;
    assert!(check(&ledger, &altered).is_err());
    let mut absent = bundle(&ledger, Some(HeadKey::Actor(signer(99).public())));
    let Content::Head { key: claimed, .. } = &mut absent.content else { panic!() };
    *claimed = key;
    assert!(check(&ledger, &absent).is_err());
    let Content::All { leaves } = bundle(&ledger, None).content else { panic!() };
    let mut invented = bundle(&ledger, Some(HeadKey::Actor(signer(99).public())));
    let Content::Head { leaves: none, .. } = &mut invented.content else { panic!() };
    none.push((0, leaves[0].clone()));
    assert_eq!(check(&ledger, &invented), Err(incomplete));
}

#[test]
fn an_old_checkpoint_does_not_cover_later_events() {
    let mut ledger = Ledger::new();
    let old = newest(&mut ledger);
    ledger.carry(old);
    let stale = bundle(&ledger, None);
    let later = newest(&mut ledger);
    ledger.carry(later);
    let fresh = bundle(&ledger, None);
    assert!(check(&ledger, &stale).is_ok() && check(&ledger, &fresh).is_ok());
    let mixed = Bundle { anchor: stale.anchor.clone(), ..fresh.clone() };
    assert_eq!(check(&ledger, &mixed), Err(BundleError::Events("their number differs")));
    let mixed = Bundle { anchor: fresh.anchor, ..stale };
    assert_eq!(check(&ledger, &mixed), Err(BundleError::Events("their number differs")));
}

#[test]
fn a_header_is_believed_only_with_a_certificate_that_reaches_it() {
    let Audited { mut ledger, .. } = audited();
    let good = bundle(&ledger, None);
    let carrying = good.anchor.header.clone();
    ledger.empty();
    ledger.empty();
    let tip = ledger.height().get();
    let [next, last] = [header(&ledger, tip - 1), header(&ledger, tip)];
    let with = |anchor: FinalHeader| check(&ledger, &Bundle { anchor, ..good.clone() });
    let final_header = |header: &Header, links: &[&Header], certificate: Vec<u8>| FinalHeader {
        header: header.clone(),
        links: links.iter().copied().cloned().collect(),
        certificate,
    };
    with(final_header(&carrying, &[&next, &last], certificate(&last))).unwrap();
    let by = |orgs: &[u8], epoch| certificate_by(&carrying, orgs, Epoch::new(epoch));
    let rows = [
        ("no links", with(final_header(&carrying, &[], certificate(&last))), BundleError::Links),
        ("a gap", with(final_header(&carrying, &[&last], certificate(&last))), BundleError::Links),
        ("a link too many", with(final_header(&carrying, &[&next, &last], certificate(&next))), BundleError::Links),
        ("a link twice", with(final_header(&carrying, &[&next, &next, &last], certificate(&last))), BundleError::Links),
        (
            "the header as its own link",
            with(final_header(&carrying, &[&carrying], by(&[1, 2, 3], 0))),
            BundleError::Links,
        ),
        ("another epoch's", with(final_header(&carrying, &[], by(&[1, 2, 3], 1))), BundleError::Links),
        (
            "two of four",
            with(final_header(&carrying, &[], by(&[1, 2], 0))),
            BundleError::Certificate(CertificateError::NoQuorum { got: 2, needed: 3 }),
        ),
        (
            "no certificate",
            with(final_header(&carrying, &[], vec![])),
            BundleError::Certificate(CertificateError::Malformed),
        ),
        ("no checkpoint", with(sealed(next.clone())), BundleError::NoCheckpoint),
    ];
    for (name, got, error) in rows {
        assert_eq!(got, Err(error), "{name}");
    }
}

#[test]
fn a_checkpoint_is_believed_only_from_enough_organisations_and_of_an_earlier_height() {
    let Audited { ledger, .. } = audited();
    let good = bundle(&ledger, None);
    let checkpoint = ledger.executor.tip().anchor.unwrap().checkpoint;
    let with = |cosigned| {
        let header = Header { checkpoint: Some(cosigned), ..good.anchor.header.clone() };
        check(&ledger, &Bundle { anchor: sealed(header), ..good.clone() })
    };
    with(cosigned(checkpoint, &[3, 4])).unwrap();
    assert_eq!(
        with(cosigned(checkpoint, &[3])),
        Err(BundleError::Checkpoint(CheckpointError::TooFewOrgs { got: 1, needed: 2 }))
    );
    let stranger = CheckpointError::UnknownCosigner { node: node_id(99) };
    assert_eq!(with(cosigned(checkpoint, &[1, 2, 99])), Err(BundleError::Checkpoint(stranger)));
    let own_height = Checkpoint { height: good.anchor.header.height, ..checkpoint };
    assert_eq!(with(cosigned(own_height, &[1, 2])), Err(BundleError::Links));
}

#[test]
fn a_bundle_reaches_across_epochs_step_by_step() {
    let mut reached = Vec::new();
    let Audited { mut ledger, .. } = audited_of(short_epochs());
    // Each header that carries a checkpoint is in a later epoch than the one before.
    for _ in 0..4 {
        let report = check(&ledger, &bundle(&ledger, None)).unwrap();
        assert_eq!(report.events.len() as u64, report.checkpoint.size);
        reached.push(header(&ledger, ledger.executor.tip().anchor.unwrap().height.get()).epoch.get());
        ledger.empty();
        let newest = newest(&mut ledger);
        ledger.carry(newest);
    }
    assert_eq!(reached, [2, 3, 4, 5]);

    let mut first = Ledger::of(short_epochs());
    let newest = newest(&mut first);
    first.carry(newest);
    assert_eq!(header(&first, 2).epoch, Epoch::new(0));
    check(&first, &bundle(&first, None)).unwrap();
}

#[test]
fn a_step_between_epochs_is_missing_doubled_or_forged_in_vain() {
    let Audited { mut ledger, .. } = audited_of(short_epochs());
    ledger.empty();
    let newest = newest(&mut ledger);
    ledger.carry(newest);
    let good = bundle(&ledger, None);
    assert_eq!((good.epochs.len(), good.anchor.header.epoch), (2, Epoch::new(3)));
    check(&ledger, &good).unwrap();
    let other_blocks = header(&ledger, 4);
    type Change = Box<dyn Fn(&mut Vec<EpochStep>)>;
    fn row(
        name: &'static str,
        error: BundleError,
        change: impl Fn(&mut Vec<EpochStep>) + 'static,
    ) -> (&'static str, BundleError, Change) {
        (name, error, Box::new(change))
    }
    let configuration = |epoch| BundleError::Configuration(Epoch::new(epoch));
    let rows = [
        row("no steps", configuration(3), Vec::clear),
        row("the first missing", configuration(2), |steps| drop(steps.remove(0))),
        row("the last missing", configuration(3), |steps| drop(steps.pop())),
        row("one twice", configuration(3), |steps| steps.insert(1, steps[0].clone())),
        row("out of order", configuration(2), |steps| steps.reverse()),
        row("another committee", configuration(2), |steps| drop(steps[0].config.members.pop())),
        row("another rule", configuration(3), |steps| steps[1].config.channel.endorsements = 1),
        row(
            "announced by too few",
            BundleError::Certificate(CertificateError::NoQuorum { got: 2, needed: 3 }),
            |steps| {
                let header = &steps[0].announced.header;
                steps[0].announced.certificate = certificate_by(header, &[1, 2], header.epoch);
            },
        ),
        row("announced by another epoch", BundleError::Links, |steps| {
            let mut header = steps[1].announced.header.clone();
            header.next_config = steps[0].config.digest();
            steps[0].announced = sealed(header);
        }),
    ];
    for (name, error, change) in rows {
        let mut altered = good.clone();
        change(&mut altered.epochs);
        assert_eq!(check(&ledger, &altered), Err(error), "{name}");
    }
    // Any final header of the epoch before announces alike.
    let mut altered = good;
    altered.epochs[0].announced = sealed(other_blocks);
    check(&ledger, &altered).unwrap();
}

#[test]
fn a_node_exports_what_is_under_its_anchor() {
    let Audited { mut ledger, record } = audited();
    let expected = bundle(&ledger, None).content;
    let anchor = ledger.executor.tip().anchor.unwrap();
    ledger.access(&owner(1), Access::Erase { record });
    let channel = channel_over(ledger.store.clone(), genesis().founding());
    assert_eq!(export::content(&channel, None).unwrap(), (anchor, expected));
    // What leads back to the anchor is in memory, and this node has just started.
    let of_record = export::content(&channel, Some(HeadKey::Record(record)));
    assert!(matches!(of_record, Err(export::ExportError::NoHistory)));

    let fresh = crate::store::MemoryStore::new();
    let channel = channel_over(fresh, genesis().founding());
    for filter in [None, Some(HeadKey::Record(record))] {
        assert!(matches!(export::content(&channel, filter), Err(export::ExportError::NothingFinal)));
    }
}

#[test]
fn a_receipt_proves_one_event_under_a_checkpoint_that_covers_it() {
    let Audited { mut ledger, record } = audited();
    let anchor = ledger.executor.tip().anchor.unwrap().checkpoint;
    let later = ledger.access(&owner(1), Access::Erase { record });
    let cosigned = cosigned(anchor, &[1, 4]);
    for position in 0..anchor.size {
        let made = receipt(&ledger.store, position, cosigned.clone()).unwrap();
        let leaf = made.verify(&ledger.domain(), &config().cosigners(), config().cosigners_needed()).unwrap();
        let event = log::event(&ledger.store, position).unwrap().unwrap();
        assert_eq!(leaf.bytes(), event.to_leaf());
    }
    let position = log::position(&ledger.store, later.transaction, 0).unwrap().unwrap();
    assert!(matches!(receipt(&ledger.store, position, cosigned), Err(export::ExportError::Log(_))));
    assert_eq!(position, anchor.size);
}

#[test]
fn a_step_that_is_not_kept_is_missing_and_not_the_end() {
    let Audited { ledger, .. } = audited_of(short_epochs());
    let channel = channel_over(ledger.store.clone(), short_epochs().founding());
    let missing = steps_after(&channel, Epoch::new(1)).unwrap_err();
    assert!(matches!(missing, ExportError::Missing(height) if height.get() == 5), "{missing}");
    assert!(steps_after(&channel, channel.current_epoch()).unwrap().is_empty());
}
