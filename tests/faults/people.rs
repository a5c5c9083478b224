//! People at work: each does one thing after the other at some gateway, and writes down what came of it.

use super::{
    dice::Dice,
    log::{Act, Call, EntrySeen, GrantSeen, Op, Question, RecordSeen, RequestSeen, Seen, Told},
    model::PAGE,
    office::{Desk, Granted, Office, Remote, Sealed},
};
use dmdl::{
    client::{AskGatewayError, CallError, Draft, Prepared, RegisterError},
    local::Identity,
    node::Final,
    problem::Problem,
};
use dmdl_policies::templates::Template;
use dmdl_types::{
    access::{DuoCode, Permission, Purpose, Terms},
    event::Verdict,
    genesis::Role,
    id::{GrantId, Height, NoteCommitment, RecordId},
    invocation::{Access, Authority, Invocation, Medical, Metadata},
    transaction::Transaction,
};
use serde_json::{Value, json};
use std::{io::Cursor, time::Duration};
use tokio::time::{sleep, timeout};

/// How long somebody waits for one gateway: more than it was asked to take.
const GIVES_UP_AFTER: Duration = Duration::from_secs(7);
/// The same for a read that has to be fresh, which takes some turns.
const FRESH_AFTER: Duration = Duration::from_secs(15);
/// Between two things that somebody does.
const BREATH: Duration = Duration::from_millis(20);
/// After something that came to nothing.
const REST: Duration = Duration::from_millis(200);
/// As many of the newest things are worked on, so that people get in each other's way.
const NEWEST: usize = 8;
/// How long a grant lasts.
const DAYS: u16 = 30;
const MEDIA_TYPE: &str = "application/octet-stream";
/// How long the first records may take.
const BEGINS_WITHIN: Duration = Duration::from_secs(120);

/// How somebody works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Does everything that their role lets them, and turns to another gateway when one does not help.
    Roams,
    /// The same, always at one gateway.
    Stays,
    /// Enters items, and turns to another gateway when one does not help.
    Enters,
}

/// Somebody at work.
pub(crate) struct Worker<'a> {
    office: &'a Office,
    identity: &'a Identity,
    remotes: Vec<Remote>,
    habit: Habit,
    dice: Dice,
    at: usize,
    /// Decryptions that were allowed, with their grants and what they open.
    allowed: Vec<(Prepared, GrantId, Vec<u8>)>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(office: &'a Office, name: &str, at: usize, habit: Habit, dice: Dice) -> Self {
        let identity = office.identity(name);
        let remotes = (0..office.gateways()).map(|gateway| office.remote(identity, gateway)).collect();
        Self { office, identity, remotes, habit, dice, at, allowed: Vec::new() }
    }

    /// Works until the office closes.
    pub(crate) async fn work(mut self) {
        while !self.office.is_over() {
            let went_well = match (self.habit, self.identity.person.role) {
                (Habit::Enters, _) => self.enter().await,
                (_, Role::Owner) => self.own().await,
                _ => self.research().await,
            };
            sleep(if went_well { BREATH } else { REST }).await;
        }
    }

    /// Enters items at this gateway until one is acknowledged there.
    pub(crate) async fn insist(mut self) {
        while !self.enter().await {
            sleep(REST).await;
        }
    }

    async fn own(&mut self) -> bool {
        let (me, others) = (self.identity.person.key, self.office.keys(Role::Owner));
        match self.dice.below(16) {
            0..3 => self.enter().await,
            3..6 => {
                let (Some(record), Some(to)) = (self.any_record(), self.dice.pick(&others).copied()) else {
                    return true;
                };
                self.call(Call::Transfer { record, to }).await
            }
            6 => {
                let Some(record) = self.newest(|desk| &desk.items) else { return true };
                self.call(Call::Delete { record }).await
            }
            7..9 => {
                let Some(Granted { grant, .. }) = self.newest(|desk| &desk.grants) else { return true };
                self.call(Call::Revoke { grant }).await
            }
            9..11 => self.ask(Question::OwnedBy(me)).await,
            _ => self.look().await,
        }
    }

    async fn research(&mut self) -> bool {
        match self.dice.below(16) {
            0..3 => {
                let Some(Sealed { id: record, .. }) = self.newest(|desk| &desk.records) else { return true };
                let uses = u32::try_from(1 + self.dice.below(3)).unwrap();
                self.call(Call::Request { record, uses, days: DAYS }).await
            }
            3..8 => self.decrypt().await,
            8..10 => self.open().await,
            10..13 => {
                let me = self.identity.person.key;
                let Some(granted) = self.newest(|desk| &desk.grants).filter(|granted| granted.requester == me) else {
                    return true;
                };
                self.ask(Question::Request(granted.request)).await
            }
            _ => self.look().await,
        }
    }

    async fn enter(&mut self) -> bool {
        self.call(Call::Initial).await
    }

    async fn look(&mut self) -> bool {
        let Some(record) = self.any_record() else { return true };
        let question = if self.dice.below(2) == 0 { Question::Record(record) } else { Question::History(record) };
        self.ask(question).await
    }

    /// One of the newest of something on the desk.
    fn newest<T: Clone>(&mut self, of: impl FnOnce(&Desk) -> &Vec<T>) -> Option<T> {
        let desk = self.office.desk();
        let all = of(&desk);
        self.dice.pick(&all[all.len().saturating_sub(NEWEST)..]).cloned()
    }

    fn any_record(&mut self) -> Option<RecordId> {
        match self.dice.below(4) {
            0 => self.newest(|desk| &desk.records).map(|sealed| sealed.id),
            _ => self.newest(|desk| &desk.items),
        }
    }

    /// Turns to another gateway, if that is this one's way.
    fn turn(&mut self) {
        if self.habit != Habit::Stays {
            self.at = (self.at + 1) % self.remotes.len();
        }
    }

    /// Signs a call and has it ordered; true when it was said what became of it.
    async fn call(&mut self, call: Call) -> bool {
        let Some(invocation) = invocation(&call) else { return true };
        match timeout(GIVES_UP_AFTER, self.remotes[self.at].sign(invocation)).await {
            Ok(Ok(transaction)) => self.order(call, &transaction).await.is_some(),
            _ => {
                // Nobody was asked for anything yet.
                self.turn();
                false
            }
        }
    }

    /// Has a transaction ordered, by one gateway after the other until one says what became of it.
    async fn order(&mut self, call: Call, transaction: &Transaction) -> Option<Final> {
        let (id, author) = (transaction.body.id(), self.identity.person.key);
        self.office.signed(id, author, call.clone());
        if call == Call::Initial {
            let (network, channel) = self.office.domain();
            self.office.desk().items.push(RecordId::derive(network, channel, author, &[*id.as_bytes()]));
        }
        let tries = if self.habit == Habit::Stays { 1 } else { self.remotes.len() };
        let invoked = self.office.now();
        let mut told = Told::Unknown("no answer in time".to_owned());
        for tried in 0..tries {
            let answer = timeout(GIVES_UP_AFTER, self.remotes[self.at].submit(transaction.clone())).await;
            let (gateway, first) = (self.at, tried == 0);
            let write = |told| Op { gateway, invoked, completed: self.office.now(), act: Act::Write { id, told } };
            match answer {
                Ok(Ok(done)) => {
                    let (position, event) = (done.position, Box::new(done.event.clone()));
                    self.office.note(write(Told::Done { position, event }));
                    self.keep(&call, &done);
                    return Some(done);
                }
                Ok(Err(CallError::Gateway(AskGatewayError::Problem(problem)))) if is_refusal(&problem) => {
                    // Who asked another one before does not know what that one will still do.
                    let code = problem.code.into_owned();
                    self.office.note(write(if first { Told::Refused(code) } else { Told::Unknown(code) }));
                    return None;
                }
                Ok(Err(CallError::Gateway(AskGatewayError::Problem(problem)))) => {
                    told = Told::Unknown(problem.code.into_owned());
                }
                Ok(Err(CallError::Gateway(AskGatewayError::Unreachable(_)))) => {
                    told = Told::Unknown("unreachable".to_owned());
                }
                Ok(Err(error)) => {
                    self.office.note(write(Told::Forged(error.to_string())));
                    return None;
                }
                Err(_) => {}
            }
            self.turn();
        }
        let (gateway, completed) = (self.at, self.office.now());
        self.office.note(Op { gateway, invoked, completed, act: Act::Write { id, told } });
        None
    }

    /// Puts what a call made onto the desk, for others.
    fn keep(&self, call: &Call, done: &Final) {
        if let (Call::Request { record, .. }, Some(grant)) = (call, done.event.outcome.grant) {
            let (request, requester) = (done.transaction, self.identity.person.key);
            self.office.desk().grants.push(Granted { grant, request, requester, record: *record });
        }
    }

    /// Asks something; true when it was answered.
    async fn ask(&mut self, question: Question) -> bool {
        let is_linear = self.dice.below(4) == 0;
        let patience = if is_linear { FRESH_AFTER } else { GIVES_UP_AFTER };
        let invoked = self.office.now();
        let answered = timeout(patience, read(&self.remotes[self.at], &question, is_linear)).await;
        let (gateway, completed) = (self.at, self.office.now());
        let seen = answered.ok().and_then(Result::ok);
        let went_well = seen.is_some();
        self.office.note(Op { gateway, invoked, completed, act: Act::Read { question, is_linear, seen } });
        if !went_well {
            self.turn();
        }
        went_well
    }

    async fn decrypt(&mut self) -> bool {
        let me = self.identity.person.key;
        let Some(Granted { grant, record, requester, .. }) = self.newest(|desk| &desk.grants) else { return true };
        let sealed = self.office.desk().records.iter().find(|sealed| sealed.id == record).cloned();
        let Some(Sealed { version, bytes, .. }) = sealed.filter(|_| requester == me) else { return true };
        let prepared = self.remotes[self.at].prepare(record, version, Authority::Grant(grant));
        let Ok(Ok(prepared)) = timeout(GIVES_UP_AFTER, prepared).await else {
            self.turn();
            return false;
        };
        let transaction = prepared.parts().0.clone();
        let Some(done) = self.order(Call::Decrypt { record, grant }, &transaction).await else { return false };
        if done.event.outcome.verdict == Verdict::Allow {
            self.allowed.push((prepared, grant, bytes));
        }
        true
    }

    /// Gathers the shares of a decryption that was allowed, maybe some time ago.
    async fn open(&mut self) -> bool {
        let from = self.allowed.len().saturating_sub(NEWEST);
        let Some((prepared, grant, bytes)) = self.dice.pick(&self.allowed[from..]) else { return true };
        let (remote, invoked) = (&self.remotes[self.at], self.office.now());
        let mut plaintext = Vec::new();
        let opening = async {
            let opening = remote.order(prepared).await?;
            remote.open(&opening, &mut plaintext).await
        };
        let opened = matches!(timeout(FRESH_AFTER, opening).await, Ok(Ok(_)));
        assert!(!opened || plaintext == *bytes, "a record opened to other bytes");
        let (decryption, grant, completed) = (prepared.id(), *grant, self.office.now());
        self.office.note(Op { gateway: self.at, invoked, completed, act: Act::Open { decryption, grant, opened } });
        if !opened {
            self.turn();
        }
        opened
    }

    /// Seals and registers a record that biomedical research may open, and waits until it is active.
    pub(crate) async fn register(self, bytes: Vec<u8>) {
        let remote = &self.remotes[self.at];
        let metadata = Metadata { media_type: MEDIA_TYPE.to_owned(), subject: None, listed: true };
        let policy = Template::ResearchAuto.document(Permission { code: DuoCode::Hmb, diseases: Vec::new() });
        let draft = Draft::new(metadata, Some(policy));
        let registered = async {
            loop {
                let spool = Cursor::new(Vec::new());
                match remote.register(&bytes[..], spool, draft.clone(), &|_| ()).await {
                    Ok(registered) => break registered,
                    // Nothing was asked of the ledger: on a busy machine custodians may be late.
                    Err(RegisterError::TooFewCustodians { .. }) => sleep(REST).await,
                    // Nor is anything measured yet: where the network is slow to begin, another record does as well.
                    Err(RegisterError::Call(CallError::Gateway(AskGatewayError::Problem(problem))))
                        if problem.status == 503 =>
                    {
                        sleep(REST).await;
                    }
                    Err(error) => panic!("a record is registered: {error}"),
                }
            }
        };
        let registered = timeout(BEGINS_WITHIN, registered).await.expect("a record is registered in time");
        let (id, version) = (registered.record, registered.version);
        let active = remote.wait_active(id, version, BEGINS_WITHIN).await.unwrap();
        assert!(active, "enough custodians acknowledge");
        let min_acks = 2 * registered.threshold - 1;
        let call = Call::Register { record: id, min_acks };
        self.office.signed(registered.done.transaction, self.identity.person.key, call);
        self.office.desk().records.push(Sealed { id, version, bytes });
    }
}

/// Whether a problem says that a transaction is not let through, and not only that this gateway does not help.
fn is_refusal(problem: &Problem) -> bool {
    matches!(problem.status, 400 | 403 | 404 | 409 | 422) && problem.code != "replayed"
}

/// The call as it is signed; none for what is signed in another way.
fn invocation(call: &Call) -> Option<Invocation> {
    Some(match *call {
        Call::Initial => Invocation::Medical(Medical::Initial {
            metadata: Metadata { media_type: MEDIA_TYPE.to_owned(), subject: None, listed: true },
            source: NoteCommitment::of(&[7; 32], "a hospital"),
            storage: None,
        }),
        Call::Transfer { record, to } => Invocation::Medical(Medical::Transfer { record, to }),
        Call::Delete { record } => Invocation::Medical(Medical::Delete { record }),
        Call::Request { record, uses, days } => {
            let purpose = Purpose { code: DuoCode::Hmb, disease: None };
            let (non_profit, commercial) = (true, false);
            let (country, project, ethics) = (None, None, None);
            let terms = Terms { purpose, days, uses, non_profit, commercial, country, project, ethics };
            let reason = NoteCommitment::of(&[7; 32], "a study");
            Invocation::Access(Access::Request { record, terms, reason })
        }
        Call::Revoke { grant } => Invocation::Access(Access::Revoke { grant }),
        Call::Register { .. } | Call::Decrypt { .. } => return None,
    })
}

/// Asks a gateway; what it answers is read as what it is said to be.
async fn read(remote: &Remote, question: &Question, is_linear: bool) -> Result<(Height, Seen), AskGatewayError> {
    let how = if is_linear { "?consistency=linear" } else { "" };
    let query = |function: &str, args: Value| json!({ "contract": "medical", "function": function, "args": args });
    let of_record = |function, record: &RecordId| query(function, json!({ "record": record }));
    let question_of_contract = match question {
        Question::Request(id) => {
            let (height, answer) = remote.gateway().get_at(&format!("requests/{id}{how}")).await?;
            return Ok((height, answer.map_or(Seen::Missing, |answer| request_seen(&answer))));
        }
        Question::Record(record) => of_record("readMedical", record),
        Question::History(record) => query("getHistory", json!({ "record": record, "limit": PAGE })),
        Question::OwnedBy(owner) => query("queryByOwner", json!({ "owner": owner, "limit": PAGE })),
    };
    let (height, answer) = remote.gateway().query_at(&format!("query{how}"), &question_of_contract).await?;
    let seen = |answer: Value| match question {
        Question::Record(_) => record_seen(&answer),
        Question::History(_) => Seen::History(items(&answer).map(entry_seen).collect()),
        _ => Seen::Owned(items(&answer).map(|item| (value(item, "record"), value(item, "state"))).collect()),
    };
    Ok((height, answer.map_or(Seen::Missing, seen)))
}

fn record_seen(record: &Value) -> Seen {
    let (owner, org) = (value(record, "owner"), value(record, "org"));
    Seen::Record(RecordSeen { owner, org, state: value(record, "state"), registered: value(record, "registered") })
}

fn entry_seen(entry: &Value) -> EntrySeen {
    let (kind, transaction) = (value(entry, "kind"), value(entry, "transaction"));
    EntrySeen { kind, transaction, time: value(entry, "time"), owner: value(entry, "owner") }
}

fn request_seen(request: &Value) -> Seen {
    let grant = |grant: &Value| GrantSeen {
        ends: value(grant, "ends"),
        uses: value(grant, "uses"),
        used: value(grant, "used"),
        revoked: value(grant, "revoked"),
    };
    let granted = request.get("grant").filter(|granted| !granted.is_null());
    Seen::Request(RequestSeen { state: value(request, "state"), grant: granted.map(grant) })
}

fn items(answer: &Value) -> impl Iterator<Item = &Value> {
    answer["items"].as_array().expect("a list has items").iter()
}

fn value<T: serde::de::DeserializeOwned>(of: &Value, name: &str) -> T {
    serde_json::from_value(of[name].clone()).unwrap_or_else(|error| panic!("`{name}` of {of}: {error}"))
}
