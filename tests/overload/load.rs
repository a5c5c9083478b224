//! Load that does not wait for what it asks, or that does.

use crate::{
    mint::Mint,
    wire::{Wire, connector},
};
use dmdl_types::id::TransactionId;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// What is asked of whom.
pub(crate) struct Load {
    pub(crate) mint: Arc<Mint>,
    pub(crate) gateways: Vec<SocketAddr>,
    pub(crate) connections: usize,
    /// Transactions a second, whatever becomes of those before; as many as the connections can, otherwise.
    pub(crate) rate: Option<u64>,
    pub(crate) lasts: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answers by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// What was done, as its gateway says.
    pub(crate) done: Vec<TransactionId>,
    /// How long what was done took, from when it was due, in ascending order.
    took: Vec<Duration>,
    /// How long it took to be refused, in ascending order.
    refused: Vec<Duration>,
    /// Refusals that do not say when to ask again.
    pub(crate) unmannerly: u64,
    /// An answer of each status that should not be there.
    pub(crate) odd: BTreeMap<u16, String>,
    /// Connections that broke.
    pub(crate) broken: u64,
    /// What no connection was free for.
    pub(crate) not_sent: u64,
}

struct Shared {
    load: Load,
    begun: Instant,
    taken: AtomicU64,
}

impl Load {
    /// Connects, and asks for as long as it is to last; what is begun is waited for.
    pub(crate) async fn run(self) -> Tally {
        let connector = connector();
        let mut wires = JoinSet::new();
        for number in 0..self.connections {
            let (connector, at) = (connector.clone(), self.gateways[number % self.gateways.len()]);
            wires.spawn(async move { (at, Wire::connect(&connector, at).await) });
        }
        let wires = wires.join_all().await;
        let shared = Arc::new(Shared { load: self, begun: Instant::now(), taken: AtomicU64::new(0) });
        let mut working = JoinSet::new();
        let mut tally = Tally::default();
        for (at, wire) in wires {
            match wire {
                Ok(wire) => _ = working.spawn(work(Arc::clone(&shared), at, wire)),
                Err(_) => tally.broken += 1,
            }
        }
        for other in working.join_all().await {
            tally.add(other);
        }
        let due = shared.load.rate.map(|rate| rate * u64::try_from(shared.load.lasts.as_millis()).unwrap() / 1000);
        tally.not_sent = due.map_or(0, |due| due.saturating_sub(shared.taken.load(Ordering::Relaxed)));
        tally.took.sort_unstable();
        tally.refused.sort_unstable();
        tally
    }
}

impl Shared {
    /// When the next transaction is due; none after the end.
    async fn next(&self) -> Option<Instant> {
        let end = self.begun + self.load.lasts;
        if Instant::now() >= end {
            return None;
        }
        let Some(rate) = self.load.rate else { return Some(Instant::now()) };
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let due = self.begun + Duration::from_micros(number * 1_000_000 / rate.max(1));
        if due >= end {
            return None;
        }
        sleep_until(due).await;
        Some(due)
    }
}

async fn work(shared: Arc<Shared>, at: SocketAddr, mut wire: Wire) -> Tally {
    let (mut tally, host, mint) = (Tally::default(), at.to_string(), &shared.load.mint);
    while let Some(due) = shared.next().await {
        let coin = mint.coin();
        let Ok(answer) = wire.ask(&coin.request(&host)).await else {
            tally.broken += 1;
            break;
        };
        *tally.statuses.entry(answer.status).or_default() += 1;
        match answer.status {
            200 => {
                tally.took.push(due.elapsed());
                tally.done.push(coin.id);
            }
            429 | 503 => {
                tally.refused.push(due.elapsed());
                tally.unmannerly += u64::from(!answer.retry_after);
                mint.take_back(coin);
            }
            odd => _ = tally.odd.insert(odd, String::from_utf8_lossy(&answer.body).into_owned()),
        }
    }
    tally
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.done.extend(other.done);
        self.took.extend(other.took);
        self.refused.extend(other.refused);
        self.unmannerly += other.unmannerly;
        self.odd.extend(other.odd);
        self.broken += other.broken;
    }

    pub(crate) fn of(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or_default()
    }

    /// The smallest time that so many of a hundred of what was done did not exceed.
    pub(crate) fn took(&self, percent: usize) -> Duration {
        percentile(&self.took, percent)
    }

    /// The same of what was refused.
    pub(crate) fn refused(&self, percent: usize) -> Duration {
        percentile(&self.refused, percent)
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
