//! What a run is measured on: figures mean nothing without it.

use serde_json::{Value, json};
use std::{fs, path::Path, thread};

/// This machine, and how this program was built.
pub(super) struct Machine {
    cpu: String,
    cores: usize,
    memory_bytes: u64,
    kernel: String,
}

impl Machine {
    /// This one.
    pub(super) fn this() -> Self {
        let cpu = value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned());
        let memory = value(&read("/proc/meminfo"), "MemTotal").and_then(|text| kibibytes(&text));
        Self {
            cpu,
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory.unwrap_or_default() * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    /// For people, on one line.
    pub(super) fn line(&self) -> String {
        let Self { cpu, cores, memory_bytes, kernel } = self;
        let gib = memory_bytes.div_ceil(1 << 30);
        format!("{cpu}, {cores} cores, {gib} GiB, Linux {kernel}; build {}", build())
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        let Self { cpu, cores, memory_bytes, kernel } = self;
        json!({
            "cpu": cpu, "cores": cores, "memory_bytes": memory_bytes, "kernel": kernel,
            "build": build(), "version": env!("CARGO_PKG_VERSION"),
        })
    }
}

/// How this crate was compiled: what it depends on is set in the profile of the workspace.
fn build() -> String {
    format!("{}, opt-level {}", env!("DMDL_BUILD_PROFILE"), env!("DMDL_BUILD_OPT_LEVEL"))
}

/// The file system of a folder: on one in memory, nothing is ever waited for.
pub(super) fn file_system(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    file_system_in(&read("/proc/self/mounts"), &folder).unwrap_or_else(|| "unknown".to_owned())
}

fn file_system_in(mounts: &str, folder: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    // Of several that a path is under, it is on the innermost; of equal ones, on the last.
    let under = mounts.filter(|(point, _)| folder.starts_with(point));
    under.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind.to_owned())
}

/// The value of the first line that begins with a name.
fn value(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse().ok()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_on_the_innermost_mount() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmpfiles xfs rw 0 0\nbroken";
        let on = |path| file_system_in(mounts, Path::new(path));
        assert_eq!(on("/tmp/dmdl").as_deref(), Some("tmpfs"));
        assert_eq!(on("/tmpdir").as_deref(), Some("ext4"));
        assert_eq!(on("/tmpfiles").as_deref(), Some("xfs"));
        assert_eq!(file_system_in("", Path::new("/")), None);
    }

    #[test]
    fn memory_is_read_in_kibibytes() {
        let text = "MemTotal:        8140000 kB\nMemFree: 1 kB\n";
        assert_eq!(value(text, "MemTotal").and_then(|text| kibibytes(&text)), Some(8_140_000));
        assert!(Machine::this().memory_bytes > 0);
    }
}
