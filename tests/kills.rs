//! Four processes that are killed at any moment while people work: one at a time, and all at once. Whatever anybody was
//! told is on every node's ledger afterwards, and the network goes on by itself.
//!
//! A few kills are made at each change; `DMDL_KILLS_ONE` and `DMDL_KILLS_ALL` make more, and `DMDL_KILLS_BASE` chooses other
//! moments. `DMDL_RESUMES_S` is the most seconds that the others may take until they go on, and the killed until they have
//! caught up.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "cli/harness.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod harness;

#[path = "processes/network.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod network;

#[path = "cli/worker.rs"]
mod worker;

use dmdl::network_file::NetworkFile;
use dmdl_types::bundle;
use harness::assert_resumed;
use network::{ALL, Network, Places, in_time};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};
use worker::{Desk, Told, work};

/// People who work at the same time, each at another gateway first.
const WORKERS: usize = 3;
/// How long the killed are left alone, and the longest that nobody is killed.
const DOWN_MS: u64 = 1_500;
const LIVES_MS: u64 = 2_500;
/// As many blocks show that the network goes on.
const GOES_ON: u64 = 2;

/// A desk that turns to another gateway each time.
struct Tour {
    places: Places,
    folder: PathBuf,
    turn: AtomicUsize,
}

impl Desk for Tour {
    fn command(&self, who: &str, args: &[&str]) -> Command {
        let at = self.turn.fetch_add(1, Ordering::Relaxed) % self.places.count();
        self.places.command(at, who, &self.folder, args)
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn turns_to_others(&self) -> bool {
        true
    }
}

/// Somebody who looks how far nodes are, also while others are started and killed.
struct Lookout {
    places: Places,
    folder: PathBuf,
}

impl Lookout {
    /// How many blocks a node has, if it answers.
    fn look(&self, at: usize) -> Option<u64> {
        let output = self.places.command(at, "officer", &self.folder, &["status", "--json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        status["channels"][0]["height"].as_u64()
    }

    /// The same once it answers.
    fn height(&self, at: usize) -> u64 {
        in_time("a node answers", || self.look(at))
    }

    /// Waits until a node has as many blocks: longer than anything may take, so that it can be told how long it took.
    fn wait(&self, at: usize, blocks: u64) {
        in_time("a node has as many blocks", || (self.look(at)? >= blocks).then_some(()));
    }
}

/// What a campaign asks for; something else than a number there is an error, not a default.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().expect("a number"))
}

/// Moments of a campaign.
struct Moments(u64);

impl Moments {
    fn begin() -> Self {
        Self(0x9e37_79b9_u64.wrapping_add(number("DMDL_KILLS_BASE").unwrap_or(0)))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn sleep(&mut self, bound_ms: u64) {
        thread::sleep(Duration::from_millis(self.below(bound_ms)));
    }
}

/// Kills as it is told while people work, and holds the network to what it told them. Each kill gives how long it took until
/// all went on.
fn killed(what: &str, kills: u64, kill: impl Fn(&mut Network, &Lookout, &mut Moments) -> Duration) {
    let seats = [("a", "org-1", ALL), ("b", "org-2", ALL), ("c", "org-3", ALL), ("d", "org-4", ALL)];
    let mut network = Network::generate(&seats);
    network.start_all();
    let folders = tempfile::tempdir().unwrap();
    let tours: Vec<Tour> = (0..WORKERS)
        .map(|turn| {
            let folder = folders.path().join(turn.to_string());
            fs::create_dir(&folder).unwrap();
            Tour { places: network.places(), folder, turn: AtomicUsize::new(turn) }
        })
        .collect();
    let lookout = Lookout { places: network.places(), folder: folders.path().join("lookout") };
    let (stop, mut moments, mut slowest) = (AtomicBool::new(false), Moments::begin(), Duration::ZERO);
    let mut told: Vec<Told> = thread::scope(|scope| {
        let (until, stop) = (Until(&stop), &stop);
        let workers: Vec<_> = tours.iter().map(|tour| scope.spawn(move || work(tour, stop))).collect();
        for number in 1..=kills {
            moments.sleep(LIVES_MS);
            assert!(!workers.iter().any(thread::ScopedJoinHandle::is_finished), "people cannot work any more");
            let took = kill(&mut network, &lookout, &mut moments);
            assert_resumed(&format!("kill {number} of {what}"), took);
            slowest = slowest.max(took);
        }
        drop(until);
        workers.into_iter().map(|worker| worker.join().expect("people can work")).collect()
    });
    let pin = NetworkFile::read(&network.folder().join("network.toml")).unwrap();
    for at in 0..seats.len() {
        network.wait_caught_up(at, (at + 1) % seats.len());
        let trail = fs::read(network.assert_trail_verifies(at)).unwrap();
        let trail = bundle::verify(&trail, &pin.genesis.founding()).unwrap();
        told.iter().for_each(|told| told.assert_all_in(&trail));
    }
    for (told, tour) in told.iter_mut().zip(&tours) {
        told.assert_kept(tour);
        eprintln!("  {}", told.summary());
    }
    eprintln!("{kills} kills of {what}: 0 lost; back within {:.1} s", slowest.as_secs_f64());
}

/// Says that it is enough, also when a test fails meanwhile.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn one_of_four_is_killed_at_any_moment_and_nothing_acknowledged_is_lost() {
    let kills = number("DMDL_KILLS_ONE").unwrap_or(3);
    killed("one node", kills, |network, lookout, moments| {
        let victim = usize::try_from(moments.below(4)).unwrap();
        let (other, killed_at) = ((victim + 1) % 4, Instant::now());
        network.kill(victim);
        thread::scope(|scope| {
            // Beside the rest, which is not to wait for it: the victim comes back at any moment.
            let others = scope.spawn(|| {
                lookout.wait(other, lookout.height(other) + GOES_ON);
                killed_at.elapsed()
            });
            moments.sleep(DOWN_MS);
            let started = Instant::now();
            network.start(victim);
            // Whoever comes next is one of four again.
            lookout.wait(victim, lookout.height(other));
            let back = started.elapsed();
            back.max(others.join().expect("the others go on"))
        })
    });
}

#[test]
fn all_four_are_killed_at_once_and_the_network_goes_on_by_itself() {
    let kills = number("DMDL_KILLS_ALL").unwrap_or(1);
    killed("all nodes", kills, |network, lookout, moments| {
        network.kill_all();
        moments.sleep(DOWN_MS);
        (0..3).for_each(|position| drop(network.start(position)));
        let last_started = Instant::now();
        network.start(3);
        let goal = lookout.height(0) + GOES_ON;
        (0..4).for_each(|position| lookout.wait(position, goal));
        last_started.elapsed()
    });
}
