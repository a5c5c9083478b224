//! The phases of the campaign, each under load, and what must hold at the end of each and of all.

use super::load::{Tally, WORKLOADS};
use crate::network::{ALL, Network, has_voted, in_time};
use dmdl::network_file::NetworkFile;
use dmdl_types::{bundle, genesis::quorum};
use serde_json::Value;
use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, ScopedJoinHandle},
};

/// The positions of nodes in the network.
pub(crate) const FIRST: usize = 0;
pub(crate) const SECOND: usize = 1;
/// The one that loses its folder.
pub(crate) const LOSES: usize = 2;
/// The one whose key is rotated.
const ROTATES: usize = 3;
const ADMINS: [&str; 4] = ["admin-1", "admin-2", "admin-3", "admin-4"];
/// Some seconds under load: enough epochs in a short run, and long enough for people to follow the members.
const EPOCH_BLOCKS: u64 = 50;
/// How far the others go on without one of them.
const MOMENT_BLOCKS: u64 = 5;
const LETTER: &str = "a letter to four";

pub(crate) struct Campaign {
    network: Network,
    /// The positions of those that are members.
    members: Vec<usize>,
    /// How long the load lasts in a phase, at least.
    seconds: u64,
    /// A record of before everything.
    record: String,
    phases: Vec<Phase>,
}

/// What was done in a phase.
struct Phase {
    what: &'static str,
    /// The positions of its events in the trail.
    events: std::ops::Range<u64>,
    /// Of each workload.
    tallies: Vec<Tally>,
}

/// Says that it is enough, also when a test fails meanwhile.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Campaign {
    pub(crate) fn begin(seconds: u64) -> Self {
        let seats = [("a", "org-1", ALL), ("b", "org-2", ALL), ("c", "org-3", ALL), ("d", "org-4", ALL)];
        let mut network = Network::generate_with(&format!("[channel]\nepoch_blocks = {EPOCH_BLOCKS}\n"), &seats);
        network.start_all();
        let record = network.register(FIRST, LETTER);
        eprintln!("{}", line(["phase", "height", "epoch", "state", "transactions", "openings", "errors", "not sent"]));
        Self { network, members: (0..seats.len()).collect(), seconds, record, phases: Vec::new() }
    }

    /// Does something with the network while people work at a gateway, from when they have begun until it is done.
    pub(crate) fn phase(&mut self, what: &'static str, at: usize, act: impl FnOnce(&mut Self, usize)) {
        let (before, enough) = (self.network.agreed(&self.members), AtomicBool::new(false));
        let tallies = thread::scope(|scope| {
            let (until, enough) = (Until(&enough), &enough);
            let load = WORKLOADS.iter().map(|work| {
                let bench = work.command(&self.network, at, self.seconds);
                scope.spawn(move || work.repeat(bench, enough))
            });
            let load: Vec<ScopedJoinHandle<'_, Tally>> = load.collect();
            in_time("people have begun", || {
                assert!(!load.iter().any(ScopedJoinHandle::is_finished), "people cannot work");
                WORKLOADS.iter().all(|work| work.has_begun(&self.network, at, &before)).then_some(())
            });
            act(self, at);
            drop(until);
            load.into_iter().map(|work| work.join().expect("people can work")).collect::<Vec<Tally>>()
        });
        let after = self.network.agreed(&self.members);
        report(what, &after, &tallies);
        let events = number(&before, "log_size")..number(&after, "log_size");
        self.phases.push(Phase { what, events, tallies });
    }

    /// A fifth organisation joins with a node, which catches up and votes.
    pub(crate) fn join(&mut self, at: usize) {
        let (joins, change) = self.network.make_node("e", "org-5");
        let from = self.let_in(joins, &change, at);
        self.wait_votes("org-5", from, at);
        self.wait_caught_up(joins, at);
    }

    /// The node that came last leaves.
    pub(crate) fn leave(&mut self, at: usize) {
        let leaves = *self.members.last().expect("there are members");
        let from = self.change(at, &format!("[[change]]\nremove-node = \"{}\"\n", self.network.ids[leaves]));
        self.retire(leaves, from, at);
    }

    /// A node is replaced by one with other keys, which catches up and votes.
    pub(crate) fn rotate(&mut self, at: usize) {
        let (new, added) = self.network.make_node("d-2", "org-4");
        let removed = format!("[[change]]\nremove-node = \"{}\"\n", self.network.ids[ROTATES]);
        let from = self.let_in(new, &format!("{removed}\n{added}\n"), at);
        self.retire(ROTATES, from, at);
        self.wait_votes("org-4", from, at);
        self.wait_caught_up(new, at);
    }

    /// A node loses its folder, joins by another one's snapshot, and votes again once that is safe.
    pub(crate) fn wipe(&mut self, position: usize, at: usize) {
        self.network.stop(position);
        let stopped = self.network.epoch(at);
        fs::remove_dir_all(self.network.node(position).join("data")).unwrap();
        let log = self.network.folder().join("log");
        let said = self.network.start_logging(position, &log);
        assert_eq!(said["votes"], false, "it does not know what it has voted for");
        let told = fs::read_to_string(&log).unwrap();
        assert!(told.contains("joined by a snapshot"), "{told}");
        self.wait_caught_up(position, at);
        // In the epoch in which it was stopped it may have voted before.
        self.wait_votes("org-3", stopped + 1, at);
    }

    /// Each of these nodes is stopped and started again, one after the other, as an operator does it: the next one when
    /// this one has caught up.
    pub(crate) fn restart(&mut self, positions: &[usize], at: usize) {
        for position in positions {
            self.network.stop(*position);
            let goal = self.network.height(at) + MOMENT_BLOCKS;
            in_time("the others go on", || (self.network.height(at) >= goal).then_some(()));
            self.network.start(*position);
            self.wait_caught_up(*position, at);
        }
    }

    /// The members' nodes but one.
    pub(crate) fn all_but(&self, position: usize) -> Vec<usize> {
        self.members.iter().copied().filter(|member| *member != position).collect()
    }

    /// Has as many organisations make a change as it takes; gives the first epoch with it.
    fn change(&self, at: usize, change: &str) -> u64 {
        self.network.change(at, change, &ADMINS[..quorum(self.members.len())])
    }

    /// Has a change made that adds a node, and starts it when the others let it in; gives the first epoch with it.
    fn let_in(&mut self, node: usize, change: &str, at: usize) -> u64 {
        let from = self.change(at, change);
        in_time("a node is let in", || (self.network.epoch(at) + 1 >= from).then_some(()));
        self.network.start(node);
        self.members.push(node);
        from
    }

    /// Stops a node for good, once it is a member no more.
    fn retire(&mut self, position: usize, from: u64, at: usize) {
        in_time("a node is out", || (self.network.epoch(at) >= from).then_some(()));
        self.network.stop(position);
        self.members.retain(|member| *member != position);
    }

    /// Waits until an organisation has voted in an epoch that is not before this one.
    fn wait_votes(&self, org: &str, from: u64, at: usize) {
        in_time(&format!("{org} votes"), || {
            let status = self.network.status(at);
            (number(&status, "epoch") > from && has_voted(&status, org)).then_some(())
        });
    }

    fn wait_caught_up(&self, position: usize, with: usize) {
        let goal = self.network.height(with);
        in_time("a node catches up", || (self.network.height(position) >= goal).then_some(()));
    }

    /// What must hold when all is over.
    pub(crate) fn end(self) {
        for Phase { what, tallies, .. } in &self.phases {
            assert!(tallies.iter().all(|tally| tally.errors.is_empty()), "{what}: {tallies:?}");
        }
        // Its shares are with the founders that have kept their keys and their folders, and these are enough.
        assert_eq!(self.network.open(SECOND, &self.record), LETTER.as_bytes());

        // One that joined by a snapshot, if the campaign had that, proves everything, too.
        self.network.assert_trail_verifies(LOSES);
        let trail = self.network.assert_trail_verifies(FIRST);
        let pin = NetworkFile::read(&self.network.pin_file(FIRST)).unwrap();
        let trail = bundle::verify(&fs::read(trail).unwrap(), &pin.genesis.founding()).expect("the trail verifies");
        for Phase { what, events, tallies } in &self.phases {
            for (work, tally) in WORKLOADS.iter().zip(tallies) {
                let here = trail.events.iter().filter(|(position, event)| events.contains(position) && work.has(event));
                assert_eq!(here.count() as u64, tally.acknowledged, "what was acknowledged is there, once: {what}");
            }
        }
    }
}

fn number(status: &Value, name: &str) -> u64 {
    status[name].as_u64().unwrap()
}

/// A line of the table: how the channel stands after a phase, and what was done in it.
fn report(what: &str, after: &Value, tallies: &[Tally]) {
    let errors = tallies.iter().flat_map(|tally| &tally.errors).map(|(code, count)| format!("{count} {code}"));
    let errors = errors.collect::<Vec<_>>().join(", ");
    let [transactions, openings] = tallies else { panic!("two workloads") };
    let cells = [
        number(after, "height").to_string(),
        number(after, "epoch").to_string(),
        after["state_root"].as_str().unwrap()[..8].to_owned(),
        transactions.done.to_string(),
        openings.done.to_string(),
        if errors.is_empty() { "none".to_owned() } else { errors },
        format!("{}, {}", transactions.not_sent, openings.not_sent),
    ];
    let [height, epoch, state, transactions, openings, errors, not_sent] = cells.each_ref().map(String::as_str);
    eprintln!("{}", line([what, height, epoch, state, transactions, openings, errors, not_sent]));
}

fn line(cells: [&str; 8]) -> String {
    let [what, height, epoch, state, transactions, openings, errors, not_sent] = cells;
    format!("{what:20} {height:>7} {epoch:>6} {state:>9} {transactions:>13} {openings:>9} {errors:>16} {not_sent:>10}")
}
