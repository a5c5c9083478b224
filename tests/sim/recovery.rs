//! After the faults, whoever was out takes part again, within as many epochs as that may take.

use super::{checks::Checker, cluster::Cluster, liar::FORGIVEN_AFTER, twist::Twist};
use commonware_runtime::Clock as _;
use std::time::Duration;

/// More epochs than anybody is out who behaves well: after a proved fault it is four, and two until it shows.
const EPOCHS_MAX: u64 = 16;

/// Waits until the node of a twist is a node like the others; `since` is the epoch that it was out in.
pub(crate) async fn recover(cluster: &Cluster, checker: &Checker, twist: &Twist, since: u64) {
    match twist {
        Twist::None => {}
        Twist::Liar(position, _) => {
            let liar = cluster.seats[*position].id();
            let has_turns = || {
                checker.conduct(|conduct| {
                    let last = conduct.proved_last().unwrap_or_default().max(since);
                    let decided = conduct.decided_last();
                    decided.epoch.get() > last + 2 && decided.qualified.contains(&liar)
                })
            };
            tokio::select! {
                biased;
                () = within(cluster, checker, "a liar that has become honest has no turn", has_turns) => {}
                () = forgive(cluster, *position) => {}
            }
            cluster.forgive(*position).await;
        }
        Twist::Wiped(episode) | Twist::Restored(episode) | Twist::Rots(episode) => {
            let node = cluster.seats[episode.fault].id();
            let takes_part = || checker.conduct(|conduct| conduct.takes_part_after(node, since));
            within(cluster, checker, "who has lost everything does not take part again", takes_part).await;
        }
        Twist::Change(_, what) => {
            let node = cluster.seats[cluster.newcomer()].id();
            let takes_part = || checker.conduct(|conduct| conduct.takes_part_after(node, since - 1));
            within(cluster, checker, "a new member does not take part", takes_part).await;
            // Who has left runs on until nobody needs it any more.
            if let Some(left) = what.leaves() {
                assert!(checker.conduct(|conduct| !conduct.takes_part_after(cluster.seats[left].id(), since - 1)));
                cluster.crash(left).await;
            }
        }
    }
}

/// Who is cut off by those who saw its two votes would stay silent; never returns.
async fn forgive(cluster: &Cluster, liar: usize) {
    loop {
        cluster.runtime().sleep(FORGIVEN_AFTER).await;
        cluster.forgive(liar).await;
    }
}

async fn within(cluster: &Cluster, checker: &Checker, otherwise: &str, done: impl Fn() -> bool) {
    let until = checker.highest() + EPOCHS_MAX * cluster.genesis.channel.epoch_blocks;
    while !done() {
        assert!(checker.highest() < until, "{otherwise}");
        cluster.runtime().sleep(Duration::from_millis(200)).await;
    }
}
