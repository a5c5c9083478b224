//! Disks that fail: a process whose system calls do, a file system that is small, one that loses what was not synced.

use crate::harness::dmdl;
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};
use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How often room is taken until there is none, beside somebody who writes.
const FILLINGS: usize = 1000;

/// How many of something a campaign asks for, or so many.
pub(crate) fn asked(variable: &str, otherwise: usize) -> usize {
    env::var(variable).map_or(otherwise, |count| count.parse().expect("a number"))
}

/// Numbers that look like dice, the same for the same seed; `DMDL_STORAGE_SEED` sets another one.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(of: u64) -> Self {
        let seed = env::var("DMDL_STORAGE_SEED").map_or(1, |seed| seed.parse().expect("a number"));
        Self(of.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed))
    }

    /// One of `0..below`.
    pub(crate) fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

/// Says that something cannot be tested here; in CI that is a failure.
fn skipped(reason: &str, what: &str) {
    assert!(env::var_os("CI").is_none(), "{reason}");
    eprintln!("\n*** SKIPPED: {reason}; {what} NOT tested ***\n");
}

/// Whether system calls can be made to fail here.
pub(crate) fn can_inject() -> bool {
    let there = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    if !there {
        skipped("`strace` is missing, which `scripts/setup.sh test` installs", "failing system calls are");
    }
    there
}

/// Whether file systems can be mounted here.
pub(crate) fn can_mount() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skipped("only root mounts file systems", "full disks and power cuts are");
    }
    is_root
}

/// Runs the program with some of its system calls failing; what is injected is as `strace` has it. The calls of these
/// kinds are written down in a file.
pub(crate) fn under_strace(injected: &[String], kinds: &str, trace: &Path) -> Command {
    let mut command = strace(injected, kinds, trace);
    // The program itself is to be the process that was started.
    command.arg("-D");
    let program = dmdl();
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.arg(program.get_program());
    command
}

fn strace(injected: &[String], kinds: &str, trace: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(trace).args(["-e", &format!("trace={kinds}")]);
    for injected in injected {
        command.args(["-e", &format!("inject={injected}")]);
    }
    command
}

/// What makes system calls of a process fail that runs already, until the value goes.
pub(crate) struct Tracer(Child);

impl Tracer {
    /// Begins with the calls that come from now on.
    pub(crate) fn attach(process: u32, injected: &[String], kinds: &str, trace: &Path) -> Self {
        let mut command = strace(injected, kinds, trace);
        Self(command.args(["-p", &process.to_string()]).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file system that is mounted until the value goes.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// A small one in memory.
    pub(crate) fn small(at: &Path, mib: usize) -> Self {
        fs::create_dir_all(at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0700"), "tmpfs", path(at)]);
        Self(at.to_owned())
    }

    /// One in a file. What its own cache holds and has not synced is not in the file: whoever copies that has what a
    /// power cut would leave.
    pub(crate) fn image(image: &Path, at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        // The journal is not committed for as long as the test runs, unless somebody syncs.
        run("mount", &["-o", "loop,commit=600,noatime", path(image), path(at)]);
        Self(at.to_owned())
    }

    /// A file with an empty file system of this size.
    pub(crate) fn make_image(image: &Path, mib: u64) {
        fs::File::create_new(image).unwrap().set_len(mib << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", "-m", "0", path(image)]);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: whoever panics may have left a process behind that is about to end.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Takes so much of the room in a folder that no more than this is left, whoever else writes there meanwhile.
pub(crate) fn fill(folder: &Path, left_bytes: u64) -> PathBuf {
    let filler = folder.join("filler");
    let file = fs::File::create(&filler).unwrap();
    let mut taken = 0;
    for _ in 0..FILLINGS {
        let stat = rustix::fs::statvfs(folder).unwrap();
        let more = (stat.f_bavail * stat.f_frsize).saturating_sub(left_bytes);
        if more == 0 {
            return filler;
        }
        match fallocate(&file, FallocateFlags::empty(), taken, more) {
            Ok(()) => taken += more,
            // Nothing was taken: somebody else was faster, and now there is less.
            Err(Errno::NOSPC | Errno::INTR) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("{} does not become full", folder.display());
}

/// What a gateway answers to a plain question: the status and the body.
pub(crate) fn get(gateway: &str, path: &str) -> (u16, String) {
    let authority = gateway.strip_prefix("http://").expect("a gateway that speaks plain HTTP");
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).expect("a status line");
    (status.parse().unwrap(), body.to_owned())
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
