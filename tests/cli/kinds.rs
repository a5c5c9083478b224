//! Every kind of record that hospitals have: registered by one person, opened by another.

use super::harness::{Up, code, json, str};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The sample files, in the folder that `DMDL_SAMPLES_SHARED` names, or in `shared/samples` beside the repository; a test that
/// has none says so, and fails in CI.
pub(crate) fn samples() -> Vec<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/samples");
    let folder = env::var_os("DMDL_SAMPLES_SHARED").map_or(beside, PathBuf::from);
    let mut files = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name() != Some("MANIFEST.tsv".as_ref()) {
                files.push(path);
            }
        }
    }
    files.sort();
    if files.is_empty() {
        let missing =
            format!("no sample records in `{}`: DMDL_SAMPLES_SHARED names a folder of some", folder.display());
        assert!(env::var_os("CI").is_none(), "{missing}; where CI is set that is a failure");
        eprintln!("\n*** SKIPPED: {missing}; real files are NOT tested ***\n");
    }
    files
}

#[test]
fn every_sample_opens_byte_for_byte() {
    let up = Up::shared();
    let files = samples();
    if files.is_empty() {
        return;
    }
    // All in one command, as somebody would who enters a study.
    let paths: Vec<&str> = files.iter().map(|file| str(file)).collect();
    let policy = ["--policy", "research-auto"];
    let said = json(&up.run("owner", &[&["record", "register", "--json"], &policy[..], &paths[..]].concat()));
    let items = said["items"].as_array().unwrap_or_else(|| panic!("{said}"));
    assert_eq!(items.len(), files.len());
    for (file, item) in files.iter().zip(items) {
        // One whose custodians did not answer in time has to be registered again.
        let late = item["error"]["code"] == "custodians_unavailable";
        let item = &if late { up.registered("owner", file, &policy) } else { item.clone() };
        let record = item["record"].as_str().unwrap_or_else(|| panic!("{}: {item}", file.display()));
        assert_eq!(item["state"], "ACTIVE", "{}", file.display());
        let asked = up.ok("researcher", &["access", "request", record, "--purpose", "HMB", "--reason", "a study"]);
        assert_eq!(asked["decision"], "allow", "{asked}");
        // By the record for some, by the request for others.
        let by = if record < "8" { record } else { asked["request"].as_str().unwrap() };
        assert!(up.open("researcher", by, &[]) == fs::read(file).unwrap(), "{} differs", file.display());
    }
    eprintln!("{} samples, all byte for byte", files.len());
}

#[test]
fn lengths_around_the_chunks_of_the_format_come_back_whole() {
    let up = Up::shared();
    for len in [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 5 << 20] {
        let bytes: Vec<u8> = (0..len).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let file = up.folder().join(format!("of-{len}"));
        fs::write(&file, &bytes).unwrap();
        let record = up.register("owner", &file, &[]);
        assert!(up.open("owner", &record, &[]) == bytes, "{len} bytes");
    }
}

#[test]
fn a_range_of_a_record_is_these_bytes_of_it_and_no_others() {
    let up = Up::shared();
    let bytes: Vec<u8> = (0..3 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = up.folder().join("for-ranges");
    fs::write(&file, &bytes).unwrap();
    let record = up.register("owner", &file, &[]);
    let last = bytes.len() - 1;
    for (from, to) in [(0, 0), (16_380, 16_390), (1_048_570, 2_097_160), (last, last), (5, last + 1000), (0, last)] {
        let range = format!("{from}-{to}");
        let part = up.open("owner", &record, &["--range", &range]);
        assert!(part == bytes[from..=to.min(last)], "{range}: {} bytes", part.len());
    }
    assert!(up.open("owner", &record, &["--range", "3145720-"]) == bytes[3_145_720..]);
    let out = up.folder().join("past-the-end");
    let output = up.run("owner", &["access", "open", &record, "--range", "9999999-", "--out", str(&out), "--json"]);
    assert_eq!((code(&output), json(&output)["error"]["code"].as_str()), (2, Some("range")), "{}", json(&output));
    assert!(!out.exists());
}
