//! How fresh a read is, and how that is asked for.

use super::world::{MEDIA_TYPE, World};
use dmdl_types::{
    genesis::Role,
    id::{NoteCommitment, RecordId},
    invocation::{Invocation, Medical, Metadata},
};
use serde_json::json;
use std::thread;

/// How many people do this at a time: each of them waits for a turn of this gateway's node.
const PEOPLE: u8 = 8;

#[test]
fn a_linear_read_shows_what_another_node_has_acknowledged() {
    let world = World::shared();
    let owner = world.person(0, Role::Owner);
    let enter = |number| {
        let metadata = Metadata { media_type: MEDIA_TYPE.to_owned(), subject: None, listed: true };
        let source = NoteCommitment::of(&[number; 32], "a hospital");
        let elsewhere = world.at_other_node(owner);
        world.run(elsewhere.call(Invocation::Medical(Medical::Initial { metadata, source, storage: None }))).unwrap()
    };
    let (network, channel) = (world.genesis().id(), world.genesis().channel_id());
    let enter_and_read = |number| {
        let entered = enter(number);
        let record = RecordId::derive(network, channel, owner.person.key, &[*entered.transaction.as_bytes()]);
        let question = json!({ "contract": "medical", "function": "readMedical", "args": { "record": record } });
        let answers = [
            world.get(Some(owner), &format!("records/{record}?consistency=linear")),
            world.send_json(Some(owner), "POST", "query?consistency=linear", &question),
        ];
        for answer in answers {
            assert_eq!((answer.status, &answer.json()["record"]), (200, &json!(record)));
            let height: u64 = answer.header("dmdl-height").unwrap().parse().unwrap();
            assert!(height >= entered.event.height.get());
        }
    };
    thread::scope(|scope| {
        for number in 0..PEOPLE {
            scope.spawn(move || enter_and_read(number));
        }
    });
}

#[test]
fn a_query_says_once_how_fresh_and_only_where_somebody_reads() {
    let world = World::shared();
    let officer = world.person(0, Role::Officer);
    let all = world.get(Some(officer), "persons?limit=500").json();
    let local = world.get(Some(officer), "persons?consistency=local&limit=500");
    assert_eq!((local.status, &local.json()["items"]), (200, &all["items"]));
    for bad in [
        "persons?consistency=strong",
        "persons?consistency=",
        "persons?consistency=local&consistency=linear",
        "persons?consistency=linear&other=1",
        // Anybody may ask for it.
        "status?consistency=linear",
        // It follows.
        "events?consistency=linear",
    ] {
        world.get(Some(officer), bad).problem(400, "bad_query");
    }
    // Who may not ask is told so, and not after a while.
    world.get(None, "persons?consistency=linear").problem(401, "sig_missing");
}
