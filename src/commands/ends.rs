//! Signals that ask a command that lasts to end.

use crate::exit::{Exit, Failure};
use futures::FutureExt as _;
use rustix::process::{Pid, Signal as Kill, getppid, set_parent_process_death_signal};
use std::time::Duration;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

/// How often what runs is looked at while all is well.
const LOOK_EVERY: Duration = Duration::from_millis(500);

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

    /// Waits for one, or until `look` finds that something has stopped by itself.
    pub(super) async fn any_unless<T>(&mut self, look: impl Fn() -> Option<T>) -> Option<T> {
        loop {
            tokio::select! {
                biased;
                () = self.any() => return None,
                () = tokio::time::sleep(LOOK_EVERY) => {
                    if let Some(stopped) = look() {
                        return Some(stopped);
                    }
                }
            }
        }
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

/// Has the kernel kill this process once the one that started it has ended, however it did.
pub(super) fn end_with(parent: i32) -> Result<(), Failure> {
    let failed = |error| Failure::new(Exit::Internal, "signal", error);
    set_parent_process_death_signal(Some(Kill::KILL)).map_err(failed)?;
    // It may have ended before, and then nothing is told any more.
    if getppid() == Pid::from_raw(parent) {
        return Ok(());
    }
    Err(Failure::new(Exit::Interrupted, "interrupted", "the process that started this one has ended"))
}
