//! Faults, drawn by a seed: one node at a time, and never the one at whose gateway people work.

use crate::network::{Network, in_time};
use rustix::process::{Pid, Signal, kill_process};
use std::{fs, thread::sleep, time::Duration};

/// How long a node is down, or stands still.
const DOWN: Duration = Duration::from_secs(5);
const PAUSED: Duration = Duration::from_secs(10);

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is killed, and started again.
    Killed,
    /// Its process stands still for a while.
    Paused,
    /// It is stopped as an operator does it, and started again.
    Restarted,
    /// It loses all that it has of the ledger, and joins anew.
    Wiped,
}

const KINDS: [Kind; 4] = [Kind::Killed, Kind::Paused, Kind::Restarted, Kind::Wiped];

/// Numbers that follow from a seed: SplitMix64.
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    /// The next fault, and of which node but the first. Nobody can join before there is a snapshot to join by.
    pub(crate) fn fault(&mut self, nodes: usize, may_wipe: bool) -> (Kind, usize) {
        let kinds = if may_wipe { &KINDS[..] } else { &KINDS[..3] };
        (kinds[self.below(kinds.len())], 1 + self.below(nodes - 1))
    }
}

/// Does it, and waits until the node has what the first one has.
pub(crate) fn strike(network: &mut Network, (kind, node): (Kind, usize)) {
    match kind {
        Kind::Killed => network.kill(node),
        Kind::Restarted | Kind::Wiped => network.stop(node),
        Kind::Paused => {
            let pid = Pid::from_raw(i32::try_from(network.pid(node)).unwrap()).unwrap();
            kill_process(pid, Signal::STOP).unwrap();
            sleep(PAUSED);
            kill_process(pid, Signal::CONT).unwrap();
        }
    }
    if kind == Kind::Wiped {
        fs::remove_dir_all(network.node(node).join("data")).unwrap();
    }
    if kind != Kind::Paused {
        sleep(DOWN);
        network.start(node);
    }
    let goal = network.height(0);
    in_time("a node catches up after a fault", || (network.height(node) >= goal).then_some(()));
}
