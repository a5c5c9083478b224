//! What is known of one connection, by everybody who serves it.

use super::head::Refusal;
use dmdl_types::sign::PublicKey;
use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// What a connection is doing, the one first that is given up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::gateway) enum Phase {
    /// It has not sent a whole request yet.
    Fresh,
    /// It waits for the next request.
    Idle,
    /// It sends a body, and nobody has signed for it.
    Sending,
    /// A request is in work, or its answer on the way.
    Busy,
}

/// One connection.
#[derive(Debug)]
pub(in crate::gateway) struct Link {
    /// The address here that it came to.
    pub(in crate::gateway) local: SocketAddr,
    /// Whether it is encrypted.
    pub(in crate::gateway) secure: bool,
    /// Told when the connection must make place.
    pub(super) evicted: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Whether the answer is complete, though perhaps not sent.
    answered: bool,
    /// What the gate found in heads that are not yet answered, in their order.
    turns: VecDeque<Option<Refusal>>,
    session: Option<(PublicKey, Instant)>,
}

impl Link {
    pub(in crate::gateway) fn new(local: SocketAddr, secure: bool) -> Self {
        let (phase, since, turns) = (Phase::Fresh, Instant::now(), VecDeque::new());
        let state = State { phase, since, answered: false, turns, session: None };
        Self { local, secure, evicted: Notify::new(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Consistent after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it does, and since when.
    pub(super) fn phase(&self) -> (Phase, Instant) {
        let state = self.state();
        (state.phase, state.since)
    }

    /// Notes what it does now.
    pub(in crate::gateway) fn enter(&self, phase: Phase) {
        let mut state = self.state();
        (state.phase, state.since, state.answered) = (phase, Instant::now(), false);
    }

    /// Notes that nothing is added to the answer any more.
    pub(in crate::gateway) fn answered(&self) {
        self.state().answered = true;
    }

    /// Notes that all that was written is on its way. `true`: the answer was complete, and the connection is
    /// idle from now on.
    pub(super) fn flushed(&self) -> bool {
        let mut state = self.state();
        let answered = state.answered;
        if answered {
            (state.phase, state.since, state.answered) = (Phase::Idle, Instant::now(), false);
        }
        answered
    }

    /// Notes a head that the gate let through, or refused.
    pub(super) fn push_turn(&self, refused: Option<Refusal>) {
        self.state().turns.push_back(refused);
    }

    /// What the gate found in the head of the request that is served next.
    pub(super) fn take_turn(&self) -> Option<Refusal> {
        self.state().turns.pop_front().flatten()
    }

    /// Lets further requests act as `key` for so long.
    pub(in crate::gateway) fn start_session(&self, key: PublicKey, lasting: Duration) {
        self.state().session = Some((key, Instant::now() + lasting));
    }

    /// Who requests without a signature act as.
    pub(in crate::gateway) fn session(&self) -> Option<PublicKey> {
        let mut state = self.state();
        state.session = state.session.filter(|(_, ends)| Instant::now() < *ends);
        state.session.map(|(key, _)| key)
    }

    /// Ends the session, if there is one.
    pub(in crate::gateway) fn end_session(&self) {
        self.state().session = None;
    }
}
