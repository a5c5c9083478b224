//! The checker, tested: it finds nothing in a run as it should be, and each thing that is wrong with one.

use super::{
    checker::{Kind, check},
    log::{Act, Call, History, Micros, Op, Question, Seen, Told},
    model::{Expected, Model},
};
use dmdl_types::{
    access::{Reason, ReasonCode},
    event::{Action, Event, Outcome, Verdict},
    id::{ChannelId, GrantId, Height, NetworkId, RecordId, TransactionId, UnixMillis, UseNumber},
    sign::PublicKey,
};
use std::collections::{BTreeMap, BTreeSet};

const DOMAIN: (NetworkId, ChannelId) = (NetworkId::new([1; 32]), ChannelId::new([2; 32]));
const OWNER: PublicKey = PublicKey::new([10; 32]);
const HEIR: PublicKey = PublicKey::new([11; 32]);
const READER: PublicKey = PublicKey::new([12; 32]);
const NODE: PublicKey = PublicKey::new([20; 32]);
const SECOND: Micros = 1_000_000;
const BEGUN_AT: UnixMillis = UnixMillis::new(60_000);
/// What everything here is about, beside what people enter.
const RECORD: RecordId = RecordId::new([30; 32]);

/// A run that goes as it should, with everybody at gateway 0 and one thing after the other.
struct Story {
    history: History,
    now: Micros,
}

/// The ledger's time at a height.
const fn at(height: u64) -> UnixMillis {
    UnixMillis::new(BEGUN_AT.get() + 500 * height)
}

fn id(number: usize) -> TransactionId {
    TransactionId::new([u8::try_from(100 + number).unwrap(); 32])
}

const fn action(call: &Call) -> Action {
    match call {
        Call::Register { .. } => Action::Register,
        Call::Initial => Action::InitialMedical,
        Call::Transfer { .. } => Action::TransferMedical,
        Call::Delete { .. } => Action::Delete,
        Call::Request { .. } => Action::Request,
        Call::Revoke { .. } => Action::RevokeGrant,
        Call::Decrypt { .. } => Action::Decrypt,
    }
}

fn outcome(expected: Expected) -> Outcome {
    let Expected { verdict, reason, grant, use_number } = expected;
    let reasons = reason.into_iter().map(Reason::code).collect();
    Outcome { verdict, reasons, grant, use_number: use_number.map(UseNumber::new) }
}

impl Story {
    /// A record is registered and acknowledged; the owner enters an item, and gives it away; the reader is granted two
    /// uses of the record, and uses them; the grant is revoked; and what there is, is read between all that.
    fn new() -> Self {
        let orgs = [(OWNER, "a"), (HEIR, "b"), (READER, "c")].map(|(key, org)| (key, org.to_owned()));
        let (owners, begun_at) = (vec![OWNER, HEIR], BEGUN_AT);
        let history = History { orgs: orgs.into(), owners, begun_at, ..History::default() };
        let mut story = Self { history, now: 0 };
        story.write(OWNER, Call::Register { record: RECORD, min_acks: 1 });
        story.acknowledge();
        story.write(OWNER, Call::Initial);
        let item = story.item();
        story.read(Question::Record(item), false);
        story.write(OWNER, Call::Transfer { record: item, to: HEIR });
        story.read(Question::History(item), true);
        story.read(Question::OwnedBy(HEIR), false);
        let asked = story.write(READER, Call::Request { record: RECORD, uses: 2, days: 1 });
        let grant = GrantId::of_request(asked);
        for allowed in [true, true, false] {
            let decryption = story.write(READER, Call::Decrypt { record: RECORD, grant });
            story.read(Question::Request(asked), true);
            story.open(decryption, grant, allowed);
        }
        story.write(OWNER, Call::Revoke { grant });
        story.read(Question::Request(asked), false);
        story.write(HEIR, Call::Delete { record: item });
        story.write(OWNER, Call::Delete { record: item });
        story
    }

    fn model(&self) -> Model<'_> {
        Model::new(DOMAIN, &self.history.orgs, &self.history.owners)
    }

    /// The model after so many events of the trail.
    fn after(&self, events: usize) -> Model<'_> {
        let mut model = self.model();
        for event in &self.history.trail[..events] {
            match self.history.calls.get(&event.transaction) {
                Some((_, call)) => drop(model.execute(event, call)),
                None => model.observe(event),
            }
        }
        model
    }

    /// The item that was entered first.
    fn item(&self) -> RecordId {
        let entered = self.history.calls.iter().find(|(_, (_, call))| *call == Call::Initial).unwrap();
        self.model().item(entered.1.0, *entered.0)
    }

    fn event(&self, transaction: TransactionId, actor: PublicKey, action: Action) -> Event {
        Event {
            height: self.history.height,
            time: at(self.history.height.get()),
            transaction,
            item: 0,
            action,
            actor,
            org: None,
            record: None,
            version: None,
            subject: None,
            shares: None,
            purpose: None,
            policy: None,
            refers_to: None,
            outcome: Outcome::applied(),
        }
    }

    fn op(&mut self, act: Act) {
        let invoked = self.now + SECOND / 10;
        self.now = invoked + SECOND / 2;
        self.history.ops.push(Op { gateway: 0, invoked, completed: self.now, act });
    }

    fn write(&mut self, actor: PublicKey, call: Call) -> TransactionId {
        self.history.height = self.history.height.next();
        let id = id(self.history.trail.len());
        let mut event = self.event(id, actor, action(&call));
        event.outcome = outcome(self.after(self.history.trail.len()).execute(&event, &call));
        let position = self.history.trail.len() as u64;
        self.history.calls.insert(id, (actor, call));
        self.history.trail.push(event.clone());
        self.op(Act::Write { id, told: Told::Done { position, event: Box::new(event) } });
        id
    }

    fn acknowledge(&mut self) {
        self.history.height = self.history.height.next();
        let mut event = self.event(id(self.history.trail.len()), NODE, Action::Acknowledge);
        event.record = Some(RECORD);
        self.history.trail.push(event);
    }

    fn read(&mut self, question: Question, is_linear: bool) {
        let seen = self.after(self.history.trail.len()).answer(&question);
        let seen = Some((self.history.height, seen));
        self.op(Act::Read { question, is_linear, seen });
    }

    fn open(&mut self, decryption: TransactionId, grant: GrantId, opened: bool) {
        self.op(Act::Open { decryption, grant, opened });
    }

    /// The kinds of what is wrong, once something was changed.
    fn found(mut self, change: impl FnOnce(&mut History)) -> BTreeSet<Kind> {
        change(&mut self.history);
        check(&self.history, DOMAIN).into_iter().map(|anomaly| anomaly.kind).collect()
    }
}

/// The operation with the last transaction of a kind.
fn last_of(history: &mut History, wanted: Action) -> &mut Op {
    let is_wanted = |op: &&mut Op| op.done().is_some_and(|(_, _, event)| event.action == wanted);
    history.ops.iter_mut().rfind(is_wanted).unwrap()
}

fn last_read(history: &mut History, linear: bool) -> &mut Op {
    let is_wanted = |op: &&mut Op| matches!(op.act, Act::Read { is_linear, .. } if is_linear == linear);
    history.ops.iter_mut().rfind(is_wanted).unwrap()
}

/// Turns the last denied decryption into one that was allowed, in the trail and in what was told.
fn allow_the_denied(history: &mut History) {
    let op = last_of(history, Action::Decrypt);
    let Act::Write { told: Told::Done { position, event }, .. } = &mut op.act else { panic!("it was told") };
    assert_eq!(event.outcome.reasons[0].code, ReasonCode::GrantUsedUp);
    let grant = GrantId::of_request(id(4));
    event.outcome = Outcome { verdict: Verdict::Allow, grant: Some(grant), ..Outcome::applied() };
    event.outcome.use_number = Some(UseNumber::new(3));
    let (position, event) = (usize::try_from(*position).unwrap(), (**event).clone());
    history.trail[position] = event;
}

#[test]
fn nothing_is_wrong_with_a_run_as_it_should_be() {
    let story = Story::new();
    let verdicts: Vec<Verdict> = story.history.trail.iter().map(|event| event.outcome.verdict).collect();
    for verdict in [Verdict::Applied, Verdict::Allow, Verdict::Deny, Verdict::Rejected] {
        assert!(verdicts.contains(&verdict), "{verdicts:?}");
    }
    assert_eq!(check(&story.history, DOMAIN), []);
}

#[test]
fn what_is_unknown_may_have_happened_or_not_and_what_is_concurrent_may_be_in_any_order() {
    let unknown = |history: &mut History| {
        let told = Told::Unknown("not_final".to_owned());
        history.ops.iter_mut().for_each(|op| match &mut op.act {
            Act::Write { told: own, .. } => *own = told.clone(),
            Act::Read { .. } | Act::Open { .. } => {}
        });
    };
    assert_eq!(Story::new().found(unknown), BTreeSet::new());
    let never = |history: &mut History| {
        let (told, id) = (Told::Unknown("not_final".to_owned()), TransactionId::new([9; 32]));
        history.calls.insert(id, (OWNER, Call::Initial));
        history.ops.push(Op { gateway: 0, invoked: 0, completed: 1, act: Act::Write { id, told } });
    };
    assert_eq!(Story::new().found(never), BTreeSet::new());
    let all_at_once = |history: &mut History| {
        let end = history.ops.last().unwrap().completed;
        history.ops.iter_mut().for_each(|op| (op.invoked, op.completed) = (0, end));
    };
    assert_eq!(Story::new().found(all_at_once), BTreeSet::new());
}

/// The same event once more at the end of a trail.
fn again(history: &mut History, action: Action) -> &mut Event {
    let last = history.trail.last().unwrap().clone();
    let event = history.trail.iter().rfind(|event| event.action == action).unwrap().clone();
    history.trail.push(Event { height: last.height, time: last.time, ..event });
    history.trail.last_mut().unwrap()
}

/// Has the last read of a kind say that at some height there was no such record as there never was.
fn misses_at(op: &mut Op, height: u64) {
    let Act::Read { question, seen, .. } = &mut op.act else { panic!("it is a read") };
    *question = Question::Record(RecordId::new([99; 32]));
    *seen = Some((Height::new(height), Seen::Missing));
}

fn told(op: &mut Op) -> &mut Told {
    let Act::Write { told, .. } = &mut op.act else { panic!("it is a transaction") };
    told
}

/// A run in which one thing is wrong: what that is, what is found of it, and how it comes to be.
type Planted = (&'static str, &'static [Kind], fn(&mut History));

const PLANTED: [Planted; 23] = [
    ("the last acknowledged transaction is gone", &[Kind::Lost], |history| drop(history.trail.pop())),
    ("something else is where an acknowledged one should be", &[Kind::Lost], |history| {
        let at = history.trail.len() - 2;
        let (height, time) = (history.trail[at].height, history.trail[at].time);
        history.trail[at] = Event { height, time, transaction: id(90), ..history.trail[1].clone() };
    }),
    ("an acknowledged one has become another outcome", &[Kind::Changed, Kind::Outcome], |history| {
        let event = history.trail.iter_mut().find(|event| event.action == Action::TransferMedical).unwrap();
        event.outcome = Outcome::of(Verdict::Rejected, Reason::code(ReasonCode::Role));
    }),
    ("it has another time than was told", &[Kind::Changed], |history| {
        let Told::Done { event, .. } = told(last_of(history, Action::Delete)) else { panic!("it was acknowledged") };
        event.time = UnixMillis::new(1);
    }),
    ("a revocation is executed twice", &[Kind::Doubled], |history| drop(again(history, Action::RevokeGrant).clone())),
    ("what was refused was ordered", &[Kind::Uninvited], |history| {
        *told(last_of(history, Action::RevokeGrant)) = Told::Refused("role".to_owned());
    }),
    ("somebody acts who has signed nothing", &[Kind::Uninvited], |history| {
        again(history, Action::Register).transaction = id(90);
    }),
    ("somebody acts in another one's name", &[Kind::Uninvited], |history| {
        let event = history.trail.iter().rfind(|event| event.action == Action::Delete).unwrap();
        history.calls.get_mut(&event.transaction).unwrap().0 = READER;
    }),
    ("a receipt proves nothing", &[Kind::Forged], |history| {
        *told(last_of(history, Action::RevokeGrant)) = Told::Forged("it is of another event".to_owned());
    }),
    ("what was begun later comes first", &[Kind::Disordered], |history| {
        let (end, count) = (history.ops.last().unwrap().completed, history.ops.len());
        let later = &mut history.ops[count - 1];
        (later.invoked, later.completed) = (later.invoked - SECOND / 2, later.completed - SECOND / 2);
        let earlier = &mut history.ops[count - 2];
        (earlier.invoked, earlier.completed) = (end, end + 1);
    }),
    ("what somebody read is changed by what was begun afterwards", &[Kind::Disordered], |history| {
        let end = history.ops.last().unwrap().completed;
        let op = last_of(history, Action::RevokeGrant);
        (op.invoked, op.completed) = (end, end + 1);
    }),
    ("what could have been done is rejected", &[Kind::Outcome], |history| {
        let event = history.trail.iter().rfind(|event| event.action == Action::Delete).unwrap();
        history.calls.get_mut(&event.transaction).unwrap().1 = Call::Initial;
    }),
    ("a read is of what was before its height", &[Kind::Misread], |history| {
        let Act::Read { seen: Some((_, Seen::Request(request))), .. } = &mut last_read(history, false).act else {
            panic!("it is of the grant");
        };
        request.grant.as_mut().unwrap().revoked = false;
    }),
    ("a read finds nothing where something is", &[Kind::Misread], |history| {
        let Act::Read { seen: Some((_, seen)), .. } = &mut last_read(history, true).act else { return };
        *seen = Seen::Missing;
    }),
    ("a read is of a height that is still to come", &[Kind::Ahead], |history| {
        let (end, beyond) = (history.ops.last().unwrap().completed, history.height.get() + 1);
        let op = Op { invoked: end, completed: end + 1, ..last_read(history, false).clone() };
        history.ops.push(op);
        misses_at(history.ops.last_mut().unwrap(), beyond);
    }),
    ("a gateway forgets what it has answered", &[Kind::Backwards], |history| misses_at(last_read(history, false), 1)),
    ("a gateway that had to know does not", &[Kind::Stale], |history| {
        last_read(history, true).gateway = 1;
        misses_at(last_read(history, true), 3);
    }),
    ("one decryption more is allowed than was granted", &[Kind::Outcome, Kind::Overused], allow_the_denied),
    ("a decryption is allowed after the revocation", &[Kind::Outcome, Kind::Overused, Kind::Revoked], |history| {
        allow_the_denied(history);
        let allowed = again(history, Action::Decrypt);
        let before = std::mem::replace(&mut allowed.transaction, id(90));
        let call = history.calls[&before].clone();
        history.calls.insert(id(90), call);
    }),
    ("shares come long after the revocation", &[Kind::Leaked], |history| {
        let end = history.ops.last().unwrap().completed;
        let opened = history.ops.iter().rfind(|op| matches!(op.act, Act::Open { opened: true, .. })).unwrap().clone();
        history.ops.push(Op { invoked: end + 20 * SECOND, completed: end + 21 * SECOND, ..opened });
    }),
    ("a decryption opens that was denied", &[Kind::Leaked], |history| {
        let denied = history.ops.iter_mut().rfind(|op| matches!(op.act, Act::Open { opened: false, .. })).unwrap();
        let Act::Open { opened, .. } = &mut denied.act else { return };
        *opened = true;
    }),
    ("the ledger's time goes back", &[Kind::Mistimed], |history| history.trail[1].time = at(4)),
    ("the ledger's time runs ahead", &[Kind::Mistimed], |history| history.begun_at = UnixMillis::new(0)),
];

#[test]
fn each_thing_that_is_wrong_is_found_and_called_by_its_name() {
    for (what, kinds, plant) in PLANTED {
        assert_eq!(Story::new().found(plant), kinds.iter().copied().collect(), "{what}");
    }
    let planted: BTreeSet<Kind> = PLANTED.iter().flat_map(|(_, kinds, _)| kinds.iter().copied()).collect();
    let all = [
        Kind::Lost,
        Kind::Changed,
        Kind::Doubled,
        Kind::Uninvited,
        Kind::Forged,
        Kind::Disordered,
        Kind::Outcome,
        Kind::Misread,
        Kind::Ahead,
        Kind::Backwards,
        Kind::Stale,
        Kind::Overused,
        Kind::Revoked,
        Kind::Leaked,
        Kind::Mistimed,
    ];
    assert_eq!(planted, all.into(), "there is nothing that the checker would find and that was not planted");
}

/// A grant that has ended allows nothing, by the ledger's time.
#[test]
fn the_model_ends_a_grant_when_its_days_are_over() {
    let (story, orgs, owners) = (Story::new(), BTreeMap::from([(READER, "c".to_owned())]), [OWNER]);
    let mut model = Model::new(DOMAIN, &orgs, &owners);
    let event = |story: &Story, number: usize, time_ms: u64, who| {
        let time = UnixMillis::new(time_ms);
        Event { time, ..story.event(id(number), who, Action::Decrypt) }
    };
    let asked = id(2);
    let grant = GrantId::of_request(asked);
    model.execute(&event(&story, 0, 1, OWNER), &Call::Register { record: RECORD, min_acks: 1 });
    model.observe(&story.history.trail[1]);
    model.execute(&event(&story, 2, 1_000, READER), &Call::Request { record: RECORD, uses: 9, days: 1 });
    let ends = 1_000 + 86_400_000;
    let mut decrypt =
        |number, time| model.execute(&event(&story, number, time, READER), &Call::Decrypt { record: RECORD, grant });
    assert_eq!(decrypt(3, ends).verdict, Verdict::Allow);
    assert_eq!(decrypt(4, ends + 1).reason, Some(ReasonCode::GrantExpired));
}
