//! What a Twins scenario says: who is two, and in each of the first rounds whose turn it is and who reaches whom.

use super::node::NODES;
use rand_core::Rng;
use std::fmt;

/// Rounds that are scripted; what comes after them, everybody hears.
pub(crate) const ROUNDS: usize = 20;

/// A round: a view of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    /// The node whose turn it is.
    pub(crate) turn: usize,
    /// The group of each process; only those of one group reach each other.
    pub(crate) groups: Vec<u8>,
}

/// A process is a node, or from [`NODES`] on the other half of one that is two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    /// The nodes that are two.
    pub(crate) doubled: Vec<usize>,
    pub(crate) rounds: Vec<Round>,
}

impl Scenario {
    /// The first seeds are all scenarios of one twin in which each round is like the first; as the nodes are alike, it
    /// is always the same one that is two. Of the later seeds, each draws its own.
    pub(crate) fn of(seed: u64, rng: &mut impl Rng) -> Self {
        let splits = splits(NODES + 1);
        let mut below = |bound: usize| usize::try_from(rng.next_u64() % bound as u64).unwrap();
        match usize::try_from(seed).ok().filter(|seed| *seed < NODES * splits.len()) {
            Some(number) => Self::alike(vec![0], number % NODES, &splits[number / NODES]),
            None => Self {
                doubled: vec![below(NODES)],
                rounds: (0..ROUNDS)
                    .map(|_| Round { turn: below(NODES), groups: splits[below(splits.len())].clone() })
                    .collect(),
            },
        }
    }

    /// All rounds are alike.
    pub(crate) fn alike(doubled: Vec<usize>, turn: usize, groups: &[u8]) -> Self {
        Self { doubled, rounds: vec![Round { turn, groups: groups.to_vec() }; ROUNDS] }
    }

    pub(crate) fn processes(&self) -> usize {
        NODES + self.doubled.len()
    }

    /// The node that a process belongs to.
    pub(crate) fn node_of(&self, process: usize) -> usize {
        process.checked_sub(NODES).map_or(process, |other| self.doubled[other])
    }

    /// The processes of a node.
    pub(crate) fn processes_of(&self, node: usize) -> impl Iterator<Item = usize> {
        (0..self.processes()).filter(move |process| self.node_of(*process) == node)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is two;", self.doubled)?;
        for Round { turn, groups } in &self.rounds {
            let groups: String = groups.iter().map(u8::to_string).collect();
            write!(f, " {turn}:{groups}")?;
        }
        Ok(())
    }
}

/// All ways to divide so many processes into groups, each once: a group is named by the number of those before it.
fn splits(processes: usize) -> Vec<Vec<u8>> {
    (1..processes).fold(vec![vec![0]], |splits, _| {
        let grown = |split: Vec<u8>| {
            let groups = split.iter().max().map_or(0, |last| last + 1);
            (0..=groups).map(move |group| [&split[..], &[group]].concat())
        };
        splits.into_iter().flat_map(grown).collect()
    })
}
