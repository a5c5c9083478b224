use super::*;
use crate::testing::*;
use dmdl_types::{
    genesis::Role,
    id::{NoteCommitment, RecordId},
    invocation::{Medical, Membership},
    transaction::TransactionBody,
};

fn initial() -> Invocation {
    Invocation::Medical(Medical::Initial { metadata: metadata(), source: NoteCommitment::new([1; 32]), storage: None })
}

/// A ledger at height 3 in which researcher 1 is suspended and committee member 1 is revoked.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new();
    for call in [Membership::Suspend { key: researcher(1).public() }, Membership::Revoke { key: committee(1).public() }]
    {
        ledger.call(&admin(1), Invocation::Membership(call));
    }
    ledger.empty();
    ledger
}

fn look(ledger: &Ledger, transaction: &Transaction, payload_found: bool) -> Result<TransactionId, Refusal> {
    audit(&ledger.store, &ledger.domain(), &Checked::default(), ledger.height(), transaction, payload_found)
}

#[test]
fn a_well_formed_transaction_is_endorsed_even_if_it_will_be_denied() {
    let mut ledger = ledger();
    let reason = NoteCommitment::new([0; 32]);
    let hopeless = Access::Request { record: RecordId::new([1; 32]), terms: terms(0, 0), reason };
    for (author, call) in [(owner(1), initial()), (researcher(2), Invocation::Access(hopeless))] {
        let transaction = ledger.body(&author, call).sign(&[&author]);
        assert_eq!(look(&ledger, &transaction, false).unwrap(), transaction.body.id());
    }
}

#[test]
fn every_reason_to_refuse_refuses() {
    type Row = (&'static str, fn(&Refusal) -> bool, fn(&mut Ledger) -> Transaction);
    fn with(ledger: &mut Ledger, change: impl Fn(&mut TransactionBody)) -> Transaction {
        let mut body = ledger.body(&owner(1), initial());
        change(&mut body);
        body.sign(&[&owner(1)])
    }
    let rows: [Row; 13] = [
        (
            "another channel",
            |r| matches!(r, Refusal::Transaction(TransactionError::WrongContext)),
            |l| with(l, |body| body.domain.channel = dmdl_types::id::ChannelId::new([1; 32])),
        ),
        (
            "no author",
            |r| matches!(r, Refusal::Transaction(TransactionError::Authors)),
            |l| with(l, |body| body.authors.clear()),
        ),
        (
            "a signature of another",
            |r| matches!(r, Refusal::Transaction(TransactionError::Signature(_))),
            |l| l.body(&owner(1), initial()).sign(&[&owner(2)]),
        ),
        (
            "a change after signing",
            |r| matches!(r, Refusal::Transaction(TransactionError::Signature(_))),
            |l| {
                let mut transaction = with(l, |_| ());
                transaction.body.nonce[3] ^= 1;
                transaction
            },
        ),
        (
            "too long",
            |r| matches!(r, Refusal::TooLong { .. }),
            |l| {
                let policy = rules(&" ".repeat(TRANSACTION_BYTES_MAX));
                let record = RecordId::new([1; 32]);
                let call = Invocation::Access(Access::SetPolicy { record, policy });
                l.body(&owner(1), call).sign(&[&owner(1)])
            },
        ),
        (
            "expiry at the tip",
            |r| matches!(r, Refusal::Expiry { .. }),
            |l| with(l, |body| body.expires = Height::new(3)),
        ),
        (
            "expiry too late",
            |r| matches!(r, Refusal::Expiry { .. }),
            |l| with(l, |body| body.expires = Height::new(4 + limits::EXPIRY_BLOCKS)),
        ),
        (
            "no expiry",
            |r| matches!(r, Refusal::Expiry { .. }),
            |l| with(l, |body| body.expires = Height::new(u64::MAX)),
        ),
        (
            "a stranger",
            |r| matches!(r, Refusal::UnknownAuthor(_)),
            |l| l.body(&signer(99), initial()).sign(&[&signer(99)]),
        ),
        (
            "a second author who is a stranger",
            |r| matches!(r, Refusal::UnknownAuthor(_)),
            |l| {
                let mut body = l.body(&owner(1), initial());
                body.authors.push(signer(99).public());
                body.sign(&[&owner(1), &signer(99)])
            },
        ),
        (
            "somebody suspended",
            |r| matches!(r, Refusal::Inactive(_)),
            |l| l.body(&researcher(1), initial()).sign(&[&researcher(1)]),
        ),
        (
            "a revoked key",
            |r| matches!(r, Refusal::Inactive(_)),
            |l| l.body(&committee(1), initial()).sign(&[&committee(1)]),
        ),
        (
            "a payload that is not there",
            |r| matches!(r, Refusal::PayloadMissing),
            |l| {
                let registration = l.registration(&owner(1), &Deal::default());
                l.body(&owner(1), Invocation::Access(Access::Register(Box::new(registration)))).sign(&[&owner(1)])
            },
        ),
    ];
    for (name, expected, make) in rows {
        let mut ledger = ledger();
        let transaction = make(&mut ledger);
        let refusal = look(&ledger, &transaction, false).expect_err(name);
        assert!(expected(&refusal), "{name}: {refusal}");
    }
}

#[test]
fn a_payload_that_is_there_is_registered() {
    let mut ledger = ledger();
    let registration = ledger.registration(&owner(1), &Deal::default());
    let body = ledger.body(&owner(1), Invocation::Access(Access::Register(Box::new(registration.clone()))));
    let transaction = body.sign(&[&owner(1)]);
    assert_eq!(payload_of(&transaction), Some(&registration.payload));
    assert!(look(&ledger, &transaction, true).is_ok());
}

#[test]
fn the_longest_transaction_has_room_for_every_endorsement_in_a_block() {
    let mut ledger = Ledger::new();
    let record = RecordId::new([1; 32]);
    let of_len = |ledger: &mut Ledger, len: usize| {
        let call = Access::SetPolicy { record, policy: rules(&" ".repeat(len)) };
        ledger.body(&owner(1), Invocation::Access(call)).sign(&[&owner(1)])
    };
    let overhead = codec::encode(&of_len(&mut ledger, 0)).len();
    let longest = of_len(&mut ledger, TRANSACTION_BYTES_MAX - overhead);
    look(&ledger, &longest, false).unwrap();
    let passed_over = vec![node_id(1); 4];
    let endorsement = Endorsement::sign(&node(1), &ledger.domain(), longest.digest(), Height::new(0), passed_over);
    let endorsements = vec![endorsement; limits::ENDORSEMENTS];
    let endorsed = dmdl_types::transaction::EndorsedTransaction { transaction: longest, endorsements };
    assert!(codec::encode(&endorsed).len() <= limits::TRANSACTION_BYTES);
    let one_more = of_len(&mut ledger, TRANSACTION_BYTES_MAX - overhead + 1);
    assert!(matches!(look(&ledger, &one_more, false), Err(Refusal::TooLong { .. })));
}

#[test]
fn a_panel_is_every_endorser_in_an_order_that_the_transaction_picks() {
    let config = config();
    let mut endorsers: Vec<NodeId> = config.endorsers().map(|member| member.node).collect();
    endorsers.sort();
    let mut firsts = BTreeSet::new();
    let mut orders = BTreeSet::new();
    for n in 0..100 {
        let order = panel(&config, TransactionId::new([n; 32]), Epoch::new(0));
        assert_eq!(order, panel(&config, TransactionId::new([n; 32]), Epoch::new(0)));
        let mut sorted = order.clone();
        sorted.sort();
        assert_eq!(sorted, endorsers);
        firsts.insert(order[0]);
        orders.insert(order);
    }
    assert_eq!(firsts.len(), 4);
    assert!(orders.len() > 12, "{} of 24", orders.len());
    let id = TransactionId::new([1; 32]);
    let by_epoch: BTreeSet<_> = (0..20).map(|epoch| panel(&config, id, Epoch::new(epoch))).collect();
    assert!(by_epoch.len() > 5);
    let mut fewer = config;
    fewer.members[2].roles.endorser = false;
    assert_eq!(panel(&fewer, id, Epoch::new(0)).len(), 3);
}

#[test]
fn enough_different_organisations_must_endorse_and_only_endorsers_may() {
    let mut ledger = Ledger::new();
    let mut endorsements = |orgs: &[u8]| {
        let body = ledger.body(&person(1, Role::Owner), initial());
        endorse_by(body, &owner(1), orgs).endorsements
    };
    for (orgs, enough) in
        [(&[][..], false), (&[3], false), (&[3, 4], true), (&[1, 2, 3, 4], true), (&[1, 2, 99], false)]
    {
        assert_eq!(satisfied(&config(), &endorsements(orgs)), enough, "{orgs:?}");
    }
    let mut no_endorser = config();
    for member in &mut no_endorser.members {
        member.roles.endorser = member.node != node_id(2);
    }
    assert!(!satisfied(&no_endorser, &endorsements(&[1, 2])));
    assert!(satisfied(&no_endorser, &endorsements(&[1, 3])));
}
