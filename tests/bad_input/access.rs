//! Requests, grants, decryptions and people that are not in order.

use super::table::Table;
use crate::world::{asking, research_policy, submission, terms};
use dmdl_types::{
    access::{DuoCode, Purpose, Terms},
    event::Verdict,
    genesis::{Person, Role},
    id::{DisplayName, GrantId, NodeId, NoteCommitment, OrgId, RecordId, RecordVersion, TransactionId},
    invocation::{Access, Authority, Invocation, Medical, Membership, OpeningKey},
    sign::PublicKey,
};
use serde_json::Value;

/// A decryption under keys that nobody has: it is decided all the same.
pub(crate) fn opening(record: RecordId, custodians: &[NodeId], version: u32, authority: Authority) -> Invocation {
    let mut keys: Vec<_> = custodians.iter().map(|&custodian| OpeningKey { custodian, key: [9; 32] }).collect();
    keys.sort_by_key(|key| key.custodian);
    Invocation::Access(Access::Decrypt { record, version: RecordVersion::new(version), authority, keys })
}

fn request(record: RecordId, terms: Terms) -> Invocation {
    Invocation::Access(Access::Request { record, terms, reason: NoteCommitment::new([7; 32]) })
}

#[test]
fn requests_that_are_not_in_order() {
    let mut table = Table::new();
    let world = table.world.clone();
    let record = table.record(true, Some(research_policy())).record;
    let hidden = table.record(false, Some(research_policy())).record;
    table.begin();
    let researcher = world.person(1, Role::Researcher);
    for (name, days, uses) in [
        ("for no days", 0, 1),
        ("for more than ten years", 3651, 1),
        ("for as many days as there are", u16::MAX, 1),
        ("for no uses", 30, 0),
        ("for more than 100,000 uses", 30, 100_001),
        ("for as many uses as there are", 30, u32::MAX),
    ] {
        table.call(name, researcher, request(record, Terms { days, ..terms(uses) }), (422, "bad_argument"));
    }
    // A denial is evidence, and each of these is one.
    let purpose = |code| Purpose { code, disease: None };
    let ancestry = Terms { purpose: purpose(DuoCode::Poa), ..terms(1) };
    table.denied("for another purpose", researcher, request(record, ancestry), "purpose_not_permitted");
    let unstated = Terms { purpose: purpose(DuoCode::Nres), ..terms(1) };
    table.denied("for no purpose", researcher, request(record, unstated), "purpose_not_permitted");
    table.denied("by a committee", world.person(0, Role::Committee), asking(record), "role");
    table.denied("by an officer", world.person(0, Role::Officer), asking(record), "role");
    table.denied("of nothing", researcher, asking(RecordId::new([5; 32])), "unknown_record");
    table.denied("of what is hidden", researcher, asking(hidden), "unknown_record");
    table.call("by nobody", &world.nobody, asking(record), (401, "unknown_author"));

    let owner = world.person(0, Role::Owner);
    let (none, call) = (TransactionId::new([5; 32]), |call| Invocation::Access(call));
    table.call("approving nothing", owner, call(Access::Approve { request: none }), (404, "unknown_request"));
    table.call("denying nothing", owner, call(Access::Deny { request: none }), (404, "unknown_request"));
    let asked = world.transaction(researcher, asking(record));
    let first =
        table.accepted("a good one", 1, |world| world.send_json(None, "POST", "transactions", &submission(&asked)));
    let again =
        table.accepted("the same again", 0, |world| world.send_json(None, "POST", "transactions", &submission(&asked)));
    assert_eq!(first.json()["position"], again.json()["position"], "it is one request");
    let request = asked.body.id();
    table.call("approving what is decided", owner, call(Access::Approve { request }), (409, "already_decided"));
    table.call("a stranger approves", &world.stranger, call(Access::Approve { request }), (403, "role"));
    table.end();
}

#[test]
fn decryptions_without_a_right_to_them() {
    let mut table = Table::new();
    let world = table.world.clone();
    let (registered, other) = (table.record(true, Some(research_policy())), table.record(true, None));
    let (record, custodians) = (registered.record, &registered.custodians[..]);
    let researcher = world.person(1, Role::Researcher);
    let granted = world.request(researcher, record);
    assert_eq!(granted.event.outcome.verdict, Verdict::Allow);
    let grant = granted.event.outcome.grant.unwrap();
    let once = world.run(world.at_node(researcher).request(record, terms(1), "once")).unwrap();
    let once = once.event.outcome.grant.unwrap();
    table.begin();
    let (under, colleague) = (Authority::Grant, &world.stranger);
    let none = under(GrantId::new([5; 32]));
    let open = |authority| opening(record, custodians, 1, authority);

    table.denied("without a grant", researcher, open(none), "unknown_grant");
    table.denied("under somebody else's", colleague, open(under(grant)), "grant_mismatch");
    let of_other = opening(other.record, &other.custodians, 1, under(grant));
    table.denied("of another record", researcher, of_other, "grant_mismatch");
    table.denied("as if one owned it", researcher, open(Authority::Owner), "role");
    table.denied(
        "of a version that is not there",
        researcher,
        opening(record, custodians, 9, under(grant)),
        "bad_version",
    );
    table.denied("of nothing", researcher, opening(RecordId::new([5; 32]), custodians, 1, none), "unknown_record");

    let keys = |name: &str, change: &dyn Fn(&mut Vec<OpeningKey>)| {
        table.call(name, researcher, with_keys(open(under(grant)), change), (422, "bad_opening_key"));
    };
    keys("no keys", &|keys| keys.clear());
    keys("a custodian twice", &|keys| keys[1] = keys[0]);
    keys("custodians in disorder", &|keys| keys.reverse());
    keys("an unknown custodian", &|keys| keys.last_mut().unwrap().custodian = NodeId::new([0xff; 32]));
    for key in small_order() {
        keys(&format!("the key {}", hex::encode(key)), &|keys| keys[0].key = key);
    }

    let used = world.transaction(researcher, open(under(once)));
    table.accepted("the one use", 1, |world| world.send_json(None, "POST", "transactions", &submission(&used)));
    table.denied("a second use", researcher, open(under(once)), "grant_used_up");
    table.call("the grantee revokes", researcher, revoke(grant), (403, "role"));
    table.call("revoking nothing", world.person(0, Role::Owner), revoke(GrantId::new([5; 32])), (404, "unknown_grant"));
    let owner = world.person(0, Role::Owner);
    for (name, grant) in [("the first time", grant), ("the second time", grant), ("what is used up", once)] {
        let call = world.transaction(owner, revoke(grant));
        table.accepted(name, 1, |world| world.send_json(None, "POST", "transactions", &submission(&call)));
    }
    table.denied("after it was revoked", researcher, open(under(grant)), "grant_revoked");

    // And whoever asks custodians for shares: the transaction is the only thing that counts.
    let get = |name, who, id: TransactionId, expected| {
        table.row(name, Some(who), ("GET", &format!("/v1/channels/main/releases/{id}")), None, expected);
    };
    get("of nothing that was ordered", researcher, TransactionId::new([5; 32]), (403, "not_final"));
    get("of somebody else's decryption", colleague, used.body.id(), (403, "reader_mismatch"));
    get("of a request", researcher, granted.transaction, (403, "reader_mismatch"));
    table.end();
}

fn revoke(grant: GrantId) -> Invocation {
    Invocation::Access(Access::Revoke { grant })
}

fn with_keys(call: Invocation, change: &dyn Fn(&mut Vec<OpeningKey>)) -> Invocation {
    let Invocation::Access(Access::Decrypt { record, version, authority, mut keys }) = call else { panic!("it opens") };
    change(&mut keys);
    Invocation::Access(Access::Decrypt { record, version, authority, keys })
}

/// X25519 keys under which everybody knows the secret: the points of small order, each with and without the bit that
/// is not looked at.
fn small_order() -> Vec<[u8; 32]> {
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let both = |text: &str| {
        let point: [u8; 32] = hex::decode(text).unwrap().try_into().unwrap();
        let mut twin = point;
        twin[31] |= 0x80;
        [point, twin]
    };
    points.into_iter().flat_map(both).collect()
}

#[test]
fn people_and_owners_that_are_none() {
    let mut table = Table::new();
    let world = table.world.clone();
    let record = table.record(true, None).record;
    table.begin();
    let (owner, admin) = (world.person(0, Role::Owner), world.person(0, Role::Admin));
    let transfer = |to| Invocation::Medical(Medical::Transfer { record, to });
    let nobody = world.nobody.person.key;
    table.call("a transfer to nobody", owner, transfer(nobody), (422, "unknown_person"));
    table.call("a transfer to no owner", owner, transfer(world.stranger.person.key), (403, "role"));
    table.call("a transfer to oneself", owner, transfer(owner.person.key), (409, "duplicate"));
    let thief = world.person(1, Role::Owner);
    table.call("a transfer of somebody else's", thief, transfer(thief.person.key), (403, "role"));

    let enrol = |key: PublicKey, org: &str| {
        let (org, name) = (OrgId::new(org).unwrap(), DisplayName::new("dr-new").unwrap());
        Invocation::Membership(Membership::Enrol { person: Person { key, org, name, role: Role::Owner } })
    };
    let own = "city-hospital";
    for (name, key) in [
        ("zeros", "00".repeat(32)),
        ("one", format!("01{}", "00".repeat(31))),
        ("no point", format!("02{}", "00".repeat(31))),
    ] {
        let key = PublicKey::new(hex::decode(key).unwrap().try_into().unwrap());
        table.call(name, admin, enrol(key, own), (422, "bad_argument"));
    }
    table.call("a key that is taken", admin, enrol(owner.person.key, own), (409, "id_reuse"));
    table.call("a node's key", admin, enrol(world.node_id(1).key(), own), (409, "id_reuse"));
    table.call("another organisation's person", admin, enrol(nobody, "university-clinic"), (403, "role"));
    table.call("by no admin", owner, enrol(nobody, own), (403, "role"));
    let revoke = |key| Invocation::Membership(Membership::Revoke { key });
    table.call("revoking nobody", admin, revoke(nobody), (422, "unknown_person"));
    table.call("revoking another organisation's", admin, revoke(world.stranger.person.key), (403, "role"));
    assert_ne!(world.get(Some(owner), &format!("records/{record}")).json()["owner"], Value::Null);
    table.end();
}
