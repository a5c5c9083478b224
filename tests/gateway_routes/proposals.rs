//! Proposals to change the channel: who is shown them, and by what they are believed.

use super::world::{World, submission};
use dmdl::{
    client::{BelieveError, Trust, Unproved},
    local::Identity,
    node::Deed,
};
use dmdl_types::{
    genesis::{ChannelConfig, Role},
    governance::{Change, Governance},
    id::TransactionId,
    invocation::Invocation,
};
use serde_json::{Value, json};

/// Orders a call of an admin, which must be applied.
fn ordered(world: &World, admin: &Identity, call: Governance) -> TransactionId {
    let transaction = world.transaction(admin, Invocation::Governance(call));
    let done = world.send_json(None, "POST", "transactions", &submission(&transaction)).json();
    assert_eq!(done["verdict"], "applied");
    transaction.body.id()
}

/// Proposes that so many organisations endorse.
fn proposed(world: &World, endorsements: u8) -> TransactionId {
    let rules = ChannelConfig { endorsements, ..world.genesis().channel.clone() };
    ordered(world, world.person(0, Role::Admin), Governance::Propose { changes: vec![Change::SetRules { rules }] })
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["proposal"].as_str().unwrap()).collect()
}

#[test]
fn a_proposal_is_shown_to_everybody_enrolled() {
    let world = World::shared();
    let id = proposed(&world, 3);
    let stranger = Some(&world.stranger);
    let get = |route: &str| world.get(stranger, route).json();
    let shown = get(&format!("proposals/{id}"));
    let names: Vec<&String> = shown.as_object().unwrap().keys().collect();
    assert_eq!(names, ["proposal", "state", "from_epoch", "proposer", "approvals", "needed", "proposed", "changes"]);
    let standing = |shown: &Value| json!([shown["state"], shown["from_epoch"], shown["approvals"], shown["needed"]]);
    assert_eq!(standing(&shown), json!(["open", null, ["city-hospital"], 3]));
    assert_eq!((&shown["proposal"], &shown["proposer"]), (&json!(id.to_string()), &json!("city-hospital")));
    let rules = ChannelConfig { endorsements: 3, ..world.genesis().channel.clone() };
    assert_eq!(shown["changes"], json!([{ "change": "set_rules", "rules": rules }]));
    assert!(shown["proposed"].as_u64().unwrap() > world.genesis().time.get());

    ordered(&world, world.person(1, Role::Admin), Governance::Approve { proposal: id });
    let second = get(&format!("proposals/{id}"));
    assert_eq!(second["approvals"].as_array().unwrap().len(), 2, "two of four are no quorum: {second}");
    assert_eq!(second["state"], "open");
    ordered(&world, world.person(0, Role::Admin), Governance::Withdraw { proposal: id });
    assert_eq!(get(&format!("proposals/{id}"))["state"], "withdrawn");

    // Whoever is to approve it must see what was signed, and that it was ordered.
    assert_eq!(get(&format!("transactions/{id}"))["transaction"], id.to_string());
    let none = "ab".repeat(32);
    world.get(stranger, &format!("proposals/{none}")).problem(404, "unknown_proposal");
    world.get(stranger, &format!("transactions/{none}")).problem(404, "unknown_transaction");
    world.get(stranger, "proposals/newest").problem(400, "bad_id");

    let configuration = get("configuration");
    assert_eq!(configuration["members"], json!(world.genesis().members));
    assert_eq!(configuration["rules"], json!(world.genesis().channel), "nothing was accepted");
    assert_eq!(configuration["prunes_blocks"], false);
}

#[test]
fn proposals_are_listed_page_by_page() {
    let world = World::shared();
    let (open, closed) = (proposed(&world, 3).to_string(), proposed(&world, 4));
    ordered(&world, world.person(0, Role::Admin), Governance::Withdraw { proposal: closed });
    let closed = closed.to_string();
    let list = |query: &str| world.get(Some(&world.stranger), &format!("proposals?{query}"));
    let every = list("limit=500").json();
    let every = ids(&every);
    assert!(every.is_sorted_by(|a, b| a < b) && every.contains(&open.as_str()) && every.contains(&closed.as_str()));
    let waiting = list("open=true").json();
    assert!(ids(&waiting).contains(&open.as_str()) && !ids(&waiting).contains(&closed.as_str()));
    let first = list("limit=1").json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = list(&format!("limit=1&cursor={cursor}")).json();
    let (first, second) = (ids(&first), ids(&second));
    assert!(first.len() == 1 && second.len() == 1 && first < second, "{first:?} {second:?}");
    list(&format!("open=true&cursor={cursor}")).problem(400, "bad_cursor");
    list("open=1").problem(400, "bad_query");
    list("state=open").problem(400, "bad_query");
}

#[test]
fn a_gateway_cannot_show_other_changes_for_a_proposal() {
    let world = World::shared();
    let (asked, other) = (proposed(&world, 3), proposed(&world, 4));
    let approver = world.across(world.person(1, Role::Admin));
    let rules = ChannelConfig { endorsements: 3, ..world.genesis().channel.clone() };
    assert_eq!(world.run(approver.proposal(asked)).unwrap(), Some(vec![Change::SetRules { rules }]));
    let missing = TransactionId::new([0xab; 32]);
    assert_eq!(world.run(approver.proposal(missing)).unwrap(), None);
    let approval = ordered(&world, world.person(1, Role::Admin), Governance::Approve { proposal: asked });
    assert_eq!(world.run(approver.proposal(approval)).unwrap(), None, "an approval proposes nothing");

    let shown = |id| world.run(approver.gateway().transaction(id)).unwrap().unwrap();
    let (honest, another) = (shown(asked), shown(other));
    let believed = |deed: &Deed| {
        let trust = Trust::new(world.genesis().founding());
        world.run(trust.deed(asked, deed, approver.gateway())).map(drop)
    };
    believed(&honest).unwrap();
    let swapped = Deed { transaction: another.transaction.clone(), receipt: honest.receipt.clone() };
    for forged in [&another, &swapped] {
        assert!(matches!(believed(forged), Err(BelieveError::Unproved(Unproved::OtherTransaction))));
    }
    let unordered = Deed { transaction: honest.transaction, receipt: another.receipt };
    assert!(matches!(believed(&unordered), Err(BelieveError::Unproved(Unproved::OtherEvent))));
}
