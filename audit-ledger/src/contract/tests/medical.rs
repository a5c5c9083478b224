use crate::{
    testing::*,
    world::{self, HistoryKind, HistoryRow, Owned, RecordState},
};
use dmdl_types::{
    access::ReasonCode::{self, *},
    event::{Action, Verdict},
    genesis::Role as PersonRole,
    id::{NoteCommitment, PayloadDigest, RecordId, RecordVersion},
    invocation::{Access, Authority, Invocation, Medical, Membership},
    sign::PublicKey,
};

fn initial(ledger: &mut Ledger, stored: bool) -> RecordId {
    let storage = stored.then_some(PayloadDigest::new([2; 32]));
    let call = Medical::Initial { metadata: metadata(), source: NoteCommitment::new([1; 32]), storage };
    let event = ledger.medical(&owner(1), call);
    assert_eq!((told(&event), event.action), ((Verdict::Applied, None), Action::InitialMedical));
    event.record.unwrap()
}

fn history(ledger: &Ledger, record: RecordId) -> Vec<HistoryRow> {
    let rows = world::scan::<HistoryRow>(&ledger.store, &record, None, 100).unwrap();
    rows.into_iter().map(|(_, row)| row).collect()
}

fn kinds(ledger: &Ledger, record: RecordId) -> Vec<HistoryKind> {
    history(ledger, record).into_iter().map(|row| row.kind).collect()
}

fn owned(ledger: &Ledger, owner: PublicKey) -> usize {
    world::scan::<Owned>(&ledger.store, &owner, None, 100).unwrap().len()
}

#[test]
fn the_six_functions_tell_one_story() {
    use HistoryKind::{Deletion, Registration, Source, Storage, Transfer};
    let mut ledger = Ledger::new();
    let record = initial(&mut ledger, true);
    let other = initial(&mut ledger, false);
    assert_ne!(record, other);
    assert_eq!(
        (kinds(&ledger, record), kinds(&ledger, other)),
        (vec![Source, Registration, Storage], vec![Source, Registration])
    );
    assert_eq!(ledger.record(record).state, RecordState::Catalogued);
    assert_eq!(owned(&ledger, owner(1).public()), 2);

    for heir in [2, 3, 1] {
        let author = [owner(1), owner(2), owner(3)].into_iter().find(|key| key.public() == ledger.record(record).owner);
        let event = ledger.medical(&author.unwrap(), Medical::Transfer { record, to: owner(heir).public() });
        assert_eq!((told(&event), event.action), ((Verdict::Applied, None), Action::TransferMedical));
        assert_eq!((ledger.record(record).owner, ledger.record(record).org), (owner(heir).public(), org_id(heir)));
        assert_eq!(owned(&ledger, owner(heir).public()), if heir == 1 { 2 } else { 1 });
    }
    assert_eq!((owned(&ledger, owner(2).public()), owned(&ledger, owner(3).public())), (0, 0));

    let event = ledger.medical(&owner(1), Medical::Delete { record });
    assert_eq!((told(&event), event.action), ((Verdict::Applied, None), Action::Delete));
    assert_eq!(ledger.record(record).state, RecordState::Erased);
    let rows = history(&ledger, record);
    assert_eq!(kinds(&ledger, record), [Source, Registration, Storage, Transfer, Transfer, Transfer, Deletion]);
    assert_eq!(rows.len() as u64, ledger.record(record).history_len);
    assert!(rows.is_sorted_by(|a, b| a.time <= b.time));
    let owners: Vec<PublicKey> = rows[2..].iter().map(|row| row.owner).collect();
    assert_eq!(owners, [1, 2, 3, 1, 1].map(|org| owner(org).public()));
}

#[test]
fn a_history_stays_in_order_beyond_a_byte_of_entries() {
    let mut ledger = Ledger::new();
    let record = initial(&mut ledger, false);
    for step in 0..260u32 {
        let (from, to) = if step % 2 == 0 { (1, 2) } else { (2, 1) };
        let call = Invocation::Medical(Medical::Transfer { record, to: owner(to).public() });
        let transaction = ledger.transaction(&owner(from), call);
        let block = ledger.block(vec![transaction], vec![]);
        ledger.try_push(block).unwrap();
    }
    let rows = world::scan::<HistoryRow>(&ledger.store, &record, None, 1000).unwrap();
    assert_eq!(rows.len(), 262);
    assert!(rows.is_sorted_by(|a, b| a.1.time <= b.1.time && a.0 < b.0));
}

#[test]
fn custody_is_part_of_the_history() {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal::default());
    ledger.access(&owner(1), Access::Erase { record });
    use HistoryKind::{Deletion, Registration, Source, Storage};
    assert_eq!(kinds(&ledger, record), [Source, Registration, Storage, Deletion]);
}

#[test]
fn items_are_changed_by_their_owner_alone() {
    let mut ledger = Ledger::new();
    let record = initial(&mut ledger, false);
    ledger.call(&admin(4), Invocation::Membership(Membership::Suspend { key: owner(4).public() }));
    let transfer = |to: PublicKey| Medical::Transfer { record, to };
    let missing = RecordId::new([1; 32]);
    let rows = [
        ("a transfer by another", owner(2), transfer(owner(2).public()), Role),
        ("a transfer by the admin", admin(1), transfer(owner(2).public()), Role),
        ("a transfer to nobody", owner(1), transfer(signer(99).public()), UnknownAuthor),
        ("a transfer to somebody suspended", owner(1), transfer(owner(4).public()), Suspended),
        ("a transfer to a researcher", owner(1), transfer(researcher(2).public()), Role),
        ("a transfer to its owner", owner(1), transfer(owner(1).public()), Duplicate),
        (
            "a transfer of nothing",
            owner(1),
            Medical::Transfer { record: missing, to: owner(2).public() },
            UnknownRecord,
        ),
        ("a deletion by another", owner(2), Medical::Delete { record }, Role),
        ("a deletion by the committee", committee(1), Medical::Delete { record }, Role),
        ("a deletion of nothing", owner(1), Medical::Delete { record: missing }, UnknownRecord),
    ];
    let before = ledger.state();
    for (name, author, call, code) in rows {
        assert_eq!(told(&ledger.medical(&author, call)), (Verdict::Rejected, Some(code)), "{name}");
    }
    let source = NoteCommitment::new([1; 32]);
    for role in [PersonRole::Researcher, PersonRole::Committee, PersonRole::Officer, PersonRole::Admin] {
        let call = Medical::Initial { metadata: metadata(), source, storage: None };
        assert_eq!(told(&ledger.medical(&person(1, role), call)).1, Some(ReasonCode::Role));
    }
    assert_eq!(ledger.state(), before);
}

#[test]
fn nothing_is_done_with_what_was_deleted() {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal::default());
    ledger.medical(&owner(1), Medical::Delete { record });
    let before = ledger.state();
    let second = ledger.version(&owner(1), record, &Deal::default());
    assert_eq!(second.version, RecordVersion::new(2));
    let decryption = ledger.decryption(record, Authority::Owner);
    let calls = [
        Invocation::Medical(Medical::Delete { record }),
        Invocation::Medical(Medical::Transfer { record, to: owner(2).public() }),
        Invocation::Access(Access::Erase { record }),
        Invocation::Access(Access::SetPolicy { record, policy: rules("") }),
        Invocation::Access(Access::Register(Box::new(second))),
        Invocation::Access(decryption),
    ];
    for call in calls {
        assert_eq!(told(&ledger.call(&owner(1), call)).1, Some(RecordErased));
    }
    assert_eq!(told(&ledger.request(&researcher(2), record, terms(1, 1))), (Verdict::Deny, Some(RecordErased)));
    assert_eq!(ledger.state(), before);
}
