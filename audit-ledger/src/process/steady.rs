//! The runtime of a process, on a clock that nobody sets.

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
    origin: Origin,
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
    pub fn new(inner: Context, begun: Instant) -> Self {
        let time = inner.current();
        Self { inner, origin: Origin { time, begun } }
    }

    const fn of(inner: Context, origin: Origin) -> Self {
        Self { inner, origin }
    }
}

impl Clock for Steady {
    fn current(&self) -> SystemTime {
        self.origin.time + self.origin.begun.elapsed()
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
        Self::of(self.inner.child(label), self.origin)
    }

    fn with_attribute(self, key: &'static str, value: impl fmt::Display) -> Self {
        Self::of(self.inner.with_attribute(key, value), self.origin)
    }
}

impl Spawner for Steady {
    fn shared(self, blocking: bool) -> Self {
        Self::of(self.inner.shared(blocking), self.origin)
    }

    fn dedicated(self) -> Self {
        Self::of(self.inner.dedicated(), self.origin)
    }

    fn spawn<F, Fut, T>(self, f: F) -> Handle<T>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let Self { inner, origin } = self;
        inner.spawn(move |inner| f(Self::of(inner, origin)))
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
    type Blob = <Context as Storage>::Blob;

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
