//! Records, requests and questions, as the catalogue answers them.

use super::world::{MEDIA_TYPE, World, research_policy, submission};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dmdl_types::{
    codec,
    custody_proof::CustodyProof,
    event::Verdict,
    genesis::Role,
    id::{Epoch, GrantId, RecordId, RecordVersion},
    invocation::{Access, Invocation, Medical},
    receipt::Receipt,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// All items of a list, page by page.
fn all(world: &World, who: &dmdl::local::Identity, route: &str, limit: usize) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    let joined = if route.contains('?') { "&" } else { "?" };
    for _ in 0..1000 {
        let page = world.get(Some(who), &format!("{route}{joined}limit={limit}{cursor}")).json();
        let names: Vec<&String> = page.as_object().unwrap().keys().collect();
        assert_eq!(names, ["items", "next_cursor", "height"]);
        let found = page["items"].as_array().unwrap();
        assert!(found.len() <= limit);
        items.extend(found.iter().cloned());
        match &page["next_cursor"] {
            Value::Null => return items,
            next => cursor = format!("&cursor={}", next.as_str().unwrap()),
        }
    }
    panic!("the list does not end");
}

#[test]
fn a_record_is_shown_as_it_stands() {
    let world = World::shared();
    let owner = world.person(0, Role::Owner);
    let registered = world.record(true, Some(research_policy()));
    let answer = world.get(Some(&world.stranger), &format!("records/{}", registered.record));
    let record = answer.json();
    let custodians: Vec<String> = registered.custodians.iter().map(ToString::to_string).collect();
    let expected = json!({
        "record": registered.record.to_string(),
        "owner": owner.person.key.to_string(),
        "org": "city-hospital",
        "state": "ACTIVE",
        "media_type": MEDIA_TYPE,
        "title": null,
        "unlisted": false,
        "subject": null,
        "permission": { "code": "HMB", "diseases": [] },
        "policy": research_policy().id().to_string(),
        "last_version": 1,
        "active_version": 1,
        "registered": record["registered"],
        "payload": {
            "digest": registered.payload.digest.to_string(),
            "ciphertext_len_bytes": registered.payload.ciphertext_len_bytes,
        },
        "threshold": 2,
        "custodians": custodians,
        "erasure": null,
    });
    assert_eq!(record, expected);
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&record),
        [
            "record",
            "owner",
            "org",
            "state",
            "media_type",
            "title",
            "unlisted",
            "subject",
            "permission",
            "policy",
            "last_version",
            "active_version",
            "registered",
            "payload",
            "threshold",
            "custodians",
            "erasure"
        ]
    );
    assert!(record["registered"].as_u64().unwrap() > 1_600_000_000_000);
    assert!(answer.header("dmdl-height").is_some());

    let policy = world.get(Some(&world.stranger), &format!("records/{}/policy", registered.record)).json();
    assert_eq!(policy["policy"], expected["policy"]);
    assert_eq!(policy["permission"], expected["permission"]);
    assert_eq!(policy["rules"], research_policy().rules);

    let plain = world.record(true, None).record;
    let shown = world.get(Some(owner), &format!("records/{plain}")).json();
    assert!(shown["policy"].is_null() && shown["permission"].is_null());
    let policy = world.get(Some(owner), &format!("records/{plain}/policy")).json();
    assert_eq!(policy, json!({ "policy": null, "permission": null, "rules": null }));
}

#[test]
fn what_has_no_payload_and_what_was_erased_are_shown_too() {
    let world = World::shared();
    let owner = world.person(0, Role::Owner);
    let metadata = dmdl_types::invocation::Metadata {
        media_type: "text/csv".to_owned(),
        subject: Some(dmdl_types::id::SubjectId::new([6; 32])),
        listed: true,
    };
    let source = dmdl_types::id::NoteCommitment::new([1; 32]);
    let call = Invocation::Medical(Medical::Initial { metadata, source, storage: None });
    let done = world.run(world.at_node(owner).call(call)).unwrap();
    let id = done.event.record.unwrap();
    let record = world.get(Some(owner), &format!("records/{id}")).json();
    assert_eq!(record["state"], "CATALOGUED");
    assert_eq!(record["subject"], "06".repeat(32));
    assert!(record["payload"].is_null() && record["threshold"].is_null());
    assert_eq!((&record["custodians"], &record["last_version"]), (&json!([]), &json!(0)));
    world.get(Some(owner), &format!("records/{id}/custody")).problem(404, "unknown_record");

    let erased = world.record(true, None).record;
    world.run(world.at_node(owner).call(Invocation::Access(Access::Erase { record: erased }))).unwrap();
    let record = world.get(Some(&world.stranger), &format!("records/{erased}")).json();
    assert_eq!(record["state"], "ERASED");
    let history = all(&world, owner, &format!("records/{erased}/history"), 2);
    let kinds: Vec<&str> = history.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["source", "registration", "storage", "deletion"]);
    for entry in &history {
        let names: Vec<&String> = entry.as_object().unwrap().keys().collect();
        assert_eq!(names, ["kind", "transaction", "time", "owner"]);
        assert_eq!(entry["owner"], owner.person.key.to_string());
    }
    assert!(history.is_sorted_by_key(|entry| entry["time"].as_u64().unwrap()));
}

#[test]
fn the_catalogue_is_listed_page_by_page() {
    let world = World::shared();
    let records = [(); 3].map(|()| world.record(true, Some(research_policy())).record);
    let stranger = &world.stranger;
    let ids = |items: Vec<Value>| -> BTreeSet<String> {
        let all: Vec<String> = items.iter().map(|item| item["record"].as_str().unwrap().to_owned()).collect();
        assert!(all.is_sorted_by(|a, b| a < b), "each once, in their order");
        all.into_iter().collect()
    };
    let one_by_one = ids(all(&world, stranger, "records", 1));
    assert!(records.iter().all(|record| one_by_one.contains(&record.to_string())));
    let owner = world.person(0, Role::Owner).person.key;
    assert!(ids(all(&world, stranger, &format!("records?owner={owner}"), 2)).is_superset(&one_by_one));
    let nobody = world.nobody.person.key;
    assert!(all(&world, stranger, &format!("records?owner={nobody}"), 2).is_empty());
    let first = records[0].to_string();
    assert_eq!(
        ids(all(&world, stranger, &format!("records?query={}", &first[..20]), 50)),
        BTreeSet::from([first.clone()])
    );
    assert!(ids(all(&world, stranger, "records?type=application%2Foctet-stream&duo=HMB", 50)).contains(&first));
    assert!(all(&world, stranger, "records?duo=POA", 50).is_empty());
    assert!(all(&world, stranger, "records?query=CITY-hospital", 500).len() >= 3);
    let registered = world.get(Some(stranger), &format!("records/{first}")).json()["registered"].as_u64().unwrap();
    assert!(ids(all(&world, stranger, &format!("records?since={registered}"), 50)).contains(&first));
    assert!(!ids(all(&world, stranger, &format!("records?since={}", registered + 1), 50)).contains(&first));
    // What is listed is what can be looked up.
    let listed = all(&world, stranger, "records", 500);
    let shown = listed.iter().find(|item| item["record"] == first.as_str()).unwrap();
    assert_eq!(*shown, world.get(Some(stranger), &format!("records/{first}")).json());
}

#[test]
fn limits_cursors_and_parameters_are_what_they_have_to_be() {
    let world = World::shared();
    for _ in 0..2 {
        world.record(true, None);
    }
    let officer = world.person(1, Role::Officer);
    let get = |route: &str| world.get(Some(officer), route);
    let record = world.record(true, None).record;
    let lists = ["records", "requests", "audit/events", &format!("records/{record}/history")];
    for list in lists {
        for bad in ["0", "-1", "501", "1000000000", "", "x", "1.5", "01", "18446744073709551616"] {
            get(&format!("{list}?limit={bad}")).problem(400, "bad_limit");
        }
        assert_eq!(get(&format!("{list}?limit=500")).status, 200);
        for bad in ["", "x", "AAAA", "%00", "..%2F", &"A".repeat(300), "AA%3D%3D"] {
            let code = get(&format!("{list}?cursor={bad}")).told();
            let expected = if bad == "%00" { "bad_text" } else { "bad_cursor" };
            assert_eq!(code, (400, expected.to_owned()), "{list} {bad}");
        }
        for bad in ["more=1", "limit=1&limit=1", "owner=xyz&nope=1"] {
            get(&format!("{list}?{bad}")).problem(400, "bad_query");
        }
    }
    let cursor = |route: &str| get(route).json()["next_cursor"].as_str().unwrap().to_owned();
    let records = cursor("records?limit=1");
    let events = cursor("audit/events?limit=1");
    assert_eq!(get(&format!("records?limit=7&cursor={records}")).status, 200, "of any length");
    for elsewhere in
        ["records?duo=HMB&", "records?since=0&", "requests?", "audit/events?", &format!("records/{record}/history?")]
    {
        get(&format!("{elsewhere}cursor={records}")).problem(400, "bad_cursor");
    }
    get(&format!("audit/events?outcome=deny&cursor={events}")).problem(400, "bad_cursor");
    let mut forged = records.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    get(&format!("records?cursor={forged}")).problem(400, "bad_cursor");
    // Another gateway process gives and takes the same cursors.
    world.record(true, None);
    assert_eq!(get(&format!("records?limit=1&cursor={records}")).status, 200);
    assert_eq!(cursor("records?limit=1"), cursor("records?limit=1"));

    for bad in
        ["owner=root", "owner=*", "duo=GRU2", "duo=gru", "since=-1", "since=yesterday", "since=18446744073709551616"]
    {
        get(&format!("records?{bad}")).problem(400, "bad_query");
    }
    get(&format!("records?query={}", "a".repeat(129))).problem(422, "too_long");
    get(&format!("records?type={}", "a".repeat(128))).problem(422, "too_long");
    get("records?query=%1b%5b2J").problem(400, "bad_text");
    for wild in ["*", "%25", "_", ".%2A", "'%20OR%201=1", "%3Cscript%3E"] {
        assert_eq!(get(&format!("records?query={wild}")).json()["items"], json!([]), "{wild}");
    }
}

#[test]
fn a_bad_id_is_no_id_and_a_missing_one_is_not_there() {
    let world = World::shared();
    let officer = world.person(1, Role::Officer);
    let id = "ab".repeat(32);
    let bad = [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f",
        "..%5c",
        "%00",
        "root",
        "admin",
        "new",
        "sys",
        "*",
        &id[1..],
        &id.to_uppercase(),
        &format!("{id}0"),
        &format!("{id};a=b"),
        &format!("%61b{}%20", &id[3..]),
        "%252e%252e",
    ];
    for bad in bad {
        for route in [
            format!("records/{bad}"),
            format!("records/{bad}/history"),
            format!("records/{bad}/custody"),
            format!("records/{bad}/policy"),
            format!("requests/{bad}"),
            format!("transactions/{bad}"),
            format!("releases/{bad}"),
            format!("persons/{bad}"),
        ] {
            let told = world.get(Some(officer), &route).told();
            assert!(
                told == (400, "bad_id".to_owned()) || told == (404, "unknown_route".to_owned()),
                "{route}: {told:?}"
            );
        }
        let answer = world.ask(Some(officer), "GET", &format!("/v1/payloads/{bad}"), &[], b"");
        assert!([400, 404].contains(&answer.status), "{bad}");
    }
    for (route, code) in [
        (format!("records/{id}"), "unknown_record"),
        (format!("records/{id}/history"), "unknown_record"),
        (format!("records/{id}/custody"), "unknown_record"),
        (format!("records/{id}/custody?wait=60000"), "unknown_record"),
        (format!("records/{id}/policy"), "unknown_record"),
        (format!("requests/{id}"), "unknown_request"),
        (format!("requests/{id}?wait=60000"), "unknown_request"),
        (format!("transactions/{id}"), "unknown_transaction"),
    ] {
        world.get(Some(officer), &route).problem(404, code);
    }
    for bad in ["records/./x", "records//", "records/", "records;a=b"] {
        assert!([400, 404].contains(&world.get(Some(officer), bad).status), "{bad}");
    }
}

#[test]
fn custody_is_proved() {
    let world = World::shared();
    let registered = world.record(true, None);
    let record = registered.record;
    for route in [format!("records/{record}/custody"), format!("records/{record}/custody?version=1&wait=100")] {
        let custody = world.get(Some(&world.stranger), &route).json();
        let names: Vec<&String> = custody.as_object().unwrap().keys().collect();
        assert_eq!(names, ["version", "state", "registration", "receipt", "reshared", "acknowledgements"]);
        assert_eq!((&custody["version"], &custody["state"]), (&json!(1), &json!("ACTIVE")));
        let receipt = |text: &Value| Receipt::parse(text.as_str().unwrap().as_bytes()).unwrap();
        let registration = STANDARD.decode(custody["registration"].as_str().unwrap()).unwrap();
        let proof = CustodyProof {
            registration: codec::decode(&registration, 65536).unwrap(),
            receipt: receipt(&custody["receipt"]),
            reshared: None,
            acknowledgements: custody["acknowledgements"].as_array().unwrap().iter().map(receipt).collect(),
        };
        let config = world.genesis().epoch_config(Epoch::new(0));
        let of = (record, RecordVersion::new(1));
        let domain = world.genesis().domain();
        let leaf = |receipt: &Receipt| receipt.verify(&domain, &config.cosigners(), config.cosigners_needed());
        let custody = proof.verify(of, &domain, leaf).unwrap();
        assert!(custody.is_active());
        assert_eq!(custody.registration().payload, registered.payload);
    }
    for version in ["2", "0", "4294967295"] {
        world
            .get(Some(&world.stranger), &format!("records/{record}/custody?version={version}"))
            .problem(404, "unknown_record");
    }
    world.get(Some(&world.stranger), &format!("records/{record}/custody?version=4294967296")).problem(400, "bad_query");
}

#[test]
fn a_request_is_followed_to_its_decision() {
    let world = World::shared();
    let record = world.record(true, None).record;
    let (researcher, committee) = (world.person(1, Role::Researcher), world.person(0, Role::Committee));
    let asked = world.request(researcher, record);
    let id = asked.transaction;
    let route = format!("requests/{id}");
    let request = world.get(Some(researcher), &route).json();
    let expected = json!({
        "request": id.to_string(),
        "record": record.to_string(),
        "requester": researcher.person.key.to_string(),
        "state": "PENDING",
        "terms": {
            "purpose": { "code": "HMB", "disease": null }, "days": 30, "uses": 5, "non_profit": true,
            "commercial": false, "country": "DE", "project": null, "ethics": null,
        },
        "ruled": "pending",
        "grant": null,
        "decision": null,
    });
    assert_eq!(request, expected);
    assert_eq!(world.get(Some(committee), &route).json(), expected);
    let pending = all(&world, committee, &format!("requests?state=PENDING&record={record}"), 1);
    assert_eq!(pending, std::slice::from_ref(&expected));
    assert!(all(&world, committee, &format!("requests?state=ALLOWED&record={record}"), 1).is_empty());

    // Somebody waits while the committee approves.
    let begun = std::time::Instant::now();
    let waited = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| world.get(Some(researcher), &format!("{route}?wait=25000")).json());
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(!waiting.is_finished());
        let call = world.transaction(committee, Invocation::Access(Access::Approve { request: id }));
        let approved = world.send_json(None, "POST", "transactions", &submission(&call)).json();
        assert_eq!(approved["verdict"], "applied");
        let waited = waiting.join().unwrap();
        world.assert_receipt(&waited["decision"], call.body.id(), Verdict::Applied);
        waited
    });
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    let grant = GrantId::of_request(id);
    assert_eq!(waited["state"], "ALLOWED");
    assert_eq!(waited["grant"]["grant"], grant.to_string());
    let names: Vec<&String> = waited["grant"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["grant", "ends", "uses", "used", "revoked"]);
    assert_eq!((&waited["grant"]["used"], &waited["grant"]["revoked"]), (&json!(0), &json!(false)));

    world.run(world.at_node(committee).revoke(grant)).unwrap();
    let revoked = world.get(Some(researcher), &route).json();
    assert_eq!(revoked["grant"]["revoked"], true);
    let own = all(&world, researcher, "requests", 1);
    assert!(own.iter().all(|item| item["requester"] == researcher.person.key.to_string()), "one's own and no others");
    assert!(own.iter().any(|item| item["request"] == id.to_string() && item["decision"].is_null()));
}

#[test]
fn a_decision_of_a_policy_is_the_request_itself() {
    let world = World::shared();
    let record = world.record(true, Some(research_policy())).record;
    let researcher = world.person(1, Role::Researcher);
    let asked = world.request(researcher, record);
    let request = world.get(Some(researcher), &format!("requests/{}", asked.transaction)).json();
    assert_eq!(request["state"], "ALLOWED");
    world.assert_receipt(&request["decision"], asked.transaction, Verdict::Allow);
}

#[test]
fn contracts_answer_questions_under_the_names_of_the_paper() {
    let world = World::shared();
    let record = world.record(true, None).record;
    let (owner, stranger) = (world.person(0, Role::Owner), &world.stranger);
    let ask = |function: &str, args: Value| {
        let question = json!({ "contract": "medical", "function": function, "args": args });
        world.send_json(Some(stranger), "POST", "query", &question)
    };
    let shown = ask("readMedical", json!({ "record": record.to_string() })).json();
    assert_eq!(shown, world.get(Some(stranger), &format!("records/{record}")).json());
    let history = ask("getHistory", json!({ "record": record.to_string(), "limit": 2 })).json();
    assert_eq!(history["items"].as_array().unwrap().len(), 2);
    let next = json!({ "record": record.to_string(), "cursor": history["next_cursor"] });
    assert_eq!(ask("getHistory", next).json()["items"].as_array().unwrap().len(), 1);
    let owned = ask("queryByOwner", json!({ "owner": owner.person.key.to_string(), "limit": 500 })).json();
    assert!(owned["items"].as_array().unwrap().iter().any(|item| item["record"] == record.to_string()));

    let missing = RecordId::new([3; 32]).to_string();
    ask("readMedical", json!({ "record": missing })).problem(404, "unknown_record");
    ask("getHistory", json!({ "record": missing })).problem(404, "unknown_record");
    let owner = owner.person.key.to_string();
    let id = record.to_string();
    for (function, args) in [
        ("readMedical", json!({})),
        ("readMedical", json!({ "owner": owner })),
        ("readMedical", json!({ "record": id, "limit": 1 })),
        ("getHistory", json!({ "owner": owner })),
        ("queryByOwner", json!({ "record": id })),
        ("queryByOwner", json!({ "record": id, "owner": owner })),
    ] {
        ask(function, args.clone()).problem(400, "bad_args");
    }
    ask("queryByOwner", json!({ "owner": owner, "limit": 0 })).problem(400, "bad_limit");
    ask("queryByOwner", json!({ "owner": owner, "cursor": "AAAA" })).problem(400, "bad_cursor");
    ask("queryByOwner", json!({ "owner": "root" })).problem(400, "json_shape");
    ask("readMedical", json!({ "record": id, "more": 1 })).problem(400, "json_unknown_field");
    ask("dropEverything", json!({})).problem(404, "unknown_function");
    let other = json!({ "contract": "copyright", "function": "trace", "args": {} });
    world.send_json(Some(stranger), "POST", "query", &other).problem(404, "unknown_function");
}
