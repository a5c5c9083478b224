use crate::{
    testing::*,
    world::{DecryptionRow, RecordState, VersionState},
};
use dmdl_policies::templates::Template;
use dmdl_types::{
    access::ReasonCode::{self, *},
    custody::{CustodyEvent, SealedBytes},
    event::Verdict,
    id::{DealingId, RecordId, RecordVersion, ShareEpoch, TransactionId, UnixMillis},
    invocation::{Access, Authority, SystemItem},
    limits,
};

const V1: RecordVersion = RecordVersion::new(1);
const E0: ShareEpoch = ShareEpoch::new(0);

/// A record of three custodians that nobody has acknowledged.
fn pending(ledger: &mut Ledger) -> RecordId {
    let registration = ledger.registration(&owner(1), &Deal { custodians: vec![1, 2, 3], ..Deal::default() });
    let record = registration.record;
    ledger.access(&owner(1), Access::Register(Box::new(registration)));
    record
}

fn complaint(record: RecordId, secret: [u8; 32]) -> SystemItem {
    SystemItem::Complaint { record, version: V1, epoch: E0, sealed: SealedBytes(vec![1]), dealing_secret: secret }
}

#[test]
fn an_acknowledgement_counts_once_and_only_from_a_custodian_for_its_dealing() {
    let mut ledger = Ledger::new();
    let record = pending(&mut ledger);
    let good = ledger.acknowledgement(record, V1);
    let SystemItem::Acknowledge { dealing, .. } = good else { panic!() };
    let ack = |record, version, epoch, dealing| SystemItem::Acknowledge { record, version, epoch, dealing };
    let rows: [(&str, u8, SystemItem, ReasonCode); 5] = [
        ("a node that is no custodian", 4, good.clone(), NotCustodian),
        ("another dealing", 1, ack(record, V1, E0, DealingId::new([1; 32])), BadDealing),
        ("another share epoch", 1, ack(record, V1, E0.next(), dealing), NotCustodian),
        ("another version", 1, ack(record, V1.next(), E0, dealing), UnknownRecord),
        ("another record", 1, ack(RecordId::new([1; 32]), V1, E0, dealing), UnknownRecord),
    ];
    let before = ledger.state();
    for (name, org, item, code) in rows {
        assert_eq!(told(&ledger.tell(org, item)), (Verdict::Rejected, Some(code)), "{name}");
    }
    assert_eq!(ledger.state(), before);
    assert_eq!(ledger.tell(1, good.clone()).outcome.verdict, Verdict::Applied);
    for _ in 0..3 {
        assert_eq!(told(&ledger.tell(1, good.clone())).1, Some(Duplicate));
    }
    assert_eq!(ledger.record(record).state, RecordState::Pending);
}

#[test]
fn acknowledgements_of_one_batch_count_like_those_of_many() {
    let mut ledger = Ledger::new();
    let (a, b) = (pending(&mut ledger), pending(&mut ledger));
    let items = vec![ledger.acknowledgement(a, V1), ledger.acknowledgement(b, V1), ledger.acknowledgement(a, V1)];
    let batches = (1..=3).map(|org| ledger.system(org, items.clone())).collect();
    let done = ledger.execute(vec![], batches);
    let duplicates = done.events.iter().filter(|event| told(event).1 == Some(Duplicate)).count();
    assert_eq!((done.events.len(), duplicates), (9, 3));
    assert_eq!(done.events.iter().map(|event| event.item).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    assert!([a, b].iter().all(|record| ledger.record(*record).state == RecordState::Active));
}

#[test]
fn a_version_that_is_not_active_in_time_never_is_and_its_owner_registers_the_next() {
    let mut ledger = Ledger::new();
    let record = pending(&mut ledger);
    let ack = ledger.acknowledgement(record, V1);
    let expires = ledger.version_row(record, V1).expires;
    assert_eq!(expires, ledger.time.plus_ms(limits::REGISTRATION_MS));
    for org in [1, 2] {
        assert_eq!(ledger.tell(org, ack.clone()).outcome.verdict, Verdict::Applied);
    }
    assert_eq!(told(&ledger.decrypt(&owner(1), record, Authority::Owner)).1, Some(RecordPending));

    // The next block's time is one millisecond late.
    ledger.time = UnixMillis::new(expires.get() + 1 - BLOCK_MS);
    let before = ledger.state();
    assert_eq!(told(&ledger.tell(3, ack)), (Verdict::Rejected, Some(RegistrationExpired)));
    assert_eq!(ledger.state(), before);
    assert!(ledger.version_row(record, V1).is_expired(ledger.time));
    let opened = ledger.decrypt(&owner(1), record, Authority::Owner);
    assert_eq!(told(&opened), (Verdict::Deny, Some(RegistrationExpired)));

    let second = ledger.version(&owner(1), record, &Deal::default());
    assert_eq!(ledger.access(&owner(1), Access::Register(Box::new(second))).outcome.verdict, Verdict::Applied);
    ledger.acknowledge(record, V1.next());
    assert_eq!(ledger.record(record).state, RecordState::Active);
}

#[test]
fn an_active_version_does_not_expire() {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal::default());
    let late = ledger.acknowledgement(record, V1);
    ledger.time = ledger.version_row(record, V1).expires.plus_ms(1);
    assert_eq!(ledger.tell(4, late).outcome.verdict, Verdict::Applied);
    assert_eq!(ledger.decrypt(&owner(1), record, Authority::Owner).outcome.verdict, Verdict::Allow);
}

#[test]
fn a_justified_complaint_ends_a_pending_version() {
    let mut ledger = Ledger::new();
    let record = pending(&mut ledger);
    let ack = ledger.acknowledgement(record, V1);
    ledger.tell(1, ack.clone());
    assert_eq!(told(&ledger.tell(2, complaint(record, DAMNING))), (Verdict::Applied, Some(DealerFault)));
    assert_eq!(ledger.version_row(record, V1).state, VersionState::Failed);
    for org in [2, 3] {
        ledger.tell(org, ack.clone());
    }
    assert_eq!(ledger.version_row(record, V1).state, VersionState::Failed);
    assert_eq!(ledger.record(record).state, RecordState::Pending);
    // The owner deals again.
    let second = ledger.version(&owner(1), record, &Deal::default());
    assert_eq!(ledger.access(&owner(1), Access::Register(Box::new(second))).outcome.verdict, Verdict::Applied);
    ledger.acknowledge(record, V1.next());
    assert_eq!(ledger.record(record).state, RecordState::Active);
}

#[test]
fn a_complaint_that_is_void_or_late_changes_nothing() {
    let mut ledger = Ledger::new();
    let record = pending(&mut ledger);
    let ack = ledger.acknowledgement(record, V1);
    ledger.tell(1, ack.clone());
    let before = ledger.state();
    assert_eq!(told(&ledger.tell(2, complaint(record, [0; 32]))), (Verdict::Rejected, Some(ComplaintRefuted)));
    assert_eq!(told(&ledger.tell(4, complaint(record, DAMNING))), (Verdict::Rejected, Some(NotCustodian)));
    // Whoever acknowledged has said that its share is good.
    assert_eq!(told(&ledger.tell(1, complaint(record, DAMNING))), (Verdict::Rejected, Some(Duplicate)));
    assert_eq!(ledger.state(), before);

    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal::default());
    assert_eq!(told(&ledger.tell(4, complaint(record, DAMNING))), (Verdict::Applied, Some(DealerFault)));
    assert_eq!(ledger.version_row(record, V1).state, VersionState::Active, "k honest shares exist");
}

#[test]
fn nothing_begins_on_an_erased_record_but_a_release_is_still_marked() {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal::default());
    let late = ledger.acknowledgement(record, V1);
    ledger.decrypt(&owner(1), record, Authority::Owner);
    let decryption = ledger.last_transaction();
    ledger.access(&owner(1), Access::Erase { record });
    let before = ledger.state();
    assert_eq!(told(&ledger.tell(4, late)), (Verdict::Rejected, Some(RecordErased)));
    assert_eq!(told(&ledger.tell(4, complaint(record, DAMNING))), (Verdict::Rejected, Some(RecordErased)));
    assert_eq!(ledger.state(), before);
    let release = SystemItem::Release { decryption, record, version: V1, epoch: E0, share: [0; 32] };
    assert_eq!(told(&ledger.tell(1, release)), (Verdict::Applied, None));
}

#[test]
fn a_release_is_marked_once_and_for_an_allowed_decryption_of_that_record() {
    let subject = Some(dmdl_types::id::SubjectId::new([6; 32]));
    let mut deal = Deal { custodians: vec![1, 2, 3], policy: Some(policy(Template::ResearchAuto)), ..Deal::default() };
    deal.metadata.subject = subject;
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &deal);
    let other = ledger.active_record(&owner(1), &Deal::default());
    let keys = ledger.opening_keys(&[1, 2, 3]);
    ledger.access(&owner(1), Access::Decrypt { record, version: V1, authority: Authority::Owner, keys });
    let allowed = ledger.last_transaction();
    ledger.decrypt(&owner(2), other, Authority::Owner);
    let denied = ledger.last_transaction();
    let release =
        |decryption, record| SystemItem::Release { decryption, record, version: V1, epoch: E0, share: [0; 32] };
    let before = ledger.state();
    let rows = [
        ("no custodian", 4, release(allowed, record), NotCustodian),
        ("a denied decryption", 1, release(denied, other), UnknownDecryption),
        ("an unknown decryption", 1, release(TransactionId::new([1; 32]), record), UnknownDecryption),
        ("another record", 1, release(allowed, other), UnknownDecryption),
    ];
    for (name, org, item, code) in rows {
        assert_eq!(told(&ledger.tell(org, item)), (Verdict::Rejected, Some(code)), "{name}");
    }
    assert_eq!(ledger.state(), before);
    let event = ledger.tell(2, release(allowed, record));
    assert_eq!((told(&event), event.refers_to), ((Verdict::Applied, None), Some(allowed)));
    assert_eq!((event.record, event.subject), (Some(record), subject), "the patient's own trail names it");
    assert_eq!(told(&ledger.tell(2, release(allowed, record))).1, Some(Duplicate));
    ledger.tell(1, release(allowed, record));
    let row: DecryptionRow = ledger.row(&allowed).unwrap();
    let mut both = [(node_id(1), E0), (node_id(2), E0)];
    both.sort();
    assert_eq!(row.releases, both);
}

#[test]
fn events_about_shares_name_their_epoch_and_who_keeps_them() {
    let mut ledger = Ledger::new();
    let registration = ledger.registration(&owner(1), &Deal::default());
    let record = registration.record;
    let registered = ledger.access(&owner(1), Access::Register(Box::new(registration)));
    let shares = Some(ledger.version_row(record, V1).share_set());
    let ack = ledger.acknowledgement(record, V1);
    let mut told: Vec<_> = (1..=3).map(|org| ledger.tell(org, ack.clone())).collect();
    told.push(ledger.decrypt(&owner(1), record, Authority::Owner));
    let decryption = ledger.last_transaction();
    told.push(ledger.tell(1, SystemItem::Release { decryption, record, version: V1, epoch: E0, share: [0; 32] }));
    told.push(ledger.tell(4, complaint(record, DAMNING)));
    assert!(told.iter().chain([&registered]).all(|event| event.shares == shares), "{told:?}");

    let other = SystemItem::Release { decryption, record, version: V1, epoch: E0.next(), share: [0; 32] };
    assert_eq!(ledger.tell(1, other).shares, None, "there are no such shares");
    let second = ledger.version(&owner(1), record, &Deal::default());
    let registered = ledger.access(&owner(1), Access::Register(Box::new(second)));
    assert!(registered.shares.is_some() && registered.shares != shares, "another version has others");
    assert_eq!(ledger.access(&owner(1), Access::Erase { record }).shares, None, "all of them end");
}

#[test]
fn custodians_are_told_of_an_erasure() {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal::default());
    let transaction =
        ledger.transaction(&owner(1), dmdl_types::invocation::Invocation::Access(Access::Erase { record }));
    assert_eq!(ledger.execute(vec![transaction], vec![]).custody, [CustodyEvent::RecordErased(record)]);
}
