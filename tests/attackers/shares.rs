//! A gateway that forges what it takes to open a record: custody, outcomes, shares, the payload.

use super::{
    gateway::{custodian_in, scene, with_event, with_receipt},
    mitm::{Answer, Asked, Change, Trick},
    table::{Call, End, OUT, Table, UNPROVED, args_to},
    world::{Known, World, text, words},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use dmdl_types::{
    codec,
    context::ReleaseContext,
    custody::SealedBytes,
    custody_proof::Kept,
    event::Verdict,
    id::{NodeId, PayloadDigest, RecordVersion, ShareEpoch, TransactionId},
    invocation::{Access, Authority, Invocation},
    sign::SigningKey,
    transaction::Transaction,
};
use dmdl_vault::{
    payload::layout::{HEADER_LEN, SEALED_CHUNK_LEN},
    seal::{ReleasedShare, SealedShare},
    share::CheckedDealing,
};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const BAD_SHARES: End = End { exit: 5, code: "bad_shares" };
const INTEGRITY: End = End { exit: 5, code: "integrity" };

/// Opens the record under a grant of its own, which the forgeries of one row may use up.
fn opening(world: &World, record: &Known) -> Call {
    let (id, grant) = (record.registered.record, world.grant(record));
    let args = words(&format!("access open {id} --grant {grant} --timeout 10 --out"));
    Call { who: "researcher", args: [args, vec![OUT.to_owned()]].concat(), honest: 0 }
}

/// Answers each custodian's release with what `make` has for that custodian.
fn shares(make: impl Fn(&Asked, NodeId, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> Trick {
    Trick::json("GET", "/releases/", move |asked, document| {
        let custodian = custodian_in(asked, "custodian=");
        // A custodian that is late is asked again.
        let Some(real) = document["shares"][0]["share"].as_str() else { return };
        let share = make(asked, custodian, &BASE64.decode(real).unwrap());
        document["shares"] = json!([{ "custodian": custodian, "share": BASE64.encode(share) }]);
    })
}

/// What the custodians released for a decryption.
fn released(world: &World, custodians: &[NodeId], decryption: TransactionId) -> BTreeMap<NodeId, Vec<u8>> {
    custodians.iter().map(|custodian| (*custodian, world.released(*custodian, decryption))).collect()
}

/// A decryption that the researcher, or a colleague, was allowed.
fn decryption(world: &World, known: &Known, colleague: bool) -> TransactionId {
    let network = &world.network;
    let who = if colleague { &network.colleague } else { &network.researcher };
    network.run(async {
        let person = network.at(0, who);
        let grant = crate::common::granted(&person, known.registered.record, 1).await;
        crate::common::allowed(&person, &known.registered, Authority::Grant(grant)).await.done.transaction
    })
}

#[test]
fn no_forged_custody_or_outcome_opens_a_record() {
    let (world, record, other) = scene();
    let mut table = Table::new("a gateway that forges, openings", &world, &record.secrets);
    let custody = |change: Change<Value>| vec![Trick::json("GET", "/custody", move |_, document| change(document))];
    let node = world.node();
    let others = world
        .network
        .run(node.custody(other.registered.record, RecordVersion::new(1), Duration::ZERO))
        .unwrap()
        .expect("it is registered");
    let registration = BASE64.encode(codec::encode(&others.registration));
    table.row(
        "the registration of another record",
        &opening(&world, &record),
        custody(Box::new(move |document| document["registration"] = registration.as_str().into())),
        UNPROVED,
        "does not register version 1 of record",
    );
    let receipt = others.receipt.to_text();
    table.row(
        "the receipt of another registration",
        &opening(&world, &record),
        custody(Box::new(move |document| document["receipt"] = receipt.as_str().into())),
        UNPROVED,
        "a receipt is of another event",
    );
    let mut altered = |name, change: fn(&mut dmdl_types::invocation::Registration)| {
        let trick = custody(Box::new(move |document| {
            let bytes = BASE64.decode(document["registration"].as_str().unwrap()).unwrap();
            let mut transaction: Transaction = codec::decode(&bytes, 1 << 20).unwrap();
            let Invocation::Access(Access::Register(call)) = &mut transaction.body.invocation else { panic!() };
            change(call);
            document["registration"] = BASE64.encode(codec::encode(&transaction)).into();
        }));
        table.row(name, &opening(&world, &record), trick, UNPROVED, "the registration is not proved");
    };
    altered("another payload in the registration", |call| call.payload.digest = PayloadDigest::new([9; 32]));
    altered("other commitments in the registration", |call| call.dealing.commitments.swap(0, 1));
    altered("a custodian exchanged in the registration", |call| {
        call.dealing.shares[0].key.custodian = NodeId::of_key(super::world::stranger(5).public());
    });

    // Custodians that the gateway makes up: of whom nothing proves that the key was ever handed on to them.
    let handed_on = |change: fn(&mut Kept)| {
        custody(Box::new(move |document| {
            let bytes = BASE64.decode(document["registration"].as_str().unwrap()).unwrap();
            let transaction: Transaction = codec::decode(&bytes, 1 << 20).unwrap();
            let Invocation::Access(Access::Register(call)) = &transaction.body.invocation else { panic!() };
            let commitments = call.dealing.commitments.clone();
            let custodians = (1..=4).map(|n| NodeId::of_key(super::world::stranger(n).public())).collect();
            let mut kept = Kept { epoch: ShareEpoch::new(7), commitments, custodians, min_acks: 0 };
            change(&mut kept);
            document["reshared"] = BASE64.encode(codec::encode(&kept)).into();
            document["acknowledgements"] = json!([]);
        }))
    };
    table.row(
        "custodians whom nobody handed the key on to",
        &opening(&world, &record),
        handed_on(|_| ()),
        UNPROVED,
        "share epoch 7 has not begun",
    );
    table.row(
        "custodians of another key",
        &opening(&world, &record),
        handed_on(|kept| kept.commitments.swap(0, 1)),
        UNPROVED,
        "do not share the key that was registered",
    );

    let earlier = world.network.run(world.node().wait_final(decryption(&world, &record, false), Duration::ZERO));
    let receipt = world.receipt(&earlier.unwrap()).to_text();
    let claimed = json!({ "verdict": "allow", "receipt": receipt });
    let swallow = |status, said: Value| Trick::swallow("POST", "/transactions", move |_| Answer::json(status, &said));
    table.row(
        "swallowed, with the outcome of another decryption",
        &opening(&world, &record),
        vec![swallow(200, claimed)],
        UNPROVED,
        "the receipt is of another event",
    );
    let not_final = json!({ "code": "not_final", "detail": "it was not final in time" });
    table.row(
        "swallowed",
        &opening(&world, &record),
        vec![swallow(504, not_final)],
        End { exit: 6, code: "not_final" },
        "; resume with --transaction ",
    );
    let denial = json!({ "code": "denied", "detail": "the grant is revoked" });
    table.row(
        "a denial without a receipt",
        &opening(&world, &record),
        vec![swallow(403, denial)],
        End { exit: 5, code: "gateway_answer" },
        "shows no receipt",
    );

    // A decryption that the ledger denies, and the gateway calls allowed.
    let mut revoked = opening(&world, &record);
    let grant = revoked.args[4].parse().unwrap();
    world.network.run(async {
        let owner = world.network.at(0, &world.network.owner);
        owner.revoke(grant).await.unwrap();
    });
    revoked.honest = 3;
    let allow = |change: fn(&mut Value)| {
        vec![Trick::alter("POST", "/transactions", move |_, answer| {
            let mut document = serde_json::from_slice(&answer.body).unwrap();
            change(&mut document);
            *answer = Answer::json(200, &document);
        })]
    };
    table.row(
        "ALLOW for a decryption that was denied, in its receipt",
        &revoked,
        allow(|document| {
            with_receipt(document, |receipt| with_event(receipt, |event| event.outcome.verdict = Verdict::Allow));
        }),
        UNPROVED,
        "the receipt does not verify",
    );
    table.row(
        "ALLOW for a decryption that was denied, in words",
        &revoked,
        allow(|document| document["verdict"] = "allow".into()),
        End { exit: 3, code: "denied" },
        "denied: grant_revoked",
    );
    table.end();
}

#[test]
fn no_forged_share_opens_a_record_or_blames_an_honest_custodian() {
    let (world, record, other) = scene();
    let custodians = record.registered.custodians.clone();
    let mut table = Table::new("a gateway that forges, shares", &world, &record.secrets);
    let altered = "only 0 of 2 shares verify; not what the custodian sent, or not for this decryption:";
    let mut bad = |name, trick: Trick| table.row(name, &opening(&world, &record), vec![trick], BAD_SHARES, altered);

    let flip = |at: usize| {
        shares(move |_, _, real| {
            let mut share = real.to_vec();
            share[at] ^= 1;
            share
        })
    };
    bad("a bit of the seal flipped", flip(50));
    bad("a bit of the custodian's signature flipped", flip(150));
    bad("of an unknown suite", flip(0));
    bad("cut short", shares(|_, _, real| real[..real.len() - 1].to_vec()));
    bad("with a byte more", shares(|_, _, real| [real, &[0]].concat()));
    bad("nothing", shares(|_, _, _| Vec::new()));
    bad("longer than any share", shares(|_, _, _| vec![7; 5000]));
    let not_base64 = Trick::json("GET", "/releases/", |asked, document| {
        document["shares"] = json!([{ "custodian": custodian_in(asked, "custodian="), "share": "?" }]);
    });
    bad("no base64", not_base64);
    for (name, of) in [
        ("of another record", decryption(&world, &other, false)),
        ("of another decryption of the same reader", decryption(&world, &record, false)),
        ("of another reader's decryption", decryption(&world, &record, true)),
    ] {
        let known = released(&world, &custodians, of);
        bad(name, shares(move |_, custodian, _| known[&custodian].clone()));
    }
    // Whoever is asked, another custodian answers.
    let (node, after) = (world.node(), custodians.clone());
    let next = Trick::later("GET", "/releases/", move |asked, _| {
        let custodian = custodian_in(&asked, "custodian=");
        let place = after.iter().position(|node| *node == custodian).unwrap();
        substitute(&node, &asked, custodian, after[(place + 1) % after.len()])
    });
    bad("each of another custodian", next);
    let (node, first) = (world.node(), custodians[0]);
    let same = Trick::later("GET", "/releases/", move |asked, _| {
        let custodian = custodian_in(&asked, "custodian=");
        substitute(&node, &asked, custodian, first)
    });
    let one = "only 1 of 2 shares verify; not what the custodian sent, or not for this decryption:";
    table.row("the same one for all custodians", &opening(&world, &record), vec![same], BAD_SHARES, one);

    // With the custodians' own keys: what they sign for this decryption is theirs.
    let forger = Forger::new(&world, &record);
    let false_shares = "only 0 of 2 shares verify; signed by the custodian, and false:";
    let garbled = forger.tricks(|_, sealed| sealed.0[40] ^= 1);
    table.row("garbled, and signed by their custodians", &opening(&world, &record), garbled, BAD_SHARES, false_shares);
    let epoch = forger.tricks(|context, _| context.share.epoch = ShareEpoch::new(1));
    table.row("signed for another share epoch", &opening(&world, &record), epoch, BAD_SHARES, altered);
    let reader = forger.tricks(|context, _| context.requester = super::world::stranger(8).public());
    table.row("signed for another reader", &opening(&world, &record), reader, BAD_SHARES, altered);

    let unavailable = End { exit: 6, code: "custodians_unavailable" };
    let silent = |asked: &Asked, document: &mut Value| {
        let custodian = custodian_in(asked, "custodian=");
        let missing = json!({ "custodian": custodian, "code": "custodian_unavailable", "detail": "it is down" });
        *document = json!({ "shares": [], "missing": [missing] });
    };
    let none = vec![Trick::json("GET", "/releases/", silent)];
    let words = "custodians unavailable: 0 of 2 shares came, none from";
    table.row("withheld", &opening(&world, &record), none, unavailable, words);
    let two = |n: usize| Trick::json("GET", format!("custodian={}", custodians[n]), silent);
    let tricks = vec![two(0), two(1), flip(50)];
    let words = ", and none that verifies in the name of";
    table.row("two withheld, the others garbled", &opening(&world, &record), tricks, unavailable, words);
    table.end();

    // Two garbled of four open it all the same, and say in whose name something else came: it came first.
    let given = Arc::new(AtomicUsize::new(0));
    let garble = |n: usize| {
        let given = Arc::clone(&given);
        Trick::alter("GET", format!("custodian={}", custodians[n]), move |asked, answer| {
            let share = json!({ "custodian": custodian_in(asked, "custodian="), "share": "AAAA" });
            *answer = Answer::json(200, &json!({ "shares": [share], "missing": [] }));
            given.fetch_add(1, Ordering::SeqCst);
        })
    };
    let hold = |n: usize| {
        let given = Arc::clone(&given);
        Trick::later("GET", format!("custodian={}", custodians[n]), move |_, answer| {
            let given = Arc::clone(&given);
            Box::pin(async move {
                while given.load(Ordering::SeqCst) < 2 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                answer
            })
        })
    };
    let tricks = vec![garble(0), garble(1), hold(2), hold(3)];
    let (said, seen) = opens_under(&world, &record, tricks);
    assert_eq!(said["culprits"], json!([]), "no custodian is blamed for what its gateway did");
    let known: Vec<String> = custodians[..2].iter().map(ToString::to_string).collect();
    let altered = said["altered"].as_array().unwrap();
    assert!(!altered.is_empty() && altered.iter().all(|node| known.iter().any(|known| node == known)), "{said}");
    assert_eq!(record.secrets.find(&seen), None);
}

#[test]
fn custodians_that_never_answer_are_not_waited_for() {
    let (world, record, _) = scene();
    let custodians = record.registered.custodians.clone();
    let of = |n: usize| format!("custodian={}", custodians[n]);
    let never = |n| Trick::later("GET", of(n), |_, _| Box::pin(std::future::pending()));
    let passes = |n| Trick::alter("GET", of(n), |_, _| {});
    // Whichever two are asked first.
    for silent in [[0, 1], [2, 3]] {
        let tricks = (0..4).map(|n| if silent.contains(&n) { never(n) } else { passes(n) }).collect();
        opens_under(&world, &record, tricks);
    }
}

/// Opens a record at a gateway that plays tricks, to its plaintext; gives what the client said, and what the gateway saw.
fn opens_under(world: &World, record: &Known, tricks: Vec<Trick>) -> (Value, Vec<u8>) {
    let (call, out) = (opening(world, record), world.new_path());
    let args = args_to(&call.args, &text(&out));
    let ((exit, said), seen) = world.under(tricks, || world.run("researcher", &args));
    assert_eq!(exit, 0, "{said}");
    assert_eq!(std::fs::read(&out).unwrap(), record.plaintext);
    (said, seen)
}

/// The answer that another custodian gives, in the name of the one that was asked.
fn substitute(
    node: &dmdl::gateway::RealNode,
    asked: &Asked,
    custodian: NodeId,
    of: NodeId,
) -> futures::future::BoxFuture<'static, Answer> {
    let (_, rest) = asked.target.split_once("/releases/").unwrap();
    let (node, decryption) = (node.clone(), rest[..64].parse().unwrap());
    Box::pin(async move {
        let share = BASE64.encode(node.release(of, decryption).await.unwrap());
        Answer::json(200, &json!({ "shares": [{ "custodian": custodian, "share": share }], "missing": [] }))
    })
}

/// Custodians that lie, together with the gateway: it has their keys, and what their reader asked.
struct Forger {
    keys: Arc<BTreeMap<NodeId, SigningKey>>,
    dealing: CheckedDealing,
    indices: BTreeMap<NodeId, dmdl_types::id::ShareIndex>,
}

impl Forger {
    fn new(world: &World, record: &Known) -> Self {
        let keys = (0..crate::common::NODES).map(|at| (world.network.node_id(at), world.stolen(at).0)).collect();
        let version = record.registered.version;
        let proof = world.network.run(world.node().custody(record.registered.record, version, Duration::ZERO));
        let Invocation::Access(Access::Register(call)) = proof.unwrap().unwrap().registration.body.invocation else {
            panic!("it registers")
        };
        let dealing = CheckedDealing::of_dealing(&call.dealing, world.data(&record.registered)).unwrap();
        let indices = (1..).map(dmdl_types::id::ShareIndex::new);
        let indices = record.registered.custodians.iter().copied().zip(indices).collect();
        Self { keys: Arc::new(keys), dealing, indices }
    }

    /// Lets every custodian sign its release again, with a change.
    fn tricks(&self, change: fn(&mut ReleaseContext, &mut SealedBytes)) -> Vec<Trick> {
        let asked: Arc<Mutex<Option<Transaction>>> = Arc::default();
        let heard = Arc::clone(&asked);
        let hear = Trick::alter("POST", "/transactions", move |asked, _| {
            let body: Value = serde_json::from_slice(&asked.body).unwrap();
            let bytes = BASE64.decode(body["transaction"].as_str().unwrap()).unwrap();
            *heard.lock().unwrap() = Some(codec::decode(&bytes, 1 << 20).unwrap());
        });
        let (keys, dealing, indices) = (Arc::clone(&self.keys), self.dealing.clone(), self.indices.clone());
        let release = shares(move |_, custodian, real| {
            let transaction = asked.lock().unwrap().clone().expect("it was ordered before");
            let Invocation::Access(Access::Decrypt { keys: opening, .. }) = &transaction.body.invocation else {
                panic!("it decrypts")
            };
            let mut context = ReleaseContext {
                share: dealing.context(custodian, indices[&custodian]),
                transaction: transaction.body.id(),
                requester: transaction.body.authors[0],
                opening_key: opening.iter().find(|key| key.custodian == custodian).unwrap().key,
            };
            let real: ReleasedShare = codec::decode(real, 1024).unwrap();
            let mut sealed = real.sealed.to_bytes();
            change(&mut context, &mut sealed);
            let sealed = SealedShare::from_bytes(&sealed).unwrap();
            codec::encode(&ReleasedShare::sign(sealed, &context, &keys[&custodian]))
        });
        vec![hear, release]
    }
}

#[test]
fn no_altered_payload_gives_a_byte_of_plaintext() {
    let (world, record, other) = scene();
    let mut table = Table::new("a gateway that forges, payloads", &world, &record.secrets);
    let payload = |change: Change<Vec<u8>>| {
        vec![Trick::alter("GET", "/v1/payloads/", move |_, answer| {
            let mut bytes = answer.body.to_vec();
            change(&mut bytes);
            answer.body = bytes.into();
        })]
    };
    let mut row = |name, says, change: Change<Vec<u8>>| {
        table.row(name, &opening(&world, &record), payload(change), INTEGRITY, says);
    };
    let chunk = |number: usize| HEADER_LEN + number * SEALED_CHUNK_LEN;
    row("a bit of the first chunk", "chunk 0 was altered", Box::new(move |b| b[chunk(0) + 5] ^= 1));
    row("a bit of the second chunk", "chunk 1 was altered", Box::new(move |b| b[chunk(1) + 5] ^= 1));
    row("a bit of the last tag", "chunk 2 was altered", Box::new(|b| *b.last_mut().unwrap() ^= 1));
    row("a bit of the header", "the header is not the registered one", Box::new(|b| b[HEADER_LEN - 1] ^= 1));
    row("a byte less", "the payload is truncated", Box::new(|b| b.truncate(b.len() - 1)));
    row("the last chunk less", "the payload is truncated", Box::new(move |b| b.truncate(chunk(2))));
    row("half a header", "the payload is truncated", Box::new(|b| b.truncate(HEADER_LEN / 2)));
    row("nothing", "the payload is truncated", Box::new(Vec::clear));
    row("a byte more", "bytes came", Box::new(|b| b.push(0)));
    row("itself twice", "bytes came", Box::new(|b| b.extend_from_within(..)));
    row(
        "two chunks exchanged",
        "chunk 0 was altered",
        Box::new(move |b| {
            let (first, second) = b[chunk(0)..].split_at_mut(SEALED_CHUNK_LEN);
            first.swap_with_slice(&mut second[..SEALED_CHUNK_LEN]);
        }),
    );
    let digest = other.registered.payload.digest;
    let (_, parts) = world.network.run(world.node().payloads().get(digest)).unwrap();
    let others = world.network.run(parts.map_ok(|part| part.to_vec()).try_concat()).unwrap();
    row(
        "of another record",
        "the key is not the one that the ledger commits to",
        Box::new(move |b| b.clone_from(&others)),
    );
    table.end();
}

#[test]
fn an_opening_that_a_gateway_spoilt_goes_on_at_an_honest_one_as_the_same_use() {
    let (world, record, _) = scene();
    let spoilt = [
        shares(|_, _, real| real[1..].to_vec()),
        Trick::alter("GET", "/v1/payloads/", |_, answer| answer.body.truncate(100)),
        Trick::swallow("POST", "/transactions", |_| Answer::json(403, &json!({ "code": "denied" }))),
    ];
    for trick in spoilt {
        let call = opening(&world, &record);
        let grant = call.args[4].parse().unwrap();
        let with = |out: &str, more: Vec<String>| [args_to(&call.args, out), more].concat();
        let out = text(&world.new_path());
        let ((exit, said), _) = world.under(vec![trick], || world.run("researcher", &with(&out, Vec::new())));
        assert_eq!(exit, 5, "{said}");
        let detail = said["error"]["detail"].as_str().unwrap();
        let (_, transaction) = detail.split_once("; resume with --transaction ").unwrap_or_else(|| panic!("{detail}"));
        let resume = vec!["--transaction".to_owned(), transaction.to_owned()];
        let (exit, said) = world.run("researcher", &with(&out, resume));
        assert_eq!(exit, 0, "{said}");
        assert_eq!(said["transaction"], transaction);
        assert_eq!(std::fs::read(&out).unwrap(), record.plaintext);
        assert_eq!(world.network.uses(0, grant), 1, "it was one use");
    }
}
