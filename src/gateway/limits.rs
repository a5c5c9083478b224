//! How much a gateway takes from one connection, one person, and everybody together.

use crate::node::AUTHOR_QUOTA;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;

/// Most bytes of a JSON body.
pub(crate) const JSON_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of one part of a payload.
pub(crate) const PART_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a gateway is bounded by; the default is right for a node with a few gigabytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; beyond them the longest idle one is closed, or the new one refused. A process that
    /// may not have twice as many files open takes fewer.
    pub connections: usize,
    /// Requests in work at once that are neither transactions nor parts of payloads.
    pub in_flight: usize,
    /// Transactions on their way at once, if the network orders so many without delay.
    pub transactions: usize,
    /// Parts of payloads that are taken in at once.
    pub uploads: usize,
    /// Bytes of request bodies in memory at once, for all connections together.
    pub body_bytes: usize,
    /// Signed requests that one key may send at once.
    pub burst: u64,
    /// Signed requests that one key may send a second, after its burst.
    pub per_second: u64,
    /// Transactions that one author may hand in at once.
    pub author_burst: u64,
    /// Transactions that one author may hand in a second, after the burst.
    pub author_per_second: u64,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// How long the headers of a request may take, from the first byte or from the connection's start.
    pub head: Duration,
    /// How long a body may take.
    pub body: Duration,
    /// How long an answer may take; the longest wait that somebody can ask for is 30 s.
    pub answer: Duration,
    /// How long a connection stays open between two requests.
    pub idle: Duration,
    /// How long a reader may take nothing of an answer.
    pub stall: Duration,
    /// How long a session lasts.
    pub session: Duration,
    /// How long requests in work may go on after the gateway was told to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            in_flight: 512,
            // Beyond the connections no more can wait for their receipts.
            transactions: 1024,
            uploads: 64,
            body_bytes: 64 * 1024 * 1024,
            burst: 2000,
            per_second: 1000,
            author_burst: AUTHOR_QUOTA.0,
            author_per_second: AUTHOR_QUOTA.1,
            // Under the 10 s and 30 s that are promised, so that the answer still arrives within them.
            handshake: Duration::from_secs(9),
            head: Duration::from_secs(9),
            body: Duration::from_secs(28),
            answer: Duration::from_secs(40),
            idle: Duration::from_secs(75),
            stall: Duration::from_secs(30),
            session: Duration::from_secs(5 * 60),
            grace: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// The same limits for a process that may have so many files open: half of them are left to the stores and to
    /// what requests open, which must never be without one because somebody holds connections.
    pub(super) fn within_files(self, files: u64) -> Self {
        let half = usize::try_from(files / 2).unwrap_or(usize::MAX);
        Self { connections: self.connections.min(half), ..self }
    }
}

/// Lets this process have as many files open as the system allows it, and says how many that are.
///
/// The limit that a shell sets is far lower, for old programs that cannot count so far.
pub fn raise_open_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // A system that does not take its own maximum leaves what there was.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_open_files_are_for_connections_at_most() {
        let connections = |files| Limits::default().within_files(files).connections;
        assert_eq!([20_000, 2048, 2047, 600, 0].map(connections), [1024, 1024, 1023, 300, 0]);
        assert_eq!(connections(u64::MAX), Limits::default().connections);
    }

    #[test]
    fn a_process_gets_all_the_files_that_it_may_have() {
        let files = raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!((limit.current, limit.current.unwrap_or(u64::MAX)), (limit.maximum, files));
        assert_eq!(raise_open_files(), files);
    }
}
