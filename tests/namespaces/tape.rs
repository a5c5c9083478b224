//! What a host hears and says: every frame at its network card, in either direction, from before it is connected.

use super::lan::Lan;
use crate::harness::eventually;
use rustix::net::{AddressFamily, SocketFlags, SocketType, eth, socket_with, sockopt};
use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// What the kernel keeps until it is read.
const BUFFER_BYTES: usize = 32 << 20;
/// More than any frame has: the kernel joins segments of a stream.
const FRAME_BYTES_MAX: usize = 1 << 18;
/// How often it is looked whether there is an end.
const LOOKED_AFTER: Duration = Duration::from_millis(100);
/// A port that nobody listens at.
const DISCARD: u16 = 9;

/// A host's tape, which runs until it is ended or dropped.
#[derive(Debug)]
pub(crate) struct Tape {
    frames: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tape {
    /// Begins to write down what a host hears and says.
    pub(crate) fn start(lan: &Lan, host: &str, file: &Path) -> Self {
        let socket = lan.inside(host, || {
            socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, Some(eth::ALL)).unwrap()
        });
        // Where it has to stay as small as it is, frames may be lost, and the end would show it.
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES);
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(LOOKED_AFTER)).unwrap();
        let (frames, ended) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (mut card, mut tape) = (File::from(socket), File::create(file).unwrap());
        let (counter, end) = (Arc::clone(&frames), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            let mut frame = vec![0; FRAME_BYTES_MAX];
            while !end.load(Ordering::Relaxed) {
                // It fails when nothing comes for a while, or the card goes down.
                if let Ok(len) = card.read(&mut frame) {
                    tape.write_all(&frame[..len]).unwrap();
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { frames, ended, thread: Some(thread) }
    }

    /// Sends a host something in clear, as a sign on its tape.
    pub(crate) fn mark(lan: &Lan, from: &str, to: Ipv4Addr, sign: &[u8]) {
        let sent = lan.inside(from, || UdpSocket::bind("0.0.0.0:0").unwrap().send_to(sign, (to, DISCARD)).unwrap());
        assert_eq!(sent, sign.len());
    }

    /// Ends it once it has every frame that the host's card has counted.
    pub(crate) fn end(mut self, lan: &Lan, host: &str) {
        let counted = lan.frames(host);
        eventually("the tape has every frame", || (self.frames.load(Ordering::Relaxed) >= counted).then_some(()));
        self.stop();
    }

    fn stop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // A thread that panicked has said so.
        self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.stop();
    }
}
