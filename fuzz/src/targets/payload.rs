//! Payloads: both ciphers agree, what comes out is the plaintext's true beginning, and a range is a slice.

use super::{Seeds, draw::Draw, fixtures};
use dmdl_types::{
    context::DataContext,
    id::{ChannelId, NetworkId, RecordId, RecordVersion},
    secret::Secret32,
};
use dmdl_vault::payload::{
    Backend, CommittedKey, Layout, OpenError, PayloadEntry, RangePlan, Sealer,
    layout::{HEADER_LEN, SEALED_CHUNK_LEN},
    open, open_range,
};
use std::{io::Cursor, ops::Range};

const CONTEXT: DataContext = DataContext {
    network: NetworkId::new([1; 32]),
    channel: ChannelId::new([2; 32]),
    record: RecordId::new([3; 32]),
    version: RecordVersion::new(1),
};
const BACKENDS: [Backend; 2] = [Backend::Native, Backend::Portable];
/// What only the last byte of a payload brings to light.
const DIGEST_MISMATCH: &str = "DigestMismatch";
/// Three chunks.
const LEN_MAX: usize = 40_000;

pub(super) fn run(data: &[u8]) {
    let mut draw = Draw::new(data);
    arithmetic(draw.long(), draw.long()..draw.long());

    let (len, piece) = (draw.below(LEN_MAX), draw.below(20_000) + 1);
    let range = Range { start: u64::from(draw.short()), end: u64::from(draw.short()) };
    let (forged, choices) = (draw.byte(), fixtures::choices(data));
    let plaintext: Vec<u8> = draw.rest().iter().copied().cycle().take(len).collect();
    let plaintext = if plaintext.is_empty() { vec![0; len] } else { plaintext };

    let (payload, mut entry) = sealed(&plaintext, piece);
    let mut changed = if forged & 1 == 0 { payload.clone() } else { Draw::new(&choices).change(&payload) };
    // The ledger's word is changed as well, one field at a time.
    let true_entry = entry;
    match forged >> 1 & 7 {
        1 => entry.suite = entry.suite.wrapping_add(forged),
        2 => entry.ciphertext_len_bytes ^= 1 << (forged & 63),
        3 => entry.key_commitment[usize::from(forged & 31)] ^= 1,
        4 => entry.ciphertext_len_bytes = changed.len() as u64,
        5 => swap_chunks(&mut changed),
        _ => {}
    }
    let good = changed == payload && entry == true_entry;

    let (result, opened) = opened(Backend::Native, &changed, &entry, piece);
    assert_eq!((&result, &opened), (&self::opened(Backend::Portable, &changed, &entry, piece).0, &opened));
    assert!(plaintext.starts_with(&opened), "what came out is not the beginning of the plaintext");
    assert_eq!(result.is_ok(), good, "a changed payload opens, or a good one does not: {result:?}");
    assert!(!good || opened == plaintext);
    let same_header = changed.first_chunk::<HEADER_LEN>() == payload.first_chunk::<HEADER_LEN>();
    assert!(same_header || result.as_ref().is_err_and(|it| it != DIGEST_MISMATCH), "a changed header goes unseen");

    let slice = open_range(&mut Cursor::new(&changed), &key(), &CONTEXT, &entry, range.clone());
    let inside = range.start <= range.end && range.end <= plaintext.len() as u64;
    match slice {
        // The ledger alone says how long a payload is, and no byte of an empty range says otherwise.
        Ok(slice) if slice.is_empty() => assert!(inside || entry != true_entry, "a range that is not there"),
        Ok(slice) => {
            assert!(inside, "a range that is not there");
            assert_eq!(slice, plaintext[range.start as usize..range.end as usize], "a range is not the slice");
        }
        Err(error) => assert!(!(good && inside), "a good range does not open: {error}"),
    }
    if forged & 0xf0 == 0 {
        let mut whole = Vec::new();
        let all = open(&changed[..], &mut whole, &key(), &CONTEXT, &entry);
        assert_eq!(all.is_ok(), result.is_ok(), "opening whole differs from opening in pieces");
        assert!(plaintext.starts_with(&whole));
    }
}

/// Puts the second chunk before the first one, if both are full.
fn swap_chunks(payload: &mut [u8]) {
    let body = payload.get_mut(HEADER_LEN..).unwrap_or_default();
    if let Some(two) = body.get_mut(..2 * SEALED_CHUNK_LEN) {
        two.rotate_left(SEALED_CHUNK_LEN);
    }
}

/// Lengths and offsets of any size fit together, or are refused.
fn arithmetic(len: u64, range: Range<u64>) {
    if let Ok(layout) = Layout::of_plaintext(len) {
        assert_eq!(Layout::of_ciphertext(layout.ciphertext_len_bytes()), Ok(layout));
    }
    let Ok(layout) = Layout::of_ciphertext(len) else { return };
    assert_eq!(layout.ciphertext_len_bytes(), len);
    let last = layout.chunk(layout.chunk_count() - 1).expect("the last chunk");
    assert_eq!(last.end, len);
    assert_eq!(layout.chunk(layout.chunk_count()), None);
    if let Ok(plan) = RangePlan::new(layout, range.clone()) {
        assert!(range.start <= range.end && range.end <= layout.plaintext_len_bytes());
        let Range { start, end } = plan.ciphertext();
        assert!(start <= end && end <= len);
        assert!(end - start >= range.end - range.start, "fewer bytes than are asked for");
    }
}

fn key() -> Secret32 {
    fixtures::secret(7)
}

/// The payload of a plaintext, the same by both ciphers.
fn sealed(plaintext: &[u8], piece: usize) -> (Vec<u8>, PayloadEntry) {
    let [(native, entry), (portable, other)] = BACKENDS.map(|backend| {
        let mut payload = Vec::new();
        let mut sealer = Sealer::new(backend, &key(), &CONTEXT, &mut fixtures::rng(b"salt")).expect("a cipher");
        for piece in plaintext.chunks(piece) {
            sealer.push(piece, &mut payload).expect("room");
        }
        let sealed = sealer.finish(&mut payload).expect("room");
        (payload, sealed.entry())
    });
    assert_eq!((&native, entry), (&portable, other), "the two ciphers differ");
    (native, entry)
}

/// Opens in pieces: how it ended, and what came out before.
fn opened(backend: Backend, payload: &[u8], entry: &PayloadEntry, piece: usize) -> (Result<u64, String>, Vec<u8>) {
    let mut plaintext = Vec::new();
    let result = (|| {
        let Some((header, rest)) = payload.split_first_chunk::<HEADER_LEN>() else {
            return Err("no header".to_owned());
        };
        let text = |error: OpenError| format!("{error:?}");
        let mut opener = CommittedKey::check_on(backend, &key(), &CONTEXT, entry, header).map_err(text)?.into_opener();
        rest.chunks(piece).try_for_each(|piece| opener.push(piece, &mut plaintext)).map_err(text)?;
        opener.finish().map_err(text)
    })();
    (result, plaintext)
}

pub(super) fn seeds() -> Seeds {
    let seed = |name: &str, len: u16, piece: u16, range: Range<u16>, forged: u8| {
        let mut bytes = [72_u64, 0, 0].map(u64::to_le_bytes).concat();
        bytes.extend([len, piece, range.start, range.end].map(u16::to_le_bytes).concat());
        bytes.push(forged);
        bytes.extend(b"DICM");
        (name.to_owned(), bytes)
    };
    vec![
        seed("empty", 0, 0, 0..0, 0),
        seed("one-chunk", 1000, 99, 10..900, 0),
        seed("three-chunks", 39_999, 1000, 16_000..33_000, 0),
        seed("changed", 20_000, 16_399, 0..20_000, 1),
        seed("swapped", 39_000, 500, 20_000..39_000, 5 << 1),
        seed("another-length", 16_384, 1, 1..2, 2 << 1),
    ]
}
