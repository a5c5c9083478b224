//! Four real custodians on memory disks, driven step by step beside the model.
//!
//! A node's part, between its executor and its custodian, is played as `src/node/custody.rs` plays it.

use super::{
    custodian::{Answer, Clauses, EPOCHS, piece, slot},
    disk::{Disk, Fault},
    ledger::{CUSTODIANS, Decryption},
    model::{Action, End, Plan, SKEWS, State, everybody},
    promise::opens,
    scene::{self, Scene, Slot},
};
use commonware_utils::TestRng;
use dmdl_types::{
    codec,
    context::ReleaseContext,
    custody::{AllowedDecryption, CustodyEvent, GrantView, ReleaseView, ShareView},
    id::{ChannelId, Height, NodeId, ShareEpoch, TransactionId, UnixMillis, UseNumber},
    invocation::SystemItem,
    sign::PublicKey,
};
use dmdl_vault::{
    custodian::{AcceptError, AskError, Custodian, Kv as _, ReleaseError, StoreError},
    seal::{ReleasedShare, open_released},
    share::{CombineError, VerifiedShare, combine},
};
use stateright::Model as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

/// A real custodian, and the disk that survives it.
struct Machine {
    disk: Disk,
    process: Custodian<Disk, Disk>,
}

impl Machine {
    fn start(rng: &mut TestRng, plan: &Plan, by: u8, disk: Disk) -> Result<Self, String> {
        let signer = Arc::new(scene::signer(by));
        let process = Custodian::open(rng, scene::domain(), signer, scene::limits(plan), disk.clone(), disk.clone());
        Ok(Self { disk, process: process.map_err(|error| format!("does not open: {error}"))? })
    }

    /// The release entries on disk: by key, as the specification spells it, their last 178 bytes,
    /// which are the share that may leave.
    fn entries(&self, plan: &Plan) -> BTreeMap<(u8, u8), Vec<u8>> {
        let rows = self.disk.scan(b"r", None, usize::MAX).unwrap();
        let row = |(key, value): (Vec<u8>, Vec<u8>)| {
            let number = |at: usize| u32::from_be_bytes(key[at..at + 4].try_into().unwrap());
            let decryption = plan.decryptions().find(|number| key[41..] == *scene::transaction(*number).as_bytes());
            let decryption = decryption.expect("an entry of no decryption");
            let record = plan.terms.decryptions[usize::from(decryption)].record;
            assert_eq!((&key[1..33], number(33)), (scene::record(record).as_bytes().as_slice(), 1), "an entry's key");
            ((decryption, u8::try_from(number(37)).unwrap()), value[value.len() - 178..].to_vec())
        };
        rows.into_iter().map(row).collect()
    }

    /// The marks that the ledger has yet to hear of, by decryption and epoch.
    fn marks(&self) -> Result<Vec<SystemItem>, String> {
        let items = self.process.pending(usize::MAX).map_err(|error| error.to_string())?.into_iter();
        Ok(items.filter(|item| matches!(item, SystemItem::Release { .. })).collect())
    }
}

/// Makes a view one that the custodian's own executor does not give.
type Foreign = fn(&mut ReleaseView);

/// How often something was compared.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) steps: usize,
    pub(crate) released: usize,
    pub(crate) repeated: usize,
    pub(crate) refused: usize,
    pub(crate) killed: usize,
    pub(crate) opened: usize,
    /// The clauses that were once the only one broken, and refused.
    pub(crate) alone: BTreeSet<u8>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.released += other.released;
        self.repeated += other.repeated;
        self.refused += other.refused;
        self.killed += other.killed;
        self.opened += other.opened;
        self.alone.extend(&other.alone);
    }
}

/// The model and the real custodians at the same moment.
pub(crate) struct Replay<'a> {
    plan: &'a Plan,
    scene: &'a Scene,
    rng: TestRng,
    pub(crate) state: State,
    machines: Vec<Machine>,
    /// What left, by custodian, decryption and epoch.
    left: BTreeMap<(u8, u8, u8), Vec<u8>>,
    pub(crate) tally: Tally,
}

/// Says what is wrong unless it is right.
macro_rules! check {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+));
        }
    };
}

impl<'a> Replay<'a> {
    pub(crate) fn new(plan: &'a Plan, scene: &'a Scene, seed: u64) -> Self {
        let mut rng = TestRng::new(seed);
        let machines = everybody().map(|by| Machine::start(&mut rng, plan, by, scene.disk(by)).unwrap()).collect();
        let state = plan.init_states()[0];
        Self { plan, scene, rng, state, machines, left: BTreeMap::new(), tally: Tally::default() }
    }

    /// Takes one step with both, and compares what they did, what they hold now, and what they say to
    /// every ask that changes nothing.
    pub(crate) fn step(&mut self, action: Action) -> Result<(), String> {
        self.tally.steps += 1;
        let before = self.state;
        match action {
            // The executor is the node's: the custodian hears of a block by observing it.
            Action::Order { .. } | Action::Execute { .. } => {}
            Action::Observe { by } => self.observe(by).map_err(|error| error.to_string())?,
            Action::Ask { by, decryption, skew, end } => {
                self.refuses_foreign_views(by, decryption, skew)?;
                self.ask(by, decryption, skew, end)?;
            }
            Action::Kill { by, torn } => {
                if torn {
                    self.machines[usize::from(by)].disk.set_fault(Fault::Before);
                    // Where nothing is to be written, nothing fails.
                    let _ = self.observe(by);
                }
                self.restart(by)?;
            }
            Action::Deliver { by, record, epoch } => self.deliver(by, (record, epoch))?,
            Action::Settle { by } => {
                let machine = &mut self.machines[usize::from(by)];
                let marks = machine.marks()?;
                machine.process.settle(&marks).map_err(|error| error.to_string())?;
            }
            Action::Tidy { by } => {
                let world = self.plan.world(&before, by);
                let mut custodian = *before.custodian(by);
                let expected = custodian.tidy(&self.plan.terms, &world);
                let tidied = self.machines[usize::from(by)].process.expire(instant(world.tip)).unwrap();
                check!(tidied == usize::try_from(expected).unwrap(), "tidied {tidied}, not {expected}");
            }
            // The node's executor says so in each view.
            Action::Conflict { .. } => {}
        }
        self.state = self.plan.next_state(&before, action).unwrap_or(before);
        self.compare(action.by())?;
        // A new block moves the real time, and with it every clock; else only one custodian has changed.
        let changed = action.by()..action.by() + 1;
        self.probe(if matches!(action, Action::Order { .. }) { everybody() } else { changed })
    }

    /// Asks these custodians for everything that the model refuses, at every clock, and for everything
    /// that has left already.
    pub(crate) fn probe(&mut self, asked: Range<u8>) -> Result<(), String> {
        for by in asked.clone() {
            for decryption in self.plan.decryptions() {
                for skew in SKEWS {
                    let prediction = self.plan.answer(&self.state, by, decryption, skew);
                    let again = |answer: &Answer| self.left.contains_key(&(by, decryption, answer.epoch));
                    if prediction.as_ref().map_or(true, again) {
                        self.ask(by, decryption, skew, End::Answered)?;
                    }
                }
            }
        }
        asked.into_iter().try_for_each(|by| self.compare(by))
    }

    fn ask(&mut self, by: u8, decryption: u8, skew: i8, end: End) -> Result<(), String> {
        let prediction = self.plan.answer(&self.state, by, decryption, skew);
        let view = self.view(by, decryption);
        let clock = scene::instant(Plan::clock(&self.state, skew));
        let machine = &mut self.machines[usize::from(by)];
        let fault = match end {
            End::Answered => Fault::None,
            End::KilledBefore => Fault::Before,
            End::KilledBetween => Fault::After,
        };
        machine.disk.set_fault(fault);
        let before = machine.entries(self.plan);
        let asked = scene::transaction(decryption);
        let decided = machine.process.release(&mut self.rng, asked, &view, clock);
        let (answer, durable) = match (prediction, decided) {
            (Err(broken), Err(AskError::Refused(error))) => return self.refused(broken, &error),
            (Ok(_), Err(AskError::Store(_))) if fault != Fault::None => {
                let again = machine.process.release(&mut self.rng, asked, &view, clock);
                check!(matches!(again, Err(AskError::Store(StoreError::Closed))), "answers after a failed write");
                return self.restart(by);
            }
            (Ok(answer), Ok(durable)) if fault == Fault::None => (answer, durable),
            (prediction, decided) => {
                return Err(format!("the model says {prediction:?}, the custodian {decided:?}"));
            }
        };
        let bytes = durable.answer();
        let before = before.get(&(decryption, answer.epoch));
        check!(
            before.is_some() == answer.stored,
            "a stored answer: {}, the model says {}",
            before.is_some(),
            answer.stored
        );
        check!(before.is_none_or(|before| *before == bytes), "other bytes than those stored");
        // What leaves is on disk, with the mark that follows.
        let entry = machine.entries(self.plan).remove(&(decryption, answer.epoch));
        check!(entry.as_ref() == Some(&bytes), "what leaves is not what is on disk");
        let (record, listed) = (self.plan.terms.decryptions[usize::from(decryption)].record, answer.key);
        let slot = (record, answer.epoch);
        let Decryption { reader, .. } = self.plan.terms.decryptions[usize::from(decryption)];
        let context = ReleaseContext {
            share: self.scene.context(slot, by).ok_or("a share of no custodian")?,
            transaction: asked,
            requester: self.scene.reader(reader),
            opening_key: self.scene.opening_key(decryption, listed),
        };
        check!(*durable.context() == context, "released as {:?}, not {context:?}", durable.context());
        if answer.stored {
            self.tally.repeated += 1;
        } else {
            self.tally.released += 1;
            let mark = durable.mark();
            check!(machine.marks()?.contains(&mark), "no mark is pending for what leaves");
        }
        let first = self.left.entry((by, decryption, answer.epoch)).or_insert_with(|| bytes.clone());
        check!(*first == bytes, "other bytes than before");
        Ok(())
    }

    /// No executor says such things: an ask that the rule allows, with a view that is not its own.
    fn refuses_foreign_views(&mut self, by: u8, decryption: u8, skew: i8) -> Result<(), String> {
        let own = self.view(by, decryption);
        if own.decryption.is_none() || own.share.is_none() {
            return Err(format!("custodian {by} may not answer: its ledger says {own:?}"));
        }
        let foreign: [(u8, Foreign); 4] = [
            (1, |view| view.channel = ChannelId::new([0xff; 32])),
            (3, |view| view.decryption.as_mut().unwrap().transaction = TransactionId::new([0xff; 32])),
            (4, |view| view.decryption.as_mut().unwrap().use_number = UseNumber::new(u32::MAX)),
            (8, |view| view.share.as_mut().unwrap().share.custodian = NodeId::new([0xff; 32])),
        ];
        for (number, change) in foreign {
            let mut view = own.clone();
            change(&mut view);
            // An owner's decryptions are not counted.
            if number == 4 && view.decryption.as_ref().unwrap().grant.is_none() {
                continue;
            }
            let clock = scene::instant(Plan::clock(&self.state, skew));
            let process = &mut self.machines[usize::from(by)].process;
            let decided = process.release(&mut self.rng, scene::transaction(decryption), &view, clock);
            let refused = matches!(&decided, Err(AskError::Refused(error)) if clause(error) == Some(number));
            check!(refused, "of a view that breaks {number}, the custodian says {decided:?}");
        }
        self.compare(by)
    }

    fn refused(&mut self, broken: Clauses, error: &ReleaseError) -> Result<(), String> {
        let clause = clause(error);
        check!(clause.is_some_and(|clause| broken.contains(clause)), "refused with `{error}`; broken are {broken:?}");
        self.tally.refused += 1;
        self.tally.alone.extend(broken.only());
        Ok(())
    }

    fn deliver(&mut self, by: u8, slot: Slot) -> Result<(), String> {
        let mut custodian = *self.state.custodian(by);
        let expected = custodian.accept(by, &self.plan.observed(&self.state, by), slot.0, slot.1);
        let arrival = [self.scene.parcel(by, slot).arrival()];
        let machine = &mut self.machines[usize::from(by)];
        let answers = machine.process.accept(&mut self.rng, &arrival).map_err(|error| error.to_string())?;
        match (expected, answers.into_iter().next()) {
            (true, Some(Ok(SystemItem::Acknowledge { .. }))) | (false, Some(Err(AcceptError::Over { .. }))) => Ok(()),
            (expected, answer) => Err(format!("a share arrives: expected {expected}, the custodian says {answer:?}")),
        }
    }

    /// Starts a new process, and recovers what the old one may have missed, as a node does.
    fn restart(&mut self, by: u8) -> Result<(), String> {
        self.tally.killed += 1;
        let disk = self.machines[usize::from(by)].disk.clone();
        disk.set_fault(Fault::None);
        let mut machine = Machine::start(&mut self.rng, self.plan, by, disk)?;
        let world = self.plan.world(&self.state, by);
        let held = machine.process.held(None, usize::MAX).map_err(|error| error.to_string())?;
        let mut events = Vec::new();
        for share in held {
            let number = u8::from(share.data.record == scene::record(1));
            if world.is_erased(number) {
                events.push(CustodyEvent::RecordErased(share.data.record));
            } else if u32::from(world.epoch(number)) > share.epoch.get() {
                events.push(CustodyEvent::EpochEnded(share.data.record, share.data.version, share.epoch));
            }
        }
        let mut grant = None;
        while let Some(next) = machine.process.grant_served(grant).map_err(|error| error.to_string())? {
            if (0..2).any(|number| scene::grant(number) == next && world.is_revoked(number)) {
                events.push(CustodyEvent::GrantRevoked(next));
            }
            grant = Some(next);
        }
        machine.process.observe(&mut self.rng, &events).map_err(|error| error.to_string())?;
        self.machines[usize::from(by)] = machine;
        Ok(())
    }

    /// Lets the custodian hear what its node's last block ended.
    fn observe(&mut self, by: u8) -> Result<(), StoreError> {
        let after = self.plan.world(&self.state, by);
        let before = self.plan.observed(&self.state, by);
        let mut events = Vec::new();
        for number in 0..2 {
            if after.is_revoked(number) && !before.is_revoked(number) {
                events.push(CustodyEvent::GrantRevoked(scene::grant(number)));
            }
            if after.is_erased(number) && !before.is_erased(number) {
                events.push(CustodyEvent::RecordErased(scene::record(number)));
            }
            if after.epoch(number) > before.epoch(number) {
                let ended = ShareEpoch::new(u32::from(before.epoch(number)));
                events.push(CustodyEvent::EpochEnded(scene::record(number), scene::VERSION, ended));
            }
        }
        self.machines[usize::from(by)].process.observe(&mut self.rng, &events)
    }

    /// What a node's ledger says of a decryption, as `Channel::release_view` does.
    fn view(&self, by: u8, decryption: u8) -> ReleaseView {
        let world = self.plan.world(&self.state, by);
        let mut view = ReleaseView {
            network: scene::domain().network,
            channel: scene::domain().channel,
            tip: Height::new(u64::from(world.tip)),
            tip_time: instant(world.tip),
            conflict_seen: self.state.custodian(by).conflict,
            decryption: None,
            share: None,
            key_active: false,
            suspended: false,
        };
        if !world.allows(decryption) {
            return view;
        }
        let Decryption { reader, record, grant } = self.plan.terms.decryptions[usize::from(decryption)];
        let at = usize::from(decryption);
        view.key_active = !world.is_key_revoked(reader);
        view.suspended = world.is_suspended(reader);
        let slot = (record, world.epoch(record));
        view.share = self.scene.context(slot, by).map(|share| ShareView {
            share,
            commitments: self.scene.dealing(slot).commitments().as_bytes().to_vec(),
            erased: world.is_erased(record),
        });
        let grant = grant.map(|number| {
            let terms = self.plan.terms.grants[usize::from(number)];
            GrantView {
                grant: scene::grant(number),
                uses_max: u32::from(terms.uses),
                ends: instant(terms.ends),
                revoked: world.is_revoked(number),
            }
        });
        let listed = world.lists(decryption, by);
        view.decryption = Some(AllowedDecryption {
            transaction: scene::transaction(decryption),
            time: instant(world.ordered[at]),
            requester: self.scene.reader(reader),
            grant,
            use_number: UseNumber::new(u32::from(world.number[at])),
            opening_key: listed.then(|| self.scene.opening_key(decryption, by)),
        });
        view
    }

    /// Compares what a custodian keeps with what the model says that it keeps.
    fn compare(&self, by: u8) -> Result<(), String> {
        let (model, machine) = (self.state.custodian(by), &self.machines[usize::from(by)]);
        let held = machine.process.held(None, usize::MAX).map_err(|error| error.to_string())?;
        let held = held.iter().map(|share| {
            slot(u8::from(share.data.record == scene::record(1)), u8::try_from(share.epoch.get()).unwrap())
        });
        let held: u8 = held.sum();
        check!(held == model.held, "custodian {by} holds shares {held:b}, not {:b}", model.held);
        let entries = machine.entries(self.plan);
        let kept: u16 = entries.keys().map(|(decryption, epoch)| piece(*decryption, *epoch)).sum();
        check!(kept == model.entries, "custodian {by} keeps entries {kept:b}, not {:b}", model.entries);
        let mut marks = 0;
        for mark in machine.marks()? {
            let SystemItem::Release { decryption, epoch, .. } = mark else { continue };
            let number = self.plan.decryptions().find(|number| scene::transaction(*number) == decryption);
            marks |= piece(number.ok_or("a mark of no decryption")?, u8::try_from(epoch.get()).unwrap());
        }
        check!(marks == model.marks, "custodian {by} has marks {marks:b}, not {:b}", model.marks);
        Ok(())
    }

    /// Lets every reader open what left for it, and compares what it gets.
    pub(crate) fn read(&mut self) -> Result<(), String> {
        for decryption in self.plan.decryptions() {
            let Decryption { reader, record, .. } = self.plan.terms.decryptions[usize::from(decryption)];
            let mut opened = false;
            let mut epochs: BTreeMap<u8, Vec<VerifiedShare>> = BTreeMap::new();
            for epoch in EPOCHS.into_iter().filter(|epoch| record == 0 || *epoch == 0) {
                let shares = self.shares(decryption, (record, epoch), self.scene.reader(reader))?;
                let key = combine(self.scene.dealing((record, epoch)), &shares);
                if let Ok(key) = &key {
                    let key = key.expose(|bytes| *bytes);
                    check!(key == self.scene.data_key(record), "decryption {decryption} opens with another key");
                    opened = true;
                }
                epochs.insert(epoch, shares);
            }
            let expected = opens(self.plan, &self.state, decryption);
            check!(opened == expected, "decryption {decryption} opens: {opened}, the model says {expected}");
            self.tally.opened += usize::from(opened);
            self.mix(record, epochs)?;
        }
        Ok(())
    }

    /// Shares of two epochs, put together, are refused.
    fn mix(&self, record: u8, mut epochs: BTreeMap<u8, Vec<VerifiedShare>>) -> Result<(), String> {
        let old = epochs.get_mut(&0).and_then(Vec::pop);
        let new = epochs.get_mut(&1).and_then(Vec::pop);
        let (Some(old), Some(new)) = (old, new) else { return Ok(()) };
        let mixed = [old, new];
        for epoch in EPOCHS {
            let key = combine(self.scene.dealing((record, epoch)), &mixed);
            check!(matches!(key, Err(CombineError::OtherDealing { .. })), "shares of two epochs combine");
        }
        Ok(())
    }

    fn shares(&self, decryption: u8, slot: Slot, requester: PublicKey) -> Result<Vec<VerifiedShare>, String> {
        let mut shares = Vec::new();
        for by in everybody() {
            let Some(bytes) = self.left.get(&(by, decryption, slot.1)) else { continue };
            let released: ReleasedShare = codec::decode(bytes, bytes.len()).map_err(|e| e.to_string())?;
            let context = |key: u8| ReleaseContext {
                share: self.scene.context(slot, by).unwrap(),
                transaction: scene::transaction(decryption),
                requester,
                opening_key: self.scene.opening_key(decryption, key),
            };
            let mine = scene::one_time_secret(decryption, by);
            let share = open_released(&released, &context(by), &mine).map_err(|error| error.to_string())?;
            let other = (by + 1) % CUSTODIANS;
            let foreign = scene::one_time_secret(decryption, other);
            check!(open_released(&released, &context(by), &foreign).is_err(), "another key opens the share");
            check!(open_released(&released, &context(other), &mine).is_err(), "another context opens the share");
            shares.push(self.scene.dealing(slot).verify(share).map_err(|error| error.to_string())?);
        }
        Ok(shares)
    }
}

fn instant(tick: u8) -> UnixMillis {
    scene::instant(i8::try_from(tick).unwrap())
}

/// The number of the clause that a refusal names.
const fn clause(error: &ReleaseError) -> Option<u8> {
    Some(match error {
        ReleaseError::OtherLedger => 1,
        ReleaseError::ConflictSeen => 2,
        ReleaseError::NotAllowed { .. } => 3,
        ReleaseError::UsedUp { .. } => 4,
        ReleaseError::GrantRevoked { .. } => 5,
        ReleaseError::KeyInactive => 6,
        ReleaseError::RequesterSuspended => 7,
        ReleaseError::NotCustodian => 8,
        ReleaseError::RecordErased { .. } => 9,
        ReleaseError::NotHeld { .. } | ReleaseError::OtherEpoch { .. } => 10,
        ReleaseError::WindowEnded { .. } => 12,
        ReleaseError::GrantEnded { .. } => 13,
        ReleaseError::ClockBehind { .. } => 14,
        ReleaseError::TipStale { .. } => 15,
        ReleaseError::NoOpeningKey { .. } => 16,
        _ => return None,
    })
}
