//! The trail: read, followed and exported.

use super::world::{PATIENCE, World, research_policy};
use dmdl_types::{
    bundle::{self, BundleError},
    genesis::Role,
    id::RecordId,
};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[test]
fn the_trail_is_read_in_its_order_and_by_what_it_tells() {
    let world = World::shared();
    let officer = world.person(1, Role::Officer);
    let record = world.record(true, Some(research_policy())).record;
    let researcher = world.person(1, Role::Researcher);
    let asked = world.request(researcher, record);
    let get = |query: &str| world.get(Some(officer), &format!("audit/events?{query}")).json();
    let whole = get("limit=500");
    let items = whole["items"].as_array().unwrap();
    for (position, item) in items.iter().enumerate() {
        assert_eq!(item["position"], position as u64);
        let names: Vec<&String> = item["event"].as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            [
                "height",
                "time",
                "transaction",
                "item",
                "action",
                "actor",
                "org",
                "record",
                "version",
                "subject",
                "shares",
                "purpose",
                "policy",
                "refers_to",
                "outcome"
            ]
        );
    }
    let event = &items[usize::try_from(asked.position).unwrap()]["event"];
    assert_eq!(event["transaction"], asked.transaction.to_string());
    assert_eq!((&event["action"], &event["outcome"]["verdict"]), (&json!("request"), &json!("allow")));
    assert_eq!(event["purpose"], json!({ "code": "HMB", "disease": null }));
    assert_eq!(event["org"], "university-clinic");
    assert!(event["outcome"]["grant"].is_string() && event["outcome"]["reasons"][0]["code"] == "policy_permits");
    // The same as the ledger writes it.
    assert_eq!(*event, serde_json::to_value(&asked.event).unwrap());

    let time = event["time"].as_u64().unwrap();
    let positions = |value: &Value| -> Vec<u64> {
        value["items"].as_array().unwrap().iter().map(|item| item["position"].as_u64().unwrap()).collect()
    };
    let expected = |wanted: &dyn Fn(&Value) -> bool| -> Vec<u64> {
        let wanted = items.iter().filter(|item| wanted(&item["event"]));
        wanted.map(|item| item["position"].as_u64().unwrap()).collect()
    };
    let key = researcher.person.key.to_string();
    let last = items.len() as u64;
    for (query, wanted) in [
        (format!("record={record}"), expected(&|event| event["record"] == record.to_string())),
        (format!("actor={key}"), expected(&|event| event["actor"] == key.as_str())),
        ("outcome=allow".to_owned(), expected(&|event| event["outcome"]["verdict"] == "allow")),
        ("purpose=HMB".to_owned(), expected(&|event| event["purpose"]["code"] == "HMB")),
        (format!("from={time}"), expected(&|event| event["time"].as_u64().unwrap() >= time)),
        (format!("to={time}"), expected(&|event| event["time"].as_u64().unwrap() <= time)),
        (format!("from={time}&to={time}"), expected(&|event| event["time"] == time)),
    ] {
        let found: Vec<u64> =
            positions(&get(&format!("limit=500&{query}"))).into_iter().filter(|p| *p < last).collect();
        assert_eq!(found, wanted, "{query}");
    }
    for (query, code) in [
        ("from=2&to=1", "range"),
        ("from=-1", "bad_query"),
        ("to=18446744073709551616", "bad_query"),
        ("outcome=maybe", "bad_query"),
        ("purpose=ALL", "bad_query"),
        ("record=x", "bad_query"),
    ] {
        world.get(Some(officer), &format!("audit/events?{query}")).problem(400, code);
    }
}

#[test]
fn a_bundle_is_verified_with_nothing_but_the_genesis() {
    let world = World::shared();
    let (owner, officer) = (world.person(0, Role::Owner), world.person(1, Role::Officer));
    let record = world.record(true, Some(research_policy())).record;
    let researcher = world.person(1, Role::Researcher);
    let asked = world.request(researcher, record);
    let size = asked.position + 1;
    let key = researcher.person.key;
    for (who, query) in [
        (owner, format!("record={record}&size={size}")),
        (researcher, format!("actor={key}&size={size}")),
        (officer, format!("size={size}")),
    ] {
        let answer = world.get(Some(who), &format!("audit/export?{query}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/octet-stream")));
        let report = bundle::verify(&answer.body, &world.genesis().founding()).unwrap();
        assert!(report.events.iter().any(|(_, event)| event.transaction == asked.transaction), "{query}");
        let mut forged = answer.body.to_vec();
        let middle = forged.len() / 2;
        forged[middle] ^= 1;
        assert!(bundle::verify(&forged, &world.genesis().founding()).is_err());
        let elsewhere = dmdl_types::genesis::Genesis { seed: [1; 32], ..world.genesis().clone() };
        assert!(matches!(bundle::verify(&answer.body, &elsewhere.founding()), Err(BundleError::OtherLedger)));
    }
    let two = format!("audit/export?record={record}&actor={key}");
    world.get(Some(officer), &two).problem(400, "bad_query");
    world.get(Some(officer), "audit/export?size=99999999").problem(404, "future_height");
    world
        .get(Some(officer), &format!("audit/export?record={}", RecordId::new([3; 32])))
        .json_or_bundle(world.genesis());
}

impl super::world::Answer {
    /// A bundle of nothing is a proof that there is nothing.
    fn json_or_bundle(&self, genesis: &dmdl_types::genesis::Genesis) {
        let report = bundle::verify(&self.body, &genesis.founding()).unwrap();
        assert!(report.events.is_empty());
    }
}

/// Reads server-sent events until there are so many, or no more come.
struct Listener<'a> {
    world: &'a World,
    body: hyper::body::Incoming,
    text: String,
}

impl<'a> Listener<'a> {
    fn new(world: &'a World, last: Option<&str>) -> Self {
        let headers: Vec<(&str, &str)> = last.map(|id| ("last-event-id", id)).into_iter().collect();
        let officer = world.person(1, Role::Officer);
        let answer = world.send(Some(officer), "GET", "/v1/channels/main/events", &headers, b"");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { world, body: answer.into_body(), text: String::new() }
    }

    /// The next piece of text; none when the stream has ended.
    fn more(&mut self, patience: Duration) -> Option<()> {
        let frame = self.world.run(async { tokio::time::timeout(patience, self.body.frame()).await });
        let frame = frame.expect("something comes in time")?.ok()?;
        self.text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        Some(())
    }

    /// The next event: its position and what it tells.
    fn event(&mut self) -> (u64, Value) {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if block.lines().all(|line| line.starts_with(':')) {
                    continue;
                }
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
                    line.unwrap_or_else(|| panic!("{block}")).to_owned()
                };
                assert_eq!(field("event"), "audit");
                let data: Value = serde_json::from_str(&field("data")).unwrap();
                let id = field("id").parse().unwrap();
                assert_eq!(data["position"], id);
                return (id, data["event"].clone());
            }
            self.more(PATIENCE).expect("the stream goes on");
        }
    }
}

#[test]
fn the_trail_is_followed_live_and_from_where_somebody_stopped() {
    let world = World::shared();
    let record = world.record(true, Some(research_policy())).record;
    let begun = world.log_size();
    let mut live = Listener::new(&world, None);
    let asked = world.request(world.person(1, Role::Researcher), record);
    let (position, event) = loop {
        let (position, event) = live.event();
        assert!(position >= begun, "what was executed before is not told");
        if event["transaction"] == asked.transaction.to_string() {
            break (position, event);
        }
    };
    assert_eq!((position, &event["action"]), (asked.position, &json!("request")));

    let mut again = Listener::new(&world, Some("4"));
    for expected in 5..begun {
        assert_eq!(again.event().0, expected, "each event once, in its order");
    }
    let mut ahead = Listener::new(&world, Some(&world.log_size().to_string()));
    let size = world.log_size();
    world.request(world.person(1, Role::Researcher), record);
    world.request(world.person(1, Role::Researcher), record);
    assert!(ahead.event().0 > size, "one event was left out");
    // A position beyond every log: nothing comes, and nothing breaks.
    let _never = Listener::new(&world, Some(&u64::MAX.to_string()));

    let officer = world.person(1, Role::Officer);
    for bad in ["-1", "x", "1.5", "18446744073709551616", "", "0x1"] {
        let headers = [("last-event-id", bad)];
        world.ask(Some(officer), "GET", "/v1/channels/main/events", &headers, b"").problem(400, "bad_cursor");
    }
}

#[test]
fn who_follows_hears_that_the_connection_lives_and_when_it_ends() {
    let world = World::start();
    let mut listener = Listener::new(&world, None);
    let begun = Instant::now();
    listener.more(Duration::from_secs(20)).unwrap();
    assert!(listener.text.starts_with(':'), "a comment: {}", listener.text);
    assert!(begun.elapsed() >= Duration::from_secs(10), "{:?}", begun.elapsed());
    let begun = Instant::now();
    world.close_gateway();
    while listener.more(Duration::from_secs(10)).is_some() {}
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn who_may_not_act_any_more_is_told_no_more() {
    use dmdl_types::invocation::{Invocation, Membership};
    let world = World::start();
    let mut listener = Listener::new(&world, None);
    let admin = world.at_node(world.person(1, Role::Admin));
    let key = world.person(1, Role::Officer).person.key;
    let suspended = world.run(admin.call(Invocation::Membership(Membership::Suspend { key }))).unwrap();
    let begun = Instant::now();
    while listener.more(PATIENCE).is_some() {}
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(!listener.text.contains(&suspended.transaction.to_string()), "{}", listener.text);
}
