//! A table of bad input: each row is sent, gets its code, and changes nothing; then everything is as it was.

use crate::{
    log,
    world::{Answer, World, submission},
};
use dmdl::{client::Registered, local::Identity};
use dmdl_types::{
    access::PolicyDocument, genesis::Role, id::RecordId, invocation::Invocation, transaction::Transaction,
};
use serde_json::Value;
use std::{
    cell::RefCell,
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

static TURN: Mutex<()> = Mutex::new(());

/// Further blocks after which all that had come by now is on the ledger: the first of them may have been made up
/// before it came.
const QUIET_BLOCKS: u64 = 2;
/// What a table may make the process grow by.
const GROWTH_KIB: u64 = 64 * 1024;
/// Longest piece of a body that may stand in a line of the log by chance.
const LINE_PIECE: usize = 16;

/// The world, for one table at a time.
pub(crate) struct Table {
    pub(crate) world: Arc<World>,
    /// Records, each with as many custodians as will acknowledge.
    registered: Vec<(RecordId, usize)>,
    begun: Option<Begun>,
    _turn: MutexGuard<'static, ()>,
}

/// How things stood before the first row, and what the rows before may have added.
struct Begun {
    events: u64,
    resident_kib: u64,
    /// The rows that must leave no event.
    rows: RefCell<Vec<String>>,
}

impl Table {
    /// Waits for its turn.
    pub(crate) fn new() -> Self {
        log::keep();
        // Held while it waits, so that all tables have one world.
        let world = World::shared();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self { world, registered: Vec::new(), begun: None, _turn: turn }
    }

    /// Registers a record, as [`World::record`] does.
    pub(crate) fn record(&mut self, listed: bool, policy: Option<PolicyDocument>) -> Registered {
        let registered = self.world.record(listed, policy);
        self.registered.push((registered.record, registered.custodians.len()));
        registered
    }

    /// Ends the preparations: nothing is on its way to the ledger any more.
    pub(crate) fn begin(&mut self) {
        for (record, custodians) in &self.registered {
            self.world.eventually("all custodians have acknowledged", |world| {
                acknowledgements(world, *record) == *custodians
            });
        }
        let mut events = self.world.log_size();
        loop {
            self.wait_quiet_blocks();
            let now = self.world.log_size();
            if now == events {
                break;
            }
            events = now;
        }
        self.begun = Some(Begun { events, resident_kib: resident_kib(), rows: RefCell::default() });
    }

    /// Time does not tell: a view that is skipped is seconds without a block.
    fn wait_quiet_blocks(&self) {
        let height = self.world.height();
        self.world.eventually("blocks are made", |world| world.height() >= height + QUIET_BLOCKS);
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
        begun.rows.borrow_mut().push(name.to_owned());
        let from = log::kept().len();
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
        let Begun { events, resident_kib: before, rows } = self.begun.take().expect("the table has begun");
        assert_eq!(self.world.ask(None, "GET", "/readyz", &[], b"").body, "ready");
        let owner = self.world.person(0, Role::Owner);
        assert_eq!(self.world.get(Some(owner), "records").status, 200);
        self.wait_quiet_blocks();
        let rows = rows.into_inner();
        assert_eq!(self.world.log_size(), events, "nothing comes after: something of one of {rows:?} is on the ledger");
        self.world.assert_agreement();
        let grown = resident_kib().saturating_sub(before);
        assert!(grown <= GROWTH_KIB, "the process has grown by {grown} KiB");
    }
}

/// How many custodians of a record have acknowledged their shares.
fn acknowledgements(world: &World, record: RecordId) -> usize {
    let owner = world.person(0, Role::Owner);
    let trail = world.get(Some(owner), &format!("audit/events?record={record}&limit=500")).json();
    let acknowledges = |item: &&Value| item["event"]["action"] == "acknowledge";
    trail["items"].as_array().unwrap().iter().filter(acknowledges).count()
}

/// Asserts that a request left one line in the log, which is plain and has nothing of its body.
#[track_caller]
fn assert_one_line(name: &str, from: usize, status: u16, body: &[u8]) {
    let log = log::kept();
    let lines: Vec<&str> = log[from..].lines().collect();
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
