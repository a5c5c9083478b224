//! What the fuzz targets start from, and the inputs that once failed, run without a fuzzer.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a target says by a panic that a promise is broken"
)]

// The targets say `crate::http`; in the fuzzer that is the same module, compiled on its own.
use dmdl::http;
use std::{fs, path::Path};

#[path = "../fuzz/src/targets/mod.rs"]
pub mod targets;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz");

#[test]
fn every_seed_and_every_input_that_once_failed_passes_its_target() {
    for target in targets::ALL {
        for folder in ["seeds", "regressions"] {
            for (name, bytes) in inputs(folder, target.name) {
                eprintln!("{} on {folder}/{name}", target.name);
                (target.run)(&bytes);
            }
        }
    }
}

#[test]
fn the_seeds_are_frozen() {
    let made = targets::ALL.iter().map(|target| (target.name, target.seeds)).chain(targets::SEEDS_OF_OTHERS);
    for (target, seeds) in made {
        let mut seeds = seeds();
        seeds.sort();
        if std::env::var_os("DMDL_WRITE_VECTORS").is_some() {
            let folder = Path::new(FOLDER).join("seeds").join(target);
            fs::create_dir_all(&folder).unwrap();
            for (name, bytes) in &seeds {
                fs::write(folder.join(name), bytes).unwrap();
            }
        }
        assert!(inputs("seeds", target) == seeds, "the seeds of `{target}` are not what is made: see `make vectors`");
    }
}

/// The files of a target by name; not every target has had an input that failed.
fn inputs(folder: &str, target: &str) -> targets::Seeds {
    let Ok(entries) = fs::read_dir(Path::new(FOLDER).join(folder).join(target)) else { return Vec::new() };
    let read = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    let mut inputs: Vec<_> = entries.map(|entry| read(entry.unwrap())).collect();
    inputs.sort();
    inputs
}
