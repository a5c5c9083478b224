use crate::{
    testing::*,
    world::{CohortRow, DecryptionRow, GrantRow},
};
use dmdl_policies::templates::Template;
use dmdl_types::{
    access::ReasonCode::{self, *},
    event::{Event, Verdict},
    id::{GrantId, RecordId, RecordVersion, TransactionId, UseNumber},
    invocation::{Access, Authority, Invocation, Medical, Membership, OpeningKey},
    sign::SigningKey,
};

const V1: RecordVersion = RecordVersion::new(1);

/// A record of owner 1, and researcher 2's grant of it.
fn granted(uses: u32) -> (Ledger, RecordId, GrantId) {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &automatic());
    let grant = ledger.granted(&researcher(2), record, terms(30, uses));
    (ledger, record, grant)
}

fn automatic() -> Deal {
    Deal { policy: Some(policy(Template::ResearchAuto)), ..Deal::default() }
}

#[test]
fn a_grant_opens_its_record_and_the_use_is_counted() {
    let (mut ledger, record, grant) = granted(5);
    let event = ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    assert_eq!(told(&event), (Verdict::Allow, Some(PolicyPermits)));
    assert_eq!((event.outcome.grant, event.outcome.use_number), (Some(grant), Some(UseNumber::new(1))));
    assert_eq!((event.record, event.version, event.purpose), (Some(record), Some(V1), Some(terms(1, 1).purpose)));
    assert_eq!(event.policy, Some(policy(Template::ResearchAuto).id()));
    let row: DecryptionRow = ledger.row(&ledger.last_transaction()).unwrap();
    assert_eq!((row.record, row.version, row.time), (record, V1, event.time));
    assert_eq!((row.requester, row.keys.len()), (researcher(2).public(), 4));
}

/// Whoever asks, and for what.
type Ask = (SigningKey, Access);

/// Why a decryption is denied, and what leads to it.
type Row = (&'static str, ReasonCode, Box<dyn Fn(&mut Ledger, RecordId, GrantId) -> Ask>);

fn row(name: &'static str, code: ReasonCode, prepare: impl Fn(&mut Ledger, RecordId, GrantId) -> Ask + 'static) -> Row {
    (name, code, Box::new(prepare))
}

#[test]
fn every_reason_to_deny_denies_and_uses_nothing_up() {
    let rows = [
        row("an unknown record", UnknownRecord, |l, _, g| {
            (researcher(2), l.decryption(RecordId::new([1; 32]), Authority::Grant(g)))
        }),
        row("an unlisted record of others", UnknownRecord, |l, _, g| {
            let mut deal = automatic();
            deal.metadata.listed = false;
            let hidden = l.active_record(&owner(1), &deal);
            (researcher(2), l.decryption(hidden, Authority::Grant(g)))
        }),
        row("a pending record", RecordPending, |l, _, g| {
            let registration = l.registration(&owner(1), &Deal::default());
            let record = registration.record;
            l.access(&owner(1), Access::Register(Box::new(registration)));
            (researcher(2), l.decryption(record, Authority::Grant(g)))
        }),
        row("a pending version", RecordPending, |l, r, g| {
            let second = l.version(&owner(1), r, &Deal::default());
            l.access(&owner(1), Access::Register(Box::new(second)));
            let keys = l.opening_keys(&[1, 2, 3]);
            (researcher(2), Access::Decrypt { record: r, version: V1.next(), authority: Authority::Grant(g), keys })
        }),
        row("a version that is none", BadVersion, |l, r, g| {
            let keys = l.opening_keys(&[1, 2, 3]);
            (researcher(2), Access::Decrypt { record: r, version: V1.next(), authority: Authority::Grant(g), keys })
        }),
        row("an erased record", RecordErased, |l, r, g| {
            l.access(&owner(1), Access::Erase { record: r });
            (researcher(2), l.decryption(r, Authority::Grant(g)))
        }),
        row("an erased record, for its owner", RecordErased, |l, r, _| {
            l.access(&owner(1), Access::Erase { record: r });
            (owner(1), l.decryption(r, Authority::Owner))
        }),
        row("an unknown grant", UnknownGrant, |l, r, _| {
            (researcher(2), l.decryption(r, Authority::Grant(GrantId::new([1; 32]))))
        }),
        row("somebody else's grant", GrantMismatch, |l, r, g| (researcher(3), l.decryption(r, Authority::Grant(g)))),
        row("a grant that the owner gave, for the owner", GrantMismatch, |l, r, g| {
            (owner(1), l.decryption(r, Authority::Grant(g)))
        }),
        row("a grant of another record", GrantMismatch, |l, _, g| {
            let other = l.active_record(&owner(1), &automatic());
            (researcher(2), l.decryption(other, Authority::Grant(g)))
        }),
        row("a revoked grant", GrantRevoked, |l, r, g| {
            l.access(&owner(1), Access::Revoke { grant: g });
            (researcher(2), l.decryption(r, Authority::Grant(g)))
        }),
        row("a grant that ended a millisecond ago", GrantExpired, |l, r, g| {
            let ends = l.row::<GrantRow>(&g).unwrap().ends;
            let mut late = l.block(vec![], vec![]);
            late.header.time = dmdl_types::id::UnixMillis::new(ends.get() + 1 - BLOCK_MS);
            l.push(late);
            (researcher(2), l.decryption(r, Authority::Grant(g)))
        }),
        row("the owner's right, for somebody else", Role, |l, r, _| (researcher(2), l.decryption(r, Authority::Owner))),
        row("the owner's right, for a committee member", Role, |l, r, _| {
            (committee(1), l.decryption(r, Authority::Owner))
        }),
        row("the owner's right after a transfer", Role, |l, r, _| {
            l.medical(&owner(1), Medical::Transfer { record: r, to: owner(3).public() });
            (owner(1), l.decryption(r, Authority::Owner))
        }),
        row("a suspended requester", Suspended, |l, r, g| {
            l.call(&admin(2), Invocation::Membership(Membership::Suspend { key: researcher(2).public() }));
            (researcher(2), l.decryption(r, Authority::Grant(g)))
        }),
        row("a revoked key", KeyRevoked, |l, r, g| {
            l.call(&admin(2), Invocation::Membership(Membership::Revoke { key: researcher(2).public() }));
            (researcher(2), l.decryption(r, Authority::Grant(g)))
        }),
        row("somebody who is not enrolled", UnknownAuthor, |l, r, g| {
            (signer(99), l.decryption(r, Authority::Grant(g)))
        }),
    ];
    for (name, code, prepare) in rows {
        let (mut ledger, record, grant) = granted(5);
        let (author, call) = prepare(&mut ledger, record, grant);
        let before = ledger.state();
        let event = ledger.access(&author, call);
        assert_eq!(told(&event), (Verdict::Deny, Some(code)), "{name}");
        assert_eq!(event.outcome.use_number, None, "{name}");
        assert_eq!(ledger.state(), before, "{name}");
    }
}

#[test]
fn a_grant_holds_to_its_last_millisecond() {
    let (mut ledger, record, grant) = granted(5);
    let call = ledger.decryption(record, Authority::Grant(grant));
    let transaction = ledger.transaction(&researcher(2), Invocation::Access(call));
    let mut last = ledger.block(vec![transaction], vec![]);
    last.header.time = ledger.row::<GrantRow>(&grant).unwrap().ends;
    assert_eq!(ledger.push(last).events[0].outcome.verdict, Verdict::Allow);
}

#[test]
fn opening_keys_are_one_a_custodian_sorted_and_strong() {
    let mut order_8 = [0; 32];
    order_8.copy_from_slice(&hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"));
    let mut top_bit = [0; 32];
    top_bit[31] = 0x80;
    let mut prime = [0xff; 32];
    (prime[0], prime[31]) = (0xed, 0x7f);
    let weak = |key: [u8; 32]| move |keys: &mut Vec<OpeningKey>| keys[1].key = key;
    type Break = Box<dyn Fn(&mut Vec<OpeningKey>)>;
    fn row(name: &'static str, change: impl Fn(&mut Vec<OpeningKey>) + 'static) -> (&'static str, Break) {
        (name, Box::new(change))
    }
    let rows = [
        row("none", Vec::clear),
        row("unsorted", |keys| keys.reverse()),
        row("doubled", |keys| keys[1].custodian = keys[0].custodian),
        row("for another node", |keys| keys[2].custodian = dmdl_types::id::NodeId::new([0xff; 32])),
        row("zero", weak([0; 32])),
        row("zero with the topmost bit", weak(top_bit)),
        row("of order 8", weak(order_8)),
        row("the field's prime", weak(prime)),
    ];
    for (name, change) in rows {
        let (mut ledger, record, grant) = granted(5);
        let mut keys = ledger.opening_keys(&[1, 2, 3]);
        change(&mut keys);
        let call = Access::Decrypt { record, version: V1, authority: Authority::Grant(grant), keys };
        let before = ledger.state();
        assert_eq!(told(&ledger.access(&researcher(2), call)), (Verdict::Deny, Some(BadOpeningKey)), "{name}");
        assert_eq!(ledger.state(), before, "{name}");
    }
}

#[test]
fn a_grant_of_n_uses_gives_exactly_n() {
    let (mut ledger, record, grant) = granted(3);
    // Seven at once: the first three are allowed, in the order of the block.
    let transactions = (0..7)
        .map(|_| {
            let call = ledger.decryption(record, Authority::Grant(grant));
            ledger.transaction(&researcher(2), Invocation::Access(call))
        })
        .collect();
    let events = ledger.execute(transactions, vec![]).events;
    let numbers: Vec<_> = events.iter().filter_map(|event| event.outcome.use_number).map(UseNumber::get).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(events[3..].iter().all(|event: &Event| told(event) == (Verdict::Deny, Some(GrantUsedUp))));
    assert_eq!(ledger.row::<GrantRow>(&grant).unwrap().used, 3);
}

#[test]
fn a_denied_decryption_takes_no_use() {
    let (mut ledger, record, grant) = granted(1);
    let set = |template| Access::SetPolicy { record, policy: policy(template) };
    ledger.access(&owner(1), set(Template::Closed));
    let event = ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    assert_eq!(told(&event), (Verdict::Deny, Some(PolicyForbids)));
    ledger.access(&owner(1), set(Template::ResearchAuto));
    let event = ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    assert_eq!(told(&event), (Verdict::Allow, Some(PolicyPermits)), "the one use is still there");
}

#[test]
fn owners_open_without_a_grant_and_are_recorded() {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal::default());
    for _ in 0..2 {
        let event = ledger.decrypt(&owner(1), record, Authority::Owner);
        assert_eq!(told(&event), (Verdict::Allow, Some(Owner)));
        assert_eq!(event.outcome.grant, None);
    }
}

#[test]
fn a_new_owner_opens_what_was_transferred_and_a_grant_outlives_the_transfer() {
    let (mut ledger, record, grant) = granted(5);
    ledger.medical(&owner(1), Medical::Transfer { record, to: owner(3).public() });
    assert_eq!(told(&ledger.decrypt(&owner(3), record, Authority::Owner)), (Verdict::Allow, Some(Owner)));
    let event = ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    assert_eq!(event.outcome.verdict, Verdict::Allow);
    assert_eq!(told(&ledger.access(&committee(1), Access::Revoke { grant })).1, Some(Role), "not theirs any more");
    assert_eq!(ledger.access(&committee(3), Access::Revoke { grant }).outcome.verdict, Verdict::Applied);
}

#[test]
fn a_grant_holder_is_not_locked_out_when_the_record_becomes_unlisted() {
    let (mut ledger, record, grant) = granted(5);
    let mut deal = automatic();
    deal.metadata.listed = false;
    let second = ledger.version(&owner(1), record, &deal);
    assert_eq!(ledger.access(&owner(1), Access::Register(Box::new(second))).outcome.verdict, Verdict::Applied);
    let event = ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    assert_eq!(event.outcome.verdict, Verdict::Allow);
    assert_eq!(told(&ledger.decrypt(&researcher(3), record, Authority::Grant(grant))).1, Some(UnknownRecord));
}

#[test]
fn rekeying_adds_custodians_to_a_use_and_no_use() {
    let (mut ledger, record, grant) = granted(5);
    let keys = ledger.opening_keys(&[2, 4]);
    ledger.access(&researcher(2), Access::Decrypt { record, version: V1, authority: Authority::Grant(grant), keys });
    let decryption = ledger.last_transaction();
    let before = ledger.state();
    let (known, fresh) = (ledger.opening_keys(&[4]), ledger.opening_keys(&[1, 3]));
    let rows = [
        ("a key for a custodian that has one", researcher(2), decryption, known, BadOpeningKey),
        ("no keys", researcher(2), decryption, vec![], BadOpeningKey),
        ("somebody else's decryption", researcher(3), decryption, fresh.clone(), UnknownDecryption),
        ("no decryption", researcher(2), TransactionId::new([1; 32]), fresh.clone(), UnknownDecryption),
    ];
    for (name, author, decryption, keys, code) in rows {
        let event = ledger.access(&author, Access::Rekey { decryption, keys });
        assert_eq!(told(&event), (Verdict::Rejected, Some(code)), "{name}");
    }
    assert_eq!(ledger.state(), before);
    let event = ledger.access(&researcher(2), Access::Rekey { decryption, keys: fresh });
    assert_eq!(
        (told(&event), event.record, event.refers_to),
        ((Verdict::Applied, None), Some(record), Some(decryption))
    );
    let row: DecryptionRow = ledger.row(&decryption).unwrap();
    assert!(row.keys.len() == 4 && row.keys.is_sorted_by(|a, b| a.custodian < b.custodian));
    assert_eq!(ledger.row::<GrantRow>(&grant).unwrap().used, 1);
}

#[test]
fn a_cohort_counts_different_records() {
    let (mut ledger, record, grant) = granted(5);
    let other = ledger.active_record(&owner(3), &automatic());
    let second = ledger.granted(&researcher(2), other, terms(30, 5));
    for (record, grant) in [(record, grant), (record, grant), (other, second), (other, second)] {
        ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    }
    assert_eq!(ledger.row::<CohortRow>(&researcher(2).public()), Some(CohortRow(2)));
}

#[test]
fn a_policy_can_bound_the_cohort() {
    let bounded = r#"
        @id("research") permit (principal, action == Action::"request", resource);
        @id("cohort") forbid (principal, action == Action::"open", resource) when { context.cohort >= 1 };
    "#;
    let mut ledger = Ledger::new();
    let deal = Deal { policy: Some(rules(bounded)), ..Deal::default() };
    let records = [ledger.active_record(&owner(1), &deal), ledger.active_record(&owner(1), &deal)];
    let [first, second] = records.map(|record| (record, ledger.granted(&researcher(2), record, terms(30, 5))));
    assert_eq!(ledger.decrypt(&researcher(2), first.0, Authority::Grant(first.1)).outcome.verdict, Verdict::Allow);
    let before = ledger.state();
    let event = ledger.decrypt(&researcher(2), second.0, Authority::Grant(second.1));
    assert_eq!((told(&event), event.outcome.grant), ((Verdict::Deny, Some(PolicyForbids)), Some(second.1)));
    assert_eq!(ledger.state(), before);
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}
