//! What goes wrong in a run, as its plan says: each row of faults by itself, all rows at once.

use super::{
    checks::Checker,
    clock::{self, millis},
    cluster::Cluster,
    liar::lie,
    membership::change,
    people::Person,
    plan::{Crash, Cut, Episode, Plan},
    recovery::recover,
    twist::Twist,
};
use commonware_runtime::Clock as _;
use dmdl_audit_ledger::store::{Fault, MemoryStore};
use dmdl_types::id::{Epoch, Height};
use futures::future::join_all;
use std::{cell::Cell, time::Duration};

/// How long a node whose disk fails is waited for: it notices with the next block, which may not come.
const NOTICES_WITHIN: Duration = Duration::from_secs(10);
/// How long a node with a rotten disk is watched, and how long it may take to catch up.
const WATCHED: Duration = Duration::from_secs(10);
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_secs(1);
/// Blocks that a node may be behind to be as good as the others.
const NEAR: u64 = 2;

/// Those who decide for the organisations.
pub(crate) struct Admins<'a> {
    /// One of each organisation of the genesis document.
    pub(crate) founders: Vec<Person<'a>>,
    /// The one of an organisation that comes later.
    pub(crate) newcomer: Person<'a>,
}

/// The seed's faults: when they are over, and whoever was out takes part again, `calm` says so.
pub(crate) async fn trouble(cluster: &Cluster, checker: &Checker, plan: &Plan, admins: &Admins<'_>, calm: &Cell<bool>) {
    let clocks = join_all(plan.clocks.iter().map(|(node, row)| clocks(cluster, *node, row)));
    let twist = twist(cluster, checker, plan, admins);
    let ((), (), _, since) = futures::join!(crashes(cluster, &plan.crashes), cuts(cluster, plan), clocks, twist);
    cluster.heal().await;
    recover(cluster, checker, &plan.twist, since).await;
    calm.set(true);
}

/// Returns the epoch from which on it counts whether somebody takes part again.
async fn twist(cluster: &Cluster, checker: &Checker, plan: &Plan, admins: &Admins<'_>) -> u64 {
    match &plan.twist {
        Twist::None => 0,
        Twist::Liar(node, episode) => {
            lie(cluster, *node, episode, &plan.link()).await;
            cluster.epoch()
        }
        Twist::Wiped(episode) => wiped(cluster, checker, episode, None).await,
        Twist::Restored(episode) => {
            let backup = first_backup(cluster, episode.fault).await;
            wiped(cluster, checker, episode, Some(backup)).await
        }
        Twist::Rots(episode) => rots(cluster, checker, episode).await,
        Twist::Change(after, what) => change(cluster, &admins.founders, &admins.newcomer, *after, *what).await,
    }
}

/// A backup of a node, as soon as there can be one.
async fn first_backup(cluster: &Cluster, node: usize) -> MemoryStore {
    loop {
        if let Some(backup) = cluster.back_up(node).await {
            return backup;
        }
        sleep(cluster, Duration::from_millis(500)).await;
    }
}

/// A node loses all that it has kept, but for what is in a backup: returns the epoch in which it can have voted last.
async fn wiped(cluster: &Cluster, checker: &Checker, episode: &Episode<usize>, backup: Option<MemoryStore>) -> u64 {
    let Episode { after, fault: victim, lasts } = episode;
    sleep(cluster, *after).await;
    let epoch = epoch_of(cluster, *victim);
    cluster.crash(*victim).await;
    lose(cluster, checker, *victim, epoch, backup);
    sleep(cluster, *lasts).await;
    cluster.boot(*victim).await;
    epoch.get()
}

fn epoch_of(cluster: &Cluster, node: usize) -> Epoch {
    cluster.seats[node].up.get().unwrap().channel().config().unwrap().epoch
}

/// Takes a node that is down everything.
fn lose(cluster: &Cluster, checker: &Checker, node: usize, epoch: Epoch, backup: Option<MemoryStore>) {
    let seat = &cluster.seats[node];
    seat.excused.set(true);
    match backup {
        Some(backup) => cluster.restore(node, backup),
        None => cluster.wipe(node),
    }
    checker.forgets(node, seat.id(), epoch, millis(cluster.runtime().current()));
}

/// A bit of a node's blocks or certificates turns while it is down. It never shows a wrong one; if it stops by itself, it is
/// given an empty disk, as people would. Returns the epoch in which it can have voted last.
async fn rots(cluster: &Cluster, checker: &Checker, episode: &Episode<usize>) -> u64 {
    let Episode { after, fault: victim, lasts } = episode;
    sleep(cluster, *after).await;
    let (seat, epoch) = (&cluster.seats[*victim], epoch_of(cluster, *victim));
    cluster.crash(*victim).await;
    let what = cluster.rot(*victim).await;
    sleep(cluster, *lasts).await;
    seat.fate.let_stop(true);
    let lives = cluster.try_boot(*victim).await && lives_with(cluster, checker, *victim).await;
    seat.fate.let_stop(false);
    println!("  {}: it {}", what.unwrap_or_default(), if lives { "lives with it" } else { "stops" });
    if !lives {
        let epoch = seat.up.get().map_or(epoch, |node| node.channel().config().unwrap().epoch.max(epoch));
        cluster.crash(*victim).await;
        lose(cluster, checker, *victim, epoch, None);
        cluster.boot(*victim).await;
        return epoch.get();
    }
    epoch.get()
}

/// Whether a node catches up, reads all that it has, and does not stop meanwhile.
async fn lives_with(cluster: &Cluster, checker: &Checker, node: usize) -> bool {
    let (seat, runtime) = (&cluster.seats[node], cluster.runtime());
    let Some(up) = seat.up.get() else { return false };
    let (watched, late) = (runtime.current() + WATCHED, runtime.current() + CATCHES_UP_WITHIN);
    let is_behind = || up.channel().tip().height.get() + NEAR < checker.highest();
    while runtime.current() < watched || is_behind() {
        if seat.fate.has_stopped() || runtime.current() > late {
            return false;
        }
        sleep(cluster, Duration::from_millis(100)).await;
    }
    let read = async {
        let chain = up.chain().unwrap();
        for height in 1..=up.channel().tip().height.get() {
            let _certificate = chain.certificate(Height::new(height)).await;
            if let Some(block) = chain.block(Height::new(height)).await {
                let right = checker.knows(height, block.block_digest());
                assert!(right, "node {node} shows another block at height {height}");
            }
        }
    };
    // Who has stopped answers nothing.
    tokio::select! {
        biased;
        () = read => {}
        () = sleep(cluster, WATCHED) => return false,
    }
    // What a bit has stopped tells the rest of its node only when that is next polled.
    sleep(cluster, MOMENT).await;
    !seat.fate.has_stopped()
}

async fn sleep(cluster: &Cluster, duration: Duration) {
    cluster.runtime().sleep(duration).await;
}

async fn crashes(cluster: &Cluster, row: &[Episode<Crash>]) {
    for Episode { after, fault: Crash { node, disk, left }, lasts } in row {
        sleep(cluster, *after).await;
        if let Some(fault) = disk {
            fail(cluster, *node, *fault).await;
        }
        cluster.crash_leaving(*node, *left).await;
        sleep(cluster, *lasts).await;
        cluster.boot(*node).await;
    }
}

/// A node's disk fails: it executes nothing more, and stops by itself once there is something to execute.
async fn fail(cluster: &Cluster, position: usize, fault: Fault) {
    let seat = &cluster.seats[position];
    let tip = || seat.up.get().unwrap().channel().tip().height;
    seat.fate.let_stop(true);
    seat.store().inject(fault);
    let (failed_at, until) = (tip(), cluster.runtime().current() + NOTICES_WITHIN);
    while cluster.runtime().current() < until && !seat.fate.has_stopped() {
        assert_eq!(tip(), failed_at, "node {position} goes on with a disk that has failed");
        sleep(cluster, Duration::from_millis(50)).await;
    }
    seat.fate.let_stop(false);
}

async fn cuts(cluster: &Cluster, plan: &Plan) {
    let link = plan.link();
    for Episode { after, fault: Cut { links, flaps, .. }, lasts } in &plan.cuts {
        sleep(cluster, *after).await;
        let stays = flaps.unwrap_or(*lasts);
        let mut left = *lasts;
        while !left.is_zero() {
            let now = stays.min(left);
            cluster.cut(links).await;
            sleep(cluster, now).await;
            cluster.mend(links, &link).await;
            // One that comes and goes is gone for as long as it was there.
            sleep(cluster, if flaps.is_some() { now } else { Duration::ZERO }).await;
            left -= now;
        }
    }
}

async fn clocks(cluster: &Cluster, node: usize, row: &[Episode<clock::Fault>]) {
    let clock = &cluster.seats[node].clock;
    for Episode { after, fault, lasts } in row {
        if !after.is_zero() {
            sleep(cluster, *after).await;
            clock.set(Some(*fault));
        }
        sleep(cluster, *lasts).await;
        clock.set(None);
    }
}
