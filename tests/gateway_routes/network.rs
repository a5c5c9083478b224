//! What anybody may know of the network, and who its people are.

use super::world::{ROLES, World};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dmdl_types::{checkpoint::CosignedCheckpoint, genesis::Role, id::Epoch, merkle::ConsistencyProof};
use serde_json::json;
use sha2::{Digest as _, Sha256};

#[test]
fn the_network_is_shown_as_it_stands() {
    let world = World::shared();
    world.record(true, None);
    let genesis = world.genesis();
    let channels = world.ask(None, "GET", "/v1/channels", &[], b"").json();
    let id = genesis.channel_id().to_string();
    assert_eq!(channels, json!({ "network": genesis.id().to_string(), "items": [{ "name": "main", "id": id }] }));

    let answer = world.get(None, "status");
    let status = answer.json();
    let names: Vec<&String> = status.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "network",
            "single_org_demo",
            "name",
            "id",
            "height",
            "final_height",
            "block",
            "state_root",
            "epoch",
            "votes",
            "view",
            "primary",
            "qualified",
            "reputation",
            "peers",
            "log_size",
            "time"
        ]
    );
    assert_eq!(answer.header("dmdl-height").unwrap(), status["height"].to_string());
    assert!(status["height"].as_u64().unwrap() > 0 && status["log_size"].as_u64().unwrap() >= 4);
    assert_eq!(status["peers"].as_array().unwrap().len(), 3, "without this node");
    assert_eq!(status["peers"][0]["roles"], json!(["endorser", "orderer", "committer", "custodian"]));
    let nodes: Vec<String> = genesis.members.iter().map(|member| member.node.to_string()).collect();
    assert!(nodes.contains(&status["primary"].as_str().unwrap().to_owned()));
    assert_eq!(status["qualified"].as_array().unwrap().len(), 4);
    for hash in ["block", "state_root"] {
        assert_eq!(status[hash].as_str().unwrap().len(), 64);
    }

    let members = world.get(None, "members").json();
    for (shown, member) in members["items"].as_array().unwrap().iter().zip(&genesis.members) {
        assert_eq!(shown["node"], member.node.to_string());
        assert_eq!(shown["cosigning_key"], member.cosigning_key.to_string());
        assert_eq!(shown["org"], member.org.to_string());
    }
    let reputation = world.get(None, "reputation").json();
    let items = reputation["items"].as_array().unwrap();
    assert_eq!(items.len(), 4);
    for standing in items {
        let duties: i64 =
            ["endorsing", "committing", "ordering"].iter().map(|duty| standing[*duty].as_i64().unwrap()).sum();
        assert_eq!(standing["total"], duties, "every organisation has every duty here");
        assert_eq!((&standing["qualified"], &standing["below"]), (&json!(true), &json!([])));
    }
    let taken: u64 = items.iter().map(|standing| standing["current"]["turns"]["good"].as_u64().unwrap()).sum();
    assert!(taken > 0);
}

#[test]
fn a_browser_is_shown_a_page_without_scripts() {
    let world = World::shared();
    let answer = world.ask(None, "GET", "/", &[("accept", "text/html,application/xhtml+xml;q=0.9")], b"");
    let page = std::str::from_utf8(&answer.body).unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.contains(&world.genesis().id().to_string()) && !page.contains("<script"), "{page}");
    assert!(!page.contains("single_org_demo"), "this network spreads its trust");
    for member in &world.genesis().members {
        assert_eq!(page.contains(member.org.as_str()), member.node != world.node_id(0), "{page}");
    }
    // The one style that it has is the one that its policy names.
    let policy = answer.header("content-security-policy").unwrap();
    let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let digest = STANDARD.encode(Sha256::digest(style));
    assert_eq!(policy, format!("default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"));
}

#[test]
fn the_state_root_is_the_one_that_is_cosigned() {
    let world = World::start();
    world.record(true, None);
    // Between two events the state changes with every block: its root is compared at the checkpoint's height.
    world.eventually("a checkpoint of the newest block", |world| {
        let status = world.get(None, "status").json();
        let answer = world.get(None, "audit/checkpoint");
        let Ok(cosigned) = CosignedCheckpoint::parse(&answer.body) else { return false };
        let checkpoint = cosigned.checkpoint();
        if checkpoint.height.get() != status["height"].as_u64().unwrap() {
            // A block with an event is needed; any call makes one.
            world.request(world.person(1, Role::Researcher), dmdl_types::id::RecordId::new([3; 32]));
            return false;
        }
        assert_eq!(status["state_root"], hex::encode(checkpoint.state));
        assert_eq!(status["block"], checkpoint.block.to_string());
        true
    });
}

#[test]
fn another_channel_is_none() {
    let world = World::shared();
    let owner = world.person(0, Role::Owner);
    for who in [None, Some(owner)] {
        for route in ["status", "members", "records", "audit/checkpoint", "events", "requests/00"] {
            for channel in ["other", "MAIN"] {
                let answer = world.ask(who, "GET", &format!("/v1/channels/{channel}/{route}"), &[], b"");
                answer.problem(404, "unknown_channel");
            }
        }
    }
}

#[test]
fn checkpoints_and_proofs_follow_from_the_genesis() {
    let world = World::shared();
    let checkpoint = || {
        let answer = world.get(None, "audit/checkpoint");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        let cosigned = CosignedCheckpoint::parse(&answer.body).unwrap();
        let config = world.genesis().epoch_config(Epoch::new(0));
        let domain = world.genesis().domain();
        *cosigned.verify(&domain, &config.cosigners(), config.cosigners_needed()).unwrap().checkpoint()
    };
    world.record(true, None);
    let old = checkpoint();
    world.record(true, None);
    world.eventually("the log grows", |_| checkpoint().size > old.size);
    let new = checkpoint();
    let proof = world.get(None, &format!("audit/proof?old={}&new={}", old.size, new.size)).json();
    assert_eq!((&proof["old"], &proof["new"]), (&json!(old.size), &json!(new.size)));
    let hashes = proof["hashes"].as_array().unwrap().iter();
    let hashes = hashes.map(|hash| hex::decode(hash.as_str().unwrap()).unwrap().try_into().unwrap()).collect();
    let proof = ConsistencyProof { old_size: old.size, new_size: new.size, hashes };
    proof.verify(&old.root, &new.root).unwrap();

    let same = world.get(None, &format!("audit/proof?old={0}&new={0}", old.size)).json();
    assert_eq!(same["hashes"], json!([]));
    assert_eq!(world.get(None, "audit/proof?old=0&new=1").json()["hashes"], json!([]));
    world.get(None, "audit/proof?old=2&new=1").problem(400, "range");
    world.get(None, "audit/proof?old=1&new=99999999").problem(404, "future_height");
    for bad in [
        "old=1",
        "new=1",
        "",
        "old=-1&new=1",
        "old=1&new=18446744073709551616",
        "old=1&new=2&more=3",
        "old=1&old=1&new=2",
    ] {
        world.get(None, &format!("audit/proof?{bad}")).problem(400, "bad_query");
    }
}

#[test]
fn configurations_are_shown_as_far_as_they_are_decided() {
    let world = World::shared();
    // This network is in the first of its long epochs; that later ones are followed, others show.
    for after in ["0", "1", "18446744073709551615"] {
        let answer = world.get(None, &format!("configurations?after={after}"));
        assert_eq!((answer.status, answer.json()), (200, json!({ "steps": [] })), "{after}");
    }
    for bad in ["", "after=", "after=-1", "after=18446744073709551616", "after=1&after=2", "after=1&limit=2"] {
        world.get(None, &format!("configurations?{bad}")).problem(400, "bad_query");
    }
}

#[test]
fn people_are_known_to_each_other() {
    let world = World::shared();
    for (name, who) in world.everybody() {
        let key = who.person.key;
        let shown = world.get(Some(&world.stranger), &format!("persons/{key}")).json();
        let person = json!({
            "key": key.to_string(), "org": who.person.org.to_string(), "name": who.person.name.to_string(),
            "role": who.person.role, "status": "ACTIVE",
        });
        assert_eq!(shown, person, "{name}");
    }
    let route = format!("persons/{}", world.nobody.person.key);
    world.get(Some(&world.stranger), &route).problem(404, "unknown_person");
    world.get(None, &route).problem(401, "sig_missing");
    for bad in ["00", "admin", "..%2f..", &"AB".repeat(32)] {
        world.get(Some(&world.stranger), &format!("persons/{bad}")).problem(400, "bad_id");
    }
}

#[test]
fn people_are_listed_by_organisation_and_role_page_by_page() {
    let world = World::shared();
    let list = |query: &str| world.get(Some(&world.stranger), &format!("persons?{query}"));
    let keys = |query: &str| {
        let items = list(query).json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let everybody = world.everybody();
    let of = |fits: &dyn Fn(&dmdl::local::Identity) -> bool| {
        let mut keys: Vec<_> = everybody.iter().filter(|(_, who)| fits(who)).map(|(_, who)| who.person.key).collect();
        keys.sort();
        keys.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(keys(""), of(&|_| true));
    assert_eq!(keys("role=officer"), of(&|who| who.person.role == Role::Officer));
    let own = of(&|who| who.person.role == Role::Researcher && who.person.org.as_str() == "city-hospital");
    assert_eq!(keys("org=city-hospital&role=researcher"), own);
    assert_eq!(keys("org=biobank"), Vec::<String>::new());
    let first = list("limit=4").json();
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(keys(&format!("limit=500&cursor={cursor}")), of(&|_| true)[4..]);
    list(&format!("role=owner&cursor={cursor}")).problem(400, "bad_cursor");
    list("role=root").problem(400, "bad_query");
    list("org=A%20B").problem(400, "bad_query");
}

#[test]
fn who_is_not_enrolled_is_told_nothing() {
    let world = World::shared();
    let record = world.record(true, None).record;
    let id = "ab".repeat(32);
    let routes = [
        "records",
        "requests",
        "configuration",
        "proposals",
        &format!("proposals/{id}"),
        "audit/events",
        "audit/export",
        "events",
        &format!("records/{record}"),
        &format!("records/{record}/history"),
        &format!("records/{record}/custody"),
        &format!("records/{record}/policy"),
        &format!("requests/{id}"),
        &format!("persons/{id}"),
        "persons",
        &format!("requests/{id}/remarks"),
        &format!("records/{record}/parties"),
        &format!("transactions/{id}"),
        &format!("releases/{id}"),
        "records/not-an-id",
    ];
    for route in routes {
        world.get(None, route).problem(401, "sig_missing");
        world.get(Some(&world.nobody), route).problem(401, "key_unknown");
    }
    for method in ["GET", "PUT", "HEAD"] {
        let answer = world.ask(None, method, &format!("/v1/payloads/{id}"), &[], b"");
        assert_eq!(answer.status, 401, "{method}");
    }
    assert_eq!(ROLES.len(), 5);
}

#[test]
fn the_description_is_of_every_route() {
    let world = World::shared();
    let description = world.ask(None, "GET", "/v1/openapi.json", &[], b"").json();
    assert_eq!(description["openapi"], "3.1.0");
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, call) in item.as_object().unwrap() {
            // What is described is there: whatever it answers, it is not that there is nothing.
            let id = "ab".repeat(32);
            let target = path.replace("{c}", "main").replace("{v}", "1");
            let target =
                ["{id}", "{node}", "{key}", "{tx}", "{digest}"].iter().fold(target, |t, name| t.replace(name, &id));
            let answer = world.ask(None, &method.to_uppercase(), &target, &[], b"");
            let status = answer.status.to_string();
            assert!(call["responses"].get(&status).is_some(), "{method} {path} answers {status}");
            if method != "head" {
                assert_ne!(answer.told().1, "unknown_route", "{method} {path}");
            }
            assert_ne!(answer.status, 405, "{method} {path}");
            if path.contains("{c}") {
                assert!(answer.header("dmdl-height").is_some(), "{method} {path}");
            }
        }
    }
}
