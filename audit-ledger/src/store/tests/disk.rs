//! What holds for the store on disk: after crashes, under damage, and against a second process.

use super::Folder;
use crate::store::{
    Batch, FORMAT_KEY, FORMAT_VERSION, MemoryBudget, Reader as _, RocksStore, Space, Store as _, StoreError,
};
use std::{
    env,
    fs::{self, OpenOptions},
    path::Path,
    process::Command,
};

/// A version that comes later.
const NEWER: u32 = FORMAT_VERSION + 1;

fn open(folder: &Path) -> Result<RocksStore, StoreError> {
    RocksStore::open(folder, &MemoryBudget::default())
}

/// A batch that writes `n` into several spaces: whole or absent.
fn commit(store: &RocksStore, n: u8) {
    let mut batch = Batch::new();
    batch.put(Space::State, [n], [n; 100]);
    batch.put(Space::Log, [n], [n; 100]);
    batch.put(Space::Meta, "height", [n]);
    store.commit(batch).unwrap();
}

/// The last number that was committed, after checking that every batch up to it is whole.
fn height(store: &RocksStore) -> u8 {
    let last = store.get(Space::Meta, b"height").unwrap().map_or(0, |value| value[0]);
    for n in 1..=20 {
        let expected = (n <= last).then(|| vec![n; 100]);
        assert_eq!(store.get(Space::State, &[n]).unwrap(), expected, "{n} of {last}");
        assert_eq!(store.get(Space::Log, &[n]).unwrap(), expected, "{n} of {last}");
    }
    last
}

/// A folder with ten commits, closed, all of them still in the write-ahead log.
fn ten_commits() -> Folder {
    let folder = Folder::new();
    let store = open(folder.path()).unwrap();
    for n in 1..=10 {
        commit(&store, n);
    }
    folder
}

/// Flips one bit of the first byte of a run of `n`s.
fn damage(file: &Path, n: u8) {
    let mut bytes = fs::read(file).unwrap();
    let at = bytes.windows(50).position(|window| window == [n; 50]).expect("the value is in the file");
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// Takes the note of what is durable away, as a power cut may: it is not synced.
fn forget_note(folder: &Path) {
    fs::remove_file(folder.join("COMMITTED")).unwrap();
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let folder = ten_commits();
    for _ in 0..2 {
        assert_eq!(height(&open(folder.path()).unwrap()), 10);
    }
}

#[test]
fn a_commit_is_durable_before_the_store_is_closed() {
    let folder = Folder::new();
    let store = open(folder.path()).unwrap();
    for n in 1..=10 {
        commit(&store, n);
        let copy = Folder::copy_of(folder.path());
        assert_eq!(height(&open(copy.path()).unwrap()), n);
    }
}

#[test]
fn a_torn_last_commit_is_absent_as_a_whole_and_the_others_are_there() {
    let folder = ten_commits();
    let len = fs::metadata(folder.file(".log")).unwrap().len();
    let mut last = 10;
    for cut in (1..len).step_by(97) {
        let copy = Folder::copy_of(folder.path());
        OpenOptions::new().write(true).open(copy.file(".log")).unwrap().set_len(len - cut).unwrap();
        forget_note(copy.path());
        let store = open(copy.path()).unwrap();
        let now = height(&store);
        assert!(now < 10 && now <= last, "{now} after cutting {cut}");
        last = now;
        commit(&store, now + 1);
        assert_eq!(height(&store), now + 1);
    }
    assert_eq!(last, 0);
}

#[test]
fn damage_in_the_middle_of_the_log_is_refused_and_not_rolled_back() {
    let folder = ten_commits();
    for n in [1, 5, 9] {
        let copy = Folder::copy_of(folder.path());
        damage(&copy.file(".log"), n);
        let error = open(copy.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
        assert!(error.is_fatal());
    }
}

#[test]
fn commits_that_were_durable_and_cannot_be_read_are_refused_and_not_dropped() {
    let folder = ten_commits();
    let len = fs::metadata(folder.file(".log")).unwrap().len();
    for cut in (1..len).step_by(97) {
        let copy = Folder::copy_of(folder.path());
        OpenOptions::new().write(true).open(copy.file(".log")).unwrap().set_len(len - cut).unwrap();
        let error = open(copy.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    }
}

/// The limit that docs/adr/0007-rocksdb-build.md names: without a note, what the store then shows is older, but whole.
#[test]
fn a_damaged_record_length_at_the_end_of_the_log_looks_like_a_torn_tail_to_who_has_no_note() {
    let folder = ten_commits();
    let log = folder.file(".log");
    let mut bytes = fs::read(&log).unwrap();
    // A record is crc[4] ‖ len u16-le ‖ type u8 ‖ payload.
    let mut at = 0;
    loop {
        let len = usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
        if bytes[at + 7..][..len].windows(50).any(|window| window == [6; 50]) {
            break;
        }
        at += 7 + len;
    }
    bytes[at + 5] = 0x7f;
    fs::write(&log, bytes).unwrap();
    let noted = Folder::copy_of(folder.path());
    assert!(matches!(open(noted.path()).unwrap_err(), StoreError::Corrupt(_)));
    forget_note(folder.path());
    assert_eq!(height(&open(folder.path()).unwrap()), 5);
}

#[test]
fn damage_in_a_table_is_an_error_and_never_an_answer() {
    let folder = Folder::new();
    drop(open(folder.path()).unwrap());
    let store = open(folder.path()).unwrap();
    let mut batch = Batch::new();
    // Random enough that compression leaves it alone.
    let value: Vec<u8> = (0..2000u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    batch.put(Space::State, "a", value.clone());
    store.commit(batch).unwrap();
    drop(store);
    // Opening again moves the log into tables.
    drop(open(folder.path()).unwrap());
    let damaged = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).find(|path| {
        let bytes = fs::read(path).unwrap();
        path.to_string_lossy().ends_with(".sst") && bytes.windows(100).any(|window| window == &value[50..150])
    });
    let table = damaged.expect("a table holds the value");
    let mut bytes = fs::read(&table).unwrap();
    let at = bytes.windows(100).position(|window| window == &value[50..150]).unwrap();
    bytes[at] ^= 1;
    fs::write(&table, bytes).unwrap();
    let store = open(folder.path()).unwrap();
    assert!(matches!(store.get(Space::State, b"a"), Err(StoreError::Corrupt(_))));
    assert!(matches!(store.scan(Space::State, &[], None, 10), Err(StoreError::Corrupt(_))));
}

#[test]
fn a_missing_file_is_damage_and_not_an_empty_store() {
    let folder = ten_commits();
    // Opening again moves the log into tables.
    drop(open(folder.path()).unwrap());
    let names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name == "CURRENT" || name.starts_with("MANIFEST") || name.ends_with(".sst"))
        .collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let copy = Folder::copy_of(folder.path());
        fs::remove_file(copy.path().join(&name)).unwrap();
        let error = open(copy.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "without `{name}`: {error:?}");
    }
}

#[test]
fn an_open_store_is_not_opened_again() {
    let folder = Folder::new();
    let store = open(folder.path()).unwrap();
    let clone = store.clone();
    drop(store);
    assert!(matches!(open(folder.path()), Err(StoreError::Locked(_))));
    drop(clone);
    assert!(open(folder.path()).is_ok());
}

#[test]
fn another_process_is_kept_out() {
    let folder = Folder::new();
    let _store = open(folder.path()).unwrap();
    let probe = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "store::tests::disk::probe_of_another_process"])
        .env(PROBED, folder.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&probe.stdout);
    assert!(probe.status.success() && output.contains("1 passed"), "{output}");
}

const PROBED: &str = "DMDL_TEST_PROBED_STORE";

#[test]
#[ignore = "run by `another_process_is_kept_out` in a process of its own"]
fn probe_of_another_process() {
    let folder = env::var_os(PROBED).expect("the folder of an open store");
    assert!(matches!(open(Path::new(&folder)), Err(StoreError::Locked(_))));
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_alone() {
    let folder = ten_commits();
    let store = open(folder.path()).unwrap();
    let mut batch = Batch::new();
    batch.put(Space::Meta, FORMAT_KEY, NEWER.to_le_bytes());
    store.commit(batch).unwrap();
    drop(store);
    assert_eq!(open(folder.path()).unwrap_err(), StoreError::Version { found: NEWER, known: FORMAT_VERSION });
}

#[test]
fn a_store_with_spaces_of_a_newer_version_says_which_version_it_is() {
    let folder = ten_commits();
    let store = open(folder.path()).unwrap();
    let mut batch = Batch::new();
    batch.put(Space::Meta, FORMAT_KEY, NEWER.to_le_bytes());
    store.commit(batch).unwrap();
    drop(store);
    let names = Space::ALL.map(Space::name).into_iter().chain(["default", "later"]);
    let mut options = rocksdb::Options::default();
    options.create_missing_column_families(true);
    drop(rocksdb::DB::open_cf(&options, folder.path(), names).unwrap());
    assert_eq!(open(folder.path()).unwrap_err(), StoreError::Version { found: NEWER, known: FORMAT_VERSION });
}

#[test]
fn data_without_a_format_marker_is_refused() {
    let folder = ten_commits();
    let store = open(folder.path()).unwrap();
    let mut batch = Batch::new();
    batch.delete(Space::Meta, FORMAT_KEY);
    store.commit(batch).unwrap();
    drop(store);
    assert!(matches!(open(folder.path()), Err(StoreError::Corrupt(_))));
}

#[test]
fn a_folder_that_is_none_is_an_error() {
    let folder = Folder::new();
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    assert!(matches!(open(&file), Err(StoreError::Io(_))));
}

#[test]
fn what_is_kept_is_there_after_opening_again_and_what_a_crash_left_of_it_is_removed() {
    let folder = ten_commits();
    open(folder.path()).unwrap().keep(10).unwrap();
    let kept = folder.path().join("kept");
    for left in ["12.tmp", "11"] {
        fs::create_dir(kept.join(left)).unwrap();
        fs::write(kept.join(left).join("000001.sst"), "a part").unwrap();
    }
    let store = open(folder.path()).unwrap();
    commit(&store, 11);
    store.keep_only(&[10]).unwrap();
    let names: Vec<_> = fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["10"]);
    let then = store.kept(10).unwrap().unwrap();
    assert_eq!(then.get(Space::Meta, b"height").unwrap(), Some(vec![10]));
    assert_eq!(height(&store), 11);
}

#[test]
fn a_store_moves_to_an_empty_place_once_nothing_uses_it() {
    let (folder, place) = (ten_commits(), Folder::new());
    let store = open(folder.path()).unwrap();
    let used = store.clone();
    assert!(matches!(store.move_to(place.path()), Err(StoreError::Locked(_))));
    assert!(used.move_to(place.path()).is_ok());
    assert!(!RocksStore::is_in(folder.path()));
    assert_eq!(height(&open(place.path()).unwrap()), 10);
}

/// What [`a_store_that_was_moved_has_its_name_for_good`] follows in a process of its own.
#[test]
#[ignore = "run by another test"]
fn a_move_that_is_followed() {
    let folder = Folder::new();
    let (from, to) = (folder.path().join("ledger.part"), folder.path().join("ledger"));
    commit(&open(&from).unwrap(), 1);
    open(&from).unwrap().move_to(&to).unwrap();
    // In one piece, so that it is one call.
    let said = format!("said where it is: {}\n", folder.path().display());
    eprint!("{said}");
}

#[test]
fn a_store_that_was_moved_has_its_name_for_good() {
    let test = "store::tests::disk::a_move_that_is_followed";
    let Some(calls) = crate::testing::calls_of(test, "rename,renameat,renameat2,write,fsync,fdatasync") else {
        return;
    };
    let moved = calls.iter().position(|call| call.starts_with("rename") && call.contains("ledger.part\", "));
    let said = calls.iter().position(|call| call.contains("said where it is")).expect("it says where it is");
    let (folder, _) =
        calls[said].split_once("said where it is: ").and_then(|(_, rest)| rest.split_once("\\n")).unwrap();
    let between = &calls[moved.expect("it is moved")..said];
    let is_synced = |call: &String| call.starts_with("fsync(") && call.contains(&format!("<{folder}>"));
    assert!(between.iter().any(is_synced), "the name of what was moved is not for good: {between:#?}");
}

#[test]
fn who_reads_while_others_write_sees_no_row_older_than_one_that_it_has_seen() {
    const WRITES: u32 = 500;
    let folder = Folder::new();
    let store = open(folder.path()).unwrap();
    let number = |key: &[u8]| {
        let value = store.get(Space::State, key).unwrap().unwrap_or_else(|| vec![0; 4]);
        u32::from_be_bytes(value.try_into().unwrap())
    };
    let write = |own: u8| {
        for n in 1..=WRITES {
            let mut batch = Batch::new();
            batch.put(Space::State, [own, 1], n.to_be_bytes());
            batch.put(Space::State, [own, 2], n.to_be_bytes());
            store.commit(batch).unwrap();
            assert_eq!(number(&[own, 1]), n);
        }
    };
    let read = |(one, other)| {
        let mut least = 0;
        while least < WRITES {
            least = WRITES;
            for own in [b'a', b'b'] {
                let seen = number(&[own, one]);
                let then = number(&[own, other]);
                assert!(then >= seen, "{then} after {seen}");
                least = least.min(seen);
            }
        }
    };
    std::thread::scope(|scope| {
        let (write, read) = (&write, &read);
        for (own, keys) in [(b'a', (1, 2)), (b'b', (2, 1))] {
            scope.spawn(move || write(own));
            scope.spawn(move || read(keys));
        }
    });
}
