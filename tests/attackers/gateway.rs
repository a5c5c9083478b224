//! A gateway that forges every answer that it can, about registrations and requests.

use super::{
    mitm::{Answer, Asked, Change, Trick},
    table::{Call, End, Table, UNPROVED},
    world::{Known, World, dealt, metadata, secrets_of, seed, stranger, words},
};
use crate::common::{PATIENCE, random_bytes, register, terms};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use dmdl::{
    client::{Draft, RegisterError},
    node::Final,
};
use dmdl_types::{
    access::DuoCode,
    checkpoint::{Cosignature, CosignedCheckpoint},
    codec,
    context::DataContext,
    custody::DealingKey,
    custody_proof::CustodyProof,
    event::{Event, Verdict},
    id::{NodeId, RecordId, RecordVersion},
    limits,
    receipt::Receipt,
    sign::Domain,
};
use dmdl_vault::{
    keys::{random_secret, x25519_public},
    seal::{SealedShare, open_dealt},
    share::CheckedDealing,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    time::{Duration, Instant},
};

/// A world with two records of the owner.
pub(crate) fn scene() -> (World, Known, Known) {
    let world = World::start();
    let record = world.register(random_bytes(40_000));
    let other = world.register(random_bytes(40_000));
    (world, record, other)
}

/// The node that a target is about.
pub(crate) fn custodian_in(asked: &Asked, before: &str) -> NodeId {
    let (_, rest) = asked.target.split_once(before).unwrap();
    rest[..64].parse().unwrap()
}

/// Changes the receipt in an answer.
pub(crate) fn with_receipt(document: &mut Value, change: impl Fn(&mut Receipt)) {
    let mut receipt = Receipt::parse(document["receipt"].as_str().unwrap().as_bytes()).unwrap();
    change(&mut receipt);
    document["receipt"] = receipt.to_text().into();
}

/// Changes the event in a receipt, and nothing that proves it.
pub(crate) fn with_event(receipt: &mut Receipt, change: impl Fn(&mut Event)) {
    let mut event: Event = codec::decode(&receipt.leaf, limits::EVENT_BYTES).unwrap();
    change(&mut event);
    receipt.leaf = event.to_leaf();
}

/// The same checkpoint with other cosignatures.
pub(crate) fn recosign(receipt: &mut Receipt, change: impl Fn(&mut Vec<Cosignature>)) {
    let mut cosignatures = receipt.checkpoint.cosignatures().to_vec();
    change(&mut cosignatures);
    receipt.checkpoint = CosignedCheckpoint::new(*receipt.checkpoint.checkpoint(), cosignatures).unwrap();
}

fn shown(key: &DealingKey) -> Value {
    json!({ "keys": [BASE64.encode(codec::encode(key))] })
}

fn proof(proof: &CustodyProof) -> Value {
    let receipts: Vec<String> = proof.acknowledgements.iter().map(Receipt::to_text).collect();
    json!({
        "state": "ACTIVE",
        "registration": BASE64.encode(codec::encode(&proof.registration)),
        "receipt": proof.receipt.to_text(),
        "acknowledgements": receipts,
    })
}

/// Never passes a transaction on, and says so or something else.
fn swallow(status: u16, said: Value) -> Trick {
    Trick::swallow("POST", "/transactions", move |_| Answer::json(status, &said))
}

/// Dealing keys that the attacker can open what is sealed to, or that are not for this dealer.
struct Keys {
    domain: Domain,
    /// Whose one-time secrets the attacker keeps.
    public: [u8; 32],
    /// What custodians have signed for somebody else.
    neighbours: BTreeMap<NodeId, DealingKey>,
}

impl Keys {
    fn new(world: &World) -> Self {
        let secret = random_secret(&mut dmdl::local::os_rng());
        let dealer = world.network.neighbour.person.key;
        let minted = |node: NodeId| (node, world.dealing_key(node, dealer));
        let neighbours = world.network.nodes.seats().map(|(_, node, _)| minted(node)).collect();
        Self { domain: world.genesis().domain(), public: x25519_public(&secret), neighbours }
    }

    /// Every way to replace the keys, with its name.
    fn tricks(&self, world: &World) -> Vec<(&'static str, Trick)> {
        let dealer = world.network.owner.person.key;
        let (domain, public) = (self.domain, self.public);
        let own = DealingKey::sign(&stranger(66), &domain, dealer, public);
        let replace = |make: Box<dyn Fn(NodeId) -> DealingKey + Send + Sync>| {
            Trick::json("POST", "/dealing-keys", move |asked, document| {
                *document = shown(&make(custodian_in(asked, "/custodians/")));
            })
        };
        let neighbours = self.neighbours.clone();
        let mut elsewhere = domain;
        elsewhere.network = dmdl_types::id::NetworkId::new([9; 32]);
        let signers: BTreeMap<NodeId, DealingKey> = (0..crate::common::NODES)
            .map(|position| {
                let (key, _) = world.stolen(position);
                (world.network.node_id(position), DealingKey::sign(&key, &elsewhere, dealer, public))
            })
            .collect();
        vec![
            (
                "the gateway's own dealing keys, in the custodians' names",
                replace(Box::new(move |custodian| DealingKey { custodian, ..own })),
            ),
            ("the gateway's own dealing keys, in its own name", replace(Box::new(move |_| own))),
            (
                "dealing keys that custodians signed for another dealer",
                replace(Box::new(move |node| neighbours[&node])),
            ),
            ("dealing keys that custodians signed on another network", replace(Box::new(move |node| signers[&node]))),
            (
                "the custodians' dealing keys with the gateway's key inside",
                Trick::json("POST", "/dealing-keys", move |_, document| {
                    let bytes = BASE64.decode(document["keys"][0].as_str().unwrap()).unwrap();
                    let real: DealingKey = codec::decode(&bytes, 1024).unwrap();
                    *document = shown(&DealingKey { key: public, ..real });
                }),
            ),
        ]
    }
}

#[test]
fn no_forged_answer_to_a_registration_is_believed() {
    let (world, record, other) = scene();
    let mut secrets = record.secrets.clone();
    let plaintext = random_bytes(5_000);
    secrets.add_plaintext("the file", &plaintext);
    let file = world.file(&plaintext);
    let call = |more: &str| Call {
        who: "owner",
        args: [words("record register"), vec![file.clone()], words(&format!("--policy research-auto {more}"))].concat(),
        honest: 0,
    };
    let usual = call("");
    let mut table = Table::new("a gateway that forges, registrations", &world, &secrets);

    for (name, trick) in Keys::new(&world).tricks(&world) {
        table.row(name, &usual, vec![trick], End { exit: 5, code: "forged_keys" }, "only 0 dealing keys verify");
    }
    let first = format!("/custodians/{}/dealing-keys", world.network.node_id(0));
    let nonsense = |_: &Asked, document: &mut Value| *document = json!({ "keys": [] });
    table.holds("no dealing key of one custodian", &usual, vec![Trick::json("POST", first, nonsense)], 0, |said| {
        said["state"] == "ACTIVE" && said["custodians"].as_array().is_some_and(|custodians| custodians.len() == 3)
    });
    let none = vec![Trick::json("POST", "/dealing-keys", nonsense)];
    table.row("no dealing keys", &usual, none, End { exit: 6, code: "custodians_unavailable" }, "only 0 custodians");

    let elsewhere = world.receipt(&other.registered.done).to_text();
    let lie = json!({ "verdict": "applied", "receipt": elsewhere });
    let another = |document: &mut Value, text: &str| document["receipt"] = text.into();
    table.row(
        "the receipt of another registration",
        &usual,
        vec![Trick::json("POST", "/transactions", move |_, document| another(document, &elsewhere))],
        UNPROVED,
        "the receipt is of another event",
    );
    table.row(
        "swallowed, and claimed final",
        &usual,
        vec![swallow(200, lie)],
        UNPROVED,
        "the receipt is of another event",
    );
    let not_final = json!({ "code": "not_final", "detail": "it was not final in time" });
    let hasty = call("--timeout 3");
    table.row(
        "swallowed",
        &hasty,
        vec![swallow(504, not_final)],
        End { exit: 6, code: "not_final" },
        "not final in time",
    );
    table.row(
        "the payload claimed to be stored",
        &usual,
        vec![Trick::swallow("HEAD", "/v1/payloads/", |_| Answer { status: 200, body: Default::default() })],
        End { exit: 6, code: "blob_missing" },
        "the payload is not in the vault",
    );
    table.row(
        "a height that is far ahead",
        &usual,
        vec![
            Trick::height("POST", "/dealing-keys", 1_000_000_000),
            Trick::json("GET", "/status", |_, document| document["final_height"] = 1_000_000_000.into()),
        ],
        End { exit: 6, code: "tx_expiry" },
        "expiry height",
    );

    let custody = |record: RecordId| {
        let shown = world.network.run(world.node().custody(record, RecordVersion::new(1), Duration::ZERO));
        shown.unwrap().expect("it is registered")
    };
    let others = custody(other.registered.record);
    let shows = |change: Change<Value>| vec![Trick::json("GET", "/custody", move |_, document| change(document))];
    let (whole, acknowledgement) = (proof(&others), others.acknowledgements[0].to_text());
    table.row(
        "ACTIVE, with the proof of another record",
        &usual,
        shows(Box::new(move |document| *document = whole.clone())),
        UNPROVED,
        "does not register version 1 of record",
    );
    table.row(
        "ACTIVE, with an acknowledgement of another record",
        &usual,
        shows(Box::new(move |document| document["acknowledgements"][0] = acknowledgement.as_str().into())),
        UNPROVED,
        "a receipt is of another event",
    );
    let pending = |said: &Value| said["state"] == "PENDING";
    table.holds(
        "ACTIVE, without acknowledgements",
        &usual,
        shows(Box::new(|document| {
            document["state"] = "ACTIVE".into();
            document["acknowledgements"] = json!([]);
        })),
        0,
        pending,
    );
    table.holds(
        "ACTIVE, with one acknowledgement as often as are needed",
        &usual,
        shows(Box::new(|document| {
            document["state"] = "ACTIVE".into();
            let one = document["acknowledgements"][0].clone();
            document["acknowledgements"] = json!([one, one, one]);
        })),
        0,
        pending,
    );
    table.end();
}

#[test]
fn no_share_travels_under_a_key_of_the_gateways() {
    let (world, ..) = scene();
    let plaintext = random_bytes(5_000);
    // Nothing is dealt while honest custodians are late: then the same is tried once more.
    let register = |seed: u64, tricks: Vec<Trick>, late: fn(&RegisterError) -> bool| {
        let owner = world.victim(&world.network.owner, seed);
        let draft = || Draft::new(metadata(), None);
        world.under(tricks, || {
            let begun = Instant::now();
            loop {
                let spool = Cursor::new(Vec::new());
                let registered = world.network.run(owner.register(&plaintext[..], spool, draft(), &|_| ()));
                if !registered.as_ref().is_err_and(late) || begun.elapsed() > PATIENCE {
                    return registered;
                }
            }
        })
    };
    let domain = world.genesis().domain();
    let keys = Keys::new(&world);
    for (name, trick) in keys.tricks(&world) {
        let seed = seed();
        let too_few = |error: &RegisterError| matches!(error, RegisterError::TooFewCustodians { .. });
        let (refused, seen) = register(seed, vec![trick], too_few);
        let error = refused.expect_err(name);
        let RegisterError::ForgedKeys { got, needed, forged } = &error else { panic!("{name}: {error:?}") };
        assert_eq!((*got, *needed), (0, 3), "{name}");
        // Of four one may not have answered in time.
        assert!((3..=4).contains(&forged.len()), "{name}: {forged:?}");
        // Nothing was dealt yet: what this dealer would have dealt first is not under way.
        let any = DataContext {
            network: domain.network,
            channel: domain.channel,
            record: RecordId::new([0; 32]),
            version: RecordVersion::new(1),
        };
        let mut secrets = secrets_of(&dealt(seed, 4), &any);
        secrets.add_plaintext("the plaintext", &plaintext);
        assert_eq!(secrets.find(&seen), None, "{name}");
        assert!(!String::from_utf8_lossy(&seen).contains("/shares/"), "{name}: a share was sent");
    }

    // One forged key of four: its custodian is left out, and nothing is sealed to the gateway.
    let secret = random_secret(&mut dmdl::local::os_rng());
    let own = DealingKey::sign(&stranger(67), &domain, world.network.owner.person.key, x25519_public(&secret));
    let victim = world.network.node_id(1);
    let part = format!("/custodians/{victim}/dealing-keys");
    let trick = Trick::json("POST", part, move |_, document| {
        *document = shown(&DealingKey { custodian: victim, ..own });
    });
    let seed = seed();
    let (registered, seen) = register(seed, vec![trick], |error: &RegisterError| {
        matches!(error, RegisterError::TooFewCustodians { .. } | RegisterError::ForgedKeys { got: 0..3, .. })
    });
    let registered = registered.unwrap();
    assert!(registered.custodians.len() == 3 && !registered.custodians.contains(&victim));
    let data = world.data(&registered);
    let dealt = dealt(seed, 3);
    assert_eq!(secrets_of(&dealt, &data).find(&seen), None);
    let sealed = sealed_shares(&seen);
    // A custodian that is slow is handed its share again.
    let distinct: BTreeSet<Vec<u8>> = sealed.iter().map(|sealed| sealed.to_bytes().0).collect();
    assert_eq!(distinct.len(), 3, "the shares of the three went through the gateway");
    let checked = CheckedDealing::new(dealt.commitments().clone(), data, dmdl_types::id::ShareEpoch::new(0));
    for (position, share) in dealt.shares().iter().enumerate() {
        let context = checked.context(registered.custodians[position], share.index());
        assert!(sealed.iter().all(|sealed| open_dealt(sealed, &context, &secret).is_err()));
    }
}

/// The sealed shares that went through the attacker's gateway.
pub(crate) fn sealed_shares(seen: &[u8]) -> Vec<SealedShare> {
    let seen = String::from_utf8_lossy(seen);
    let texts = seen.split("{\"sealed\":\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    texts
        .map(|text| {
            let sealed = codec::decode(&BASE64.decode(text).unwrap(), 4096).unwrap();
            SealedShare::from_bytes(&sealed).unwrap()
        })
        .collect()
}

#[test]
fn no_forged_decision_is_believed() {
    let (world, record, _) = scene();
    let id = record.registered.record;
    let asks = |purpose: &str, honest| Call {
        who: "researcher",
        args: words(&format!("access request {id} --purpose {purpose} --reason study --timeout 5")),
        honest,
    };
    let (denied, allowed) = (asks("POA", 3), asks("HMB", 0));
    let of = |code| {
        world.network.run(async {
            let researcher = world.network.at(0, &world.network.researcher);
            researcher.request(id, terms(code, 1), "a study").await.unwrap()
        })
    };
    let (earlier, refusal) = (of(DuoCode::Hmb), of(DuoCode::Poa));
    assert_eq!((earlier.event.outcome.verdict, refusal.event.outcome.verdict), (Verdict::Allow, Verdict::Deny));
    let (earlier, refusal) = (world.receipt(&earlier).to_text(), world.receipt(&refusal).to_text());
    let mut table = Table::new("a gateway that forges, decisions", &world, &record.secrets);

    let answered = |change: Change<Value>| {
        vec![Trick::alter("POST", "/transactions", move |_, answer| {
            let mut document = serde_json::from_slice(&answer.body).unwrap();
            change(&mut document);
            *answer = Answer::json(200, &document);
        })]
    };
    table.row(
        "ALLOW for a request that was denied, in its receipt",
        &denied,
        answered(Box::new(|document| {
            with_receipt(document, |receipt| with_event(receipt, |event| event.outcome.verdict = Verdict::Allow));
        })),
        UNPROVED,
        "the receipt does not verify",
    );
    let text = earlier.clone();
    table.row(
        "ALLOW for a request that was denied, with the receipt of another request",
        &denied,
        answered(Box::new(move |document| document["receipt"] = text.as_str().into())),
        UNPROVED,
        "the receipt is of another event",
    );
    table.holds(
        "ALLOW for a request that was denied, in words",
        &denied,
        answered(Box::new(|document| document["verdict"] = "allow".into())),
        3,
        |said| said["decision"] == "deny",
    );
    let answer = End { exit: 5, code: "gateway_answer" };
    let denial = json!({ "code": "denied", "detail": "the policy says no" });
    table.row("a denial without a receipt", &allowed, vec![swallow(403, denial)], answer, "shows no receipt");
    let denial = json!({ "code": "denied", "detail": "no", "receipt": refusal });
    table.row(
        "a denial with the receipt of another one",
        &allowed,
        vec![swallow(403, denial)],
        UNPROVED,
        "the receipt is of another event",
    );
    let claimed = json!({ "verdict": "allow", "receipt": earlier });
    table.row("swallowed, and claimed allowed", &allowed, vec![swallow(200, claimed)], UNPROVED, "of another event");
    let garbage = json!({ "verdict": "allow", "receipt": "c2sp.org/tlog-proof@v1\nno receipt" });
    table.row("a receipt that is none", &allowed, vec![swallow(200, garbage)], answer, "makes no sense");
    let html = Trick::swallow("POST", "/transactions", |_| Answer { status: 200, body: "<html>".into() });
    table.row("an answer that is none", &allowed, vec![html], answer, "makes no sense");
    table.end();
}

#[test]
fn no_forged_review_is_believed() {
    let (world, record, _) = scene();
    let (waiting, approved) = world.network.run(async {
        let owner = world.network.at(0, &world.network.owner);
        let researcher = world.network.at(0, &world.network.researcher);
        let reviewed = register(&owner, b"by review alone", None).await;
        let ask = async || researcher.request(reviewed.record, terms(DuoCode::Hmb, 1), "a study").await.unwrap();
        let (waiting, decided): (Final, Final) = (ask().await, ask().await);
        (waiting, owner.review(decided.transaction, true).await.unwrap())
    });
    let receipt = world.receipt(&approved).to_text();
    let args = words(&format!("access wait {} --timeout 2", waiting.transaction));
    let call = Call { who: "researcher", args, honest: 6 };
    let mut table = Table::new("a gateway that forges, reviews", &world, &record.secrets);
    let decided = Trick::json("GET", "/requests/", move |_, document| {
        document["state"] = "ALLOWED".into();
        document["decision"] = receipt.as_str().into();
    });
    table.row("the approval of another request", &call, vec![decided], UNPROVED, "the receipt is of another event");
    let asked = world.receipt(&waiting).to_text();
    let decided = Trick::json("GET", "/requests/", move |_, document| document["decision"] = asked.as_str().into());
    table.row("the request itself as its approval", &call, vec![decided], UNPROVED, "the receipt is of another event");
    table.end();
}

#[test]
fn a_gateway_of_another_network_is_not_heard() {
    let (world, record, _) = scene();
    let call = Call { who: "owner", args: words("status"), honest: 0 };
    let mut table = Table::new("a gateway that forges, networks", &world, &record.secrets);
    let other = "09".repeat(32);
    let trick = Trick::json("GET", "/status", move |_, document| document["network"] = other.as_str().into());
    table.row("another genesis", &call, vec![trick], End { exit: 7, code: "genesis_mismatch" }, "is pinned");
    table.end();
    // Another genesis in the file than the one that its first line pins is no network file.
    let file = std::fs::read_to_string(world.path("network.toml")).unwrap();
    std::fs::write(world.path("network.toml"), file.replace(&world.genesis().id().to_string(), &"09".repeat(32)))
        .unwrap();
    let (exit, said) = world.run("owner", &words("status"));
    assert_eq!((exit, &said["error"]["code"]), (7, &Value::from("genesis_mismatch")), "{said}");
}
