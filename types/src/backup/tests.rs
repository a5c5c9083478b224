//! Backups by a fixed key: what is read, what is refused, and the frozen vectors of both.

use super::*;
use crate::{
    charter::Charter,
    checkpoint::tests::assert_frozen,
    genesis::tests::genesis,
    id::{ChannelId, Height, RecordId},
    invocation::{Access, Invocation},
    secret::Secret32,
    transaction::TransactionBody,
};
use serde_json::{Value, json};

const SEED: [u8; 32] = [7; 32];
/// 2026-11-22T18:30:45Z.
const TIME: UnixMillis = UnixMillis::new(1_795_372_245_000);
const DOMAIN: Domain = Domain { network: NetworkId::new([0xa1; 32]), channel: ChannelId::new([0xb2; 32]) };

fn key() -> SigningKey {
    SigningKey::from_seed(Secret32::new(SEED))
}

fn node() -> NodeId {
    NodeId::of_key(key().public())
}

/// A backup of these pieces, in whatever order.
fn packed(pieces: &[Piece]) -> Vec<u8> {
    let (mut packing, mut file) = Packing::begin(DOMAIN, node(), TIME);
    for piece in pieces {
        file.extend(packing.piece(piece).unwrap());
    }
    file.extend(packing.end(&key()));
    file
}

/// What a reader of a file does.
fn read(file: &[u8]) -> Result<Vec<Piece>, BackupError> {
    let (magic, mut rest) = file.split_first_chunk().ok_or(BackupError::NotABackup)?;
    let mut unpacking = Unpacking::begin(DOMAIN, Some(node()), magic)?;
    let mut pieces = Vec::new();
    while !unpacking.is_over() {
        let (len, after) = rest.split_first_chunk().ok_or(BackupError::Cut)?;
        let (piece, after) = after.split_at_checked(Unpacking::len_of(*len)?).ok_or(BackupError::Cut)?;
        pieces.push(unpacking.take(piece)?);
        rest = after;
    }
    if rest.is_empty() { Ok(pieces) } else { Err(BackupError::Trailing) }
}

/// The name of an error, without what it says.
fn name(error: &BackupError) -> String {
    format!("{error:?}").split('(').next().unwrap().to_owned()
}

fn charter() -> Piece {
    let genesis = genesis();
    let charter = Charter {
        version: 1,
        network: DOMAIN.network,
        seed: [3; 32],
        time: TIME,
        members: genesis.members,
        people: Vec::new(),
        channel: genesis.channel,
    };
    Piece::Channel(Some(Box::new(SignedCharter { charter, approvals: Vec::new() })))
}

fn transaction() -> Transaction {
    let body = TransactionBody {
        domain: DOMAIN,
        authors: vec![key().public()],
        nonce: [9; 16],
        expires: Height::new(50),
        invocation: Invocation::Access(Access::Erase { record: RecordId::new([4; 32]) }),
    };
    body.sign(&[&key()])
}

fn ledger(part: Part) -> Piece {
    Piece::Ledger(Box::new(part))
}

/// Backups with something of everything, in every order that there is.
fn good() -> Vec<(&'static str, Vec<Piece>)> {
    let state = || ledger(Part::State(vec![(b"key".to_vec(), b"value".to_vec())]));
    vec![
        ("of a channel without a ledger", vec![Piece::Channel(None)]),
        (
            "of two channels, the first one with what people have signed",
            vec![
                Piece::Channel(None),
                ledger(Part::Leaves(vec![b"leaf".to_vec()])),
                state(),
                ledger(Part::State(Vec::new())),
                Piece::Signed(vec![transaction()]),
                charter(),
                state(),
            ],
        ),
        ("of three channels", vec![Piece::Channel(None), charter(), charter(), ledger(Part::Steps(Vec::new()))]),
    ]
}

fn replaced(file: &[u8], at: usize, by: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + by.len()].copy_from_slice(by);
    file
}

/// Backups that are none, each with what it is refused for.
fn bad() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let whole = packed(&good()[1].1);
    let signed = |begin: Begin| {
        let mut packing = Packing { domain: DOMAIN, hash: Sha256::new_with_prefix(MAGIC) };
        let begin = packing.piece(&Piece::Begin(begin)).unwrap();
        let channel = packing.piece(&Piece::Channel(None)).unwrap();
        [MAGIC.to_vec(), begin, channel, packing.end(&key())].concat()
    };
    let begin = Begin { network: DOMAIN.network, node: node(), time: TIME };
    let (mut packing, mut by_another) = Packing::begin(DOMAIN, node(), TIME);
    by_another.extend(packing.piece(&Piece::Channel(None)).unwrap());
    by_another.extend(packing.end(&SigningKey::from_seed(Secret32::new([8; 32]))));
    let (_, only_begun) = Packing::begin(DOMAIN, node(), TIME);
    let first = |piece: Piece| {
        let mut packing = Packing { domain: DOMAIN, hash: Sha256::new_with_prefix(MAGIC) };
        [MAGIC.to_vec(), packing.piece(&piece).unwrap(), packing.end(&key())].concat()
    };
    let other_domain = Domain { channel: ChannelId::new([0xb3; 32]), ..DOMAIN };
    let (mut packing, mut elsewhere) = Packing::begin(other_domain, node(), TIME);
    elsewhere.extend(packing.piece(&Piece::Channel(None)).unwrap());
    elsewhere.extend(packing.end(&key()));
    let long = [&MAGIC[..], &u32::MAX.to_le_bytes(), &[0; 8]].concat();
    let none = [&MAGIC[..], &frame(&[9])].concat();
    let tail_in_piece = {
        let mut piece = codec::encode(&Piece::Begin(begin));
        piece.push(0);
        [&MAGIC[..], &frame(&piece)].concat()
    };
    vec![
        ("nothing", Vec::new(), "NotABackup"),
        ("another file", b"dmdl/bundle/v1\n\0 and so on".to_vec(), "NotABackup"),
        ("a later version", replaced(&whole, 13, b"2"), "Version"),
        ("of another network", signed(Begin { network: NetworkId::new([0xa2; 32]), ..begin }), "OtherNetwork"),
        ("of another node", signed(Begin { node: NodeId::new([9; 32]), ..begin }), "OtherNode"),
        ("signed by another node", by_another, "Signature"),
        ("signed for another first channel", elsewhere, "Signature"),
        ("with another time", replaced(&whole, 85, &[whole[85] ^ 1]), "Signature"),
        (
            "with a changed value",
            replaced(&whole, whole.windows(5).position(|w| w == b"value").unwrap(), b"w"),
            "Signature",
        ),
        ("with a changed signature", replaced(&whole, whole.len() - 1, &[whole.last().unwrap() ^ 1]), "Signature"),
        ("without the last byte", whole[..whole.len() - 1].to_vec(), "Cut"),
        ("without its end", whole[..whole.len() - 69].to_vec(), "Cut"),
        ("only begun", only_begun, "Cut"),
        ("with a tail", [&whole[..], &[0]].concat(), "Trailing"),
        ("twice", [&whole[..], &whole].concat(), "Trailing"),
        ("with a piece that is too long", long, "TooLong"),
        ("with a piece of no kind", none, "Decode"),
        ("with a byte after a piece", tail_in_piece, "Decode"),
        ("that begins with a channel", first(Piece::Channel(None)), "OutOfPlace"),
        ("of no channel", packed(&[]), "OutOfPlace"),
        ("that begins twice", packed(&[Piece::Begin(begin)]), "OutOfPlace"),
        ("whose first channel has a charter", packed(&[charter()]), "OutOfPlace"),
        ("with the first channel twice", packed(&[Piece::Channel(None), Piece::Channel(None)]), "OutOfPlace"),
        ("with a ledger of no channel", packed(&[ledger(Part::Gone)]), "OutOfPlace"),
        ("with what was signed of no ledger", packed(&[Piece::Channel(None), Piece::Signed(Vec::new())]), "OutOfPlace"),
        (
            "with a ledger that goes on after what was signed",
            packed(&[Piece::Channel(None), ledger(Part::Gone), Piece::Signed(Vec::new()), ledger(Part::Gone)]),
            "OutOfPlace",
        ),
    ]
}

fn kind(piece: &Piece) -> &'static str {
    match piece {
        Piece::Begin(_) => "begin",
        Piece::Channel(None) => "first channel",
        Piece::Channel(Some(_)) => "channel",
        Piece::Ledger(_) => "ledger",
        Piece::Signed(_) => "signed",
        Piece::End(_) => "end",
    }
}

fn setting() -> Value {
    json!({ "network": DOMAIN.network, "channel": DOMAIN.channel, "node": node(), "node_seed": hex::encode(SEED) })
}

#[test]
fn a_backup_comes_back_piece_by_piece() {
    for (name, pieces) in good() {
        let read = read(&packed(&pieces)).unwrap();
        let begin = Piece::Begin(Begin { network: DOMAIN.network, node: node(), time: TIME });
        assert_eq!(read[0], begin, "{name}");
        assert_eq!(&read[1..read.len() - 1], pieces, "{name}");
        assert!(matches!(read.last(), Some(Piece::End(_))), "{name}");
    }
}

#[test]
fn who_does_not_say_whose_backup_it_is_reads_anybodys() {
    let of_another = bad().into_iter().find(|(what, ..)| *what == "of another node").unwrap().1;
    let own = packed(&good()[0].1);
    let begun = |file: &[u8]| {
        let (magic, rest) = file.split_first_chunk().unwrap();
        let mut unpacking = Unpacking::begin(DOMAIN, None, magic).unwrap();
        unpacking.take(&rest[4..77]).map(|_| unpacking)
    };
    assert!(begun(&of_another).is_ok());
    let mut unpacking = begun(&own).unwrap();
    unpacking.take(&own[97..99]).unwrap();
    unpacking.take(&own[103..]).unwrap();
    assert!(unpacking.is_over(), "what its node signed, by that node's key");
    let mut unpacking = begun(&of_another).unwrap();
    unpacking.take(&of_another[97..99]).unwrap();
    assert_eq!(unpacking.take(&of_another[103..]), Err(BackupError::Signature));
}

#[test]
fn frozen_backups_are_read_and_refused() {
    let cases = good().into_iter().map(|(name, pieces)| {
        let file = packed(&pieces);
        let kinds: Vec<_> = read(&file).unwrap().iter().map(kind).collect();
        json!({ "name": name, "time": TIME, "file": hex::encode(file), "pieces": kinds })
    });
    let mut today = setting();
    today["cases"] = cases.collect();
    assert_frozen("backup/v1/good.json", &today);

    let cases = bad().into_iter().map(|(what, file, error)| {
        let refused = read(&file).expect_err(what);
        assert_eq!(name(&refused), error, "{what}");
        json!({ "name": what, "file": hex::encode(file), "error": error })
    });
    let mut today = setting();
    today["cases"] = cases.collect();
    assert_frozen("backup/v1/bad.json", &today);
}

#[test]
fn no_byte_can_change_be_missing_or_be_added() {
    let whole = packed(&good()[0].1);
    for at in 0..whole.len() {
        for bit in 0..8 {
            let changed = replaced(&whole, at, &[whole[at] ^ (1 << bit)]);
            assert!(read(&changed).is_err(), "bit {bit} of byte {at}");
        }
        assert!(read(&whole[..at]).is_err(), "the first {at} bytes");
        assert!(read(&[&whole[..at], &whole[at + 1..]].concat()).is_err(), "without byte {at}");
        assert!(read(&[&whole[..at], &[0], &whole[at..]].concat()).is_err(), "with a byte before {at}");
    }
}

#[test]
fn the_example_of_the_page_is_the_smallest_backup() {
    let page = include_str!("../../../docs/spec/backup.md");
    let printed: String = page.split_whitespace().collect();
    let (file, key) = (packed(&good()[0].1), node().to_string());
    let parts =
        [&file[..16], &file[16..21], &file[21..53], &file[53..85], &file[85..93], &file[93..99], &file[99..104]];
    for part in parts.into_iter().chain([&file[104..136], &file[136..]]) {
        assert!(printed.contains(&hex::encode(part)), "the page lacks {}", hex::encode(part));
    }
    assert_eq!(file.len(), 168);
    assert!(page.contains(&key));
}
