//! Checkpoints by fixed keys: what is believed, what is refused, and the frozen vectors of both.

use super::*;
use crate::{
    codec,
    id::{NodeId, OrgId},
    secret::Secret32,
    sign::{PublicKey, Signature},
};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// 2026-11-22T18:30:45Z.
const TIME: u64 = 1_795_372_245;

/// Five committers of four organisations; the first two share one, the last two share a key.
const COMMITTERS: [(u8, &str, u8); 5] =
    [(1, "north", 11), (2, "north", 12), (3, "east", 13), (4, "south", 14), (5, "west", 14)];

/// How many organisations the tests ask for.
pub(crate) const NEEDED_ORGS: usize = 2;

pub(crate) fn node(number: u8) -> NodeId {
    NodeId::new([number; 32])
}

fn key_of(number: u8) -> CosigningKey {
    let (_, _, seed) = COMMITTERS.into_iter().find(|(n, ..)| *n == number).unwrap();
    CosigningKey::from_seed(Secret32::new([seed; 32]))
}

pub(crate) fn committers() -> Vec<Committer> {
    let committer = |(number, org, _)| Committer {
        node: node(number),
        cosigning_key: key_of(number).public(),
        org: OrgId::new(org).unwrap(),
    };
    COMMITTERS.into_iter().map(committer).collect()
}

pub(crate) fn checkpoint() -> Checkpoint {
    Checkpoint {
        network: NetworkId::new([0xa1; 32]),
        channel: ChannelId::new([0xb2; 32]),
        size: 1234,
        root: [0xc3; 32],
        height: Height::new(77),
        block: BlockDigest::new([0xd4; 32]),
        state: [0xe5; 32],
        index: [0xf6; 32],
    }
}

pub(crate) fn cosign(checkpoint: Checkpoint, nodes: &[u8]) -> CosignedCheckpoint {
    let sign = |number: &u8| key_of(*number).sign(&checkpoint, node(*number), TIME + u64::from(*number));
    CosignedCheckpoint::new(checkpoint, nodes.iter().map(sign).collect()).unwrap()
}

fn verify(cosigned: &CosignedCheckpoint) -> Result<VerifiedCheckpoint, CheckpointError> {
    cosigned.verify(&checkpoint().domain(), &committers(), NEEDED_ORGS)
}

/// What a reader of a note does: both steps, and the error's text.
fn read(note: &[u8]) -> Result<VerifiedCheckpoint, String> {
    let cosigned = CosignedCheckpoint::parse(note).map_err(|e| e.to_string())?;
    assert_eq!(cosigned.to_note().as_bytes(), note, "a note is printed as it was read");
    verify(&cosigned).map_err(|e| e.to_string())
}

/// Compares a frozen file with what the code makes today; with `DMDL_WRITE_VECTORS` set, writes it.
pub(crate) fn assert_frozen(path: &str, today: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(path);
    if std::env::var_os("DMDL_WRITE_VECTORS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("{today:#}\n")).unwrap();
    }
    let frozen: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(&frozen, today, "{} differs from what the code makes", path.display());
}

/// What a second implementation has to know to verify the vectors.
pub(crate) fn setting() -> Value {
    let committers = committers().into_iter().zip(COMMITTERS).map(|(committer, (_, _, seed))| {
        json!({
            "node": committer.node,
            "org": committer.org,
            "vkey": committer.cosigner_key().to_string(),
            "cosigning_seed": hex::encode([seed; 32]),
        })
    });
    json!({
        "network": checkpoint().network,
        "channel": checkpoint().channel,
        "needed_orgs": NEEDED_ORGS,
        "committers": committers.collect::<Vec<_>>(),
    })
}

/// Replaces text that must occur.
pub(crate) fn edit(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` is not in the text");
    text.replacen(from, to, 1)
}

/// The signature lines of a note.
fn lines(note: &str) -> Vec<&str> {
    note.split_once("\n\n").unwrap().1.split_inclusive('\n').collect()
}

/// Replaces one field of a note's first cosignature and prints the note.
fn with_cosignature(nodes: &[u8], change: impl Fn(&mut Cosignature)) -> String {
    let good = cosign(checkpoint(), nodes);
    let mut cosignatures = good.cosignatures().to_vec();
    change(&mut cosignatures[0]);
    CosignedCheckpoint::new(*good.checkpoint(), cosignatures).unwrap().to_note()
}

/// Adds the group order to the scalar half of a signature: the classic malleability.
fn malleated(signature: &Signature) -> Signature {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut bytes = *signature.as_bytes();
    let mut carry = 0;
    for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        [*byte, _] = sum.to_le_bytes();
        carry = sum >> 8;
    }
    Signature::new(bytes)
}

fn good_vectors() -> Vec<(&'static str, CosignedCheckpoint)> {
    let empty = Checkpoint { size: 0, root: crate::merkle::empty_root(), height: Height::new(0), ..checkpoint() };
    let largest = Checkpoint { size: u64::MAX, height: Height::new(u64::MAX), ..checkpoint() };
    vec![
        ("two organisations", cosign(checkpoint(), &[1, 3])),
        ("two nodes of one organisation and one of another", cosign(checkpoint(), &[1, 2, 4])),
        ("every organisation that has a key of its own", cosign(checkpoint(), &[1, 2, 3, 4])),
        ("an empty log", cosign(empty, &[3, 4])),
        ("the largest numbers", cosign(largest, &[3, 5])),
    ]
}

fn bad_vectors() -> Vec<(&'static str, String)> {
    let note = cosign(checkpoint(), &[1, 3]).to_note();
    let text = checkpoint().to_text();
    let signed = |checkpoint| cosign(checkpoint, &[1, 3]).to_note();
    let (first, second) = (lines(&note)[0], lines(&note)[1]);
    let unknown = CosigningKey::from_seed(Secret32::new([99; 32])).sign(&checkpoint(), node(9), TIME);
    let late = key_of(1).sign(&checkpoint(), node(1), 1 << 63);
    vec![
        ("empty", String::new()),
        ("text alone", text.clone()),
        ("no signature lines", format!("{text}\n")),
        ("no empty line before the signatures", edit(&note, "\n\n", "\n")),
        ("no last newline", note.trim_end().to_string()),
        ("an empty line at the end", format!("{note}\n")),
        ("lines end in carriage return and newline", note.replace('\n', "\r\n")),
        ("a byte order mark", format!("\u{feff}{note}")),
        ("a hyphen for the em dash", note.replace('\u{2014}', "-")),
        ("another origin", edit(&note, "dmdl.network/", "dmdl.example/")),
        ("a scheme before the origin", format!("https://{note}")),
        ("upper-case digits in the origin", edit(&note, "a1a1", "A1A1")),
        ("a channel too short", edit(&note, "b2b2\n", "b2\n")),
        ("a slash after the origin", edit(&note, "b2\n", "b2/\n")),
        ("size with a leading zero", edit(&note, "\n1234\n", "\n01234\n")),
        ("size with a sign", edit(&note, "\n1234\n", "\n+1234\n")),
        ("size beyond 64 bits", edit(&note, "\n1234\n", "\n18446744073709551616\n")),
        ("root without padding", edit(&note, "=\nheight", "\nheight")),
        ("root with bits set that no byte has", edit(&note, "8M=\nheight", "8N=\nheight")),
        ("root of 31 bytes", edit(&note, &BASE64.encode([0xc3; 32]), &BASE64.encode([0xc3; 31]))),
        ("no height", edit(&note, "height 77\n", "")),
        ("height with two spaces", edit(&note, "height 77", "height  77")),
        ("a space after the height", edit(&note, "height 77", "height 77 ")),
        ("block before height", edit(&edit(&note, "height 77\n", ""), "state", "height 77\nstate")),
        ("state twice", edit(&note, "index f6", &format!("state {}\nindex f6", "e5".repeat(32)))),
        ("a line after the last", edit(&note, "\n\n", "\ntime 1\n\n")),
        ("an empty line after the last", edit(&note, "\n\n", "\n\n\n")),
        ("size changed", edit(&note, "\n1234\n", "\n1235\n")),
        ("root changed", edit(&note, &BASE64.encode([0xc3; 32]), &BASE64.encode([0xc4; 32]))),
        ("height changed", edit(&note, "height 77", "height 78")),
        ("state changed", edit(&note, "e5e5", "e5e6")),
        ("of another network", signed(Checkpoint { network: NetworkId::new([1; 32]), ..checkpoint() })),
        ("of another channel", signed(Checkpoint { channel: ChannelId::new([1; 32]), ..checkpoint() })),
        ("cosignatures out of order", format!("{text}\n{second}{first}")),
        ("a cosignature twice", format!("{text}\n{first}{first}{second}")),
        ("a name that is no node", edit(&note, &node(1).to_string(), "north.example")),
        ("two cosigners change names", {
            let (one, three) = (node(1).to_string(), node(3).to_string());
            format!("{text}\n{}{}", edit(second, &three, &one), edit(first, &one, &three))
        }),
        ("a signature of plain Ed25519 without time", {
            let line = SignatureLineOf { node: node(1), blob: vec![7; 68] };
            format!("{text}\n{line}{second}")
        }),
        ("a signature that is too long", {
            let line = SignatureLineOf { node: node(1), blob: vec![7; 77] };
            format!("{text}\n{line}{second}")
        }),
        ("an unknown cosigner beside enough known ones", {
            let all = cosign(checkpoint(), &[1, 3]).cosignatures().iter().copied().chain([unknown]).collect();
            CosignedCheckpoint::new(checkpoint(), all).unwrap().to_note()
        }),
        (
            "an invalid cosignature beside enough valid ones",
            with_cosignature(&[1, 3, 4], |c| c.signature = key_of(2).sign(&checkpoint(), node(1), TIME + 1).signature),
        ),
        ("another key id", with_cosignature(&[1, 3], |c| c.key_id = crate::note::KeyId::new([0; 4]))),
        ("another time", with_cosignature(&[1, 3], |c| c.time_unix_s += 1)),
        ("a time beyond 63 bits", with_cosignature(&[1, 3], |c| *c = late)),
        ("a malleated signature", with_cosignature(&[1, 3], |c| c.signature = malleated(&c.signature))),
        ("a signature of zeros", with_cosignature(&[1, 3], |c| c.signature = Signature::new([0; 64]))),
        ("one organisation alone", cosign(checkpoint(), &[3]).to_note()),
        ("two nodes of one organisation", cosign(checkpoint(), &[1, 2]).to_note()),
        ("two organisations with one key", cosign(checkpoint(), &[4, 5]).to_note()),
    ]
}

/// A signature line with any blob.
struct SignatureLineOf {
    node: NodeId,
    blob: Vec<u8>,
}

impl std::fmt::Display for SignatureLineOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "\u{2014} {} {}", self.node, BASE64.encode(&self.blob))
    }
}

#[test]
fn the_frozen_checkpoints_are_believed() {
    let mut vectors = setting();
    let case = |(name, cosigned): (&str, CosignedCheckpoint)| {
        let note = cosigned.to_note();
        assert_eq!(read(note.as_bytes()).as_ref().map(VerifiedCheckpoint::checkpoint), Ok(cosigned.checkpoint()));
        let Checkpoint { size, root, height, block, state, index, .. } = cosigned.checkpoint();
        let (root, state, index) = (hex::encode(root), hex::encode(state), hex::encode(index));
        json!({
            "name": name,
            "note": note,
            // Text: JSON's numbers end at 2^53 in many readers.
            "size": size.to_string(), "root": root, "height": height.to_string(),
            "block": block, "state": state, "index": index,
            "encoding": hex::encode(codec::encode(&cosigned)),
        })
    };
    vectors["cases"] = good_vectors().into_iter().map(case).collect();
    assert_frozen("checkpoint/v1/good.json", &vectors);
}

#[test]
fn the_frozen_bad_checkpoints_are_refused_for_their_reasons() {
    let mut vectors = setting();
    let case = |(name, note): (&str, String)| {
        let error = read(note.as_bytes()).expect_err(name);
        json!({ "name": name, "note": note, "error": error })
    };
    vectors["cases"] = bad_vectors().into_iter().map(case).collect();
    assert_frozen("checkpoint/v1/bad.json", &vectors);
}

#[test]
fn no_bit_of_a_note_can_be_changed() {
    let note = cosign(checkpoint(), &[1, 3]).to_note().into_bytes();
    assert!(read(&note).is_ok());
    for i in 0..note.len() * 8 {
        let mut changed = note.clone();
        changed[i / 8] ^= 1 << (i % 8);
        assert!(read(&changed).is_err(), "bit {i}: {}", String::from_utf8_lossy(&changed));
    }
}

#[test]
fn no_bit_of_the_encoding_can_be_changed() {
    let bytes = codec::encode(&cosign(checkpoint(), &[1, 3]));
    let believed = |bytes: &[u8]| codec::decode::<CosignedCheckpoint>(bytes, 4096).is_ok_and(|c| verify(&c).is_ok());
    assert!(believed(&bytes));
    for i in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[i / 8] ^= 1 << (i % 8);
        assert!(!believed(&changed), "bit {i}");
    }
}

#[test]
fn cosignatures_are_a_set_in_one_order() {
    let cosigned = cosign(checkpoint(), &[4, 1, 3]);
    assert_eq!(cosigned, cosign(checkpoint(), &[1, 3, 4]));
    let again = cosigned.cosignatures()[1];
    assert_eq!(
        CosignedCheckpoint::new(checkpoint(), vec![again, again]),
        Err(CosignaturesError::OutOfOrder { node: again.node })
    );
    assert_eq!(CosignedCheckpoint::new(checkpoint(), Vec::new()), Err(CosignaturesError::None));
    let many = |count: u8| (0..count).map(|n| Cosignature { node: node(n), ..again }).collect();
    assert!(CosignedCheckpoint::new(checkpoint(), many(100)).is_ok());
    assert_eq!(CosignedCheckpoint::new(checkpoint(), many(101)), Err(CosignaturesError::TooMany));
}

#[test]
fn cosignatures_out_of_order_are_not_decoded() {
    let swapped = |order: [usize; 2]| {
        let all = cosign(checkpoint(), &[1, 3]);
        let cosignatures: Vec<_> = order.iter().map(|i| all.cosignatures()[*i]).collect();
        [codec::encode(&checkpoint()), codec::encode(&cosignatures)].concat()
    };
    assert!(codec::decode::<CosignedCheckpoint>(&swapped([0, 1]), 4096).is_ok());
    assert!(codec::decode::<CosignedCheckpoint>(&swapped([1, 0]), 4096).is_err());
    assert!(codec::decode::<CosignedCheckpoint>(&swapped([0, 0]), 4096).is_err());
}

#[test]
fn one_committer_is_needed_even_when_no_organisation_is_asked_for() {
    let one = cosign(checkpoint(), &[3]);
    let domain = checkpoint().domain();
    assert!(one.verify(&domain, &committers(), 0).is_ok());
    assert_eq!(one.verify(&domain, &[], 0), Err(CheckpointError::UnknownCosigner { node: node(3) }));
}

#[test]
fn a_weak_key_cosigns_nothing() {
    // The identity point, and a signature that naive verification accepts for every message.
    let mut identity = [0; 32];
    identity[0] = 1;
    let weak = Committer { cosigning_key: PublicKey::new(identity), ..committers()[0].clone() };
    let mut signature = [0; 64];
    signature[0] = 1;
    let cosignature = Cosignature {
        node: weak.node,
        key_id: weak.cosigner_key().key_id(),
        time_unix_s: TIME,
        signature: Signature::new(signature),
    };
    let refused = CheckpointError::BadSignature { node: weak.node };
    assert_eq!(cosignature.verify(&checkpoint(), &weak), Err(refused));
}

#[test]
fn a_cosigning_key_does_not_print_its_seed() {
    assert!(!format!("{:?}", CosigningKey::from_seed(Secret32::new([9; 32]))).contains("0909"));
}
