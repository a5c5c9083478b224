//! Sealing a large file into another and opening that into a third, beside what the disk takes to copy it.
//!
//! `DMDL_BENCH_MIB` is the file's length, 1024 if not given; it lies in the folder of temporary files. Every
//! figure ends with the bytes on disk.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "it measures time and prints it")]

use dmdl_types::{
    context::DataContext,
    id::{ChannelId, NetworkId, RecordId, RecordVersion},
    secret::Secret32,
};
use dmdl_vault::payload::{file::open_to_file, seal};
use rand::{SeedableRng as _, rngs::ChaCha20Rng};
use std::{
    error::Error,
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    time::Instant,
};

/// Rounds; the disk's first write is slower than its later ones.
const ROUNDS: usize = 3;

fn context() -> DataContext {
    DataContext {
        network: NetworkId::new([1; 32]),
        channel: ChannelId::new([2; 32]),
        record: RecordId::new([3; 32]),
        version: RecordVersion::new(1),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mib: u64 = std::env::var("DMDL_BENCH_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(1024);
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let (plain, copy, sealed, opened) = (path("plain"), path("copy"), path("sealed"), path("opened"));
    fill(&plain, mib)?;
    let key = Secret32::new([7; 32]);
    let before_kib = peak_kib();
    for round in 1..=ROUNDS {
        let copied = mib_a_second(mib, || {
            fs::copy(&plain, &copy)?;
            Ok(File::open(&copy)?.sync_all()?)
        })?;
        let mut entry = None;
        let sealing = mib_a_second(mib, || {
            let mut out = File::create(&sealed)?;
            let mut rng = ChaCha20Rng::seed_from_u64(7);
            entry = Some(seal(File::open(&plain)?, &mut out, &key, &context(), &mut rng)?.entry());
            Ok(out.sync_all()?)
        })?;
        let entry = entry.ok_or("nothing was sealed")?;
        let opening = mib_a_second(mib, || {
            open_to_file(File::open(&sealed)?, &opened, &key, &context(), &entry)?;
            Ok(())
        })?;
        println!(
            "round {round}: copy {copied:.0} MiB/s; seal {sealing:.0} MiB/s, {:.0} % of that; open {opening:.0} MiB/s, {:.0} %",
            100.0 * sealing / copied,
            100.0 * opening / copied,
        );
        for file in [&copy, &sealed, &opened] {
            fs::remove_file(file)?;
        }
    }
    if let (Some(before), Some(after)) = (before_kib, peak_kib()) {
        println!("memory grew by {} KiB at most", after.saturating_sub(before));
    }
    Ok(())
}

/// Bytes that do not compress.
fn fill(path: &Path, mib: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut block = blake3::Hasher::new().finalize_xof();
    let mut bytes = vec![0; 1 << 20];
    for _ in 0..mib {
        block.fill(&mut bytes);
        file.write_all(&bytes)?;
    }
    file.sync_all()
}

fn mib_a_second(mib: u64, work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let begun = Instant::now();
    work()?;
    Ok(f64::from(u32::try_from(mib)?) / begun.elapsed().as_secs_f64())
}

/// The most memory that this process has had, where the system says so.
fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
