//! The clock on the wall, which people set and which may be wrong.
//!
//! Only what speaks of the time of day reads it: the time of a block, what a node waits for or refuses by,
//! the handshake with another node. Whatever waits for a while runs on the clock of the node's runtime,
//! which nobody sets: by a clock that is set back an hour, every deadline would be an hour away.

use dmdl_types::id::UnixMillis;
use std::{fmt, sync::Arc, time::SystemTime};

/// Reads the clock on the wall; clones read the same one.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

impl WallClock {
    /// The machine's clock, or a simulator's.
    pub fn new(read: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// What it shows; 1970 for what is before that.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        let since = self.time().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn time(&self) -> SystemTime {
        (self.0)()
    }
}
