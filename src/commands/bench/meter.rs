//! What the processes of a network use: processor time, memory, descriptors, and the disk.
//!
//! Processor time is read once before a run and once after it. Which part of a process used it is told by the names of
//! its threads: a gateway has a runtime of its own, and so have the clients.

use super::files::bytes_under;
use crate::gateway;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Processor time is counted in hundredths of a second, on every Linux.
const TICK_MS: f64 = 10.0;
/// What the threads are called that are clients.
pub(super) const CLIENT_THREADS: &str = "dmdl-clients";

/// A node that is measured.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// What it is called.
    pub(super) name: String,
    /// Its process; none if that is this one.
    pub(super) process: Option<u32>,
    /// The folder of its ledger.
    pub(super) folder: PathBuf,
}

/// The nodes of a network of our own; none of a running one, of which only the clients are measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter(Vec<Part>);

/// What was used up to some moment.
#[derive(Debug)]
pub(super) struct Reading {
    own: Cpu,
    machine_ms: Option<f64>,
    parts: Vec<PartReading>,
}

#[derive(Debug)]
struct PartReading {
    cpu: Cpu,
    bytes: u64,
    written: Option<u64>,
}

/// Processor time of a process in milliseconds, and the parts of it that its threads tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cpu {
    total: f64,
    gateway: f64,
    clients: f64,
}

/// What a run used.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    /// Of the clients.
    pub(super) clients_cpu_ms: f64,
    /// Of gateways and of the nodes behind them; none of a network that runs elsewhere.
    pub(super) nodes: Option<NodesUsage>,
    /// Of everybody else on this machine.
    pub(super) others_cpu_ms: Option<f64>,
}

/// What the nodes of a network used.
#[derive(Clone, Debug)]
pub(super) struct NodesUsage {
    /// Without their gateways.
    pub(super) nodes_cpu_ms: f64,
    pub(super) gateways_cpu_ms: f64,
    /// What all ledgers grew by.
    pub(super) grown_bytes: u64,
    /// How many these are.
    pub(super) ledgers: usize,
    pub(super) processes: Vec<ProcessUsage>,
}

/// What one process of nodes used.
#[derive(Clone, Debug)]
pub(super) struct ProcessUsage {
    name: String,
    cpu_ms: f64,
    peak_bytes: Option<u64>,
    descriptors: Option<usize>,
    grown_bytes: u64,
    /// What it gave the disk, which is more than what stays.
    written_bytes: Option<u64>,
}

impl Meter {
    pub(super) const fn of(parts: Vec<Part>) -> Self {
        Self(parts)
    }

    /// Reads what was used so far, and begins to look for the highest use of memory anew.
    pub(super) fn begin(&self) -> Reading {
        for part in &self.0 {
            // A system that does not do it tells the highest since the start.
            let _ = fs::write(proc(part.process, "clear_refs"), "5");
        }
        self.read()
    }

    fn read(&self) -> Reading {
        let of_part = |part: &Part| PartReading {
            cpu: part.process.map(cpu).unwrap_or_default(),
            bytes: bytes_under(&part.folder),
            written: written_bytes(&read(proc(part.process, "io"))),
        };
        Reading {
            own: own_cpu(),
            machine_ms: machine_ms(&read("/proc/stat")),
            parts: self.0.iter().map(of_part).collect(),
        }
    }

    /// What was used since a reading.
    pub(super) fn since(&self, before: &Reading) -> Usage {
        let after = self.read();
        let own = after.own.since(before.own);
        let in_process = self.0.iter().any(|part| part.process.is_none());
        let mut all = if in_process { own } else { Cpu::default() };
        let (mut processes, mut grown_bytes) = (Vec::new(), 0);
        for (part, (from, to)) in self.0.iter().zip(before.parts.iter().zip(&after.parts)) {
            let cpu = to.cpu.since(from.cpu);
            all = all.and(cpu);
            let grown = to.bytes.saturating_sub(from.bytes);
            grown_bytes += grown;
            if in_process && !processes.is_empty() {
                continue;
            }
            processes.push(ProcessUsage {
                name: if in_process { "all".to_owned() } else { part.name.clone() },
                cpu_ms: if in_process { own.total } else { cpu.total },
                peak_bytes: peak_bytes(&read(proc(part.process, "status"))),
                descriptors: fs::read_dir(proc(part.process, "fd")).ok().map(Iterator::count),
                grown_bytes: grown,
                written_bytes: to.written.zip(from.written).map(|(to, from)| to.saturating_sub(from)),
            });
        }
        if in_process && let [all] = &mut processes[..] {
            all.grown_bytes = grown_bytes;
        }
        let nodes = (!self.0.is_empty()).then(|| NodesUsage {
            // What is neither a gateway's nor a client's is the nodes'.
            nodes_cpu_ms: (all.total - all.gateway - all.clients).max(0.0),
            gateways_cpu_ms: all.gateway,
            grown_bytes,
            ledgers: self.0.len(),
            processes,
        });
        let used = own.total + if in_process { 0.0 } else { all.total };
        let others = before.machine_ms.zip(after.machine_ms).map(|(from, to)| (to - from - used).max(0.0));
        let clients_cpu_ms = if in_process { all.clients } else { own.total };
        Usage { clients_cpu_ms, nodes, others_cpu_ms: others }
    }
}

impl Cpu {
    fn since(self, before: Self) -> Self {
        Self {
            total: self.total - before.total,
            gateway: self.gateway - before.gateway,
            clients: self.clients - before.clients,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            gateway: self.gateway + other.gateway,
            clients: self.clients + other.clients,
        }
    }
}

impl NodesUsage {
    /// The highest use of memory of all processes together, were it at the same time.
    pub(super) fn peak_bytes(&self) -> Option<u64> {
        self.processes.iter().map(|process| process.peak_bytes).sum()
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        let one = |process: &ProcessUsage| {
            let ProcessUsage { name, cpu_ms, peak_bytes, descriptors, grown_bytes, written_bytes } = process;
            json!({
                "name": name, "cpu_ms": cpu_ms.round(), "peak_rss_bytes": peak_bytes, "descriptors": descriptors,
                "grown_bytes": grown_bytes, "written_bytes": written_bytes,
            })
        };
        self.processes.iter().map(one).collect()
    }

    /// The head of [`NodesUsage::rows`].
    pub(super) const HEAD: [&'static str; 6] = ["PROCESS", "CPU S", "PEAK MIB", "FILES", "GROWN MIB", "WRITTEN MIB"];

    /// For people: each process, and all of them if there are several.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let all = ProcessUsage {
            name: "all".to_owned(),
            cpu_ms: self.processes.iter().map(|process| process.cpu_ms).sum(),
            peak_bytes: self.peak_bytes(),
            descriptors: self.processes.iter().map(|process| process.descriptors).sum(),
            grown_bytes: self.grown_bytes,
            written_bytes: self.processes.iter().map(|process| process.written_bytes).sum(),
        };
        let several = (self.processes.len() > 1).then_some(&all);
        self.processes.iter().chain(several).map(ProcessUsage::row).collect()
    }
}

impl ProcessUsage {
    fn row(&self) -> Vec<String> {
        let mib = |bytes: u64| format!("{:.1}", super::run::float(bytes) / f64::from(1 << 20));
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        vec![
            self.name.clone(),
            format!("{:.1}", self.cpu_ms / 1000.0),
            or_none(self.peak_bytes.map(mib)),
            or_none(self.descriptors.map(|count| count.to_string())),
            mib(self.grown_bytes),
            or_none(self.written_bytes.map(mib)),
        ]
    }
}

/// A file of a process in `/proc`; of this one, if none is named.
fn proc(process: Option<u32>, file: &str) -> PathBuf {
    match process {
        Some(id) => Path::new("/proc").join(id.to_string()).join(file),
        None => Path::new("/proc/self").join(file),
    }
}

fn own_cpu() -> Cpu {
    let mut own = cpu(std::process::id());
    // The first thread waits for the clients, and has no name of theirs.
    own.clients += ticks_ms(&read(proc(None, &format!("task/{}/stat", std::process::id())))).map_or(0.0, |(_, ms)| ms);
    own
}

/// The processor time of a process so far.
fn cpu(process: u32) -> Cpu {
    let total = ticks_ms(&read(proc(Some(process), "stat"))).map_or(0.0, |(_, ms)| ms);
    let mut cpu = Cpu { total, ..Cpu::default() };
    for thread in fs::read_dir(proc(Some(process), "task")).into_iter().flatten().flatten() {
        let stat = read(thread.path().join("stat"));
        match ticks_ms(&stat) {
            Some((gateway::THREADS, ms)) => cpu.gateway += ms,
            Some((CLIENT_THREADS, ms)) => cpu.clients += ms,
            _ => {}
        }
    }
    cpu
}

/// The name, and the user and system time, out of a `stat` file, whose second field may hold anything.
fn ticks_ms(stat: &str) -> Option<(&str, f64)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some((name, (f64::from(next()?) + f64::from(next()?)) * TICK_MS))
}

/// The processor time that all of this machine has used, out of `/proc/stat`.
fn machine_ms(stat: &str) -> Option<f64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks: Vec<f64> = fields.map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _waits, irq, softirq, stolen, ..] = ticks[..] else { return None };
    Some((user + nice + system + irq + softirq + stolen) * TICK_MS)
}

/// The most memory that a process has had, out of `/proc/PID/status`.
fn peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// What a process has had written to disks, out of `/proc/PID/io`.
fn written_bytes(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        thread,
        time::{Duration, Instant},
    };

    #[test]
    fn processor_time_is_found_behind_a_name_with_blanks_and_brackets() {
        let stat = "71 (a) b (c) R 1 71 71 0 -1 4194304 9 0 0 0 250 40 0 0 20 0 5 0 1";
        assert_eq!(ticks_ms(stat), Some(("a) b (c", 2900.0)));
        assert_eq!(ticks_ms("71 (dmdl"), None);
        assert!(own_cpu().total >= 0.0);
    }

    #[test]
    fn what_the_whole_machine_used_leaves_out_what_it_waited() {
        let stat = "cpu  100 20 30 9000 800 4 5 6 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(machine_ms(stat), Some(1650.0));
        assert_eq!(machine_ms("cpu  1 2 3"), None);
        assert!(machine_ms(&read("/proc/stat")).unwrap() > 0.0);
    }

    #[test]
    fn the_highest_use_of_memory_is_read_in_kibibytes() {
        assert_eq!(peak_bytes("VmPeak:\t  900 kB\nVmHWM:\t     512 kB\nVmRSS:\t 1 kB\n"), Some(512 * 1024));
        assert_eq!(peak_bytes("VmHWM: much\n"), None);
        assert_eq!(written_bytes("rchar: 1\nwrite_bytes: 4096\ncancelled_write_bytes: 0\n"), Some(4096));
        assert!(peak_bytes(&read("/proc/self/status")).unwrap() > 0);
    }

    #[test]
    fn a_thread_counts_for_what_it_is_called() {
        let before = own_cpu();
        let work = move || {
            let begun = Instant::now();
            let mut sum = 0u64;
            while own_cpu().since(before).gateway < 50.0 && begun.elapsed() < Duration::from_secs(60) {
                sum = (0..1_000_000u64).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
            }
            std::hint::black_box(sum);
            own_cpu().since(before)
        };
        let seen = thread::Builder::new().name(gateway::THREADS.to_owned()).spawn(work).unwrap().join().unwrap();
        assert!(seen.gateway >= 50.0 && seen.total >= 40.0, "{seen:?}");
    }

    #[test]
    fn a_node_in_a_process_of_its_own_is_told_from_the_clients() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let part = Part { name: "one".to_owned(), process: Some(child.id()), folder: folder.path().to_owned() };
        let meter = Meter::of(vec![part]);
        let before = meter.begin();
        fs::write(folder.path().join("block"), [0; 7]).unwrap();
        let usage = meter.since(&before).nodes.unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((usage.grown_bytes, usage.processes.len(), usage.rows().len()), (7, 1, 1));
        assert!(usage.peak_bytes().unwrap() > 0 && usage.processes[0].descriptors.unwrap() > 0);
        assert!(usage.gateways_cpu_ms.abs() < f64::EPSILON);
    }
}
