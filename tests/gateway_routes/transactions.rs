//! Transactions, on their way in and as they are shown.

use super::world::{PATIENCE, World, asking, research_policy, submission};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dmdl_types::{
    codec,
    event::Verdict,
    genesis::Role,
    id::{ChannelId, GrantId, RecordId, TransactionId},
    invocation::{Access, Invocation, Medical, Membership},
    transaction::{Transaction, TransactionBody},
};
use serde_json::{Value, json};
use std::time::Instant;

const SUBMIT: &str = "transactions";

#[test]
fn a_transaction_is_executed_and_proved() {
    let world = World::shared();
    let record = world.record(true, Some(research_policy())).record;
    let researcher = world.person(1, Role::Researcher);
    let transaction = world.transaction(researcher, asking(record));
    let id = transaction.body.id();
    // Nobody signs the request: the author's signature is inside.
    let answer = world.send_json(None, "POST", SUBMIT, &submission(&transaction));
    let done = answer.json();
    let names: Vec<&String> = done.as_object().unwrap().keys().collect();
    assert_eq!(names, ["transaction", "height", "position", "verdict", "receipt"]);
    assert_eq!((&done["transaction"], &done["verdict"]), (&json!(id.to_string()), &json!("allow")));
    assert_eq!(done["position"], world.assert_receipt(&done["receipt"], id, Verdict::Allow));
    let height: u64 = answer.header("dmdl-height").unwrap().parse().unwrap();
    assert!(height >= done["height"].as_u64().unwrap());

    // The same again: it is not executed again.
    let again = world.send_json(None, "POST", SUBMIT, &submission(&transaction)).json();
    assert_eq!((&again["position"], &again["height"]), (&done["position"], &done["height"]));
    let again = world.send_json(None, "POST", &format!("{SUBMIT}?wait=final&timeout=5000"), &submission(&transaction));
    assert_eq!(again.json()["position"], done["position"]);
}

#[test]
fn who_does_not_wait_gets_the_id_and_looks_later() {
    let world = World::shared();
    let record = world.record(true, None).record;
    let researcher = world.person(1, Role::Researcher);
    let transaction = world.transaction(researcher, asking(record));
    let id = transaction.body.id();
    let route = format!("transactions/{id}");
    world.get(Some(researcher), &route).problem(404, "unknown_transaction");
    let answer = world.send_json(None, "POST", &format!("{SUBMIT}?wait=none"), &submission(&transaction));
    assert_eq!((answer.status, answer.json()), (202, json!({ "transaction": id.to_string() })));
    let shown = world.get(Some(researcher), &format!("{route}?wait=20000")).json();
    assert_eq!(shown["transaction"], id.to_string());
    assert_eq!(shown["body"], STANDARD.encode(codec::encode(&transaction)));
    assert_eq!(shown["position"], world.assert_receipt(&shown["receipt"], id, Verdict::Pending));

    let transaction = world.transaction(researcher, asking(record));
    let answer = world.send_json(None, "POST", &format!("{SUBMIT}?timeout=0"), &submission(&transaction));
    let problem = answer.problem(504, "not_final");
    assert_eq!(problem["transaction"], transaction.body.id().to_string());
    let answer = world.send_json(None, "POST", SUBMIT, &submission(&transaction));
    assert_eq!(answer.json()["verdict"], "pending", "it becomes final all the same");
}

#[test]
fn what_the_ledger_denies_is_a_problem_with_its_proof() {
    let world = World::shared();
    let record = world.record(true, Some(research_policy())).record;
    let stranger = &world.stranger;
    let grant = GrantId::new([9; 32]);
    let registered = world.run(world.at_node(stranger).prepare(
        record,
        dmdl_types::id::RecordVersion::new(1),
        dmdl_types::invocation::Authority::Grant(grant),
    ));
    let prepared = registered.unwrap();
    let (transaction, _) = prepared.parts();
    let before = world.log_size();
    let problem = world.send_json(None, "POST", SUBMIT, &submission(transaction)).problem(403, "denied");
    assert_eq!(problem["transaction"], prepared.id().to_string());
    assert_eq!(problem["position"], world.assert_receipt(&problem["receipt"], prepared.id(), Verdict::Deny));
    assert_eq!(problem["reasons"][0]["code"], "unknown_grant");
    assert!(problem["height"].as_u64().unwrap() > 0);
    assert!(world.log_size() > before, "the denial is on the ledger");
}

#[test]
fn what_makes_no_sense_is_refused_by_its_name_and_leaves_no_trace() {
    let world = World::shared();
    let registered = world.record(true, Some(research_policy()));
    let record = registered.record;
    let (owner, researcher) = (world.person(0, Role::Owner), world.person(1, Role::Researcher));
    let admin = world.person(0, Role::Admin);
    let missing = RecordId::new([3; 32]);
    let erase = |record| Invocation::Access(Access::Erase { record });
    let none = TransactionId::new([4; 32]);
    let known = Membership::Enrol { person: researcher.person.clone() };
    let mut own = researcher.person.clone();
    own.org = admin.person.org.clone();
    let rows = [
        ("a record that is not there", owner, erase(missing), 404, "unknown_record"),
        ("somebody else's record", world.person(1, Role::Owner), erase(record), 403, "role"),
        (
            "a request that is not there",
            owner,
            Invocation::Access(Access::Approve { request: none }),
            404,
            "unknown_request",
        ),
        (
            "a role that registers nothing",
            researcher,
            Invocation::Medical(Medical::Initial {
                metadata: dmdl_types::invocation::Metadata {
                    media_type: "text/csv".into(),
                    subject: None,
                    listed: true,
                },
                source: dmdl_types::id::NoteCommitment::new([1; 32]),
                storage: None,
            }),
            403,
            "role",
        ),
        ("another organisation's person", admin, Invocation::Membership(known), 403, "role"),
        ("a key that is taken", admin, Invocation::Membership(Membership::Enrol { person: own }), 409, "id_reuse"),
    ];
    for (name, who, call, status, code) in rows {
        let transaction = world.transaction(who, call);
        let answer = world.send_json(None, "POST", SUBMIT, &submission(&transaction));
        assert_eq!(answer.told(), (status, code.to_owned()), "{name}");
        let id = transaction.body.id();
        let officer = world.person(1, Role::Officer);
        world.get(Some(officer), &format!("transactions/{id}")).problem(404, "unknown_transaction");
    }
    let author = world.transaction(&world.nobody, erase(record));
    world.send_json(None, "POST", SUBMIT, &submission(&author)).problem(401, "unknown_author");
}

#[test]
fn what_is_no_transaction_of_this_channel_is_refused_before_anybody_works_on_it() {
    let world = World::shared();
    let record = world.record(true, None).record;
    let owner = world.person(0, Role::Owner);
    let good = world.transaction(owner, asking(record));
    let bytes = codec::encode(&good);
    let post = |bytes: &[u8]| world.send_json(None, "POST", SUBMIT, &json!({ "transaction": STANDARD.encode(bytes) }));
    for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        post(&bytes[..cut]).problem(400, "noncanonical");
    }
    post(&[&bytes[..], &[0]].concat()).problem(400, "noncanonical");
    post(&[0xff; 200]).problem(400, "noncanonical");
    post(&vec![0; 70_000]).problem(422, "too_long");
    for text in ["!", "AAAA=", "AA", " ", "AAAA\u{e4}"] {
        let answer = world.send_json(None, "POST", SUBMIT, &json!({ "transaction": text }));
        assert!(["bad_base64", "bad_text"].contains(&answer.told().1.as_str()), "{answer:?}");
    }

    let body = good.body.clone();
    let elsewhere = dmdl_types::sign::Domain { channel: ChannelId::new([1; 32]), ..body.domain };
    let other = TransactionBody { domain: elsewhere, ..body.clone() }.sign(&[&owner.key]);
    world.send_json(None, "POST", SUBMIT, &submission(&other)).problem(400, "wrong_context");
    let forged = Transaction { signatures: world.transaction(owner, asking(record)).signatures, body: body.clone() };
    world.send_json(None, "POST", SUBMIT, &submission(&forged)).problem(422, "tx_invalid");
    let unsigned = Transaction { signatures: Vec::new(), body };
    world.send_json(None, "POST", SUBMIT, &submission(&unsigned)).problem(422, "tx_invalid");

    let headers = [("content-type", "application/json")];
    let post = |body: &str| world.ask(None, "POST", "/v1/channels/main/transactions", &headers, body.as_bytes());
    for (body, code) in
        [("", "json_shape"), ("[]", "json_shape"), ("{", "json_syntax"), (r#"{"transaction":1}"#, "json_shape")]
    {
        post(body).problem(400, code);
    }
    post(r#"{"transaction":"","more":1}"#).problem(400, "json_unknown_field");
    world.send_json(None, "POST", "transactions?wait=soon", &submission(&good)).problem(400, "bad_query");
    world.send_json(None, "POST", "transactions?wait=final&timeout=x", &submission(&good)).problem(400, "bad_query");
}

#[test]
fn a_transaction_is_shown_to_its_author_the_owner_of_its_record_and_officers() {
    let world = World::shared();
    let record = world.record(true, Some(research_policy())).record;
    let author = world.person(1, Role::Researcher);
    let id = world.request(author, record).transaction;
    let absent = world.get(Some(author), &format!("transactions/{}", TransactionId::new([5; 32])));
    absent.problem(404, "unknown_transaction");
    for (name, who) in world.everybody() {
        let answer = world.get(Some(who), &format!("transactions/{id}"));
        let (org, role) = (who.person.org.as_str(), who.person.role);
        let is_owner = (org, role) == ("city-hospital", Role::Owner);
        if role == Role::Officer || is_owner || who.person.key == author.person.key {
            assert_eq!(answer.json()["transaction"], id.to_string(), "{name}");
        } else {
            assert_eq!(answer.lasting(), absent.lasting(), "{name}: like one that is not there");
        }
    }
    // Not to be seen is waited for as long as what is not there.
    let begun = std::time::Instant::now();
    world.get(Some(&world.stranger), &format!("transactions/{id}?wait=700")).problem(404, "unknown_transaction");
    assert!(begun.elapsed() >= std::time::Duration::from_millis(700), "{:?}", begun.elapsed());
}

#[test]
fn what_a_node_told_the_ledger_is_shown_without_a_body() {
    let world = World::shared();
    let (owner, officer) = (world.person(0, Role::Owner), world.person(1, Role::Officer));
    // A batch may begin with an item of another record, which is not this owner's to see: one is wanted that does not.
    let begun = Instant::now();
    let event = loop {
        assert!(begun.elapsed() < PATIENCE, "every batch begins with an item of another record");
        let record = world.record(true, None).record;
        let trail = world.get(Some(owner), &format!("audit/events?record={record}")).json();
        let first = |item: &&Value| item["event"]["action"] == "acknowledge" && item["event"]["item"] == 0;
        if let Some(told) = trail["items"].as_array().unwrap().iter().find(first) {
            break told["event"].clone();
        }
    };
    for who in [owner, officer] {
        let shown = world.get(Some(who), &format!("transactions/{}", event["transaction"].as_str().unwrap())).json();
        assert_eq!(shown["body"], Value::Null);
        assert_eq!(shown["height"], event["height"]);
    }
}
