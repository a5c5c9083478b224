//! Who may know of what, as one table: every person, every route, every kind of record.

use super::world::{Answer, World, research_policy, start::register_among_enough};
use dmdl::local::Identity;
use dmdl_types::{
    event::Verdict,
    genesis::Role,
    id::{RecordId, TransactionId},
    invocation::{Access, Invocation},
};
use serde_json::json;
use std::collections::BTreeSet;

const OWN: &str = "city-hospital";
const OTHER: &str = "university-clinic";

/// A listed and an unlisted record of the first organisation's owner. The second organisation's researcher
/// holds a grant on a third one, which was listed when it was asked for.
struct Scene {
    listed: RecordId,
    hidden: RecordId,
    shared: RecordId,
    /// The request for the third one.
    request: TransactionId,
    /// One that was never registered.
    missing: RecordId,
}

fn scene(world: &World) -> Scene {
    let listed = world.record(true, None).record;
    let hidden = world.record(false, None).record;
    let shared = world.record(true, Some(research_policy())).record;
    let asked = world.request(world.person(1, Role::Researcher), shared);
    assert_eq!(asked.event.outcome.verdict, Verdict::Allow);
    // Who asks in vain for what they may not know of has still asked for nothing.
    let vain = world.request(world.person(1, Role::Owner), hidden);
    assert_eq!(vain.event.outcome.verdict, Verdict::Deny);
    // A second version takes the third record out of the catalogue.
    let owner = world.at_node(world.person(0, Role::Owner));
    let metadata = dmdl_types::invocation::Metadata {
        media_type: "application/octet-stream".to_owned(),
        subject: None,
        listed: false,
    };
    let mut draft = dmdl::client::Draft::new(metadata, Some(research_policy()));
    draft.replaces = Some((shared, dmdl_types::id::RecordVersion::new(2)));
    let register =
        async || owner.register(&b"second"[..], std::io::Cursor::new(Vec::new()), draft.clone(), &|_| ()).await;
    world.run(register_among_enough(register));
    Scene { listed, hidden, shared, request: asked.transaction, missing: RecordId::new([0xee; 32]) }
}

/// Everything that can be asked about a record by its id.
fn questions(world: &World, who: &Identity, record: RecordId) -> Vec<(&'static str, Answer)> {
    let get = |route: String| world.get(Some(who), &route);
    let query = |function: &str| {
        let args = json!({ "record": record.to_string() });
        let question = json!({ "contract": "medical", "function": function, "args": args });
        world.send_json(Some(who), "POST", "query", &question)
    };
    vec![
        ("record", get(format!("records/{record}"))),
        ("history", get(format!("records/{record}/history"))),
        ("custody", get(format!("records/{record}/custody"))),
        ("custody of a version", get(format!("records/{record}/custody?version=1&wait=10"))),
        ("policy", get(format!("records/{record}/policy"))),
        ("readMedical", query("readMedical")),
        ("getHistory", query("getHistory")),
    ]
}

/// Whether a person may know of a record, by the rule as people tell it.
fn may_know(who: &Identity, unlisted: bool, asked: bool) -> bool {
    let (org, role) = (who.person.org.as_str(), who.person.role);
    !unlisted || role == Role::Officer || asked || (org == OWN && matches!(role, Role::Owner | Role::Committee))
}

#[test]
fn every_route_about_a_record_keeps_to_one_table() {
    let world = World::shared();
    let Scene { listed, hidden, shared, missing, .. } = scene(&world);
    let mut rows = 0;
    for (name, who) in world.everybody() {
        let absent = questions(&world, who, missing);
        for (route, answer) in &absent {
            assert_eq!(answer.told(), (404, "unknown_record".to_owned()), "{name}, {route}");
        }
        let has_asked = (who.person.org.as_str(), who.person.role) == (OTHER, Role::Researcher);
        for (kind, record, unlisted, asked) in
            [("listed", listed, false, false), ("hidden", hidden, true, false), ("shared", shared, true, has_asked)]
        {
            let known = may_know(who, unlisted, asked);
            for ((route, answer), (_, absent)) in questions(&world, who, record).iter().zip(&absent) {
                rows += 1;
                if known {
                    assert_eq!(answer.status, 200, "{name} may know of the {kind} record: {route}");
                } else {
                    assert_eq!(answer.lasting(), absent.lasting(), "{name}, {kind}: {route} is like of none");
                }
            }
        }
        let listing = world.get(Some(who), "records?limit=500").json();
        assert!(listing["next_cursor"].is_null());
        let shown: BTreeSet<&str> =
            listing["items"].as_array().unwrap().iter().map(|item| item["record"].as_str().unwrap()).collect();
        for (record, unlisted, asked) in [(listed, false, false), (hidden, true, false), (shared, true, has_asked)] {
            let record = record.to_string();
            assert_eq!(shown.contains(record.as_str()), may_know(who, unlisted, asked), "{name}: the catalogue");
            let found = world.get(Some(who), &format!("records?query={record}")).json();
            assert_eq!(!found["items"].as_array().unwrap().is_empty(), may_know(who, unlisted, asked), "{name}");
        }
    }
    assert_eq!(rows, 11 * 3 * 7);
}

#[test]
fn requests_are_for_the_requester_and_who_decides_and_officers() {
    let world = World::shared();
    let Scene { listed, hidden, shared, request, missing } = scene(&world);
    let requester = world.person(1, Role::Researcher);
    for (name, who) in world.everybody() {
        let (org, role) = (who.person.org.as_str(), who.person.role);
        let decides = org == OWN && matches!(role, Role::Owner | Role::Committee);
        let sees = role == Role::Officer || decides || who.person.key == requester.person.key;
        let answer = world.get(Some(who), &format!("requests/{request}"));
        let absent = world.get(Some(who), &format!("requests/{}", TransactionId::new([0xee; 32])));
        absent.problem(404, "unknown_request");
        if sees {
            assert_eq!(answer.json()["state"], "ALLOWED", "{name}");
        } else {
            assert_eq!(answer.lasting(), absent.lasting(), "{name}");
        }
        let list = |query: String| world.get(Some(who), &format!("requests?limit=500&{query}"));
        let of_shared = list(format!("record={shared}")).json();
        assert_eq!(of_shared["items"].as_array().unwrap().len(), usize::from(sees), "{name}");
        let by = list(format!("requester={}", requester.person.key)).json();
        let found = by["items"].as_array().unwrap().iter().any(|item| item["request"] == request.to_string());
        assert_eq!(found, sees, "{name}");
        // A record without requests, one that is hidden and one that does not exist answer alike.
        let bodies = [listed, hidden, missing].map(|record| list(format!("record={record}")).json()["items"].clone());
        assert!(bodies.iter().all(|items| *items == json!([])), "{name}");
    }
}

#[test]
fn only_the_owner_hands_out_shares_and_learns_nothing_of_other_records() {
    let world = World::shared();
    let Scene { listed, hidden, missing, .. } = scene(&world);
    let node = world.node_id(1);
    let body = json!({ "sealed": "AQAAAAE=" });
    for (name, who) in world.everybody() {
        let put =
            |record| world.send_json(Some(who), "PUT", &format!("records/{record}/versions/1/shares/{node}"), &body);
        let (org, role) = (who.person.org.as_str(), who.person.role);
        if role != Role::Owner {
            for record in [listed, hidden, missing] {
                put(record).problem(403, "role");
            }
            continue;
        }
        let absent = put(missing);
        absent.problem(404, "unknown_record");
        if org == OWN {
            // It is not the share that was dealt, and the custodian says so.
            for record in [listed, hidden] {
                let told = put(record).told();
                assert!(told.0 == 422 || told.0 == 409, "{name}: {told:?}");
            }
        } else {
            put(listed).problem(403, "role");
            assert_eq!(put(hidden).lasting(), absent.lasting(), "{name}");
        }
    }
}

#[test]
fn a_submission_does_not_tell_either() {
    let world = World::shared();
    let Scene { hidden, missing, .. } = scene(&world);
    let stranger = world.person(1, Role::Owner);
    let policy = research_policy();
    let calls = |record| {
        [
            Invocation::Access(Access::Erase { record }),
            Invocation::Access(Access::SetPolicy { record, policy: policy.clone() }),
            super::world::asking(record),
        ]
    };
    for (of_hidden, of_missing) in calls(hidden).into_iter().zip(calls(missing)) {
        let told = [of_hidden, of_missing].map(|call| {
            let transaction = world.transaction(stranger, call);
            let answer = world.send_json(None, "POST", "transactions", &super::world::submission(&transaction));
            let problem = answer.told();
            let detail: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            (problem, detail["detail"].clone(), detail["reasons"].clone())
        });
        assert_eq!(told[0], told[1]);
    }
}

#[test]
fn the_trail_is_for_officers_and_everybody_has_their_own_part() {
    let world = World::shared();
    let Scene { listed, hidden, missing, .. } = scene(&world);
    for (name, who) in world.everybody() {
        let (org, role) = (who.person.org.as_str(), who.person.role);
        let (is_officer, owns) = (role == Role::Officer, (org, role) == (OWN, Role::Owner));
        let own = who.person.key;
        let other = world.nobody.person.key;
        let rows = [
            (String::new(), is_officer),
            (format!("?actor={own}"), true),
            (format!("?actor={other}"), is_officer),
            (format!("?record={listed}"), is_officer || owns),
            (format!("?record={hidden}"), is_officer || owns),
            (format!("?record={missing}"), is_officer),
            (format!("?subject={}", "06".repeat(32)), is_officer),
        ];
        for (query, may) in &rows {
            let events = world.get(Some(who), &format!("audit/events{query}"));
            if *may {
                assert_eq!(events.status, 200, "{name} {query}");
            } else {
                events.problem(403, "role");
            }
            if !*may {
                world.get(Some(who), &format!("audit/export{query}")).problem(403, "role");
            }
        }
        // What may not be read is refused alike, whether it is there, hidden or neither.
        if !is_officer && !owns {
            let answers =
                [listed, hidden, missing].map(|record| world.get(Some(who), &format!("audit/events?record={record}")));
            assert!(answers.windows(2).all(|pair| pair[0].lasting() == pair[1].lasting()), "{name}");
        }
        let own = world.get(Some(who), &format!("audit/events?actor={own}&limit=500")).json();
        for item in own["items"].as_array().unwrap() {
            assert_eq!(item["event"]["actor"], who.person.key.to_string(), "{name}");
        }
        if !is_officer {
            world.get(Some(who), "events").problem(403, "role");
        }
    }
}

#[test]
fn payloads_go_up_by_owners_and_down_to_everybody_enrolled() {
    let world = World::shared();
    let registered = world.record(true, None);
    let route = format!("/v1/payloads/{}", registered.payload.digest);
    for (name, who) in world.everybody() {
        let answer = world.ask(Some(who), "GET", &route, &[], b"");
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(answer.body.len() as u64, registered.payload.ciphertext_len_bytes);
        let is_owner = who.person.role == Role::Owner;
        let head = world.ask(Some(who), "HEAD", &route, &[], b"");
        assert_eq!(head.status, if is_owner { 200 } else { 403 }, "{name}");
        let headers = [("content-type", "application/octet-stream"), ("content-range", "bytes 0-0/1")];
        let put = world.ask(Some(who), "PUT", &format!("/v1/payloads/{}", "ab".repeat(32)), &headers, b"x");
        assert_eq!(put.told().1, if is_owner { "digest_mismatch" } else { "role" }, "{name}");
    }
    world.ask(None, "GET", &route, &[], b"").problem(401, "sig_missing");
}

#[test]
fn dealing_keys_are_for_owners() {
    let world = World::shared();
    let node = world.node_id(2);
    for (name, who) in world.everybody() {
        let answer =
            world.send_json(Some(who), "POST", &format!("custodians/{node}/dealing-keys"), &json!({ "count": 1 }));
        if who.person.role == Role::Owner {
            assert_eq!(answer.json()["keys"].as_array().unwrap().len(), 1, "{name}");
        } else {
            answer.problem(403, "role");
        }
    }
}
