//! Receipts and notes: text that is read is printed alike, and proves what was logged or nothing.

use super::Seeds;
use dmdl_types::{
    checkpoint::{Committer, CosignedCheckpoint},
    codec,
    note::{CosignerKey, Note},
    receipt::{Receipt, VerifiedLeaf},
    sign::Domain,
};
use serde_json::Value;
use std::sync::LazyLock;

/// The frozen vectors, which name the committers.
static GOOD: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../tests/vectors/receipt/v1/good.json")).expect("the vectors are JSON")
});
static COMMITTERS: LazyLock<Vec<Committer>> = LazyLock::new(|| {
    let committer = |it: &Value| Committer {
        node: text(&it["node"]).parse().expect("a node"),
        cosigning_key: text(&it["vkey"]).parse::<CosignerKey>().expect("a key").key(),
        org: text(&it["org"]).parse().expect("a name"),
    };
    GOOD["committers"].as_array().expect("a list").iter().map(committer).collect()
});
static KNOWN: LazyLock<Vec<VerifiedLeaf>> = LazyLock::new(|| {
    let verified = |(_, text): (String, Vec<u8>)| verify(&Receipt::parse(&text).expect("a receipt")).expect("good");
    cases().into_iter().map(verified).collect()
});

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn verify(receipt: &Receipt) -> Option<VerifiedLeaf> {
    let domain = Domain {
        network: text(&GOOD["network"]).parse().expect("a network"),
        channel: text(&GOOD["channel"]).parse().expect("a channel"),
    };
    let needed = GOOD["needed_orgs"].as_u64().expect("a number") as usize;
    receipt.verify(&domain, &COMMITTERS, needed).ok()
}

pub(super) fn run(data: &[u8]) {
    if let Ok(receipt) = Receipt::parse(data) {
        assert_eq!(receipt.to_text().as_bytes(), data, "a second spelling of a receipt");
        // A cosignature more than it takes can be left out, so what counts is what is proved.
        assert!(verify(&receipt).is_none_or(|leaf| KNOWN.contains(&leaf)), "a leaf that is not in the log");
    }
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.to_string().as_bytes(), data, "a second spelling of a note");
    }
    if let Ok(cosigned) = CosignedCheckpoint::parse(data) {
        assert_eq!(cosigned.to_note().as_bytes(), data, "a second spelling of a checkpoint");
        assert_eq!(codec::decode(&codec::encode(&cosigned), data.len()), Ok(cosigned));
    }
    if let Ok(text) = str::from_utf8(data)
        && let Ok(key) = text.parse::<CosignerKey>()
    {
        assert_eq!(key.to_string(), text, "a second spelling of a key");
    }
}

pub(super) fn seeds() -> Seeds {
    let mut seeds = cases();
    let note = seeds[0].1.windows(2).position(|two| two == b"\n\n").map(|end| seeds[0].1[end + 2..].to_vec());
    seeds.push(("note".to_owned(), note.expect("a receipt holds a note")));
    seeds.push(("key".to_owned(), text(&GOOD["committers"][0]["vkey"]).as_bytes().to_vec()));
    seeds
}

/// The good receipts.
fn cases() -> Seeds {
    let cases = GOOD["cases"].as_array().expect("a list").iter().enumerate();
    cases.map(|(number, case)| (format!("receipt-{number}"), text(&case["receipt"]).as_bytes().to_vec())).collect()
}
