//! Clocks that are wrong: each node reads one of its own, and only the simulator knows the right time.
//!
//! As on a real machine, a sleep lasts as long as it lasts, whatever is done to the clock meanwhile, and a
//! deadline is turned into a sleep when somebody begins to wait for it.

use super::cluster::Runtime;
use commonware_runtime::{
    BlobVersion, Clock, Error, Handle, Metrics, Name, Spawner, Storage, Supervisor, signal,
    telemetry::metrics::{Metric, Registered},
};
use dmdl_types::id::UnixMillis;
use governor::clock::{Clock as GovernorClock, ReasonablyRealtime};
use rand_core::{TryCryptoRng, TryRng};
use std::{
    convert::Infallible,
    fmt,
    future::Future,
    ops::RangeInclusive,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

/// Nobody waits for longer.
const SLEEP_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What is wrong with a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is ahead.
    Ahead(Duration),
    /// It is behind.
    Behind(Duration),
    /// It stands still.
    Stopped,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead(by) => write!(f, "{by:?} ahead"),
            Self::Behind(by) => write!(f, "{by:?} behind"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// The clock on the wall of one node; it outlives the node's crashes.
pub(crate) struct WallClock {
    right: Runtime,
    face: Mutex<Face>,
}

#[derive(Clone, Copy, Debug)]
struct Face {
    fault: Option<Fault>,
    /// When the fault began, by this clock.
    since: SystemTime,
    /// The latest time that it has shown before its last change.
    latest: SystemTime,
    changes: u64,
}

impl Face {
    fn shows(&self, right: SystemTime) -> SystemTime {
        match self.fault {
            None => right,
            Some(Fault::Ahead(by)) => right + by,
            Some(Fault::Behind(by)) => right - by,
            Some(Fault::Stopped) => self.since,
        }
    }
}

impl WallClock {
    pub(crate) fn new(right: Runtime) -> Self {
        let now = right.current();
        Self { right, face: Mutex::new(Face { fault: None, since: now, latest: now, changes: 0 }) }
    }

    fn face(&self) -> Face {
        *self.face.lock().unwrap()
    }

    /// What it shows.
    pub(crate) fn now(&self) -> SystemTime {
        self.face().shows(self.right.current())
    }

    /// Breaks it, or sets it right.
    pub(crate) fn set(&self, fault: Option<Fault>) {
        let since = self.now();
        let Face { latest, changes, .. } = self.face();
        *self.face.lock().unwrap() = Face { fault, since, latest: latest.max(since), changes: changes + 1 };
    }

    /// How often it was set: while that stays the same, it does not run backwards.
    pub(crate) fn changes(&self) -> u64 {
        self.face().changes
    }

    /// The latest time that it has ever shown.
    pub(crate) fn latest(&self) -> UnixMillis {
        millis(self.face().latest.max(self.now()))
    }
}

pub(crate) fn millis(time: SystemTime) -> UnixMillis {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap())
}

/// The simulator, as a node with a clock of its own sees it.
pub(crate) struct NodeRuntime {
    inner: Runtime,
    clock: Arc<WallClock>,
}

impl NodeRuntime {
    pub(crate) const fn new(inner: Runtime, clock: Arc<WallClock>) -> Self {
        Self { inner, clock }
    }
}

impl Clock for NodeRuntime {
    fn current(&self) -> SystemTime {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.inner.sleep(duration.min(SLEEP_MAX))
    }

    fn sleep_until(&self, deadline: SystemTime) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.sleep(deadline.duration_since(self.current()).unwrap_or_default())
    }
}

impl GovernorClock for NodeRuntime {
    type Instant = SystemTime;

    fn now(&self) -> SystemTime {
        self.current()
    }
}

impl ReasonablyRealtime for NodeRuntime {}

impl Supervisor for NodeRuntime {
    fn name(&self) -> Name {
        self.inner.name()
    }

    fn child(&self, label: &'static str) -> Self {
        Self::new(self.inner.child(label), Arc::clone(&self.clock))
    }

    fn with_attribute(self, key: &'static str, value: impl fmt::Display) -> Self {
        Self::new(self.inner.with_attribute(key, value), self.clock)
    }
}

impl Spawner for NodeRuntime {
    fn shared(self, blocking: bool) -> Self {
        Self::new(self.inner.shared(blocking), self.clock)
    }

    fn dedicated(self) -> Self {
        Self::new(self.inner.dedicated(), self.clock)
    }

    fn spawn<F, Fut, T>(self, f: F) -> Handle<T>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let Self { inner, clock } = self;
        inner.spawn(move |inner| f(Self::new(inner, clock)))
    }

    async fn stop(self, value: i32, timeout: Option<Duration>) -> Result<(), Error> {
        self.inner.stop(value, timeout).await
    }

    fn stopped(&self) -> signal::Signal {
        self.inner.stopped()
    }
}

impl Metrics for NodeRuntime {
    fn register<N: Into<String>, H: Into<String>, M: Metric>(&self, name: N, help: H, metric: M) -> Registered<M> {
        self.inner.register(name, help, metric)
    }

    fn encode(&self) -> String {
        self.inner.encode()
    }
}

impl TryRng for NodeRuntime {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.inner.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.inner.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.inner.try_fill_bytes(bytes)
    }
}

impl TryCryptoRng for NodeRuntime {}

impl Storage for NodeRuntime {
    type Blob = <Runtime as Storage>::Blob;

    async fn open_versioned(
        &self,
        partition: &str,
        name: &[u8],
        versions: RangeInclusive<BlobVersion>,
    ) -> Result<(Self::Blob, u64, BlobVersion), Error> {
        self.inner.open_versioned(partition, name, versions).await
    }

    async fn remove(&self, partition: &str, name: Option<&[u8]>) -> Result<(), Error> {
        self.inner.remove(partition, name).await
    }

    async fn scan(&self, partition: &str) -> Result<Vec<Vec<u8>>, Error> {
        self.inner.scan(partition).await
    }
}
