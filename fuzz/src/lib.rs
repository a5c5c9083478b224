//! The fuzz targets, for libFuzzer. `README.md` lists them with what each one holds the program to.

#![forbid(unsafe_code)]

// What the program keeps to itself or builds with sockets and stores is taken in by its path.
#[path = "../../src/http/mod.rs"]
pub mod http;
mod inside;
pub mod targets;

/// Runs one target on one input.
///
/// # Panics
/// Where the program breaks a promise.
pub fn run(name: &str, data: &[u8]) {
    let all = targets::ALL.iter().map(|target| (target.name, target.run)).chain(inside::ALL);
    let (_, run) = all.into_iter().find(|(known, _)| *known == name).expect("a target of this name");
    run(data);
}
