use super::*;
use dmdl_types::id::UnixMillis;
use futures_util::stream;
use std::{fs, path::Path as FsPath};

const LATER: UnixMillis = UnixMillis::new(u64::MAX / 2_000_000);

#[expect(clippy::cast_possible_truncation, reason = "remainders below 256")]
fn pattern(len: usize) -> Vec<u8> {
    // Long before it repeats, so that a part in the wrong place shows.
    (0..len).map(|i| (i % 251) as u8 ^ (i / 251 % 256) as u8).collect()
}

fn digest_of(bytes: &[u8]) -> PayloadDigest {
    PayloadDigest::new(*blake3::hash(bytes).as_bytes())
}

fn in_pieces(bytes: &[u8], piece: usize) -> Vec<Result<Bytes, io::Error>> {
    bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

async fn put(store: &PayloadStore, bytes: &[u8]) -> PayloadDigest {
    let digest = digest_of(bytes);
    store.put(digest, bytes.len() as u64, stream::iter(in_pieces(bytes, 100_000))).await.unwrap();
    digest
}

async fn get(store: &PayloadStore, digest: PayloadDigest) -> Result<Vec<u8>, GetError> {
    let (len_bytes, mut bytes) = store.get(digest).await?;
    let mut whole = Vec::new();
    while let Some(item) = bytes.next().await {
        whole.extend_from_slice(&item?);
    }
    assert_eq!(whole.len() as u64, len_bytes);
    Ok(whole)
}

fn files_in(folder: &FsPath) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_in(&path)) } else { files.push(path) }
    }
    files
}

/// A store of each kind, with what keeps its folder alive.
fn stores() -> Vec<(Option<tempfile::TempDir>, PayloadStore)> {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = PayloadStore::in_folder(folder.path().join("payloads")).unwrap();
    vec![(Some(folder), in_folder), (None, PayloadStore::in_memory())]
}

#[tokio::test]
async fn what_is_put_is_got_whole_and_by_range() {
    for (_folder, store) in stores() {
        // One part, one window, several windows, several parts.
        for len in [0, 1, 72, 5 << 20, 8 << 20, 16 << 20, (16 << 20) + 5] {
            let bytes = pattern(len);
            let digest = put(&store, &bytes).await;
            assert_eq!(store.head(digest).await.unwrap(), Some(len as u64));
            assert!(store.has(digest, len as u64).await.unwrap());
            assert!(!store.has(digest, len as u64 + 1).await.unwrap());
            assert!(get(&store, digest).await.unwrap() == bytes);
            assert_eq!(store.check(digest).await.unwrap(), len as u64);
            for range in [0..0, 0..len, len / 3..len / 2, len..len] {
                let got = store.get_range(digest, range.start as u64..range.end as u64).await.unwrap();
                assert!(got == bytes[range]);
            }
        }
    }
}

#[tokio::test]
async fn a_payload_lies_under_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let store = PayloadStore::in_folder(folder.path()).unwrap();
    let name = put(&store, b"sealed").await.to_string();
    assert_eq!(files_in(folder.path()), [folder.path().join(&name[..2]).join(&name[2..4]).join(&name)]);
}

#[tokio::test]
async fn what_is_not_there_is_missing_and_not_an_error_of_the_store() {
    for (_folder, store) in stores() {
        let digest = digest_of(b"never put");
        assert_eq!(store.head(digest).await.unwrap(), None);
        assert!(matches!(store.get(digest).await, Err(GetError::Missing { .. })));
        assert!(matches!(store.get_range(digest, 0..1).await, Err(GetError::Missing { .. })));
        assert!(matches!(store.get_range(digest, 0..0).await, Err(GetError::Missing { .. })));
        assert!(matches!(store.check(digest).await, Err(GetError::Missing { .. })));
        store.delete(digest).await.unwrap();
    }
}

#[tokio::test]
async fn a_range_past_the_end_is_refused_and_not_shortened() {
    for (_folder, store) in stores() {
        let digest = put(&store, &pattern(100)).await;
        #[expect(clippy::reversed_empty_ranges, reason = "the point")]
        for range in [0..101, 99..101, 100..101, 200..300, 101..101, 7..3] {
            let got = store.get_range(digest, range.clone()).await;
            assert!(matches!(got, Err(GetError::NoSuchRange { len_bytes: 100, .. })), "{range:?}");
        }
    }
}

#[tokio::test]
async fn other_bytes_or_another_length_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = PayloadStore::in_folder(folder.path()).unwrap();
    for len in [1, 100_000, 9 << 20] {
        let bytes = pattern(len);
        let mut flipped = bytes.clone();
        flipped[len / 2] ^= 1;
        let digest = digest_of(&bytes);
        for (came, promised) in [(flipped, len), (bytes[1..].to_vec(), len), (bytes, len - 1)] {
            let put = store.put(digest, promised as u64, stream::iter(in_pieces(&came, 1 << 20))).await;
            match (came.len() == promised, put) {
                (true, Err(PutError::DigestMismatch { expected })) => assert_eq!(expected, digest),
                (false, Err(PutError::LengthMismatch { .. })) => {}
                (_, other) => panic!("{other:?}"),
            }
            assert_eq!(store.head(digest).await.unwrap(), None);
            assert_eq!(files_in(folder.path()), [] as [PathBuf; 0]);
        }
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let store = PayloadStore::in_folder(folder.path()).unwrap();
    let bytes = pattern(10 << 20);
    let mut pieces = in_pieces(&bytes, 1 << 20);
    pieces[9] = Err(io::ErrorKind::ConnectionReset.into());
    let broken = store.put(digest_of(&bytes), bytes.len() as u64, stream::iter(pieces)).await;
    assert!(matches!(broken, Err(PutError::Source(_))));
    assert_eq!(files_in(folder.path()), [] as [PathBuf; 0]);
    put(&store, &bytes).await;
}

#[tokio::test]
async fn an_upload_that_is_dropped_is_never_visible() {
    let folder = tempfile::tempdir().unwrap();
    let store = PayloadStore::in_folder(folder.path()).unwrap();
    let bytes = pattern(10 << 20);
    let digest = digest_of(&bytes);
    let never_ends = stream::iter(in_pieces(&bytes[..9 << 20], 1 << 20)).chain(stream::pending());
    let putting = store.put(digest, bytes.len() as u64, never_ends);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(300), putting).await.is_err());
    assert_eq!(store.head(digest).await.unwrap(), None);
    assert!(matches!(store.get(digest).await, Err(GetError::Missing { .. })));
}

#[tokio::test]
async fn a_flipped_bit_on_disk_is_corrupt_and_putting_again_heals_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = PayloadStore::in_folder(folder.path()).unwrap();
    let bytes = pattern(10_000);
    let digest = put(&store, &bytes).await;
    let file = folder.path().join(location(digest).as_ref());
    for bit in (0..80_000).step_by(997) {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &damaged).unwrap();
        assert!(matches!(store.check(digest).await, Err(GetError::Corrupt { .. })), "bit {bit}");
        assert!(matches!(get(&store, digest).await, Err(GetError::Corrupt { .. })), "bit {bit}");
    }
    for damaged in [&bytes[..9_999], &[], &[bytes.as_slice(), &[0]].concat()] {
        fs::write(&file, damaged).unwrap();
        assert!(matches!(store.check(digest).await, Err(GetError::Corrupt { .. })));
    }
    put(&store, &bytes).await;
    assert!(get(&store, digest).await.unwrap() == bytes);
}

#[tokio::test]
async fn deleting_twice_is_deleting_once() {
    for (_folder, store) in stores() {
        let digest = put(&store, b"sealed").await;
        store.delete(digest).await.unwrap();
        assert_eq!(store.head(digest).await.unwrap(), None);
        store.delete(digest).await.unwrap();
    }
}

#[tokio::test]
async fn sweeping_keeps_the_registered_and_the_young() {
    for (_folder, store) in stores() {
        let kept = put(&store, b"registered").await;
        let lost = put(&store, b"never registered").await;
        let nothing = store.sweep(UnixMillis::new(1), |_| false).await.unwrap();
        assert_eq!(nothing, Swept::default());
        let swept = store.sweep(LATER, |digest| *digest == kept).await.unwrap();
        assert_eq!(swept, Swept { payloads: 1, payload_bytes: 16, abandoned_uploads: 0 });
        assert_eq!(store.head(lost).await.unwrap(), None);
        assert_eq!(store.check(kept).await.unwrap(), 10);
    }
}

#[tokio::test]
async fn sweeping_removes_uploads_that_a_crash_cut_off_and_no_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = PayloadStore::in_folder(folder.path()).unwrap();
    let digest = put(&store, b"registered").await;
    let payload = folder.path().join(location(digest).as_ref());
    let staged = PathBuf::from(format!("{}#1", payload.display()));
    let foreign = folder.path().join("notes#1");
    fs::write(&staged, b"regis").unwrap();
    fs::write(&foreign, b"not ours").unwrap();
    assert_eq!(store.sweep(UnixMillis::new(1), |_| true).await.unwrap().abandoned_uploads, 0);
    assert_eq!(store.sweep(LATER, |_| true).await.unwrap().abandoned_uploads, 1);
    assert!(!staged.exists() && foreign.exists() && payload.exists());
}
