//! What goes wrong in a run, as its plan says: each row of faults by itself, all rows at once.

use super::{
    checks::Checker,
    clock::{self, millis},
    cluster::Cluster,
    liar::lie,
    membership::change,
    people::Person,
    plan::{Cut, Episode, Plan},
    recovery::recover,
    twist::Twist,
};
use commonware_runtime::Clock as _;
use futures::future::join_all;
use std::{cell::Cell, time::Duration};

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
        Twist::Wiped(episode) => wiped(cluster, checker, episode).await,
        Twist::Change(after, what) => change(cluster, &admins.founders, &admins.newcomer, *after, *what).await,
    }
}

/// A node loses all that it has kept: returns the epoch in which it can have voted last.
async fn wiped(cluster: &Cluster, checker: &Checker, episode: &Episode<usize>) -> u64 {
    let Episode { after, fault: victim, lasts } = episode;
    sleep(cluster, *after).await;
    let seat = &cluster.seats[*victim];
    let epoch = seat.up.get().unwrap().channel().config().unwrap().epoch;
    cluster.crash(*victim).await;
    seat.excused.set(true);
    cluster.wipe(*victim);
    checker.forgets(*victim, seat.id(), epoch, millis(cluster.runtime().current()));
    sleep(cluster, *lasts).await;
    cluster.boot(*victim).await;
    epoch.get()
}

async fn sleep(cluster: &Cluster, duration: Duration) {
    cluster.runtime().sleep(duration).await;
}

async fn crashes(cluster: &Cluster, row: &[Episode<usize>]) {
    for Episode { after, fault: victim, lasts } in row {
        sleep(cluster, *after).await;
        cluster.crash(*victim).await;
        sleep(cluster, *lasts).await;
        cluster.boot(*victim).await;
    }
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
