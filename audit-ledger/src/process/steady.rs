//! The runtime of a process, on a clock that nobody sets and on files that are watched.

use super::disk::{Disk, WatchedBlob};
use commonware_runtime::{
    BlobVersion, Clock, Error, Handle, Metrics, Name, Network, Resolver, SinkOf, Spawner, Storage, StreamOf,
    Supervisor, signal,
    telemetry::metrics::{Metric, Registered},
    tokio::Context,
};
use governor::clock::{Clock as GovernorClock, ReasonablyRealtime};
use rand_core::{TryCryptoRng, TryRng};
use std::{
    convert::Infallible,
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::{Duration, Instant, SystemTime},
};

/// The runtime of a process, whose clock runs on from the time at its start.
///
/// The engine and the network keep deadlines as times of day. On the machine's clock they would wait for
/// hours when that is set back, and give up all at once when it is set forward.
pub struct Steady {
    inner: Context,
    own: Own,
}

/// What is not the engine's.
#[derive(Clone)]
struct Own {
    origin: Origin,
    disk: Disk,
}

impl fmt::Debug for Steady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Steady")
    }
}

#[derive(Clone, Copy, Debug)]
struct Origin {
    time: SystemTime,
    begun: Instant,
}

impl Steady {
    /// Begins at the machine's time; `begun` is now.
    #[must_use]
    pub fn new(inner: Context, begun: Instant, disk: Disk) -> Self {
        let time = inner.current();
        Self { inner, own: Own { origin: Origin { time, begun }, disk } }
    }
}

impl Steady {
    /// What watches its files.
    #[must_use]
    pub const fn disk(&self) -> &Disk {
        &self.own.disk
    }
}

impl Clock for Steady {
    fn current(&self) -> SystemTime {
        self.own.origin.time + self.own.origin.begun.elapsed()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.inner.sleep(duration)
    }

    fn sleep_until(&self, deadline: SystemTime) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.sleep(deadline.duration_since(self.current()).unwrap_or_default())
    }
}

impl GovernorClock for Steady {
    type Instant = SystemTime;

    fn now(&self) -> SystemTime {
        self.current()
    }
}

impl ReasonablyRealtime for Steady {}

impl Supervisor for Steady {
    fn name(&self) -> Name {
        self.inner.name()
    }

    fn child(&self, label: &'static str) -> Self {
        Self { inner: self.inner.child(label), own: self.own.clone() }
    }

    fn with_attribute(self, key: &'static str, value: impl fmt::Display) -> Self {
        Self { inner: self.inner.with_attribute(key, value), own: self.own }
    }
}

impl Spawner for Steady {
    fn shared(self, blocking: bool) -> Self {
        Self { inner: self.inner.shared(blocking), own: self.own }
    }

    fn dedicated(self) -> Self {
        Self { inner: self.inner.dedicated(), own: self.own }
    }

    fn spawn<F, Fut, T>(self, f: F) -> Handle<T>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let Self { inner, own } = self;
        inner.spawn(move |inner| f(Self { inner, own }))
    }

    async fn stop(self, value: i32, timeout: Option<Duration>) -> Result<(), Error> {
        self.inner.stop(value, timeout).await
    }

    fn stopped(&self) -> signal::Signal {
        self.inner.stopped()
    }
}

impl Metrics for Steady {
    fn register<N: Into<String>, H: Into<String>, M: Metric>(&self, name: N, help: H, metric: M) -> Registered<M> {
        self.inner.register(name, help, metric)
    }

    fn encode(&self) -> String {
        self.inner.encode()
    }
}

impl Network for Steady {
    type Listener = <Context as Network>::Listener;

    async fn bind(&self, socket: SocketAddr) -> Result<Self::Listener, Error> {
        self.inner.bind(socket).await
    }

    async fn dial(&self, socket: SocketAddr) -> Result<(SinkOf<Self>, StreamOf<Self>), Error> {
        self.inner.dial(socket).await
    }
}

impl Resolver for Steady {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        self.inner.resolve(host).await
    }
}

impl TryRng for Steady {
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

impl TryCryptoRng for Steady {}

impl Storage for Steady {
    type Blob = WatchedBlob;

    async fn open_versioned(
        &self,
        partition: &str,
        name: &[u8],
        versions: RangeInclusive<BlobVersion>,
    ) -> Result<(Self::Blob, u64, BlobVersion), Error> {
        self.own.disk.open(&self.inner, partition, name, versions).await
    }

    async fn remove(&self, partition: &str, name: Option<&[u8]>) -> Result<(), Error> {
        self.own.disk.remove(&self.inner, partition, name).await
    }

    async fn scan(&self, partition: &str) -> Result<Vec<Vec<u8>>, Error> {
        self.own.disk.scan(&self.inner, partition).await
    }
}
