use super::*;
use crate::local::os_rng;
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::geteuid,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
};
use tempfile::TempDir;

const PAGE: &str = include_str!("../../docs/spec/keyfile.md");
const PASSPHRASE: &[u8] = b"correct horse battery staple";
/// The cheapest wrapping that a file may ask for, so that thousands of files are tried.
const CHEAP: &str = "8 1 1 51515151515151515151515151515151";

const RAW: &str = "\
dmdl-key-v1
key 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c
org org-1
name dr-green
role owner
secret 0101010101010101010101010101010101010101010101010101010101010101
";
/// Made by another implementation, from the page.
const WRAPPED: &str = "\
dmdl-key-v1
key 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c
org org-1
name dr-green
role owner
argon2id 65536 3 1 51515151515151515151515151515151
wrapped e91c672abad3fe024eb452be91aa950a30f6bed9813e96ecb73751b63ef297b98308f422621ec49fbb78fd0214dc5ce1
";

fn green() -> Identity {
    let key = SigningKey::from_seed(Secret32::new([1; 32]));
    let (org, name) = ("org-1".parse().unwrap(), "dr-green".parse().unwrap());
    Identity { person: Person { key: key.public(), org, name, role: Role::Owner }, key }
}

fn seed(identity: &Identity) -> [u8; 32] {
    identity.key.seed().expose(|seed| *seed)
}

fn wrapped(wrap: &str) -> String {
    print(&green(), Some((PASSPHRASE, Wrap::parse(wrap).unwrap()))).unwrap().to_string()
}

fn parsed(bytes: &[u8]) -> Result<Locked, KeyFileError> {
    parse(Path::new("a.key"), bytes)
}

fn unlocked(bytes: &[u8]) -> Result<Identity, KeyFileError> {
    parsed(bytes)?.unlock(Some(PASSPHRASE))
}

/// A folder with one key file, which every reader accepts.
fn folder() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.key");
    write(&path, &green(), None, &mut os_rng()).unwrap();
    (dir, path)
}

fn names(dir: &TempDir) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    fs::read_dir(dir.path()).unwrap().map(name).collect()
}

fn refused_by_permissions(path: &Path, why: &str) {
    let error = read(path).unwrap_err();
    assert!(matches!(&error, KeyFileError::Permissions { reason, .. } if reason.contains(why)), "{error}");
    assert!(matches!(read_secret(path), Err(KeyFileError::Permissions { .. })));
}

#[test]
fn the_examples_of_the_page_are_what_is_written() {
    let wrap = Wrap::parse("65536 3 1 51515151515151515151515151515151").unwrap();
    assert_eq!(*print(&green(), None).unwrap(), RAW);
    assert_eq!(*print(&green(), Some((PASSPHRASE, wrap))).unwrap(), WRAPPED);
    for text in [RAW, WRAPPED] {
        let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
        assert!(PAGE.contains(&indented), "the page does not show\n{indented}");
        assert_eq!(seed(&unlocked(text.as_bytes()).unwrap()), [1; 32]);
    }
}

#[test]
fn an_identity_comes_back_from_its_file() {
    for role in [Role::Owner, Role::Researcher, Role::Committee, Role::Officer, Role::Admin] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        let identity = Identity::new("org-1", "dr-green", role).unwrap();
        write(&path, &identity, None, &mut os_rng()).unwrap();
        let locked = read(&path).unwrap();
        assert!(!locked.is_wrapped());
        assert_eq!(locked.person(), &identity.person);
        for passphrase in [None, Some(PASSPHRASE)] {
            let back = locked.unlock(passphrase).unwrap();
            assert_eq!((seed(&back), back.person), (seed(&identity), identity.person.clone()));
        }
    }
}

#[test]
fn a_wrapped_file_names_its_person_and_opens_only_by_its_passphrase() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.key");
    write(&path, &green(), Some(PASSPHRASE), &mut os_rng()).unwrap();
    let locked = read(&path).unwrap();
    assert!(locked.is_wrapped());
    assert_eq!(locked.person(), &green().person);
    assert!(matches!(locked.unlock(None), Err(KeyFileError::NeedsPassphrase { .. })));
    for wrong in [b"".as_slice(), b"correct horse battery stapl", b"Correct horse battery staple"] {
        assert!(matches!(locked.unlock(Some(wrong)), Err(KeyFileError::WrongPassphrase { .. })));
    }
    assert_eq!(seed(&locked.unlock(Some(PASSPHRASE)).unwrap()), [1; 32]);
}

#[test]
fn no_salt_is_used_twice() {
    let dir = tempfile::tempdir().unwrap();
    let salts = ["a", "b"].map(|name| {
        let path = dir.path().join(name);
        write(&path, &green(), Some(PASSPHRASE), &mut os_rng()).unwrap();
        let text = fs::read_to_string(path).unwrap();
        text.lines().find_map(|line| line.strip_prefix("argon2id 65536 3 1 ")).unwrap().to_owned()
    });
    assert_ne!(salts[0], salts[1]);
}

#[test]
fn a_wrong_passphrase_and_an_altered_file_read_the_same() {
    let text = wrapped(CHEAP);
    let wrong = parsed(text.as_bytes()).unwrap().unlock(Some(b"wrong")).unwrap_err();
    for (from, to) in [("dr-green", "dr-brown"), ("owner", "admin"), ("8 1 1", "9 1 1"), ("8 1 1 51", "8 1 1 52")] {
        let altered = unlocked(text.replace(from, to).as_bytes()).unwrap_err();
        assert_eq!(format!("{wrong} {wrong:?}"), format!("{altered} {altered:?}"));
    }
    let (_, sealed) = text.split_once("wrapped ").unwrap();
    let altered = unlocked(text.replace(sealed, &format!("{}\n", "0".repeat(96))).as_bytes()).unwrap_err();
    assert_eq!(format!("{wrong} {wrong:?}"), format!("{altered} {altered:?}"));
}

#[test]
fn a_wrapped_seed_of_another_key_does_not_unlock() {
    let other = SigningKey::from_seed(Secret32::new([2; 32])).public();
    let header = RAW.split("secret").next().unwrap().replace(&green().key.public().to_string(), &other.to_string());
    let header = format!("{header}argon2id {CHEAP}\n");
    let sealed = Wrap::parse(CHEAP).unwrap().seal(PASSPHRASE, header.as_bytes(), green().key.seed()).unwrap();
    let text = format!("{header}wrapped {}\n", hex::encode(sealed));
    assert!(matches!(unlocked(text.as_bytes()), Err(KeyFileError::WrongPassphrase { .. })));
}

#[test]
fn a_file_cut_anywhere_is_malformed() {
    for text in [RAW, &wrapped(CHEAP)] {
        for len in 0..text.len() {
            assert!(matches!(parsed(&text.as_bytes()[..len]), Err(KeyFileError::Malformed { .. })), "{len} bytes");
        }
        assert!(matches!(parsed(format!("{text}\n").as_bytes()), Err(KeyFileError::Malformed { .. })));
    }
}

#[test]
fn no_altered_byte_of_a_wrapped_file_lets_it_unlock() {
    let mut bytes = wrapped(CHEAP).into_bytes();
    for at in 0..bytes.len() {
        let original = bytes[at];
        for other in (0..=u8::MAX).filter(|other| *other != original) {
            bytes[at] = other;
            let error = unlocked(&bytes).expect_err(&format!("byte {at} became {other:#04x}"));
            assert!(matches!(error, KeyFileError::Malformed { .. } | KeyFileError::WrongPassphrase { .. }), "{error}");
        }
        bytes[at] = original;
    }
    assert!(unlocked(&bytes).is_ok());
}

#[test]
fn no_altered_byte_of_a_raw_file_leads_to_another_key() {
    let described = RAW.find("org ").unwrap()..RAW.find("secret ").unwrap();
    let mut bytes = RAW.as_bytes().to_vec();
    for at in 0..bytes.len() {
        let original = bytes[at];
        for other in (0..=u8::MAX).filter(|other| *other != original) {
            bytes[at] = other;
            match unlocked(&bytes) {
                Ok(identity) => {
                    assert!(described.contains(&at), "byte {at} became {other:#04x}");
                    assert_eq!(seed(&identity), [1; 32]);
                    assert_eq!(identity.person.key, green().person.key);
                }
                Err(error) => assert!(matches!(error, KeyFileError::Malformed { .. }), "{error}"),
            }
        }
        bytes[at] = original;
    }
}

#[test]
fn a_file_has_one_spelling() {
    let wrapped = wrapped(CHEAP);
    let (header, sealed) = wrapped.split_once("wrapped ").unwrap();
    let others = [
        RAW.replace('\n', "\r\n"),
        RAW.replace("role owner", "role  owner"),
        RAW.replace("role owner", "role Owner"),
        RAW.replace("role owner\n", "role owner\nrole owner\n"),
        RAW.replace("org org-1\nname dr-green", "name dr-green\norg org-1"),
        RAW.replace("v1\n", "v1\n# a comment\n"),
        RAW.replace("dmdl-key-v1", "dmdl-key-v2"),
        RAW.replace("8a88e3dd", "8A88E3DD"),
        RAW.replace("0101\n", "01010\n"),
        format!("\u{feff}{RAW}"),
        format!(" {RAW}"),
        format!("{RAW}{RAW}"),
        wrapped.replace("8 1 1", "08 1 1"),
        wrapped.replace("8 1 1", "+8 1 1"),
        wrapped.replace("8 1 1", "8  1 1"),
        wrapped.replace("8 1 1", "8 1 1 1"),
        wrapped.replace("8 1 1 51", "8 1 1 "),
        format!("{header}wrapped {}", sealed.to_uppercase()),
    ];
    for other in others {
        assert!(matches!(parsed(other.as_bytes()), Err(KeyFileError::Malformed { .. })), "{other}");
    }
}

#[test]
fn absurd_parameters_are_refused_when_the_file_is_read() {
    let text = wrapped(CHEAP);
    for accepted in ["1048576 10 1", "8 1 1"] {
        assert!(parsed(text.replace("8 1 1", accepted).as_bytes()).is_ok(), "{accepted}");
    }
    // What is not a `Locked` cannot be unlocked, and nothing is allocated before that.
    for refused in [
        "1048577 3 1",
        "4294967295 3 1",
        "4294967296 3 1",
        "18446744073709551616 3 1",
        "65536 11 1",
        "65536 4294967295 1",
        "65536 3 2",
        "65536 3 0",
        "65536 0 1",
        "7 3 1",
        "0 0 0",
        "-1 3 1",
    ] {
        let error = parsed(text.replace("8 1 1", refused).as_bytes()).unwrap_err();
        assert!(matches!(&error, KeyFileError::Malformed { reason, .. } if reason.contains("argon2id")), "{error}");
    }
}

#[test]
fn a_file_that_others_may_reach_is_refused() {
    let (_dir, path) = folder();
    for mode in [0o644, 0o640, 0o660, 0o604, 0o601, 0o610, 0o602, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        refused_by_permissions(&path, "mode");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(read(&path).is_ok(), "{mode:o}");
    }
}

#[test]
fn a_file_of_another_user_is_refused() {
    let (_dir, mut path) = folder();
    if geteuid().is_root() {
        chown(&path, Some(65_534), None).unwrap();
    } else {
        path = PathBuf::from("/etc/passwd");
    }
    refused_by_permissions(&path, "another user");
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let (dir, path) = folder();
    let (link, dangling, pipe) = (dir.path().join("link"), dir.path().join("dangling"), dir.path().join("pipe"));
    symlink(&path, &link).unwrap();
    symlink(dir.path().join("nothing"), &dangling).unwrap();
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    refused_by_permissions(&link, "symbolic link");
    refused_by_permissions(&dangling, "symbolic link");
    refused_by_permissions(&pipe, "regular");
    refused_by_permissions(dir.path(), "regular");
}

#[test]
fn a_missing_file_is_told_from_one_that_cannot_be_read() {
    let (dir, path) = folder();
    assert!(matches!(read(&dir.path().join("other")), Err(KeyFileError::NotFound { .. })));
    assert!(matches!(read_secret(&dir.path().join("other")), Err(KeyFileError::NotFound { .. })));
    assert!(matches!(read(&path.join("below")), Err(KeyFileError::Read { .. })));
}

#[test]
fn a_file_larger_than_16_kib_is_refused() {
    let (_dir, path) = folder();
    let follows = |len| format!("{RAW}{}", "\n".repeat(len - RAW.len()));
    for (len, why) in [(disk::FILE_BYTES, "follows"), (disk::FILE_BYTES + 1, "16 KiB"), (1 << 24, "16 KiB")] {
        fs::write(&path, follows(len)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(&error, KeyFileError::Malformed { reason, .. } if reason.contains(why)), "{error}");
    }
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let (dir, path) = folder();
    let other = Identity::new("org-2", "dr-brown", Role::Researcher).unwrap();
    let (link, below) = (dir.path().join("link"), dir.path().join("below"));
    symlink(dir.path().join("nothing"), &link).unwrap();
    fs::create_dir(&below).unwrap();
    for path in [&path, &link, &below] {
        assert!(matches!(write(path, &other, None, &mut os_rng()), Err(KeyFileError::Exists { .. })));
        assert!(matches!(write_secret(path, &Secret32::new([3; 32])), Err(KeyFileError::Exists { .. })));
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), RAW);
    assert_eq!(names(&dir).len(), 3, "{:?}", names(&dir));
}

#[test]
fn a_new_file_is_for_its_user_alone_and_the_only_one() {
    let (dir, path) = folder();
    let metadata = fs::symlink_metadata(path).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.nlink()), (0o600, 1));
    assert_eq!(names(&dir), ["a.key"]);
}

#[test]
fn an_empty_passphrase_is_refused_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let written = write(&dir.path().join("a.key"), &green(), Some(b""), &mut os_rng());
    assert!(matches!(written, Err(KeyFileError::EmptyPassphrase)));
    assert!(names(&dir).is_empty());
}

#[test]
fn a_folder_that_is_not_there_is_an_error_of_writing() {
    let dir = tempfile::tempdir().unwrap();
    let written = write(&dir.path().join("none/a.key"), &green(), None, &mut os_rng());
    assert!(matches!(written, Err(KeyFileError::Write { .. })));
}

#[test]
fn neither_a_read_file_nor_an_error_prints_the_secret() {
    let secret = "01".repeat(32);
    let locked = parsed(RAW.as_bytes()).unwrap();
    let altered = parsed(RAW.replace("key 8a", "key 8b").as_bytes()).unwrap_err();
    for shown in [format!("{locked:?}"), format!("{altered:?} {altered}")] {
        assert!(!shown.contains(&secret) && !shown.contains("1, 1, 1, 1"), "{shown}");
    }
}

#[test]
fn a_nodes_secret_comes_back_from_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.secret");
    write_secret(&path, &Secret32::new([0xab; 32])).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", "ab".repeat(32)));
    assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(read_secret(&path).unwrap().expose(|secret| *secret), [0xab; 32]);
    assert!(matches!(read(&path), Err(KeyFileError::Malformed { .. })));
}

#[test]
fn what_is_not_one_line_of_64_digits_is_no_nodes_secret() {
    let (_dir, path) = folder();
    let line = "ab".repeat(32);
    let upper = line.to_uppercase();
    let others =
        ["", "\n", RAW, &line, &format!("{line}\r\n"), &format!("{line}\n\n"), &format!("{line}ab\n"), &line[1..]];
    for other in others.map(str::to_owned).into_iter().chain([format!("{upper}\n"), format!("{}\n", &line[2..])]) {
        fs::write(&path, &other).unwrap();
        assert!(matches!(read_secret(&path), Err(KeyFileError::Malformed { .. })), "{other:?}");
    }
}

#[test]
fn a_disk_without_room_is_told_from_one_that_fails() {
    let written = |kind: std::io::ErrorKind| KeyFileError::Write { path: "place".into(), source: kind.into() };
    let error = written(std::io::ErrorKind::StorageFull).into_io();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(error.to_string().contains("`place`"), "{error}");
}
