//! The gate of a connection: lets whole requests through, one after the other, and only plain ones.
//!
//! It stands between the socket and the HTTP library. A head reaches the library when all of it is there
//! and [`head::read`] has nothing against it; then as many bytes of body as it says. In place of a head that
//! is refused the library gets a harmless one, so that the refusal is answered in its turn, by our own
//! words, and the connection ends. It also keeps the time that nothing behind it can see.

use super::{
    head::{self, Refusal},
    link::{Link, Phase},
};
use crate::gateway::limits::Limits;
use bytes::{Buf as _, BytesMut};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::{Sleep, sleep},
};

/// Bytes that are read at a time.
const READ_BYTES: usize = 8 * 1024;
/// What the library reads in place of a refused head.
const HARMLESS: &[u8] = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";

/// A socket behind a gate.
#[derive(Debug)]
pub(super) struct Gate<T> {
    socket: T,
    link: Arc<Link>,
    limits: Limits,
    /// What has come and is not passed on yet.
    came: BytesMut,
    step: Step,
    /// Runs while something is waited for.
    patience: Option<(Awaited, Pin<Box<Sleep>>)>,
    /// Runs while the peer takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    served: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A head is next.
    Head,
    /// So many bytes of an accepted request are to be passed on.
    Pass(u64),
    /// The harmless head, from this byte on, and nothing after it.
    Refused(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    RestOfHead,
    NextRequest,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Gate<T> {
    pub(super) fn new(socket: T, link: Arc<Link>, limits: Limits) -> Self {
        let (came, step) = (BytesMut::new(), Step::Head);
        Self { socket, link, limits, came, step, patience: None, stall: None, served: false }
    }

    /// Ends the connection such that the peer can still read the last answer: what it sends meanwhile is
    /// taken and thrown away, or its system would drop the answer.
    pub(super) async fn close(mut self, lingering: Duration) {
        let _ = tokio::time::timeout(lingering, async {
            self.socket.shutdown().await?;
            let mut waste = vec![0; READ_BYTES];
            while self.socket.read(&mut waste).await? > 0 {}
            Ok::<_, io::Error>(())
        })
        .await;
    }

    /// Reads some bytes; none when the peer has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; READ_BYTES];
        let mut read = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut read))?;
        self.came.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Waits for a head, no longer than it may take. `false`: the connection ends here, without a word.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if !self.came.is_empty() {
                match head::read(&self.came) {
                    Ok(Some(head)) => {
                        self.link.push_turn(None);
                        self.served = true;
                        self.patience = None;
                        self.step = Step::Pass((head.len as u64).saturating_add(head.body_len));
                        return Poll::Ready(Ok(true));
                    }
                    Ok(None) => {}
                    Err(refusal) => return Poll::Ready(Ok(self.refuse(refusal))),
                }
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(false)),
                Poll::Ready(result) => result.map(|_| ())?,
                Poll::Pending => {
                    ready!(self.poll_patience(cx));
                    let idle = self.came.is_empty();
                    return Poll::Ready(Ok(!idle && self.refuse(Refusal::Slow)));
                }
            }
        }
    }

    /// Ready when what is waited for has taken too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (phase, since) = self.link.phase();
        if matches!(phase, Phase::Sending | Phase::Busy) {
            // The library looks ahead while a request is in work; the peer has time until its answer.
            self.patience = None;
            return Poll::Pending;
        }
        let (awaited, patience) = match self.served && self.came.is_empty() {
            true => (Awaited::NextRequest, self.limits.idle),
            false if self.served => (Awaited::RestOfHead, self.limits.head),
            // A handshake is part of that time.
            false => (Awaited::RestOfHead, self.limits.head.saturating_sub(since.elapsed())),
        };
        let running = self.patience.take().filter(|(running, _)| *running == awaited);
        let (_, sleep) = self.patience.insert(running.unwrap_or_else(|| (awaited, Box::pin(sleep(patience)))));
        sleep.as_mut().poll(cx)
    }

    fn refuse(&mut self, refusal: Refusal) -> bool {
        self.link.push_turn(Some(refusal));
        self.patience = None;
        self.came.clear();
        self.step = Step::Refused(0);
        true
    }

    /// Ends a connection whose peer takes nothing of what is written.
    fn watch<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(self.limits.stall)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gate<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        loop {
            match gate.step {
                Step::Head | Step::Pass(0) => {
                    gate.step = Step::Head;
                    if !ready!(gate.poll_head(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Step::Pass(left) => {
                    if gate.came.is_empty() && ready!(gate.poll_fill(cx))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    let fits = usize::try_from(left).unwrap_or(usize::MAX).min(gate.came.len()).min(out.remaining());
                    out.put_slice(gate.came.get(..fits).unwrap_or_default());
                    gate.came.advance(fits);
                    gate.step = Step::Pass(left - fits as u64);
                    return Poll::Ready(Ok(()));
                }
                Step::Refused(from) => {
                    let rest = HARMLESS.get(from..).unwrap_or_default();
                    if rest.is_empty() {
                        // Not an end: the library would take that for a peer that went away.
                        return Poll::Pending;
                    }
                    let fits = rest.len().min(out.remaining());
                    out.put_slice(rest.get(..fits).unwrap_or_default());
                    gate.step = Step::Refused(from + fits);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let written = Pin::new(&mut gate.socket).poll_write(cx, bytes);
        gate.watch(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let written = Pin::new(&mut gate.socket).poll_write_vectored(cx, slices);
        gate.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        let flushed = Pin::new(&mut gate.socket).poll_flush(cx);
        // The library flushes when it has written all that it has.
        if matches!(flushed, Poll::Ready(Ok(()))) && gate.link.flushed() {
            // It has looked ahead already and would not look again: the time for the next head runs from now.
            cx.waker().wake_by_ref();
        }
        gate.watch(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
