//! How many transactions may be on their way at once: as many as keep the time that each takes near what it takes when
//! there are few.
//!
//! Additive increase, multiplicative decrease, as TCP has it, with delay as its signal. Transactions are looked at in rounds
//! of about as many as were on their way. If half of a round took longer than [`TOLERATED`] times what an idle network
//! takes, and longer than [`UNNOTICED`], there are too many, and the window shrinks by an eighth; if not, and it was made
//! use of, it grows a little. What an
//! idle network takes is measured in rounds with so few on their way that they hardly waited for each other: it falls at
//! once, and rises slowly, because a network that stands still is not an idle one.
//!
//! Whoever waited while turns came to nothing does not count. When a node is down, all wait for its turn to be over, and
//! most of what comes meanwhile does so for longer than what is tolerated; but the next block takes all of it, and to let in fewer
//! would make nobody faster.
//!
//! # Source
//! docs/adr/0015-admission.md

use std::time::{Duration, Instant};

/// The smallest window: whatever these take is what the network takes.
const LEAST: usize = 8;
/// The first window.
const FIRST: usize = 256;
/// What a round adds.
const STEP: usize = 8;
/// What a round takes away, as a part of the window.
const CUT: usize = 8;
/// How many times as long as on an idle network half of the transactions may take.
const TOLERATED: u32 = 5;
/// How long they may take in any case: nobody waits for that, and longer blocks cost less for each transaction.
const UNNOTICED: Duration = Duration::from_millis(400);
/// What is taken for the time on an idle network before it was measured, and what it is held between.
const IDLE: Duration = Duration::from_millis(50);
const IDLE_LEAST: Duration = Duration::from_millis(10);
const IDLE_MOST: Duration = Duration::from_secs(2);
/// By how much it rises in a round at most, as a part.
const RISE: u32 = 16;

/// How many may be on their way at once.
#[derive(Debug)]
pub(super) struct Window {
    most: usize,
    size: usize,
    idle: Duration,
    /// What began before this began in a larger window, and says nothing of this one.
    cut: Instant,
    round: Vec<Duration>,
    /// The most that were on their way in this round.
    peak: usize,
}

impl Window {
    /// A window that never has more than `most`; it begins now.
    pub(super) fn new(most: usize, now: Instant) -> Self {
        Self { most, size: FIRST.min(most), idle: IDLE, cut: now, round: Vec::new(), peak: 0 }
    }

    /// How many may be on their way.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// How long a transaction takes when there are few.
    pub(super) const fn idle(&self) -> Duration {
        self.idle
    }

    /// Takes notice of a transaction that began at one time and came to its end at another, with no turn lost between,
    /// when so many were on their way, itself included.
    pub(super) fn ended(&mut self, began: Instant, now: Instant, on_their_way: usize) {
        if began < self.cut {
            return;
        }
        self.round.push(now.saturating_duration_since(began));
        self.peak = self.peak.max(on_their_way);
        if self.round.len() < self.peak.max(LEAST) {
            return;
        }
        let (mut round, peak) = (std::mem::take(&mut self.round), std::mem::take(&mut self.peak));
        let middle = round.len() / 2;
        let (_, median, _) = round.select_nth_unstable(middle);
        let median = *median;
        if peak <= LEAST {
            self.idle = median.min(self.idle + self.idle / RISE).clamp(IDLE_LEAST, IDLE_MOST);
        }
        if median > (self.idle * TOLERATED).max(UNNOTICED) {
            self.size = (self.size - self.size / CUT).max(LEAST.min(self.most));
            self.cut = now;
        } else if peak.saturating_mul(2) >= self.size {
            self.size = (self.size + STEP).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network that takes so long for one transaction, and makes so many a second at most.
    struct Modelled {
        idle_ms: u64,
        per_second: u64,
        now: Instant,
    }

    impl Modelled {
        fn new(idle_ms: u64, per_second: u64) -> Self {
            Self { idle_ms, per_second, now: Instant::now() }
        }

        /// What a transaction takes while so many are on their way: by Little's law no less than it takes to make all of them.
        fn latency(&self, on_their_way: usize) -> Duration {
            Duration::from_millis(self.idle_ms.max(on_their_way as u64 * 1000 / self.per_second))
        }

        /// Keeps as many on their way as are offered and let in, for so many rounds.
        fn run(&mut self, window: &mut Window, offered: usize, rounds: usize) {
            for _ in 0..rounds {
                let on_their_way = offered.min(window.size());
                let (began, took) = (self.now, self.latency(on_their_way));
                self.now += took;
                (0..on_their_way.max(LEAST)).for_each(|_| window.ended(began, self.now, on_their_way));
            }
        }
    }

    #[test]
    fn under_any_load_half_take_no_more_than_what_is_tolerated() {
        for (idle_ms, per_second) in [(40, 500), (20, 5000), (200, 300), (50, 60)] {
            let mut network = Modelled::new(idle_ms, per_second);
            let mut window = Window::new(4096, network.now);
            network.run(&mut window, 1, 30);
            network.run(&mut window, 100_000, 400);
            let (took, size) = (network.latency(window.size()), window.size());
            // The smallest window counts as idle. One step may lead beyond what is tolerated, and the next round leads back.
            let bound = (network.latency(LEAST) * TOLERATED).max(UNNOTICED) + network.latency(STEP);
            assert!(took <= bound, "{idle_ms} ms, {per_second}/s: {took:?} with {size}");
            // And the network is made use of: no fewer are let in than it can work at.
            assert!(size as u64 * 1000 >= idle_ms * per_second, "{idle_ms} ms, {per_second}/s: {size}");
        }
    }

    #[test]
    fn a_window_of_which_no_use_is_made_does_not_grow() {
        let mut network = Modelled::new(40, 500);
        let mut window = Window::new(4096, network.now);
        network.run(&mut window, FIRST / 4, 1000);
        assert_eq!(window.size(), FIRST);
    }

    #[test]
    fn a_load_that_lasts_does_not_pass_for_an_idle_network() {
        let mut network = Modelled::new(40, 500);
        let mut window = Window::new(4096, network.now);
        network.run(&mut window, 1, 30);
        let idle = window.idle();
        network.run(&mut window, 100_000, 5000);
        assert_eq!(window.idle(), idle);
    }

    #[test]
    fn what_began_before_a_cut_does_not_cut_again() {
        let begun = Instant::now();
        let mut window = Window::new(4096, begun);
        let late = begun + Duration::from_secs(10);
        (0..FIRST).for_each(|_| window.ended(begun, late, FIRST));
        let cut = window.size();
        assert_eq!(cut, FIRST - FIRST / CUT);
        (0..1000).for_each(|_| window.ended(begun, late, FIRST));
        assert_eq!(window.size(), cut);
    }

    #[test]
    fn a_network_that_stood_still_is_made_use_of_again_within_a_few_dozen_rounds() {
        let mut network = Modelled::new(40, 500);
        let mut window = Window::new(4096, network.now);
        network.run(&mut window, 1, 30);
        // Nothing was final in time.
        for _ in 0..40 {
            let (began, size) = (network.now, window.size());
            network.now += Duration::from_secs(15);
            (0..size).for_each(|_| window.ended(began, network.now, size));
        }
        assert_eq!(window.size(), LEAST);
        network.run(&mut window, 100_000, 60);
        assert!(window.size() as u64 * 1000 >= 40 * 500, "{}", window.size());
    }

    #[test]
    fn no_window_is_larger_than_what_a_gateway_allows() {
        let mut network = Modelled::new(40, 1_000_000);
        let mut window = Window::new(70, network.now);
        network.run(&mut window, 100_000, 100);
        assert_eq!(window.size(), 70);
        assert_eq!(Window::new(2, Instant::now()).size(), 2);
    }
}
