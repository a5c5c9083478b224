use crate::{
    testing::*,
    world::{PersonRow, PersonStatus},
};
use dmdl_types::{
    access::ReasonCode::*,
    event::Verdict,
    genesis::{Person, Role as PersonRole},
    id::{DisplayName, NoteCommitment},
    invocation::{Invocation, Medical, Membership},
    sign::PublicKey,
};

fn newcomer(org: u8, key: PublicKey) -> Membership {
    let name = DisplayName::new("newcomer").unwrap();
    Membership::Enrol { person: Person { key, org: org_id(org), name, role: PersonRole::Owner } }
}

fn suspend(key: PublicKey) -> Membership {
    Membership::Suspend { key }
}

#[test]
fn an_admin_enrols_people_of_their_own_organisation() {
    let mut ledger = Ledger::new();
    let key = signer(200);
    let initial = Medical::Initial { metadata: metadata(), source: NoteCommitment::new([1; 32]), storage: None };
    let event = ledger.medical(&key, initial.clone());
    assert_eq!((told(&event), event.org), ((Verdict::Rejected, Some(UnknownAuthor)), None));
    let event = ledger.call(&admin(1), Invocation::Membership(newcomer(1, key.public())));
    assert_eq!((told(&event), event.org), ((Verdict::Applied, None), Some(org_id(1))));
    let event = ledger.medical(&key, initial);
    assert_eq!((event.outcome.verdict, event.org), (Verdict::Applied, Some(org_id(1))));
}

#[test]
fn membership_is_for_admins_and_ends_at_their_organisation() {
    let mut ledger = Ledger::new();
    let fresh = signer(200).public();
    let mut identity = [0; 32];
    identity[0] = 1;
    let rows = vec![
        ("an enrolment elsewhere", admin(1), newcomer(2, fresh), Role),
        ("an enrolment by an owner", owner(1), newcomer(1, fresh), Role),
        ("an enrolment by a committee member", committee(1), newcomer(1, fresh), Role),
        ("an enrolment by an officer", person(1, PersonRole::Officer), newcomer(1, fresh), Role),
        ("an enrolment by a stranger", signer(201), newcomer(1, fresh), UnknownAuthor),
        ("a key that is enrolled", admin(1), newcomer(1, owner(2).public()), IdReuse),
        ("a node's key", admin(1), newcomer(1, node(3).public()), IdReuse),
        ("a cosigning key", admin(1), newcomer(1, cosigner(3).public()), IdReuse),
        ("a weak key", admin(1), newcomer(1, PublicKey::new(identity)), BadArgument),
        ("a suspension elsewhere", admin(1), suspend(owner(2).public()), Role),
        ("a suspension of nobody", admin(1), suspend(fresh), UnknownAuthor),
        ("a suspension by an owner", owner(1), suspend(researcher(1).public()), Role),
        ("a revocation elsewhere", admin(1), Membership::Revoke { key: owner(2).public() }, Role),
        ("a reinstatement elsewhere", admin(1), Membership::Reinstate { key: owner(2).public() }, Role),
    ];
    let before = ledger.state();
    for (name, author, call, code) in rows {
        let event = ledger.call(&author, Invocation::Membership(call));
        assert_eq!(told(&event), (Verdict::Rejected, Some(code)), "{name}");
    }
    assert_eq!(ledger.state(), before);
}

#[test]
fn a_suspension_ends_and_a_revocation_does_not() {
    let mut ledger = Ledger::new();
    let key = owner(1).public();
    let initial = || Medical::Initial { metadata: metadata(), source: NoteCommitment::new([1; 32]), storage: None };
    let change = |ledger: &mut Ledger, call| told(&ledger.call(&admin(1), Invocation::Membership(call)));
    assert_eq!(change(&mut ledger, suspend(key)).0, Verdict::Applied);
    assert_eq!(told(&ledger.medical(&owner(1), initial())), (Verdict::Rejected, Some(Suspended)));
    assert_eq!(change(&mut ledger, Membership::Reinstate { key }).0, Verdict::Applied);
    assert_eq!(ledger.medical(&owner(1), initial()).outcome.verdict, Verdict::Applied);
    assert_eq!(change(&mut ledger, Membership::Revoke { key }).0, Verdict::Applied);
    assert_eq!(told(&ledger.medical(&owner(1), initial())), (Verdict::Rejected, Some(KeyRevoked)));
    let refused = |code| (Verdict::Rejected, Some(code));
    assert_eq!(change(&mut ledger, Membership::Reinstate { key }), refused(KeyRevoked));
    assert_eq!(change(&mut ledger, suspend(key)), refused(KeyRevoked));
    assert_eq!(change(&mut ledger, newcomer(1, key)), refused(IdReuse));
    assert_eq!(ledger.row::<PersonRow>(&key).unwrap().status, PersonStatus::Revoked);
}

#[test]
fn one_author_who_may_not_act_stops_the_others() {
    let mut ledger = Ledger::new();
    ledger.call(&admin(2), Invocation::Membership(suspend(owner(2).public())));
    let call = Medical::Initial { metadata: metadata(), source: NoteCommitment::new([1; 32]), storage: None };
    for (second, code) in [(owner(2), Suspended), (signer(99), UnknownAuthor)] {
        let mut body = ledger.body(&owner(1), Invocation::Medical(call.clone()));
        body.authors.push(second.public());
        let endorsed = endorse(body, &owner(1));
        let done = ledger.execute(vec![endorsed], vec![]);
        assert_eq!(told(&done.events[0]), (Verdict::Rejected, Some(code)));
    }
}
