//! A folder of secrets that can forget.

use super::*;
use crate::custodian::store::Slot;
use dmdl_types::id::{RecordId, RecordVersion, ShareEpoch};
use rand::{SeedableRng as _, rngs::ChaCha20Rng};
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn share(record: u8, epoch: u32) -> KeyName {
    let (version, epoch) = (RecordVersion::new(1), ShareEpoch::new(epoch));
    KeyName::of_share(Slot { record: RecordId::new([record; 32]), version, epoch })
}

fn secret(byte: u8) -> Secret32 {
    Secret32::new([byte; 32])
}

fn read(keys: &FileKeys, name: KeyName) -> Option<u8> {
    keys.get(name).unwrap().map(|secret| secret.expose(|bytes| bytes[0]))
}

struct Place {
    /// Kept: dropping it removes the folder.
    _outer: TempDir,
    folder: PathBuf,
    root: PathBuf,
}

fn place() -> Place {
    let outer = TempDir::new().unwrap();
    let (folder, root) = (outer.path().join("keys"), outer.path().join("root"));
    Place { _outer: outer, folder, root }
}

impl Place {
    fn open(&self) -> Result<FileKeys, StoreError> {
        FileKeys::open(&self.folder, &self.root)
    }

    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    fn restore(&self, files: &[(PathBuf, Vec<u8>)]) {
        for (path, bytes) in files {
            fs::write(path, bytes).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn corrupt(result: Result<FileKeys, StoreError>) -> &'static str {
    match result {
        Err(StoreError::Corrupt { what }) => what,
        other => panic!("not corrupt: {other:?}"),
    }
}

#[test]
fn secrets_survive_a_restart() {
    let place = place();
    let mut keys = place.open().unwrap();
    let dealing = KeyName::of_dealing_key(&[1; 32]);
    keys.change(&mut rng(1), &[(share(1, 0), secret(11)), (dealing, secret(12))], &[]).unwrap();
    keys.change(&mut rng(2), &[(share(2, 0), secret(21))], &[]).unwrap();
    let reopened = place.open().unwrap();
    for keys in [&keys, &reopened] {
        assert_eq!(read(keys, share(1, 0)), Some(11));
        assert_eq!(read(keys, dealing), Some(12), "of the same bucket");
        assert_eq!(read(keys, share(2, 0)), Some(21));
        assert_eq!(read(keys, share(1, 1)), None);
        let names: std::collections::BTreeSet<KeyName> = keys.names().unwrap().into_iter().collect();
        assert_eq!(names, [share(1, 0), dealing, share(2, 0)].into());
    }
}

#[test]
fn a_secret_that_is_put_again_replaces_the_first() {
    let place = place();
    let mut keys = place.open().unwrap();
    keys.change(&mut rng(1), &[(share(1, 0), secret(11))], &[]).unwrap();
    keys.change(&mut rng(2), &[(share(1, 0), secret(12))], &[]).unwrap();
    assert_eq!(read(&place.open().unwrap(), share(1, 0)), Some(12));
}

#[test]
fn a_destroyed_secret_is_gone_and_its_neighbours_stay() {
    let place = place();
    let mut keys = place.open().unwrap();
    keys.change(&mut rng(1), &[(share(1, 0), secret(11)), (share(1, 1), secret(12))], &[]).unwrap();
    keys.change(&mut rng(2), &[], &[share(1, 0), share(9, 0)]).unwrap();
    let mut reopened = place.open().unwrap();
    assert_eq!((read(&reopened, share(1, 0)), read(&reopened, share(1, 1))), (None, Some(12)));
    reopened.change(&mut rng(3), &[], &[share(1, 1)]).unwrap();
    assert_eq!(place.files().len(), 1, "an empty bucket has no file, the table stays");
    assert_eq!(read(&place.open().unwrap(), share(1, 1)), None);
}

#[test]
fn destroying_what_is_unknown_writes_nothing() {
    let place = place();
    let mut keys = place.open().unwrap();
    keys.change(&mut rng(1), &[(share(1, 0), secret(11))], &[]).unwrap();
    let before = (place.files(), fs::read(&place.root).unwrap());
    keys.change(&mut rng(2), &[], &[share(2, 0)]).unwrap();
    assert_eq!((place.files(), fs::read(&place.root).unwrap()), before);
}

#[test]
fn after_a_destruction_older_copies_have_no_key() {
    let place = place();
    let mut keys = place.open().unwrap();
    keys.change(&mut rng(1), &[(share(1, 0), secret(11)), (share(2, 0), secret(21))], &[]).unwrap();
    let (copy, old_root) = (place.files(), fs::read(&place.root).unwrap());
    keys.change(&mut rng(2), &[], &[share(1, 0)]).unwrap();
    let new_root = fs::read(&place.root).unwrap();
    assert_ne!(old_root[8..], new_root[8..]);

    // The copied files beside the new root key: they are strays, and the secret stays gone.
    place.restore(&copy);
    let reopened = place.open().unwrap();
    assert_eq!((read(&reopened, share(1, 0)), read(&reopened, share(2, 0))), (None, Some(21)));

    // The copied table under the new one's name: it does not decrypt.
    let old_table = copy.iter().find(|(path, _)| path.ends_with(table_name(1))).unwrap();
    let new_table = fs::read(place.folder.join(table_name(2))).unwrap();
    fs::write(place.folder.join(table_name(2)), &old_table.1).unwrap();
    assert!(matches!(place.open(), Err(StoreError::Damaged { .. })));
    fs::write(place.folder.join(table_name(2)), new_table).unwrap();

    // The old bucket under the generation that the table names: neither.
    let (_, old_bucket) = copy.iter().find(|(path, _)| path.ends_with(bucket_name(1, 1))).unwrap();
    let key = &keys.table[&2].key;
    assert!(decrypt(key, &bucket_aad(1, 1), old_bucket).is_err());
    let (_, root_key) = line(&new_root).unwrap();
    assert!(decrypt(&root_key, &1_u64.to_le_bytes(), &old_table.1).is_err());

    // And the old root key, which alone would open them, is in no file.
    for (path, bytes) in place.files().into_iter().chain([(place.root.clone(), new_root)]) {
        assert!(!bytes.windows(32).any(|window| window == &old_root[8..]), "{}", path.display());
    }
    // With it, they do open: the test would see a copy that still has its key.
    let (_, root_key) = line(&old_root).unwrap();
    assert!(decrypt(&root_key, &1_u64.to_le_bytes(), &old_table.1).is_ok());
}

#[test]
fn the_old_root_key_is_wiped_in_place() {
    let place = place();
    let mut keys = place.open().unwrap();
    keys.change(&mut rng(1), &[(share(1, 0), secret(11))], &[]).unwrap();
    let mut old = File::open(&place.root).unwrap();
    keys.change(&mut rng(2), &[], &[share(1, 0)]).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut old, &mut bytes).unwrap();
    assert_eq!(bytes, [0; LINE_LEN]);
}

#[test]
fn no_secret_lies_in_the_open() {
    let place = place();
    let mut keys = place.open().unwrap();
    keys.change(&mut rng(1), &[(share(1, 0), secret(11))], &[]).unwrap();
    for (path, bytes) in place.files() {
        assert!(!bytes.windows(32).any(|window| window == [11; 32]), "{}", path.display());
        assert!(!bytes.windows(32).any(|window| window == [1; 32]), "a record's id, in {}", path.display());
    }
}

#[test]
fn every_altered_byte_is_noticed() {
    let place = place();
    let mut keys = place.open().unwrap();
    keys.change(&mut rng(1), &[(share(1, 0), secret(11))], &[]).unwrap();
    for (path, bytes) in place.files() {
        for position in (0..bytes.len()).step_by(97) {
            let mut altered = bytes.clone();
            altered[position] ^= 1;
            fs::write(&path, altered).unwrap();
            let found = place.open().and_then(|keys| keys.get(share(1, 0)));
            let Err(StoreError::Damaged { path: told, .. }) = found else { panic!("{} {position}", path.display()) };
            assert_eq!(told, path, "{position}");
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert_eq!(read(&place.open().unwrap(), share(1, 0)), Some(11));
}

#[test]
fn a_missing_file_is_noticed() {
    let place = place();
    let mut keys = place.open().unwrap();
    keys.change(&mut rng(1), &[(share(1, 0), secret(11))], &[]).unwrap();
    fs::remove_file(place.folder.join(table_name(1))).unwrap();
    assert!(matches!(place.open(), Err(StoreError::Damaged { .. })));
}

#[test]
fn without_a_bucket_that_was_moved_away_its_secrets_are_lost_and_the_others_stay() {
    let place = place();
    let mut keys = place.open().unwrap();
    keys.change(&mut rng(1), &[(share(1, 0), secret(11)), (share(2, 0), secret(21))], &[]).unwrap();
    let moved = place.folder.join(bucket_name(1, 1));
    fs::remove_file(&moved).unwrap();
    let mut keys = place.open().unwrap();
    assert_eq!(keys.lost(), [moved]);
    assert_eq!((read(&keys, share(1, 0)), read(&keys, share(2, 0))), (None, Some(21)));
    keys.change(&mut rng(2), &[(share(1, 1), secret(12))], &[]).unwrap();
    let keys = place.open().unwrap();
    assert!(keys.lost().is_empty());
    assert_eq!((read(&keys, share(1, 1)), read(&keys, share(2, 0))), (Some(12), Some(21)));
}

#[test]
fn a_lost_root_key_is_not_taken_for_a_first_start() {
    let place = place();
    place.open().unwrap().change(&mut rng(1), &[(share(1, 0), secret(11))], &[]).unwrap();
    fs::remove_file(&place.root).unwrap();
    assert_eq!(corrupt(place.open()), "the root key is missing");
}

#[test]
fn what_an_interrupted_change_left_is_removed_and_changes_nothing() {
    let place = place();
    place.open().unwrap().change(&mut rng(1), &[(share(1, 0), secret(11))], &[]).unwrap();
    let before = place.files().len();
    for name in [bucket_name(1, 2), bucket_name(7, 2), table_name(2)] {
        fs::write(place.folder.join(name), b"torn").unwrap();
    }
    fs::write(place.root.with_extension("new"), b"torn").unwrap();
    let mut keys = place.open().unwrap();
    assert_eq!(place.files().len(), before);
    assert!(!place.root.with_extension("new").exists());
    assert_eq!(read(&keys, share(1, 0)), Some(11));
    keys.change(&mut rng(2), &[(share(2, 0), secret(21))], &[]).unwrap();
    assert_eq!(read(&place.open().unwrap(), share(2, 0)), Some(21));
}

#[test]
fn a_first_change_that_a_crash_interrupts_does_not_stop_the_next_start() {
    let place = place();
    drop(place.open().unwrap());
    fs::write(place.folder.join(table_name(1)), b"torn").unwrap();
    let mut keys = place.open().unwrap();
    keys.change(&mut rng(1), &[(share(1, 0), secret(11))], &[]).unwrap();
    assert_eq!(read(&place.open().unwrap(), share(1, 0)), Some(11));
}

#[test]
fn after_a_failed_change_the_store_is_closed() {
    let place = place();
    let mut keys = place.open().unwrap();
    keys.change(&mut rng(1), &[(share(1, 0), secret(11))], &[]).unwrap();
    // Something is in the way of the next table.
    fs::create_dir(place.folder.join(table_name(2))).unwrap();
    assert!(keys.change(&mut rng(2), &[], &[share(1, 0)]).is_err());
    assert!(matches!(keys.get(share(1, 0)), Err(StoreError::Closed)));
    assert!(matches!(keys.change(&mut rng(3), &[], &[]), Err(StoreError::Closed)));
    fs::remove_dir(place.folder.join(table_name(2))).unwrap();
    assert_eq!(read(&place.open().unwrap(), share(1, 0)), Some(11), "the change did not happen");
}

#[test]
fn files_are_for_their_owner_alone_and_others_are_refused() {
    let place = place();
    place.open().unwrap().change(&mut rng(1), &[(share(1, 0), secret(11))], &[]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place.folder), mode(&place.root)), (0o700, 0o600));
    assert!(place.files().iter().all(|(path, _)| mode(path) == 0o600));
    for (path, open_to_others, private) in [(&place.folder, 0o750, 0o700), (&place.root, 0o640, 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(open_to_others)).unwrap();
        assert_eq!(corrupt(place.open()), "other users may reach the key store or its root key");
        fs::set_permissions(path, fs::Permissions::from_mode(private)).unwrap();
    }
    let elsewhere = place.root.with_extension("elsewhere");
    fs::rename(&place.root, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &place.root).unwrap();
    assert_eq!(corrupt(place.open()), "the key store or its root key is a link");
}

#[test]
fn files_and_memory_behave_alike() {
    let place = place();
    let mut keys = place.open().unwrap();
    let mut memory = super::super::MemoryKeys::default();
    let names = [share(1, 0), share(1, 1), share(2, 0), KeyName::of_dealing_key(&[1; 32])];
    for step in 0..40_u8 {
        let name = names[usize::from(step) * 7 % 4];
        let (put, destroy) = if step % 3 == 0 { (vec![], vec![name]) } else { (vec![(name, secret(step))], vec![]) };
        keys.change(&mut rng(u64::from(step)), &put, &destroy).unwrap();
        memory.change(&mut rng(u64::from(step)), &put, &destroy).unwrap();
        if step % 5 == 0 {
            keys = place.open().unwrap();
        }
        for name in names {
            let expected = memory.get(name).unwrap().map(|secret| secret.expose(|bytes| bytes[0]));
            assert_eq!(read(&keys, name), expected, "step {step}, {name:?}");
        }
    }
}

/// The example of docs/spec/custodian.md.
#[test]
fn the_example_of_the_page_holds() {
    let sealed = encrypt(&secret(0x22), &bucket_aad(3, 2), &{
        let mut entry = share(3, 0).as_bytes().to_vec();
        entry.extend_from_slice(&[0x11; 32]);
        entry
    });
    assert_eq!(
        hex::encode(sealed.unwrap()),
        "52c8f87385018b0fe4e0466ddc14d736d452f5e120327caae23036759d0c3687870773805ac26b3f0ca352cd\
         ee49c6cce0a2a46e91f304c69c9ce2739657bd6b87593bb57aed023d7304e2c39b71df9aad816fe671f5d69a06"
    );
}
