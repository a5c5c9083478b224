//! `dmdl up` in a folder of its own, and the commands of people at it.

use dmdl::network_file::NetworkFile;
use serde_json::Value;
use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long what is on its way may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long somebody goes on asking a network that comes and goes.
const INSISTENCE: Duration = Duration::from_secs(120);
/// What a command ends with when the network is not there, or not in time.
pub(crate) const UNAVAILABLE: i32 = 6;

/// The program, with nothing of this process's settings.
pub(crate) fn dmdl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmdl"));
    for setting in
        ["DMDL_NETWORK", "DMDL_SAMPLES", "DMDL_LOG", "DMDL_GATEWAY", "DMDL_IDENTITY", "DMDL_CHANNEL", "DMDL_HOME"]
    {
        command.env_remove(setting);
    }
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    dmdl().args(args).stdin(Stdio::null()).output().unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("the program ends by itself")
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The one JSON document on stdout.
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: `{}`", text(&output.stdout)))
}

pub(crate) fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What there is once it is there, if it comes in time.
pub(crate) fn within<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let found = look();
        if found.is_some() || begun.elapsed() >= patience {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What there is once it is there; it takes a few seconds at most.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    let Some(found) = within(PATIENCE, look) else { panic!("not in time: {what}") };
    found
}

/// Holds what goes on by itself to the seconds that `DMDL_RESUMES_S` gives it. Campaigns set it; without it nothing is held to
/// a time, because a machine may be busy with other tests.
#[track_caller]
#[allow(dead_code, reason = "each test program uses a part of it")]
pub(crate) fn assert_resumed(what: &str, took: Duration) {
    let Ok(seconds) = std::env::var("DMDL_RESUMES_S") else { return };
    let most = Duration::from_secs(seconds.parse().expect("a number"));
    assert!(took <= most, "{what}: it took {:.1} s to go on, and {seconds} s are the most", took.as_secs_f64());
}

/// A clock that is off, for processes that are started with a library that says so.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    pub(crate) library: PathBuf,
    pub(crate) ahead_s: i64,
}

impl Clock {
    /// Compiles the library into a folder.
    pub(crate) fn library(folder: &Path) -> PathBuf {
        let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
        std::fs::write(&source, include_str!("clock.c")).unwrap();
        let mut gcc = Command::new("gcc");
        gcc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]);
        let built = gcc.arg(&library).arg(&source).status().expect("gcc, which the build needs too");
        assert!(built.success(), "{built}");
        library
    }

    /// Has a process that is not yet started read this clock.
    pub(crate) fn under<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LD_PRELOAD", &self.library).env("CLOCK_AHEAD_S", self.ahead_s.to_string())
    }
}

/// A network that `dmdl up` runs.
pub(crate) struct Up {
    dir: TempDir,
    process: Mutex<Option<Child>>,
    clock: Mutex<Option<Clock>>,
}

static SHARED: Mutex<Weak<Up>> = Mutex::new(Weak::new());

impl Up {
    /// Starts one of its own.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one of its own with further arguments.
    pub(crate) fn start_with(more: &[&str]) -> Self {
        let up = Self { dir: tempfile::tempdir().unwrap(), process: Mutex::default(), clock: Mutex::default() };
        up.spawn(&mut dmdl(), more);
        up
    }

    /// Starts one of its own, in a shell that has said these lines first, with further arguments.
    pub(crate) fn start_in_shell(lines: &str, more: &[&str]) -> Self {
        let up = Self { dir: tempfile::tempdir().unwrap(), process: Mutex::default(), clock: Mutex::default() };
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{lines}\nexec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_dmdl")]);
        up.spawn(&mut shell, more);
        up
    }

    /// The one that the tests of this program share; it stops with the last of them.
    pub(crate) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let up = Arc::new(Self::start());
            *shared = Arc::downgrade(&up);
            up
        })
    }

    /// Starts it again, on what it has kept, and waits until it says that it is ready.
    pub(crate) fn resume(&self) {
        self.spawn(&mut self.under_clock(dmdl()), &[]);
    }

    fn spawn(&self, program: &mut Command, more: &[&str]) {
        let mut process = program
            .args(["up", "--json", "--listen", "127.0.0.1:0", "--dir", str(&self.network())])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = first_line(process.stdout.take().unwrap());
        assert!(said["gateway"].is_string(), "{said}");
        *self.process.lock().unwrap() = Some(process);
    }

    /// Asks it to stop, as a service manager would; it ends by itself, and well.
    pub(crate) fn stop(&self) {
        let process = self.process.lock().unwrap().take().expect("it runs");
        stop(process);
    }

    /// From now on, what is started here reads this clock.
    pub(crate) fn set_clock(&self, clock: Option<Clock>) {
        *self.clock.lock().unwrap() = clock;
    }

    fn under_clock(&self, mut command: Command) -> Command {
        if let Some(clock) = &*self.clock.lock().unwrap() {
            clock.under(&mut command);
        }
        command
    }

    /// Kills it as the system would, at once.
    pub(crate) fn kill(&self) {
        let mut process = self.process.lock().unwrap().take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Where its gateway is.
    pub(crate) fn gateway(&self) -> String {
        let pin = NetworkFile::read(&self.network().join("network.toml")).unwrap();
        pin.gateways[0].url.clone()
    }

    /// The folder that it keeps everything in.
    pub(crate) fn network(&self) -> PathBuf {
        self.dir.path().join("network")
    }

    /// A folder for what people keep on their own machines.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The key file of somebody.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.network().join("identities").join(format!("{name}.key"))
    }

    /// A command of somebody, on a machine of their own.
    pub(crate) fn command(&self, who: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = self.under_clock(dmdl());
        command
            .env("DMDL_NETWORK", self.network().join("network.toml"))
            .env("DMDL_HOME", self.dir.path().join("home").join(who))
            .arg("--as")
            .arg(self.key(who))
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// What a command of somebody ends with.
    pub(crate) fn run(&self, who: &str, args: &[&str]) -> Output {
        self.command(who, args).output().unwrap()
    }

    /// What a command of somebody says for machines; it must end well.
    pub(crate) fn ok(&self, who: &str, args: &[&str]) -> Value {
        let output = self.run(who, &[args, &["--json"]].concat());
        let said = format!("{} {}", text(&output.stdout), text(&output.stderr));
        assert_eq!(code(&output), 0, "{who}: {args:?}: {said}");
        json(&output)
    }

    /// The error that a command of somebody ends with.
    pub(crate) fn fails(&self, who: &str, args: &[&str], exit: i32) -> Value {
        let output = self.run(who, &[args, &["--json"]].concat());
        let said = format!("{} {}", text(&output.stdout), text(&output.stderr));
        assert_eq!(code(&output), exit, "{who}: {args:?}: {said}");
        let error = json(&output);
        assert!(!said.contains("panicked"), "{said}");
        error
    }

    /// Runs a command until the network answers it.
    pub(crate) fn insist(&self, who: &str, args: &[&str]) -> Value {
        let begun = Instant::now();
        loop {
            let output = self.run(who, &[args, &["--json"]].concat());
            match code(&output) {
                0 => return json(&output),
                UNAVAILABLE => {}
                other => panic!("{who}: {args:?} ended with {other}: {}", text(&output.stdout)),
            }
            assert!(begun.elapsed() < INSISTENCE, "{who}: {args:?}: {}", text(&output.stdout));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Registers a file as somebody's and gives the record's id.
    pub(crate) fn register(&self, who: &str, file: &Path, more: &[&str]) -> String {
        self.registered(who, file, more)["record"].as_str().unwrap().to_owned()
    }

    /// Registers a file as somebody's and gives all that is said of the record.
    ///
    /// On a busy machine too few custodians may answer in time. Nothing is registered then, and it is tried again.
    pub(crate) fn registered(&self, who: &str, file: &Path, more: &[&str]) -> Value {
        let args = [&["record", "register", str(file)], more, &["--json"]].concat();
        let output = eventually("enough custodians answer", || {
            Some(self.run(who, &args)).filter(|output| json(output)["error"]["code"] != "custodians_unavailable")
        });
        let said = json(&output);
        assert_eq!((code(&output), &said["state"]), (0, &Value::from("ACTIVE")), "{said} {}", text(&output.stderr));
        said
    }

    /// Registers a file of this name as the owner's and gives the record's id.
    pub(crate) fn record(&self, name: &str, more: &[&str]) -> String {
        self.register("owner", &self.write(name), more)
    }

    /// The same, once each of the record's custodians has acknowledged: nothing more comes by itself. Gives how many
    /// they are, too.
    pub(crate) fn settled_record(&self, name: &str, more: &[&str]) -> (String, usize) {
        let said = self.registered("owner", &self.write(name), more);
        let (record, custodians) = (said["record"].as_str().unwrap(), said["custodians"].as_array().unwrap().len());
        eventually("every custodian acknowledges", || {
            let trail = self.ok("owner", &["audit", "query", "--record", record, "--limit", "500"]);
            let acknowledges = |item: &&Value| item["event"]["action"] == "acknowledge";
            let acknowledged = trail["items"].as_array().unwrap().iter().filter(acknowledges).count();
            (acknowledged == custodians).then_some(())
        });
        (record.to_owned(), custodians)
    }

    /// Writes a file whose text is its name.
    fn write(&self, name: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, name).unwrap();
        path
    }

    /// Opens a record as somebody and gives its bytes.
    pub(crate) fn open(&self, who: &str, id: &str, more: &[&str]) -> Vec<u8> {
        let out = self.folder().join(format!("opened-{who}-{id}"));
        let _ = std::fs::remove_file(&out);
        let said = self.ok(who, &[&["access", "open", id, "--out", str(&out)], more].concat());
        let bytes = std::fs::read(&out).unwrap();
        assert_eq!(said["bytes"], bytes.len());
        std::fs::remove_file(out).unwrap();
        bytes
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.process.get_mut().unwrap_or_else(PoisonError::into_inner).take().into_iter().for_each(stop);
    }
}

/// Asks a process to stop, as a service manager would; it ends by itself, and well.
pub(crate) fn stop(mut process: Child) {
    let id = rustix::process::Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if let Some(status) = process.try_wait().unwrap() {
            if !std::thread::panicking() {
                assert!(status.success(), "it stops cleanly: {status}");
            }
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    process.kill().unwrap();
    assert!(std::thread::panicking(), "it did not stop when it was asked to");
}

/// The first line that a network or a node says, as JSON; the rest is read and dropped, so that it never blocks.
pub(crate) fn first_line(stdout: ChildStdout) -> Value {
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: `{line}`"))
}
