//! How much a gateway takes from one connection, one person, and everybody together.

use std::time::Duration;

/// Most bytes of a JSON body.
pub(crate) const JSON_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of one part of a payload.
pub(crate) const PART_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a gateway is bounded by; the default is right for a node with a few gigabytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; beyond them the longest idle one is closed, or the new one refused.
    pub connections: usize,
    /// Requests in work at once.
    pub in_flight: usize,
    /// Bytes of request bodies in memory at once, for all connections together.
    pub body_bytes: usize,
    /// Signed requests that one key may send at once.
    pub burst: u64,
    /// Signed requests that one key may send a second, after its burst.
    pub per_second: u64,
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
            in_flight: 768,
            body_bytes: 64 * 1024 * 1024,
            burst: 2000,
            per_second: 1000,
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
