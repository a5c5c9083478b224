//! A table of bad input: each row is sent, gets its code, and changes nothing; then everything is as it was.

use crate::world::{Answer, World, submission};
use dmdl::local::Identity;
use dmdl_types::{genesis::Role, invocation::Invocation, transaction::Transaction};
use std::{
    fs, io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

static TURN: Mutex<()> = Mutex::new(());
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// How long the log of events must have stayed as it is.
const QUIET: Duration = Duration::from_millis(1500);
/// What a table may make the process grow by.
const GROWTH_KIB: u64 = 64 * 1024;
/// Longest piece of a body that may stand in a line of the log by chance.
const LINE_PIECE: usize = 16;

/// The world, for one table at a time.
pub(crate) struct Table {
    pub(crate) world: Arc<World>,
    begun: Option<Begun>,
    _turn: MutexGuard<'static, ()>,
}

/// How things stood before the first row, and what the rows before may have added.
struct Begun {
    events: u64,
    resident_kib: u64,
}

impl Table {
    /// Waits for its turn.
    pub(crate) fn new() -> Self {
        static SUBSCRIBER: OnceLock<()> = OnceLock::new();
        SUBSCRIBER.get_or_init(|| {
            let filter = tracing_subscriber::EnvFilter::new("dmdl::gateway=info");
            tracing_subscriber::fmt().with_ansi(false).with_env_filter(filter).with_writer(|| Log).init();
        });
        // Held while it waits, so that all tables have one world.
        let world = World::shared();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self { world, begun: None, _turn: turn }
    }

    /// Ends the preparations: nothing is on its way to the ledger any more.
    pub(crate) fn begin(&mut self) {
        let (mut events, mut since) = (self.world.log_size(), Instant::now());
        while since.elapsed() < QUIET {
            thread::sleep(Duration::from_millis(50));
            let now = self.world.log_size();
            if now != events {
                (events, since) = (now, Instant::now());
            }
        }
        self.begun = Some(Begun { events, resident_kib: resident_kib() });
    }

    /// A row of one request.
    #[track_caller]
    pub(crate) fn row(
        &self,
        name: &str,
        who: Option<&Identity>,
        (method, target): (&str, &str),
        body: Option<&str>,
        (status, code): (u16, &str),
    ) {
        let begun = self.begun.as_ref().expect("the table has begun");
        let from = LOG.lock().unwrap().len();
        let headers = [("content-type", "application/json")];
        let sent = body.unwrap_or_default().as_bytes();
        let answer = self.world.ask(who, method, target, &headers[..usize::from(body.is_some())], sent);
        // `HEAD` has a status and nothing else.
        let told = if method == "HEAD" { (answer.status, code.to_owned()) } else { answer.told() };
        assert_eq!(told, (status, code.to_owned()), "{name}: {}", String::from_utf8_lossy(&answer.body));
        assert_one_line(name, from, status, sent);
        assert_eq!(self.world.log_size(), begun.events, "{name}: something of it is on the ledger");
    }

    /// A row of one transaction that no node puts its name to.
    #[track_caller]
    pub(crate) fn call(&self, name: &str, who: &Identity, call: Invocation, expected: (u16, &str)) {
        self.transaction(name, &self.world.transaction(who, call), expected);
    }

    /// The same of a transaction that is made by hand.
    #[track_caller]
    pub(crate) fn transaction(&self, name: &str, transaction: &Transaction, expected: (u16, &str)) {
        let body = submission(transaction).to_string();
        self.row(name, None, ("POST", "/v1/channels/main/transactions"), Some(&body), expected);
    }

    /// A row of one transaction that is denied: which is evidence, and so one event.
    #[track_caller]
    pub(crate) fn denied(&mut self, name: &str, who: &Identity, call: Invocation, reason: &str) {
        let transaction = self.world.transaction(who, call);
        let answer = self.world.send_json(None, "POST", "transactions", &submission(&transaction));
        let problem = answer.problem(403, "denied");
        assert_eq!(problem["reasons"][0]["code"], reason, "{name}: {problem}");
        let begun = self.begun.as_mut().expect("the table has begun");
        begun.events += 1;
        assert_eq!(problem["position"], begun.events - 1, "{name}: the denial is the next event");
    }

    /// A row that is in order after all, and leaves so many events.
    pub(crate) fn accepted(&mut self, name: &str, events: u64, ask: impl FnOnce(&World) -> Answer) -> Answer {
        let answer = ask(&self.world);
        assert!((200..300).contains(&answer.status), "{name}: {answer:?}");
        self.begun.as_mut().expect("the table has begun").events += events;
        answer
    }

    /// Everything is as it was: the gateway serves, the ledger has what was promised and no more, all nodes agree on
    /// it, and memory is where it was.
    pub(crate) fn end(mut self) {
        let Begun { events, resident_kib: before } = self.begun.take().expect("the table has begun");
        assert_eq!(self.world.ask(None, "GET", "/readyz", &[], b"").body, "ready");
        let owner = self.world.person(0, Role::Owner);
        assert_eq!(self.world.get(Some(owner), "records").status, 200);
        thread::sleep(QUIET);
        assert_eq!(self.world.log_size(), events, "nothing comes after");
        self.world.assert_agreement();
        let grown = resident_kib().saturating_sub(before);
        assert!(grown <= GROWTH_KIB, "the process has grown by {grown} KiB");
    }
}

/// Asserts that a request left one line in the log, which is plain and has nothing of its body.
#[track_caller]
fn assert_one_line(name: &str, from: usize, status: u16, body: &[u8]) {
    let log = LOG.lock().unwrap()[from..].to_vec();
    let log = String::from_utf8(log).expect("the log is text");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 1, "{name}: {lines:?}");
    assert!(lines[0].bytes().all(|byte| (b' '..=b'~').contains(&byte)) && lines[0].len() < 400, "{name}: {lines:?}");
    assert!(lines[0].contains(&format!("status={status}")), "{name}: {lines:?}");
    let told = body.windows(LINE_PIECE).any(|piece| lines[0].as_bytes().windows(LINE_PIECE).any(|own| own == piece));
    assert!(!told, "{name}: the log repeats the body: {lines:?}");
}

/// Memory of this process.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("this system tells of its processes");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
