//! Drives workers: as fast as each of them goes, or at a rate that does not wait for them.

use super::recorder::{Recorder, Summary};
use crate::exit::Failure;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// The code of what was due before the end and found no worker free.
pub(super) const NOT_SENT: &str = "not_sent";
/// How long somebody whose work came to nothing does nothing, where nobody says when the next is due: a gateway that
/// refuses is not asked again at once.
const DISCOURAGED: Duration = Duration::from_millis(100);
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// Somebody who does one piece of work after another.
pub(super) trait Worker: Send + 'static {
    /// Does one piece of work.
    ///
    /// # Errors
    /// [`Failure`] when it comes to nothing.
    fn step(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// How long work goes on, and how fast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long pieces of work are begun.
    pub(super) lasts: Duration,
    /// Pieces a second, whatever becomes of those before; as fast as the workers go otherwise.
    pub(super) rate: Option<u32>,
}

impl Pace {
    /// How many pieces are due; none where nothing is ever due.
    pub(super) fn due(&self) -> Option<u64> {
        let due = |rate| u128::from(rate) * self.lasts.as_millis() / 1000;
        self.rate.map(|rate| u64::try_from(due(rate)).unwrap_or(u64::MAX))
    }
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct Driven {
    /// What was seen.
    pub(super) summary: Summary,
    /// From the beginning to the end of the last piece of work, and no less than the run was to last.
    pub(super) took: Duration,
}

/// Runs the workers for as long as the pace says; `tell` hears how far they are.
///
/// At a rate, a latency counts from when a piece of work was due, not from when a worker was free for it:
/// a stall is seen by everything that waits behind it. What no worker had taken up at the end is an error.
///
/// The workers are there again afterwards, but for one that panicked.
pub(super) async fn drive<W: Worker>(
    workers: &mut Vec<W>,
    pace: Pace,
    tell: &(dyn Fn(Duration, u64) + Sync),
) -> Driven {
    let begun = Instant::now();
    let shared = Arc::new(Shared { pace, begun, taken: AtomicU64::new(0), done: AtomicU64::new(0) });
    let mut working: JoinSet<(W, Recorder)> = JoinSet::new();
    for worker in workers.drain(..) {
        working.spawn(work(worker, Arc::clone(&shared)));
    }
    let mut seen = Recorder::default();
    loop {
        tokio::select! {
            biased;
            worker = working.join_next() => match worker {
                Some(Ok((worker, what))) => {
                    workers.push(worker);
                    seen.add(what);
                }
                Some(Err(_)) => seen.failed("worker", 1),
                None => break,
            },
            () = sleep(TELL_EVERY) => tell(begun.elapsed(), shared.done.load(Ordering::Relaxed)),
        }
    }
    if let Some(due) = pace.due() {
        seen.failed(NOT_SENT, due.saturating_sub(shared.taken.load(Ordering::Relaxed)));
    }
    Driven { summary: seen.sum(), took: begun.elapsed().max(pace.lasts) }
}

struct Shared {
    pace: Pace,
    begun: Instant,
    taken: AtomicU64,
    done: AtomicU64,
}

impl Shared {
    /// When the next piece of work is due; none after the end.
    async fn next(&self) -> Option<Instant> {
        let (Pace { lasts, rate }, end) = (self.pace, self.begun + self.pace.lasts);
        let Some(rate) = rate else { return Some(Instant::now()).filter(|now| *now < end) };
        if Instant::now() >= end {
            return None;
        }
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let after = Duration::from_micros(number.saturating_mul(1_000_000) / u64::from(rate.max(1)));
        if after >= lasts {
            return None;
        }
        let due = self.begun + after;
        sleep_until(due).await;
        Some(due)
    }
}

async fn work<W: Worker>(mut worker: W, shared: Arc<Shared>) -> (W, Recorder) {
    let mut seen = Recorder::default();
    while let Some(due) = shared.next().await {
        match worker.step().await {
            Ok(()) => {
                seen.done(due.elapsed());
                shared.done.fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) => {
                seen.failed(&failure.code, 1);
                if shared.pace.rate.is_none() {
                    sleep(DISCOURAGED).await;
                }
            }
        }
    }
    (worker, seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    /// Takes as long as its list says, fails where it says nothing, and takes no time after its end.
    struct Sleeper(Vec<Option<u64>>);

    impl Worker for Sleeper {
        async fn step(&mut self) -> Result<(), Failure> {
            let next = if self.0.is_empty() { Some(1) } else { self.0.remove(0) };
            let broken = || Failure::new(Exit::Unavailable, "broken", "it was to fail");
            sleep(Duration::from_millis(next.ok_or_else(broken)?)).await;
            Ok(())
        }
    }

    fn run(mut workers: Vec<Sleeper>, lasts_ms: u64, rate: Option<u32>) -> Driven {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (count, pace) = (workers.len(), Pace { lasts: Duration::from_millis(lasts_ms), rate });
        let driven = runtime.block_on(drive(&mut workers, pace, &|_, _| ()));
        assert_eq!(workers.len(), count, "the next run has the same workers");
        driven
    }

    #[test]
    fn without_a_rate_each_worker_goes_on_until_the_end() {
        let run = run(vec![Sleeper(vec![]), Sleeper(vec![None, Some(2000)])], 1000, None);
        assert!(run.summary.done() > 2, "{}", run.summary.done());
        assert_eq!(run.summary.errors.get("broken"), Some(&1));
        assert!(run.took >= Duration::from_secs(2), "what was begun is waited for");
    }

    #[test]
    fn at_a_rate_a_stall_is_seen_by_what_waits_behind_it() {
        // Ten pieces are due, 100 ms apart. The first takes half a second: the second was due at 100 ms.
        let run = run(vec![Sleeper(vec![Some(500)])], 1000, Some(10));
        assert_eq!(run.summary.done(), 10);
        assert!(run.summary.percentile_ms(1000).unwrap() >= 500.0);
        assert!(run.summary.percentile_ms(900).unwrap() >= 400.0);
    }

    #[test]
    fn what_nobody_had_time_for_is_an_error() {
        let run = run(vec![Sleeper(vec![Some(1100)])], 1000, Some(100));
        assert_eq!(run.summary.done(), 1);
        assert_eq!(run.summary.errors.get(NOT_SENT), Some(&99));
    }

    #[test]
    fn at_a_rate_no_more_is_done_than_is_due() {
        let many = (0..20).map(|_| Sleeper(vec![])).collect();
        let run = run(many, 1000, Some(50));
        let not_sent = run.summary.errors.get(NOT_SENT).copied().unwrap_or_default();
        assert_eq!(run.summary.done() as u64 + not_sent, 50);
        assert_eq!(Pace { lasts: Duration::from_millis(2500), rate: Some(4) }.due(), Some(10));
    }
}
