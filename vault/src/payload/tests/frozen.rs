//! The frozen vectors: made anew they are the same, the good ones open, and each bad one fails with
//! the error that it names. `tests/vectors/payload/check.py` does the same from the specification.

use super::*;
use serde_json::{Map, Value, json};
use std::{fs, path::Path};

/// Plaintext as the vectors say it: byte `i` is `i mod 251`.
const LENGTHS: [(&str, usize); 7] = [
    ("empty", 0),
    ("one byte", 1),
    ("short", 100),
    ("one byte less than a chunk", CHUNK_LEN - 1),
    ("one chunk", CHUNK_LEN),
    ("one byte more than a chunk", CHUNK_LEN + 1),
    ("three chunks and a bit", 3 * CHUNK_LEN + 9),
];

/// A payload is printed up to this length; beyond it, its SHA-256 is.
const PRINTED_LEN_MAX: usize = 300;

#[test]
fn good_vectors_are_frozen_and_open() {
    let cases: Vec<_> = LENGTHS.iter().enumerate().map(|(number, &(name, len))| good(number, name, len)).collect();
    for case in assert_frozen("good.json", &json!({ "cases": cases })) {
        let vector = Vector::good(&case);
        let (plaintext, result) = vector.open();
        assert_eq!(result.unwrap(), case["plaintext_len_bytes"].as_u64().unwrap());
        assert!(plaintext == pattern(plaintext.len()), "{}", case["name"]);
    }
}

#[test]
fn bad_vectors_are_frozen_and_refused() {
    let cases = assert_frozen("bad.json", &json!({ "cases": bad() }));
    for case in &cases {
        let (plaintext, result) = Vector::changed(case).open();
        assert_eq!(name_of(&result.unwrap_err()), case["error"], "{}", case["name"]);
        assert_eq!(plaintext.len() as u64, case["released_len_bytes"].as_u64().unwrap(), "{}", case["name"]);
        assert!(plaintext == pattern(plaintext.len()), "{}", case["name"]);
    }
    assert!(cases.len() >= 40);
}

#[test]
fn range_vectors_are_frozen_and_cut_right() {
    for case in assert_frozen("range.json", &json!({ "cases": ranges() })) {
        let vector = Vector::good(&find(case["of"].as_str().unwrap()));
        let (start, end) = (case["start"].as_u64().unwrap(), case["end"].as_u64().unwrap());
        let key = Secret32::new(vector.key);
        let opened = open_range(&mut Cursor::new(&vector.payload), &key, &vector.context, &vector.entry, start..end);
        match case["error"].as_str() {
            Some(error) => assert_eq!(name_of(&opened.unwrap_err()), error),
            None => {
                let plan =
                    RangePlan::new(Layout::of_ciphertext(vector.payload.len() as u64).unwrap(), start..end).unwrap();
                let needed = plan.ciphertext();
                assert_eq!(json!([needed.start, needed.end]), case["ciphertext"]);
                assert!(opened.unwrap() == pattern(end as usize)[start as usize..]);
            }
        }
    }
}

fn good(number: usize, name: &str, len: usize) -> Value {
    let byte = number as u8;
    let key = [0x40 + byte; 32];
    let context = DataContext {
        network: NetworkId::new([0xa0; 32]),
        channel: ChannelId::new([0xc0; 32]),
        record: RecordId::new([0xd0 + byte; 32]),
        version: RecordVersion::new(1 + u32::from(byte)),
    };
    let mut salt = [0x50 + byte; SALT_LEN];
    salt[0] = 0;
    let mut payload = Vec::new();
    let rng = &mut FixedSalt(salt);
    let sealed = seal(pattern(len).as_slice(), &mut payload, &Secret32::new(key), &context, rng).unwrap();
    let mut case = json!({
        "name": name,
        "key": hex::encode(key),
        "context": context_json(&context),
        "context_bytes": hex::encode(codec::encode(&context)),
        "salt": hex::encode(salt),
        "plaintext_len_bytes": len,
        "suite": sealed.suite.byte(),
        "digest": sealed.digest.to_string(),
        "ciphertext_len_bytes": payload.len(),
        "key_commitment": hex::encode(sealed.key_commitment),
        "ciphertext_sha256": hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &payload)),
    });
    if payload.len() <= PRINTED_LEN_MAX {
        case["ciphertext"] = hex::encode(&payload).into();
    }
    case
}

/// Changes of good vectors: what is changed, the error, and how much true plaintext comes out first.
fn bad() -> Vec<Value> {
    let (short, long) = ("short", "three chunks and a bit");
    let len = |plaintext: usize| Layout::of_plaintext(plaintext as u64).unwrap().ciphertext_len_bytes();
    let edge = |chunk: usize| HEADER_LEN + chunk * SEALED_CHUNK_LEN;
    let mut cases = Vec::new();
    let mut add = |name: &str, of: &str, change: Value, error: &str, chunks: usize| {
        let mut case = json!({"name": name, "of": of, "error": error, "released_len_bytes": chunks * CHUNK_LEN});
        case.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        cases.push(case);
    };

    let as_is = |payload: Value| json!({"payload": payload, "entry": "as is"});
    let flip = |bit: usize| json!({"payload": {"flip_bit": bit}});
    add("first bit of the salt", short, flip(0), "WrongKey", 0);
    add("last bit of the salt", short, flip(SALT_LEN * 8 - 1), "WrongKey", 0);
    add("first bit of the commitment", short, flip(SALT_LEN * 8), "AlteredHeader", 0);
    add("last bit of the commitment", short, flip(HEADER_LEN * 8 - 1), "AlteredHeader", 0);
    add("first bit of the only chunk", short, flip(HEADER_LEN * 8), "Altered", 0);
    add("last bit of the only chunk", short, flip((HEADER_LEN + 100) * 8 - 1), "Altered", 0);
    add("first bit of the tag", short, flip((HEADER_LEN + 100) * 8), "Altered", 0);
    add("last bit of the tag", short, flip(len(100) as usize * 8 - 1), "Altered", 0);
    add("tag of an empty payload", "empty", flip(len(0) as usize * 8 - 1), "Altered", 0);
    add("first bit of the second chunk", long, flip(edge(1) * 8), "Altered", 1);
    add("last tag of the second chunk", long, flip(edge(2) * 8 - 1), "Altered", 1);
    add("first bit of the last chunk", long, flip(edge(3) * 8), "Altered", 3);
    add("a flipped bit that the ledger agrees to", long, as_is(json!({"flip_bit": edge(2) * 8})), "Altered", 2);

    let cut = |bytes: usize| json!({"payload": {"cut": bytes}});
    add("no bytes", short, cut(0), "Truncated", 0);
    add("one byte", short, cut(1), "Truncated", 0);
    add("only the salt", short, cut(SALT_LEN), "Truncated", 0);
    add("part of the commitment", short, cut(HEADER_LEN - 1), "Truncated", 0);
    add("only the header", short, cut(HEADER_LEN), "Truncated", 0);
    add("part of the only tag", short, cut(len(100) as usize - 1), "Truncated", 0);
    add("one chunk without the last", long, cut(edge(1)), "Truncated", 1);
    add("three chunks without the last", long, cut(edge(3)), "Truncated", 3);
    add("part of the last tag", long, cut(edge(3) + 15), "Truncated", 3);
    add("an empty last chunk cut off", "one chunk", cut(edge(1)), "Truncated", 1);
    add("a chunk's edge that the ledger agrees to", long, as_is(json!({"cut": edge(2)})), "ImpossibleLength", 0);
    add("a cut tag that the ledger agrees to", long, as_is(json!({"cut": edge(2) + 15})), "ImpossibleLength", 0);
    add("a cut header that the ledger agrees to", long, as_is(json!({"cut": 55})), "Truncated", 0);
    add("a cut chunk that the ledger agrees to", long, as_is(json!({"cut": edge(2) + 16})), "Altered", 2);

    // Every chunk is true, so all of them come out before the end is missed.
    let append = |bytes: &str, released: usize| json!({"payload": {"append": bytes}, "released_len_bytes": released});
    add("one more byte", short, append("00", 100), "TooLong", 0);
    add("twenty more bytes", long, append(&"00".repeat(20), 3 * CHUNK_LEN + 9), "TooLong", 0);
    add("more bytes that the ledger agrees to", short, as_is(json!({"append": "00"})), "Altered", 0);

    let chunks = |numbers: &[usize]| json!({"chunks": numbers});
    add("chunks 0 and 1 swapped", long, json!({"payload": chunks(&[1, 0, 2, 3])}), "Altered", 0);
    add("chunks 1 and 2 swapped, agreed", long, as_is(chunks(&[0, 2, 1, 3])), "Altered", 1);
    add("chunk 0 in place of chunk 1", long, as_is(chunks(&[0, 0, 2, 3])), "Altered", 1);
    add("chunk 1 twice", long, as_is(chunks(&[0, 1, 1, 2, 3])), "Altered", 2);
    add("chunk 0 dropped", long, as_is(chunks(&[1, 2, 3])), "Altered", 0);
    add("chunk 2 dropped", long, as_is(chunks(&[0, 1, 3])), "Altered", 2);
    add("only the last chunk", long, as_is(chunks(&[3])), "Altered", 0);
    add("the last chunk twice", long, as_is(chunks(&[0, 1, 2, 3, 3])), "Altered", 3);

    let header = json!({"payload": {"header_of": "one byte"}});
    add("another payload's header", short, header.clone(), "WrongKey", 0);
    let mut both = header;
    both["entry_of"] = "one byte".into();
    both["entry"] = "as is".into();
    add("another payload's header, agreed", short, both, "WrongKey", 0);
    add("another payload's entry", short, json!({"entry_of": "one byte"}), "WrongKey", 0);
    add("another key", short, json!({"key": "00".repeat(32)}), "WrongKey", 0);
    for (field, value) in [
        ("network", json!("00".repeat(32))),
        ("channel", json!("00".repeat(32))),
        ("record", json!("00".repeat(32))),
        ("version", json!(9)),
    ] {
        add(&format!("another {field}"), short, json!({"context": {field: value}}), "WrongKey", 0);
    }
    for (mine, theirs) in [(0, 1), (1, 0)] {
        let (payload, entry) = &salamander::payloads()[mine];
        let change = json!({
            "payload": {"hex": hex::encode(payload)},
            "key": hex::encode(salamander::KEYS[theirs]),
            "context": context_json(&context()),
            "entry": {
                "digest": entry.digest,
                "ciphertext_len_bytes": entry.ciphertext_len_bytes,
                "key_commitment": hex::encode(entry.key_commitment),
            },
        });
        add(&format!("made for two keys, committed to the other {mine}"), short, change, "WrongKey", 0);
    }
    for suite in [0, 2, 255] {
        add(&format!("suite {suite}"), short, json!({"entry": {"suite": suite}}), "UnsupportedSuite", 0);
    }
    let longer = json!({"entry": {"ciphertext_len_bytes": len(101)}});
    add("a longer length on the ledger", short, longer, "Truncated", 0);
    let shorter = json!({"entry": {"ciphertext_len_bytes": len(99)}});
    add("a shorter length on the ledger", short, shorter, "Altered", 0);
    cases
}

fn ranges() -> Vec<Value> {
    let long = ("three chunks and a bit", 3 * CHUNK_LEN + 9);
    let cases = [
        (("empty", 0), 0, 0),
        (("short", 100), 0, 100),
        (("short", 100), 99, 100),
        (("short", 100), 50, 50),
        (("short", 100), 100, 100),
        (("short", 100), 0, 101),
        (("short", 100), 101, 101),
        (("short", 100), 7, 6),
        (("one chunk", CHUNK_LEN), CHUNK_LEN - 1, CHUNK_LEN),
        (("one chunk", CHUNK_LEN), CHUNK_LEN, CHUNK_LEN + 1),
        (long, CHUNK_LEN, 2 * CHUNK_LEN),
        (long, CHUNK_LEN - 1, 2 * CHUNK_LEN + 1),
        (long, 3 * CHUNK_LEN, long.1),
        (long, 0, long.1),
    ];
    let case = |((of, len), start, end): ((&str, usize), usize, usize)| {
        let layout = Layout::of_plaintext(len as u64).unwrap();
        match RangePlan::new(layout, start as u64..end as u64) {
            Ok(plan) => {
                json!({"of": of, "start": start, "end": end, "ciphertext": [plan.ciphertext().start, plan.ciphertext().end]})
            }
            Err(error) => json!({"of": of, "start": start, "end": end, "error": name_of(&error)}),
        }
    };
    cases.map(case).into()
}

/// What one opens, and with what.
struct Vector {
    key: [u8; 32],
    context: DataContext,
    payload: Vec<u8>,
    entry: PayloadEntry,
}

impl Vector {
    fn good(case: &Value) -> Self {
        let salt = bytes(&case["salt"]);
        let (key, context) = (array(&case["key"]), context_of(&case["context"]));
        let len = usize::try_from(case["plaintext_len_bytes"].as_u64().unwrap()).unwrap();
        let mut payload = Vec::new();
        let rng = &mut FixedSalt(salt.try_into().unwrap());
        seal(pattern(len).as_slice(), &mut payload, &Secret32::new(key), &context, rng).unwrap();
        Self { key, context, payload, entry: entry_of(case) }
    }

    fn changed(case: &Value) -> Self {
        let good = find(case["of"].as_str().unwrap());
        let mut vector = Self::good(&good);
        if let Some(of) = case["entry_of"].as_str() {
            vector.entry = entry_of(&find(of));
        }
        for (change, value) in case["payload"].as_object().unwrap_or(&Map::new()) {
            vector.change_payload(change, value);
        }
        if case["entry"] == "as is" {
            vector.entry = registered_as_is(&vector.payload, &vector.entry);
        } else if let Some(changes) = case["entry"].as_object() {
            let mut entry = good.clone();
            entry.as_object_mut().unwrap().extend(changes.clone());
            vector.entry = entry_of(&entry);
        }
        if case["key"].is_string() {
            vector.key = array(&case["key"]);
        }
        if let Some(changes) = case["context"].as_object() {
            let mut context = good["context"].clone();
            context.as_object_mut().unwrap().extend(changes.clone());
            vector.context = context_of(&context);
        }
        vector
    }

    fn change_payload(&mut self, change: &str, value: &Value) {
        let number = || usize::try_from(value.as_u64().unwrap()).unwrap();
        match change {
            "flip_bit" => self.payload[number() / 8] ^= 1 << (number() % 8),
            "cut" => self.payload.truncate(number()),
            "hex" => self.payload = bytes(value),
            "append" => self.payload.extend(bytes(value)),
            "chunks" => {
                let numbers: Vec<usize> = serde_json::from_value(value.clone()).unwrap();
                self.payload = with_chunks(&self.payload, &numbers);
            }
            "header_of" => {
                let other = Self::good(&find(value.as_str().unwrap()));
                self.payload[..HEADER_LEN].copy_from_slice(&other.payload[..HEADER_LEN]);
            }
            other => panic!("no change is called `{other}`"),
        }
    }

    fn open(&self) -> (Vec<u8>, Result<u64, OpenError>) {
        let mut plaintext = Vec::new();
        let key = Secret32::new(self.key);
        let result = open(self.payload.as_slice(), &mut plaintext, &key, &self.context, &self.entry);
        (plaintext, result)
    }
}

/// Compares a frozen file with what the code makes today; with `DMDL_WRITE_VECTORS` set, writes it.
fn assert_frozen(name: &str, today: &Value) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/payload/v1").join(name);
    if std::env::var_os("DMDL_WRITE_VECTORS").is_some() {
        fs::write(&path, format!("{today:#}\n")).unwrap();
    }
    let frozen: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(&frozen, today, "{} differs from what the code makes", path.display());
    frozen["cases"].as_array().unwrap().clone()
}

/// The good vector of this name, as the code makes it.
fn find(name: &str) -> Value {
    let number = LENGTHS.iter().position(|&(of, _)| of == name).unwrap();
    good(number, name, LENGTHS[number].1)
}

/// The variant's name: what a vector calls an error.
fn name_of(error: &OpenError) -> String {
    format!("{error:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
}

fn context_json(context: &DataContext) -> Value {
    json!({
        "network": context.network.to_string(),
        "channel": context.channel.to_string(),
        "record": context.record.to_string(),
        "version": context.version.get(),
    })
}

fn context_of(value: &Value) -> DataContext {
    DataContext {
        network: NetworkId::new(array(&value["network"])),
        channel: ChannelId::new(array(&value["channel"])),
        record: RecordId::new(array(&value["record"])),
        version: RecordVersion::new(u32::try_from(value["version"].as_u64().unwrap()).unwrap()),
    }
}

fn entry_of(value: &Value) -> PayloadEntry {
    PayloadEntry {
        suite: u8::try_from(value["suite"].as_u64().unwrap()).unwrap(),
        digest: PayloadDigest::new(array(&value["digest"])),
        ciphertext_len_bytes: value["ciphertext_len_bytes"].as_u64().unwrap(),
        key_commitment: array(&value["key_commitment"]),
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn array(value: &Value) -> [u8; 32] {
    bytes(value).try_into().unwrap()
}
