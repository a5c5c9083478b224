//! The handshake of two nodes goes by the clock on the wall, whatever clock the network runs on.
//!
//! It refuses what was said long ago, so both sides must mean the same by a time.

use crate::clock::WallClock;
use commonware_cryptography::transcript::Transcript;
use commonware_runtime::{Clock, Sink, Stream};
use commonware_stream::Handshake;
use governor::clock::{Clock as GovernorClock, ReasonablyRealtime};
use rand_core::{CryptoRng, TryCryptoRng, TryRng};
use std::{
    convert::Infallible,
    future::Future,
    time::{Duration, SystemTime},
};

/// A handshake whose times are those of the clock on the wall.
#[derive(Clone)]
pub(super) struct ByWallClock<H> {
    pub(super) handshake: H,
    pub(super) wall: WallClock,
}

impl<H: Handshake> Handshake for ByWallClock<H> {
    type PublicKey = H::PublicKey;
    type Error = H::Error;

    fn public_key(&self) -> Self::PublicKey {
        self.handshake.public_key()
    }

    fn dial<E, I, O>(
        self,
        context: E,
        namespace: &[u8],
        peer: Self::PublicKey,
        stream: &mut I,
        sink: &mut O,
    ) -> impl Future<Output = Result<Transcript, Self::Error>> + Send
    where
        E: Clock + CryptoRng,
        I: Stream,
        O: Sink,
    {
        let Self { handshake, wall } = self;
        handshake.dial(Dated { inner: context, wall }, namespace, peer, stream, sink)
    }

    fn listen<E, I, O, B, F>(
        self,
        context: E,
        namespace: &[u8],
        bouncer: B,
        stream: &mut I,
        sink: &mut O,
    ) -> impl Future<Output = Result<(Self::PublicKey, Transcript), Self::Error>> + Send
    where
        E: Clock + CryptoRng,
        I: Stream,
        O: Sink,
        B: FnOnce(Self::PublicKey) -> F + Send,
        F: Future<Output = bool> + Send,
    {
        let Self { handshake, wall } = self;
        handshake.listen(Dated { inner: context, wall }, namespace, bouncer, stream, sink)
    }
}

/// A runtime with the time of the clock on the wall.
struct Dated<E> {
    inner: E,
    wall: WallClock,
}

impl<E: Clock> Clock for Dated<E> {
    fn current(&self) -> SystemTime {
        self.wall.time()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static + use<E> {
        self.inner.sleep(duration)
    }

    fn sleep_until(&self, deadline: SystemTime) -> impl Future<Output = ()> + Send + 'static + use<E> {
        self.inner.sleep(deadline.duration_since(self.current()).unwrap_or_default())
    }
}

impl<E: Clock> GovernorClock for Dated<E> {
    type Instant = SystemTime;

    fn now(&self) -> SystemTime {
        self.current()
    }
}

impl<E: Clock> ReasonablyRealtime for Dated<E> {}

impl<E: CryptoRng> TryRng for Dated<E> {
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

impl<E: CryptoRng> TryCryptoRng for Dated<E> {}
