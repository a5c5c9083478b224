//! Nonces: a signature is good for one request.

use super::signature::{Nonce, SignatureError, Verified, WINDOW_S};
use dmdl_types::sign::PublicKey;
use std::collections::{HashMap, HashSet, VecDeque};

#[cfg(test)]
mod tests;

/// How long a nonce is remembered, in seconds.
pub const TTL_S: u64 = 300;
/// Most nonces of one key.
pub const NONCES_PER_KEY: usize = 10_000;
/// Most nonces in all: some 30 MiB.
pub const NONCES: usize = 200_000;

// A signature is good for a window before and a window after its time. The rest is for clocks that move.
const _: () = assert!(TTL_S > 2 * WINDOW_S);

/// Why a verified request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NonceError {
    /// It was let in before, or is so old that it may have been.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Its key made too many requests.
    #[error("this key made {NONCES_PER_KEY} requests within {TTL_S} seconds; try again later")]
    KeyBusy,
    /// All keys together did.
    #[error("this gateway has taken all the signed requests that it can; try again later, or another gateway")]
    Busy,
}

impl NonceError {
    /// A stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Signature(error) => error.code(),
            Self::KeyBusy => "busy",
            Self::Busy => "overloaded",
        }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Signature(error) => error.status(),
            Self::KeyBusy => 429,
            Self::Busy => 503,
        }
    }
}

/// The nonces of the last minutes: lets no signature in twice, whatever the clock does.
///
/// It is memory of one process. What was let in before a restart is let in again until its time is over.
#[derive(Debug, Default)]
pub struct Nonces {
    /// The latest time that was seen: this clock never goes back.
    latest_s: u64,
    /// No signature made before this time is let in, because its nonce may be forgotten.
    forgotten_s: u64,
    /// In the order in which they came, which is the order in which they go.
    queue: VecDeque<Entry>,
    seen: HashSet<(PublicKey, Nonce)>,
    counts: HashMap<PublicKey, usize>,
}

#[derive(Debug)]
struct Entry {
    came_s: u64,
    created_s: u64,
    key: PublicKey,
    nonce: Nonce,
}

impl Nonces {
    /// Lets a request in, once. To be asked after its key was found enrolled, so that strangers fill nothing.
    ///
    /// Takes constant time, averaged over all calls.
    ///
    /// # Errors
    /// [`NonceError`] says what stands against it; then nothing is remembered of it.
    pub fn admit(&mut self, request: &Verified, now_s: u64) -> Result<(), NonceError> {
        self.latest_s = self.latest_s.max(now_s);
        self.sweep();
        let Verified { key, nonce, created_s } = *request;
        if created_s < self.forgotten_s {
            return Err(SignatureError::Time.into());
        }
        if self.seen.contains(&(key, nonce)) {
            return Err(SignatureError::Replayed.into());
        }
        if self.queue.len() >= NONCES {
            return Err(NonceError::Busy);
        }
        if self.counts.get(&key).is_some_and(|count| *count >= NONCES_PER_KEY) {
            return Err(NonceError::KeyBusy);
        }
        self.seen.insert((key, nonce));
        *self.counts.entry(key).or_default() += 1;
        self.queue.push_back(Entry { came_s: self.latest_s, created_s, key, nonce });
        Ok(())
    }

    /// Forgets what came too long ago, and with it every signature that may be among that.
    fn sweep(&mut self) {
        let latest_s = self.latest_s;
        while let Some(entry) = self.queue.pop_front_if(|entry| latest_s - entry.came_s > TTL_S) {
            self.forgotten_s = self.forgotten_s.max(entry.created_s.saturating_add(1));
            self.seen.remove(&(entry.key, entry.nonce));
            if let Some(count) = self.counts.get_mut(&entry.key) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&entry.key);
                }
            }
        }
    }
}
