//! What a run is measured on: figures mean nothing without it.

use serde_json::{Value, json};
use std::{fs, path::Path, thread};

/// The processor time that this process has used is counted in hundredths of a second, on every Linux.
const TICK_MS: f64 = 10.0;

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

/// The processor time that this process has used so far, all threads together, in milliseconds.
pub(super) fn cpu_ms() -> Option<f64> {
    ticks(&read("/proc/self/stat")).map(|ticks| f64::from(ticks) * TICK_MS)
}

/// User and system time out of `/proc/self/stat`, whose second field may hold anything.
fn ticks(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some(next()? + next()?)
}

/// The bytes of all files under a folder; what is removed meanwhile is not counted.
pub(super) fn bytes_under(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_under(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
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
    fn processor_time_is_found_behind_a_name_with_blanks_and_brackets() {
        let stat = "71 (a) b (c) R 1 71 71 0 -1 4194304 9 0 0 0 250 40 0 0 20 0 5 0 1";
        assert_eq!(ticks(stat), Some(290));
        assert_eq!(ticks("71 (dmdl"), None);
        assert!(cpu_ms().is_some());
    }

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
    fn bytes_are_counted_in_all_folders_below() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("one"), [0; 10]).unwrap();
        fs::write(folder.path().join("a/b/two"), [0; 32]).unwrap();
        assert_eq!(bytes_under(folder.path()), 42);
        assert_eq!(bytes_under(&folder.path().join("none")), 0);
    }

    #[test]
    fn memory_is_read_in_kibibytes() {
        let text = "MemTotal:        8140000 kB\nMemFree: 1 kB\n";
        assert_eq!(value(text, "MemTotal").and_then(|text| kibibytes(&text)), Some(8_140_000));
        assert!(Machine::this().memory_bytes > 0);
    }
}
