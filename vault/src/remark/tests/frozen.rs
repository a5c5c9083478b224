//! The vectors and the page's example: what a second implementation has to open and to refuse.

use super::*;
use serde_json::{Value, json};
use std::{fs, path::Path};

const PAGE: &str = include_str!("../../../../docs/spec/remark.md");

/// Compares a frozen file with what the code makes today; with `DMDL_WRITE_VECTORS` set, writes it.
fn assert_frozen(name: &str, today: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/remark/v1").join(name);
    if std::env::var_os("DMDL_WRITE_VECTORS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("{today:#}\n")).unwrap();
    }
    let frozen: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(&frozen, today, "{} differs from what the code makes", path.display());
}

fn file(cases: Vec<Value>) -> Value {
    let reader = |n: u8| json!({ "seed": hex::encode([n; 32]), "key": key(n).public() });
    let readers = [7, 8, 9].map(reader);
    json!({ "network": domain().network, "channel": domain().channel, "readers": readers, "cases": cases })
}

fn case(name: &str, remark: &Remark) -> Value {
    json!({ "name": name, "remark": hex::encode(codec::encode(remark)) })
}

#[test]
fn frozen_good_remarks_are_what_is_sealed_and_read() {
    let mut cases = Vec::new();
    for (name, text) in
        [("a short text", "hypertension study"), ("several lines", TEXT), ("the longest text", &"x".repeat(4096))]
    {
        let (remark, body) = sealed(text);
        assert_eq!(remark.open(&domain(), &key(9)).as_deref(), Ok(text));
        let mut case = case(name, remark.remark());
        case["transaction"] = json!(body.id());
        case["author"] = json!(remark.author());
        case["commitment"] = json!(plain(text).commitment());
        case["text"] = json!(text);
        cases.push(case);
    }
    let withdrawn = SignedRemark::withdraw(&key(7), &domain(), TransactionId::new([5; 32]));
    let mut case = case("taken back", withdrawn.remark());
    case["transaction"] = json!(withdrawn.transaction());
    case["author"] = json!(withdrawn.author());
    case["text"] = Value::Null;
    cases.push(case);
    assert_frozen("good.json", &file(cases));
}

#[test]
fn frozen_bad_remarks_get_their_errors() {
    let (good, _) = sealed("hypertension study");
    let bytes = codec::encode(good.remark());
    let forged = {
        let mut forged = good.remark().clone();
        forged.signature = key(8).sign(&domain(), SEALED, b"");
        forged
    };
    let remarks: Vec<(&str, Remark)> = vec![
        ("an unknown suite", changed(|sealed| sealed.suite = 2)),
        ("no readers", changed(|sealed| sealed.readers.clear())),
        ("readers out of order", changed(|sealed| sealed.readers.swap(0, 1))),
        ("a reader twice", changed(|sealed| sealed.readers[1] = sealed.readers[0])),
        ("a length that no text gives", changed(|sealed| sealed.ciphertext.push(0))),
        ("another's signature", forged),
        ("another commitment", changed(|sealed| sealed.commitment = NoteCommitment::new([0; 32]))),
        ("another transaction", changed(|sealed| sealed.transaction = TransactionId::new([0; 32]))),
        ("an altered text", changed(|sealed| sealed.ciphertext[0] ^= 1)),
        ("an altered key", changed(|sealed| sealed.readers.iter_mut().for_each(|one| one.key[0] ^= 1))),
    ];
    let mut cases: Vec<Value> = remarks
        .into_iter()
        .map(|(name, remark)| {
            let error = match remark.clone().verify(&domain()) {
                Ok(verified) => format!("{:?}", verified.open(&domain(), &key(8)).expect_err(name)),
                Err(error) => format!("{error:?}"),
            };
            let mut case = case(name, &remark);
            case["error"] = error.into();
            case
        })
        .collect();
    for (name, bytes) in [("a byte more", [&bytes[..], &[0]].concat()), ("a byte less", bytes[1..].to_vec())] {
        assert!(codec::decode::<Remark>(&bytes, REMARK_BYTES_MAX).is_err(), "{name}");
        cases.push(json!({ "name": name, "remark": hex::encode(bytes), "error": "Decode" }));
    }
    assert_frozen("bad.json", &file(cases));
}

#[test]
fn the_example_of_the_page_is_a_remark() {
    let squeeze = |text: &str| text.split_whitespace().collect::<String>();
    let withdrawn = SignedRemark::withdraw(&key(7), &domain(), TransactionId::new([5; 32]));
    let signature = squeeze(&withdrawn.remark().signature.to_string());
    assert!(squeeze(PAGE).contains(&signature), "the page does not show {signature}");
}
