use super::*;
use axum::response::IntoResponse as _;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;

/// Bytes that no two places share.
fn payload(len: usize) -> Bytes {
    (0u32..).flat_map(u32::to_le_bytes).take(len).collect::<Vec<_>>().into()
}

fn digest(bytes: &[u8]) -> PayloadDigest {
    PayloadDigest::new(*blake3::hash(bytes).as_bytes())
}

fn uploader(seed: u8) -> PublicKey {
    PublicKey::new([seed; 32])
}

/// Uploads in a folder that goes when the test ends, and the vault that they go to.
struct Desk {
    folder: TempDir,
    uploads: Uploads,
    vault: PayloadStore,
}

fn desk(bounds: Bounds) -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let uploads = Uploads::within(&folder.path().join("uploads"), bounds).unwrap();
    let vault = PayloadStore::in_folder(folder.path().join("vault")).unwrap();
    Desk { folder, uploads, vault }
}

impl Desk {
    /// The same folder after a crash.
    fn reopen(&mut self) {
        self.uploads = Uploads::open(&self.folder.path().join("uploads")).unwrap();
    }

    async fn send(
        &self,
        name: Name,
        whole: &Bytes,
        range: std::ops::Range<usize>,
    ) -> Result<Progress, (u16, Option<u64>)> {
        let part = Part { from: range.start as u64, total: whole.len() as u64, bytes: whole.slice(range) };
        self.uploads.take(name, part, &self.vault).await.map_err(|error| {
            let response = error.into_response();
            let offset = response.headers().get(UPLOAD_OFFSET).map(|offset| offset.to_str().unwrap().parse().unwrap());
            (response.status().as_u16(), offset)
        })
    }

    fn files(&self) -> usize {
        fs::read_dir(self.folder.path().join("uploads")).unwrap().count()
    }
}

fn run<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

#[test]
fn an_upload_in_parts_is_the_payload() {
    run(async {
        let desk = desk(Bounds::default());
        let whole = payload(5_000_000);
        let name = (uploader(1), digest(&whole));
        assert_eq!(desk.uploads.offset(name), 0);
        assert_eq!(desk.send(name, &whole, 0..2_000_000).await, Ok(Progress::Staged(2_000_000)));
        assert_eq!((desk.uploads.offset(name), desk.uploads.staged_bytes(), desk.files()), (2_000_000, 2_000_000, 1));
        let mode = fs::metadata(desk.uploads.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(desk.send(name, &whole, 2_000_000..4_999_999).await, Ok(Progress::Staged(4_999_999)));
        assert_eq!(desk.send(name, &whole, 4_999_999..5_000_000).await, Ok(Progress::Stored));
        assert_eq!(desk.vault.check(name.1).await.unwrap(), 5_000_000);
        assert_eq!((desk.uploads.offset(name), desk.uploads.staged_bytes(), desk.files()), (0, 0, 0));
    });
}

#[test]
fn one_part_may_be_all_of_it() {
    run(async {
        let desk = desk(Bounds::default());
        let whole = payload(1);
        let name = (uploader(1), digest(&whole));
        assert_eq!(desk.send(name, &whole, 0..1).await, Ok(Progress::Stored));
        assert_eq!((desk.vault.check(name.1).await.unwrap(), desk.files()), (1, 0));
    });
}

#[test]
fn only_the_next_part_is_taken() {
    run(async {
        let desk = desk(Bounds::default());
        let whole = payload(100);
        let name = (uploader(1), digest(&whole));
        assert_eq!(desk.send(name, &whole, 10..20).await, Err((409, Some(0))));
        desk.send(name, &whole, 0..40).await.unwrap();
        for range in [0..40, 30..50, 41..50, 50..100] {
            assert_eq!(desk.send(name, &whole, range).await, Err((409, Some(40))));
        }
        assert_eq!(desk.send(name, &whole, 40..100).await, Ok(Progress::Stored));
    });
}

#[test]
fn an_upload_goes_on_after_a_crash() {
    run(async {
        let mut desk = desk(Bounds::default());
        let whole = payload(100);
        let name = (uploader(1), digest(&whole));
        desk.send(name, &whole, 0..40).await.unwrap();
        desk.reopen();
        assert_eq!(desk.uploads.offset(name), 40);
        desk.send(name, &whole, 40..60).await.unwrap();
        // A part that broke off in the middle, and was not answered.
        OpenOptions::new().append(true).open(desk.uploads.path(name)).unwrap().write_all(&whole[60..75]).unwrap();
        desk.reopen();
        assert_eq!(desk.uploads.offset(name), 75);
        assert_eq!(desk.send(name, &whole, 75..100).await, Ok(Progress::Stored));
        assert_eq!(desk.vault.check(name.1).await.unwrap(), 100);
    });
}

#[test]
fn the_last_part_can_be_sent_again_after_a_crash() {
    run(async {
        let mut desk = desk(Bounds::default());
        let whole = payload(100);
        let name = (uploader(1), digest(&whole));
        desk.send(name, &whole, 0..99).await.unwrap();
        // The vault fails: its folder is a file.
        let broken = desk.folder.path().join("broken");
        fs::write(&broken, b"").unwrap();
        let vault = PayloadStore::in_folder(desk.folder.path().join("other")).unwrap();
        fs::remove_dir_all(desk.folder.path().join("other")).unwrap();
        fs::rename(&broken, desk.folder.path().join("other")).unwrap();
        let part = Part { from: 99, total: 100, bytes: whole.slice(99..100) };
        let refused = desk.uploads.take(name, part, &vault).await.expect_err("nothing can be stored there");
        assert_eq!(refused.into_response().status(), 507);
        assert_eq!(desk.uploads.offset(name), 99);
        desk.reopen();
        assert_eq!(desk.uploads.offset(name), 99);
        assert_eq!(desk.send(name, &whole, 99..100).await, Ok(Progress::Stored));
    });
}

#[test]
fn what_is_not_what_the_digest_names_is_thrown_away() {
    run(async {
        let desk = desk(Bounds::default());
        let (whole, other) = (payload(100), Bytes::from(vec![7; 100]));
        let name = (uploader(1), digest(&whole));
        desk.send(name, &whole, 0..40).await.unwrap();
        assert_eq!(desk.send(name, &other, 40..100).await, Err((422, None)));
        assert_eq!((desk.uploads.offset(name), desk.files()), (0, 0));
        assert_eq!(desk.vault.head(name.1).await.unwrap(), None);
        // Fewer bytes than it has are not it either.
        assert_eq!(desk.send(name, &whole.slice(0..99), 0..99).await, Err((422, None)));
        assert_eq!(desk.send(name, &whole, 0..100).await, Ok(Progress::Stored));
    });
}

#[test]
fn what_was_staged_and_then_damaged_is_not_stored() {
    run(async {
        let desk = desk(Bounds::default());
        let whole = payload(100);
        let name = (uploader(1), digest(&whole));
        desk.send(name, &whole, 0..40).await.unwrap();
        let mut bytes = fs::read(desk.uploads.path(name)).unwrap();
        bytes[7] ^= 1;
        fs::write(desk.uploads.path(name), bytes).unwrap();
        assert_eq!(desk.send(name, &whole, 40..100).await, Err((422, None)));
        assert_eq!(desk.vault.head(name.1).await.unwrap(), None);
    });
}

#[test]
fn nobody_touches_the_upload_of_somebody_else() {
    run(async {
        let desk = desk(Bounds::default());
        let whole = payload(100);
        let (mine, theirs) = ((uploader(1), digest(&whole)), (uploader(2), digest(&whole)));
        desk.send(mine, &whole, 0..40).await.unwrap();
        assert_eq!(desk.uploads.offset(theirs), 0);
        assert_eq!(desk.send(theirs, &Bytes::from(vec![7; 100]), 0..100).await, Err((422, None)));
        assert_eq!(desk.send(mine, &whole, 40..100).await, Ok(Progress::Stored));
        assert_eq!(desk.send(theirs, &whole, 0..100).await, Ok(Progress::Stored), "storing it again does no harm");
    });
}

#[test]
fn one_person_takes_so_much_room_and_no_more() {
    run(async {
        let desk = desk(Bounds { count: 2, bytes: 100, count_in_all: 3, ..Bounds::default() });
        let name = |seed: u8, number: u8| (uploader(seed), PayloadDigest::new([number; 32]));
        let whole = payload(100);
        assert_eq!(desk.send(name(1, 1), &payload(101), 0..10).await, Err((507, None)), "it could never be complete");
        desk.send(name(1, 1), &whole, 0..60).await.unwrap();
        assert_eq!(desk.send(name(1, 2), &whole, 0..41).await, Err((507, None)));
        desk.send(name(1, 2), &whole, 0..40).await.unwrap();
        assert_eq!(desk.send(name(1, 1), &whole, 60..61).await, Err((507, None)));
        assert_eq!(desk.send(name(1, 3), &whole, 0..1).await, Err((507, None)), "two at a time");
        desk.send(name(2, 1), &whole, 0..60).await.unwrap();
        assert_eq!(desk.send(name(3, 1), &whole, 0..1).await, Err((507, None)), "three in all");
        assert_eq!(desk.uploads.staged_bytes(), 160);
    });
}

#[test]
fn what_nobody_goes_on_with_is_swept_and_nothing_else() {
    run(async {
        let desk = desk(Bounds::default());
        let whole = payload(100);
        let (old, young) = ((uploader(1), digest(&whole)), (uploader(2), digest(&whole)));
        desk.send(old, &whole, 0..40).await.unwrap();
        desk.send(young, &whole, 0..40).await.unwrap();
        let now = SystemTime::now();
        desk.uploads.sweep_at(now + Duration::from_secs(9 * 60));
        assert_eq!(desk.files(), 2);
        // The younger one gets another part, nine minutes later.
        desk.uploads.stages()[&young].far().touched = now + Duration::from_secs(9 * 60);
        desk.uploads.sweep_at(now + Duration::from_secs(10 * 60));
        assert_eq!((desk.uploads.offset(old), desk.uploads.offset(young), desk.files()), (0, 40, 1));
        assert_eq!(desk.send(old, &whole, 40..100).await, Err((409, Some(0))));
        assert_eq!(desk.send(young, &whole, 40..100).await, Ok(Progress::Stored));
    });
}

#[test]
fn an_upload_that_is_being_written_is_not_swept() {
    run(async {
        let desk = desk(Bounds::default());
        let whole = payload(100);
        let name = (uploader(1), digest(&whole));
        desk.send(name, &whole, 0..40).await.unwrap();
        let stage = Arc::clone(&desk.uploads.stages()[&name]);
        let turn = stage.turn.lock().await;
        desk.uploads.sweep_at(SystemTime::now() + Duration::from_secs(3600));
        assert_eq!((desk.uploads.offset(name), desk.files()), (40, 1));
        drop(turn);
        desk.uploads.sweep_at(SystemTime::now() + Duration::from_secs(3600));
        assert_eq!((desk.uploads.offset(name), desk.files()), (0, 0));
    });
}

#[test]
fn the_same_part_twice_at_once_is_taken_once() {
    run(async {
        let desk = desk(Bounds::default());
        let whole = payload(3_000_000);
        let name = (uploader(1), digest(&whole));
        let (a, b) = tokio::join!(desk.send(name, &whole, 0..1_000_000), desk.send(name, &whole, 0..1_000_000));
        assert_eq!(
            [a, b].iter().filter(|result| **result == Ok(Progress::Staged(1_000_000))).count(),
            1,
            "{a:?} {b:?}"
        );
        assert!([a, b].contains(&Err((409, Some(1_000_000)))), "{a:?} {b:?}");
        let rest = 1_000_000..3_000_000;
        let (a, b) = tokio::join!(desk.send(name, &whole, rest.clone()), desk.send(name, &whole, rest));
        assert_eq!((a, b), (Ok(Progress::Stored), Ok(Progress::Stored)), "who comes second finds it stored");
        assert_eq!(desk.files(), 0);
    });
}

#[test]
fn what_is_no_upload_is_left_alone() {
    run(async {
        let mut desk = desk(Bounds::default());
        let folder = desk.folder.path().join("uploads");
        fs::write(folder.join("README"), b"not ours").unwrap();
        fs::create_dir(folder.join(format!("{}-{}", "00".repeat(32), "11".repeat(32)))).unwrap();
        desk.reopen();
        desk.uploads.sweep_at(SystemTime::now() + Duration::from_secs(3600));
        assert_eq!((desk.uploads.staged_bytes(), desk.files()), (0, 2));
    });
}
