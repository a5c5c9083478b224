//! Orderers some of which are two under one key, and a network that divides them as a scenario says.
//!
//! A message is held back by the round that it speaks of, as in the paper; one that speaks of none belongs to the round
//! that its sender spoke of last. So that a round in which nobody has a quorum ends as well, it divides nobody any more
//! once it has lasted long enough.
//!
//! # Source
//! "Twins: BFT Systems Made Robust", arXiv 2004.10617

use super::{
    node::{BLOCKS, CERTIFICATES, Ground, LINKS, NODES, Node, VOTES, connect, peer, quota},
    scenario::Scenario,
    toy::{EPOCH_BLOCKS, Toy, key},
};
use commonware_codec::{Read as _, ReadExt as _, varint::UInt};
use commonware_cryptography::{Hasher as _, Sha256, ed25519::PublicKey};
use commonware_p2p::{
    Message, Recipients,
    simulated::{Oracle, SplitForwarder, SplitOrigin, SplitRouter, SplitTarget},
    utils::mux,
};
use commonware_runtime::{Clock as _, IoBuf, Spawner as _, Supervisor as _, deterministic};
use dmdl_audit_ledger::mdca::EngineBlock;
use dmdl_types::id::{BlockDigest, NodeId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

/// How long a round divides the processes: longer than a turn is waited for.
const LASTS: Duration = Duration::from_secs(6);

/// The messages between the processes.
struct Switch {
    scenario: Scenario,
    peers: Vec<PublicKey>,
    clock: deterministic::Context,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// When somebody first spoke of a round.
    begun: BTreeMap<usize, SystemTime>,
    /// The round that a process spoke of last.
    last: BTreeMap<usize, usize>,
    /// Which halves of a node said this, on this link.
    said: BTreeMap<(u64, usize, [u8; 32]), BTreeSet<usize>>,
}

impl Switch {
    fn node_of(&self, peer: &PublicKey) -> usize {
        self.peers.iter().position(|key| key == peer).unwrap()
    }

    /// Whether two processes reach each other in a round.
    fn together(&self, seen: &Seen, round: usize, one: usize, other: usize) -> bool {
        let Some(scripted) = self.scenario.rounds.get(round) else { return true };
        let over = seen.begun.get(&round).is_some_and(|begun| *begun + LASTS < self.clock.current());
        over || scripted.groups[one] == scripted.groups[other]
    }

    fn round_of(seen: &Seen, link: u64, process: usize, message: &IoBuf) -> usize {
        round(link, message).or_else(|| seen.last.get(&process).copied()).unwrap_or_default()
    }

    /// Whom a message of a process reaches.
    fn reach(&self, link: u64, from: usize, to: &Recipients<PublicKey>, message: &IoBuf) -> Vec<PublicKey> {
        let mut seen = self.seen.lock().unwrap();
        let now = self.clock.current();
        if let Some(round) = round(link, message) {
            seen.begun.entry(round).or_insert(now);
            seen.last.insert(from, round);
        }
        let of = self.scenario.node_of(from);
        if self.scenario.doubled.contains(&of) {
            seen.said.entry((link, of, name(message))).or_default().insert(from);
        }
        let round = Self::round_of(&seen, link, from, message);
        let is_asked = |key: &PublicKey| match to {
            Recipients::All => true,
            Recipients::Some(keys) => keys.contains(key),
            Recipients::One(one) => one == key,
        };
        let is_reached =
            |node: usize| self.scenario.processes_of(node).any(|process| self.together(&seen, round, from, process));
        let others = (0..NODES).filter(|node| *node != of && is_asked(&self.peers[*node]));
        others.filter(|node| is_reached(*node)).map(|node| self.peers[node].clone()).collect()
    }

    /// Which half of a node that is two hears a message.
    fn hears(&self, link: u64, at: usize, (from, message): &Message<PublicKey>) -> SplitTarget {
        let from = self.node_of(from);
        let seen = self.seen.lock().unwrap();
        let said = seen.said.get(&(link, from, name(message)));
        let speakers: Vec<usize> = said.map_or_else(|| vec![from], |halves| halves.iter().copied().collect());
        let hears = |half: usize| {
            let reaches = |from: &usize| self.together(&seen, Self::round_of(&seen, link, *from, message), *from, half);
            speakers.iter().any(reaches)
        };
        let halves: Vec<bool> = self.scenario.processes_of(at).map(hears).collect();
        match halves[..] {
            [true, true] => SplitTarget::Both,
            [true, false] => SplitTarget::Primary,
            [false, true] => SplitTarget::Secondary,
            _ => SplitTarget::None,
        }
    }
}

/// The round that a message speaks of, if it does: votes, certificates and new blocks do.
fn round(link: u64, message: &IoBuf) -> Option<usize> {
    let (_, message) = mux::parse(message.clone()).ok()?;
    let (epoch, view) = match link {
        VOTES | CERTIFICATES => {
            let (_, mut message) = mux::parse(message).ok()?;
            let _kind = u8::read(&mut message).ok()?;
            let mut number = || UInt::<u64>::read(&mut message).ok().map(|number| number.0);
            (number()?, number()?)
        }
        BLOCKS => {
            let block = EngineBlock::read_cfg(&mut message.clone(), &()).ok()?;
            (block.header().epoch.get(), block.header().view.get())
        }
        _ => return None,
    };
    usize::try_from(epoch * EPOCH_BLOCKS + view.checked_sub(1)?).ok()
}

fn name(message: &IoBuf) -> [u8; 32] {
    let mut hasher = Sha256::default();
    hasher.update(message.as_ref());
    hasher.finalize().1.0
}

fn forwarder(switch: Arc<Switch>, link: u64, node: usize) -> impl SplitForwarder<PublicKey> {
    move |half: SplitOrigin, to: &Recipients<PublicKey>, message: &IoBuf| {
        let mut halves = switch.scenario.processes_of(node);
        let from = match half {
            SplitOrigin::Primary => halves.next(),
            SplitOrigin::Secondary => halves.nth(1),
        };
        let reached = switch.reach(link, from.unwrap(), to, message);
        (!reached.is_empty()).then_some(Recipients::Some(reached))
    }
}

fn router(switch: Arc<Switch>, link: u64, node: usize) -> impl SplitRouter<PublicKey> {
    move |message: &Message<PublicKey>| switch.hears(link, node, message)
}

/// The processes of a scenario, running.
pub(crate) struct Twins {
    scenario: Scenario,
    runtime: deterministic::Context,
    oracle: Oracle<PublicKey, deterministic::Context>,
    toys: Vec<Toy>,
    /// They stop when they are dropped.
    _nodes: Vec<Node>,
}

impl Twins {
    pub(crate) async fn start(runtime: &deterministic::Context, scenario: Scenario) -> Self {
        let oracle = connect(runtime).await;
        let toys: Vec<Toy> = (0..scenario.processes()).map(|_| Toy::default()).collect();
        // So that the halves of one never happen to propose the same.
        toys.iter().skip(NODES).for_each(|toy| toy.run_ahead_ms(1));
        let turns: Vec<NodeId> = scenario.rounds.iter().map(|round| id(round.turn)).collect();
        toys.iter().for_each(|toy| toy.take_turns(turns.clone()));
        let switch = Arc::new(Switch {
            scenario: scenario.clone(),
            peers: (0..NODES).map(peer).collect(),
            clock: runtime.child("switch"),
            seen: Mutex::default(),
        });
        let mut starting = Vec::new();
        for node in 0..NODES {
            let control = oracle.control(peer(node));
            let (mut first, mut second) = (Vec::new(), Vec::new());
            for link in 0..LINKS {
                let (sender, receiver) = control.register(link, quota()).await.unwrap();
                let (sender, of_second) = sender.split_with(forwarder(Arc::clone(&switch), link, node));
                if scenario.doubled.contains(&node) {
                    let router = router(Arc::clone(&switch), link, node);
                    let (receiver, to_second) = receiver.split_with(runtime.child("halves"), router);
                    first.push((sender, receiver));
                    second.push((of_second, to_second));
                } else {
                    first.push((sender, receiver));
                }
            }
            for (process, ends) in scenario.processes_of(node).zip([first, second]) {
                let ground = Ground { partitions: format!("process-{process}-"), toy: toys[process].clone() };
                let child = runtime.child("process").with_attribute("index", process);
                let start = Node::start(child, node, ground, ends, control.clone());
                starting.push(runtime.child("starts").spawn(move |_| start));
            }
        }
        // All at once: who comes seconds later has missed the first round.
        let mut nodes = Vec::new();
        for node in starting {
            nodes.push(node.await.unwrap());
        }
        Self { scenario, runtime: runtime.child("twins"), oracle, toys, _nodes: nodes }
    }

    /// Waits until these processes have executed `height`.
    pub(crate) async fn reach(&self, processes: &[usize], height: u64) {
        while processes.iter().any(|process| self.toys[*process].height() < height) {
            self.runtime.sleep(Duration::from_millis(100)).await;
        }
    }

    /// The nodes that are one.
    pub(crate) fn honest(&self) -> Vec<usize> {
        (0..NODES).filter(|node| !self.scenario.doubled.contains(node)).collect()
    }

    /// INVARIANT: no two processes have different final blocks at a height; gives the longest chain, or what forks.
    pub(crate) fn chain(&self) -> Result<Vec<BlockDigest>, String> {
        let mut longest: Vec<BlockDigest> = Vec::new();
        for (process, toy) in self.toys.iter().enumerate() {
            let chain = toy.digests(u64::MAX);
            if let Some(height) = chain.iter().zip(&longest).position(|(one, other)| one != other) {
                return Err(format!("process {process} has another block at height {}", height + 1));
            }
            if chain.len() > longest.len() {
                longest = chain;
            }
        }
        Ok(longest)
    }

    /// INVARIANT: nobody is accused or cut off but who is two. Gives how many contradictions were seen.
    pub(crate) async fn accused(&self) -> usize {
        let is_two = |node: NodeId| self.scenario.doubled.iter().any(|doubled| id(*doubled) == node);
        let faults: Vec<_> = self.toys.iter().flat_map(Toy::faults).collect();
        for fault in &faults {
            assert!(is_two(NodeId::of_key(fault.culprit())), "an honest node is accused: {fault:?}");
        }
        let doubled: Vec<PublicKey> = self.scenario.doubled.iter().map(|node| peer(*node)).collect();
        for (from, to) in self.oracle.blocked().await.unwrap() {
            assert!(doubled.contains(&from) || doubled.contains(&to), "an honest node was cut off by another");
        }
        faults.len()
    }
}

fn id(node: usize) -> NodeId {
    NodeId::of_key(key(node).public())
}
