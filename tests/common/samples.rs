//! Real medical files, where there are some.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Largest file that is taken.
const SAMPLE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The kinds of file that are shared, by the end of their names.
const KINDS: [&str; 10] = [".dcm", ".json", ".hl7", ".nii.gz", ".edf", ".vcf", ".bam", ".xml", ".pdf", ".mat"];

/// A file's name and bytes.
pub(crate) type Sample = (String, Vec<u8>);

/// One file of each kind that there is.
///
/// They lie in the folder that `DMDL_SAMPLES_SHARED` or `DMDL_SAMPLES` names, or in `shared/samples`
/// beside the repository. Without them a test that needs them says so and does without; in CI it fails.
pub(crate) fn samples() -> Vec<Sample> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/samples");
    let named = ["DMDL_SAMPLES_SHARED", "DMDL_SAMPLES"].into_iter().find_map(env::var_os);
    let folder = named.map_or_else(beside, PathBuf::from);
    let mut files = Vec::new();
    list(&folder, &mut files);
    files.sort();
    let of_kind = |kind: &str| {
        let file = files.iter().find(|file| file.to_string_lossy().ends_with(kind))?;
        Some((file.display().to_string(), fs::read(file).unwrap()))
    };
    let samples: Vec<Sample> = KINDS.into_iter().filter_map(of_kind).collect();
    if samples.is_empty() {
        let missing = format!(
            "no sample records in `{}`: `make samples` fetches some, and DMDL_SAMPLES_SHARED names a folder of others",
            folder.display()
        );
        assert!(env::var_os("CI").is_none(), "{missing}; where CI is set that is a failure");
        eprintln!("\n*** SKIPPED: {missing}; real files are NOT tested ***\n");
    }
    samples
}

/// Files of a usable size in a folder and the folders in it; none where it cannot be read.
fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => list(&entry.path(), files),
            Ok(metadata) if metadata.len() <= SAMPLE_BYTES_MAX => files.push(entry.path()),
            _ => {}
        }
    }
}
