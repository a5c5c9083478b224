//! How long the engine waits for what.

use commonware_utils::NonZeroDuration;
use std::time::Duration;

/// A block's time may be this far ahead of a validator's clock before the validator waits.
pub const CLOCK_BOUND_MS: u64 = 2000;

/// Waiting times; each only makes sense below the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// An idle proposer makes an empty block after this long.
    pub heartbeat: Duration,
    /// A view without a proposal is skipped after this long.
    pub leader: Duration,
    /// A view without a certificate is skipped after this long.
    pub certification: Duration,
    /// A leader that was silent for this long is skipped at once.
    pub inactive: Duration,
    /// A vote to skip is repeated after this long.
    pub retry: Duration,
    /// A request to a peer is repeated elsewhere after this long.
    pub fetch: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(2),
            leader: Duration::from_secs(3),
            certification: Duration::from_secs(4),
            inactive: Duration::from_secs(10),
            retry: Duration::from_secs(5),
            fetch: Duration::from_secs(2),
        }
    }
}

/// Why waiting times do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimingError {
    /// The waiting times are not in their order.
    #[error(
        "waiting times must satisfy 0 < heartbeat < leader < certification < inactive, 0 < retry < inactive, 0 < fetch"
    )]
    Order,
}

impl Timing {
    /// Checks that the times are in their order.
    ///
    /// # Errors
    /// [`TimingError::Order`].
    pub fn check(&self) -> Result<(), TimingError> {
        let ascending = [Duration::ZERO, self.heartbeat, self.leader, self.certification, self.inactive];
        let ordered = ascending.iter().zip(ascending.iter().skip(1)).all(|(a, b)| a < b);
        if ordered && !self.retry.is_zero() && self.retry < self.inactive && !self.fetch.is_zero() {
            Ok(())
        } else {
            Err(TimingError::Order)
        }
    }

    pub(super) fn fetch(&self) -> NonZeroDuration {
        NonZeroDuration::new(self.fetch).unwrap_or(NonZeroDuration::new_panic(Duration::from_secs(2)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_times_are_in_their_order() {
        assert_eq!(Timing::default().check(), Ok(()));
    }

    #[test]
    fn a_heartbeat_that_outlasts_the_leader_timeout_is_refused() {
        let slow = Timing { heartbeat: Duration::from_secs(3), ..Timing::default() };
        assert_eq!(slow.check(), Err(TimingError::Order));
    }
}
