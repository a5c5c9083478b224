use super::{edits::Edits, *};
use crate::keys::x25519_public;
use dmdl_types::secret::Secret32;
use rand::{SeedableRng as _, rngs::ChaCha20Rng};
use std::io::{self, Read as _, Write as _};

/// The reader of both files below, as `crypt4gh-keygen` made it.
const READER: &str = "42519142dcf84653dba97ae2231ba66d89ee29c020275c16156eda999732d56e";
/// 300 bytes, each its position modulo 251, encrypted by the Python program `crypt4gh` 1.8.6 for this reader and another.
const WHOLE: &str = "637279707434676801000000020000006c00000000000000a406043286ccb94d86fba77ea29af00600a92d38323e6a97f92257a6530ee7659edac0185c13088b961d59d4314a407f06342675ddb489dfac321125cb504f74a9e3e49312ad226d3857b17ed6dfc3ab5766251f2bab12cc02f321ed9b4f137f30b6c5f86c00000000000000a406043286ccb94d86fba77ea29af00600a92d38323e6a97f92257a6530ee7652f3625f99dceed2d3febe0aac86ac7f8203463d9ef015928333ef0d8c29d4d5da1092aa1a0cbe88426a5edfd20ad7bb141af860ac3fa934815adbaf8158bf39fee747802542e18eab2746b938bee78b874546913c5316e0072b6dd70711e04d7fddfa4ddddd58f97890cc3d253063ff12c4b7fb243a042e82bfe704738dfcc7f4e3a55b6fa607ab85cf07044eb7f83b1c2b1b9eebb634f7d334d8260999d1d9014af911843368e42d07043256c6294703290ab1a2ef04144429e5f8ea32caf70b36fa7f4259f0a220cb48c41751cd63790a2b6597030a635979891dd859097465299783846c163b368b0f16fe9f76a699fa29d7278d45e231299d3c6338ace14c47674847668458fe72a2a13e60348c93f75bcaac221bbb6ca8815526c05fa995ecd39a9a4389b0f0202daf1848a178254cc8f738a880c341aa19cd11db8332f9fe25d358db762f60be00417dcd3d7f14aaacef99273cdb55c8a97fc18e34c0c28779a6e1d3b80750cfdfafbe2099fe1f5d402aec97284eb0d4e705975b4f030282b95e514d870cf34dc7e6d";
/// The same after `crypt4gh rearrange --range 100-200`, which keeps 99 bytes by an edit list.
const RANGE: &str = "637279707434676801000000020000006c00000000000000a406043286ccb94d86fba77ea29af00600a92d38323e6a97f92257a6530ee765323d491aff72575749bd084db5e6dde89e3701bc792bdc650a4dfed2ace52aa49499818217c6a204a96f3d7944c8b4b184b132fc80862fef85749a8e9ae9bf15a7d2aa965c00000000000000a406043286ccb94d86fba77ea29af00600a92d38323e6a97f92257a6530ee765820368dce1fa59e1c9160136187519c932bc22a6dd7e004ec83a7a9313469df93dce5bf7c7a08d9e98adb21fbe3cb3e68e6ce70d542e18eab2746b938bee78b874546913c5316e0072b6dd70711e04d7fddfa4ddddd58f97890cc3d253063ff12c4b7fb243a042e82bfe704738dfcc7f4e3a55b6fa607ab85cf07044eb7f83b1c2b1b9eebb634f7d334d8260999d1d9014af911843368e42d07043256c6294703290ab1a2ef04144429e5f8ea32caf70b36fa7f4259f0a220cb48c41751cd63790a2b6597030a635979891dd859097465299783846c163b368b0f16fe9f76a699fa29d7278d45e231299d3c6338ace14c47674847668458fe72a2a13e60348c93f75bcaac221bbb6ca8815526c05fa995ecd39a9a4389b0f0202daf1848a178254cc8f738a880c341aa19cd11db8332f9fe25d358db762f60be00417dcd3d7f14aaacef99273cdb55c8a97fc18e34c0c28779a6e1d3b80750cfdfafbe2099fe1f5d402aec97284eb0d4e705975b4f030282b95e514d870cf34dc7e6d";

fn secret(byte: u8) -> Secret32 {
    Secret32::new([byte; 32])
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|position| u8::try_from(position % 251).unwrap()).collect()
}

fn written(plain: &[u8], readers: &[[u8; 32]]) -> Vec<u8> {
    let mut file = Encryptor::start(Vec::new(), ChaCha20Rng::seed_from_u64(7), readers).unwrap();
    file.write_all(plain).unwrap();
    file.finish().unwrap()
}

fn read(file: &[u8], secret: &Secret32) -> Result<Vec<u8>, OpenError> {
    let mut plain = Vec::new();
    Decryptor::open(file, secret)?.read_to_end(&mut plain)?;
    Ok(plain)
}

fn reference_reader() -> Secret32 {
    Secret32::new(hex::decode(READER).unwrap().try_into().unwrap())
}

#[test]
fn files_of_the_reference_program_are_read() {
    let (whole, range) = (hex::decode(WHOLE).unwrap(), hex::decode(RANGE).unwrap());
    assert_eq!(read(&whole, &reference_reader()).unwrap(), bytes(300));
    assert_eq!(read(&range, &reference_reader()).unwrap(), bytes(300)[100..199]);
    assert!(matches!(read(&whole, &secret(1)), Err(OpenError::NotForThisKey)));
}

#[test]
fn each_reader_reads_what_was_written_and_nobody_else() {
    let readers = [secret(1), secret(2)];
    let publics: Vec<_> = readers.iter().map(x25519_public).collect();
    let s = SEGMENT_LEN;
    for len in [0, 1, s - 1, s, s + 1, 2 * s, 3 * s + 17] {
        let file = written(&bytes(len), &publics);
        let segments = len.div_ceil(s);
        assert_eq!(file.len(), 16 + 2 * 108 + len + segments * (NONCE_LEN + TAG_LEN), "{len}");
        for reader in &readers {
            assert_eq!(read(&file, reader).unwrap(), bytes(len), "{len}");
        }
        assert!(matches!(read(&file, &secret(3)), Err(OpenError::NotForThisKey)), "{len}");
    }
}

#[test]
fn a_file_needs_readers_with_keys_that_are_some() {
    let start = |readers: &[[u8; 32]]| Encryptor::start(Vec::new(), ChaCha20Rng::seed_from_u64(7), readers);
    assert!(matches!(start(&[]), Err(StartError::NoReader)));
    let weak = [x25519_public(&secret(1)), [0; 32]];
    assert!(matches!(start(&weak), Err(StartError::BadKey(2))));
}

#[test]
fn no_altered_file_yields_other_bytes() {
    let file = written(&bytes(100), &[x25519_public(&secret(1))]);
    for position in 0..file.len() {
        let mut altered = file.clone();
        altered[position] ^= 1;
        assert!(read(&altered, &secret(1)).is_err(), "byte {position}");
    }
}

#[test]
fn a_file_that_is_cut_in_its_header_or_in_a_segment_is_refused() {
    let file = written(&bytes(SEGMENT_LEN + 100), &[x25519_public(&secret(1))]);
    let first_ends = 124 + SEALED_LEN;
    for len in (0..200).chain(first_ends - 5..first_ends + 30).chain([file.len() - 1]) {
        let cut = read(&file[..len], &secret(1));
        if len == 124 || len == first_ends {
            // Nothing in the format tells that something is missing.
            assert_eq!(cut.unwrap(), bytes(SEGMENT_LEN)[..if len == 124 { 0 } else { SEGMENT_LEN }]);
        } else {
            assert!(cut.is_err(), "cut at {len}");
        }
    }
}

#[test]
fn a_header_that_promises_too_much_is_refused_before_anything_is_reserved() {
    let head = |version: u32, packets: u32| [&MAGIC[..], &version.to_le_bytes(), &packets.to_le_bytes()].concat();
    let open = |file: &[u8]| Decryptor::open(file, &secret(1)).map(drop);
    assert!(matches!(open(b""), Err(OpenError::NotCrypt4gh)));
    assert!(matches!(open(b"crypt4gg and more"), Err(OpenError::NotCrypt4gh)));
    assert!(matches!(open(&head(2, 1)), Err(OpenError::Version(2))));
    assert!(matches!(open(&head(1, 0)), Err(OpenError::Packets { packets: 0 })));
    assert!(matches!(open(&head(1, u32::MAX)), Err(OpenError::Packets { .. })));
    for len in [0, 3, u32::MAX] {
        let file = [head(1, 1), len.to_le_bytes().to_vec()].concat();
        assert!(matches!(open(&file), Err(OpenError::PacketLen { .. })), "{len}");
    }
    let file = [head(1, 1), 1000_u32.to_le_bytes().to_vec(), vec![0; 10]].concat();
    assert!(matches!(open(&file), Err(OpenError::Read(error)) if error.kind() == io::ErrorKind::UnexpectedEof));
}

#[test]
fn an_edit_list_keeps_what_it_says_however_the_plaintext_comes() {
    // The example of the standard.
    let list = vec![0, 7853, 71721, 307_929, 51299, 38];
    let kept_by = |list: &[u64], pieces: usize| {
        let (mut edits, mut kept, mut at) = (Edits::of(Some(list.to_vec())), Vec::new(), 0);
        let len = 500_000;
        while at < len && !edits.is_over() {
            let end = len.min(at + pieces);
            let (range, dealt_with) = edits.next(end - at);
            kept.extend(at + range.start..at + range.end);
            at += dealt_with;
        }
        kept
    };
    let keeps = |ranges: &[std::ops::Range<usize>]| ranges.iter().cloned().flatten().collect::<Vec<_>>();
    let second = 7853 + 71721;
    let third = second + 307_929 + 51299;
    let expected = keeps(&[0..7853, second..second + 307_929, third..third + 38]);
    for pieces in [1000, SEGMENT_LEN, 500_000] {
        assert_eq!(kept_by(&list, pieces), expected, "{pieces} at a time");
        assert_eq!(kept_by(&[10], pieces), (10..500_000).collect::<Vec<_>>(), "an odd list keeps the rest");
        assert_eq!(kept_by(&[10, 5, 0, 5], pieces), (10..20).collect::<Vec<_>>());
        assert_eq!(kept_by(&[10, 5, 3], pieces), keeps(&[10..15, 18..500_000]));
        assert!(kept_by(&[0, 0], pieces).is_empty());
        assert!(kept_by(&[600_000, 5], pieces).is_empty());
    }
}
