use super::{super::file::*, *};
use std::{fs, path::Path};

fn open_into(path: &Path, payload: &[u8], entry: &PayloadEntry) -> Result<u64, OpenToFileError> {
    open_to_file(payload, path, &key(), &context(), entry)
}

fn names_in(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_payload_opens_to_a_file_of_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.dcm");
    let (payload, entry) = sealed(&pattern(100_000));
    assert_eq!(open_into(&path, &payload, &entry).unwrap(), 100_000);
    assert!(fs::read(&path).unwrap() == pattern(100_000));
    assert_eq!(names_in(folder.path()), ["scan.dcm"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_payload_that_fails_late_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.dcm");
    let (mut payload, entry) = sealed(&pattern(1000 * CHUNK_LEN));
    payload[HEADER_LEN + 900 * SEALED_CHUNK_LEN] ^= 1;
    let result = open_into(&path, &payload, &entry);
    assert!(matches!(result, Err(OpenToFileError::Open(OpenError::Altered { chunk: 900 }))));
    let cut = open_into(&path, &payload[..900 * SEALED_CHUNK_LEN], &entry);
    assert!(matches!(cut, Err(OpenToFileError::Open(OpenError::Truncated { .. }))));
    assert_eq!(names_in(folder.path()), [] as [String; 0]);
}

#[test]
fn what_is_there_already_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (payload, entry) = sealed(b"plaintext");
    let file = folder.path().join("file");
    fs::write(&file, b"precious").unwrap();
    assert!(matches!(open_into(&file, &payload, &entry), Err(OpenToFileError::Exists)));
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    assert!(matches!(open_into(folder.path(), &payload, &entry), Err(OpenToFileError::Exists)));
    #[cfg(unix)]
    for target in [&file, &folder.path().join("nowhere")] {
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(target, &link).unwrap();
        assert!(matches!(open_into(&link, &payload, &entry), Err(OpenToFileError::Exists)));
        fs::remove_file(&link).unwrap();
    }
    assert_eq!(names_in(folder.path()), ["file"]);
}

#[test]
fn what_appears_meanwhile_is_not_replaced() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut new = NewFile::create(&path).unwrap();
    new.write_all(b"plaintext").unwrap();
    fs::write(&path, b"precious").unwrap();
    assert!(matches!(new.publish(), Err(OpenToFileError::Exists)));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert_eq!(names_in(folder.path()), ["file"]);
}

#[test]
fn a_folder_that_is_missing_and_a_name_too_long_are_errors_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (payload, entry) = sealed(b"plaintext");
    let nowhere = folder.path().join("nowhere").join("file");
    assert!(matches!(open_into(&nowhere, &payload, &entry), Err(OpenToFileError::File(_))));
    let too_long = folder.path().join("x".repeat(300));
    assert!(matches!(open_into(&too_long, &payload, &entry), Err(OpenToFileError::File(_))));
    assert_eq!(names_in(folder.path()), [] as [String; 0]);
}

#[cfg(unix)]
#[test]
fn odd_names_are_names() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let folder = tempfile::tempdir().unwrap();
    let (payload, entry) = sealed(b"plaintext");
    for name in [&b"-rf"[..], b"line\nbreak", b"not \xff utf-8", &[b'n'; 255]] {
        let path = folder.path().join(OsStr::from_bytes(name));
        open_into(&path, &payload, &entry).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"plaintext");
    }
}
