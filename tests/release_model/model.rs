//! The state machine that is explored: a ledger that grows, four custodians that follow it at their own
//! pace, and an adversary who orders calls, asks, delays and kills.
//!
//! A block is chosen when the first custodian executes it: before, nobody could tell the difference.
//! The real time is the time of the newest block.

use super::{
    custodian::{Answer, Clauses, Custodian, Plant, SLOTS, piece, slot},
    ledger::{CUSTODIANS, Call, Decryption, Ledger, Terms, World, set},
    promise::{self, Ask, Faults},
};
use stateright::{Model, Property};

/// How far the clock of an asked custodian may be from the real time, in ticks: right within the bound
/// first, then too slow, and so fast that every tip is stale.
pub(crate) const SKEWS: [i8; 5] = [0, -1, 1, -2, 3];

/// What is explored, and how far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) terms: Terms,
    /// What may be ordered.
    pub(crate) menu: &'static [Call],
    pub(crate) blocks_max: u8,
    /// How many shares may be sealed.
    pub(crate) releases_max: u32,
    /// The custodians that do not have their first shares yet, one bit each.
    pub(crate) late: u8,
    /// Whether nodes may see conflicting certificates.
    pub(crate) conflicts: bool,
    /// Whether what changes no decision happens too: marks are settled, old answers tidied, processes
    /// killed that have nothing to lose.
    pub(crate) chores: bool,
    pub(crate) plant: Plant,
}

/// One step of the adversary, or of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Orders a call, and lets a first node execute it.
    Order { by: u8, call: Call },
    /// Lets a node execute its next block.
    Execute { by: u8 },
    /// Lets a custodian hear what its node's last block ended.
    Observe { by: u8 },
    /// Asks for a share when the custodian's clock is so far from the real time.
    Ask { by: u8, decryption: u8, skew: i8, end: End },
    /// Kills a process and starts it again; `torn` says that it was killed amid hearing of a block.
    Kill { by: u8, torn: bool },
    /// Brings a custodian its share.
    Deliver { by: u8, record: u8, epoch: u8 },
    /// Brings a custodian's marks to the ledger.
    Settle { by: u8 },
    /// Lets a custodian delete what is past its time.
    Tidy { by: u8 },
    /// Shows a node two conflicting certificates.
    Conflict { by: u8 },
}

impl Action {
    /// The custodian that it happens to.
    pub(crate) const fn by(&self) -> u8 {
        match *self {
            Self::Order { by, .. }
            | Self::Execute { by }
            | Self::Observe { by }
            | Self::Ask { by, .. }
            | Self::Kill { by, .. }
            | Self::Deliver { by, .. }
            | Self::Settle { by }
            | Self::Tidy { by }
            | Self::Conflict { by } => by,
        }
    }
}

/// How an ask ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    /// With an answer.
    Answered,
    /// The process is killed before it writes.
    KilledBefore,
    /// The process is killed after its first step: the entry is written, nothing has left.
    KilledBetween,
}

/// Everything at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    pub(crate) custodians: [Custodian; CUSTODIANS as usize],
    /// Which promises a release has broken.
    pub(crate) faults: Faults,
}

impl State {
    pub(crate) const fn custodian(&self, by: u8) -> &Custodian {
        &self.custodians[by as usize]
    }

    const fn custodian_mut(&mut self, by: u8) -> &mut Custodian {
        &mut self.custodians[by as usize]
    }

    /// How many custodians let their share of this epoch go for a decryption.
    pub(crate) fn shares_out(&self, decryption: u8, epoch: u8) -> u32 {
        let out = self.custodians.iter().filter(|custodian| custodian.left & piece(decryption, epoch) != 0);
        u32::try_from(out.count()).unwrap()
    }

    fn releases(&self) -> u32 {
        let sealed = |custodian: &Custodian| (custodian.left | custodian.marks | custodian.settled).count_ones();
        self.custodians.iter().map(sealed).sum()
    }
}

pub(crate) fn everybody() -> std::ops::Range<u8> {
    0..CUSTODIANS
}

/// B and C play the same part: of two states that differ in their names, one is enough.
pub(crate) fn representative(state: &State) -> State {
    let mut state = *state;
    if state.custodians[1] > state.custodians[2] {
        state.custodians.swap(1, 2);
    }
    state
}

impl Plan {
    /// What a custodian's node has executed.
    pub(crate) fn world(&self, state: &State, by: u8) -> World {
        World::at(&self.terms, &state.ledger, state.custodian(by).executed)
    }

    pub(crate) fn decryptions(&self) -> std::ops::Range<u8> {
        0..u8::try_from(self.terms.decryptions.len()).unwrap()
    }

    /// The clock of a custodian.
    pub(crate) fn clock(state: &State, skew: i8) -> i8 {
        i8::try_from(state.ledger.height()).unwrap() + skew
    }

    /// What the custodian's rule says to an ask.
    pub(crate) fn answer(&self, state: &State, by: u8, decryption: u8, skew: i8) -> Result<Answer, Clauses> {
        self.answer_at(&self.world(state, by), state, (by, decryption, skew))
    }

    fn answer_at(&self, world: &World, state: &State, (by, decryption, skew): (u8, u8, i8)) -> Result<Answer, Clauses> {
        let clock = Self::clock(state, skew);
        state.custodian(by).answer((by, self.plant), &self.terms, world, decryption, clock)
    }

    /// Whether ordering the call now could make a difference.
    fn is_worth_ordering(&self, ledger: &Ledger, call: Call) -> bool {
        match call {
            Call::Beat | Call::Suspend(_) => true,
            Call::Reinstate(reader) => ledger.has(Call::Suspend(reader)),
            Call::Rekey(number) => !ledger.has(call) && ledger.has(Call::Decrypt(number)),
            // Of decryptions that say the same, the first comes first.
            Call::Decrypt(number) => {
                let same = |other: &u8| self.terms.decryptions[usize::from(*other)] == self.decryption(number);
                !ledger.has(call) && (0..number).filter(same).all(|other| ledger.has(Call::Decrypt(other)))
            }
            Call::Revoke(_) | Call::Erase(_) | Call::Reshare(_) | Call::RevokeKey(_) => !ledger.has(call),
        }
    }

    fn decryption(&self, number: u8) -> Decryption {
        self.terms.decryptions[usize::from(number)]
    }

    /// What a custodian has observed: its last block may be executed and not yet heard of.
    pub(crate) fn observed(&self, state: &State, by: u8) -> World {
        let custodian = state.custodian(by);
        World::at(&self.terms, &state.ledger, custodian.executed - u8::from(custodian.unobserved))
    }

    /// The shares whose assignments a custodian's process has read from its own ledger, one bit each.
    fn assigned(&self, state: &State, by: u8) -> u8 {
        let custodian = state.custodian(by);
        let mut world = World::at(&self.terms, &state.ledger, custodian.born);
        let mut assigned = 0;
        for height in custodian.born..=custodian.executed {
            if height > custodian.born {
                world.apply(&self.terms, state.ledger.until(height)[usize::from(height) - 1]);
            }
            for record in [0, 1] {
                if !world.is_erased(record) && world.is_custodian(record, by) {
                    assigned |= slot(record, world.epoch(record));
                }
            }
        }
        assigned
    }

    fn kill(&self, state: &mut State, by: u8) {
        let world = self.world(state, by);
        let custodian = state.custodian_mut(by);
        custodian.restart(self.plant, &self.terms, &world);
        // Without chores it makes no difference when a process began, and would only double the states.
        custodian.born = if self.chores { custodian.executed } else { 0 };
    }

    /// An ask, step by step: what leaves is judged at the moment it leaves.
    fn ask(&self, state: &mut State, by: u8, decryption: u8, skew: i8, end: End) -> Option<()> {
        let Answer { epoch, key, stored } = self.answer(state, by, decryption, skew).ok()?;
        if end == End::KilledBefore {
            self.kill(state, by);
            return Some(());
        }
        let write = |state: &mut State| state.custodian_mut(by).write(self.plant, decryption, epoch);
        let leave = |state: &mut State| {
            state.faults |= promise::judge(self, state, &Ask { by, decryption, epoch, key, skew });
            state.custodian_mut(by).left |= piece(decryption, epoch);
        };
        if !stored && state.custodian(by).left & piece(decryption, epoch) != 0 {
            state.faults |= promise::SEALED_TWICE;
        }
        let steps: [&dyn Fn(&mut State); 2] =
            if self.plant == Plant::ReleasesFirst { [&leave, &write] } else { [&write, &leave] };
        if stored {
            leave(state);
        } else {
            steps[0](state);
            if end == End::KilledBetween {
                self.kill(state, by);
                return Some(());
            }
            steps[1](state);
        }
        Some(())
    }

    fn asks(&self, state: &State, by: u8, actions: &mut Vec<Action>) {
        let world = self.world(state, by);
        for decryption in self.decryptions() {
            for skew in SKEWS {
                let Ok(answer) = self.answer_at(&world, state, (by, decryption, skew)) else { continue };
                if !answer.stored && state.releases() >= self.releases_max {
                    continue;
                }
                actions.push(Action::Ask { by, decryption, skew, end: End::Answered });
                if !answer.stored {
                    actions.push(Action::Ask { by, decryption, skew, end: End::KilledBetween });
                    if self.chores {
                        actions.push(Action::Ask { by, decryption, skew, end: End::KilledBefore });
                    }
                }
                // The clock decides whether there is an answer, not which: the first that gets one is the
                // most right, and breaks every promise that another would.
                if !self.chores {
                    break;
                }
            }
        }
    }

    fn chores(&self, state: &State, by: u8, actions: &mut Vec<Action>) {
        let custodian = state.custodian(by);
        if custodian.marks != 0 {
            actions.push(Action::Settle { by });
        }
        actions.push(Action::Tidy { by });
    }
}

impl Model for Plan {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let held = |by: u8| {
            let mine = [0, 1].into_iter().filter(|record| set(*record, 0) & (1 << by) != 0);
            mine.map(|record| slot(record, 0)).sum()
        };
        let custodian = |by: usize| {
            let by = u8::try_from(by).unwrap();
            let late = self.late & (1 << by) != 0;
            Custodian { held: if late { 0 } else { held(by) }, ..Custodian::default() }
        };
        let custodians = std::array::from_fn(custodian);
        vec![State { ledger: Ledger::GENESIS, custodians, faults: 0 }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for by in everybody() {
            let custodian = state.custodian(by);
            if custodian.unobserved {
                actions.push(Action::Observe { by });
            } else if custodian.executed < state.ledger.height() {
                actions.push(Action::Execute { by });
            } else if state.ledger.height() < self.blocks_max {
                let worth = self.menu.iter().filter(|call| self.is_worth_ordering(&state.ledger, **call));
                actions.extend(worth.map(|call| Action::Order { by, call: *call }));
            }
            if custodian.unobserved || self.chores {
                actions.push(Action::Kill { by, torn: false });
                if custodian.unobserved && self.chores {
                    actions.push(Action::Kill { by, torn: true });
                }
            }
            self.asks(state, by, actions);
            let absent = self.assigned(state, by) & !custodian.held;
            for (record, epoch) in SLOTS.into_iter().filter(|(record, epoch)| absent & slot(*record, *epoch) != 0) {
                actions.push(Action::Deliver { by, record, epoch });
            }
            if self.conflicts && !custodian.conflict {
                actions.push(Action::Conflict { by });
            }
            if self.chores {
                self.chores(state, by, actions);
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = *last;
        match action {
            Action::Order { by, call } => {
                state.ledger.push(call);
                self.execute(&mut state, by);
            }
            Action::Execute { by } => self.execute(&mut state, by),
            Action::Observe { by } => {
                let world = self.world(&state, by);
                state.custodian_mut(by).observe(self.plant, &self.terms, &world);
            }
            Action::Ask { by, decryption, skew, end } => self.ask(&mut state, by, decryption, skew, end)?,
            Action::Kill { by, .. } => self.kill(&mut state, by),
            Action::Deliver { by, record, epoch } => {
                let observed = self.observed(&state, by);
                state.custodian_mut(by).accept(by, &observed, record, epoch);
            }
            Action::Settle { by } => {
                let custodian = state.custodian_mut(by);
                custodian.settled |= std::mem::take(&mut custodian.marks);
            }
            Action::Tidy { by } => {
                let world = self.world(&state, by);
                state.custodian_mut(by).tidy(&self.terms, &world);
            }
            Action::Conflict { by } => state.custodian_mut(by).conflict = true,
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promise::properties()
    }
}

impl Plan {
    /// Executes a node's next block. Only what ends something is left for the custodian to hear.
    fn execute(&self, state: &mut State, by: u8) {
        let height = state.custodian(by).executed;
        let ends =
            matches!(state.ledger.until(height + 1).last(), Some(Call::Revoke(_) | Call::Erase(_) | Call::Reshare(_)));
        let custodian = state.custodian_mut(by);
        custodian.executed = height + 1;
        custodian.unobserved = ends;
    }
}
