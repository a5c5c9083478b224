//! The main job, across HTTP: nothing but the gateway's routes and what a client verifies itself.

use super::world::{PATIENCE, World, random_bytes, research_policy, start::register_among_enough, terms};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dmdl::client::{Draft, OpenError};
use dmdl_types::{
    access::ReasonCode,
    codec,
    custody::DealingKey,
    event::Verdict,
    genesis::Role,
    id::TransactionId,
    invocation::{Authority, Metadata},
};
use serde_json::{Value, json};
use std::io::Cursor;

#[test]
fn a_record_is_registered_asked_for_and_opened_across_http() {
    let world = World::shared();
    let owner = world.across(world.person(0, Role::Owner));
    let researcher = world.across(world.person(1, Role::Researcher));
    // Several parts of an upload, and several windows of a download.
    let plaintext = random_bytes(9 << 20);
    let register = async |listed| {
        let metadata = Metadata { media_type: "application/dicom".to_owned(), subject: None, listed };
        let draft = Draft::new(metadata, Some(research_policy()));
        let register = async || owner.register(&plaintext[..], Cursor::new(Vec::new()), draft.clone(), &|_| ()).await;
        let registered = register_among_enough(register).await;
        assert!(owner.wait_active(registered.record, registered.version, PATIENCE).await.unwrap());
        registered
    };
    world.run(async {
        let registered = register(false).await;
        let mut opened = Vec::new();
        let own = owner.decrypt(registered.record, registered.version, Authority::Owner).await.unwrap();
        owner.open(&own, &mut opened).await.unwrap();
        assert!(opened == plaintext, "the owner opens it");

        // Nobody told the researcher of the record, and the gateway does not either.
        let grant = Authority::Grant(dmdl_types::id::GrantId::new([1; 32]));
        let refused = researcher.prepare(registered.record, registered.version, grant).await;
        assert!(matches!(refused, Err(OpenError::NoRecord)), "{refused:?}");

        let registered = register(true).await;
        let asked = researcher.request(registered.record, terms(1), "a study").await.unwrap();
        assert_eq!(asked.event.outcome.verdict, Verdict::Allow);
        let grant = Authority::Grant(asked.event.outcome.grant.unwrap());
        let opening = researcher.decrypt(registered.record, registered.version, grant).await.unwrap();
        let mut opened = Vec::new();
        let done = researcher.open(&opening, &mut opened).await.unwrap();
        assert!(opened == plaintext && done.culprits.is_empty(), "the researcher opens it");
        // Opening it once more takes no second use; a second decryption would.
        let mut again = Vec::new();
        researcher.open(&opening, &mut again).await.unwrap();
        assert!(again == plaintext);
        let denied = researcher.decrypt(registered.record, registered.version, grant).await;
        assert!(matches!(&denied, Err(OpenError::Denied(why)) if why.contains("grant_used_up")), "{denied:?}");
    });
}

#[test]
fn shares_are_released_to_the_requester_and_nobody_else() {
    let world = World::shared();
    let registered = world.record(true, Some(research_policy()));
    let researcher = world.person(1, Role::Researcher);
    let asked = world.request(researcher, registered.record);
    let grant = Authority::Grant(asked.event.outcome.grant.unwrap());
    let at_node = world.at_node(researcher);
    let opening = world.run(at_node.decrypt(registered.record, registered.version, grant)).unwrap();
    let id = opening.done.transaction;
    for (name, who) in world.everybody() {
        if who.person.key != researcher.person.key {
            for route in [format!("releases/{id}"), format!("releases/{id}?custodian={}", world.node_id(0))] {
                assert_eq!(world.get(Some(who), &route).told(), (403, "reader_mismatch".to_owned()), "{name}");
            }
        }
    }
    world.get(None, &format!("releases/{id}")).problem(401, "sig_missing");
    let trail = world.get(Some(world.person(1, Role::Officer)), &format!("audit/events?record={}", registered.record));
    let released = trail.json()["items"].as_array().unwrap().iter().any(|item| item["event"]["action"] == "release");
    assert!(!released, "no custodian was asked");

    world.eventually("all custodians have executed the decryption", |world| {
        world.get(Some(researcher), &format!("releases/{id}")).json()["missing"] == json!([])
    });
    let gathered = world.get(Some(researcher), &format!("releases/{id}")).json();
    let names: Vec<&String> = gathered.as_object().unwrap().keys().collect();
    assert_eq!(names, ["shares", "missing"]);
    assert_eq!(gathered["missing"], json!([]));
    let shares = gathered["shares"].as_array().unwrap();
    assert_eq!(shares.len(), 4);
    for custodian in &registered.custodians {
        let one = world.get(Some(researcher), &format!("releases/{id}?custodian={custodian}")).json();
        let same = shares.iter().find(|share| share["custodian"] == custodian.to_string()).unwrap();
        assert_eq!(one["shares"], json!([same]), "asked again, a custodian answers the same");
        assert!(STANDARD.decode(same["share"].as_str().unwrap()).unwrap().len() < 1024);
    }
    let missing = "ab".repeat(32);
    world.get(Some(researcher), &format!("releases/{id}?custodian={missing}")).problem(404, "unknown_custodian");
    world.get(Some(researcher), &format!("releases/{id}?custodian=x")).problem(400, "bad_query");

    // What is not executed, what is no decryption, and what was denied.
    let none = TransactionId::new([0xcd; 32]);
    world.get(Some(researcher), &format!("releases/{none}")).problem(403, "not_final");
    world.get(Some(researcher), &format!("releases/{}", asked.transaction)).problem(403, "reader_mismatch");
    let denied = world.run(async {
        let wrong = Authority::Grant(dmdl_types::id::GrantId::new([7; 32]));
        let prepared = at_node.prepare(registered.record, registered.version, wrong).await.unwrap();
        assert!(at_node.order(&prepared).await.is_err());
        prepared.id()
    });
    world.get(Some(researcher), &format!("releases/{denied}")).problem(403, "denied");

    // After the grant is revoked each custodian says no, by name.
    let committee = world.at_node(world.person(0, Role::Committee));
    world.run(committee.revoke(asked.event.outcome.grant.unwrap())).unwrap();
    world.eventually("all custodians have executed the revocation", |world| {
        let gathered = world.get(Some(researcher), &format!("releases/{id}")).json();
        let missing = gathered["missing"].as_array().unwrap();
        let denied = missing.iter().filter(|missing| missing["code"] == "denied").count();
        gathered["shares"] == json!([]) && denied == 4
    });
    assert_eq!(ReasonCode::GrantRevoked.as_str(), "grant_revoked");
}

#[test]
fn dealing_keys_are_the_custodians_own_and_for_the_caller() {
    let world = World::shared();
    let owner = world.person(0, Role::Owner);
    let node = world.node_id(3);
    let route = format!("custodians/{node}/dealing-keys");
    let ask = |body: Value| world.send_json(Some(owner), "POST", &route, &body);
    let keys = ask(json!({ "count": 3 })).json();
    let domain = world.genesis().domain();
    for key in keys["keys"].as_array().unwrap() {
        let key: DealingKey = codec::decode(&STANDARD.decode(key.as_str().unwrap()).unwrap(), 1024).unwrap();
        assert_eq!(key.custodian, node);
        assert!(key.verify(&domain, owner.person.key));
        assert!(!key.verify(&domain, world.person(1, Role::Owner).person.key));
    }
    assert_eq!(keys["keys"].as_array().unwrap().len(), 3);
    for count in [0, 17, 65535] {
        ask(json!({ "count": count })).problem(422, "too_many");
    }
    for (body, code) in [
        (json!({}), "json_shape"),
        (json!({ "count": "1" }), "json_shape"),
        (json!({ "count": 65536 }), "json_number"),
        (json!({ "count": -1 }), "json_number"),
        (json!({ "count": 1, "dealer": "x" }), "json_unknown_field"),
    ] {
        ask(body.clone()).problem(400, code);
    }
    let nobody = format!("custodians/{}/dealing-keys", "ab".repeat(32));
    world.send_json(Some(owner), "POST", &nobody, &json!({ "count": 1 })).problem(404, "unknown_custodian");
}

#[test]
fn what_is_no_share_is_refused_by_its_name() {
    let world = World::shared();
    let owner = world.person(0, Role::Owner);
    let record = world.record(true, None).record;
    let put = |v: &str, node: String, body: Value| {
        world.send_json(Some(owner), "PUT", &format!("records/{record}/versions/{v}/shares/{node}"), &body)
    };
    let node = world.node_id(0).to_string();
    let sealed = |bytes: &[u8]| json!({ "sealed": STANDARD.encode(bytes) });
    let long = codec::encode(&dmdl_types::custody::SealedBytes(vec![0; 1025]));
    put("1", node.clone(), sealed(&long)).problem(422, "too_long");
    for bad in [&[][..], &[1, 0, 0, 0], &[1, 0, 0, 0, 7, 7], &[0xff; 8]] {
        put("1", node.clone(), sealed(bad)).problem(400, "noncanonical");
    }
    put("1", node.clone(), json!({ "sealed": "AAA" })).problem(400, "bad_base64");
    put("1", "ab".repeat(32), sealed(&[0; 4])).problem(404, "unknown_custodian");
    for v in ["x", "-1", "4294967296", "1.0"] {
        put(v, node.clone(), sealed(&[0; 4])).problem(400, "bad_id");
    }
}
