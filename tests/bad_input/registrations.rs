//! Registrations, policies and transactions that break a rule, each in one place.

use super::{access::opening, table::Table};
use crate::world::{World, asking, random_bytes, research_policy, submission};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dmdl_types::{
    access::{DuoCode, Permission, PolicyDocument},
    codec,
    custody::DealingKey,
    genesis::Role,
    id::{Height, PayloadDigest, RecordId, RecordVersion, ShareEpoch},
    invocation::{Access, Authority, Invocation, Registration},
    sign::SigningKey,
    transaction::{Transaction, TransactionBody},
};
use serde_json::json;

/// A registration that the ledger would take, if it were of another record: that of one that is there, under
/// dealing keys that nobody has used.
fn registration(world: &World, of: RecordId, dealer: Role, org: usize) -> Registration {
    let shown = world.get(Some(world.person(0, Role::Owner)), &format!("records/{of}/custody")).json();
    let bytes = STANDARD.decode(shown["registration"].as_str().unwrap()).unwrap();
    let transaction: Transaction = codec::decode(&bytes, 1 << 16).unwrap();
    let Invocation::Access(Access::Register(registration)) = transaction.body.invocation else {
        panic!("it registers")
    };
    let mut registration = *registration;
    for share in &mut registration.dealing.shares {
        let route = format!("custodians/{}/dealing-keys", share.key.custodian);
        let ask = |_| world.send_json(Some(world.person(org, dealer)), "POST", &route, &json!({ "count": 1 }));
        // A custodian that is busy just then is asked again.
        let keys = (0..10).map(ask).find(|answer| answer.status != 503).expect("the custodian answers").json();
        let key = STANDARD.decode(keys["keys"][0].as_str().unwrap()).unwrap();
        share.key = codec::decode(&key, 1024).unwrap();
    }
    registration
}

fn register(registration: Registration) -> Invocation {
    Invocation::Access(Access::Register(Box::new(registration)))
}

#[test]
fn registrations_that_break_a_rule() {
    let mut table = Table::new();
    let world = table.world.clone();
    let record = table.record(true, Some(research_policy())).record;
    let good = registration(&world, record, Role::Owner, 0);
    let others = registration(&world, record, Role::Owner, 1);
    table.begin();
    let owner = world.person(0, Role::Owner);
    let stranger = SigningKey::from_seed(dmdl_types::secret::Secret32::new([7; 32]));
    let domain = world.genesis().domain();
    let row = |name: &str, change: &dyn Fn(&mut Registration), expected: (u16, &str)| {
        let mut changed = good.clone();
        change(&mut changed);
        assert_ne!(changed, good, "{name}");
        table.call(name, owner, register(changed), expected);
    };
    let bad_threshold = (422, "bad_threshold");
    row("no share opens it", &|r| r.dealing.commitments.clear(), bad_threshold);
    row("one share opens it", &|r| r.dealing.commitments.truncate(1), bad_threshold);
    row("more shares than there are", &|r| r.dealing.commitments.resize(5, [3; 32]), bad_threshold);
    row("no custodians", &|r| r.dealing.shares.clear(), bad_threshold);
    row("too few custodians", &|r| r.dealing.shares.truncate(2), bad_threshold);
    row("300 custodians", &|r| r.dealing.shares.resize(300, r.dealing.shares[0]), bad_threshold);
    row("nobody has to acknowledge", &|r| r.dealing.min_acks = 0, bad_threshold);
    row("more acknowledge than there are", &|r| r.dealing.min_acks = 5, bad_threshold);
    row("one custodian twice", &|r| r.dealing.shares[1] = r.dealing.shares[0], bad_threshold);
    row(
        "a custodian whom nobody knows",
        &|r| {
            r.dealing.shares[0].key = DealingKey::sign(&stranger, &domain, owner.person.key, [9; 32]);
        },
        bad_threshold,
    );

    let bad_dealing = (422, "bad_dealing");
    row("an unknown way to seal", &|r| r.dealing.suite = 2, bad_dealing);
    row("no way to seal", &|r| r.dealing.suite = 0, bad_dealing);
    row("a later epoch", &|r| r.dealing.epoch = ShareEpoch::new(1), bad_dealing);
    row("another dealer's key", &|r| r.dealing.shares[0].key = others.dealing.shares[0].key, bad_dealing);
    row("a key that nobody signed", &|r| r.dealing.shares[0].key.key[0] ^= 1, bad_dealing);
    let used = world.get(Some(owner), &format!("records/{record}/custody")).json();
    let used: Transaction =
        codec::decode(&STANDARD.decode(used["registration"].as_str().unwrap()).unwrap(), 1 << 16).unwrap();
    table.call("keys that were used before", owner, used.body.invocation, bad_dealing);

    table.call("a record that is there", owner, register(good.clone()), (409, "id_reuse"));
    row("another record's id", &|r| r.record = RecordId::new([5; 32]), (422, "bad_argument"));
    row(
        "a second version of nothing",
        &|r| (r.record, r.version) = (RecordId::new([5; 32]), RecordVersion::new(2)),
        (404, "unknown_record"),
    );
    row("a version that leaves one out", &|r| r.version = RecordVersion::new(3), (409, "bad_version"));

    let missing = (422, "blob_missing");
    row("a payload that was never stored", &|r| r.payload.digest = PayloadDigest::new([5; 32]), missing);
    row("a payload of another length", &|r| r.payload.ciphertext_len_bytes += 1, missing);
    row("an unknown payload format", &|r| r.payload.suite = 2, (422, "bad_argument"));
    row("padding that no version has", &|r| r.payload.padding = 1, (422, "bad_argument"));
    for media_type in
        ["", "text", "a/b/c", "/b", "a/", "Text/Plain", "text/plain; name=Doe", "a/\u{1b}[2J", "a/caf\u{e9}"]
    {
        row(media_type, &|r| r.metadata.media_type = media_type.to_owned(), (422, "bad_argument"));
    }
    row("a long media type", &|r| r.metadata.media_type = format!("a/{}", "b".repeat(126)), (422, "bad_argument"));
    let researcher = world.person(1, Role::Researcher);
    table.call("a researcher registers", researcher, register(good.clone()), (403, "role"));
    table.end();
}

#[test]
fn a_payload_of_somebody_else_gives_nobody_a_right_to_it() {
    let mut table = Table::new();
    let world = table.world.clone();
    let registered = table.record(false, None);
    let record = registered.record;
    let good = registration(&world, record, Role::Owner, 1);
    table.begin();
    let (owner, thief) = (world.person(0, Role::Owner), world.person(1, Role::Owner));
    // The ledger cannot know whose bytes they are; what is registered is another record, with another key.
    let mut copied = good;
    copied.dealing.commitments = random_bytes(64).chunks(32).map(|bytes| bytes.try_into().unwrap()).collect();
    let commitments = &copied.dealing.commitments;
    let domain = world.genesis().domain();
    copied.record = RecordId::derive(domain.network, domain.channel, thief.person.key, commitments);
    let copy = copied.record;
    assert_ne!(copy, record);
    let transaction = world.transaction(thief, register(copied));
    table.accepted("the copy", 1, |world| world.send_json(None, "POST", "transactions", &submission(&transaction)));
    let get = |name, who, target: String, expected| table.row(name, Some(who), ("GET", &target), None, expected);
    get("the original", thief, format!("/v1/channels/main/records/{record}"), (404, "unknown_record"));
    get("its custody", thief, format!("/v1/channels/main/records/{record}/custody"), (404, "unknown_record"));
    assert_eq!(world.get(Some(owner), &format!("records/{record}")).json()["owner"], owner.person.key.to_string());
    assert_eq!(world.get(Some(thief), &format!("records/{copy}")).json()["state"], "PENDING");
    let opening = opening(record, &registered.custodians, 1, Authority::Owner);
    table.denied("the thief opens the original", thief, opening, "unknown_record");
    table.end();
}

#[test]
fn policies_that_are_none() {
    let mut table = Table::new();
    let world = table.world.clone();
    let record = table.record(true, None).record;
    table.begin();
    let owner = world.person(0, Role::Owner);
    let permit = "@id(\"all\") permit (principal, action == Action::\"request\", resource);";
    let permission = |code, diseases: &[&str]| Permission {
        code,
        diseases: diseases.iter().map(|disease| disease.parse().unwrap()).collect(),
    };
    let gru = || permission(DuoCode::Gru, &[]);
    let many: String = (0..400).map(|n| format!("@id(\"r{n}\") permit (principal, action, resource);\n")).collect();
    let deep = format!(
        "{permit} forbid (principal, action, resource) when {{ {}true{} }};",
        "!(".repeat(2000),
        ")".repeat(2000)
    );
    for (name, permission, rules) in [
        ("no Cedar", gru(), "permit (".to_owned()),
        (
            "an unknown attribute",
            gru(),
            "@id(\"a\") permit (principal, action, resource) when { principal.age > 17 };".into(),
        ),
        ("an unknown type", gru(), "@id(\"a\") permit (principal is Robot, action, resource);".into()),
        ("more than 16 KiB", gru(), format!("{permit}{}", " ".repeat(16 * 1024))),
        ("hundreds of rules", gru(), many),
        ("thousands of levels", gru(), deep),
        ("a disease for any research", permission(DuoCode::Gru, &["MONDO:0005148"]), permit.to_owned()),
        ("disease research of no disease", permission(DuoCode::Ds, &[]), permit.to_owned()),
    ] {
        let policy = PolicyDocument { permission, rules };
        let call = Invocation::Access(Access::SetPolicy { record, policy });
        table.call(name, owner, call, (422, "policy_invalid"));
    }
    let policy = research_policy();
    let set = Invocation::Access(Access::SetPolicy { record, policy });
    table.call("somebody else's record", world.person(1, Role::Owner), set.clone(), (403, "role"));
    let nowhere = Access::SetPolicy { record: RecordId::new([5; 32]), policy: research_policy() };
    table.call("a record that is not there", owner, Invocation::Access(nowhere), (404, "unknown_record"));
    table.end();
}

#[test]
fn transactions_of_another_time() {
    let mut table = Table::new();
    let world = table.world.clone();
    let record = table.record(true, None).record;
    table.begin();
    let researcher = world.person(1, Role::Researcher);
    // There is no time of a client in a transaction: it says until which block it is good.
    let until = |expires: u64| {
        let TransactionBody { domain, authors, nonce, invocation, .. } =
            world.transaction(researcher, asking(record)).body;
        TransactionBody { domain, authors, nonce, expires: Height::new(expires), invocation }.sign(&[&researcher.key])
    };
    for (name, expires) in [("long ago", 0), ("a day ahead and more", world.height() + 11_000), ("never", u64::MAX)] {
        table.transaction(name, &until(expires), (422, "tx_expiry"));
    }
    let mut altered = until(world.height() + 100);
    altered.body.expires = Height::new(world.height() + 101);
    table.transaction("another time than was signed", &altered, (422, "tx_invalid"));
    table.end();
}
