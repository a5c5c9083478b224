//! Makes the vectors, from seeds.

use dmdl_types::{
    codec,
    context::{DataContext, ReleaseContext, ShareContext},
    custody::SealedBytes,
    hash,
    id::{ChannelId, NetworkId, NodeId, RecordId, RecordVersion, ShareEpoch, ShareIndex, TransactionId},
    label,
    secret::Secret32,
    sign::SigningKey,
};
use dmdl_vault::{
    keys,
    seal::{ReleasedShare, SealedShare, seal_to_custodian, seal_to_requester},
    share::{CheckedDealing, Dealt, Share, Threshold, WrappedShare, deal},
};
use rand::{SeedableRng as _, rngs::ChaCha20Rng};
use serde_json::{Value, json};

/// The files, by name.
pub(crate) fn all() -> Vec<(&'static str, Value)> {
    vec![("keys", keys()), ("deal", dealings()), ("wrap", wraps()), ("seal", seals()), ("judge", disputes())]
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}

fn secret_hex(secret: &Secret32) -> String {
    secret.expose(|bytes| hex(bytes))
}

fn secret(byte: u8) -> Secret32 {
    Secret32::new([byte; 32])
}

fn custodian(position: u8) -> SigningKey {
    SigningKey::from_seed(secret(0x30 + position))
}

struct Case {
    dealt: Dealt,
    dealing: CheckedDealing,
}

/// Case 0 is 2 of 4, case 1 is 3 of 7, case 2 is 2 of 4 again.
fn case(number: u64) -> Case {
    let (k, n) = [(2, 4), (3, 7), (2, 4)][usize::try_from(number).unwrap()];
    let dealt = deal(&mut rng(number), Threshold::new(k, n).unwrap()).unwrap();
    let (network, channel) = (NetworkId::new([0x11; 32]), ChannelId::new([0x22; 32]));
    let owner = SigningKey::from_seed(secret(0x2f)).public();
    let record = RecordId::derive(network, channel, owner, dealt.commitments().as_bytes());
    let data = DataContext { network, channel, record, version: RecordVersion::new(1) };
    let dealing = CheckedDealing::new(dealt.commitments().clone(), data, ShareEpoch::new(0));
    Case { dealt, dealing }
}

impl Case {
    fn context(&self, position: u8) -> ShareContext {
        self.dealing.context(NodeId::of_key(custodian(position).public()), ShareIndex::new(position))
    }

    fn share(&self, position: u8) -> Share {
        Share::from_bytes(&self.share_bytes(position)).unwrap()
    }

    fn share_bytes(&self, position: u8) -> [u8; Share::LEN] {
        self.dealt.shares()[usize::from(position) - 1].expose(|bytes| *bytes)
    }

    fn commitments(&self) -> Vec<String> {
        self.dealt.commitments().as_bytes().iter().map(hex).collect()
    }

    fn release_context(&self, position: u8) -> ReleaseContext {
        ReleaseContext {
            share: self.context(position),
            transaction: TransactionId::new([0x55; 32]),
            requester: SigningKey::from_seed(secret(0x56)).public(),
            opening_key: keys::x25519_public(&self.opening_secret(position)),
        }
    }

    fn opening_secret(&self, position: u8) -> Secret32 {
        keys::opening_secret(&secret(0x57), &[0x58; 16], NodeId::of_key(custodian(position).public()))
    }

    fn seal(&self, position: u8, context: &ShareContext, dealing_secret: &Secret32) -> SealedShare {
        let public = keys::x25519_public(dealing_secret);
        seal_to_custodian(&mut rng(u64::from(position)), &self.share(position), context, &public).unwrap()
    }

    fn release(&self, position: u8) -> ReleasedShare {
        let share = self.dealing.verify(self.share(position)).unwrap();
        seal_to_requester(&mut rng(9), &share, &self.release_context(position), &custodian(position)).unwrap()
    }
}

/// The share with the lowest bit of its value flipped: another canonical share.
fn wrong(mut share: [u8; Share::LEN]) -> Share {
    share[1] ^= 1;
    Share::from_bytes(&share).unwrap()
}

fn keys() -> Value {
    let case = case(0);
    let data = *case.dealing.data();
    let later = DataContext { version: RecordVersion::new(2), ..data };
    let data_key = [data, later].map(|context| {
        json!({
            "secret": secret_hex(&secret(1)),
            "context": hex(codec::encode(&context)),
            "key": secret_hex(&keys::data_key(&secret(1), &context)),
        })
    });
    let opening_key = [1, 2].map(|position| {
        let node = NodeId::of_key(custodian(position).public());
        let opening = keys::opening_secret(&secret(0x57), &[0x58; 16], node);
        json!({
            "seed": secret_hex(&secret(0x57)),
            "nonce": hex([0x58; 16]),
            "custodian": node.to_string(),
            "secret": secret_hex(&opening),
            "public": hex(keys::x25519_public(&opening)),
        })
    });
    let context = case.context(1);
    let wrap = json!({
        "stored": secret_hex(&secret(2)),
        "context": hex(codec::encode(&context)),
        "key": secret_hex(&keys::share_wrap_key(&secret(2), &context)),
    });
    let bad = |name: &str, public: &str, error: &str| json!({ "name": name, "public": public, "error": error });
    let (zeros, ones) = ("00".repeat(30), "ff".repeat(30));
    json!({
        "data_key": data_key,
        "opening_key": opening_key,
        "share_wrap_key": [wrap],
        "bad_x25519": [
            bad("order 4", &format!("00{zeros}00"), "LowOrder"),
            bad("order 1, of the twist 2", &format!("01{zeros}00"), "LowOrder"),
            bad("order 8", "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", "LowOrder"),
            bad("order 8, the other", "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157", "LowOrder"),
            bad("minus one", &format!("ec{ones}7f"), "LowOrder"),
            bad("zero, unreduced", &format!("ed{ones}7f"), "NonCanonical"),
            bad("one, unreduced", &format!("ee{ones}7f"), "NonCanonical"),
            bad("the base point, unreduced", &format!("f6{ones}7f"), "NonCanonical"),
            bad("the base point with the high bit", &format!("09{zeros}80"), "NonCanonical"),
            bad("all ones", &format!("ff{ones}ff"), "NonCanonical"),
        ],
    })
}

fn dealings() -> Value {
    let good = |number: u64, subsets: Value| {
        let case = case(number);
        let threshold = case.dealt.commitments().threshold();
        let contexts: Vec<_> = (1..=threshold.n()).map(|x| hex(codec::encode(&case.context(x)))).collect();
        let shares: Vec<_> = (1..=threshold.n()).map(|x| hex(case.share_bytes(x))).collect();
        json!({
            "k": threshold.k(),
            "n": threshold.n(),
            "commitments": case.commitments(),
            "record": case.dealing.data().record.to_string(),
            "dealing": case.dealing.id().to_string(),
            "contexts": contexts,
            "shares": shares,
            "subsets": subsets,
            "data_key": secret_hex(&case.dealt.data_key(case.dealing.data())),
        })
    };
    json!({
        "pedersen_h": "a0f4930ee8e7b77825b212c41a5e83d0e74c5b2971d361a721a7efcf90cde423",
        "good": [
            good(0, json!([[1, 2], [4, 3], [1, 4], [1, 2, 3, 4]])),
            good(1, json!([[1, 2, 3], [7, 5, 6], [2, 7, 4]])),
            good(2, json!([[2, 3]])),
        ],
        "bad_thresholds": [
            json!({ "name": "one share opens", "k": 1, "n": 4, "error": "OneOpens" }),
            json!({ "name": "no share opens", "k": 0, "n": 4, "error": "OneOpens" }),
            json!({ "name": "more than there are", "k": 5, "n": 4, "error": "TooFewCustodians" }),
            json!({ "name": "fewer than 2k - 1", "k": 3, "n": 4, "error": "TooFewCustodians" }),
        ],
        "bad_commitments": bad_commitments(),
        "bad_shares": bad_shares(),
        "bad_combinations": [
            json!({ "name": "too few", "of": 0, "shares": [[0, 1]], "error": "TooFew" }),
            json!({ "name": "none", "of": 1, "shares": [], "error": "TooFew" }),
            json!({ "name": "one twice", "of": 0, "shares": [[0, 2], [0, 2]], "error": "Duplicate" }),
            json!({ "name": "one twice among enough", "of": 0, "shares": [[0, 1], [0, 2], [0, 1]], "error": "Duplicate" }),
            json!({ "name": "of two dealings", "of": 0, "shares": [[0, 1], [2, 2]], "error": "OtherDealing" }),
            json!({ "name": "all of another dealing", "of": 0, "shares": [[2, 1], [2, 2]], "error": "OtherDealing" }),
        ],
    })
}

fn bad_commitments() -> Vec<Value> {
    let good = case(0).commitments();
    let bad = |name: &str, commitments: &[&str], error: &str| json!({ "name": name, "k": 2, "n": 4, "commitments": commitments, "error": error });
    let (zeros, ones) = ("00".repeat(32), "ff".repeat(32));
    let unreduced = format!("ed{}7f", "ff".repeat(30));
    let negative = format!("01{}", "00".repeat(31));
    let no_root = "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371";
    vec![
        bad("one too few", &[&good[0]], "WrongCount"),
        bad("one too many", &[&good[0], &good[1], &good[0]], "WrongCount"),
        bad("the secret is zero", &[&zeros, &good[1]], "Identity"),
        bad("fewer shares would do", &[&good[0], &zeros], "Identity"),
        bad("all ones", &[&ones, &good[1]], "NotAPoint"),
        bad("unreduced", &[&good[0], &unreduced], "NotAPoint"),
        bad("negative", &[&negative, &good[1]], "NotAPoint"),
        bad("not on the curve", &[&good[0], no_root], "NotAPoint"),
    ]
}

fn bad_shares() -> Vec<Value> {
    let case = case(0);
    let bad =
        |name: &str, share: &[u8], error: &str| json!({ "name": name, "of": 0, "share": hex(share), "error": error });
    let altered = |offset: usize, bytes: &[u8]| {
        let mut share = case.share_bytes(2);
        share[offset..offset + bytes.len()].copy_from_slice(bytes);
        share
    };
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let value_bit = wrong(case.share_bytes(2)).expose(|bytes| *bytes);
    let mut blinding_bit = case.share_bytes(2);
    blinding_bit[33] ^= 1;
    vec![
        bad("index 0", &altered(0, &[0]), "IndexZero"),
        bad("index of another", &altered(0, &[3]), "NotCommitted"),
        bad("index beyond n", &altered(0, &[5]), "BeyondThreshold"),
        bad("altered value", &value_bit, "NotCommitted"),
        bad("altered blinding", &blinding_bit, "NotCommitted"),
        bad("zeros", &altered(1, &[0; 64]), "NotCommitted"),
        bad("value equal to the order", &altered(1, &order), "NonCanonical"),
        bad("blinding equal to the order", &altered(33, &order), "NonCanonical"),
        bad("of another dealing", &self::case(2).share_bytes(2), "NotCommitted"),
        bad("cut short", &case.share_bytes(2)[..64], "WrongLength"),
        bad("one byte longer", &[&case.share_bytes(2)[..], &[0]].concat(), "WrongLength"),
    ]
}

fn wraps() -> Value {
    let case = case(0);
    let context = case.context(2);
    let share = case.dealing.verify(case.share(2)).unwrap();
    let wrapped = codec::encode(&WrappedShare::seal(&mut rng(7), &share, &secret(2), &context).unwrap());
    let vector = |name: &str, stored: u8, context: &ShareContext, wrapped: &[u8]| {
        json!({
            "name": name,
            "stored": secret_hex(&secret(stored)),
            "context": hex(codec::encode(context)),
            "wrapped": hex(wrapped),
        })
    };
    let mut good = vector("as stored", 2, &context, &wrapped);
    good["share"] = hex(case.share_bytes(2)).into();
    let mut altered = wrapped.clone();
    altered[92] ^= 1;
    let later = ShareContext { epoch: ShareEpoch::new(1), ..context };
    let bad = [
        vector("another stored secret", 3, &context, &wrapped),
        vector("another epoch", 2, &later, &wrapped),
        vector("another custodian", 2, &case.context(3), &wrapped),
        vector("an altered byte", 2, &context, &altered),
    ];
    let bad = bad.map(|mut vector| {
        vector["error"] = "NotOpened".into();
        vector
    });
    json!({ "good": [good], "bad": bad })
}

fn seals() -> Value {
    let case = case(0);
    let context = case.context(2);
    let sealed = case.seal(2, &context, &secret(4)).to_bytes().0;
    let dealt = |name: &str, context: &ShareContext, key: u8, sealed: &[u8]| {
        json!({
            "name": name,
            "context": hex(codec::encode(context)),
            "dealing_secret": secret_hex(&secret(key)),
            "dealing_key": hex(keys::x25519_public(&secret(key))),
            "sealed": hex(sealed),
        })
    };
    let mut good = dealt("as dealt", &context, 4, &sealed);
    good["share"] = hex(case.share_bytes(2)).into();
    good["digest"] = hex(hash::labelled(label::SEALED_SHARE, &[&sealed])).into();

    let failing = |mut vector: Value, error: &str| {
        vector["error"] = error.into();
        vector
    };
    let changed = |offset: usize, with: u8| {
        let mut sealed = sealed.clone();
        sealed[offset] = with;
        sealed
    };
    let weak: Vec<_> = [&sealed[..1], &[0; 32], &sealed[33..]].concat();
    let mut bad_dealt = vec![
        failing(dealt("another secret", &context, 5, &sealed), "NotOpened"),
        failing(dealt("altered ciphertext", &context, 4, &changed(113, sealed[113] ^ 1)), "NotOpened"),
        failing(dealt("altered key", &context, 4, &changed(1, sealed[1] ^ 1)), "NotOpened"),
        failing(dealt("an encapsulated key of low order", &context, 4, &weak), "NotOpened"),
        failing(dealt("suite 0", &context, 4, &changed(0, 0)), "Malformed"),
        failing(dealt("suite 2", &context, 4, &changed(0, 2)), "Malformed"),
        failing(dealt("cut short", &context, 4, &sealed[..113]), "Malformed"),
        failing(dealt("one byte longer", &context, 4, &[&sealed[..], &[0]].concat()), "TooLong"),
    ];
    for (name, other) in altered_contexts(&context) {
        bad_dealt.push(failing(dealt(&format!("another {name}"), &other, 4, &sealed), "NotOpened"));
    }

    let release_context = case.release_context(2);
    let release = case.release(2);
    let opening = case.opening_secret(2);
    let released = |name: &str, context: &ReleaseContext, release: &ReleasedShare, key: &Secret32| {
        json!({
            "name": name,
            "context": hex(codec::encode(context)),
            "opening_secret": secret_hex(key),
            "sealed": hex(release.sealed.to_bytes().0),
            "signature": release.signature.to_string(),
        })
    };
    let mut good_release = released("as released", &release_context, &release, &opening);
    good_release["share"] = hex(case.share_bytes(2)).into();
    let other_requester = ReleaseContext { requester: SigningKey::from_seed(secret(0x59)).public(), ..release_context };
    let other_transaction = ReleaseContext { transaction: TransactionId::new([0x5a; 32]), ..release_context };
    let signed_for = |context: &ReleaseContext| ReleasedShare::sign(release.sealed.clone(), context, &custodian(2));
    let by_another = ReleasedShare::sign(release.sealed.clone(), &release_context, &custodian(3));
    let bad_released = [
        failing(released("another secret", &release_context, &release, &secret(4)), "NotOpened"),
        failing(released("another requester", &other_requester, &release, &opening), "NotSigned"),
        failing(released("another transaction", &other_transaction, &release, &opening), "NotSigned"),
        failing(
            released("signed for another transaction", &other_transaction, &signed_for(&other_transaction), &opening),
            "NotOpened",
        ),
        failing(
            released("signed for another requester", &other_requester, &signed_for(&other_requester), &opening),
            "NotOpened",
        ),
        failing(released("signed by another custodian", &release_context, &by_another, &opening), "NotSigned"),
    ];
    json!({ "dealt": [good], "bad_dealt": bad_dealt, "released": [good_release], "bad_released": bad_released })
}

/// Each field that a seal is bound to, changed alone.
fn altered_contexts(context: &ShareContext) -> Vec<(&'static str, ShareContext)> {
    let data = context.data;
    let with = |data| ShareContext { data, ..*context };
    vec![
        ("network", with(DataContext { network: NetworkId::new([0xaa; 32]), ..data })),
        ("channel", with(DataContext { channel: ChannelId::new([0xaa; 32]), ..data })),
        ("record", with(DataContext { record: RecordId::new([0xaa; 32]), ..data })),
        ("version", with(DataContext { version: RecordVersion::new(2), ..data })),
        ("epoch", ShareContext { epoch: ShareEpoch::new(1), ..*context }),
        ("custodian", ShareContext { custodian: NodeId::new([0xaa; 32]), ..*context }),
        ("index", ShareContext { index: ShareIndex::new(3), ..*context }),
        ("k", ShareContext { k: 3, ..*context }),
        ("n", ShareContext { n: 5, ..*context }),
        ("dealing", ShareContext { dealing: dmdl_types::id::DealingId::new([0xaa; 32]), ..*context }),
    ]
}

fn disputes() -> Value {
    let case = case(0);
    let context = case.context(2);
    let public = keys::x25519_public(&secret(4));
    let good = case.seal(2, &context, &secret(4)).to_bytes();
    let bad = seal_to_custodian(&mut rng(8), &wrong(case.share_bytes(2)), &context, &public).unwrap().to_bytes();
    let elsewhere = case.seal(2, &ShareContext { epoch: ShareEpoch::new(1), ..context }, &secret(4)).to_bytes();
    let dealt = |name: &str, registered: &SealedBytes, sealed: &SealedBytes, revealed: u8, verdict: &str| {
        json!({
            "name": name,
            "context": hex(codec::encode(&context)),
            "commitments": case.commitments(),
            "dealing_key": hex(public),
            "digest": hex(hash::labelled(label::SEALED_SHARE, &[&registered.0])),
            "sealed": hex(&sealed.0),
            "revealed": secret_hex(&secret(revealed)),
            "verdict": verdict,
        })
    };
    let short = SealedBytes(good.0[..50].to_vec());
    let dealt = [
        dealt("a wrong share", &bad, &bad, 4, "DealerFault"),
        dealt("sealed for another epoch", &elsewhere, &elsewhere, 4, "DealerFault"),
        dealt("no sealed share at all", &short, &short, 4, "DealerFault"),
        dealt("a good share", &good, &good, 4, "CustodianLied"),
        dealt("not what was registered", &good, &bad, 4, "NotRegistered"),
        dealt("the secret of another key", &bad, &bad, 5, "OtherKey"),
    ];

    let release_context = case.release_context(2);
    let release = case.release(2);
    let relayed = SealedShare::from_bytes(&good).unwrap();
    let lie = ReleasedShare::sign(relayed.clone(), &release_context, &custodian(2));
    let forged = ReleasedShare::sign(relayed, &release_context, &custodian(3));
    let released = |name: &str, release: &ReleasedShare, revealed: &Secret32, verdict: &str| {
        json!({
            "name": name,
            "context": hex(codec::encode(&release_context)),
            "commitments": case.commitments(),
            "sealed": hex(release.sealed.to_bytes().0),
            "signature": release.signature.to_string(),
            "revealed": secret_hex(revealed),
            "verdict": verdict,
        })
    };
    let opening = case.opening_secret(2);
    let released = [
        released("a good share", &release, &opening, "Fine"),
        released("a signed seal that does not open", &lie, &opening, "CustodianLied"),
        released("signed by somebody else", &forged, &opening, "NotSigned"),
        released("the secret of another key", &release, &secret(4), "OtherKey"),
    ];
    json!({ "dealt": dealt, "released": released })
}
