//! What the format promises: each test alters, cuts or swaps something and sees it refused.

#![expect(clippy::cast_possible_truncation, reason = "test payloads are small")]

mod files;
mod frozen;
mod salamander;
mod wycheproof;

use super::layout::{CHUNK_LEN, HEADER_LEN, SALT_LEN, SEALED_CHUNK_LEN};
use super::*;
use dmdl_types::{
    codec,
    context::DataContext,
    id::{ChannelId, NetworkId, PayloadDigest, RecordId, RecordVersion},
    invocation::PayloadInfo,
    secret::Secret32,
};
use proptest::prelude::*;
use std::io::Cursor;

const SIZES: [usize; 8] = [0, 1, 16_383, 16_384, 16_385, 3 * 16_384, 100_000, 70 * 16_384 + 1];

pub(super) fn key() -> Secret32 {
    Secret32::new([7; 32])
}

pub(super) fn context() -> DataContext {
    DataContext {
        network: NetworkId::new([1; 32]),
        channel: ChannelId::new([2; 32]),
        record: RecordId::new([3; 32]),
        version: RecordVersion::new(1),
    }
}

pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// Seals in one push with a fixed salt.
pub(super) fn sealed(plaintext: &[u8]) -> (Vec<u8>, PayloadEntry) {
    sealed_with([5; SALT_LEN], plaintext)
}

fn sealed_with(salt: [u8; SALT_LEN], plaintext: &[u8]) -> (Vec<u8>, PayloadEntry) {
    let mut sealer = Sealer::with_salt(Backend::default(), &key(), &codec::encode(&context()), salt).unwrap();
    let mut payload = Vec::new();
    sealer.push(plaintext, &mut payload).unwrap();
    let sealed = sealer.finish(&mut payload).unwrap();
    assert_eq!(sealed.plaintext_len_bytes, plaintext.len() as u64);
    (payload, sealed.entry())
}

/// Opens, and returns what came out with how it ended.
pub(super) fn opened(payload: &[u8], entry: &PayloadEntry) -> (Vec<u8>, Result<u64, OpenError>) {
    let mut plaintext = Vec::new();
    let result = open(payload, &mut plaintext, &key(), &context(), entry);
    (plaintext, result)
}

fn chunk(payload: &[u8], number: usize) -> &[u8] {
    payload[HEADER_LEN..].chunks(SEALED_CHUNK_LEN).nth(number).unwrap()
}

fn with_chunks(payload: &[u8], numbers: &[usize]) -> Vec<u8> {
    let chunks = numbers.iter().flat_map(|&number| chunk(payload, number));
    payload[..HEADER_LEN].iter().chain(chunks).copied().collect()
}

/// The entry of bytes that someone registers as they are: their own length and digest.
fn registered_as_is(payload: &[u8], entry: &PayloadEntry) -> PayloadEntry {
    let digest = PayloadDigest::new(*blake3::hash(payload).as_bytes());
    PayloadEntry { digest, ciphertext_len_bytes: payload.len() as u64, ..*entry }
}

#[test]
fn every_size_opens_to_what_was_sealed() {
    for size in SIZES {
        let plaintext = pattern(size);
        let mut payload = Vec::new();
        let rng = &mut FixedSalt([5; SALT_LEN]);
        let outcome = seal(plaintext.as_slice(), &mut payload, &key(), &context(), rng).unwrap();
        assert_eq!(outcome.ciphertext_len_bytes, payload.len() as u64);
        assert_eq!(outcome.plaintext_len_bytes, size as u64);
        assert_eq!(outcome.digest.as_bytes(), blake3::hash(&payload).as_bytes());
        let (got, result) = opened(&payload, &outcome.entry());
        assert_eq!(result.unwrap(), size as u64);
        assert!(got == plaintext, "{size}");
        assert!(payload == sealed(&plaintext).0, "one push and many make the same bytes");
    }
}

#[test]
fn the_backends_make_and_open_each_others_payloads() {
    let plaintext = pattern(3 * CHUNK_LEN + 5);
    for (sealing, opening) in [(Backend::Native, Backend::Portable), (Backend::Portable, Backend::Native)] {
        let mut sealer = Sealer::new(sealing, &key(), &context(), &mut FixedSalt([5; SALT_LEN])).unwrap();
        let mut payload = Vec::new();
        sealer.push(&plaintext, &mut payload).unwrap();
        let entry = sealer.finish(&mut payload).unwrap().entry();
        assert!(payload == sealed(&plaintext).0);
        let header = payload.first_chunk().unwrap();
        let mut opener = CommittedKey::check_on(opening, &key(), &context(), &entry, header).unwrap().into_opener();
        let mut got = Vec::new();
        opener.push(&payload[HEADER_LEN..], &mut got).unwrap();
        opener.finish().unwrap();
        assert!(got == plaintext);
    }
}

#[test]
fn every_single_flipped_bit_of_a_4_kib_payload_is_refused_and_nothing_comes_out() {
    let (payload, entry) = sealed(&pattern(4096));
    let mut flipped = payload.clone();
    for bit in 0..payload.len() * 8 {
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (plaintext, result) = opened(&flipped, &entry);
        assert!(plaintext.is_empty(), "bit {bit}");
        match (bit / 8, result) {
            (0..SALT_LEN, Err(OpenError::WrongKey))
            | (SALT_LEN..HEADER_LEN, Err(OpenError::AlteredHeader))
            | (HEADER_LEN.., Err(OpenError::Altered { chunk: 0 })) => {}
            (_, other) => panic!("bit {bit}: {other:?}"),
        }
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_flipped_bit_in_a_later_chunk_lets_out_the_chunks_before_it_and_no_more() {
    let plaintext = pattern(4 * CHUNK_LEN + 100);
    let (payload, entry) = sealed(&plaintext);
    for at in (HEADER_LEN..payload.len()).step_by(1013).chain([payload.len() - 1]) {
        let mut flipped = payload.clone();
        flipped[at] ^= 0x40;
        let (got, result) = opened(&flipped, &entry);
        let altered = ((at - HEADER_LEN) / SEALED_CHUNK_LEN) as u64;
        assert!(matches!(result, Err(OpenError::Altered { chunk }) if chunk == altered), "{at}");
        assert!(got == plaintext[..altered as usize * CHUNK_LEN], "{at}");
    }
}

#[test]
fn a_payload_cut_anywhere_near_an_edge_is_truncated() {
    let plaintext = pattern(3 * CHUNK_LEN);
    let (payload, entry) = sealed(&plaintext);
    let edges = (0..=3).map(|k| HEADER_LEN + k * SEALED_CHUNK_LEN);
    let near = edges.flat_map(|edge| [edge.wrapping_sub(1), edge, edge + 1, edge + 15, edge + 16, edge + 17]);
    for cut in near.chain([0, 1, SALT_LEN, HEADER_LEN - 1]).filter(|&cut| cut < payload.len()) {
        let (got, result) = opened(&payload[..cut], &entry);
        let (expected_bytes, got_bytes) = (payload.len() as u64, cut as u64);
        assert!(
            matches!(result, Err(OpenError::Truncated { expected_bytes: e, got_bytes: g }) if (e, g) == (expected_bytes, got_bytes)),
            "cut at {cut}: {result:?}"
        );
        assert!(plaintext.starts_with(&got), "{cut}");

        // Even if the ledger agreed to the cut: a length without a short last chunk is none.
        let (got, result) = opened(&payload[..cut], &registered_as_is(&payload[..cut], &entry));
        assert!(result.is_err() && plaintext.starts_with(&got), "{cut}");
    }
}

#[test]
fn chunks_swapped_repeated_dropped_or_added_are_refused() {
    let plaintext = pattern(3 * CHUNK_LEN + 9);
    let (payload, entry) = sealed(&plaintext);
    for (numbers, altered) in [
        (&[1, 0, 2, 3][..], 0),
        (&[0, 2, 1, 3], 1),
        (&[0, 0, 2, 3], 1),
        (&[0, 1, 1, 2, 3], 2),
        (&[1, 2, 3], 0),
        (&[0, 1, 3], 2),
        (&[3], 0),
    ] {
        let changed = with_chunks(&payload, numbers);
        let (got, result) = opened(&changed, &entry);
        assert!(result.is_err() && plaintext.starts_with(&got), "{numbers:?}");

        // Even if the ledger agreed to the changed bytes.
        let (got, result) = opened(&changed, &registered_as_is(&changed, &entry));
        assert!(matches!(result, Err(OpenError::Altered { chunk }) if chunk == altered), "{numbers:?} {result:?}");
        assert!(got == plaintext[..altered as usize * CHUNK_LEN], "{numbers:?}");
    }
}

#[test]
fn bytes_after_the_last_chunk_are_refused() {
    let (payload, entry) = sealed(&pattern(100));
    for tail in [&[0][..], &[0; 20], chunk(&payload, 0), &payload] {
        let longer = [&payload, tail].concat();
        assert!(matches!(opened(&longer, &entry).1, Err(OpenError::TooLong { .. })));
        let (got, result) = opened(&longer, &registered_as_is(&longer, &entry));
        assert!(matches!(result, Err(OpenError::Altered { chunk: 0 })));
        assert!(got.is_empty());
    }
}

#[test]
fn another_records_header_key_context_or_entry_does_not_open() {
    let (payload, entry) = sealed(&pattern(100));
    let (other, other_entry) = sealed_with([6; SALT_LEN], &pattern(100));

    let swapped = [&other[..HEADER_LEN], &payload[HEADER_LEN..]].concat();
    assert!(matches!(opened(&swapped, &entry).1, Err(OpenError::WrongKey)));
    let agreed = registered_as_is(&swapped, &other_entry);
    assert!(matches!(opened(&swapped, &agreed).1, Err(OpenError::Altered { chunk: 0 })));
    assert!(matches!(opened(&payload, &other_entry).1, Err(OpenError::WrongKey)));

    let open_as = |key: &Secret32, context: &DataContext| {
        let mut plaintext = Vec::new();
        let result = open(payload.as_slice(), &mut plaintext, key, context, &entry);
        assert!(plaintext.is_empty());
        result
    };
    assert!(matches!(open_as(&Secret32::new([8; 32]), &context()), Err(OpenError::WrongKey)));
    for other in [
        DataContext { network: NetworkId::new([9; 32]), ..context() },
        DataContext { channel: ChannelId::new([9; 32]), ..context() },
        DataContext { record: RecordId::new([9; 32]), ..context() },
        DataContext { version: RecordVersion::new(2), ..context() },
    ] {
        assert!(matches!(open_as(&key(), &other), Err(OpenError::WrongKey)));
    }
}

#[test]
fn an_entry_with_another_digest_is_refused_at_the_end() {
    let (payload, entry) = sealed(&pattern(100));
    let entry = PayloadEntry { digest: PayloadDigest::new([0; 32]), ..entry };
    assert!(matches!(opened(&payload, &entry).1, Err(OpenError::DigestMismatch)));
}

#[test]
fn every_unknown_suite_is_refused() {
    let (payload, entry) = sealed(&pattern(100));
    for suite in (0..=255).filter(|&suite| suite != Suite::Aes256Gcm.byte()) {
        let (got, result) = opened(&payload, &PayloadEntry { suite, ..entry });
        assert!(matches!(result, Err(OpenError::UnsupportedSuite(UnsupportedSuite(byte))) if byte == suite));
        assert!(got.is_empty());
    }
}

#[test]
fn an_entry_is_registered_without_padding_and_every_padding_is_refused() {
    let (_, entry) = sealed(&pattern(100));
    let info = PayloadInfo::from(entry);
    assert_eq!(PayloadEntry::try_from(&info), Ok(entry));
    for padding in 1..=255 {
        let info = PayloadInfo { padding, ..info.clone() };
        assert_eq!(PayloadEntry::try_from(&info), Err(UnsupportedPadding(padding)));
    }
}

#[test]
fn after_an_error_nothing_more_comes_out() {
    let (payload, entry) = sealed(&pattern(2 * CHUNK_LEN));
    let mut opener =
        CommittedKey::check(&key(), &context(), &entry, payload.first_chunk().unwrap()).unwrap().into_opener();
    let mut got = Vec::new();
    let mut bad = chunk(&payload, 0).to_vec();
    bad[0] ^= 1;
    assert!(matches!(opener.push(&bad, &mut got), Err(OpenError::Altered { chunk: 0 })));
    assert!(matches!(opener.push(chunk(&payload, 0), &mut got), Err(OpenError::Failed)));
    assert!(got.is_empty());
    assert!(matches!(opener.finish(), Err(OpenError::Failed)));
}

#[test]
fn a_reader_or_writer_that_fails_is_named() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }
    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (payload, entry) = sealed(b"x");
    let rng = &mut FixedSalt([5; SALT_LEN]);
    assert!(matches!(seal(Broken, Vec::new(), &key(), &context(), rng), Err(SealError::Read(_))));
    assert!(matches!(seal(&b"x"[..], Broken, &key(), &context(), rng), Err(SealError::Write(_))));
    assert!(matches!(open(Broken, Vec::new(), &key(), &context(), &entry), Err(OpenError::Read(_))));
    assert!(matches!(open(payload.as_slice(), Broken, &key(), &context(), &entry), Err(OpenError::Write(_))));
}

#[test]
fn a_range_past_the_end_or_backwards_is_refused() {
    let (payload, entry) = sealed(&pattern(100));
    #[expect(clippy::reversed_empty_ranges, reason = "the point")]
    for range in [0..101, 100..101, 101..101, 50..49, 0..u64::MAX] {
        let result = open_range(&mut Cursor::new(&payload), &key(), &context(), &entry, range.clone());
        assert!(matches!(result, Err(OpenError::NoSuchRange { len_bytes: 100, .. })), "{range:?}");
    }
}

#[test]
fn a_range_needs_its_own_chunks_and_no_others() {
    let plaintext = pattern(4 * CHUNK_LEN);
    let (mut payload, entry) = sealed(&plaintext);
    for other in [0, 2, 3] {
        payload[HEADER_LEN + other * SEALED_CHUNK_LEN] ^= 1;
    }
    let (start, end) = (CHUNK_LEN as u64 + 1, 2 * CHUNK_LEN as u64);
    let mut cursor = Cursor::new(&payload);
    let got = open_range(&mut cursor, &key(), &context(), &entry, start..end).unwrap();
    assert!(got == plaintext[start as usize..end as usize]);
    let result = open_range(&mut cursor, &key(), &context(), &entry, start..end + 1);
    assert!(matches!(result, Err(OpenError::Altered { chunk: 2 })));
}

#[test]
fn a_range_of_fewer_or_more_bytes_than_planned_is_refused() {
    let (payload, entry) = sealed(&pattern(2 * CHUNK_LEN));
    let key = CommittedKey::check(&key(), &context(), &entry, payload.first_chunk().unwrap()).unwrap();
    let plan = key.plan(5..6).unwrap();
    assert_eq!(plan.ciphertext(), HEADER_LEN as u64..(HEADER_LEN + SEALED_CHUNK_LEN) as u64);
    let mut got = Vec::new();
    let mut chunk = chunk(&payload, 0).to_vec();
    assert!(matches!(key.open_planned(&plan, &chunk[1..], &mut got), Err(OpenError::Truncated { .. })));
    chunk.push(0);
    assert!(matches!(key.open_planned(&plan, &chunk, &mut got), Err(OpenError::TooLong { .. })));
    assert!(got.is_empty());
    key.open_planned(&plan, &chunk[..SEALED_CHUNK_LEN], &mut got).unwrap();
    assert_eq!(got, [5]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_range_is_a_slice_of_the_plaintext(len in 0usize..70_000, a: prop::sample::Index, b: prop::sample::Index) {
        let plaintext = pattern(len);
        let (payload, entry) = sealed(&plaintext);
        let (a, b) = (a.index(len + 1), b.index(len + 1));
        let range = a.min(b)..a.max(b);
        let asked = range.start as u64..range.end as u64;
        let got = open_range(&mut Cursor::new(&payload), &key(), &context(), &entry, asked).unwrap();
        prop_assert!(got == plaintext[range]);
    }

    #[test]
    fn pieces_of_any_size_seal_and_open_to_the_same_bytes(
        len in 0usize..70_000,
        pieces in prop::collection::vec(1usize..40_000, 1..8),
    ) {
        let plaintext = pattern(len);
        let mut sealer =
            Sealer::with_salt(Backend::default(), &key(), &codec::encode(&context()), [5; SALT_LEN]).unwrap();
        let mut payload = Vec::new();
        for piece in cut(&plaintext, &pieces) {
            sealer.push(piece, &mut payload).unwrap();
        }
        let entry = sealer.finish(&mut payload).unwrap().entry();
        let (at_once, entry_at_once) = sealed(&plaintext);
        prop_assert!(payload == at_once);
        prop_assert_eq!(entry, entry_at_once);

        let header = payload.first_chunk().unwrap();
        let mut opener = CommittedKey::check(&key(), &context(), &entry, header).unwrap().into_opener();
        let mut got = Vec::new();
        for piece in cut(&payload[HEADER_LEN..], &pieces) {
            opener.push(piece, &mut got).unwrap();
        }
        prop_assert_eq!(opener.finish().unwrap(), len as u64);
        prop_assert!(got == plaintext);
    }

    #[test]
    fn a_random_change_never_lets_out_anything_but_a_true_beginning(
        len in 0usize..40_000,
        at: prop::sample::Index,
        bytes in prop::collection::vec(any::<u8>(), 0..40),
        removed in 0usize..40,
    ) {
        let plaintext = pattern(len);
        let (payload, entry) = sealed(&plaintext);
        let at = at.index(payload.len());
        let mut changed = payload.clone();
        changed.splice(at..payload.len().min(at + removed), bytes);
        prop_assume!(changed != payload);
        let (got, result) = opened(&changed, &entry);
        prop_assert!(result.is_err());
        prop_assert!(plaintext.starts_with(&got));
    }
}

/// Cuts bytes into pieces of these lengths, over and over.
fn cut<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &length in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(length.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// A generator that draws the same salt each time.
pub(super) struct FixedSalt(pub(super) [u8; SALT_LEN]);

impl rand_core::TryRng for FixedSalt {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for FixedSalt {}
