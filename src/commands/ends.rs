//! Signals that ask a command that lasts to end.

use crate::exit::{Exit, Failure};
use futures::FutureExt as _;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

/// SIGINT and SIGTERM, which end the process at once unless somebody catches them.
pub(super) struct Ends {
    interrupt: Signal,
    terminate: Signal,
}

impl Ends {
    /// Catches them from now on.
    pub(super) fn catch(runtime: &Runtime) -> Result<Self, Failure> {
        let _inside = runtime.enter();
        let caught = |kind| signal(kind).map_err(|error| Failure::new(Exit::Internal, "signal", error));
        Ok(Self { interrupt: caught(SignalKind::interrupt())?, terminate: caught(SignalKind::terminate())? })
    }

    /// Whether one came since it was asked last.
    pub(super) fn came(&mut self) -> bool {
        self.any().now_or_never().is_some()
    }

    /// Waits for one.
    pub(super) async fn any(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
