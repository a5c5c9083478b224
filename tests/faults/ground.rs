//! Where all this takes place: a network of four processes, on hosts of their own where that can be had, the people at its
//! gateways, and what is judged in the end.

use super::{
    checker::{Counts, check},
    dice::Dice,
    log::{History, Micros},
    nemesis::NODES,
    office::{Closing, Office},
    people::{Habit, Worker},
};
use crate::{
    harness::assert_resumed,
    hosts::Hosts,
    network::{ALL, Network, Seat, Somebody, here, in_time},
};
use dmdl_types::{bundle, event::Event, id::Height};
use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

const SEATS: [Seat; NODES] = [("a", "org-1", ALL), ("b", "org-2", ALL), ("c", "org-3", ALL), ("d", "org-4", ALL)];
const PEOPLE: [Somebody; 9] = [
    ("owner-1", "org-1", "owner"),
    ("owner-2", "org-2", "owner"),
    ("researcher-1", "org-3", "researcher"),
    ("researcher-2", "org-4", "researcher"),
    ("officer", "org-4", "officer"),
    ("admin-1", "org-1", "admin"),
    ("admin-2", "org-2", "admin"),
    ("admin-3", "org-3", "admin"),
    ("admin-4", "org-4", "admin"),
];
/// Who works, twice at the same time: one person at two desks.
const WORKERS: [&str; 4] = ["owner-1", "owner-2", "researcher-1", "researcher-2"];
/// How many do.
pub(crate) const CLIENTS: usize = 2 * WORKERS.len();
/// How long it is waited until a network that is whole again does its work: ten times what is promised, so that it can be told
/// how long it took. `DMDL_RESUMES_S` holds it to less.
pub(crate) const RESUMES_WITHIN: Duration = Duration::from_secs(300);

/// These tests take the machine, one after the other.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Ground {
    pub(crate) network: Network,
    hosts: Option<Arc<Hosts>>,
    _turn: MutexGuard<'static, ()>,
}

/// Where people are.
#[derive(Clone)]
pub(crate) struct Street(Option<Arc<Hosts>>);

impl Street {
    /// Does what somebody does, in a thread that is there.
    fn run<W: Future<Output = ()>>(&self, work: impl FnOnce() -> W + Send) {
        let there = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(work());
        };
        match &self.0 {
            Some(hosts) => hosts.at_switch(there),
            None => there(),
        }
    }
}

impl Ground {
    /// A network that runs: on hosts of its own, if this process may make some, or else without.
    pub(crate) fn new() -> Self {
        let turn = turn();
        let hosts = Hosts::new(NODES);
        let place = hosts.as_ref().map_or_else(here, |hosts| Arc::<Hosts>::clone(hosts));
        let mut network = Network::generate_at(place, "https", "", &SEATS, &PEOPLE);
        network.give_clocks();
        network.start_all();
        Self { network, hosts, _turn: turn }
    }

    pub(crate) const fn has_hosts(&self) -> bool {
        self.hosts.is_some()
    }

    /// Whether a process can be made slow, which takes root as hosts do.
    pub(crate) fn has_tracer(&self) -> bool {
        let tracer = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
        self.has_hosts() && tracer.is_ok_and(|status| status.success())
    }

    pub(crate) fn cut_only(&self, wanted: BTreeSet<(usize, usize)>) {
        self.hosts.as_ref().expect("links are between hosts").cut_only(wanted);
    }

    fn street(&self) -> Street {
        Street(self.hosts.clone())
    }

    /// Opens an office, with a record of each owner in it.
    pub(crate) fn office(&self) -> Office {
        let office = Office::open(&self.network, WORKERS);
        let street = self.street();
        thread::scope(|scope| {
            for (at, name) in WORKERS.iter().enumerate().take(2) {
                let (office, street) = (&office, &street);
                scope.spawn(move || {
                    let worker = Worker::new(office, name, at, Habit::Roams, Dice::new(0, 0));
                    street.run(|| worker.register(format!("a letter of {name}").into_bytes()));
                });
            }
        });
        office
    }

    /// Lets people work while something is done, and a little longer: until the network has resumed. Gives how long
    /// that took.
    pub(crate) fn at_work(
        &mut self,
        office: &Office,
        seed: u64,
        habit: Habit,
        act: impl FnOnce(&mut Self, &Office),
    ) -> Duration {
        let street = self.street();
        thread::scope(|scope| {
            let closing = Closing(office);
            for number in 0..CLIENTS {
                let street = street.clone();
                scope.spawn(move || {
                    let (name, dice) = (WORKERS[number % WORKERS.len()], Dice::new(seed, 100 + number as u64));
                    let worker = Worker::new(office, name, (number + number / WORKERS.len()) % NODES, habit, dice);
                    street.run(|| worker.work());
                });
            }
            act(self, office);
            let resumed = self.resume(office, &(0..NODES).collect::<Vec<_>>());
            drop(closing);
            assert_resumed("the network, after all that went wrong", resumed);
            resumed
        })
    }

    /// Waits until each of these gateways has acknowledged something that was begun now; gives how long that took.
    pub(crate) fn resume(&self, office: &Office, gateways: &[usize]) -> Duration {
        let (begun, street) = (Instant::now(), self.street());
        thread::scope(|scope| {
            for gateway in gateways {
                let street = &street;
                scope.spawn(move || {
                    let worker = Worker::new(office, WORKERS[0], *gateway, Habit::Stays, Dice::new(0, 0));
                    street.run(|| async {
                        let done = tokio::time::timeout(RESUMES_WITHIN, worker.insist()).await;
                        assert!(done.is_ok(), "gateway {gateway} did not resume in {RESUMES_WITHIN:?}");
                    });
                });
            }
        });
        begun.elapsed()
    }

    /// What is to be judged: what people did, and the trail that one of the nodes exports, verified. All nodes agree.
    pub(crate) fn history(&self, office: &Office, at: usize) -> History {
        let height = self.network.agreed(&(0..NODES).collect::<Vec<_>>())["height"].as_u64().unwrap();
        let wanted = office.known();
        let trail = in_time("the trail has everything", || {
            let file = self.network.assert_trail_verifies(at);
            let report = bundle::verify(&fs::read(file).unwrap(), office.founding()).unwrap();
            (report.events.len() as u64 >= wanted).then_some(report.events)
        });
        let event = |(place, (position, event)): (usize, (u64, Event))| {
            assert_eq!(place as u64, position, "the trail has every position");
            event
        };
        office.history(trail.into_iter().enumerate().map(event).collect(), Height::new(height))
    }

    /// Judges a run; gives what it has shown.
    pub(crate) fn judge(&self, office: &Office, seed: u64) -> (History, Counts) {
        let history = self.history(office, usize::try_from(seed % NODES as u64).unwrap());
        let counts = Counts::of(&history.ops);
        let anomalies = check(&history, office.domain());
        assert!(anomalies.is_empty(), "seed {seed}: {} anomalies: {anomalies:#?}", anomalies.len());
        (history, counts)
    }
}

/// The value below which so many of a hundred lie.
pub(crate) fn percentile(sorted: &[Micros], of_hundred: usize) -> f64 {
    let rank = (sorted.len() * of_hundred).div_ceil(100).saturating_sub(1);
    sorted.get(rank).map_or(f64::NAN, |micros| *micros as f64 / 1e6)
}
