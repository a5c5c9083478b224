//! Backups: only what the node packed and signed is read to its end, byte for byte.

use super::{
    Seeds,
    draw::Draw,
    fixtures::key,
    ledger::{BODY, NETWORK, events},
};
use dmdl_types::{
    backup::{BackupError, MAGIC, Packing, Piece, Unpacking},
    id::{NodeId, UnixMillis},
    snapshot::Part,
};
use std::sync::LazyLock;

/// The seed of the node's key.
const NODE: u8 = 61;

/// All that the node has signed.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| packed(&pieces()));
static WITHOUT_A_LEDGER: LazyLock<Vec<u8>> = LazyLock::new(|| packed(&[Piece::Channel(None)]));

fn node() -> NodeId {
    NodeId::of_key(key(NODE).public())
}

fn pieces() -> Vec<Piece> {
    let leaves = events().iter().map(|event| event.to_leaf()).collect();
    let state = vec![(b"key".to_vec(), b"value".to_vec())];
    let signed = BODY.transactions.iter().map(|endorsed| endorsed.transaction.clone()).collect();
    vec![
        Piece::Channel(None),
        Piece::Ledger(Box::new(Part::Leaves(leaves))),
        Piece::Ledger(Box::new(Part::State(state))),
        Piece::Ledger(Box::new(Part::State(Vec::new()))),
        Piece::Signed(signed),
    ]
}

fn packed(pieces: &[Piece]) -> Vec<u8> {
    let (mut packing, mut file) = Packing::begin(NETWORK.domain, node(), UnixMillis::new(1_795_372_250_000));
    pieces.iter().for_each(|piece| file.extend(packing.piece(piece).expect("no piece is too long")));
    file.extend(packing.end(&key(NODE)));
    file
}

fn read(file: &[u8]) -> Result<Vec<Piece>, BackupError> {
    let (magic, mut rest) = file.split_first_chunk().ok_or(BackupError::NotABackup)?;
    let mut unpacking = Unpacking::begin(NETWORK.domain, Some(node()), magic)?;
    let mut pieces = Vec::new();
    while !unpacking.is_over() {
        let (len, after) = rest.split_first_chunk().ok_or(BackupError::Cut)?;
        let (piece, after) = after.split_at_checked(Unpacking::len_of(*len)?).ok_or(BackupError::Cut)?;
        pieces.push(unpacking.take(piece)?);
        rest = after;
    }
    if rest.is_empty() { Ok(pieces) } else { Err(BackupError::Trailing) }
}

pub(super) fn run(data: &[u8]) {
    let whole = read(data);
    let is_signed = [&GOOD, &WITHOUT_A_LEDGER].iter().any(|signed| data == ***signed);
    assert_eq!(whole.is_ok(), is_signed, "a backup that nobody signed, or a good one refused: {whole:?}");
    let changed = Draw::new(data).change(&GOOD);
    assert!(read(&changed).is_err() || changed == *GOOD, "a changed byte goes unseen");
    // Without the magic, the pieces of something else.
    let _ = read(&[&MAGIC[..], data].concat());
}

pub(super) fn seeds() -> Seeds {
    vec![("whole".to_owned(), GOOD.clone()), ("without-a-ledger".to_owned(), WITHOUT_A_LEDGER.clone())]
}
