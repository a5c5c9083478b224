//! What goes wrong in a run, as its plan says: each row of faults by itself, all rows at once.

use super::{
    clock,
    cluster::Cluster,
    plan::{Cut, Episode, Plan},
};
use commonware_runtime::Clock as _;
use futures::future::join_all;
use std::{cell::Cell, time::Duration};

/// The seed's faults: when they are over, `calm` says so.
pub(crate) async fn trouble(cluster: &Cluster, plan: &Plan, calm: &Cell<bool>) {
    let clocks = join_all(plan.clocks.iter().map(|(node, row)| clocks(cluster, *node, row)));
    futures::join!(crashes(cluster, &plan.crashes), cuts(cluster, plan), clocks);
    calm.set(true);
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
