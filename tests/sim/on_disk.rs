//! The simulator's runtime, with a node's own disk for the engine's files.

use super::{
    cluster::Runtime,
    disk::{Change, Disk, Path},
};
use commonware_runtime::{
    Blob, BlobVersion, Clock, Error, Handle, IoBufs, IoBufsMut, Metrics, Name, ReadOptions, Spawner, Storage,
    Supervisor, WriteOptions, deterministic, signal,
    telemetry::metrics::{Metric, Registered},
};
use governor::clock::{Clock as GovernorClock, ReasonablyRealtime};
use rand_core::{TryCryptoRng, TryRng};
use std::{
    convert::Infallible,
    fmt,
    future::Future,
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

/// The simulator's runtime, with a node's disk for its files.
pub(crate) struct OnDisk {
    inner: Runtime,
    disk: Disk,
}

impl OnDisk {
    pub(crate) const fn new(inner: Runtime, disk: Disk) -> Self {
        Self { inner, disk }
    }
}

impl Storage for OnDisk {
    type Blob = OpenFile;

    async fn open_versioned(
        &self,
        partition: &str,
        name: &[u8],
        versions: RangeInclusive<BlobVersion>,
    ) -> Result<(OpenFile, u64, BlobVersion), Error> {
        let (inner, len, version) = self.inner.open_versioned(partition, name, versions).await?;
        let path = (partition.to_owned(), name.to_vec());
        self.disk.opened(path.clone(), version);
        Ok((OpenFile { inner, disk: self.disk.clone(), path }, len, version))
    }

    async fn remove(&self, partition: &str, name: Option<&[u8]>) -> Result<(), Error> {
        self.inner.remove(partition, name).await?;
        self.disk.removed(partition, name);
        Ok(())
    }

    async fn scan(&self, partition: &str) -> Result<Vec<Vec<u8>>, Error> {
        self.inner.scan(partition).await
    }
}

/// A file of a node's disk.
pub(crate) struct OpenFile {
    inner: deterministic::Blob,
    disk: Disk,
    path: Path,
}

impl Blob for OpenFile {
    async fn read_at_buf(
        &self,
        offset: u64,
        len: usize,
        bufs: impl Into<IoBufsMut> + Send,
        options: ReadOptions,
    ) -> Result<IoBufsMut, Error> {
        self.inner.read_at_buf(offset, len, bufs, options).await
    }

    async fn read_at(&self, offset: u64, len: usize, options: ReadOptions) -> Result<IoBufsMut, Error> {
        self.inner.read_at(offset, len, options).await
    }

    async fn write_at(&self, offset: u64, bufs: impl Into<IoBufs> + Send, options: WriteOptions) -> Result<(), Error> {
        let bufs = bufs.into();
        let bytes = bufs.clone().coalesce().as_ref().to_vec();
        self.inner.write_at(offset, bufs, options).await?;
        let synced = options.contains(WriteOptions::SYNC);
        self.disk.change(&self.path, if synced { Change::Synced(offset, bytes) } else { Change::Write(offset, bytes) });
        Ok(())
    }

    async fn resize(&self, len: u64) -> Result<(), Error> {
        self.inner.resize(len).await?;
        self.disk.change(&self.path, Change::Resize(len));
        Ok(())
    }

    async fn sync(&self) -> Result<(), Error> {
        self.inner.sync().await?;
        self.disk.synced(&self.path);
        Ok(())
    }

    async fn start_sync(&self) -> Handle<()> {
        // In memory this is the sync itself.
        let syncing = self.inner.start_sync().await;
        self.disk.synced(&self.path);
        syncing
    }
}

impl Supervisor for OnDisk {
    fn name(&self) -> Name {
        self.inner.name()
    }

    fn child(&self, label: &'static str) -> Self {
        Self::new(self.inner.child(label), self.disk.clone())
    }

    fn with_attribute(self, key: &'static str, value: impl fmt::Display) -> Self {
        Self::new(self.inner.with_attribute(key, value), self.disk)
    }
}

impl Spawner for OnDisk {
    fn shared(self, blocking: bool) -> Self {
        Self::new(self.inner.shared(blocking), self.disk)
    }

    fn dedicated(self) -> Self {
        Self::new(self.inner.dedicated(), self.disk)
    }

    fn spawn<F, Fut, T>(self, f: F) -> Handle<T>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let Self { inner, disk } = self;
        inner.spawn(move |inner| f(Self::new(inner, disk)))
    }

    async fn stop(self, value: i32, timeout: Option<Duration>) -> Result<(), Error> {
        self.inner.stop(value, timeout).await
    }

    fn stopped(&self) -> signal::Signal {
        self.inner.stopped()
    }
}

impl Clock for OnDisk {
    fn current(&self) -> SystemTime {
        self.inner.current()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.inner.sleep(duration)
    }

    fn sleep_until(&self, deadline: SystemTime) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.inner.sleep_until(deadline)
    }
}

impl GovernorClock for OnDisk {
    type Instant = SystemTime;

    fn now(&self) -> SystemTime {
        self.current()
    }
}

impl ReasonablyRealtime for OnDisk {}

impl Metrics for OnDisk {
    fn register<N: Into<String>, H: Into<String>, M: Metric>(&self, name: N, help: H, metric: M) -> Registered<M> {
        self.inner.register(name, help, metric)
    }

    fn encode(&self) -> String {
        self.inner.encode()
    }
}

impl TryRng for OnDisk {
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

impl TryCryptoRng for OnDisk {}
