use crate::{
    contract::{self, Context, Policies},
    testing::*,
    world::{DealingKeyUsed, Owned, RecordState, VersionState, World},
};
use dmdl_policies::templates::Template;
use dmdl_types::{
    access::ReasonCode::{self, *},
    custody::{CustodyEvent, Dealing, DealingKey},
    event::Verdict,
    genesis::Role,
    id::{ChannelId, RecordId, RecordVersion, ShareEpoch, TransactionId},
    invocation::{Access, Invocation, Medical, Registration},
    sign::Domain,
};

fn register(registration: Registration) -> Access {
    Access::Register(Box::new(registration))
}

#[test]
fn a_record_is_pending_until_exactly_as_many_acknowledged_as_must() {
    for min_acks in [3, 4] {
        let mut ledger = Ledger::new();
        let registration = ledger.registration(&owner(1), &Deal { min_acks, ..Deal::default() });
        let (record, version) = (registration.record, registration.version);
        assert_eq!(told(&ledger.access(&owner(1), register(registration))), (Verdict::Applied, None));
        for org in 1..=min_acks {
            assert_eq!(ledger.record(record).state, RecordState::Pending, "before {org} of {min_acks}");
            let item = ledger.acknowledgement(record, version);
            assert_eq!(told(&ledger.tell(org, item)), (Verdict::Applied, None));
        }
        let row = ledger.record(record);
        assert_eq!((row.state, row.active_version), (RecordState::Active, version));
        assert_eq!(ledger.version_row(record, version).state, VersionState::Active);
    }
}

#[test]
fn every_custodian_is_told_of_its_own_share() {
    let mut ledger = Ledger::new();
    let deal = Deal { custodians: vec![3, 1, 4], ..Deal::default() };
    let registration = ledger.registration(&owner(1), &deal);
    let shares = registration.dealing.shares.clone();
    let transaction = ledger.transaction(&owner(1), Invocation::Access(register(registration.clone())));
    let done = ledger.execute(vec![transaction], vec![]);
    assert_eq!(done.custody.len(), 3);
    for (i, event) in done.custody.iter().enumerate() {
        let CustodyEvent::Assigned(task) = event else { panic!("{event:?}") };
        assert_eq!(task.share.custodian, node_id(deal.custodians[i]));
        assert_eq!((usize::from(task.share.index.get()), task.share.k, task.share.n), (i + 1, 2, 3));
        assert_eq!((task.share.data.record, task.share.data.version), (registration.record, RecordVersion::new(1)));
        assert_eq!((task.dealing_key, task.sealed_digest), (shares[i].key.key, shares[i].digest));
        assert_eq!(task.commitments, registration.dealing.commitments);
    }
}

/// A rule, and how a registration breaks it.
type Row = (&'static str, ReasonCode, Box<dyn Fn(&mut Registration, &Ledger)>);

fn row(name: &'static str, code: ReasonCode, change: impl Fn(&mut Registration, &Ledger) + 'static) -> Row {
    (name, code, Box::new(change))
}

#[test]
fn a_registration_that_breaks_a_rule_is_refused_and_leaves_nothing() {
    let elsewhere = |ledger: &Ledger| Domain { channel: ChannelId::new([1; 32]), ..ledger.domain() };
    let rows = [
        row("k is 0", BadThreshold, |r, _| r.dealing.commitments.clear()),
        row("k is 1", BadThreshold, |r, _| r.dealing.commitments.truncate(1)),
        row("k is 3 of 4", BadThreshold, |r, _| r.dealing.commitments.push([5; 32])),
        row("no shares", BadThreshold, |r, _| r.dealing.shares.clear()),
        row("n is less than 2k - 1", BadThreshold, |r, _| r.dealing.shares.truncate(2)),
        row("too few acknowledgements", BadThreshold, |r, _| r.dealing.min_acks = 2),
        row("no acknowledgements", BadThreshold, |r, _| r.dealing.min_acks = 0),
        row("more acknowledgements than custodians", BadThreshold, |r, _| r.dealing.min_acks = 5),
        row("a custodian twice", BadThreshold, |r, l| {
            r.dealing.shares[1].key = DealingKey::sign(&node(1), &l.domain(), owner(1).public(), [6; 32]);
        }),
        row("an unknown custodian", BadThreshold, |r, l| {
            r.dealing.shares[1].key = DealingKey::sign(&signer(99), &l.domain(), owner(1).public(), [6; 32]);
        }),
        row("a forged dealing key", BadDealing, |r, _| r.dealing.shares[2].key.key[0] ^= 1),
        row("a dealing key of another channel", BadDealing, move |r, l| {
            r.dealing.shares[2].key = DealingKey::sign(&node(3), &elsewhere(l), owner(1).public(), [6; 32]);
        }),
        row("a dealing key for another dealer", BadDealing, |r, l| {
            r.dealing.shares[2].key = DealingKey::sign(&node(3), &l.domain(), owner(2).public(), [6; 32]);
        }),
        row("an unknown way to seal shares", BadDealing, |r, _| r.dealing.suite = 2),
        row("a share epoch of its own", BadDealing, |r, _| r.dealing.epoch = ShareEpoch::new(1)),
        row("an unknown payload format", BadArgument, |r, _| r.payload.suite = 2),
        row("an unknown padding", BadArgument, |r, _| r.payload.padding = 1),
        row("a payload shorter than any", BadArgument, |r, _| r.payload.ciphertext_len_bytes = 71),
        row("another record's id", BadArgument, |r, _| r.record = RecordId::new([3; 32])),
        row("version 0", UnknownRecord, |r, _| r.version = RecordVersion::new(0)),
        row("version 2 of nothing", UnknownRecord, |r, _| r.version = RecordVersion::new(2)),
        row("a policy that is none", PolicyInvalid, |r, _| r.policy = Some(rules("permit"))),
        row("a policy that is too long", PolicyInvalid, |r, _| r.policy = Some(rules(&" ".repeat(16 * 1024 + 1)))),
    ];
    for (name, code, change) in rows {
        let mut ledger = Ledger::new();
        let mut registration = ledger.registration(&owner(1), &Deal::default());
        change(&mut registration, &ledger);
        let before = ledger.state();
        assert_eq!(told(&ledger.access(&owner(1), register(registration))), (Verdict::Rejected, Some(code)), "{name}");
        assert_eq!(ledger.state(), before, "{name}");
    }
}

#[test]
fn a_media_type_carries_no_name() {
    let long = format!("a/{}", "b".repeat(126));
    for bad in ["", "a", "a/", "/a", "a/b/c", "a b/c", "A/b", "a/\u{e9}", "a/b;name=eve", &long] {
        let mut ledger = Ledger::new();
        let mut registration = ledger.registration(&owner(1), &Deal::default());
        registration.metadata.media_type = bad.into();
        let event = ledger.access(&owner(1), register(registration));
        assert_eq!(told(&event), (Verdict::Rejected, Some(BadArgument)), "{bad:?}");
    }
}

#[test]
fn only_an_owner_registers() {
    for role in [Role::Researcher, Role::Committee, Role::Officer, Role::Admin] {
        let mut ledger = Ledger::new();
        let author = person(1, role);
        let registration = ledger.registration(&author, &Deal::default());
        assert_eq!(told(&ledger.access(&author, register(registration))).1, Some(ReasonCode::Role), "{role:?}");
    }
}

#[test]
fn no_organisation_holds_a_threshold_of_custodians_unless_genesis_says_so() {
    let mut merged = genesis();
    merged.single_org_demo = true;
    for member in &mut merged.members {
        if member.node == node_id(2) {
            member.org = org_id(1);
        }
    }
    let mut ledger = Ledger::of(merged.clone());
    let registration = ledger.registration(&owner(1), &Deal::default());
    let config = merged.epoch_config(dmdl_types::id::Epoch::new(0));
    for (single_org_demo, told) in [(false, (Verdict::Rejected, Some(BadThreshold))), (true, (Verdict::Applied, None))]
    {
        let ctx = Context {
            domain: ledger.domain(),
            single_org_demo,
            config: &config,
            height: ledger.height(),
            time: ledger.time,
            transaction: TransactionId::new([1; 32]),
            math: MATH,
            policies: &Policies::default(),
        };
        let mut world = World::new(ledger.store.clone());
        let call = Invocation::Access(register(registration.clone()));
        let effect = contract::invoke(&mut world, &ctx, &[owner(1).public()], &call).unwrap();
        assert_eq!((effect.outcome.verdict, effect.outcome.reasons.first().map(|r| r.code)), told);
        assert_eq!(effect.holds, told.0 == Verdict::Applied);
        assert_eq!(effect.custody.is_empty(), !effect.holds);
    }
}

#[test]
fn a_copy_under_another_key_is_another_record_and_not_the_original() {
    let mut ledger = Ledger::new();
    let original = ledger.registration(&owner(1), &Deal::default());
    // The dealing keys are for the original's dealer, and serve nobody else.
    let stolen = ledger.access(&owner(2), register(original.clone()));
    assert_eq!(told(&stolen), (Verdict::Rejected, Some(BadDealing)));
    // With keys of its own, a copy has another id than the one it was taken from.
    let shares = ledger.registration(&owner(2), &Deal::default()).dealing.shares;
    let copy = Registration { dealing: Dealing { shares, ..original.dealing.clone() }, ..original.clone() };
    let stolen = ledger.access(&owner(2), register(copy.clone()));
    assert_eq!(told(&stolen), (Verdict::Rejected, Some(BadArgument)));
    let domain = ledger.domain();
    let own = RecordId::derive(domain.network, domain.channel, owner(2).public(), &copy.dealing.commitments);
    assert_ne!(own, original.record);
    let event = ledger.access(&owner(1), register(original.clone()));
    assert_eq!(event.outcome.verdict, Verdict::Applied);
    let event = ledger.access(&owner(2), register(Registration { record: own, ..copy }));
    assert_eq!(event.outcome.verdict, Verdict::Applied);
    assert_eq!(ledger.record(original.record).owner, owner(1).public());
}

#[test]
fn a_dealing_key_and_a_record_id_are_used_once() {
    let mut ledger = Ledger::new();
    let first = ledger.registration(&owner(1), &Deal::default());
    assert_eq!(ledger.access(&owner(1), register(first.clone())).outcome.verdict, Verdict::Applied);
    assert_eq!(told(&ledger.access(&owner(1), register(first.clone()))).1, Some(BadDealing));

    let fresh = ledger.registration(&owner(1), &Deal::default()).dealing.shares;
    let mut again = first.clone();
    again.dealing.shares = fresh.clone();
    assert_eq!(told(&ledger.access(&owner(1), register(again))).1, Some(IdReuse));
    // What was refused spent no key.
    assert!(ledger.row::<DealingKeyUsed>(&(fresh[0].key.custodian, fresh[0].key.key)).is_none());
    let mut one_old = ledger.registration(&owner(1), &Deal::default());
    one_old.dealing.shares[3] = first.dealing.shares[3];
    assert_eq!(told(&ledger.access(&owner(1), register(one_old))).1, Some(BadDealing));
}

#[test]
fn versions_follow_each_other_and_belong_to_the_owner() {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal::default());
    let deal = Deal { policy: Some(policy(Template::Closed)), ..Deal::default() };
    let second = ledger.version(&owner(1), record, &deal);
    let skipped = Registration { version: RecordVersion::new(3), ..second.clone() };
    assert_eq!(told(&ledger.access(&owner(1), register(skipped))).1, Some(BadVersion));
    let foreign = ledger.version(&owner(2), record, &deal);
    assert_eq!(told(&ledger.access(&owner(2), register(foreign))).1, Some(ReasonCode::Role));
    assert_eq!(told(&ledger.access(&owner(1), register(second.clone()))), (Verdict::Applied, None));
    let row = ledger.record(record);
    assert_eq!((row.state, row.last_version.get(), row.active_version.get()), (RecordState::Active, 2, 1));
    assert_eq!(row.policy, Some(policy(Template::Closed).id()));
    ledger.acknowledge(record, RecordVersion::new(2));
    assert_eq!(ledger.record(record).active_version.get(), 2);
    let third = ledger.version(&owner(1), record, &Deal::default());
    assert_eq!(third.version.get(), 3);
    assert_eq!(ledger.access(&owner(1), register(third)).outcome.verdict, Verdict::Applied);
    assert_eq!(ledger.record(record).policy, row.policy, "a version without a policy keeps the record's");
}

#[test]
fn an_item_without_custody_gets_no_versions() {
    let mut ledger = Ledger::new();
    let call =
        Medical::Initial { metadata: metadata(), source: dmdl_types::id::NoteCommitment::new([1; 32]), storage: None };
    let record = ledger.medical(&owner(1), call).record.unwrap();
    let registration = ledger.registration(&owner(1), &Deal::default());
    let second = Registration { record, version: RecordVersion::new(1), ..registration };
    assert_eq!(told(&ledger.access(&owner(1), register(second.clone()))).1, Some(BadArgument));
    let second = Registration { version: RecordVersion::new(2), ..second };
    assert_eq!(told(&ledger.access(&owner(1), register(second))).1, Some(BadVersion));
}

#[test]
fn a_policy_is_set_by_the_owner_alone() {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal::default());
    let set = |policy| Access::SetPolicy { record, policy };
    let event = ledger.access(&owner(1), set(policy(Template::ResearchAuto)));
    assert_eq!((told(&event), event.policy), ((Verdict::Applied, None), Some(policy(Template::ResearchAuto).id())));
    let before = ledger.state();
    for author in [owner(2), committee(1), researcher(1), admin(1)] {
        assert_eq!(told(&ledger.access(&author, set(policy(Template::Closed)))).1, Some(ReasonCode::Role));
    }
    assert_eq!(told(&ledger.access(&owner(1), set(rules("permit (principal);")))).1, Some(PolicyInvalid));
    assert_eq!(ledger.state(), before);
}

#[test]
fn an_unlisted_record_answers_others_like_one_that_does_not_exist() {
    let subject = Some(dmdl_types::id::SubjectId::new([6; 32]));
    let mut deal = Deal::default();
    deal.metadata.listed = false;
    deal.metadata.subject = subject;
    let mut ledger = Ledger::new();
    let hidden = ledger.active_record(&owner(1), &deal);
    let missing = RecordId::new([1; 32]);
    let ask = |ledger: &mut Ledger, record| {
        let keys = ledger.opening_keys(&[1, 2]);
        let version = RecordVersion::new(1);
        let grant = dmdl_types::invocation::Authority::Grant(dmdl_types::id::GrantId::new([1; 32]));
        let owner_right = dmdl_types::invocation::Authority::Owner;
        let reason = dmdl_types::id::NoteCommitment::new([0; 32]);
        let registration = ledger.registration(&owner(2), &Deal::default());
        let calls = [
            Invocation::Access(Access::Request { record, terms: terms(1, 1), reason }),
            Invocation::Access(Access::Decrypt { record, version, authority: grant, keys: keys.clone() }),
            Invocation::Access(Access::Decrypt { record, version, authority: owner_right, keys }),
            Invocation::Access(Access::SetPolicy { record, policy: policy(Template::Closed) }),
            Invocation::Access(Access::Erase { record }),
            Invocation::Access(register(Registration { record, version: RecordVersion::new(2), ..registration })),
            Invocation::Medical(Medical::Delete { record }),
            Invocation::Medical(Medical::Transfer { record, to: owner(2).public() }),
        ];
        calls.map(|call| {
            let event = ledger.call(&owner(2), call);
            (event.outcome, event.subject, event.version, event.policy, event.purpose, event.refers_to)
        })
    };
    let of_missing = ask(&mut ledger, missing);
    assert_eq!(ask(&mut ledger, hidden), of_missing);
    assert!(of_missing.iter().all(|answer| answer.0.reasons[0].code == UnknownRecord));
    assert!(ledger.row::<Owned>(&(owner(1).public(), hidden)).is_some());
    // Colleagues of the owner may ask for it.
    let event = ledger.request(&researcher(1), hidden, terms(1, 1));
    assert_eq!((event.outcome.verdict, event.subject), (Verdict::Pending, subject));
}
