//! What the system says of a process.

use std::{fs, path::PathBuf};

const MIB: u64 = 1024 * 1024;

fn of(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

/// A figure of `/proc/PID/status` or `smaps_rollup`, in bytes; none when the process is gone.
fn figure(pid: u32, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(of(pid, file)).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The memory that it has now.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    figure(pid, "status", "VmRSS")
}

/// The most that it had.
pub(crate) fn resident_most(pid: u32) -> Option<u64> {
    figure(pid, "status", "VmHWM")
}

/// The memory that it has for itself, and its part of what it shares with others.
pub(crate) fn proportional(pid: u32) -> Option<u64> {
    figure(pid, "smaps_rollup", "Pss")
}

/// The files and sockets that it has open.
pub(crate) fn descriptors(pid: u32) -> Option<u64> {
    Some(fs::read_dir(of(pid, "fd")).ok()?.count() as u64)
}

/// In whole MiB.
pub(crate) fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(MIB)
}
