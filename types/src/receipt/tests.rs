//! Receipts by fixed keys: what proves a leaf, what proves nothing, and the frozen vectors of both.

use super::*;
use crate::{
    checkpoint::{
        Checkpoint,
        tests::{NEEDED_ORGS, assert_frozen, checkpoint, committers, cosign, edit, setting},
    },
    id::{ChannelId, NetworkId},
    merkle::{Frontier, NodeAddress},
};
use serde_json::json;
use std::collections::BTreeMap;

/// Leaves of different lengths, the first without any byte.
fn leaf(index: u64) -> Vec<u8> {
    let first = u8::try_from(index).unwrap();
    (first..first * 4).collect()
}

/// The receipt of one leaf in a log of `size`, cosigned by these nodes.
fn receipt(index: u64, size: u64, nodes: &[u8]) -> Receipt {
    let mut frontier = Frontier::new();
    let mut stored: BTreeMap<NodeAddress, Hash> = BTreeMap::new();
    for index in 0..size {
        stored.extend(frontier.append(leaf_hash(&leaf(index))));
    }
    let proof = InclusionProof::build(index, size, |address| Ok::<_, ProofError>(stored[&address])).unwrap();
    let checkpoint = Checkpoint { size, root: frontier.root(), ..checkpoint() };
    Receipt { leaf: leaf(index), index, hashes: proof.hashes, checkpoint: cosign(checkpoint, nodes) }
}

/// What a reader of a receipt does: both steps, and the error's text.
fn read(text: &[u8]) -> Result<VerifiedLeaf, String> {
    let receipt = Receipt::parse(text).map_err(|e| e.to_string())?;
    assert_eq!(receipt.to_text().as_bytes(), text, "a receipt is printed as it was read");
    receipt.verify(&checkpoint().domain(), &committers(), NEEDED_ORGS).map_err(|e| e.to_string())
}

fn good_vectors() -> Vec<(&'static str, Receipt)> {
    vec![
        ("the only leaf, without bytes", receipt(0, 1, &[1, 3])),
        ("the first of two", receipt(0, 2, &[1, 3])),
        ("in the middle of a complete tree", receipt(5, 8, &[1, 2, 3])),
        ("the last of a tree that is not complete", receipt(10, 11, &[3, 4])),
        ("the last but one of such a tree", receipt(4, 6, &[1, 2, 3, 4])),
    ]
}

fn bad_vectors() -> Vec<(&'static str, String)> {
    let good = receipt(5, 11, &[1, 3]);
    let text = good.to_text();
    let hashes: Vec<String> = good.hashes.iter().map(|hash| BASE64.encode(hash)).collect();
    let with = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = good.clone();
        change(&mut receipt);
        receipt.to_text()
    };
    let recosigned = |checkpoint: Checkpoint| with(&|r| r.checkpoint = cosign(checkpoint, &[1, 3]));
    let log = *good.checkpoint.checkpoint();
    vec![
        ("empty", String::new()),
        ("another version", edit(&text, "proof@v1", "proof@v2")),
        ("no header", edit(&text, "c2sp.org/tlog-proof@v1\n", "")),
        ("an empty line before the header", format!("\n{text}")),
        ("no leaf", edit(&text, &format!("extra {}\n", BASE64.encode(leaf(5))), "")),
        ("leaf with padding that it needs not", edit(&text, "\nindex", "=\nindex")),
        ("leaf in the alphabet of URLs", with(&|r| r.leaf = vec![0xff; 3]).replace("////", "____")),
        ("no index", edit(&text, "index 5\n", "")),
        ("index with a leading zero", edit(&text, "index 5\n", "index 05\n")),
        ("index with a sign", edit(&text, "index 5\n", "index +5\n")),
        ("index before the leaf", edit(&edit(&text, "index 5\n", ""), "extra", "index 5\nextra")),
        ("hash without padding", edit(&text, &hashes[0], hashes[0].trim_end_matches('='))),
        ("two hashes on a line", edit(&text, &format!("{}\n", hashes[0]), &format!("{} ", hashes[0]))),
        ("no empty line before the checkpoint", edit(&text, "\n\n", "\n")),
        ("two empty lines before the checkpoint", edit(&text, "\n\n", "\n\n\n")),
        ("lines end in carriage return and newline", text.replace('\n', "\r\n")),
        ("no checkpoint", format!("{}\n\n", text.split("\n\n").next().unwrap())),
        ("no signatures", text.split_inclusive("\n\n").take(2).collect()),
        ("an empty line at the end", format!("{text}\n")),
        ("no last newline", text.trim_end().to_string()),
        ("another leaf", with(&|r| r.leaf = leaf(6))),
        ("a leaf with one byte more", with(&|r| r.leaf.push(0))),
        ("another index", with(&|r| r.index = 4)),
        ("an index beyond the log", with(&|r| r.index = 11)),
        ("a hash changed", with(&|r| r.hashes[1][31] ^= 1)),
        ("a hash left out", with(&|r| r.hashes.truncate(1))),
        ("a hash too many", with(&|r| r.hashes.push([0; 32]))),
        ("two hashes change places", with(&|r| r.hashes.swap(0, 1))),
        ("no hashes", with(&|r| r.hashes.clear())),
        ("the checkpoint of a smaller log", with(&|r| r.checkpoint = receipt(5, 10, &[1, 3]).checkpoint)),
        ("of another network", recosigned(Checkpoint { network: NetworkId::new([1; 32]), ..log })),
        ("of another channel", recosigned(Checkpoint { channel: ChannelId::new([1; 32]), ..log })),
        ("one organisation alone", with(&|r| r.checkpoint = cosign(log, &[1, 2]))),
        (
            "root changed after cosigning",
            with(&|r| {
                let forged = Checkpoint { root: leaf_hash(b"forged"), ..log };
                let cosignatures = r.checkpoint.cosignatures().to_vec();
                r.checkpoint = CosignedCheckpoint::new(forged, cosignatures).unwrap();
            }),
        ),
    ]
}

#[test]
fn the_frozen_receipts_prove_their_leaves() {
    let mut vectors = setting();
    let case = |(name, receipt): (&str, Receipt)| {
        let text = receipt.to_text();
        let leaf = read(text.as_bytes()).expect(name);
        assert_eq!((leaf.bytes(), leaf.index()), (&receipt.leaf[..], receipt.index));
        assert_eq!(leaf.checkpoint().checkpoint(), receipt.checkpoint.checkpoint());
        json!({ "name": name, "receipt": text, "leaf": hex::encode(leaf.bytes()), "index": leaf.index().to_string() })
    };
    vectors["cases"] = good_vectors().into_iter().map(case).collect();
    assert_frozen("receipt/v1/good.json", &vectors);
}

#[test]
fn the_frozen_bad_receipts_are_refused_for_their_reasons() {
    let mut vectors = setting();
    let case = |(name, text): (&str, String)| {
        let error = read(text.as_bytes()).expect_err(name);
        json!({ "name": name, "receipt": text, "error": error })
    };
    vectors["cases"] = bad_vectors().into_iter().map(case).collect();
    assert_frozen("receipt/v1/bad.json", &vectors);
}

#[test]
fn no_bit_of_a_receipt_can_be_changed() {
    let text = receipt(5, 11, &[1, 3]).to_text().into_bytes();
    assert!(read(&text).is_ok());
    for i in 0..text.len() * 8 {
        let mut changed = text.clone();
        changed[i / 8] ^= 1 << (i % 8);
        assert!(read(&changed).is_err(), "bit {i}: {}", String::from_utf8_lossy(&changed));
    }
}

#[test]
fn no_byte_of_a_receipt_can_be_left_out_doubled_or_put_in() {
    let text = receipt(5, 11, &[1, 3]).to_text().into_bytes();
    for i in 0..text.len() {
        let (before, after) = text.split_at(i);
        let refused = |middle: &[u8], after: &[u8]| read(&[before, middle, after].concat()).is_err();
        assert!(refused(&[], &after[1..]), "byte {i} left out");
        assert!(refused(&[], &[]), "cut at byte {i}");
        for more in [after[0], b'\n', b' ', b'0', b'='] {
            assert!(refused(&[more], after), "{more} put in at byte {i}");
        }
    }
}

#[test]
fn a_receipt_has_a_bound() {
    let text = vec![b'a'; RECEIPT_LEN_BYTES_MAX + 1];
    assert_eq!(Receipt::parse(&text), Err(ReceiptTextError::TooLong));
}
