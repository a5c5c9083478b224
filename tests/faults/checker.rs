//! Whether a run was strictly serialisable: whether everything that people were told is as if each of their
//! transactions had happened at one instant between its beginning and its end.
//!
//! Which order could explain what was told need not be searched for. The ledger has one, and this looks whether it does:
//! that it respects real time, that each transaction had the outcome that follows from those before it, and that each
//! read saw the state at the height that it named.

use super::{
    log::{Act, Call, History, Micros, Op, Told},
    model::{Expected, Model},
};
use dmdl_types::{
    event::{Action, Event, Verdict},
    id::{ChannelId, GrantId, Height, NetworkId, TransactionId},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Add,
};

/// How far the ledger's time may be ahead of a right clock.
const AHEAD_MS: u64 = 2_000;
/// How long a custodian may go on with a ledger that does not grow, and how far its clock may be off besides.
const STALE_AFTER: Micros = 12_000_000;

/// What must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// What was acknowledged is not in the trail, or not where it was said to be.
    Lost,
    /// It is there with another outcome than was told.
    Changed,
    /// It is there twice.
    Doubled,
    /// What was refused, or what nobody has signed, is there.
    Uninvited,
    /// A gateway showed as a proof what is none.
    Forged,
    /// Something comes after what was begun when it was over.
    Disordered,
    /// An outcome does not follow from what was before it.
    Outcome,
    /// A read saw something else than the state at its height.
    Misread,
    /// A read was of a height that there was not.
    Ahead,
    /// A gateway answered from an older height than before, or than what was done there.
    Backwards,
    /// A read that had to see everything did not.
    Stale,
    /// A grant was used more often than it says.
    Overused,
    /// A decryption was allowed under a grant that was revoked before.
    Revoked,
    /// Shares came that nothing allowed, or when every custodian knew that they must not.
    Leaked,
    /// The ledger's time goes back, or runs ahead of the right one.
    Mistimed,
}

/// Something that must not be, with what shows it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Anomaly {
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

impl fmt::Debug for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

/// Everything that is wrong with a run.
pub(crate) fn check(history: &History, domain: (NetworkId, ChannelId)) -> Vec<Anomaly> {
    let mut check = Check { history, found: Vec::new() };
    check.told();
    check.uninvited();
    check.real_time();
    check.heights();
    check.times();
    check.replay(domain);
    check.grants();
    check.found
}

struct Check<'a> {
    history: &'a History,
    found: Vec<Anomaly>,
}

impl<'a> Check<'a> {
    fn find(&mut self, kind: Kind, what: impl fmt::Display) {
        self.found.push(Anomaly { kind, what: what.to_string() });
    }

    /// Where the trail has each transaction of people.
    fn places(&self) -> BTreeMap<TransactionId, u64> {
        let mine = (0_u64..).zip(&self.history.trail).filter(|(_, event)| event.item == 0);
        mine.map(|(position, event)| (event.transaction, position)).collect()
    }

    /// Everything acknowledged is in the trail, as it was told; nothing that was refused is.
    fn told(&mut self) {
        let places = self.places();
        for op in &self.history.ops {
            let Act::Write { id, told } = &op.act else { continue };
            match told {
                Told::Done { position, event } => {
                    let at = usize::try_from(*position).ok().and_then(|position| self.history.trail.get(position));
                    match at.filter(|there| there.transaction == *id) {
                        None => self.find(Kind::Lost, format_args!("{id}, acknowledged at {position}")),
                        Some(there) if *there != **event => {
                            self.find(Kind::Changed, format_args!("{id}: told {event:?}, and there is {there:?}"));
                        }
                        Some(_) => {}
                    }
                }
                Told::Refused(code) if places.contains_key(id) => {
                    self.find(Kind::Uninvited, format_args!("{id} was refused as `{code}`"));
                }
                Told::Forged(why) => self.find(Kind::Forged, format_args!("{id}: {why}")),
                Told::Refused(_) | Told::Unknown(_) => {}
            }
        }
    }

    /// Nobody's name stands under what they have not signed, and under nothing twice.
    fn uninvited(&mut self) {
        let (history, mut seen) = (self.history, BTreeSet::new());
        for event in &history.trail {
            if !seen.insert((event.transaction, event.item)) {
                self.find(Kind::Doubled, event.transaction);
            }
            let is_ours = history.orgs.contains_key(&event.actor);
            let signed = history.calls.get(&event.transaction).is_some_and(|(actor, _)| *actor == event.actor);
            if is_ours && !signed {
                self.find(Kind::Uninvited, format_args!("{} by {}", event.transaction, event.actor));
            }
        }
    }

    /// What was over before something began comes before it.
    fn real_time(&mut self) {
        let (history, places) = (self.history, self.places());
        let height_of = |position: u64| history.trail.get(usize::try_from(position).ok()?).map(|event| event.height);
        let past = Past::of(&history.ops);
        for op in &history.ops {
            let Act::Write { id, .. } = &op.act else { continue };
            let (Some(position), Some((before, height))) = (places.get(id).copied(), past.until(op.invoked)) else {
                continue;
            };
            if before.is_some_and(|before| position <= before) {
                let what = format_args!("{id} at {position} was begun when {} was over", before.unwrap_or_default());
                self.find(Kind::Disordered, what);
            }
            // A height that somebody has read is made already: what is begun then is in none of its blocks.
            if height_of(position).is_some_and(|own| own <= height) {
                self.find(Kind::Disordered, format_args!("{id} is in a block up to {height}, which was read before"));
            }
        }
    }

    /// Reads name heights that there are, and that are as new as was promised.
    fn heights(&mut self) {
        let history = self.history;
        let everywhere = Past::of(&history.ops);
        let gateways: BTreeSet<usize> = history.ops.iter().map(|op| op.gateway).collect();
        let at = |gateway| Past::of(history.ops.iter().filter(|op| op.gateway == gateway));
        let at: BTreeMap<usize, Past> = gateways.into_iter().map(|gateway| (gateway, at(gateway))).collect();
        for op in &history.ops {
            let Act::Read { question, is_linear, seen: Some((height, _)) } = &op.act else { continue };
            if *height > history.height {
                self.find(Kind::Ahead, format_args!("{question:?} at {height} of {}", history.height));
            }
            let here = at.get(&op.gateway).and_then(|past| past.until(op.invoked));
            if let Some((_, before)) = here.filter(|(_, before)| height < before) {
                let what = format_args!("{question:?} at {height}, where gateway {} had come to {before}", op.gateway);
                self.find(Kind::Backwards, what);
            }
            let known = everywhere.until(op.invoked).filter(|_| *is_linear);
            if let Some((_, before)) = known.filter(|(_, before)| height < before) {
                self.find(Kind::Stale, format_args!("{question:?} at {height}, when {before} was known"));
            }
        }
    }

    /// The ledger's time never goes back, and is at no acknowledged transaction later than the time of day, but for what
    /// clocks may be off.
    fn times(&mut self) {
        let history = self.history;
        for pair in history.trail.windows(2).filter(|pair| pair[0].time > pair[1].time) {
            self.find(Kind::Mistimed, format_args!("{} is followed by {}", pair[0].time, pair[1].time));
        }
        for op in &history.ops {
            let Some((id, _, event)) = op.done() else { continue };
            let latest = history.begun_at.plus_ms(op.completed / 1_000 + AHEAD_MS);
            if event.time > latest {
                self.find(
                    Kind::Mistimed,
                    format_args!("{id} has the time {}, and it was {latest} at most", event.time),
                );
            }
        }
    }

    /// Every outcome follows from the transactions before it, and every read saw what was there at its height.
    fn replay(&mut self, domain: (NetworkId, ChannelId)) {
        let history = self.history;
        let mut model = Model::new(domain, &history.orgs, &history.owners);
        let mut reads: Vec<(Height, &Op)> = history.ops.iter().filter_map(|op| Some((read_at(op)?, op))).collect();
        reads.sort_by_key(|(height, _)| *height);
        let mut reads = reads.into_iter().peekable();
        for (position, event) in history.trail.iter().enumerate() {
            while let Some((_, op)) = reads.next_if(|(height, _)| *height < event.height) {
                self.compare(&model, op);
            }
            let Some((_, call)) = history.calls.get(&event.transaction) else {
                model.observe(event);
                continue;
            };
            let (expected, got) = (model.execute(event, call), Expected::of(event));
            if expected != got {
                self.find(Kind::Outcome, format_args!("{call:?} at {position}: {got:?} instead of {expected:?}"));
            }
        }
        for (_, op) in reads {
            self.compare(&model, op);
        }
    }

    fn compare(&mut self, model: &Model<'_>, op: &Op) {
        let Act::Read { question, seen: Some((height, seen)), .. } = &op.act else { return };
        let there = model.answer(question);
        if there != *seen {
            self.find(Kind::Misread, format_args!("{question:?} at {height}: {seen:?} instead of {there:?}"));
        }
    }

    /// What is promised of grants, whatever a model says of them.
    fn grants(&mut self) {
        let history = self.history;
        let (mut used, mut revoked) = (BTreeMap::<GrantId, u32>::new(), BTreeSet::new());
        let uses_of = |grant: GrantId| {
            history.calls.iter().find_map(|(id, (_, call))| match call {
                Call::Request { uses, .. } if GrantId::of_request(*id) == grant => Some(*uses),
                _ => None,
            })
        };
        for event in &history.trail {
            let Some(grant) = event.outcome.grant else { continue };
            match (event.action, event.outcome.verdict) {
                (Action::Decrypt, Verdict::Allow) => {
                    let used = used.entry(grant).or_default();
                    *used += 1;
                    if uses_of(grant).is_some_and(|uses| *used > uses) {
                        self.find(Kind::Overused, format_args!("{grant}: use {used}"));
                    }
                    if revoked.contains(&grant) {
                        self.find(Kind::Revoked, format_args!("{grant} allowed {}", event.transaction));
                    }
                }
                (Action::RevokeGrant, Verdict::Applied) => {
                    revoked.insert(grant);
                }
                _ => {}
            }
        }
        let revocations = history.ops.iter().filter_map(|op| match op.done() {
            Some((_, _, event)) if event.action == Action::RevokeGrant => Some((event.outcome.grant?, op.completed)),
            _ => None,
        });
        let mut known = BTreeMap::<GrantId, Micros>::new();
        for (grant, completed) in revocations {
            known.entry(grant).and_modify(|first| *first = completed.min(*first)).or_insert(completed);
        }
        let allows = |event: &&Event| event.action == Action::Decrypt && event.outcome.verdict == Verdict::Allow;
        let allowed: BTreeSet<_> = history.trail.iter().filter(allows).map(|event| event.transaction).collect();
        for op in &history.ops {
            let Act::Open { decryption, grant, opened: true } = &op.act else { continue };
            if !allowed.contains(decryption) {
                self.find(Kind::Leaked, format_args!("{decryption} opened, and was not allowed"));
            }
            if known.get(grant).is_some_and(|known| op.invoked > known + STALE_AFTER) {
                self.find(Kind::Leaked, format_args!("{decryption} opened long after {grant} was revoked"));
            }
        }
    }
}

fn read_at(op: &Op) -> Option<Height> {
    match &op.act {
        Act::Read { seen: Some((height, _)), .. } => Some(*height),
        _ => None,
    }
}

/// How far the ledger was known to be, at each time: the highest position, and the highest height.
type Known = (Option<u64>, Height);

/// How that grew.
struct Past(Vec<(Micros, Known)>);

impl Past {
    fn of<'a>(ops: impl IntoIterator<Item = &'a Op>) -> Self {
        let known = |op: &Op| match op.done() {
            Some((_, position, event)) => Some((op.completed, (Some(position), event.height))),
            None => Some((op.completed, (None, read_at(op)?))),
        };
        let mut steps: Vec<(Micros, Known)> = ops.into_iter().filter_map(known).collect();
        steps.sort_by_key(|(when, _)| *when);
        let mut most: Known = (None, Height::new(0));
        for (_, known) in &mut steps {
            most = (most.0.max(known.0), most.1.max(known.1));
            *known = most;
        }
        Self(steps)
    }

    /// What was known before something was begun.
    fn until(&self, invoked: Micros) -> Option<Known> {
        let before = self.0.partition_point(|(when, _)| *when < invoked);
        before.checked_sub(1).map(|last| self.0[last].1)
    }
}

/// What a run has shown, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) writes: usize,
    pub(crate) acknowledged: usize,
    pub(crate) refused: usize,
    pub(crate) unknown: usize,
    pub(crate) reads: usize,
    pub(crate) linear: usize,
    pub(crate) unanswered: usize,
    pub(crate) openings: usize,
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            writes: self.writes + other.writes,
            acknowledged: self.acknowledged + other.acknowledged,
            refused: self.refused + other.refused,
            unknown: self.unknown + other.unknown,
            reads: self.reads + other.reads,
            linear: self.linear + other.linear,
            unanswered: self.unanswered + other.unanswered,
            openings: self.openings + other.openings,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { writes, acknowledged, refused, unknown, reads, linear, unanswered, openings } = self;
        write!(
            f,
            "{} operations: {writes} transactions ({acknowledged} acknowledged, {refused} refused, {unknown} unknown), \
             {reads} reads ({linear} linear, {unanswered} unanswered), {openings} openings",
            writes + reads + openings
        )
    }
}

impl Counts {
    pub(crate) fn of(ops: &[Op]) -> Self {
        let mut counts = Self::default();
        for op in ops {
            match &op.act {
                Act::Write { told, .. } => {
                    counts.writes += 1;
                    match told {
                        Told::Done { .. } => counts.acknowledged += 1,
                        Told::Refused(_) => counts.refused += 1,
                        Told::Unknown(_) | Told::Forged(_) => counts.unknown += 1,
                    }
                }
                Act::Read { is_linear, seen, .. } => {
                    counts.reads += 1;
                    counts.linear += usize::from(*is_linear && seen.is_some());
                    counts.unanswered += usize::from(seen.is_none());
                }
                Act::Open { opened, .. } => counts.openings += usize::from(*opened),
            }
        }
        counts
    }
}
